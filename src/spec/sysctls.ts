/** Sysctls that a container may have values of its own of (HST-60): those that one of its namespaces has for itself. */

const KERNEL = ['hostname', 'domainname', 'msgmax', 'msgmnb', 'msgmni', 'sem', 'shmall', 'shmmax', 'shmmni'];
/** In a name of a link a dot would be taken for the end of it: such links are configured inside. */
const PART = /^[A-Za-z0-9_-]+$/;
/** Longest value: a page, as the kernel reads them. */
const MAX_VALUE = 4095;

export const SYSCTL_RULE = `must be net.*, fs.mqueue.* or kernel. and one of ${KERNEL.join(', ')}: others are the host's`;

/** True for a name with dots, as sysctl(8) prints it, of a namespace that every container has. */
export function isNamespaced(name: string): boolean {
  const parts = name.split('.');
  if (!parts.every(part => PART.test(part))) return false;
  const [first, second, ...rest] = parts;
  if (first === 'net') return second !== undefined;
  if (first === 'fs') return second === 'mqueue' && rest.length === 1;
  return first === 'kernel' && rest.length === 0 && KERNEL.includes(second ?? '');
}

/** What is wrong with a sysctl of a spec. */
export function sysctlFault(name: string, value: unknown): string | undefined {
  if (!isNamespaced(name)) return SYSCTL_RULE;
  if (typeof value === 'number' && Number.isSafeInteger(value)) return undefined;
  if (typeof value !== 'string') return 'must be a string or a whole number';
  if (value === '' || /[\0\n]/.test(value)) return 'must be one line that is not empty';
  return Buffer.byteLength(value) > MAX_VALUE ? `must be at most ${MAX_VALUE} bytes long` : undefined;
}

/** Where a container finds it. */
export function sysctlPath(name: string): string {
  return `/proc/sys/${name.replaceAll('.', '/')}`;
}
