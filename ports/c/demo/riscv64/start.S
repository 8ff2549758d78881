# From OpenSBI to C: stack, cleared variables. OpenSBI starts one hart in S-mode, with translation off, and caches need no care.

.section .text.start, "ax"
.global _start
_start:
    csrw    sie, zero
    csrw    satp, zero
    # No global pointer: the image is linked without relaxation through it.
    mv      gp, zero
    mv      tp, zero
    la      t0, unexpected
    csrw    stvec, t0
    la      sp, stack_end
    la      t0, bss_start
    la      t1, bss_end
1:  bgeu    t0, t1, 2f
    sd      zero, 0(t0)
    addi    t0, t0, 8
    j       1b
2:  call    main
3:  wfi
    j       3b

# Nothing is enabled that interrupts: whatever comes here is a mistake.
.balign 4
unexpected:
    call    board_unexpected
    j       unexpected
