/** Keys of other managers that a spec may use in place of ours: Incus' names of credentials (HST-19). */
import { CaissonError } from './errors.js';
import { type CredentialInput, credentialFault } from './schema/credentials.js';
import { isRecord } from './schema/values.js';

const ALIAS = /^systemd\.credential(-binary)?\.(.*)$/s;

export function isCredentialAlias(key: string): boolean {
  return ALIAS.test(key);
}

/**
 * `input` with `systemd.credential.NAME` and `systemd.credential-binary.NAME` as entries of `credentials`.
 * @throws CaissonError SPEC_INVALID that names the alias.
 */
export function withoutAliases(input: unknown): unknown {
  if (!isRecord(input) || !Object.keys(input).some(isCredentialAlias)) return input;
  const { credentials = {}, ...rest } = input;
  // What is wrong with them is told with the rest of the spec.
  if (!isRecord(credentials)) return input;
  const merged = { ...credentials } as Record<string, unknown>;
  for (const [key, value] of Object.entries(rest)) {
    const match = ALIAS.exec(key);
    if (match === null) continue;
    delete rest[key];
    const [, binary, name = ''] = match;
    const entry = binary === undefined ? value : ({ base64: value } as CredentialInput);
    const fault =
      typeof value !== 'string'
        ? 'must be a string'
        : Object.hasOwn(merged, name)
          ? `is given twice: credentials has ${JSON.stringify(name)}, too`
          : credentialFault(name, entry);
    if (fault !== undefined) throw new CaissonError('SPEC_INVALID', `${key}: ${fault}`, { field: key });
    merged[name] = entry;
  }
  return { ...rest, credentials: merged };
}
