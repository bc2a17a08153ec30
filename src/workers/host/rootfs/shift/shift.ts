/**
 * Giving the files of a tree to other ids, once, where their owners cannot be shown through a map (NET-33). What it
 * does to a file it may do again: after a crash the next start goes on. The root directory comes last: whose that is,
 * is the whole tree.
 */
import { fstatSync, statSync } from 'node:fs';
import type { ShiftTarget } from '../../../../plan/actions/rootfs.js';
import { AT, O, S_IFLNK, S_IFMT, S_IFREG } from '../../../../syscalls/abi/constants.js';
import { chownat, close, openat, statFd } from '../../../../syscalls/fs.js';
import { SyscallError, trySyscall } from '../../../../syscalls/libc.js';
import { attributeOf, changeMode, setAttribute, syncFileSystem } from '../../../../syscalls/metadata.js';
import { refuse } from '../refuse.js';
import { isClear, moved, movedAcl, movedCapability, type Shift } from './ids.js';
import { dropShift, readShift, type ShiftRecord, type Special, writeShift } from './record.js';
import { type Found, walk } from './walk.js';

const SET_IDS = 0o6000;
const PERMISSIONS = 0o7777;
const CAPABILITY = 'security.capability';
const ACLS = ['system.posix_acl_access', 'system.posix_acl_default'];
/** Bytes of the paths in a record: a distribution has some fifty such files, a payload may leave millions. */
const MAX_RECORDED = 32 * 1024 * 1024;
const LOCK_EX_NB = 2 | 4;

const textOf = (path: Buffer): string => path.toString('latin1');
/** Which directory a record is about. Not by its device: that may have another number after the machine has booted. */
const inodeOf = (fd: number): string => fstatSync(fd, { bigint: true }).ino.toString();

function isHostRoot(fd: number): boolean {
  const [one, host] = [fstatSync(fd, { bigint: true }), statSync('/', { bigint: true })];
  return one.dev === host.dev && one.ino === host.ino;
}

/** Names the file in what the kernel says of it. */
function at(path: Buffer, act: () => void): void {
  try {
    act();
  } catch (error) {
    if (error instanceof SyscallError) throw new SyscallError(error.call, error.number, `/${path.toString('utf8')}`);
    throw error;
  }
}

function refuseForeign({ path, stat }: Found): never {
  refuse(
    'SHIFT_UNSUPPORTED',
    `/${path.toString('utf8')} in the rootfs belongs to ${stat.uid}:${stat.gid}, for which the container has no id`,
    'give it to an id below the size of the range (65,536 as a rule), or set rootfs.shift to none',
  );
}

function refuseTooMany({ path }: Found): never {
  const [where = ''] = path.toString('utf8').split('/');
  refuse(
    'SHIFT_UNSUPPORTED',
    `the rootfs has more files with set-id bits or capabilities than can be written down, at last in /${where}`,
    'remove those that no system needs',
  );
}

/** Changes nothing. @throws CaissonError SHIFT_UNSUPPORTED for ids that cannot be moved, unless `lenient`. */
function survey(root: number, shift: Shift, lenient: boolean): Special[] {
  const special: Special[] = [];
  let recorded = 0;
  walk(root, found => {
    const { fd, stat, path } = found;
    if (!lenient && (moved(stat.uid, shift) === undefined || moved(stat.gid, shift) === undefined))
      refuseForeign(found);
    if ((stat.mode & S_IFMT) !== S_IFREG) return;
    const value = attributeOf(fd, CAPABILITY);
    if (value === undefined && (stat.mode & SET_IDS) === 0) return;
    recorded += path.length;
    if (recorded > MAX_RECORDED) refuseTooMany(found);
    const capability = value === undefined ? null : movedCapability(value, shift).toString('base64');
    special.push({ path: textOf(path), mode: stat.mode & PERMISSIONS, capability });
  });
  return special;
}

function give(found: Found, shift: Shift, special: Special | undefined): void {
  const { fd, stat } = found;
  const [uid, gid] = [moved(stat.uid, shift) ?? stat.uid, moved(stat.gid, shift) ?? stat.gid];
  if (uid !== stat.uid || gid !== stat.gid) chownat(fd, '', uid, gid);
  if ((stat.mode & S_IFMT) === S_IFLNK) return;
  for (const name of ACLS) {
    const acl = attributeOf(fd, name);
    const changed = acl === undefined ? undefined : movedAcl(acl, shift);
    if (changed !== undefined) setAttribute(fd, name, changed);
  }
  if (special === undefined) return;
  if ((statFd(fd).mode & PERMISSIONS) !== special.mode) changeMode(fd, special.mode);
  if (special.capability !== null) setAttribute(fd, CAPABILITY, Buffer.from(special.capability, 'base64'));
}

