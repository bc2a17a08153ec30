/**
 * Running a program in a container that is up. A joiner, a process of its own that shares nothing with us but its table,
 * becomes in turn: a process in the container's cgroups and namespaces, but still seen by nobody inside, which takes on
 * all restrictions of PID 1; and its child, the first that is in the container's pid namespace, which has nothing left
 * to do but to execute the program. So what a watching payload meets has no more rights than the payload itself, and
 * no descriptor of the host.
 */
import { CAPABILITIES, type Capability } from '../spec/capabilities.js';
import type { ContainerSpec } from '../spec/container.js';
import { confinement } from './apparmor.js';
import { cgroupPaths } from './cgroups.js';
import type { HostFacts } from './facts.js';
import { effectiveRlimits } from './identity.js';
import { ignoredSignals } from './init.js';
import { KEPT_FROM } from './kept.js';
import { TARGET } from './live-mount.js';
import { securitySteps } from './security.js';
import type { HostAction, HostStep, InitAction, InitStep, Plan, Step } from './step.js';
import { ttyGroup } from './terminal.js';

/** What is to be run, by ids and paths that are known. */
export interface ExecWish {
  /** Where the program may be: tried in turn. Paths inside. */
  readonly programs: readonly [string, ...string[]];
  readonly argv: readonly string[];
  /** `NAME=value` each. */
  readonly env: readonly string[];
  readonly cwd: string;
  readonly uid: number;
  readonly gid: number;
  readonly groups: readonly number[];
  readonly stdio: Stdio;
}

/** A program to run, or files to read. */
export type JoinWish = ExecWish | { readonly read: readonly string[] };

/** What its standard descriptors are: /dev/null, a pipe each, or all a terminal of the container's. */
export type Stdio =
  | { readonly kind: 'null' }
  | { readonly kind: 'pipes' }
  | { readonly kind: 'tty'; readonly rows: number; readonly cols: number };

/** Standard input, output and error of the program. */
const STDIO = ['fd:stdin', 'fd:stdout', 'fd:stderr'] as const;
/** The other ends of its pipes. */
export const PIPES = ['fd:stdin.ours', 'fd:stdout.ours', 'fd:stderr.ours'] as const;
/** The master side of its terminal. */
export const MASTER = 'fd:tty';
/** The gate: at end of file the program has been executed, or never will be. */
export const GATE = 'fd:gate';
/** The process that has joined and clones the program's. */
export const JOINED = 'fd:joined';

const NAMESPACES = [
  'CLONE_NEWNS',
  'CLONE_NEWUTS',
  'CLONE_NEWIPC',
  'CLONE_NEWNET',
  'CLONE_NEWCGROUP',
  // Of the children only: they are the first that somebody inside can see.
  'CLONE_NEWPID',
];

function host(id: string, label: string, action: HostAction): HostStep {
  return { id: `exec.${id}`, phase: 'exec', executor: 'host', label, action };
}

function init(id: string, label: string, action: InitAction): InitStep {
  return { id: `exec.${id}`, phase: 'exec', executor: 'init', label, action };
}

/** Steps of a start as steps of this plan. */
function adopted(steps: readonly InitStep[]): InitStep[] {
  return steps.map(step => ({ ...step, id: step.id.replace(/^running\./, 'exec.'), phase: 'exec' }));
}

/** Before the namespaces are entered: /proc is the host's, and so are the rights. */
function onTheHost(spec: ContainerSpec, facts: HostFacts): InitStep[] {
  const steps = [init('rlimits', 'resource limits', { op: 'limits', limits: effectiveRlimits(spec, facts).limits })];
  if (facts.oomScoreAdj !== spec.oomScoreAdj) {
    steps.push({
      ...init('oom', `oom_score_adj ${spec.oomScoreAdj}`, {
        op: 'file.write',
        path: '/proc/self/oom_score_adj',
        text: String(spec.oomScoreAdj),
      }),
      tolerate: [{ errno: 'EACCES', why: 'lowering it needs CAP_SYS_RESOURCE' }],
    });
  }
  if (facts.loginuid !== null) {
    steps.push({
      ...init('loginuid', `nobody's login, instead of that of user ${facts.loginuid}`, {
        op: 'file.write',
        path: '/proc/self/loginuid',
        text: '4294967295',
      }),
      tolerate: [
        { errno: 'EPERM', why: 'audit was told to keep it for ever, or the supervisor lacks CAP_AUDIT_CONTROL' },
      ],
    });
  }
  // It is the next exec that takes the profile on, also in a child.
  return [...steps, ...adopted(confinement(spec, facts).apply)];
}

