/** What system calls a payload is refused (ENV-62): the policy as data, and the numbers that its calls have. */
import type { ErrnoName } from './errno.js';

/** Calls that a policy may name. */
export type RefusedCall =
  | 'delete_module'
  | 'finit_module'
  | 'init_module'
  | 'kexec_file_load'
  | 'kexec_load'
  | 'open_by_handle_at'
  | 'socket'
  | 'umount2';

/**
 * `argument & mask` is `value`. What can be tested so is an int to the kernel: it takes the lower half of the register,
 * so a test looks at no more, or something in the upper half would be a way around it.
 */
export interface ArgumentTest {
  readonly index: number;
  readonly mask: number;
  readonly value: number;
}

export interface SeccompRule {
  readonly call: RefusedCall;
  /** The call is refused only if all of these hold; each is about another argument. */
  readonly arguments?: readonly ArgumentTest[];
  readonly errno: ErrnoName;
}

/**
 * EPERM, not ENOSYS: it is what the manual of each of these calls promises to who may not make it, and what the kernel
 * itself says to an unprivileged container; programs are written for that. ENOSYS would tell them of an old kernel, and
 * send them to look for another way.
 */
const REFUSAL: ErrnoName = 'EPERM';

const MNT_FORCE = 1;

/**
 * Calls by which a payload would reach the host itself, whatever namespaces it has: another kernel, code in this one,
 * files by handle past every mount (the way out of a privileged container), and the end of a file server's connection
 * that others still use. Everything else is allowed: a system container runs programs that nobody has foreseen.
 */
export const DEFAULT_DENYLIST: readonly SeccompRule[] = [
  { call: 'kexec_load', errno: REFUSAL },
  { call: 'kexec_file_load', errno: REFUSAL },
  { call: 'open_by_handle_at', errno: REFUSAL },
  { call: 'init_module', errno: REFUSAL },
  { call: 'finit_module', errno: REFUSAL },
  { call: 'delete_module', errno: REFUSAL },
  { call: 'umount2', arguments: [{ index: 1, mask: MNT_FORCE, value: MNT_FORCE }], errno: REFUSAL },
];

const AF_NETLINK = 16;
const NETLINK_AUDIT = 9;
const ALL_BITS = 0xffff_ffff;

/**
 * For a payload without the audit capabilities (ENV-61): no audit socket, with the errno of a kernel that has no audit.
 * Login programs take that for what it is. With a socket that opens and then refuses what root writes to it, sshd and
 * others end the login. By socketcall(2) of i386 it still opens, and is as useless as it would be without this rule.
 */
export const NO_AUDIT_SOCKET: SeccompRule = {
  call: 'socket',
  arguments: [
    { index: 0, mask: ALL_BITS, value: AF_NETLINK },
    { index: 2, mask: ALL_BITS, value: NETLINK_AUDIT },
  ],
  errno: 'EAFNOSUPPORT',
};

/** A calling convention by which a program enters the kernel, with the numbers that calls have in it. */
export interface SyscallAbi {
  readonly name: 'x86_64' | 'x32' | 'i386' | 'aarch64' | 'arm';
  /** AUDIT_ARCH_… (linux/audit.h), as in `struct seccomp_data`. Two conventions may share it. */
  readonly audit: number;
  /** A call that is not here does not exist in this convention. */
  readonly numbers: Readonly<Partial<Record<RefusedCall, number>>>;
}

const AUDIT_ARCH_X86_64 = 0xc000003e;
/** How x32 marks its calls (asm/unistd.h): it shares the audit architecture with x86_64. */
const X32_BIT = 0x4000_0000;

/** arch/x86/entry/syscalls/syscall_64.tbl, calls of the kinds `common` and `64`. */
const x86_64: SyscallAbi = {
  name: 'x86_64',
  audit: AUDIT_ARCH_X86_64,
  numbers: {
    delete_module: 176,
    finit_module: 313,
    init_module: 175,
    kexec_file_load: 320,
    kexec_load: 246,
    open_by_handle_at: 304,
    socket: 41,
    umount2: 166,
  },
};

/** The same file, calls of the kinds `common` and `x32`. */
const x32: SyscallAbi = {
  name: 'x32',
  audit: AUDIT_ARCH_X86_64,
  numbers: {
    delete_module: X32_BIT + 176,
    finit_module: X32_BIT + 313,
    init_module: X32_BIT + 175,
    kexec_file_load: X32_BIT + 320,
    kexec_load: X32_BIT + 528,
    open_by_handle_at: X32_BIT + 304,
    socket: X32_BIT + 41,
    umount2: X32_BIT + 166,
  },
};

/** arch/x86/entry/syscalls/syscall_32.tbl. */
const i386: SyscallAbi = {
  name: 'i386',
  audit: 0x40000003,
  numbers: {
    delete_module: 129,
    finit_module: 350,
    init_module: 128,
    kexec_load: 283,
    open_by_handle_at: 342,
    socket: 359,
    umount2: 52,
  },
};

/** asm-generic/unistd.h. */
const aarch64: SyscallAbi = {
  name: 'aarch64',
  audit: 0xc00000b7,
  numbers: {
    delete_module: 106,
    finit_module: 273,
    init_module: 105,
    kexec_file_load: 294,
    kexec_load: 104,
    open_by_handle_at: 265,
    socket: 198,
    umount2: 39,
  },
};

/** arch/arm/tools/syscall.tbl. */
const arm: SyscallAbi = {
  name: 'arm',
  audit: 0x40000028,
  numbers: {
    delete_module: 129,
    finit_module: 379,
    init_module: 128,
    kexec_file_load: 401,
    kexec_load: 347,
    open_by_handle_at: 371,
    socket: 281,
    umount2: 52,
  },
};

/** The conventions that a kernel of each kind understands, its own one first: none may be a way around. */
export const SYSCALL_ABIS: Readonly<Record<'x64' | 'arm64', readonly SyscallAbi[]>> = {
  x64: [x86_64, x32, i386],
  arm64: [aarch64, arm],
};
