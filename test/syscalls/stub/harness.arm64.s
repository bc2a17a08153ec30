// Maps the file argv[1] (an Image, see image.ts) as shared memory and as fd 100, calls the stub on it with a painted stack inside
// that memory and known values in every callee-saved register, and reports what it found afterwards.

        .equ    BASE, 0x20000000
        .equ    IMAGE_FD, 100
        .equ    SIZE, 0x10000
        .equ    STACK_OFFSET, 0xf800
        .equ    REPORT_OFFSET, 0x8000

        .globl  _start
_start:
        ldr     x1, [sp, #16]                   // argv[1]
        mov     x0, #-100                       // AT_FDCWD
        mov     x2, #2                          // O_RDWR
        mov     x3, #0
        mov     x8, #56                         // openat
        svc     #0
        mov     x1, #IMAGE_FD
        mov     x2, #0
        mov     x8, #24                         // dup3
        svc     #0
        mov     x4, x0
        mov     x0, #BASE
        mov     x1, #SIZE
        mov     x2, #3                          // PROT_READ | PROT_WRITE
        mov     x3, #0x11                       // MAP_SHARED | MAP_FIXED
        mov     x5, #0
        mov     x8, #222                        // mmap
        svc     #0

        mov     x9, #STACK_OFFSET
        add     sp, x0, x9
        mov     x19, #0x5a00
        mov     x20, #0x5a01
        mov     x21, #0x5a02
        mov     x22, #0x5a03
        mov     x23, #0x5a04
        mov     x24, #0x5a05
        mov     x25, #0x5a06
        mov     x26, #0x5a07
        mov     x27, #0x5a08
        mov     x28, #0x5a09
        mov     x29, #0x5a0a
        mov     x0, #BASE
        bl      stub

        mov     x9, #BASE
        add     x9, x9, #REPORT_OFFSET
        str     x0, [x9]
        mov     x10, sp
        mov     x11, #11
        stp     x10, x11, [x9, #24]
        stp     x19, x20, [x9, #40]
        stp     x21, x22, [x9, #56]
        stp     x23, x24, [x9, #72]
        stp     x25, x26, [x9, #88]
        stp     x27, x28, [x9, #104]
        str     x29, [x9, #120]

        mov     x0, #-1
        add     x1, x9, #16
        mov     x2, #0x40000000                 // __WALL
        mov     x3, #0
        mov     x8, #260                        // wait4
        svc     #0
        mov     x9, #BASE
        add     x9, x9, #REPORT_OFFSET
        str     x0, [x9, #8]

        mov     x0, #0
        mov     x8, #94                         // exit_group
        svc     #0

        .balign 4
stub:
        .incbin "stub.bin"

        .section .note.GNU-stack, "", %progbits
