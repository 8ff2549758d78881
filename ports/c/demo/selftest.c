// The self-test for ports on the demo's own table: it needs no device. Status 0 if no check failed.
//
// With the boot argument `selftest-break=clock` the clock stands still, and with `selftest-break=wait` the kernel sleeps without asking
// whether there is work: the self-test finds both by name.

#include <stddef.h>

#include <virtio_gpio.h>

#include "arguments.h"
#include "board.h"
#include "console.h"
#include "kernel.h"

static uint8_t shared[VIRTIO_GPIO_SELFTEST_MEMORY] __attribute__((aligned(4096)));
static uint8_t heap[VIRTIO_GPIO_SELFTEST_HEAP] __attribute__((aligned(16)));

static void print_piece(void *context, const char *text, size_t length)
{
    (void)context;
    for (size_t i = 0; i < length; i++)
        print_byte(text[i]);
}

static uint64_t stopped_clock(void *context)
{
    (void)context;
    return SECOND;
}

static void sleep_unasked(void *context, uint64_t deadline, virtio_gpio_idle idle, const void *argument)
{
    (void)context, (void)idle, (void)argument;
    while (kernel_now() < deadline)
        ;
}

_Noreturn void board_main(const void *device_tree)
{
    virtio_gpio_selftest_setup setup = {
        .platform = kernel_platform,
        .memory = { .base = shared, .length = sizeof shared, .device_address = (uintptr_t)shared },
        .heap = heap,
        .heap_length = sizeof heap,
        .print = print_piece,
    };
    const char *broken = arguments_value(device_tree, "selftest-break");
    if (broken && arguments_behind(broken, "clock"))
        setup.platform.now = stopped_clock;
    else if (broken && arguments_behind(broken, "wait"))
        setup.platform.wait = sleep_unasked;
    else if (broken)
        fail("selftest-break is clock or wait");
    board_start_interrupts();
    virtio_gpio_selftest_report report;
    virtio_gpio_status status = virtio_gpio_selftest(&setup, &report);
    if (status != VIRTIO_GPIO_STATUS_OK)
        fail("self-test: %s", virtio_gpio_status_text(status));
    board_power_off(report.failed == 0 ? PASSED : FAILED);
}
