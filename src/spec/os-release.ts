/** os-release(5): which distribution a host or an image is. */

/** What a host tells a container of itself (HST-17), as systemd's container contract names it. */
export const HOST_KEYS = ['id', 'version_id', 'build_id', 'variant_id'] as const;
export type HostKey = (typeof HOST_KEYS)[number];

/** A value as a shell would read it, in one of the forms that os-release(5) allows. */
function unquoted(value: string): string {
  if (/^'[^']*'$/.test(value)) return value.slice(1, -1);
  const bare = /^".*"$/.test(value) ? value.slice(1, -1) : value;
  return bare.replace(/\\(["$`\\])/g, '$1');
}

/** Those of the keys that `text` has. */
export function hostKeysOf(text: string): Partial<Record<HostKey, string>> {
  const found: Partial<Record<HostKey, string>> = {};
  for (const line of text.split('\n')) {
    const [, name = '', value = ''] = /^\s*([A-Z0-9_]+)=(.*?)\s*$/.exec(line) ?? [];
    const key = HOST_KEYS.find(candidate => candidate.toUpperCase() === name);
    // A variable has no line breaks or NUL bytes; what else is in it is the host's own business.
    if (key !== undefined && !value.includes('\0') && unquoted(value) !== '') found[key] = unquoted(value);
  }
  return found;
}
