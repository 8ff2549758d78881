// The parts of QEMU's virt machine for aarch64.

#include "../board.h"

#define UART_FLAGS (BOARD_UART + 0x18)
#define UART_FLAG_FULL (1u << 5)

#define GICD_CTLR BOARD_GIC_DISTRIBUTOR
#define GICD_ISENABLER (BOARD_GIC_DISTRIBUTOR + 0x100) // a bit for each interrupt
#define GICD_ITARGETSR (BOARD_GIC_DISTRIBUTOR + 0x800) // a byte for each
#define GICD_ICFGR (BOARD_GIC_DISTRIBUTOR + 0xc00) // two bits for each
#define GICC_CTLR BOARD_GIC_PROCESSOR
#define GICC_PMR (BOARD_GIC_PROCESSOR + 0x4)
#define GICC_IAR (BOARD_GIC_PROCESSOR + 0xc)
#define GICC_EOIR (BOARD_GIC_PROCESSOR + 0x10)
#define NO_INTERRUPT 1020u // and above

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

static void enable(unsigned interrupt)
{
    board_write32(GICD_ISENABLER + interrupt / 32 * 4, 1u << interrupt % 32);
}

void board_enable_interrupt(unsigned slot)
{
    unsigned interrupt = BOARD_VIRTIO_INTERRUPT + slot;
    uintptr_t trigger = GICD_ICFGR + interrupt / 16 * 4;
    board_write32(trigger, board_read32(trigger) | 2u << interrupt % 16 * 2); // edge-triggered
    *(volatile uint8_t *)(uintptr_t)(GICD_ITARGETSR + interrupt) = 1; // this processor
    enable(interrupt);
}

void board_start_interrupts(void)
{
    enable(BOARD_TIMER_INTERRUPT);
    board_write32(GICD_CTLR, 1);
    board_write32(GICC_PMR, 0xff); // all priorities
    board_write32(GICC_CTLR, 1);
    __asm__ volatile("msr daifclr, #2" : : : "memory");
}

void board_interrupted(void)
{
    uint32_t acknowledged = board_read32(GICC_IAR);
    if ((acknowledged & 0x3ff) >= NO_INTERRUPT)
        return;
    kernel_interrupted();
    board_write32(GICC_EOIR, acknowledged);
}

void board_sleep(uint64_t ticks)
{
    __asm__ volatile("msr cntv_cval_el0, %0\n\tmsr cntv_ctl_el0, %1\n\tisb\n\twfi" : : "r"(ticks), "r"(1ul) : "memory");
    // The timer's interrupt is not pending any more.
    __asm__ volatile("msr cntv_ctl_el0, %0\n\tisb" : : "r"(0ul) : "memory");
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
