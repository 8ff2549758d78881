# Traps: save the registers, call Rust, restore them.

.set FRAME_SIZE, 36 * 8
.set FRAME_SCRATCH, 35 * 8

.section .text.vectors, "ax"
.balign 4
.global trap_entry
trap_entry:
    csrrw   sp, sscratch, sp
    bnez    sp, 1f
    # A trap in a handler. Its stack may be the cause, so another one is used.
    la      sp, emergency_stack_end
    addi    sp, sp, -FRAME_SIZE
    sd      t0, 5 * 8(sp)
    sd      zero, FRAME_SCRATCH(sp)
    j       2f
1:  addi    sp, sp, -FRAME_SIZE
    sd      t0, 5 * 8(sp)
    addi    t0, sp, FRAME_SIZE
    sd      t0, FRAME_SCRATCH(sp)
2:  sd      ra, 1 * 8(sp)
    csrrw   t0, sscratch, zero
    sd      t0, 2 * 8(sp)       # the stack pointer of what was interrupted
    sd      gp, 3 * 8(sp)
    sd      tp, 4 * 8(sp)
    .irp    n, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    sd      x\n, \n * 8(sp)
    .endr
    csrr    t0, sepc
    sd      t0, 0 * 8(sp)
    csrr    t0, sstatus
    sd      t0, 32 * 8(sp)
    csrr    t0, scause
    sd      t0, 33 * 8(sp)
    csrr    t0, stval
    sd      t0, 34 * 8(sp)
    mv      a0, sp
    call    {handler}

    ld      t0, 0 * 8(sp)
    csrw    sepc, t0
    ld      t0, 32 * 8(sp)
    csrw    sstatus, t0
    ld      t0, FRAME_SCRATCH(sp)
    csrw    sscratch, t0
    ld      ra, 1 * 8(sp)
    ld      gp, 3 * 8(sp)
    ld      tp, 4 * 8(sp)
    .irp    n, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    ld      x\n, \n * 8(sp)
    .endr
    ld      sp, 2 * 8(sp)
    sret
