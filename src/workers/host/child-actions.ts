/** Executors of the actions of the child's birth. */
import type { ChildAction } from '../../plan/actions/child.js';
import { CaissonError } from '../../spec/errors.js';
import { RLIMIT_NAMES } from '../../spec/rlimits.js';
import { CLONE, flagsOf } from '../../syscalls/abi/constants.js';
import { writeFile } from '../../syscalls/fs.js';
import { SyscallError } from '../../syscalls/libc.js';
import { poll, reap, sendSignal, setRlimit } from '../../syscalls/process.js';
import { socketpair } from '../../syscalls/socket.js';
import { holdUndumpable, releaseDumpable } from '../dumpable.js';
import { loadProfile } from './apparmor.js';
import type { Executors } from './executors.js';
import { writeRecord } from './record.js';
import { closeSync } from './sync.js';

const SIGKILL = 9;
/** The register that says whether this start holds it. */
const HELD = 'undumpable';
const KILL_TIMEOUT_MS = 10_000;

export const CHILD_ACTIONS: Executors<ChildAction> = {
  socketpair: (action, context) => {
    const [ours, theirs] = socketpair();
    context.set(action.save[0], ours);
    context.set(action.save[1], theirs);
  },
  launch: (action, context) => {
    const program = context.park(context.get(action.sync));
    const launched = program.launch(
      flagsOf(CLONE, action.namespaces),
      action.cgroup === null ? null : context.get(action.cgroup),
    );
    if ('errno' in launched) throw new SyscallError('clone3', launched.errno, action.namespaces.join('|'));
    context.set(action.save.pid, launched.pid);
    context.set(action.save.pidfd, launched.pidfd);
  },
  // (uid_t)-1: nobody. The thread's own, which its children begin with.
  'loginuid.unset': () => writeFile('/proc/thread-self/loginuid', '4294967295'),
  'apparmor.load': action => loadProfile(action),
  'sync.close': (action, context) => closeSync(action, context),
  kill: (action, context) => {
    const pidfd = context.get(action.pidfd);
    sendSignal(pidfd, SIGKILL);
    poll([pidfd], KILL_TIMEOUT_MS);
    if (reap(pidfd) === undefined)
      throw new CaissonError('UNKILLABLE', `the child is still alive ${KILL_TIMEOUT_MS} ms after SIGKILL`);
  },
  record: (action, context) =>
    writeRecord(
      action.path,
      context.get(action.pid),
      context.has(action.slot) ? { slot: context.get(action.slot), registers: action.registers } : null,
    ),
  'idmap.write': (action, context) => {
    const pid = context.get(action.pid);
    const lines = (map: typeof action.uid): string =>
      map.map(({ inside, outside, count }) => `${inside} ${outside} ${count}\n`).join('');
    writeFile(`/proc/${pid}/uid_map`, lines(action.uid));
    writeFile(`/proc/${pid}/gid_map`, lines(action.gid));
  },
  rlimits: (action, context) => {
    const pid = context.get(action.pid);
    for (const [name, [soft, hard]] of Object.entries(action.limits)) {
      setRlimit(pid, (RLIMIT_NAMES as readonly string[]).indexOf(name), soft, hard);
    }
  },
  oom: (action, context) => writeFile(`/proc/${context.get(action.pid)}/oom_score_adj`, String(action.adj)),
  'undumpable.hold': (_, context) => {
    holdUndumpable();
    context.set(HELD, 1);
  },
  'undumpable.release': (_, context) => {
    // A start that fails after its own release is undone as well.
    if (!context.has(HELD)) return;
    context.clear(HELD);
    releaseDumpable();
  },
};
