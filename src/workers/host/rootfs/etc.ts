/** Executors of the actions on the container's /etc: by descriptor, one name at a time, with its own root's rights. */
import { randomUUID } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';
import type { EtcAction } from '../../../plan/actions/etc.js';
import type { NoticeCode, PlanNotice } from '../../../plan/notice.js';
import { AT, flagsOf, MOUNT_ATTR, O, RESOLVE, S_IFLNK, S_IFMT, S_IFREG } from '../../../syscalls/abi/constants.js';
import { close, mknodat, openat, openat2, readLinkFd, statFd, symlinkat, writeAll } from '../../../syscalls/fs.js';
import { SyscallError } from '../../../syscalls/libc.js';
import { cloneTree, setAttributes } from '../../../syscalls/mount.js';
import { replace, tryUnlink } from '../../../syscalls/tree.js';
import type { StepContext } from '../../context.js';
import { asOwner } from '../as-owner.js';
import type { Executors } from '../executors.js';
import { modeInside } from './inside.js';

const INSIDE = RESOLVE.RESOLVE_IN_ROOT | RESOLVE.RESOLVE_NO_MAGICLINKS;
const ZONEINFO = 'usr/share/zoneinfo';

/** Why a file was left as it is: told, and no error. */
class LeftAlone extends Error {}

/** Runs `act` with a descriptor of the tree's /etc and the rights of the tree's root; what it cannot do is a notice. */
function inEtc(
  code: NoticeCode,
  action: { readonly root: string; readonly owner: number },
  context: StepContext,
  act: (etc: number, root: number) => void,
): void {
  const tell = (outcome: PlanNotice['outcome'], message: string): void => {
    context.notices.push({ code, outcome: outcome ?? 'degraded', message });
  };
  try {
    const root = context.get(action.root);
    asOwner(action.owner, () => {
      const etc = openat2(root, 'etc', O.O_PATH | O.O_DIRECTORY, INSIDE);
      try {
        act(etc, root);
      } finally {
        close(etc);
      }
    });
  } catch (error) {
    if (error instanceof LeftAlone) tell('skipped', error.message);
    else if (error instanceof SyscallError)
      tell(error.errno === 'EROFS' ? 'skipped' : 'degraded', `${code} is left as the image has it: ${error.message}`);
    else throw error;
  }
}

function kindOf(dir: number, name: string): number | undefined {
  let fd: number;
  try {
    fd = openat2(dir, name, O.O_PATH | O.O_NOFOLLOW, RESOLVE.RESOLVE_BENEATH | RESOLVE.RESOLVE_NO_MAGICLINKS);
  } catch (error) {
    if (error instanceof SyscallError && error.errno === 'ENOENT') return undefined;
    throw error;
  }
  try {
    return statFd(fd).mode & S_IFMT;
  } finally {
    close(fd);
  }
}

/** Puts what `make` makes under another name in the place of `name`, whatever is there: nothing is ever opened. */
function putInPlace(dir: number, name: string, make: (fresh: string) => void): void {
  const fresh = `.${name}.${randomUUID()}`;
  try {
    make(fresh);
    replace(dir, fresh, name);
  } catch (error) {
    tryUnlink(dir, fresh, false);
    throw error;
  }
}

function writeFile(dir: number, name: string, bytes: Uint8Array): void {
  putInPlace(dir, name, fresh => {
    const fd = openat(dir, fresh, O.O_WRONLY | O.O_CREAT | O.O_EXCL | O.O_NOFOLLOW, 0o644);
    try {
      writeAll(fd, bytes, name);
    } finally {
      close(fd);
    }
  });
}

/** Read before the rights of the container's root are taken: it may be readable for the host's root only. */
function ofHost(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw error;
  }
}

/** The zone that a /etc/localtime names; undefined where it is no symlink to one (localtime(5)). */
function zoneOf(path: string): string | undefined {
  try {
    const zone = /zoneinfo\/([A-Za-z0-9_+/-]+)$/.exec(readlinkSync(path))?.[1];
    return zone;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // Without the file it is UTC.
    if (code === 'ENOENT') return 'UTC';
    if (code === 'EINVAL') return undefined;
    throw error;
  }
}

