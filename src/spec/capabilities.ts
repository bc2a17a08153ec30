/** Capabilities by name; the index is the kernel's number (linux/capability.h). */
export const CAPABILITIES = [
  'chown',
  'dac_override',
  'dac_read_search',
  'fowner',
  'fsetid',
  'kill',
  'setgid',
  'setuid',
  'setpcap',
  'linux_immutable',
  'net_bind_service',
  'net_broadcast',
  'net_admin',
  'net_raw',
  'ipc_lock',
  'ipc_owner',
  'sys_module',
  'sys_rawio',
  'sys_chroot',
  'sys_ptrace',
  'sys_pacct',
  'sys_admin',
  'sys_boot',
  'sys_nice',
  'sys_resource',
  'sys_time',
  'sys_tty_config',
  'mknod',
  'lease',
  'audit_write',
  'audit_control',
  'setfcap',
  'mac_override',
  'mac_admin',
  'syslog',
  'wake_alarm',
  'block_suspend',
  'audit_read',
  'perfmon',
  'bpf',
  'checkpoint_restore',
] as const;

export type Capability = (typeof CAPABILITIES)[number];

/** What a privileged container loses: each would reach the host itself (ENV-59). */
export const PRIVILEGED_DROPS: readonly Capability[] = [
  'sys_time',
  'sys_module',
  'sys_rawio',
  'mac_admin',
  'mac_override',
];

/** The names in a capability mask as /proc/<pid>/status prints it (hexadecimal). */
export function capabilitiesOf(hexMask: string): Capability[] {
  const mask = BigInt(`0x${hexMask}`);
  return CAPABILITIES.filter((_, bit) => (mask >> BigInt(bit)) & 1n);
}
