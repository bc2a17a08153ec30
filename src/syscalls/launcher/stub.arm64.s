// The launcher stub for arm64: int64_t stub(void *program). Its contract is written in ../abi/launch.ts;
// its bytes stand in stub.ts (scripts/stub-bytes.sh prints them, a test compares them with this listing).
//
// What the kernel imposes:
//  - CLONE_VM without a stack of its own: the child starts with the caller's sp in the caller's memory, while the
//    caller runs on. One store to the stack in the child would corrupt the frames the caller is using. Hence
//    no stack, no libc (it needs one, and thread-local storage) and everything in registers.
//  - A system call destroys x0 and keeps every other general register, in the child too.
//  - The parent uses only registers that its caller does not expect back (x0, x1, x8, x9) and makes no call of its
//    own, so lr stays valid and there is nothing to restore. The child never returns: to it x19 to x21 are free.
//  - The child has all signals blocked and no handlers (CLONE_CLEAR_SIGHAND): nothing is ever pushed for a signal.
//  - No barriers: parent and child tell each other about changes by system calls (a byte in a pipe, the child's
//    end), whose locks inside the kernel order the plain loads and stores on both sides.

        .ifndef SYS_clone3                      // a test replaces it where an emulator has no clone3
        .equ    SYS_clone3, 435
        .endif
        .equ    SYS_clock_gettime, 113
        .equ    SYS_exit_group, 94
        .equ    CLOCK_MONOTONIC, 1

        .equ    PROGRAM_cloneArgs, 0
        .equ    PROGRAM_cloneArgsSize, 8
        .equ    PROGRAM_first, 16
        .equ    PROGRAM_failed, 24
        .equ    PROGRAM_current, 32
        .equ    PROGRAM_started, 40

        .equ    ENTRY_nr, 0
        .equ    ENTRY_args, 8
        .equ    ENTRY_result, 56
        .equ    ENTRY_dest, 64
        .equ    ENTRY_next, 72
        .equ    ENTRY_tolerated, 80
        .equ    ENTRY_onError, 96
        .equ    ENTRY_stamp, 104
        .equ    ENTRY_min, 120

        .equ    PSEUDO_immediate, -1
        .equ    PSEUDO_loadI32, -2
        .equ    PSEUDO_loadI64, -3
        .equ    FAILED_EXIT, 125

        .text
        .globl  stub
stub:
        hint    #34                             // bti c: called indirectly; a no-op on cores without BTI
        mov     x9, x0                          // the program; clone3 takes two arguments and keeps x9
        ldr     x0, [x9, #PROGRAM_cloneArgs]
        ldr     x1, [x9, #PROGRAM_cloneArgsSize]
        mov     x8, #SYS_clone3
        svc     #0
        cbz     x0, child
        ret                                     // the parent: pid, or -errno

child:
        mov     x19, x9                         // x19 = program
        mov     x0, #CLOCK_MONOTONIC            // by system call: the vDSO's version uses the stack
        add     x1, x19, #PROGRAM_started
        mov     x8, #SYS_clock_gettime
        svc     #0
        ldr     x20, [x19, #PROGRAM_first]      // x20 = entry

walk:
        cbz     x20, end
        str     x20, [x19, #PROGRAM_current]
        ldr     x8, [x20, #ENTRY_nr]
        ldr     x0, [x20, #ENTRY_args]
        cmp     x8, #PSEUDO_immediate
        b.eq    judge                           // the value is in x0 already
        cmp     x8, #PSEUDO_loadI32
        b.eq    load_i32
        cmp     x8, #PSEUDO_loadI64
        b.eq    load_i64

        ldr     x1, [x20, #ENTRY_args + 8]
        ldr     x2, [x20, #ENTRY_args + 16]
        ldr     x3, [x20, #ENTRY_args + 24]
        ldr     x4, [x20, #ENTRY_args + 32]
        ldr     x5, [x20, #ENTRY_args + 40]
        svc     #0
        mov     x21, x0                         // the clock's own result would replace it
        mov     x0, #CLOCK_MONOTONIC
        add     x1, x20, #ENTRY_stamp
        mov     x8, #SYS_clock_gettime
        svc     #0                              // refused (by a seccomp filter the program installed)? no stamp, then
        mov     x0, x21
        b       judge

load_i32:
        ldrsw   x0, [x0]
        b       judge
load_i64:
        ldr     x0, [x0]

        // Everything below is read only now, after the call: the parent may have changed it while the child waited.
judge:
        str     x0, [x20, #ENTRY_result]
        ldr     x9, [x20, #ENTRY_min]
        cmp     x0, x9
        b.lt    refused
        ldr     x9, [x20, #ENTRY_dest]
        cbz     x9, advance
        str     x0, [x9]                        // maybe an argument of a later entry: those are read when reached
advance:
        ldr     x20, [x20, #ENTRY_next]
        b       walk

refused:
        neg     x9, x0                          // e; 0 where a result of 0 is below min
        cmp     x9, #128
        b.hs    fail                            // unsigned: also e < 0, a result below min that is no errno
        lsr     x10, x9, #6                     // which of the two words
        add     x11, x20, #ENTRY_tolerated
        ldr     x10, [x11, x10, lsl #3]
        lsr     x10, x10, x9                    // shifts by e modulo 64
        tbz     x10, #0, fail
        ldr     x20, [x20, #ENTRY_onError]
        b       walk

fail:
        str     x20, [x19, #PROGRAM_failed]
        mov     x0, #FAILED_EXIT
        b       exit
end:
        mov     x0, #0
exit:
        mov     x8, #SYS_exit_group
        svc     #0
        udf     #0                              // exit_group refused by a filter: die here, never run on