/** As for PID 1, but for what was done on the host already; and the user is another one, maybe. */
function restrictions(spec: ContainerSpec, facts: HostFacts, wish: ExecWish): InitStep[] {
  const steps = adopted(securitySteps(spec, facts).steps).filter(({ id }) => id !== 'exec.apparmor');
  const user = init('user', `uid ${wish.uid}, gid ${wish.gid}, groups ${wish.groups.join(' ') || 'none'}`, {
    op: 'user',
    uid: wish.uid,
    gid: wish.gid,
    groups: wish.groups,
  });
  return steps.flatMap((step): InitStep[] => {
    const { action } = step;
    // Owned by the user of the process that makes it.
    if (action.op === 'session_keyring') return [];
    if (action.op !== 'capabilities') return [step];
    // What the user is changed by goes with the exec, as the bounding set says; with other users it goes at once.
    const born: readonly Capability[] = spec.idmap === null ? facts.capabilities : CAPABILITIES;
    const needed = (['setuid', 'setgid'] as const).filter(name => !action.keep.includes(name) && born.includes(name));
    return [{ ...step, action: { ...action, keep: [...action.keep, ...needed] } }, user];
  });
}

function keyring(spec: ContainerSpec, facts: HostFacts): InitStep[] {
  return adopted(securitySteps(spec, facts).steps.filter(({ action }) => action.op === 'session_keyring'));
}

interface Streams {
  readonly open: readonly HostStep[];
  /** Descriptors 0 to 2. */
  readonly registers: readonly string[];
  /** Our ends. */
  readonly kept: readonly string[];
}

/** The files belong to the user, so that it may open them again by /dev/stdout and its like. */
function streams(spec: ContainerSpec, { stdio, uid, gid }: ExecWish): Streams {
  const outside = (id: number): number => (spec.idmap?.first ?? 0) + id;
  if (stdio.kind === 'null') {
    const action: HostAction = { op: 'open', path: '/dev/null', flags: ['O_RDWR'], save: 'fd:null' };
    return { open: [host('null', 'open /dev/null', action)], registers: Array(3).fill('fd:null'), kept: [] };
  }
  if (stdio.kind === 'pipes') {
    const action: HostAction = {
      op: 'join.pipes',
      uid: outside(uid),
      gid: outside(gid),
      save: { theirs: STDIO, ours: PIPES },
    };
    return { open: [host('pipes', 'a pipe for each standard descriptor', action)], registers: STDIO, kept: PIPES };
  }
  const { rows, cols } = stdio;
  return {
    open: [
      host('tty', "a terminal in the container's devpts", {
        op: 'join.tty',
        pidfd: TARGET,
        rows,
        cols,
        uid: outside(uid),
        gid: ttyGroup(spec) ?? outside(gid),
        save: { master: MASTER, slave: 'fd:tty.slave' },
      }),
    ],
    registers: Array(3).fill('fd:tty.slave'),
    kept: [MASTER],
  };
}

/** What may be wrong with a file of the payload's: it counts as one that is not there. */
const UNREADABLE = (
  [
    'ENOENT',
    'ENOTDIR',
    'EACCES',
    'EPERM',
    'ELOOP',
    'EISDIR',
    'EINVAL',
    'ENXIO',
    'ENODEV',
    'EIO',
    'ESPIPE',
    'EAGAIN',
    'EXDEV',
  ] as const
).map(errno => ({ errno, why: 'it counts as a file that is not there' }));

/** Reading files in the container as its root would, instead of running a program; executed like `compileExec`. */
function compileRead(spec: ContainerSpec, facts: HostFacts, paths: readonly string[]): Plan {
  const wish: ExecWish = {
    programs: ['/'],
    argv: ['reading'],
    env: [],
    cwd: '/',
    uid: 0,
    gid: 0,
    groups: [],
    stdio: { kind: 'null' },
  };
  return compileJoin(spec, facts, wish, [
    ...paths.map((path, index) => ({
      ...init(`read.${index}`, `read ${path}`, { op: 'read', path }),
      tolerate: UNREADABLE,
    })),
    init('end', 'nothing more', { op: 'exit' }),
  ]);
}

/** Executed with the registers `pid` and TARGET of PID 1. */
export function compileExec(spec: ContainerSpec, facts: HostFacts, wish: ExecWish): Plan {
  return compileJoin(spec, facts, wish, [
    init('inside', "a child in the container's pid namespace", { op: 'fork', child: 1, cgroup: null }),
    init('session', 'new session', { op: 'setsid' }),
    ...(wish.stdio.kind === 'tty'
      ? [init('tty.controlling', 'its controlling terminal', { op: 'controlling_stdin' })]
      : []),
    init('signals.unblock', 'empty signal mask', { op: 'unblock_signals' }),
    init('exec', `exec ${wish.argv[0]}`, {
      op: 'execve',
      path: wish.programs[0],
      others: wish.programs.slice(1),
      argv: wish.argv,
      env: wish.env,
    }),
  ]);
}

