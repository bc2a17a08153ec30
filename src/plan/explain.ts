/** A plan for people: a table of its steps, or the same as JSON. */
import type { Variable } from './actions/init.js';
import type { HostAction, InitAction, Plan } from './step.js';

/** Operands that people know as octal numbers. */
const OCTAL = new Set(['mode', 'mask']);

/** An action's operands on one line: `mount proc on /proc …` without its name. */
export function explainAction(action: HostAction | InitAction): string {
  const { op, ...operands } = action;
  const parts = Object.entries(operands)
    .filter(([, value]) => value !== undefined && value !== null)
    .map(
      ([key, value]) =>
        `${key}=${key === 'secrets' ? Object.keys(value as object).join('|') : key === 'env' ? format((value as Variable[]).map(concealed)) : OCTAL.has(key) ? `0${Number(value).toString(8)}` : format(value)}`,
    );
  return `${op}(${parts.join(', ')})`;
}

/** The value of a variable is nobody's business but the payload's: operands go into errors and logs. */
function concealed(variable: Variable): string {
  if (typeof variable !== 'string') return `${variable.name}=…`;
  return variable.startsWith('container=') ? variable : variable.replace(/=.*/s, '=…');
}

function format(value: unknown): string {
  if (Array.isArray(value)) {
    if (value.length > 32) return `[${value.length} values]`;
    return value.every(item => typeof item === 'string' || typeof item === 'number')
      ? value.join('|')
      : JSON.stringify(value);
  }
  // One step is one line, whatever it writes.
  return typeof value === 'object' ? JSON.stringify(value) : String(value).replaceAll('\n', '\\n');
}

/** The names alone: the values are the payload's business. */
export function withoutValues(secrets: object): Record<string, string> {
  return Object.fromEntries(Object.keys(secrets).map(name => [name, '…']));
}

/** One line a step: phase, executor, label, call, and what is tolerated and undone. */
export function explain(plan: Plan): string {
  const rows = plan.steps.map(step => [
    step.phase,
    step.executor,
    step.label,
    explainAction(step.action),
    [
      ...(step.tolerate ?? []).map(({ errno }) => `may fail with ${errno}`),
      ...(step.needs === undefined ? [] : [`only with ${step.needs}`]),
      ...(step.executor === 'host' && step.undo !== undefined ? [`undo: ${explainAction(step.undo)}`] : []),
    ].join('; '),
  ]);
  const header = ['PHASE', 'BY', 'WHAT', 'CALL', 'NOTES'];
  const table = [header, ...rows];
  const widths = header.map((_, column) => Math.min(60, Math.max(...table.map(row => row[column]?.length ?? 0))));
  const lines = table.map(row =>
    row
      .map((cell, column) => (column === 4 ? cell : cell.padEnd(widths[column] ?? 0)))
      .join('  ')
      .trimEnd(),
  );
  const notices = plan.notices.map(notice => `${notice.code}: ${notice.message}`);
  return [...lines, ...(notices.length === 0 ? [] : ['', ...notices])].join('\n');
}

export function explainJSON(plan: Plan): string {
  return JSON.stringify(plan, (key, value) => (key === 'secrets' ? withoutValues(value) : value), 2);
}
