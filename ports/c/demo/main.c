// A kernel in C, as small as one can be, with a virtio GPIO device: finds it, blinks the line `led0` three times, reports three
// edges of the line `button0`, and switches the machine off. Status 0 if all went well, 1 if not, 101 for what must not happen.
//
// It sleeps until the device interrupts, or until it is time. Lines without these names are found by number, 0 and 1.

#include <stdarg.h>
#include <stddef.h>

#include <virtio_gpio.h>

#include "board.h"

#define BLINKS 3
#define EDGES 3
#define HALF_PERIOD 20000000ull // nanoseconds
#define FAILED 1
#define CRASHED 101

// What the driver needs is asked for at run time; this is enough for its default options, and it says so if not.
static uint8_t shared[64 * 1024] __attribute__((aligned(4096)));
static uint8_t storage[16 * 1024] __attribute__((aligned(VIRTIO_GPIO_STORAGE_ALIGN)));
static bool shared_is_ours = true;

// The chip that interrupts, once it may: volatile, because the handler and whoever waits look at it.
static const virtio_gpio_chip *volatile handled;
static unsigned interrupts;

// What the console needs.

static void print_text(const char *text)
{
    for (; *text; text++)
        board_put(*text);
}

static void print_number(uint64_t number, unsigned base)
{
    char digits[20];
    size_t count = 0;
    do {
        digits[count++] = "0123456789abcdef"[number % base];
        number /= base;
    } while (number != 0);
    while (count > 0)
        board_put(digits[--count]);
}

// %s text, %u unsigned, %U uint64_t, %X uintptr_t.
static void print(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    for (; *format; format++) {
        if (*format != '%') {
            board_put(*format);
            continue;
        }
        switch (*++format) {
        case 's':
            print_text(va_arg(arguments, const char *));
            break;
        case 'u':
            print_number(va_arg(arguments, unsigned), 10);
            break;
        case 'U':
            print_number(va_arg(arguments, uint64_t), 10);
            break;
        case 'X':
            print_number(va_arg(arguments, uintptr_t), 16);
            break;
        }
    }
    va_end(arguments);
    print_text("\r\n");
}

// Ends the machine where the driver says that something failed.
static void must(const char *what, virtio_gpio_status status)
{
    if (status == VIRTIO_GPIO_STATUS_OK)
        return;
    print("ERROR %s: %s", what, virtio_gpio_status_text(status));
    board_power_off(FAILED);
}

void board_unexpected(void)
{
    print("ERROR unexpected exception");
    board_power_off(CRASHED);
}

// What the driver needs: two functions for its critical section, one for the worst case, and the table.

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
    print("ERROR the driver panicked");
    board_power_off(CRASHED);
}

#define SECOND 1000000000ull // nanoseconds

static uint64_t now(void *context)
{
    (void)context;
    uint64_t ticks = board_ticks(), frequency = board_ticks_per_second();
    return ticks / frequency * SECOND + ticks % frequency * SECOND / frequency;
}

static void sleep_until(uint64_t time)
{
    uint64_t frequency = board_ticks_per_second();
    if (time > now(NULL) + SECOND)
        time = now(NULL) + SECOND; // UINT64_MAX ticks would be too many nanoseconds
    board_sleep(time / SECOND * frequency + time % SECOND * frequency / SECOND + 1);
}

// What comes after `idle` was asked stays pending, because interrupts are masked, and ends the sleep.
static void wait(void *context, uint64_t deadline, virtio_gpio_idle idle, const void *argument)
{
    (void)context;
    uintptr_t before = board_mask_interrupts();
    if (handled && idle(argument))
        sleep_until(deadline);
    board_restore_interrupts(before);
}

void kernel_interrupted(void)
{
    if (handled && virtio_gpio_handle_interrupt(handled))
        interrupts++;
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
    (void)context;
    shared_is_ours = true;
}

static const virtio_gpio_platform platform = {
    .now = now,
    .wait = wait,
    .fence_before_notify = before_notify,
    .fence_after_interrupt = after_interrupt,
    .memory_released = memory_released,
};

