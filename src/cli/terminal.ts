/** The terminal this command runs on: its size, and a raw mode that changes no byte on its way (termios(3)). */
import process from 'node:process';
import { AT, O } from '../syscalls/abi/constants.js';
import { scratch } from '../syscalls/arena.js';
import { close, openat } from '../syscalls/fs.js';
import { trySyscall } from '../syscalls/libc.js';
import type { TerminalSize } from './describe.js';

const TCGETS = 0x5401;
const TCSETS = 0x5402;
/** The kernel's struct termios: input, output, control and local flags, line discipline, 19 control characters. */
const TERMIOS_SIZE = 36;
const OFFSET = { iflag: 0, oflag: 4, cflag: 8, lflag: 12, vtime: 17 + 5, vmin: 17 + 6 } as const;
/** What cfmakeraw(3) clears: IGNBRK BRKINT PARMRK ISTRIP INLCR IGNCR ICRNL IXON; OPOST; ECHO ECHONL ICANON ISIG IEXTEN. */
const CLEARED = { iflag: 0o2753, oflag: 0o1, lflag: 0o100113 } as const;
/** CSIZE and PARENB, of which CS8 is set again. */
const CHARACTER_SIZE = 0o460;
const CS8 = 0o60;
const EIO = -5;

export function terminalSize(): TerminalSize | undefined {
  const { rows, columns, isTTY } = process.stdout;
  return isTTY && rows > 0 && columns > 0 ? { rows, cols: columns } : undefined;
}

/**
 * Makes the terminal at `fd` raw; returns what makes it again what it was. Not Node's setRawMode: that goes on turning
 * LF into CR LF on output, which moves the cursor of a full-screen program where it does not belong.
 */
export function makeRaw(fd: number): () => void {
  const arena = scratch();
  const memory = arena.alloc(TERMIOS_SIZE);
  if (trySyscall('ioctl', fd, TCGETS, memory) < 0) return () => undefined;
  const before = Buffer.from(arena.slice(memory, TERMIOS_SIZE));
  const raw = Buffer.from(before);
  for (const flags of ['iflag', 'oflag', 'lflag'] as const) {
    raw.writeUInt32LE((raw.readUInt32LE(OFFSET[flags]) & ~CLEARED[flags]) >>> 0, OFFSET[flags]);
  }
  raw.writeUInt32LE(((raw.readUInt32LE(OFFSET.cflag) & ~CHARACTER_SIZE) | CS8) >>> 0, OFFSET.cflag);
  raw[OFFSET.vmin] = 1;
  raw[OFFSET.vtime] = 0;
  set(fd, raw);
  return () => set(fd, before);
}

/** A terminal that was closed meanwhile takes no settings, and needs none. */
function set(fd: number, termios: Buffer): void {
  trySyscall('ioctl', fd, TCSETS, scratch().copy(termios));
}

/**
 * To be called at the end: where the terminal was closed, standard descriptors lead nowhere from now on. Node puts
 * every terminal back as it found it when it exits, and aborts when one is gone.
 */
export function forgetClosedTerminal(): void {
  for (const fd of [0, 1, 2]) {
    if (trySyscall('ioctl', fd, TCGETS, scratch().alloc(TERMIOS_SIZE)) !== EIO) continue;
    const nowhere = openat(AT.AT_FDCWD, '/dev/null', O.O_RDWR);
    trySyscall('dup3', nowhere, fd, 0);
    close(nowhere);
  }
}
