// The kernel's part: what the driver wants of a kernel, and the machine's GPIO devices.

#include "kernel.h"

#include "board.h"
#include "console.h"

// How much the driver needs is asked for at run time; this is enough for its default options, and it says so if not.
static struct device {
    uint8_t shared[64 * 1024] __attribute__((aligned(4096)));
    uint8_t storage[16 * 1024] __attribute__((aligned(VIRTIO_GPIO_STORAGE_ALIGN)));
    bool shared_is_lent;
    // Set once it may interrupt: volatile, because the handler and whoever waits look at it.
    virtio_gpio_chip *volatile chip;
} devices[KERNEL_CHIPS];

unsigned kernel_interrupts;

// Two functions for the driver's critical section, and one for the worst case.

uintptr_t virtio_gpio_enter_critical(void)
{
    return board_mask_interrupts();
}

void virtio_gpio_leave_critical(uintptr_t state)
{
    board_restore_interrupts(state);
}

_Noreturn void virtio_gpio_panicked(void)
{
    print("ERROR the driver panicked\n");
    board_power_off(CRASHED);
}

// The table.

uint64_t kernel_now(void)
{
    uint64_t ticks = board_ticks(), frequency = board_ticks_per_second();
    return ticks / frequency * SECOND + ticks % frequency * SECOND / frequency;
}

static uint64_t now(void *context)
{
    (void)context;
    return kernel_now();
}

// To be called with interrupts masked.
static void sleep_until(uint64_t time)
{
    uint64_t frequency = board_ticks_per_second(), limit = kernel_now() + SECOND;
    if (time > limit)
        time = limit; // UINT64_MAX nanoseconds would be too many
    board_sleep(time / SECOND * frequency + time % SECOND * frequency / SECOND + 1);
}

// What comes after `idle` was asked stays pending, because interrupts are masked, and ends the sleep. A device that cannot interrupt yet
// is polled. The self-test's device has no place among them, and no interrupt: the deadline ends the sleep.
static void wait(void *context, uint64_t deadline, virtio_gpio_idle idle, const void *argument)
{
    const struct device *device = context;
    uintptr_t before = board_mask_interrupts();
    if ((!device || device->chip) && idle(argument))
        sleep_until(deadline);
    board_restore_interrupts(before);
}

void kernel_interrupted(void)
{
    for (struct device *device = devices; device < devices + KERNEL_CHIPS; device++)
        if (device->chip && virtio_gpio_handle_interrupt(device->chip))
            kernel_interrupts++;
}

static void before_notify(void *context)
{
    (void)context;
    board_before_notify();
}

static void after_interrupt(void *context)
{
    (void)context;
    board_after_interrupt();
}

static void memory_released(void *context)
{
    struct device *device = context;
    if (device)
        device->shared_is_lent = false;
}

const virtio_gpio_platform kernel_platform = {
    .now = now,
    .wait = wait,
    .fence_before_notify = before_notify,
    .fence_after_interrupt = after_interrupt,
    .memory_released = memory_released,
};

// The devices.

// Ends the machine where the driver says that something failed.
static void must(const char *what, virtio_gpio_status status)
{
    if (status != VIRTIO_GPIO_STATUS_OK)
        fail("%s: %s", what, virtio_gpio_status_text(status));
}

static void open(struct device *device, unsigned slot, virtio_gpio_device *found, uint64_t timeout)
{
    virtio_gpio_options options;
    must("options", virtio_gpio_options_default(&options));
    options.timeout = timeout;
    virtio_gpio_sizes sizes;
    must("sizes", virtio_gpio_get_sizes(found, &options, &sizes));
    print("INFO  memory=%U storage=%U\n", (uint64_t)sizes.memory, (uint64_t)sizes.storage);
    virtio_gpio_memory memory = {
        .base = device->shared,
        .length = sizeof device->shared,
        .device_address = (uintptr_t)device->shared,
    };
    virtio_gpio_chip *chip;
    device->shared_is_lent = true;
    must("open", virtio_gpio_open(found, &options, &memory, device->storage, sizeof device->storage, &chip));
    device->chip = chip;
    board_enable_interrupt(slot);
    virtio_gpio_interrupt_enabled(chip);
}

unsigned kernel_open(uint64_t timeout, virtio_gpio_chip *chips[KERNEL_CHIPS])
{
    unsigned count = 0;
    board_start_interrupts();
    for (unsigned slot = 0; slot < BOARD_VIRTIO_SLOTS && count < KERNEL_CHIPS; slot++) {
        void *registers = (void *)(uintptr_t)(BOARD_VIRTIO + slot * BOARD_VIRTIO_STRIDE);
        virtio_gpio_platform platform = kernel_platform;
        platform.context = &devices[count];
        virtio_gpio_device found;
        uint32_t id;
        virtio_gpio_status status = virtio_gpio_identify(registers, BOARD_VIRTIO_SIZE, &platform, &found, &id);
        if (status == VIRTIO_GPIO_STATUS_EMPTY_SLOT || status == VIRTIO_GPIO_STATUS_NOT_GPIO)
            continue;
        print("INFO  virtio-mmio %X: GPIO (id %u)\n", (uintptr_t)registers, (unsigned)id);
        must("identify", status);
        open(&devices[count], slot, &found, timeout);
        chips[count] = devices[count].chip;
        count++;
    }
    return count;
}

void kernel_rest(uint64_t end)
{
    bool is_idle = true;
    uintptr_t before = board_mask_interrupts();
    for (struct device *device = devices; device < devices + KERNEL_CHIPS; device++) {
        if (!device->chip)
            continue;
        uint64_t due = virtio_gpio_next_deadline(device->chip);
        end = due < end ? due : end;
        is_idle = is_idle && virtio_gpio_is_idle(device->chip);
    }
    if (is_idle)
        sleep_until(end);
    board_restore_interrupts(before);
}

bool kernel_close(void)
{
    bool all_came_back = true;
    for (struct device *device = devices; device < devices + KERNEL_CHIPS; device++) {
        virtio_gpio_chip *chip = device->chip;
        device->chip = NULL; // the handler looks at it no more
        if (chip)
            must("close", virtio_gpio_close(chip));
        all_came_back = all_came_back && !device->shared_is_lent;
    }
    return all_came_back;
}
