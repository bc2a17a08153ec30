/** One look at a running container, of each kind of probe. */
import type { ProbeResult } from '../machines/probing.js';
import type { ProbeRules } from '../spec/schema/probe.js';
import { type Fault, probeFile, probeTcp } from '../syscalls/probe.js';
import type { ExecProcess } from './exec.js';

/** Output of a probe's program is not kept; one that writes more than this is no probe. */
const MOST_OUTPUT = 64 * 1024;

export interface Looked {
  readonly pid: number | undefined;
  readonly pidfd: number | undefined;
  exec(argv: readonly string[], signal: AbortSignal): Promise<ExecProcess>;
}

export async function look(at: Looked, { probe, timeout }: ProbeRules): Promise<ProbeResult> {
  const { pid, pidfd } = at;
  if (pid === undefined || pidfd === undefined) return { ok: false, why: 'it does not run' };
  let fault: Fault;
  if (probe.kind === 'file') fault = await probeFile(pid, probe.path, timeout);
  else if (probe.kind === 'exec') fault = await probeExec(at, probe.argv, timeout);
  else fault = await probeTcp(pidfd, probe, timeout);
  return { ok: fault === undefined, why: fault ?? '' };
}

/** Settles in time, also when what it has left behind holds its output open, or when it cannot even be killed. */
async function probeExec(at: Looked, argv: readonly string[], timeout: number): Promise<Fault> {
  const signal = AbortSignal.timeout(timeout);
  const program = await at.exec(argv, signal);
  const outputs = [program.stdout, program.stderr];
  let written = 0;
  for (const output of outputs) {
    output?.on('data', (data: Buffer) => {
      written += data.length;
      if (written > MOST_OUTPUT) program.kill('SIGKILL');
    });
  }
  program.stdin?.end();
  try {
    const exit = await Promise.race([program.wait(), aborted(signal)]);
    if (written > MOST_OUTPUT) return `${argv[0]}: more than ${MOST_OUTPUT} bytes of output`;
    if (exit?.kind === 'exit' && exit.status === 0) return undefined;
    if (exit === undefined || signal.aborted) return `${argv[0]}: not done within ${timeout} ms`;
    return exit.kind === 'exit' ? `${argv[0]}: status ${exit.status}` : `${argv[0]}: ${exit.kind}`;
  } finally {
    for (const output of outputs) output?.destroy();
  }
}

function aborted(signal: AbortSignal): Promise<undefined> {
  return new Promise(resolve => {
    if (signal.aborted) resolve(undefined);
    else signal.addEventListener('abort', () => resolve(undefined), { once: true });
  });
}
