// The parts of QEMU's virt machine for riscv64, under OpenSBI.

#include "../board.h"

#define UART_LINE_STATUS 5
#define UART_LINE_STATUS_EMPTY (1u << 5)
#define SSTATUS_SIE 2

uint64_t board_ticks(void)
{
    uint64_t ticks;
    __asm__ volatile("rdtime %0" : "=r"(ticks) : : "memory");
    return ticks;
}

uint64_t board_ticks_per_second(void)
{
    return BOARD_TICKS_PER_SECOND;
}

uintptr_t board_mask_interrupts(void)
{
    uintptr_t before;
    __asm__ volatile("csrrci %0, sstatus, %1" : "=r"(before) : "i"(SSTATUS_SIE) : "memory");
    return before & SSTATUS_SIE;
}

void board_restore_interrupts(uintptr_t before)
{
    __asm__ volatile("csrs sstatus, %0" : : "r"(before) : "memory");
}

void board_before_notify(void)
{
    __asm__ volatile("fence w, o" : : : "memory");
}

void board_after_interrupt(void)
{
    __asm__ volatile("fence i, r" : : : "memory");
}

void board_put(char byte)
{
    volatile uint8_t *uart = (volatile uint8_t *)BOARD_UART;
    while (!(uart[UART_LINE_STATUS] & UART_LINE_STATUS_EMPTY))
        ;
    uart[0] = (uint8_t)byte;
}

// The machine's test finisher: 0x5555 is a good end, and 0x3333 one with the status in the upper half.
_Noreturn void board_power_off(unsigned status)
{
    board_write32(BOARD_FINISHER, status == 0 ? 0x5555 : status << 16 | 0x3333);
    for (;;)
        __asm__ volatile("wfi");
}
