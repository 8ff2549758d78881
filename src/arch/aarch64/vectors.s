// Exceptions: save the registers, call Rust, restore them.

.set FRAME_SIZE, 36 * 8
.set FRAME_SP, 31 * 8

.set KIND_SYNCHRONOUS, 0
.set KIND_INTERRUPT, 1
.set KIND_FAST_INTERRUPT, 2
.set KIND_SYSTEM_ERROR, 3

// An exception of main code. Its stack is that of SP_EL0; ours, that of SP_EL1, is empty.
.macro FROM_MAIN kind
    .balign 0x80
    sub     sp, sp, #FRAME_SIZE
    stp     x0, x1, [sp]
    mrs     x1, sp_el0
    mov     x0, #\kind
    b       save
.endm

// An exception of a handler. Its stack may be the cause, so another one is used. TPIDR_EL0 and TPIDRRO_EL0 hold two
// registers meanwhile; nothing else uses them.
.macro FROM_HANDLER kind
    .balign 0x80
    msr     tpidr_el0, x0
    mov     x0, sp
    msr     tpidrro_el0, x0
    adrp    x0, emergency_stack_end
    sub     sp, x0, #FRAME_SIZE
    mrs     x0, tpidr_el0
    stp     x0, x1, [sp]
    mrs     x1, tpidrro_el0
    mov     x0, #\kind
    b       save
.endm

.section .text.vectors, "ax"
.balign 0x800
.global exception_vectors
exception_vectors:
    FROM_MAIN KIND_SYNCHRONOUS
    FROM_MAIN KIND_INTERRUPT
    FROM_MAIN KIND_FAST_INTERRUPT
    FROM_MAIN KIND_SYSTEM_ERROR

    FROM_HANDLER KIND_SYNCHRONOUS
    FROM_HANDLER KIND_INTERRUPT
    FROM_HANDLER KIND_FAST_INTERRUPT
    FROM_HANDLER KIND_SYSTEM_ERROR

    // Lower exception levels are not used.
    .rept 8
    FROM_HANDLER KIND_SYSTEM_ERROR
    .endr

    .balign 0x80
// The frame is at sp; x0 and x1 are saved in it. x0 is the kind, x1 the stack pointer of what was interrupted.
save:
    stp     x2, x3, [sp, #2 * 8]
    stp     x4, x5, [sp, #4 * 8]
    stp     x6, x7, [sp, #6 * 8]
    stp     x8, x9, [sp, #8 * 8]
    stp     x10, x11, [sp, #10 * 8]
    stp     x12, x13, [sp, #12 * 8]
    stp     x14, x15, [sp, #14 * 8]
    stp     x16, x17, [sp, #16 * 8]
    stp     x18, x19, [sp, #18 * 8]
    stp     x20, x21, [sp, #20 * 8]
    stp     x22, x23, [sp, #22 * 8]
    stp     x24, x25, [sp, #24 * 8]
    stp     x26, x27, [sp, #26 * 8]
    stp     x28, x29, [sp, #28 * 8]
    mrs     x2, elr_el1
    stp     x30, x1, [sp, #30 * 8]
    mrs     x3, spsr_el1
    stp     x2, x3, [sp, #32 * 8]
    mrs     x2, esr_el1
    mrs     x3, far_el1
    stp     x2, x3, [sp, #34 * 8]
    mov     x1, x0
    mov     x0, sp
    bl      {handler}

    ldp     x2, x3, [sp, #32 * 8]
    msr     elr_el1, x2
    msr     spsr_el1, x3
    // Back to a handler: its stack pointer is SP_EL1 itself.
    tst     x3, #1
    b.ne    1f
    // Back to main code: SP_EL0 was not touched, and SP_EL1 becomes empty again.
    mov     x1, sp
    add     x1, x1, #FRAME_SIZE
    b       2f
1:  ldr     x1, [sp, #FRAME_SP]
2:  msr     tpidrro_el0, x1
    ldp     x2, x3, [sp, #2 * 8]
    ldp     x4, x5, [sp, #4 * 8]
    ldp     x6, x7, [sp, #6 * 8]
    ldp     x8, x9, [sp, #8 * 8]
    ldp     x10, x11, [sp, #10 * 8]
    ldp     x12, x13, [sp, #12 * 8]
    ldp     x14, x15, [sp, #14 * 8]
    ldp     x16, x17, [sp, #16 * 8]
    ldp     x18, x19, [sp, #18 * 8]
    ldp     x20, x21, [sp, #20 * 8]
    ldp     x22, x23, [sp, #22 * 8]
    ldp     x24, x25, [sp, #24 * 8]
    ldp     x26, x27, [sp, #26 * 8]
    ldp     x28, x29, [sp, #28 * 8]
    ldr     x30, [sp, #30 * 8]
    ldp     x0, x1, [sp]
    msr     tpidr_el0, x0
    mrs     x0, tpidrro_el0
    mov     sp, x0
    mrs     x0, tpidr_el0
    eret