/** Does what the record says, as far as it has not been done. */
function carryOut(root: number, path: string, record: ShiftRecord): void {
  const special = new Map(record.special.map(one => [one.path, one]));
  walk(root, found => {
    if (found.path.length > 0) at(found.path, () => give(found, record.shift, special.get(textOf(found.path))));
  });
  const directory = openat(root, '.', O.O_RDONLY | O.O_DIRECTORY);
  try {
    syncFileSystem(directory);
  } finally {
    close(directory);
  }
  writeShift(path, { ...record, done: true, special: [] });
  give({ fd: root, stat: statFd(root), path: Buffer.alloc(0) }, record.shift, undefined);
}

/** Calls `act` while nobody else shifts the same directory, for another container or another supervisor. */
function alone(root: number, act: () => void): void {
  const fd = openat(root, '.', O.O_RDONLY | O.O_DIRECTORY);
  try {
    const locked = trySyscall('flock', fd, LOCK_EX_NB);
    if (locked === -11) {
      const hint = 'give each container a directory of its own, or an overlay on top of a shared one';
      refuse('SHIFT_UNSUPPORTED', 'the rootfs is being shifted for another container', hint);
    }
    if (locked < 0) throw new SyscallError('flock', -locked, 'rootfs');
    act();
  } finally {
    close(fd);
  }
}

function begin(root: number, path: string, shift: Shift, lenient: boolean): void {
  const record = {
    version: 1,
    shift,
    root: inodeOf(root),
    done: false,
    special: survey(root, shift, lenient),
  } as const;
  writeShift(path, record);
  carryOut(root, path, record);
}

/** One that a crash has left in the middle of this directory, in either direction. */
function unfinished(root: number, path: string): ShiftRecord | undefined {
  const record = readShift(path);
  return record === undefined || record.done || record.root !== inodeOf(root) ? undefined : record;
}

export function isUnfinished(root: number, { record }: ShiftTarget): boolean {
  return unfinished(root, record) !== undefined;
}

/** Whether the tree is the container's own already. */
export function belongs(root: number, { first }: ShiftTarget): boolean {
  return statFd(root).uid === first;
}

/** @throws CaissonError SHIFT_UNSUPPORTED */
export function shiftTo(root: number, target: ShiftTarget): void {
  const shift: Shift = { from: 0, to: target.first, count: target.count };
  if (!isClear(shift)) {
    const hint = `set idmap.first to ${target.count} at least, or rootfs.shift to none`;
    refuse('SHIFT_UNSUPPORTED', 'the ids of the container and those in the rootfs overlap', hint);
  }
  if (isHostRoot(root))
    refuse('SHIFT_UNSUPPORTED', "the rootfs is the host's own: its owners are not changed", 'set rootfs.overlay');
  alone(root, () => {
    const left = unfinished(root, target.record);
    if (left !== undefined) carryOut(root, target.record, left);
    if (!belongs(root, target)) begin(root, target.record, shift, false);
  });
}

/** Back to the ids that the tree had; nothing when it was not shifted, or is not there any more. */
export function unshift(path: string, target: ShiftTarget): void {
  const record = readShift(target.record);
  if (record === undefined) return;
  const root = openIfThere(path);
  if (root !== undefined) {
    try {
      alone(root, () => {
        const left = unfinished(root, target.record);
        if (left !== undefined) carryOut(root, target.record, left);
        const back: Shift = { from: target.first, to: 0, count: target.count };
        // Another directory than the one that was shifted is left as it is.
        if (record.root === inodeOf(root) && belongs(root, target)) begin(root, target.record, back, true);
      });
    } finally {
      close(root);
    }
  }
  dropShift(target.record);
}

function openIfThere(path: string): number | undefined {
  try {
    return openat(AT.AT_FDCWD, path, O.O_PATH | O.O_DIRECTORY);
  } catch (error) {
    if (error instanceof SyscallError && ['ENOENT', 'ENOTDIR'].includes(error.errno)) return undefined;
    throw error;
  }
}
