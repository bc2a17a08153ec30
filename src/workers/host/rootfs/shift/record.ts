/**
 * What a shift under way must not forget: a chown takes set-id bits and capabilities from a file, and after a crash
 * nothing but this would know of them.
 */
import { closeSync, existsSync, fsyncSync, openSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { CaissonError } from '../../../../spec/errors.js';
import type { Shift } from './ids.js';

/** A file that has what a chown takes. */
export interface Special {
  /** Path below the root, as latin1: a name need not be UTF-8. */
  readonly path: string;
  readonly mode: number;
  /** `security.capability` as it is to be afterwards, in base64; null: none. */
  readonly capability: string | null;
}

export interface ShiftRecord {
  readonly version: 1;
  readonly shift: Shift;
  /** Which directory: its inode. */
  readonly root: string;
  readonly done: boolean;
  readonly special: readonly Special[];
}

export function readShift(path: string): ShiftRecord | undefined {
  // Asked at every start, where there is none as a rule: without the cost of an exception.
  if (!existsSync(path)) return undefined;
  const text = readFileSync(path, 'utf8');
  try {
    const record = JSON.parse(text) as ShiftRecord;
    if (record.version === 1 && Array.isArray(record.special)) return record;
  } catch {
    // As one of another version: said below.
  }
  throw new CaissonError('STATE_INVALID', `${path} is no record of a shift of this version`, { field: path });
}

/** On the disk before anything that it is about is done. */
export function writeShift(path: string, record: ShiftRecord): void {
  const fresh = `${path}.new`;
  const fd = openSync(fresh, 'w', 0o600);
  try {
    const bytes = Buffer.from(`${JSON.stringify(record)}\n`);
    for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(fresh, path);
  const directory = openSync(dirname(path), 'r');
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}

export function dropShift(path: string): void {
  rmSync(path, { force: true });
}