// Looks at all slots and opens the first GPIO device.
static virtio_gpio_chip *open_chip(void)
{
    for (unsigned slot = 0; slot < BOARD_VIRTIO_SLOTS; slot++) {
        void *registers = (void *)(uintptr_t)(BOARD_VIRTIO + slot * BOARD_VIRTIO_STRIDE);
        virtio_gpio_device device;
        uint32_t id;
        virtio_gpio_status status = virtio_gpio_identify(registers, BOARD_VIRTIO_SIZE, &platform, &device, &id);
        if (status == VIRTIO_GPIO_STATUS_EMPTY_SLOT || status == VIRTIO_GPIO_STATUS_NOT_GPIO)
            continue;
        print("INFO  virtio-mmio %X: GPIO (id %u)", (uintptr_t)registers, (unsigned)id);
        must("identify", status);

        virtio_gpio_sizes sizes;
        must("sizes", virtio_gpio_get_sizes(&device, NULL, &sizes));
        print("INFO  memory=%U storage=%U", (uint64_t)sizes.memory, (uint64_t)sizes.storage);
        virtio_gpio_memory memory = {
            .base = shared,
            .length = sizeof shared,
            .device_address = (uintptr_t)shared,
        };
        virtio_gpio_chip *chip;
        shared_is_ours = false;
        must("open", virtio_gpio_open(&device, NULL, &memory, storage, sizeof storage, &chip));
        handled = chip;
        board_enable_interrupt(slot);
        virtio_gpio_interrupt_enabled(chip);
        return chip;
    }
    print("ERROR no GPIO device");
    board_power_off(FAILED);
}

// Tells what the device has to tell. Lines or devices that were given up are the end.
static void tell_notices(const virtio_gpio_chip *chip)
{
    static const char *const kinds[] = { "resetting", "recovered", "failed", "line lost", "odd", "other" };
    virtio_gpio_notice notice;
    while (virtio_gpio_next_notice(chip, &notice)) {
        print("WARN  gpio0: %s", kinds[notice.kind]);
        if (notice.kind == VIRTIO_GPIO_NOTICE_KIND_FAILED || notice.kind == VIRTIO_GPIO_NOTICE_KIND_LINE_LOST)
            board_power_off(FAILED);
    }
}

// Lets the driver do what is due, and sleeps until there is something to do, or until that time.
static void rest(const virtio_gpio_chip *chip, uint64_t end)
{
    virtio_gpio_poll(chip);
    tell_notices(chip);
    uint64_t due = virtio_gpio_next_deadline(chip);
    uintptr_t before = board_mask_interrupts();
    if (virtio_gpio_is_idle(chip))
        sleep_until(due < end ? due : end);
    board_restore_interrupts(before);
}

static uint16_t number_of(const virtio_gpio_chip *chip, const char *name, uint16_t otherwise)
{
    uint16_t line;
    return virtio_gpio_find(chip, name, &line) == VIRTIO_GPIO_STATUS_OK ? line : otherwise;
}

int main(void)
{
    virtio_gpio_chip *chip = open_chip();
    virtio_gpio_info info;
    must("info", virtio_gpio_get_info(chip, &info));
    print("INFO  gpio0: %u lines, %s, %s", (unsigned)info.lines, info.draft ? "draft" : "ratified",
          info.legacy ? "legacy" : "modern");

    virtio_gpio_line led;
    uint16_t led_number = number_of(chip, "led0", 0);
    must("led0", virtio_gpio_output(chip, led_number, false, &led));
    for (unsigned half = 0; half < 2 * BLINKS; half++) {
        bool level = half % 2 == 0;
        must("blink", virtio_gpio_set(chip, led, level));
        print("INFO  blink gpio0:%u level=%u", (unsigned)led_number, (unsigned)level);
        for (uint64_t end = now(NULL) + HALF_PERIOD; now(NULL) < end;)
            rest(chip, end);
    }
    must("led0", virtio_gpio_release(chip, led));

    virtio_gpio_line button;
    uint16_t button_number = number_of(chip, "button0", 1);
    must("button0", virtio_gpio_input(chip, button_number, &button));
    must("watch", virtio_gpio_watch(chip, button, VIRTIO_GPIO_EDGE_BOTH));
    print("INFO  watching gpio0:%u", (unsigned)button_number);
    unsigned edges = 0;
    while (edges < EDGES) {
        virtio_gpio_event event;
        rest(chip, UINT64_MAX);
        while (virtio_gpio_next_event(chip, &event)) {
            edges++;
            print("INFO  edge gpio0:%u %s level=%u count=%U", (unsigned)event.line,
                  event.trigger == VIRTIO_GPIO_TRIGGER_RISING ? "rising" : "falling", (unsigned)event.level, event.count);
        }
    }
    must("button0", virtio_gpio_release(chip, button));

    uintptr_t before = board_mask_interrupts();
    handled = NULL;
    board_restore_interrupts(before);
    must("close", virtio_gpio_close(chip));
    if (!shared_is_ours) {
        print("ERROR the device does not give its memory back");
        board_power_off(FAILED);
    }
    print("INFO  summary blinks=%u edges=%u interrupts=%u", (unsigned)BLINKS, edges, interrupts);
    board_power_off(0);
}
