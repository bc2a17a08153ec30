/**
 * What the kernel will open to run a program of the root file system: symlinks on its way, `#!` interpreters, the ELF
 * loader. Until its exec PID 1 is a copy of our process, and /proc/self/exe is the host's Node: an image that leads
 * there (the class of CVE-2019-5736) gets hold of a program of the host.
 */
import {
  type Elf,
  EXECUTABLE_HEAD,
  type Executable,
  foreignMachine,
  loaderPlace,
  parseExecutable,
} from '../../../spec/executable.js';
import { O, RESOLVE, S_IFLNK, S_IFMT, S_IFREG } from '../../../syscalls/abi/constants.js';
import { close, openat2, readAt, readLinkFd, statFd } from '../../../syscalls/fs.js';
import { ARCH, SyscallError } from '../../../syscalls/libc.js';
import { hasBinfmt } from './binfmt.js';

/** Directories that hold something else by the time of the exec: what the image has there proves nothing. */
const COVERED = new Set(['dev', 'proc', 'sys']);
export const EXACTLY = RESOLVE.RESOLVE_IN_ROOT | RESOLVE.RESOLVE_NO_MAGICLINKS | RESOLVE.RESOLVE_NO_SYMLINKS;
/** As many as the kernel follows (path_resolution(7)). */
const MAX_LINKS = 40;
/** As deep as the kernel lets interpreters nest (execve(2)). */
const MAX_DEPTH = 5;

type Place = { readonly file: string } | { readonly covered: string } | undefined;

interface Entry {
  readonly mode: number;
  readonly link: string | undefined;
}

/** What is at `path`; `indirect`: a symlink on the way there, so that it cannot be said. */
function entryAt(dir: number, path: string): Entry | 'indirect' | undefined {
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
    const entry = entryAt(dir, walked.join('/'));
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
    const entry = entryAt(dir, at);
    if (entry === undefined) return undefined;
    if (entry === 'indirect') at = substitute(dir, at);
    else if (entry.link !== undefined)
      at = [...(entry.link.startsWith('/') ? [] : parts.slice(0, -1)), entry.link].join('/');
    else return (entry.mode & S_IFMT) === S_IFREG ? { file: parts.join('/') } : undefined;
  }
  return undefined;
}

/** The loader that an ELF program asks for. */
function loaderOf(fd: number, elf: Elf): string | undefined {
  if (elf.headers === undefined) return undefined;
  const { offset, size, count } = elf.headers;
  const place = loaderPlace(elf, readAt(fd, offset, size * count));
  if (place === undefined) return undefined;
  return readAt(fd, place.offset, place.length).toString('utf8').replace(/\0.*$/s, '');
}

interface Found {
  readonly head: Buffer;
  readonly executable: Executable;
  readonly interpreter: string | undefined;
}

function look(dir: number, file: string): Found {
  const fd = openat2(dir, file, O.O_RDONLY | O.O_NOFOLLOW | O.O_NONBLOCK, EXACTLY);
  try {
    const head = readAt(fd, 0, EXECUTABLE_HEAD);
    const executable = parseExecutable(head);
    const interpreter =
      executable.kind === 'script'
        ? executable.interpreter
        : executable.kind === 'elf'
          ? loaderOf(fd, executable)
          : undefined;
    return { head, executable, interpreter: interpreter === '' ? undefined : interpreter };
  } finally {
    close(fd);
  }
}

export type Obstacle =
  /** The path of `program` leads below /dev, /proc or /sys. */
  | { readonly kind: 'detour'; readonly program: string; readonly to: string }
  /** `program` is what `by` is run by, and leads to no file. */
  | { readonly kind: 'missing'; readonly program: string; readonly by: string }
  /** `program` is for another machine, and the kernel knows no interpreter for it. */
  | { readonly kind: 'foreign'; readonly program: string; readonly machine: string };

/**
 * The first of the programs that run `init` that cannot be executed. That `init` itself is not there is no matter here,
 * and what it is for the kernel to judge.
 */
export function findObstacle(dir: number, init: string): Obstacle | undefined {
  let program = init;
  let by: string | undefined;
  let isScript = false;
  for (let depth = 0; depth <= MAX_DEPTH; depth++) {
    const place = follow(dir, program);
    if (place === undefined) return by === undefined ? undefined : { kind: 'missing', program, by };
    if ('covered' in place) return { kind: 'detour', program, to: place.covered };
    const { head, executable, interpreter } = look(dir, place.file);
    const machine = executable.kind === 'elf' ? foreignMachine(executable, ARCH) : undefined;
    if (machine !== undefined) {
      // Whoever runs it looks for its loader where it likes. A loader itself is not run by another program.
      const emulated = (by === undefined || isScript) && hasBinfmt(head);
      return emulated ? undefined : { kind: 'foreign', program, machine };
    }
    if (interpreter === undefined) return undefined;
    isScript = executable.kind === 'script';
    by = program;
    program = interpreter;
  }
  return undefined;
}
