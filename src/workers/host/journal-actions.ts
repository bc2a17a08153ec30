/** Executors of the actions on a container's journal: the host's side by path, which is root's; the tree by descriptor. */
import {
  chownSync,
  closeSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  readlinkSync,
  rmdirSync,
  symlinkSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import type { JournalAction } from '../../plan/actions/journal.js';
import { CaissonError } from '../../spec/errors.js';
import { AT, flagsOf, MOUNT_ATTR, O, RESOLVE } from '../../syscalls/abi/constants.js';
import { close, isMountRoot, mkdirat, openat, openat2 } from '../../syscalls/fs.js';
import { SyscallError } from '../../syscalls/libc.js';
import { cloneTree, setAttributes } from '../../syscalls/mount.js';
import type { StepContext } from '../context.js';
import { asOwner } from './as-owner.js';
import type { Executors } from './executors.js';
import { machineUuid } from './machine-id.js';

type Link = Extract<JournalAction, { op: 'journal.link' }>;

/** What was made on the host. */
type Made = { readonly path: string; readonly link: string } | { readonly path: string; readonly link: null };

const STRICT = RESOLVE.RESOLVE_IN_ROOT | RESOLVE.RESOLVE_NO_SYMLINKS;

function refuse(why: string, cause?: unknown): never {
  throw new CaissonError('JOURNAL_REFUSED', `its journal cannot be linked: ${why}`, {
    field: 'linkJournal',
    hint: 'try-guest and try-host go on without; no does not try',
    cause,
  });
}

function codeOf(error: unknown): string | undefined {
  return error instanceof SyscallError ? error.errno : (error as NodeJS.ErrnoException).code;
}

/** What `act` gives, or undefined where it fails in one of these ways. */
function unless<T>(codes: readonly string[], act: () => T): T | undefined {
  try {
    return act();
  } catch (error) {
    if (codes.includes(codeOf(error) ?? '')) return undefined;
    throw error;
  }
}

/** Directory `path` of the tree, made with the rights of the tree's root; no symlink on the way is followed. */
function makeInside(root: number, path: string, owner: number): void {
  let current = openat2(root, '.', O.O_PATH | O.O_DIRECTORY, STRICT);
  try {
    for (const part of path.split('/')) {
      const open = (): number => openat2(current, part, O.O_PATH | O.O_DIRECTORY, STRICT);
      const next =
        unless(['ENOENT'], open) ??
        asOwner(owner, () => {
          mkdirat(current, part, 0o755);
          return open();
        });
      close(current);
      current = next;
    }
  } catch (error) {
    if (['ELOOP', 'ENOTDIR'].includes(codeOf(error) ?? ''))
      refuse(`part of /${path} in the image is no directory`, error);
    throw error;
  } finally {
    close(current);
  }
}

/** Whether something is mounted there, be it that there is anything; links are not followed below `dir`. */
function isMountedOn(dir: string, path: string): boolean {
  const top = openat(AT.AT_FDCWD, dir, O.O_PATH | O.O_DIRECTORY);
  try {
    const fd = unless(['ENOENT', 'ELOOP', 'ENOTDIR'], () => openat2(top, path, O.O_PATH | O.O_NOFOLLOW, STRICT));
    if (fd === undefined) return false;
    try {
      return isMountRoot(fd);
    } finally {
      close(fd);
    }
  } finally {
    close(top);
  }
}

function readMade(record: string): Made | undefined {
  const text = unless(['ENOENT'], () => readFileSync(record, 'utf8'));
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text) as Made;
  } catch (error) {
    // Torn: it is synced before anything is made.
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** Before it is made: so what a crash leaves is known. */
function writeMade(record: string, made: Made): void {
  const fd = openSync(record, 'w', 0o600);
  try {
    writeSync(fd, JSON.stringify(made));
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Only what is still as we made it; a directory that holds journals is kept. */
function unmake(record: string): void {
  const made = readMade(record);
  if (made === undefined) return;
  const { path, link } = made;
  if (link === null) unless(['ENOENT', 'ENOTEMPTY', 'EEXIST', 'EBUSY', 'ENOTDIR'], () => rmdirSync(path));
  else if (unless(['ENOENT', 'EINVAL'], () => readlinkSync(path)) === link) unlinkSync(path);
  unlinkSync(record);
}

/** Makes something on the host by `create`, and nothing at all if that fails, or what is to be done with it. */
function make(
  action: Link,
  context: StepContext,
  made: Made,
  { create, use }: { readonly create: () => void; readonly use?: () => void },
): void {
  // A payload may have another machine id than in its last life.
  unmake(action.record);
  writeMade(action.record, made);
  try {
    create();
  } catch (error) {
    // What is there is not ours: two containers of one image start at the same time, with one machine id.
    unlinkSync(action.record);
    if (codeOf(error) === 'EEXIST') refuse(`${made.path} on the host was made by somebody else meanwhile`, error);
    throw error;
  }
  try {
    use?.();
  } catch (error) {
    unmake(action.record);
    throw error;
  }
  context.set(action.save.made, 1);
}

/** What the host has at `path`: nothing, a link to somewhere, or a directory of somebody's. */
function existing(path: string): { link: string } | { owner: number } | undefined {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return undefined;
  if (stat.isSymbolicLink()) return { link: readlinkSync(path) };
  if (!stat.isDirectory()) refuse(`${path} on the host is neither a directory nor a symlink`);
  return { owner: stat.uid };
}

/** The same, but for a directory of ours that a start which was killed has not given to the container's root yet. */
function existingFor({ record, owner }: Link, path: string): ReturnType<typeof existing> {
  const found = existing(path);
  if (found === undefined || 'link' in found || found.owner === owner) return found;
  unmake(record);
  return existing(path);
}

function bind(action: Link, context: StepContext, path: string, inside: string): void {
  const mount = cloneTree(AT.AT_FDCWD, path);
  try {
    setAttributes(mount, flagsOf(MOUNT_ATTR, action.attributes));
  } catch (error) {
    close(mount);
    throw error;
  }
  context.set(action.save.mount, mount);
  context.texts[action.save.target] = `/${inside}`;
}

function link(action: Link, context: StepContext): void {
  const { mode, directory, rootfs, owner } = action;
  const root = context.get(action.root);
  const uuid = machineUuid(root) ?? action.fallback;
  if (uuid === null) refuse('the image has no machine id, and PID 1 is not told one (machineId)');
  if (uuid === action.hostUuid) refuse("its machine id is the host's");
  const id = uuid.replaceAll('-', '');
  const inside = `var/log/journal/${id}`;
  const path = `${directory}/${id}`;
  if (lstatSync(directory, { throwIfNoEntry: false })?.isDirectory() !== true)
    refuse(`the host keeps no journals: it has no directory ${directory}`);
  const there = existingFor(action, path);
  if (isMountedOn(directory, id)) refuse(`${path} on the host is a mount point`);
  if (rootfs !== null && isMountedOn(rootfs, inside)) refuse(`/${inside} in the image is a mount point`);
  const target = rootfs === null ? null : `${rootfs}/${inside}`;
  if (there !== undefined && 'link' in there) {
    if (mode === 'host' || there.link !== target) refuse(`${path} on the host is a symlink to ${there.link}`);
    makeInside(root, inside, owner);
    return;
  }
  if (mode === 'guest') {
    if (there !== undefined) refuse(`${path} on the host is a directory already`);
    if (target === null) refuse('its tree is no directory of the host');
    makeInside(root, inside, owner);
    make(action, context, { path, link: target }, { create: () => symlinkSync(target, path) });
    return;
  }
  if (there === undefined && mode === 'auto') refuse(`the host has no ${path}`);
  if (there !== undefined && there.owner !== owner)
    refuse(`${path} on the host belongs to id ${there.owner}, not to the container's root (${owner})`);
  makeInside(root, inside, owner);
  if (there !== undefined) bind(action, context, path, inside);
  else {
    make(
      action,
      context,
      { path, link: null },
      {
        create: () => mkdirSync(path, { mode: 0o755 }),
        use: () => {
          chownSync(path, owner, owner);
          bind(action, context, path, inside);
        },
      },
    );
  }
}

export const JOURNAL_ACTIONS: Executors<JournalAction> = {
  'journal.link': (action, context) => {
    try {
      link(action, context);
    } catch (error) {
      const { message } = error as Error;
      if (!action.optional || (!CaissonError.is(error) && codeOf(error) === undefined)) throw error;
      context.notices.push({ code: 'journal', outcome: 'skipped', message });
    }
  },
  'journal.unlink': (action, context) => {
    if (action.made === null || context.has(action.made)) unmake(action.record);
  },
};
