/** Looking into a running container of a distribution: commands in its namespaces, its systemd, a login on its console. */
import { execFile } from 'node:child_process';
import type { Container } from 'caisson';
import { waitForText } from './rig.ts';
import { slow } from './slow.ts';

export interface Said {
  readonly status: number;
  /** Standard output, without white space at its ends. */
  readonly text: string;
  readonly errors: string;
}

const COMMAND_TIMEOUT_MS = slow(30_000);
const BOOT_TIMEOUT_MS = slow(30_000);

/** Runs a shell script in all of PID 1's namespaces, as root inside, with nothing of this process's environment. */
export function inside(container: Container, script: string): Promise<Said> {
  const argv = ['--target', String(container.pid), '--all', '--', '/bin/sh', '-c', script];
  const env = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', TERM: 'dumb', HOME: '/root' };
  return new Promise((resolve, reject) => {
    execFile('nsenter', argv, { env, timeout: COMMAND_TIMEOUT_MS }, (error, stdout, stderr) => {
      const status = error === null ? 0 : error.code;
      if (typeof status === 'number') resolve({ status, text: stdout.trim(), errors: stderr.trim() });
      else reject(new Error(`${script}: ended by ${error?.signal ?? status}; it printed:\n${stdout}${stderr}`));
    });
  });
}

/** What systemd calls the state of the whole system once it has booted: running, degraded, … */
export async function booted(container: Container): Promise<string> {
  const deadline = Date.now() + BOOT_TIMEOUT_MS;
  for (;;) {
    const { text, errors } = await inside(container, 'systemctl is-system-running');
    // Empty while systemd listens on no bus yet.
    if (!['', 'offline', 'initializing', 'starting'].includes(text)) return text;
    if (Date.now() > deadline) throw new Error(`not booted within ${BOOT_TIMEOUT_MS} ms: ${text} ${errors}`);
    await new Promise(resolve => setTimeout(resolve, 100));
  }
}

/** Logs in as root, who has no password, and resolves once the shell has asked for a command. */
export async function login(container: Container, from = 0): Promise<void> {
  await waitForText(container, /login: $/, { timeoutMs: BOOT_TIMEOUT_MS, from });
  const prompt = container.console.end;
  await container.console.write('root\n');
  await waitForText(container, /root@.*:~# $/, { timeoutMs: BOOT_TIMEOUT_MS, from: prompt });
}

/** Types a command at the console's shell and resolves once its output shows `wanted`. */
export async function type(container: Container, command: string, wanted: RegExp): Promise<string> {
  const from = container.console.end;
  await container.console.write(`${command}\n`);
  return await waitForText(container, wanted, { timeoutMs: BOOT_TIMEOUT_MS, from });
}

/** Processes that ended and that nobody has reaped, after a moment in which PID 1 may do it. */
export async function zombies(container: Container): Promise<string> {
  // An orphan's parent becomes PID 1, whose job it then is.
  await inside(container, '(sleep 0.1 &) ; (true &) ; sleep 0.5');
  const { text } = await inside(container, 'ps -eo stat=,pid=,args= | grep ^Z');
  return text;
}
