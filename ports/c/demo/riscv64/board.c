// The parts of QEMU's virt machine for riscv64, under OpenSBI.

#include "../board.h"

#define UART_LINE_STATUS 5
#define UART_LINE_STATUS_EMPTY (1u << 5)
#define SSTATUS_SIE 2
#define SIE_TIMER (1ul << 5)
#define SIE_EXTERNAL (1ul << 9)
#define CAUSE_EXTERNAL (1ul << 63 | 9)

// The PLIC's registers for this hart in S-mode, its context 1.
#define PLIC_ENABLE (BOARD_PLIC + 0x2080)
#define PLIC_THRESHOLD (BOARD_PLIC + 0x201000)
#define PLIC_CLAIM (BOARD_PLIC + 0x201004)

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

// Asks the firmware for the timer's interrupt.
static void set_timer(uint64_t ticks)
{
    register uint64_t a0 __asm__("a0") = ticks;
    register uint64_t a1 __asm__("a1");
    register uint64_t function __asm__("a6") = 0;
    register uint64_t extension __asm__("a7") = 0x54494d45;
    __asm__ volatile("ecall" : "+r"(a0), "=r"(a1) : "r"(function), "r"(extension) : "memory");
}

void board_enable_interrupt(unsigned slot)
{
    unsigned source = BOARD_VIRTIO_SOURCE + slot;
    board_write32(BOARD_PLIC + 4 * source, 1);
    board_write32(PLIC_ENABLE, board_read32(PLIC_ENABLE) | 1u << source);
}

void board_start_interrupts(void)
{
    board_write32(PLIC_ENABLE, 0);
    board_write32(PLIC_THRESHOLD, 0);
    set_timer(UINT64_MAX);
    __asm__ volatile("csrs sie, %0\n\tcsrsi sstatus, %1" : : "r"(SIE_TIMER | SIE_EXTERNAL), "i"(SSTATUS_SIE) : "memory");
}

void board_trapped(uint64_t cause)
{
    if (cause != CAUSE_EXTERNAL)
        board_unexpected();
    uint32_t source = board_read32(PLIC_CLAIM);
    kernel_interrupted();
    board_write32(PLIC_CLAIM, source);
}

void board_sleep(uint64_t ticks)
{
    set_timer(ticks);
    __asm__ volatile("wfi" : : : "memory");
    // The timer's interrupt is not pending any more.
    set_timer(UINT64_MAX);
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
