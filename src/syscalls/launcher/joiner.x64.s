# The joiner for x86-64: what follows the stub in the program that is executed to join a container (joiner.ts). It maps
# the memory it shares with the supervisor where the supervisor has it, and walks the program that is there.
#
# It is a process of its own, with a stack: the kernel enters it with nothing in its registers.
# ARENA.fd leads to the memory, which begins with its own address and size.

        .include "stub.x64.s"

        .equ    SYS_pread64, 17
        .equ    SYS_mmap, 9
        .equ    ARENA_fd, 4
        .equ    ARENA_program, 32
        .equ    ARENA_headerSize, 16
        .equ    PROT_READ_WRITE, 3
        .equ    MAP_SHARED_FIXED, 0x11

        .globl  joiner
joiner:
        mov     edi, ARENA_fd
        mov     rsi, rsp
        mov     edx, ARENA_headerSize
        xor     r10d, r10d
        mov     eax, SYS_pread64
        syscall
        cmp     rax, ARENA_headerSize
        jne     lost
        mov     rdi, [rsp]
        mov     rsi, [rsp + 8]
        mov     edx, PROT_READ_WRITE
        mov     r10d, MAP_SHARED_FIXED
        mov     r8d, ARENA_fd
        xor     r9d, r9d
        mov     eax, SYS_mmap
        syscall
        cmp     rax, [rsp]
        jne     lost
        lea     rdx, [rax + ARENA_program]      # where the stub has it after its clone3
        jmp     child
lost:
        mov     edi, FAILED_EXIT
        jmp     exit
