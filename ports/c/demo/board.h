// What the programs want of a board: addresses as macros in ARCH/board-addresses.h, and a few functions that differ between processors.

#ifndef DEMO_BOARD_H
#define DEMO_BOARD_H

#include <stdbool.h>
#include <stdint.h>

#include <board-addresses.h>

// The program's start, with the machine's device tree.
_Noreturn void board_main(const void *device_tree);

// Ticks since some start, and how many make a second.
uint64_t board_ticks(void);
uint64_t board_ticks_per_second(void);

// Masks interrupts. What it returns restores what was before.
uintptr_t board_mask_interrupts(void);
void board_restore_interrupts(uintptr_t before);

// Lets interrupts through at all, of which none is enabled but that of the timer, for `board_sleep`.
void board_start_interrupts(void);

// Enables the interrupt of a virtio slot. From then on it ends in `kernel_interrupted`, with interrupts masked.
void board_enable_interrupt(unsigned slot);
void kernel_interrupted(void);

// Sleeps until an interrupt is pending, or at least until the ticks are there. To be called with interrupts masked; what is
// pending comes when they are restored.
void board_sleep(uint64_t ticks);

// What was not to happen has happened: an exception, or an interrupt that nobody enabled.
_Noreturn void board_unexpected(void);

// Stores to memory come before the register write that follows, and register reads before the loads that follow.
void board_before_notify(void);
void board_after_interrupt(void);

// Writes a byte to the serial port.
void board_put(char byte);

// Switches the machine off; the status becomes QEMU's exit status.
_Noreturn void board_power_off(unsigned status);

static inline void board_write32(uintptr_t address, uint32_t value)
{
    *(volatile uint32_t *)address = value;
}

static inline uint32_t board_read32(uintptr_t address)
{
    return *(volatile uint32_t *)address;
}

#endif
