/** The OCI runtimes' bundle: what a Caisson container has, said in config.json. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Context, ID_COUNT, ID_FIRST, type Mode } from '../contender.js';
import { PAYLOADS, type Payload } from '../rootfs.js';

const CAPABILITIES = [
  'CHOWN',
  'DAC_OVERRIDE',
  'DAC_READ_SEARCH',
  'FOWNER',
  'FSETID',
  'KILL',
  'SETGID',
  'SETUID',
  'SETPCAP',
  'LINUX_IMMUTABLE',
  'NET_BIND_SERVICE',
  'NET_BROADCAST',
  'NET_ADMIN',
  'NET_RAW',
  'IPC_LOCK',
  'IPC_OWNER',
  'SYS_CHROOT',
  'SYS_PTRACE',
  'SYS_PACCT',
  'SYS_ADMIN',
  'SYS_BOOT',
  'SYS_NICE',
  'SYS_TTY_CONFIG',
  'MKNOD',
  'LEASE',
  'AUDIT_WRITE',
  'AUDIT_CONTROL',
  'SETFCAP',
  'SYSLOG',
  'WAKE_ALARM',
  'BLOCK_SUSPEND',
  'AUDIT_READ',
].map(name => `CAP_${name}`);

const KERNEL_FS = ['nosuid', 'nodev', 'noexec'];

/** The rows of src/spec/devices.ts that a runtime does not add by itself. */
const DEVICES = [
  { path: '/dev/fuse', type: 'c', major: 10, minor: 229, fileMode: 0o666, uid: 0, gid: 0 },
  { path: '/dev/net/tun', type: 'c', major: 10, minor: 200, fileMode: 0o666, uid: 0, gid: 0 },
];

function config(payload: Payload, mode: Mode, context: Context, id: string): object {
  const userns = mode === 'userns';
  const map = [{ containerID: 0, hostID: ID_FIRST, size: ID_COUNT }];
  return {
    ociVersion: '1.0.2',
    hostname: id,
    process: {
      terminal: false,
      user: { uid: 0, gid: 0 },
      args: [PAYLOADS[payload]],
      env: ['container=lxc'],
      cwd: '/',
      capabilities: { bounding: CAPABILITIES, effective: CAPABILITIES, permitted: CAPABILITIES },
      rlimits: [{ type: 'RLIMIT_NOFILE', soft: 1024, hard: 20000 }],
    },
    root: { path: userns ? context.shifted : context.rootfs, readonly: false },
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc', options: KERNEL_FS },
      { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'mode=755', 'size=500000'] },
      {
        destination: '/dev/pts',
        type: 'devpts',
        source: 'devpts',
        options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'],
      },
      { destination: '/dev/shm', type: 'tmpfs', source: 'shm', options: ['nosuid', 'nodev', 'mode=1777'] },
      { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: KERNEL_FS },
      { destination: '/sys', type: 'sysfs', source: 'sysfs', options: [...KERNEL_FS, 'ro'] },
    ],
    linux: {
      cgroupsPath: `/${context.id}/${id}`,
      namespaces: ['pid', 'network', 'ipc', 'uts', 'mount', 'cgroup', ...(userns ? ['user'] : [])].map(type => ({
        type,
      })),
      ...(userns ? { uidMappings: map, gidMappings: map } : {}),
      devices: DEVICES,
      resources: {
        devices: [
          { allow: false, access: 'rwm' },
          { allow: true, type: 'c', access: 'm' },
          { allow: true, type: 'b', access: 'm' },
          ...DEVICES.map(({ type, major, minor }) => ({ allow: true, type, major, minor, access: 'rwm' })),
        ],
      },
    },
  };
}

/** A bundle per run, so that each container has a cgroup of its own below ours: {} in the path is the run's number. */
export function bundlePath(runtime: string, mode: Mode, context: Context): string {
  return join(context.work, `${runtime}-${mode}`, '{}');
}

export function makeBundles(runtime: string, mode: Mode, context: Context) {
  return (payload: Payload, first: number, count: number): void => {
    for (let number = first; number < first + count; number++) {
      const directory = bundlePath(runtime, mode, context).replace('{}', String(number));
      mkdirSync(directory, { recursive: true });
      writeFileSync(
        join(directory, 'config.json'),
        JSON.stringify(config(payload, mode, context, `${runtime}-${number}`)),
      );
    }
  };
}
