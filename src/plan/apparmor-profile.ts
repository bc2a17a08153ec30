/**
 * The AppArmor profile of a container as text (ENV-39). It allows everything but what follows: a system container runs
 * programs that nobody has foreseen, and what it may do is for namespaces, capabilities and seccomp to say. What a
 * profile adds is what those cannot: files of the kernel that root may write wherever they show up.
 */

/** Of the kernel, and one for all containers: even to list them tells of the host. */
const TREES = [
  '/sys/kernel/debug',
  '/sys/kernel/tracing',
  '/sys/kernel/config',
  '/sys/kernel/security',
  '/sys/firmware/efi/efivars',
  '/proc/sys/fs/binfmt_misc',
];
/** The same could be mounted anew, anywhere. */
const FILE_SYSTEMS = ['debugfs', 'tracefs', 'configfs', 'securityfs', 'efivarfs', 'binfmt_misc'];
const FILES = ['/proc/kcore', '/proc/sysrq-trigger'];

/**
 * Any remount of the root that is not of the mount alone (bind): it would change the file system, and the host may
 * share that (ENV-70). A second bolt only: by another mount of it, or by fsconfig(2), it can still be done.
 */
const REMOUNT_FLAGS =
  'remount, ro, rw, nosuid, suid, nodev, dev, noexec, exec, sync, async, mand, nomand, dirsync, ' +
  'noatime, atime, nodiratime, diratime, relatime, norelatime, strictatime, silent, loud';

const ALLOWED = [
  'file',
  'capability',
  'network',
  'mount',
  'umount',
  'remount',
  'pivot_root',
  'signal',
  'ptrace',
  'unix',
  'dbus',
  'change_profile -> **',
];

function rules(privileged: boolean): string[] {
  const allow = ALLOWED.map(rule => `${rule},`);
  const files = FILES.map(path => `deny ${path} rwklx,`);
  // Root of a user namespace has no rights to the rest, and may have a binfmt_misc of its own.
  if (!privileged) return [...allow, ...files];
  return [
    ...allow,
    ...files,
    'deny /proc/kallsyms wkl,',
    ...TREES.map(path => `deny ${path}/{,**} rwklx,`),
    ...FILE_SYSTEMS.map(type => `deny mount fstype=${type},`),
    `deny mount options in (${REMOUNT_FLAGS}) -> /,`,
  ];
}

/** FNV-1a: tells contents apart, no more. */
function hash(text: string): string {
  let value = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) {
    value = Math.imul(value ^ text.charCodeAt(index), 0x01000193) >>> 0;
  }
  return value.toString(16).padStart(8, '0');
}

export interface AppArmorProfile {
  /** With a hash of the content: what is loaded by that name is this. */
  readonly name: string;
  /** For apparmor_parser(8). */
  readonly text: string;
}

export function apparmorProfile(privileged: boolean): AppArmorProfile {
  const body = rules(privileged)
    .map(rule => `  ${rule}\n`)
    .join('');
  const name = `caisson-${privileged ? 'privileged' : 'unprivileged'}-${hash(body)}`;
  return { name, text: `profile "${name}" flags=(attach_disconnected,mediate_deleted) {\n${body}}\n` };
}
