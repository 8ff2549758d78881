// The parts of QEMU's virt machine for aarch64.

#include "../board.h"

#define UART_FLAGS (BOARD_UART + 0x18)
#define UART_FLAG_FULL (1u << 5)

uint64_t board_ticks(void)
{
    uint64_t ticks;
    // The counter may be read early otherwise.
    __asm__ volatile("isb\n\tmrs %0, cntvct_el0" : "=r"(ticks) : : "memory");
    return ticks;
}

uint64_t board_ticks_per_second(void)
{
    uint64_t frequency;
    __asm__("mrs %0, cntfrq_el0" : "=r"(frequency));
    return frequency;
}

uintptr_t board_mask_interrupts(void)
{
    uint64_t before;
    __asm__ volatile("mrs %0, daif\n\tmsr daifset, #2" : "=r"(before) : : "memory");
    return before;
}

void board_restore_interrupts(uintptr_t before)
{
    __asm__ volatile("msr daif, %0" : : "r"((uint64_t)before) : "memory");
}

void board_before_notify(void)
{
    __asm__ volatile("dsb st" : : : "memory");
}

void board_after_interrupt(void)
{
    __asm__ volatile("dsb ld" : : : "memory");
}

void board_put(char byte)
{
    while (board_read32(UART_FLAGS) & UART_FLAG_FULL)
        ;
    board_write32(BOARD_UART, (unsigned char)byte);
}

// SYS_EXIT_EXTENDED of Arm's semihosting; QEMU must have been started with -semihosting-config enable=on.
_Noreturn void board_power_off(unsigned status)
{
    const uint64_t block[2] = { 0x20026, status };
    register uint64_t operation __asm__("x0") = 0x20;
    register const uint64_t *argument __asm__("x1") = block;
    __asm__ volatile("hlt #0xf000" : "+r"(operation) : "r"(argument) : "memory");
    for (;;)
        __asm__ volatile("wfi");
}
