// The kernel's part: what the driver wants of a kernel, and the machine's GPIO devices.

#ifndef DEMO_KERNEL_H
#define DEMO_KERNEL_H

#include <stddef.h>

#include <virtio_gpio.h>

#define KERNEL_CHIPS 2
#define MILLISECOND 1000000ull // nanoseconds
#define SECOND (1000 * MILLISECOND)

// The table of the driver's seams. Its context is for `kernel_open`, and null for the self-test.
extern const virtio_gpio_platform kernel_platform;

// Nanoseconds since some start.
uint64_t kernel_now(void);

// Opens the GPIO devices of the machine, the first ones up to KERNEL_CHIPS, and lets them interrupt. Gives their number. What cannot be
// opened ends the machine.
unsigned kernel_open(uint64_t timeout, virtio_gpio_chip *chips[KERNEL_CHIPS]);

// Sleeps until a device has something to do, or until that time.
void kernel_rest(uint64_t end);

// Closes the devices. Says whether all of their memory came back.
bool kernel_close(void);

// How many interrupts the devices had raised.
extern unsigned kernel_interrupts;

#endif
