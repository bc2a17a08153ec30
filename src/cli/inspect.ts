/** `caisson inspect`: one container, as its files tell it; the supervisor that has it may be another process. */
import { describe } from '../machines/exit.js';
import { START_PHASES } from '../plan/step.js';
import { type Inspection, inspect } from '../supervisor/inspect.js';
import type { LastStart } from '../supervisor/life.js';
import { print } from './print.js';

export async function inspectCommand(
  name: string,
  options: { readonly state: string; readonly json?: boolean },
): Promise<void> {
  const found = await inspect(name, options.state);
  await print(options.json === true ? `${JSON.stringify(found, null, 2)}\n` : text(found));
}

function text(found: Inspection): string {
  const { name, state, pid, start, spec, exit, error, restartCount } = found;
  const facts: [what: string, value: string | undefined][] = [
    ['state', pid === null ? state : `${state}, PID 1 is ${pid} on the host`],
    ['created', date(found.created)],
    ['started', start === null ? undefined : `${date(start.time)}, in ${took(start)}`],
    ['reboots', restartCount === 0 ? undefined : String(restartCount)],
    ['exit', exit === null ? undefined : describe(exit)],
    ['error', error === null ? undefined : `${error.message} [${error.code}]`],
    ['  step', error?.step && `${error.step.id} (${error.step.executor}): ${error.step.operands}`],
    ['  hint', error?.hint],
    ['rootfs', spec.rootfs.path],
    ['ids', spec.idmap === null ? 'privileged' : `${spec.idmap.first} to ${spec.idmap.first + spec.idmap.count - 1}`],
    ['state in', found.directory],
    ['volatile in', found.runDir],
  ];
  return [
    name,
    ...facts.flatMap(([what, value]) => (value === undefined ? [] : [`  ${what.padEnd(12)}${value}`])),
    ...(start === null ? [] : ['', ...report(start)]),
    ...list(
      'Notices',
      found.notices
        // What the start told is in its report.
        .filter(({ message }) => start?.report.entries.every(({ why }) => why !== message) ?? true)
        .map(({ time, code, message }) => `${date(time)}  ${code}: ${message}`),
    ),
    '',
    'Spec',
    ...JSON.stringify(spec, null, 2)
      .split('\n')
      .map(line => `  ${line}`),
    '',
  ].join('\n');
}

function report({ report: { steps, entries }, timeline }: LastStart): string[] {
  const failed = timeline.filter(({ outcome }) => outcome === 'failed').length;
  const counts = [
    `${steps.done} steps done`,
    `${steps.skipped} skipped`,
    ...(failed === 0 ? [] : [`${failed} failed`]),
  ];
  const lines = entries.map(
    ({ outcome, code, what, why }) => `  ${outcome.padEnd(10)}${code === 'step' ? what : code}: ${why}`,
  );
  return [`Start report: ${counts.join(', ')}`, ...lines];
}

function list(title: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : ['', title, ...lines.map(line => `  ${line}`)];
}

/** `4.2 ms (creating 1.9, mounting 1.4, …)`: from the first step of a phase to its last. */
function took({ timeline }: LastStart): string {
  const phases = new Map<string, { start: number; end: number }>();
  for (const { phase, start, end } of timeline) {
    const known = phases.get(phase) ?? { start, end };
    phases.set(phase, { start: Math.min(known.start, start), end: Math.max(known.end, end) });
  }
  const ms = (ns: number): string => (ns / 1e6).toFixed(1);
  const total = Math.max(0, ...timeline.map(({ end }) => end));
  // Host and init work side by side: what is begun first need not be of the first phase.
  const each = START_PHASES.flatMap(phase => {
    const times = phases.get(phase);
    return times === undefined ? [] : [`${phase} ${ms(times.end - times.start)}`];
  });
  return `${ms(total)} ms${each.length === 0 ? '' : ` (${each.join(', ')})`}`;
}

function date(time: number): string {
  return new Date(time).toISOString();
}
