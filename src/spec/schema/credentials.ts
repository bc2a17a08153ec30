/** `credentials`: secrets for the payload, by name (HST-18). No message holds a value. */
import * as v from 'valibot';
import { isRecord } from './values.js';

/** What a credential is written as: text, or bytes as Base64. */
export type CredentialInput = string | { readonly base64: string };

/** As systemd limits all credentials of a unit together. */
const MAX_TOTAL = 1024 * 1024;
const MAX_NAME = 255;
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

/** Bytes of a credential that has been checked. */
export function credentialBytes(value: CredentialInput): Buffer {
  return typeof value === 'string' ? Buffer.from(value) : Buffer.from(value.base64, 'base64');
}

/** What is wrong with a credential; never shows its value. */
export function credentialFault(name: string, value: unknown): string | undefined {
  // systemd refuses a colon too: names of descriptors have none.
  if (!/^[\x21-\x7e]+$/.test(name) || /[/:]/.test(name) || name === '.' || name === '..' || name.length > MAX_NAME)
    return `must have a name of 1 to ${MAX_NAME} printable ASCII characters without / and :`;
  if (typeof value === 'string') return undefined;
  if (!isRecord(value) || Object.keys(value).join() !== 'base64' || typeof value.base64 !== 'string')
    return 'must be a string or { base64 }';
  return BASE64.test(value.base64) ? undefined : 'must be Base64';
}

export const credentials = v.pipe(
  v.custom<Record<string, CredentialInput>>(isRecord, 'must be an object'),
  v.rawCheck(({ dataset, addIssue }) => {
    if (!dataset.typed) return;
    let total = 0;
    for (const [key, value] of Object.entries(dataset.value)) {
      const message = credentialFault(key, value);
      if (message !== undefined) {
        addIssue({ message, path: [{ type: 'object', origin: 'value', input: dataset.value, key, value }] });
        return;
      }
      total += credentialBytes(value).length;
    }
    if (total > MAX_TOTAL) addIssue({ message: `must be at most ${MAX_TOTAL} bytes together` });
  }),
);
