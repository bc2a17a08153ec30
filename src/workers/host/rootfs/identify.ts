/** Which init a tree has (LIF-24), before it runs: by the program that the path of its init leads to. */
import { scriptInterpreter } from '../../../spec/executable.js';
import { detectInit, type InitName, initOfScript } from '../../../spec/inits.js';
import { O } from '../../../syscalls/abi/constants.js';
import { close, openat2, readAt } from '../../../syscalls/fs.js';
import { EXACTLY, follow } from './program.js';

const CHUNK = 32 * 1024;
/** Bytes of a program that are looked at: sysvinit has some 50 KiB, a static one a megabyte. */
const SEARCHED = 2 * 1024 * 1024;

/** @param dir the root of the tree; symlinks resolve inside it. */
export function identifyInit(dir: number, init: string): InitName {
  const place = follow(dir, init);
  if (place === undefined || 'covered' in place) return 'unknown';
  const fd = openat2(dir, place.file, O.O_RDONLY | O.O_NOFOLLOW | O.O_NONBLOCK, EXACTLY);
  try {
    const head = readAt(fd, 0, CHUNK);
    if (scriptInterpreter(head) !== undefined) return initOfScript(head.toString('latin1'));
    // A program is called what its path ends in, whatever that leads to.
    const found = detectInit(place.file, init.replace(/^.*\//, ''), false);
    // Many a program of a user's own is called init, too.
    return found === 'sysvinit' && !contains(fd, '/etc/inittab') ? 'unknown' : found;
  } finally {
    close(fd);
  }
}

function contains(fd: number, text: string): boolean {
  for (let offset = 0; offset < SEARCHED; offset += CHUNK - text.length) {
    const bytes = readAt(fd, offset, CHUNK);
    if (bytes.includes(text)) return true;
    if (bytes.length < CHUNK) return false;
  }
  return false;
}
