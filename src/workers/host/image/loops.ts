/** The loop devices of the host, and which of them show an image. */
import { existsSync, readdirSync } from 'node:fs';
import { close } from '../../../syscalls/fs.js';
import { SyscallError } from '../../../syscalls/libc.js';
import { type FileId, fileId, type LoopStatus, loopPath, loopStatus, openLoop } from '../../../syscalls/loop.js';

export interface Loop extends LoopStatus {
  readonly number: number;
}

/** Errnos of a device that is just being freed, or was never made. */
const GONE: readonly string[] = ['ENXIO', 'ENOENT', 'ENODEV'];

/** Those that hold a file, as sysfs has them. */
function usedLoops(): number[] {
  return readdirSync('/sys/block').flatMap(name => {
    const number = /^loop(\d+)$/.exec(name)?.[1];
    if (number === undefined) return [];
    // It is there while a file is attached; the device itself may go at any time.
    return existsSync(`/sys/block/${name}/loop`) ? [Number(number)] : [];
  });
}

/** Opens the device, so that it keeps its file, and looks at it. Undefined when it has none by now. */
export function holdLoop(number: number): { readonly device: number; readonly status: LoopStatus } | undefined {
  let device: number | undefined;
  try {
    device = openLoop(number, false);
    const status = loopStatus(device);
    if (status !== undefined) return { device, status };
  } catch (error) {
    if (!(error instanceof SyscallError && GONE.includes(error.errno))) throw error;
  }
  if (device !== undefined) close(device);
  return undefined;
}

/** Every loop device that has a file. */
export function loops(): Loop[] {
  return usedLoops().flatMap(number => {
    const held = holdLoop(number);
    if (held === undefined) return [];
    close(held.device);
    return [{ number, ...held.status }];
  });
}

export function isSameFile(a: FileId, b: FileId): boolean {
  return a.device === b.device && a.inode === b.inode;
}

/** Those on the file that `file` is a descriptor of. */
export function loopsOf(file: number): Loop[] {
  const id = fileId(file);
  return loops().filter(loop => isSameFile(loop, id));
}

const LABEL = /^caisson ([^/]+)\/(.+)$/;

export function isOurs({ name }: LoopStatus): boolean {
  return LABEL.test(name);
}

/** Who uses a loop device, for people. */
export function ownerOf({ name, number, readOnly }: Loop): string {
  const [, supervisor, container] = LABEL.exec(name) ?? [];
  if (container === undefined) return loopPath(number);
  return `container ${container}${readOnly ? ', or one that shares its device' : ''} (${supervisor}, ${loopPath(number)})`;
}
