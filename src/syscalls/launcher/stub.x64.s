# The launcher stub for x86-64: int64_t stub(void *program). Its contract is written in ../abi/launch.ts;
# its bytes stand in stub.ts (scripts/stub-bytes.sh prints them, a test compares them with this listing).
#
# What the kernel imposes:
#  - CLONE_VM without a stack of its own: the child starts with the caller's rsp in the caller's memory, while the
#    caller runs on. One push, call or ret in the child would corrupt the frames the caller is using. Hence
#    no stack, no libc (it needs one, and thread-local storage) and everything in registers.
#  - A system call destroys rax, rcx (return address) and r11 (flags) and keeps every other register, in the child
#    too: what must live across a call may be in any but these three.
#  - The parent uses only registers that its caller does not expect back (rax, rcx, rdx, rsi, rdi, r11), so there is
#    nothing to restore. The child never returns, so to it rbx and r12 to r15 are free.
#  - The child has all signals blocked and no handlers (CLONE_CLEAR_SIGHAND): nothing is ever pushed for a signal.

        .intel_syntax noprefix

        .ifndef SYS_clone3                      # a test replaces it where an emulator has no clone3
        .equ    SYS_clone3, 435
        .endif
        .equ    SYS_clock_gettime, 228
        .equ    SYS_exit_group, 231
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
        endbr64                                 # called indirectly: a landing pad where IBT is enforced
        mov     rdx, rdi                        # the program; clone3 takes two arguments and keeps rdx
        mov     rsi, [rdi + PROGRAM_cloneArgsSize]
        mov     rdi, [rdi + PROGRAM_cloneArgs]
        mov     eax, SYS_clone3
        syscall
        test    rax, rax
        jz      child
        ret                                     # the parent: pid, or -errno

child:
        mov     rbx, rdx                        # rbx = program; rdx is an argument register of the calls to come
        mov     edi, CLOCK_MONOTONIC            # by system call: the vDSO's version uses the stack
        lea     rsi, [rbx + PROGRAM_started]
        mov     eax, SYS_clock_gettime
        syscall
        mov     r12, [rbx + PROGRAM_first]      # r12 = entry

walk:
        test    r12, r12
        jz      end                             # edi is set there: 0
        mov     [rbx + PROGRAM_current], r12
        mov     rax, [r12 + ENTRY_nr]
        mov     rdi, [r12 + ENTRY_args]
        cmp     rax, PSEUDO_immediate
        je      immediate
        cmp     rax, PSEUDO_loadI32
        je      load_i32
        cmp     rax, PSEUDO_loadI64
        je      load_i64

        mov     rsi, [r12 + ENTRY_args + 8]
        mov     rdx, [r12 + ENTRY_args + 16]
        mov     r10, [r12 + ENTRY_args + 24]    # the kernel's fourth argument is r10: rcx is lost by syscall
        mov     r8, [r12 + ENTRY_args + 32]
        mov     r9, [r12 + ENTRY_args + 40]
        syscall
        mov     r13, rax                        # the clock's own result would replace it
        mov     edi, CLOCK_MONOTONIC
        lea     rsi, [r12 + ENTRY_stamp]
        mov     eax, SYS_clock_gettime
        syscall                                 # refused (by a seccomp filter the program installed)? no stamp, then
        mov     rax, r13
        jmp     judge

immediate:
        mov     rax, rdi
        jmp     judge
load_i32:
        movsxd  rax, dword ptr [rdi]
        jmp     judge
load_i64:
        mov     rax, [rdi]

        # Everything below is read only now, after the call: the parent may have changed it while the child waited.
judge:
        mov     [r12 + ENTRY_result], rax
        cmp     rax, [r12 + ENTRY_min]
        jl      refused
        mov     rcx, [r12 + ENTRY_dest]
        test    rcx, rcx
        jz      advance
        mov     [rcx], rax                      # maybe an argument of a later entry: those are read when reached
advance:
        mov     r12, [r12 + ENTRY_next]
        jmp     walk

refused:
        neg     rax                             # e; 0 where a result of 0 is below min
        cmp     rax, 128
        jae     fail                            # unsigned: also e < 0, a result below min that is no errno
        bt      [r12 + ENTRY_tolerated], rax    # bt on memory indexes past its first word by itself
        jnc     fail
        mov     r12, [r12 + ENTRY_onError]
        jmp     walk

fail:
        mov     [rbx + PROGRAM_failed], r12
        mov     edi, FAILED_EXIT
        jmp     exit
end:
        xor     edi, edi
exit:
        mov     eax, SYS_exit_group
        syscall
        ud2                                     # exit_group refused by a filter: die here, never run on
