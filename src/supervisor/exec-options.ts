/** What a caller of exec() may ask for, checked, and its defaults. */
import type { ExecWish } from '../plan/exec.js';
import type { ContainerSpec } from '../spec/container.js';
import { CaissonError } from '../spec/errors.js';
import type { FoundUser } from './exec-user.js';

export interface ExecUser {
  readonly uid: number;
  /** Default: that of `uid` in numbers, 0. */
  readonly gid?: number;
  /** Supplementary groups. Default none. */
  readonly groups?: readonly number[];
}

export interface ExecOptions {
  /** Variables besides the defaults: PATH, HOME, `container`, and TERM with a terminal. Nothing is inherited. */
  readonly env?: Readonly<Record<string, string>>;
  /** Absolute path inside. Default `/`. */
  readonly cwd?: string;
  /** Ids inside, or a name (`user` or `user:group`) that is looked up in /etc/passwd and /etc/group inside. Default root. */
  readonly user?: number | string | ExecUser;
  /** A terminal in place of three pipes; 24 rows and 80 columns unless told. */
  readonly tty?: boolean | { readonly rows?: number; readonly cols?: number };
  /** Gives the call up, or kills the program. */
  readonly signal?: AbortSignal;
}

const DIRECTORIES = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'];
const LAST_ID = 0xffff_fffe;
/** MAX_ARG_STRLEN of execve(2), in bytes. */
const LONGEST = 128 * 1024;
/** PATH_MAX of the kernel, in bytes. */
const LONGEST_PATH = 4096;
/** Each is a call that is written down before it is known whether it is needed. */
const MOST_DIRECTORIES = 512;
/** The kernel gives arguments and variables together a quarter of the stack limit. */
const MOST = 2 * 1024 * 1024;

function refuse(field: string, fault: string): never {
  throw new CaissonError('SPEC_INVALID', `${field}: ${fault}`, { field });
}

function checkText(field: string, value: unknown, longest = LONGEST): string {
  if (typeof value !== 'string') refuse(field, 'must be a string');
  if (value.includes('\0')) refuse(field, 'must not contain a NUL byte');
  if (Buffer.byteLength(value) >= longest) refuse(field, `must be shorter than ${longest} bytes`);
  return value;
}

function checkId(field: string, value: unknown, most: number): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > most)
    refuse(field, `must be a whole number from 0 to ${most}`);
  return value;
}

function checkSize(field: string, value: unknown): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 1 || value > 65_535)
    refuse(field, 'must be a whole number from 1 to 65535');
  return value;
}

function stdioOf(tty: ExecOptions['tty']): ExecWish['stdio'] {
  if (tty === undefined || tty === false) return { kind: 'pipes' };
  const { rows = 24, cols = 80 } = tty === true ? {} : tty;
  return { kind: 'tty', rows: checkSize('tty.rows', rows), cols: checkSize('tty.cols', cols) };
}

/** The highest id inside. */
export function lastId(spec: ContainerSpec): number {
  return spec.idmap === null ? LAST_ID : spec.idmap.count - 1;
}

function userOf(
  spec: ContainerSpec,
  user: Exclude<ExecOptions['user'], string> = 0,
): Pick<ExecWish, 'uid' | 'gid' | 'groups'> {
  const last = lastId(spec);
  if (typeof user !== 'object' || user === null) return { uid: checkId('user', user, last), gid: 0, groups: [] };
  const { uid, gid = 0, groups = [] } = user;
  if (!Array.isArray(groups) || groups.length > 65_536)
    refuse('user.groups', 'must be a list of at most 65536 numbers');
  return {
    uid: checkId('user.uid', uid, last),
    gid: checkId('user.gid', gid, last),
    groups: groups.map((group, index) => checkId(`user.groups.${index}`, group, last)),
  };
}

/** The places where execvp(3) would look for it. */
function programsOf(program: string, path: string): [string, ...string[]] {
  if (program.includes('/')) return [program];
  const directories = path.split(':');
  if (directories.length > MOST_DIRECTORIES)
    refuse('env.PATH', `must have no more than ${MOST_DIRECTORIES} directories`);
  const [first = '/', ...others] = directories.map(directory => `${directory === '' ? '.' : directory}/${program}`);
  return [first, ...others];
}

/**
 * @param found who the user is, where it was looked up by its name.
 * @throws CaissonError SPEC_INVALID
 */
export function wishOf(
  spec: ContainerSpec,
  argv: readonly string[],
  options: ExecOptions,
  found: FoundUser | undefined,
): ExecWish {
  if (!Array.isArray(argv) || argv.length === 0) refuse('argv', 'must be a list with at least the program');
  const words = argv.map((word, index) => checkText(`argv.${index}`, word, index === 0 ? LONGEST_PATH : LONGEST));
  const [program = ''] = words;
  if (program === '') refuse('argv.0', 'must not be empty');
  const stdio = stdioOf(options.tty);
  const { uid, gid, groups } = found ?? userOf(spec, typeof options.user === 'string' ? undefined : options.user);
  const env: Record<string, string> = {
    container: spec.type,
    PATH: DIRECTORIES.join(':'),
    HOME: found?.home ?? (uid === 0 ? '/root' : '/'),
    ...(found?.name == null ? {} : { USER: found.name }),
    ...(stdio.kind === 'tty' ? { TERM: 'xterm' } : {}),
  };
  for (const [name, value] of Object.entries(options.env ?? {})) {
    if (!/^[^=\0]+$/.test(name)) refuse(`env.${name}`, 'must be the name of a variable');
    env[name] = checkText(`env.${name}`, value);
  }
  const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  const bytes = [...words, ...variables].reduce((sum, word) => sum + Buffer.byteLength(word) + 9, 0);
  if (bytes > MOST) refuse('argv', `must take no more than ${MOST} bytes together with env`);
  const cwd = checkText('cwd', options.cwd ?? '/', LONGEST_PATH);
  if (!cwd.startsWith('/')) refuse('cwd', 'must be an absolute path');
  return { programs: programsOf(program, env.PATH ?? ''), argv: words, env: variables, cwd, uid, gid, groups, stdio };
}
