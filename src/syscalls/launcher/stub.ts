/**
 * The launcher stub: one clone3, and in the child a walk over a table of system calls (layout: ../abi/launch.ts).
 * It is machine code because nothing else may run in a child that shares the memory and the stack of a running
 * Node process: no JavaScript, no libc. Reasons, line by line, are in stub.x64.s and stub.arm64.s.
 */
import koffi from 'koffi';
import type { Arch } from '../abi/numbers.js';
import { Arena } from '../arena.js';
import { ARCH, syscall } from '../libc.js';

const PROT_READ_EXEC = 5;

/**
 * Machine code, position-independent. Printed by scripts/stub-bytes.sh from the listings beside this file; a test
 * assembles the listings again and compares.
 */
export const STUB: Readonly<Record<Arch, Uint8Array>> = {
  x64: code(`
    f30f1efa4889fa488b7708488b3fb8b30100000f054885c07401c34889d3bf01
    000000488d7328b8e40000000f054c8b63104d85e40f84ab0000004c89632049
    8b0424498b7c24084883f8ff74404883f8fe743f4883f8fd743e498b74241049
    8b5424184d8b5424204d8b4424284d8b4c24300f054989c5bf01000000498d74
    2468b8e40000000f054c89e8eb0d4889f8eb08486307eb03488b074989442438
    493b4424787c17498b4c24404885c974034889014d8b642448e974ffffff48f7
    d8483d800000007312490fa3442450730a4d8b642460e957ffffff4c896318bf
    7d000000eb0231ffb8e70000000f050f0b
  `),
  arm64: code(`
    5f2403d5e90300aa200140f9210540f9683680d2010000d4400000b4c0035fd6
    f30309aa200080d261a20091280e80d2010000d4740a40f9140600b4741200f9
    880240f9800640f91f0500b1a00200541f0900b1000200541f0d00b100020054
    810a40f9820e40f9831240f9841640f9851a40f9010000d4f50300aa200080d2
    81a20191280e80d2010000d4e00315aa04000014000080b902000014000040f9
    801e00f9893e40f91f0009ebcb000054892240f9490000b4200100f9942640f9
    deffff17e90300cb3f0102f1020100542afd46d38b4201916a796af84a25c99a
    6a000036943240f9d4ffff17740e00f9a00f80d202000014000080d2c80b80d2
    010000d400000000
  `),
};

/** Bytes from hex digits with white space among them. */
export function code(hex: string): Uint8Array {
  return Uint8Array.from(Buffer.from(hex.replace(/\s+/g, ''), 'hex'));
}

/** Launches the program at an address: returns the child's pid (as this process sees it) or -errno of clone3. */
export type Launcher = (programAddress: number) => number;

let launch: Launcher | undefined;

/**
 * The stub of this machine, ready to be called; mapped at the first use, once per thread.
 *
 * The caller has every signal of its thread blocked around the call: the child inherits the mask and the caller's
 * stack, and a handler that ran there would run on both. The program's memory stays as it is until the child has
 * called execve or is gone.
 */
export function launcher(): Launcher {
  launch ??= map(STUB[ARCH]);
  return launch;
}

/**
 * Never writable and executable at once. On arm64 it is this mprotect that makes the instruction cache see the new
 * bytes: the kernel cleans a page's data cache when the page first becomes executable.
 */
function map(bytes: Uint8Array): Launcher {
  const memory = Arena.map(bytes.length);
  const address = memory.copy(bytes);
  syscall('mprotect', memory.address, memory.size, PROT_READ_EXEC);
  // An unnamed prototype: koffi refuses to declare a name twice, and this module may be loaded more than once.
  return koffi.decode(BigInt(address), koffi.proto('int64_t', ['int64_t'])) as Launcher;
}
