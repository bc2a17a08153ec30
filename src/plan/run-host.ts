/**
 * /run and /run/host (host-interface §5): what the host tells the payload, at places that systemd and others know. The
 * host fills a tmpfs of its own through a descriptor while the child mounts; the child attaches it read-only.
 */
import type { ContainerSpec } from '../spec/container.js';
import type { Assigned } from './compile.js';
import type { HostFacts } from './facts.js';
import { notifySocket } from './notify.js';
import type { HostAction, HostStep, InitAction, InitStep, Step, Tolerance } from './step.js';

/** The uuid of the container: that of the image's machine id where it has one (HST-15). */
export const UUID = 'text:uuid';

/** Where the payload finds its credentials (HST-41). */
export const CREDENTIALS = '/run/host/credentials';

/** What an image without /run does without; systemd itself would not boot in it. */
const NO_RUN: readonly Tolerance[] = [
  { errno: 'ENOENT', why: 'the image has no /run' },
  { errno: 'ENOTDIR', why: "the image's /run is not a directory" },
  { errno: 'ELOOP', why: "the image's /run leads nowhere" },
  { errno: 'EACCES', why: "the image's /run leads where its own root may not go" },
];

function host(id: string, label: string, action: HostAction, more: Partial<HostStep> = {}): HostStep {
  return { id: `mounting.${id}`, phase: 'mounting', executor: 'host', label, action, ...more };
}

function init(id: string, label: string, action: InitAction, more: Partial<InitStep> = {}): InitStep {
  return { id: `mounting.${id}`, phase: 'mounting', executor: 'init', label, action, tolerate: NO_RUN, ...more };
}

/** Nodes of each type that nobody can use, for a payload to bind over what it wants out of reach (HST-36). */
const INACCESSIBLE = [
  { name: 'reg', kind: 'S_IFREG' },
  { name: 'fifo', kind: 'S_IFIFO' },
  { name: 'sock', kind: 'S_IFSOCK' },
  { name: 'chr', kind: 'S_IFCHR' },
  { name: 'blk', kind: 'S_IFBLK' },
] as const;

function inaccessible(owner: number): HostStep[] {
  const directory = (path: string, mode: number): HostStep =>
    host(`run.host.${path}`, `directory /run/host/${path}`, {
      op: 'tree.mkdir',
      dir: 'fd:run.host',
      path,
      mode,
      uid: owner,
      gid: owner,
    });
  return [
    directory('inaccessible', 0o755),
    directory('inaccessible/dir', 0),
    ...INACCESSIBLE.map(({ name, kind }) =>
      host(
        `run.host.inaccessible.${name}`,
        `/run/host/inaccessible/${name}`,
        { op: 'tree.special', dir: 'fd:run.host', path: `inaccessible/${name}`, kind, mode: 0, uid: owner, gid: owner },
        name === 'chr' || name === 'blk'
          ? {
              tolerate: [{ errno: 'EPERM', why: 'making device nodes is not allowed here; the contract does without' }],
            }
          : {},
      ),
    ),
  ];
}

function file(path: string, owner: number, action: Partial<Extract<HostAction, { op: 'tree.write' }>>): HostStep {
  return host(`run.host.${path}`, `/run/host/${path}`, {
    op: 'tree.write',
    dir: 'fd:run.host',
    path,
    mode: 0o444,
    uid: owner,
    gid: owner,
    text: '',
    ...action,
  });
}

/** Secrets, on a file system that is never swapped out (HST-18). */
function credentials(spec: ContainerSpec, owner: number): HostStep[] {
  const secrets = spec.credentials;
  const isEmpty = Object.keys(secrets).length === 0;
  return [
    // Also without any: a running container may be given some (HST-19), and /run/host is read-only then.
    host('run.host.credentials', `directory ${CREDENTIALS}`, {
      op: 'tree.mkdir',
      dir: 'fd:run.host',
      path: 'credentials',
      mode: 0o500,
      uid: owner,
      gid: owner,
    }),
    ...(isEmpty
      ? []
      : [
          host('credentials.mount', 'file system with the credentials, never swapped out', {
            op: 'credentials.mount',
            secrets,
            uid: owner,
            gid: owner,
            save: 'fd:credentials',
          }),
        ]),
  ];
}

/** Where the host side of `incoming` is: on a mount of the supervisor's that is shared (compilePrepare). */
export function incomingDirectory(runDir: string): string {
  return `${runDir}/incoming`;
}

