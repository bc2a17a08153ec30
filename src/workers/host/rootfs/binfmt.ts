/** Which interpreters for foreign programs this host's kernel was told of. */
import { readdirSync, readFileSync } from 'node:fs';
import { matchesBinfmt, parseBinfmt } from '../../../spec/binfmt.js';
import { close } from '../../../syscalls/fs.js';
import { SyscallError } from '../../../syscalls/libc.js';
import { newMount } from '../../../syscalls/mount.js';

const CONTROL = new Set(['register', 'status']);

/** @param directory a mount of binfmt_misc. */
export function hasBinfmtIn(directory: string, head: Uint8Array): boolean {
  return readdirSync(directory).some(name => {
    if (CONTROL.has(name)) return false;
    const entry = parseBinfmt(readFileSync(`${directory}/${name}`, 'utf8'));
    return entry !== undefined && matchesBinfmt(entry, head);
  });
}

/** Whether one takes a program that begins so. Asked of a mount of our own: the host need not have one. */
export function hasBinfmt(head: Uint8Array): boolean {
  let mount: number;
  try {
    mount = newMount('binfmt_misc', {}, 0);
  } catch (error) {
    // A kernel without it, or one that does not let us: then the exec decides, which is told no less.
    if (error instanceof SyscallError) return error.errno !== 'ENODEV';
    throw error;
  }
  try {
    return hasBinfmtIn(`/proc/self/fd/${mount}`, head);
  } finally {
    close(mount);
  }
}
