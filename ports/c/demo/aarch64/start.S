// From QEMU to C: caches and MMU on, because neither atomics nor shared memory are sure to work without; stack, cleared
// variables. Runs at EL1, which is where the machine starts without virtualization=on.

// MAIR_EL1: attribute 0 is normal memory, write-back; attribute 1 is a device, nGnRE.
.set MAIR, 0x04ff
// TCR_EL1: 39-bit addresses, so that the first table has entries of 1 GiB; 4 KiB pages; tables in inner shareable,
// write-back memory; no TTBR1; physical addresses of 36 bits.
.set TCR, 1 << 32 | 1 << 23 | 3 << 12 | 1 << 10 | 1 << 8 | (64 - 39)
// SCTLR_EL1: reserved ones, instruction cache, data cache, MMU.
.set SCTLR, 0x30d00800 | 1 << 12 | 1 << 2 | 1 << 0

// Entries of the table: valid, accessed.
.set DEVICE, 1 << 54 | 1 << 53 | 1 << 10 | 1 << 2 | 1
.set MEMORY, 1 << 10 | 3 << 8 | 1

.section .text.start, "ax"
.global _start
_start:
    ldr     x0, =vectors
    msr     vbar_el1, x0
    ldr     x0, =MAIR
    msr     mair_el1, x0
    ldr     x0, =TCR
    msr     tcr_el1, x0
    adrp    x0, table
    msr     ttbr0_el1, x0
    isb
    tlbi    vmalle1
    dsb     nsh
    ic      iallu
    dsb     nsh
    isb
    ldr     x0, =SCTLR
    msr     sctlr_el1, x0
    isb
    ldr     x0, =stack_end
    mov     sp, x0
    ldr     x0, =bss_start
    ldr     x1, =bss_end
1:  cmp     x0, x1
    b.hs    2f
    str     xzr, [x0], #8
    b       1b
2:  mov     x0, #0x40000000 // where QEMU puts the device tree for an image that is not Linux's: at the start of memory
    bl      board_main
3:  wfi
    b       3b

.macro vector name
    b       \name
    .balign 128
.endm

.balign 2048
vectors:
.rept 5
    vector  board_unexpected
.endr
    vector  interrupted
.rept 10
    vector  board_unexpected
.endr

// Keeps what a function may change; there is one processor, and no interrupt within an interrupt.
interrupted:
    sub     sp, sp, #160
.irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17
    str     x\n, [sp, #8 * \n]
.endr
    stp     x18, x30, [sp, #144]
    bl      board_interrupted
.irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17
    ldr     x\n, [sp, #8 * \n]
.endr
    ldp     x18, x30, [sp, #144]
    add     sp, sp, #160
    eret

.section .data.table, "aw"
.balign 4096
table:
    .quad   DEVICE              // 0 to 1 GiB: registers, never executable
    .quad   0x40000000 | MEMORY // 1 to 2 GiB: memory
    .zero   4096 - 16