function hostSteps(spec: ContainerSpec, facts: HostFacts, { runDir, uuid }: Assigned): HostStep[] {
  const owner = spec.idmap?.first ?? 0;
  const incoming = incomingDirectory(runDir);
  return [
    host('machine-id', "the container's uuid: the image's machine id, or one of its own", {
      op: 'machine-id.read',
      root: 'fd:rootfs',
      fallback: uuid,
      host: facts.machineId,
      save: UUID,
    }),
    host('run.host.tmpfs', 'tmpfs for /run/host', {
      op: 'fs.mount',
      fstype: 'tmpfs',
      options: { mode: '0755', size: '4m', nr_inodes: '1k', uid: String(owner), gid: String(owner) },
      attributes: ['MOUNT_ATTR_NOSUID', 'MOUNT_ATTR_NODEV', 'MOUNT_ATTR_NOEXEC'],
      save: 'fd:run.host',
    }),
    ...inaccessible(owner),
    ...credentials(spec, owner),
    file('container-manager', owner, { text: `${spec.type}\n` }),
    file('container-uuid', owner, { text: { from: UUID }, newline: true }),
    notifySocket('fd:run.host', owner),
    host('run.host.incoming', 'directory /run/host/incoming', {
      op: 'tree.mkdir',
      dir: 'fd:run.host',
      path: 'incoming',
      mode: 0o600,
      uid: owner,
      gid: owner,
    }),
    // It stays host root's: a user namespace may lift the read-only of what it has attached itself.
    host(
      'incoming.dir',
      'directory on the host that shows in /run/host/incoming',
      { op: 'mkdir', path: incoming, mode: 0o600 },
      // A privileged payload may have written there.
      { undo: { op: 'rmtree', path: incoming } },
    ),
    host('incoming.open', "that directory, as part of the supervisor's shared mount", {
      op: 'bind.open',
      path: incoming,
      save: 'fd:incoming',
    }),
    host(
      'os-release.open',
      "the host's os-release",
      { op: 'bind.first', paths: ['/etc/os-release', '/usr/lib/os-release'], save: 'fd:os-release' },
      { tolerate: [{ errno: 'ENOENT', why: 'the host has no os-release' }] },
    ),
    { ...file('os-release', owner, {}), needs: 'fd:os-release' },
  ];
}

/** What the host mounts below its side of it shows here. */
const INCOMING = '/run/host/incoming';

function remount(target: string): InitAction {
  const flags = ['MS_REMOUNT', 'MS_BIND', 'MS_RDONLY', 'MS_NOSUID', 'MS_NODEV', 'MS_NOEXEC'];
  return { op: 'mount', source: null, target, fstype: null, flags };
}

/** Attaches what a descriptor holds, severed from the mount of the host that it may be a copy of. */
function attach(id: string, mount: string, target: string, more: Partial<InitStep> = {}): InitStep[] {
  const step = (suffix: string, label: string, action: InitAction): InitStep =>
    init(`${id}${suffix}`, label, action, more);
  return [
    step('', `attach ${target}`, { op: 'move_mount', mount, target }),
    step('.private', `sever ${target} from the mount it is a copy of`, {
      op: 'mount',
      source: null,
      target,
      fstype: null,
      flags: ['MS_PRIVATE'],
    }),
    step('.ro', `${target} read-only`, remount(target)),
  ];
}

function initSteps(spec: ContainerSpec): InitStep[] {
  return [
    init('run', 'tmpfs on /run, so that /run/host is there before init', {
      op: 'mount',
      source: 'tmpfs',
      target: '/run',
      fstype: 'tmpfs',
      flags: ['MS_NOSUID', 'MS_NODEV'],
      data: 'mode=755,size=20%,nr_inodes=800k',
    }),
    init('run.host.dir', 'directory /run/host', { op: 'mkdir', path: '/run/host', mode: 0o755 }),
    init('run.host.attach', 'attach /run/host', { op: 'move_mount', mount: 'fd:run.host', target: '/run/host' }),
    init('incoming', `attach ${INCOMING}`, { op: 'move_mount', mount: 'fd:incoming', target: INCOMING }),
    init('incoming.ro', `${INCOMING} read-only`, remount(INCOMING)),
    ...attach('os-release', 'fd:os-release', '/run/host/os-release', { needs: 'fd:os-release' }),
    ...(Object.keys(spec.credentials).length === 0 ? [] : attach('credentials', 'fd:credentials', CREDENTIALS)),
  ];
}

/** After everything that is put into /run/host. */
export function runHostSeal(spec: ContainerSpec): Step[] {
  return [
    init('run.host.ro', '/run/host read-only', remount('/run/host')),
    host('run.host.close', 'close the descriptors of /run/host', {
      op: 'close',
      registers: [
        'fd:run.host',
        'fd:incoming',
        'fd:os-release',
        ...(Object.keys(spec.credentials).length === 0 ? [] : ['fd:credentials']),
      ],
    }),
  ];
}

/**
 * HST-33: `incoming` listens to the host, and tells it nothing. After `sharedInside`, which leaves a mount that is
 * shared with the host as it is; nobody can have mounted anything in it yet.
 */
export function incomingListens(): InitStep {
  const action = { op: 'mount', source: null, target: INCOMING, fstype: null, flags: ['MS_SLAVE'] } as const;
  return {
    id: 'devices.incoming',
    phase: 'devices',
    executor: 'init',
    label: `${INCOMING} listens to the host`,
    action,
    tolerate: NO_RUN,
  };
}

export function runHost(spec: ContainerSpec, facts: HostFacts, assigned: Assigned): Step[] {
  return [...hostSteps(spec, facts, assigned), ...initSteps(spec)];
}
