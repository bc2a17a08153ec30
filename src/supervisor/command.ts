/** The image's own way to halt or reboot, for inits that no signal makes do it (LIF-48). */
import type { SignalPurpose } from '../machines/port.js';
import type { ContainerSpec } from '../spec/container.js';
import { CaissonError } from '../spec/errors.js';
import type { Registers } from '../workers/context.js';
import type { Host } from './host.js';
import { join, whenEnded } from './joining.js';

const COMMANDS = { halt: 'poweroff', reboot: 'reboot' } as const;
const DIRECTORIES = ['/usr/sbin', '/usr/bin', '/sbin', '/bin'];
const ENVIRONMENT = ['PATH=/usr/sbin:/usr/bin:/sbin:/bin', 'HOME=/root', 'LANG=C'];
/** It only tells PID 1 what to do, as a rule; sysvinit's waits, and is killed with all the rest. */
const ANSWER_MS = 10_000;

/** Resolves when it has done its part: false when there is no such command, or it says that it has failed. */
export async function runCommand(
  host: Host,
  spec: ContainerSpec,
  target: Registers,
  purpose: SignalPurpose,
  signal: AbortSignal,
): Promise<boolean> {
  const name = COMMANDS[purpose];
  const [first = '', ...others] = DIRECTORIES.map(directory => `${directory}/${name}`);
  const wish = {
    programs: [first, ...others] as const,
    argv: [name],
    env: ENVIRONMENT,
    cwd: '/',
    uid: 0,
    gid: 0,
    groups: [],
    stdio: { kind: 'null' as const },
  };
  try {
    const exit = await within(whenEnded(await join(host, wish, { spec, target, signal })), signal);
    // Killed: by the init that it has asked to end everything.
    return exit === undefined || exit === 'not-a-child' || exit.code !== 'exited' || exit.status === 0;
  } catch (error) {
    if (CaissonError.is(error) && error.code === 'EXEC_FAILED') return false;
    throw error;
  }
}

/** Undefined when that is not known in time, or nobody waits for it any more. */
function within<T>(promise: Promise<T>, signal: AbortSignal): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    const late = (): void => resolve(undefined);
    const timer = setTimeout(late, ANSWER_MS);
    signal.addEventListener('abort', late, { once: true });
    promise.then(resolve, reject).finally(() => {
      clearTimeout(timer);
      signal.removeEventListener('abort', late);
    });
  });
}
