/**
 * What the kernel will open to run a program of the root file system: symlinks on its way, `#!` interpreters, the ELF
 * loader. Until its exec PID 1 is a copy of our process, and /proc/self/exe is the host's Node: an image that leads
 * there (the class of CVE-2019-5736) gets hold of a program of the host.
 */
import { O, RESOLVE, S_IFLNK, S_IFMT, S_IFREG } from '../../../syscalls/abi/constants.js';
import { close, openat2, readAt, readLinkFd, statFd } from '../../../syscalls/fs.js';
import { SyscallError } from '../../../syscalls/libc.js';

/** Directories that hold something else by the time of the exec: what the image has there proves nothing. */
const COVERED = new Set(['dev', 'proc', 'sys']);
export const EXACTLY = RESOLVE.RESOLVE_IN_ROOT | RESOLVE.RESOLVE_NO_MAGICLINKS | RESOLVE.RESOLVE_NO_SYMLINKS;
/** As many as the kernel follows (path_resolution(7)). */
const MAX_LINKS = 40;
/** As deep as the kernel lets interpreters nest (execve(2)). */
const MAX_DEPTH = 5;
const SCRIPT_LINE = 256;
const MAX_PROGRAM_HEADERS = 65_536;

type Place = { readonly file: string } | { readonly covered: string } | undefined;

interface Entry {
  readonly mode: number;
  readonly link: string | undefined;
}

/** What is at `path`; `indirect`: a symlink on the way there, so that it cannot be said. */
function look(dir: number, path: string): Entry | 'indirect' | undefined {
  let fd: number;
  try {
    fd = openat2(dir, path, O.O_PATH | O.O_NOFOLLOW, EXACTLY);
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    if (error.errno === 'ELOOP') return 'indirect';
    if (error.errno === 'ENOENT' || error.errno === 'ENOTDIR') return undefined;
    throw error;
  }
  try {
    const { mode } = statFd(fd);
    return { mode, link: (mode & S_IFMT) === S_IFLNK ? readLinkFd(fd) : undefined };
  } finally {
    close(fd);
  }
}

/** `path` without `.` and `..`: the same place where no symlink is on the way. */
function plain(path: string): string[] {
  const out: string[] = [];
  for (const part of path.split('/')) {
    if (part === '..') out.pop();
    else if (part !== '' && part !== '.') out.push(part);
  }
  return out;
}

/** `path` with its first symlink replaced by what that stands for; undefined when there is none. */
function substitute(dir: number, path: string): string | undefined {
  const parts = path.split('/');
  const walked: string[] = [];
  while (parts.length > 0) {
    const part = parts.shift() ?? '';
    if (part === '..') walked.pop();
    if (part === '' || part === '.' || part === '..') continue;
    walked.push(part);
    const entry = look(dir, walked.join('/'));
    if (entry === undefined || entry === 'indirect') return undefined;
    if (entry.link === undefined) continue;
    walked.pop();
    return [...(entry.link.startsWith('/') ? [] : walked), entry.link, ...parts].join('/');
  }
  return undefined;
}

/** Goes to `path` as the kernel would at exec. Undefined: it leads to no regular file. */
export function follow(dir: number, path: string): Place {
  let at: string | undefined = path;
  for (let links = 0; links <= MAX_LINKS && at !== undefined; links++) {
    // Before anything is looked up: below these directories the image has no say.
    const parts = plain(at);
    if (COVERED.has(parts[0] ?? '')) return { covered: `/${parts.join('/')}` };
    const entry = look(dir, at);
    if (entry === undefined) return undefined;
    if (entry === 'indirect') at = substitute(dir, at);
    else if (entry.link !== undefined)
      at = [...(entry.link.startsWith('/') ? [] : parts.slice(0, -1)), entry.link].join('/');
    else return (entry.mode & S_IFMT) === S_IFREG ? { file: parts.join('/') } : undefined;
  }
  return undefined;
}

export function scriptInterpreter(head: Buffer): string | undefined {
  if (head.toString('latin1', 0, 2) !== '#!') return undefined;
  return /^#![ \t]*([^ \t\n\0]+)/.exec(head.toString('utf8', 0, SCRIPT_LINE))?.[1];
}

const PT_INTERP = 3;

/** The loader a native ELF program asks for (elf(5)), of either class. */
function elfLoader(fd: number, head: Buffer): string | undefined {
  if (head.length < 64 || head.toString('latin1', 0, 4) !== '\x7fELF' || head[5] !== 1) return undefined;
  const wide = head[4] === 2;
  const offset = wide ? Number(head.readBigUInt64LE(32)) : head.readUInt32LE(28);
  const size = head.readUInt16LE(wide ? 54 : 42);
  const count = head.readUInt16LE(wide ? 56 : 44);
  if (size < 32 || size * count > MAX_PROGRAM_HEADERS || !Number.isSafeInteger(offset)) return undefined;
  const table = readAt(fd, offset, size * count);
  for (let at = 0; at + (wide ? 56 : 32) <= table.length; at += size) {
    if (table.readUInt32LE(at) !== PT_INTERP) continue;
    const where = wide ? Number(table.readBigUInt64LE(at + 8)) : table.readUInt32LE(at + 4);
    const length = wide ? Number(table.readBigUInt64LE(at + 32)) : table.readUInt32LE(at + 16);
    if (length > 4096 || !Number.isSafeInteger(where)) return undefined;
    return readAt(fd, where, length).toString('utf8').replace(/\0.*$/s, '');
  }
  return undefined;
}

function interpreterOf(dir: number, file: string): string | undefined {
  const fd = openat2(dir, file, O.O_RDONLY | O.O_NOFOLLOW | O.O_NONBLOCK, EXACTLY);
  try {
    const head = readAt(fd, 0, SCRIPT_LINE);
    return scriptInterpreter(head) ?? elfLoader(fd, head);
  } finally {
    close(fd);
  }
}

export interface Detour {
  /** The program or interpreter whose path leads there. */
  readonly program: string;
  readonly to: string;
}

/**
 * The first of the programs that run `init` whose path leads below /dev, /proc or /sys. One that does not exist is no
 * matter here: exec says so, with its errno.
 */
export function findDetour(dir: number, init: string): Detour | undefined {
  let program = init;
  for (let depth = 0; depth <= MAX_DEPTH; depth++) {
    const place = follow(dir, program);
    if (place === undefined) return undefined;
    if ('covered' in place) return { program, to: place.covered };
    const interpreter = interpreterOf(dir, place.file);
    if (interpreter === undefined || interpreter === '') return undefined;
    program = interpreter;
  }
  return undefined;
}
