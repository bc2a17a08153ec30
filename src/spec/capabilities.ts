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

/**
 * What every container loses (ENV-61): audit knows no namespaces. With one of these systemd would listen to the host's
 * audit, and fail.
 */
export const AUDIT_CAPABILITIES: readonly Capability[] = ['audit_control', 'audit_read', 'audit_write'];

/** Dropped unless asked for, in one kind of container at least. */
export const DROPPED_BY_DEFAULT: readonly Capability[] = [...PRIVILEGED_DROPS, ...AUDIT_CAPABILITIES];

/** What a payload can hardly do without, and what it loses with it (ENV-60, HST-54). */
export const EXPECTED_CAPABILITIES: Readonly<Partial<Record<Capability, string>>> = {
  mknod: 'services with devices of their own (PrivateDevices= of systemd) do not start',
  sys_admin: 'nothing can be mounted, and services lose their sandboxing',
  sys_boot: 'a reboot or halt from inside is refused, and so not seen',
};

/** What a container loses, in the kernel's order. */
export function droppedCapabilities(
  privileged: boolean,
  wishes: { readonly keep: readonly Capability[]; readonly drop: readonly Capability[] },
): Capability[] {
  const byDefault = privileged ? DROPPED_BY_DEFAULT : AUDIT_CAPABILITIES;
  return CAPABILITIES.filter(
    name => wishes.drop.includes(name) || (byDefault.includes(name) && !wishes.keep.includes(name)),
  );
}

/** The names in a capability mask as /proc/<pid>/status prints it (hexadecimal). */
export function capabilitiesOf(hexMask: string): Capability[] {
  const mask = BigInt(`0x${hexMask}`);
  return CAPABILITIES.filter((_, bit) => (mask >> BigInt(bit)) & 1n);
}
