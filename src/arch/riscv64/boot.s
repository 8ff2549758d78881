# From OpenSBI to Rust: translation on, stacks. Nothing is written to memory before the translation is on.
#
# OpenSBI starts one hart, of its choice, in S-mode with the hart's number in a0 and the device tree's address in a1; the others
# stay stopped (SBI, 9). The header is that of Linux (Documentation/arch/riscv/boot-image-header.rst).

.set SATP_SV39, 8
.set SATP_MODE_SHIFT, 60
.set PAGE_SHIFT, 12

.section .head, "ax"
.global _start
_start:
    j       boot
    .balign 8
    .quad   0x200000            # text_offset, from the start of memory
    .quad   image_size
    .quad   0                   # flags: little endian
    .word   2                   # version 0.2 of the header
    .word   0
    .quad   0
    .ascii  "RISCV\0\0\0"
    .ascii  "RSC\x05"
    .word   0

.section .text.boot, "ax"
boot:
    csrw    sie, zero
    csrci   sstatus, 2          # SIE: no interrupts yet
    # No global pointer: the image is linked without relaxation through it.
    mv      gp, zero
    mv      tp, zero

    # The tables say where the image must be.
    lla     t0, boot
    ld      t1, linked_at
    bne     t0, t1, wrong_address

    la      t0, trap_entry
    csrw    stvec, t0

    la      t0, root_table
    srli    t0, t0, PAGE_SHIFT
    li      t1, SATP_SV39
    slli    t1, t1, SATP_MODE_SHIFT
    or      t0, t0, t1
    sfence.vma
    csrw    satp, t0
    sfence.vma

    # sscratch holds the stack for handlers while main code runs, and 0 while a handler does.
    la      t0, exception_stack_end
    csrw    sscratch, t0
    la      sp, main_stack_end

    la      t0, bss_start
    la      t1, bss_end
1:  bgeu    t0, t1, 2f
    sd      zero, 0(t0)
    addi    t0, t0, 8
    j       1b

2:  mv      ra, zero
    mv      fp, zero
    tail    {start}

# Nothing can be said here: the console is a matter of the board, and reached through the tables.
wrong_address:
    wfi
    j       wrong_address

.balign 8
linked_at:
    .quad   boot