function linkTarget(dir: number, name: string): string | undefined {
  if (kindOf(dir, name) !== S_IFLNK) return undefined;
  const fd = openat(dir, name, O.O_PATH | O.O_NOFOLLOW);
  try {
    return readLinkFd(fd);
  } catch (error) {
    // It is no symlink any more: then it leads elsewhere than it should.
    if (error instanceof SyscallError) return undefined;
    throw error;
  } finally {
    close(fd);
  }
}

export const ETC_ACTIONS: Executors<EtcAction> = {
  'localtime.follow': (action, context) => {
    const { source, how } = action;
    const zone = zoneOf(source);
    const bytes = how === 'copy' ? ofHost(source) : undefined;
    inEtc('timezone', action, context, (etc, root) => {
      if (how === 'copy') {
        if (bytes === undefined) throw new LeftAlone(`the host has no ${source}`);
        writeFile(etc, 'localtime', bytes);
        return;
      }
      if (zone === undefined) throw new LeftAlone(`the host's ${source} is no symlink to a time zone`);
      const mode = modeInside(root, `${ZONEINFO}/${zone}`, 0);
      if (mode === undefined || (mode & S_IFMT) !== S_IFREG)
        throw new LeftAlone(`the image has no time zone ${zone}, which is the host's`);
      const target = `../${ZONEINFO}/${zone}`;
      if (linkTarget(etc, 'localtime') === target) return;
      putInPlace(etc, 'localtime', fresh => symlinkat(target, etc, fresh));
    });
  },
  'resolv-conf.write': (action, context) => {
    const bytes = ofHost(action.source);
    inEtc('resolv-conf', action, context, etc => {
      if (bytes === undefined) throw new LeftAlone(`the host has no ${action.source}`);
      const kind = kindOf(etc, 'resolv.conf');
      // What runs inside keeps its own behind the link.
      if (action.how === 'copy' && kind === S_IFLNK) throw new LeftAlone("the image's /etc/resolv.conf is a symlink");
      if (action.how === 'copy' && kind !== undefined && kind !== S_IFREG)
        throw new LeftAlone("the image's /etc/resolv.conf is no file");
      writeFile(etc, 'resolv.conf', bytes);
    });
  },
  'resolv-conf.delete': (action, context) => {
    inEtc('resolv-conf', action, context, etc => {
      const result = tryUnlink(etc, 'resolv.conf', false);
      if (result < 0 && result !== -2) throw new SyscallError('unlink', -result, '/etc/resolv.conf');
    });
  },
  'resolv-conf.bind': (action, context) => {
    let isPlace = false;
    inEtc('resolv-conf', action, context, etc => {
      const kind = kindOf(etc, 'resolv.conf');
      if (kind === S_IFLNK) throw new LeftAlone("the image's /etc/resolv.conf is a symlink");
      if (kind !== undefined && kind !== S_IFREG) throw new LeftAlone("the image's /etc/resolv.conf is no file");
      if (kind === undefined) mknodat(etc, 'resolv.conf', S_IFREG | 0o644, 0);
      isPlace = true;
    });
    if (!isPlace) return;
    let mount: number | undefined;
    try {
      mount = cloneTree(AT.AT_FDCWD, action.source);
      setAttributes(mount, flagsOf(MOUNT_ATTR, action.attributes));
      context.set(action.save, mount);
    } catch (error) {
      if (mount !== undefined) close(mount);
      if (!(error instanceof SyscallError)) throw error;
      const notice =
        error.errno === 'ENOENT'
          ? ({ outcome: 'skipped', message: `the host has no ${action.source}` } as const)
          : ({ outcome: 'degraded', message: `${action.source} cannot be bound: ${error.message}` } as const);
      context.notices.push({ code: 'resolv-conf', ...notice });
    }
  },
};
