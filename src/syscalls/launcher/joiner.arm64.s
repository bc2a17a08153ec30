// The joiner for arm64: what follows the stub in the program that is executed to join a container (joiner.ts). It maps
// the memory it shares with the supervisor where the supervisor has it, and walks the program that is there.
//
// It is a process of its own, with a stack: the kernel enters it with nothing in its registers.
// ARENA.fd leads to the memory, which begins with its own address and size.

        .include "stub.arm64.s"

        .equ    SYS_pread64, 67
        .equ    SYS_mmap, 222
        .equ    ARENA_fd, 4
        .equ    ARENA_program, 32
        .equ    ARENA_headerSize, 16
        .equ    PROT_READ_WRITE, 3
        .equ    MAP_SHARED_FIXED, 0x11

        .globl  joiner
joiner:
        mov     x0, #ARENA_fd
        mov     x1, sp
        mov     x2, #ARENA_headerSize
        mov     x3, #0
        mov     x8, #SYS_pread64
        svc     #0
        cmp     x0, #ARENA_headerSize
        b.ne    lost
        ldp     x0, x1, [sp]
        mov     x2, #PROT_READ_WRITE
        mov     x3, #MAP_SHARED_FIXED
        mov     x4, #ARENA_fd
        mov     x5, #0
        mov     x8, #SYS_mmap
        svc     #0
        ldr     x9, [sp]
        cmp     x0, x9
        b.ne    lost
        add     x9, x0, #ARENA_program          // where the stub has it after its clone3
        b       child
lost:
        mov     x0, #FAILED_EXIT
        b       exit
