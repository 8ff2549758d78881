// From the boot loader to Rust: to EL1, MMU and caches on, stacks. Nothing is written to memory before the MMU is on.
//
// A loader of the raw form puts the device tree's address into x0 (Linux, Documentation/arch/arm64/booting.rst). QEMU gives 0 to
// an ELF file and leaves the tree at the start of memory.

// MAIR_EL1: attribute 0 is normal memory, write-back, allocating; attribute 1 is a device, nGnRE.
.set MAIR, 0x04ff

// TCR_EL1: the translation starts with a table of 1 GiB entries (39-bit addresses), 4 KiB pages, tables in write-back
// cacheable, inner shareable memory; no translation through TTBR1. The size of physical addresses is added below.
.set TCR_T0SZ, 64 - 39
.set TCR_IRGN0_WRITE_BACK, 0b01 << 8
.set TCR_ORGN0_WRITE_BACK, 0b01 << 10
.set TCR_SH0_INNER, 0b11 << 12
.set TCR_EPD1, 1 << 23
.set TCR, TCR_T0SZ | TCR_IRGN0_WRITE_BACK | TCR_ORGN0_WRITE_BACK | TCR_SH0_INNER | TCR_EPD1
.set TCR_IPS_SHIFT, 32
.set TCR_IPS_48_BITS, 5

.set SCTLR_RES1, 1 << 29 | 1 << 28 | 1 << 23 | 1 << 22 | 1 << 20 | 1 << 11
.set SCTLR_MMU, 1 << 0
.set SCTLR_DATA_CACHE, 1 << 2
.set SCTLR_STACK_ALIGNMENT_CHECK, 1 << 3
.set SCTLR_INSTRUCTION_CACHE, 1 << 12
// What is writable is never executable, whatever a table says.
.set SCTLR_WXN, 1 << 19
.set SCTLR_OFF, SCTLR_RES1
.set SCTLR_ON, SCTLR_RES1 | SCTLR_MMU | SCTLR_DATA_CACHE | SCTLR_STACK_ALIGNMENT_CHECK | SCTLR_INSTRUCTION_CACHE | SCTLR_WXN

.set HCR_RW, 1 << 31
.set CNTHCTL_EL1_COUNTER_AND_TIMER, 0b11
.set CPTR_RES1, 0x33ff
.set ICC_SRE_ENABLE_AND_SRE, 0b1001
.set SPSR_EL1H_MASKED, 0b1111 << 6 | 0b0101

.section .head, "ax"
.global _start
_start:
    b       boot
    .word   0
    .quad   0x400000            // text_offset, from the start of memory; see `wrong_address`
    .quad   image_size
    .quad   0b0010              // flags: little endian, 4 KiB pages, near the start of memory
    .quad   0
    .quad   0
    .quad   0
    .ascii  "ARM\x64"
    .word   0

.section .text.boot, "ax"
boot:
    mov     x19, x0             // the device tree, or 0
    mrs     x20, CurrentEL
    lsr     x20, x20, #2        // the exception level at the start
    cmp     x20, #2
    b.lo    at_el1
    b.hi    park                // EL3: there is firmware missing below us

    // At EL2. What EL1 needs is permitted, nothing is trapped, and there is no second stage of translation.
    mov     x1, #HCR_RW
    msr     hcr_el2, x1
    mrs     x1, cnthctl_el2
    orr     x1, x1, #CNTHCTL_EL1_COUNTER_AND_TIMER
    msr     cnthctl_el2, x1
    msr     cntvoff_el2, xzr
    mov     x1, #CPTR_RES1
    msr     cptr_el2, x1
    msr     hstr_el2, xzr
    msr     vttbr_el2, xzr
    mrs     x1, midr_el1
    msr     vpidr_el2, x1
    mrs     x1, mpidr_el1
    msr     vmpidr_el2, x1
    // The system registers of a GICv3, where there are any.
    mrs     x1, id_aa64pfr0_el1
    ubfx    x1, x1, #24, #4
    cbz     x1, 1f
    mrs     x1, S3_4_C12_C9_5   // ICC_SRE_EL2
    mov     x2, #ICC_SRE_ENABLE_AND_SRE
    orr     x1, x1, x2
    msr     S3_4_C12_C9_5, x1
    isb
    msr     S3_4_C12_C11_0, xzr // ICH_HCR_EL2
1:  ldr     x1, =SCTLR_OFF
    msr     sctlr_el1, x1
    mov     x1, #SPSR_EL1H_MASKED
    msr     spsr_el2, x1
    adr     x1, at_el1
    msr     elr_el2, x1
    eret

at_el1:
    msr     daifset, #0b1111
    adrp    x1, exception_vectors
    add     x1, x1, :lo12:exception_vectors
    msr     vbar_el1, x1
    // The tables say where the image must be.
    adr     x1, boot
    ldr     x2, =boot
    cmp     x1, x2
    b.ne    wrong_address

    mov     x1, #MAIR
    msr     mair_el1, x1
    ldr     x1, =TCR
    mrs     x2, id_aa64mmfr0_el1
    and     x2, x2, #0b1111     // the size of physical addresses, in the encoding of TCR_EL1.IPS
    mov     x3, #TCR_IPS_48_BITS
    cmp     x2, x3
    csel    x2, x2, x3, lo
    orr     x1, x1, x2, lsl #TCR_IPS_SHIFT
    msr     tcr_el1, x1
    adrp    x1, root_table
    msr     ttbr0_el1, x1
    dsb     sy
    isb
    tlbi    vmalle1
    ic      iallu
    dsb     sy
    isb
    ldr     x1, =SCTLR_ON
    msr     sctlr_el1, x1
    isb

    // Handlers run on the stack of SP_EL1, everything else on that of SP_EL0. So a fault that the main stack causes finds a
    // stack that works.
    msr     spsel, #1
    adrp    x1, exception_stack_end
    mov     sp, x1
    msr     spsel, #0
    adrp    x1, main_stack_end
    mov     sp, x1

    adrp    x1, bss_start
    adrp    x2, bss_end
2:  cmp     x1, x2
    b.hs    3f
    stp     xzr, xzr, [x1], #16
    b       2b

3:  mov     x29, xzr
    mov     x30, xzr
    mov     x0, x19
    mov     x1, x20
    b       {start}

// Nothing can be said here: the console is a matter of the board, and reached through the tables.
wrong_address:
park:
    wfi
    b       park
