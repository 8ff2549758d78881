# From OpenSBI to C: stack, cleared variables. OpenSBI starts one hart in S-mode, with translation off, and caches need no care.

.section .text.start, "ax"
.global _start
_start:
    csrw    sie, zero
    csrw    satp, zero
    # No global pointer: the image is linked without relaxation through it.
    mv      gp, zero
    mv      tp, zero
    la      t0, trap
    csrw    stvec, t0
    la      sp, stack_end
    la      t0, bss_start
    la      t1, bss_end
1:  bgeu    t0, t1, 2f
    sd      zero, 0(t0)
    addi    t0, t0, 8
    j       1b
2:  mv      a0, a1 # the device tree, as OpenSBI gives it
    call    board_main
3:  wfi
    j       3b

# Keeps what a function may change; there is one hart, and no trap within a trap.
.balign 4
trap:
    addi    sp, sp, -128
    sd      ra, 0(sp)
.irp n, 0, 1, 2, 3, 4, 5, 6
    sd      t\n, 8 + 8 * \n(sp)
.endr
.irp n, 0, 1, 2, 3, 4, 5, 6, 7
    sd      a\n, 64 + 8 * \n(sp)
.endr
    csrr    a0, scause
    call    board_trapped
    ld      ra, 0(sp)
.irp n, 0, 1, 2, 3, 4, 5, 6
    ld      t\n, 8 + 8 * \n(sp)
.endr
.irp n, 0, 1, 2, 3, 4, 5, 6, 7
    ld      a\n, 64 + 8 * \n(sp)
.endr
    addi    sp, sp, 128
    sret
