/** The record of PID 1 in a container's volatile directory: who it is (LIF-13), and where the keeper holds what of it. */
import { isDescriptor, type Register } from './step.js';

export interface Kept {
  readonly slot: number;
  /** In the order of their places; a place may be empty. */
  readonly registers: readonly Register[];
}

export interface PidRecord {
  readonly pid: number;
  /** Clock ticks since boot, as the kernel prints them. */
  readonly startTime: string;
  readonly kept: Kept | null;
}

/** One line: a torn one does not parse. */
export function formatRecord({ pid, startTime, kept }: PidRecord): string {
  const held = kept === null ? [] : [kept.slot, ...kept.registers];
  return `${[pid, startTime, ...held].join(' ')}\n`;
}

export function parseRecord(text: string): PidRecord | undefined {
  const match = /^(\d+) (\d+)(?: (\d+)((?: \S+)*))?\n$/.exec(text);
  if (match === null) return undefined;
  const [, pid = '', startTime = '', slot, names = ''] = match;
  const registers = names.trim().split(' ').filter(isDescriptor);
  return { pid: Number(pid), startTime, kept: slot === undefined ? null : { slot: Number(slot), registers } };
}
