# Maps the file argv[1] (an Image, see image.ts) as shared memory and as fd 100, calls the stub on it with a painted stack inside
# that memory and known values in every callee-saved register, and reports what it found afterwards.

        .intel_syntax noprefix

        .equ    BASE, 0x20000000
        .equ    IMAGE_FD, 100
        .equ    SIZE, 0x10000
        .equ    STACK, BASE + 0xf800
        .equ    REPORT, BASE + 0x8000

        .globl  _start
_start:
        mov     rsi, [rsp + 16]                 # argv[1]
        mov     edi, -100                       # AT_FDCWD
        mov     edx, 2                          # O_RDWR
        xor     r10d, r10d
        mov     eax, 257                        # openat
        syscall
        mov     edi, eax
        mov     esi, IMAGE_FD
        xor     edx, edx
        mov     eax, 292                        # dup3
        syscall
        mov     r8, rax
        mov     edi, BASE
        mov     esi, SIZE
        mov     edx, 3                          # PROT_READ | PROT_WRITE
        mov     r10d, 0x11                      # MAP_SHARED | MAP_FIXED
        xor     r9d, r9d
        mov     eax, 9                          # mmap
        syscall

        mov     esp, STACK
        mov     ebx, 0x5a00
        mov     ebp, 0x5a01
        mov     r12d, 0x5a02
        mov     r13d, 0x5a03
        mov     r14d, 0x5a04
        mov     r15d, 0x5a05
        mov     edi, BASE
        call    stub

        mov     edi, REPORT
        mov     [rdi], rax
        mov     [rdi + 24], rsp
        mov     qword ptr [rdi + 32], 6
        mov     [rdi + 40], rbx
        mov     [rdi + 48], rbp
        mov     [rdi + 56], r12
        mov     [rdi + 64], r13
        mov     [rdi + 72], r14
        mov     [rdi + 80], r15

        mov     rdi, -1
        mov     esi, REPORT + 16
        mov     edx, 0x40000000                 # __WALL
        xor     r10d, r10d
        mov     eax, 61                         # wait4
        syscall
        mov     edi, REPORT
        mov     [rdi + 8], rax

        xor     edi, edi
        mov     eax, 231                        # exit_group
        syscall

stub:
        .incbin "stub.bin"

        .section .note.GNU-stack, "", %progbits
