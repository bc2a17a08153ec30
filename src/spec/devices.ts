/**
 * The one table that names devices (ENV-15, container-environment §3.1). Nodes and device policy are both made
 * from it, so that no node can exist that the policy refuses, and no policy row without a node's reason.
 */
export interface DeviceNode {
  readonly kind: 'char';
  /** Path below /dev. */
  readonly path: string;
  readonly major: number;
  readonly minor: number;
  readonly mode: number;
  /** Absent host nodes are left out instead of failing where nodes must be bound (inside a user namespace). */
  readonly optional?: boolean;
}

export interface DeviceRule {
  readonly type: 'c' | 'b';
  /** null: any. */
  readonly major: number | null;
  readonly minor: number | null;
  readonly access: 'rwm' | 'm';
  /** What the row is for: shown by explain. */
  readonly reason: string;
}

export const DEVICE_NODES: readonly DeviceNode[] = [
  { kind: 'char', path: 'null', major: 1, minor: 3, mode: 0o666 },
  { kind: 'char', path: 'zero', major: 1, minor: 5, mode: 0o666 },
  { kind: 'char', path: 'full', major: 1, minor: 7, mode: 0o666 },
  { kind: 'char', path: 'random', major: 1, minor: 8, mode: 0o666 },
  { kind: 'char', path: 'urandom', major: 1, minor: 9, mode: 0o666 },
  { kind: 'char', path: 'tty', major: 5, minor: 0, mode: 0o666 },
  { kind: 'char', path: 'fuse', major: 10, minor: 229, mode: 0o666, optional: true },
  { kind: 'char', path: 'net/tun', major: 10, minor: 200, mode: 0o666, optional: true },
];

/** Numbers whose nodes the kernel itself makes (devpts), or programs make (console). */
const NODELESS_RULES: readonly DeviceRule[] = [
  { type: 'c', major: 136, minor: null, access: 'rwm', reason: '/dev/pts' },
  { type: 'c', major: 5, minor: 2, access: 'rwm', reason: '/dev/ptmx' },
  { type: 'c', major: 5, minor: 1, access: 'rwm', reason: '/dev/console' },
];

/** `devices.mknod: any`: making a node is not using it, and package managers make many (ENV-23). */
const MKNOD_RULES: readonly DeviceRule[] = [
  { type: 'c', major: null, minor: null, access: 'm', reason: 'mknod of any number' },
  { type: 'b', major: null, minor: null, access: 'm', reason: 'mknod of any number' },
];

export const DEVICE_LINKS: readonly { readonly path: string; readonly target: string }[] = [
  { path: 'fd', target: '/proc/self/fd' },
  { path: 'stdin', target: '/proc/self/fd/0' },
  { path: 'stdout', target: '/proc/self/fd/1' },
  { path: 'stderr', target: '/proc/self/fd/2' },
  { path: 'ptmx', target: 'pts/ptmx' },
];

/** Where programs log: a link to the socket of journald, which is how journald knows it, or a socket (ENV-27). */
export const DEVICE_LOG = { path: 'log', journal: '/run/systemd/journal/dev-log', mode: 0o666 } as const;

/** The device policy: default deny, then these rows. */
export function deviceRules(mknod: 'any' | 'table'): DeviceRule[] {
  const nodes = DEVICE_NODES.map(
    (node): DeviceRule => ({
      type: 'c',
      major: node.major,
      minor: node.minor,
      access: 'rwm',
      reason: `/dev/${node.path}`,
    }),
  );
  return [...nodes, ...NODELESS_RULES, ...(mknod === 'any' ? MKNOD_RULES : [])];
}