/** @param last what is done when all is joined, with all restrictions, by a process that nobody inside can see. */
function compileJoin(spec: ContainerSpec, facts: HostFacts, wish: ExecWish, last: readonly InitStep[]): Plan {
  const cgroups = cgroupPaths(spec, facts);
  const birth = cgroups.v2 !== null && facts.features.cloneIntoCgroup;
  const hierarchies = cgroups.v1.map(({ hierarchy, joined }) => ({ name: hierarchy.name, tasks: `${joined}/tasks` }));
  const namespaces = [...(spec.idmap === null ? [] : ['CLONE_NEWUSER']), ...NAMESPACES];
  const v2: HostStep[] =
    cgroups.v2 === null
      ? []
      : [
          host('cgroup.v2', 'open the cgroup that PID 1 is in', {
            op: 'join.cgroup',
            payload: cgroups.v2.payload,
            procs: !birth,
            pid: 'pid',
            save: 'fd:cgroup.v2',
          }),
        ];
  const joins = [...hierarchies.map(({ name }) => name), ...(cgroups.v2 === null || birth ? [] : ['v2'])];
  const { open, registers, kept } = streams(spec, wish);
  const raise: HostStep = {
    ...host('raise', 'give what we keep high numbers: the low ones are for launches', {
      op: 'raise',
      registers: kept,
      from: KEPT_FROM,
    }),
    tolerate: [{ errno: 'EINVAL', why: 'the limit on descriptors is lower' }],
  };
  const steps: Step[] = [
    ...open,
    ...(kept.length === 0 ? [] : [raise]),
    ...hierarchies.map(({ name, tasks }) =>
      host(`cgroup.${name}`, `open ${tasks}`, {
        op: 'open',
        path: tasks,
        flags: ['O_WRONLY'],
        save: `fd:cgroup.${name}`,
      }),
    ),
    ...v2,
    host('sync', 'socket pair for the gate', { op: 'socketpair', save: [GATE, 'fd:sync'] }),
    {
      ...host('launch', 'clone and execute the joiner, parked at the gate', {
        op: 'join.launch',
        sync: 'fd:sync',
        save: { pid: 'pid:joiner', pidfd: 'fd:joiner' },
      }),
      undo: { op: 'join.kill', pidfd: 'fd:joiner' },
    },
    init('born', birth ? "a child in the container's cgroup" : 'a child', {
      op: 'fork',
      child: 0,
      cgroup: birth ? 'fd:cgroup.v2' : null,
    }),
    ...onTheHost(spec, facts),
    ...joins.map(name =>
      init(`join.${name}`, `join the ${name} cgroup`, { op: 'write', fd: `fd:cgroup.${name}`, text: '0' }),
    ),
    init('namespaces', "the container's namespaces; its pid namespace for the child to come", {
      op: 'setns',
      fd: TARGET,
      namespaces,
    }),
    init('umask', 'umask 0022', { op: 'umask', mask: 0o022 }),
    ...registers.map((fd, to) => init(`fd.${to}`, `descriptor ${to}`, { op: 'dup', fd, to })),
    init('signals.default', 'default action for every ignored signal', {
      op: 'default_signals',
      signals: ignoredSignals(facts),
    }),
    ...restrictions(spec, facts, wish),
    init('undumpable', 'nobody may look in, also after the change of user', { op: 'undumpable' }),
    ...keyring(spec, facts),
    init('cwd', `work in ${wish.cwd}`, { op: 'chdir', path: wish.cwd }),
    init('fds', 'close all but the standard descriptors and the gate', { op: 'close_from', from: 4 }),
    ...last,
    host('follow', 'reap the joiner, hold its child', { op: 'join.follow', pidfd: 'fd:joiner', save: JOINED }),
    host('close', 'close what it was made with', {
      op: 'close',
      registers: [
        ...hierarchies.map(({ name }) => `fd:cgroup.${name}`),
        ...(cgroups.v2 === null ? [] : ['fd:cgroup.v2']),
        TARGET,
        ...new Set(registers),
      ],
    }),
  ];
  return { container: spec.name, steps, notices: [], exports: [GATE, JOINED, ...kept] };
}

export function compileWish(spec: ContainerSpec, facts: HostFacts, wish: JoinWish): Plan {
  return 'read' in wish ? compileRead(spec, facts, wish.read) : compileExec(spec, facts, wish);
}
