// A small kernel in C with virtio GPIO devices: blinks lines and reports the edges of others as the image of this repository does, with
// its boot arguments `blink`, `watch`, `period`, `count`, `for` and `timeout`. Status 0 if all went well, 1 if not, 101 for what must not
// happen.

#include <stddef.h>

#include <virtio_gpio.h>

#include "arguments.h"
#include "board.h"
#include "console.h"
#include "kernel.h"
#include "lines.h"

// How soon a level that was reported may be reported again: nobody here removes what causes it.
#define LEVEL_PAUSE (100 * MILLISECOND)
// How long the end waits for edges of which the level is still asked for.
#define PATIENCE (250 * MILLISECOND)
#define NAMES_SHOWN 16

static virtio_gpio_chip *chips[KERNEL_CHIPS];
static unsigned chip_count;

static struct {
    uint64_t blinks, edges, errors, resets;
    bool is_chip_lost, is_lost;
} tally;

static void describe(unsigned chip)
{
    virtio_gpio_info info;
    if (virtio_gpio_get_info(chips[chip], &info) != VIRTIO_GPIO_STATUS_OK)
        return;
    size_t length;
    const uint8_t *name = virtio_gpio_device_name(chips[chip], &length);
    print("INFO  gpio%u: \"", chip);
    if (length > 0)
        print_name(name, length);
    print("\" %u lines:", (unsigned)info.lines);
    for (uint16_t line = 0; line < info.lines && line < NAMES_SHOWN; line++) {
        name = virtio_gpio_name(chips[chip], line, &length);
        print(" ");
        print_name(name, length);
    }
    print("\nINFO  gpio%u: %s, %s\n", chip, info.draft ? "draft" : "ratified", info.legacy ? "legacy" : "modern");
}

// Counts a failure, and says so.
static void failed(const struct line *line, const char *what, const char *why)
{
    tally.errors++;
    print("ERROR ");
    lines_print(line);
    print(": %s%s\n", what, why);
}

static struct line *line_of(unsigned chip, uint16_t number)
{
    for (struct line *line = lines; line < lines + line_count; line++)
        if (line->chip_number == chip && line->number == number)
            return line;
    return NULL;
}

static void tell_notice(unsigned chip, const virtio_gpio_notice *notice)
{
    switch (notice->kind) {
    case VIRTIO_GPIO_NOTICE_KIND_RESETTING:
        tally.resets++;
        print("WARN  gpio%u: %s; resetting it\n", chip, notice->text);
        break;
    case VIRTIO_GPIO_NOTICE_KIND_RECOVERED:
        print("INFO  gpio%u: recovered, every line is as it was\n", chip);
        break;
    case VIRTIO_GPIO_NOTICE_KIND_FAILED:
        tally.is_lost = tally.is_chip_lost = true;
        print("ERROR gpio%u: given up: the device does not recover\n", chip);
        break;
    case VIRTIO_GPIO_NOTICE_KIND_LINE_LOST:
        tally.is_lost = true;
        failed(line_of(chip, notice->line), "given up: ", notice->text);
        break;
    case VIRTIO_GPIO_NOTICE_KIND_ODD:
        print("WARN  gpio%u: odd device: %s (seen %u times)\n", chip, notice->text, (unsigned)notice->count);
        break;
    case VIRTIO_GPIO_NOTICE_KIND_OTHER:
        break;
    }
}

static void tell_event(unsigned chip, const virtio_gpio_event *event)
{
    static const char *const triggers[] = { "rising", "falling", "high", "low" };
    struct line *line = line_of(chip, event->line);
    tally.edges++;
    print("INFO  edge ");
    lines_print(line);
    print(" %s level=%u count=%U\n", triggers[event->trigger], (unsigned)event->level, event->count);
    if (line->edge == VIRTIO_GPIO_EDGE_HIGH || line->edge == VIRTIO_GPIO_EDGE_LOW)
        line->unmask_at = kernel_now() + LEVEL_PAUSE;
}

// Takes what the devices have brought.
static void serve(void)
{
    for (unsigned chip = 0; chip < chip_count; chip++) {
        virtio_gpio_notice notice;
        virtio_gpio_event event;
        virtio_gpio_poll(chips[chip]);
        while (virtio_gpio_next_notice(chips[chip], &notice))
            tell_notice(chip, &notice);
        while (virtio_gpio_next_event(chips[chip], &event))
            tell_event(chip, &event);
    }
    for (struct line *line = lines; line < lines + line_count; line++) {
        if (line->unmask_at != 0 && kernel_now() >= line->unmask_at) {
            line->unmask_at = 0;
            virtio_gpio_unmask(line->chip, line->handle);
        }
    }
}

static void take(struct line *line)
{
    virtio_gpio_status status;
    if (line->edge == VIRTIO_GPIO_EDGE_NONE) {
        status = virtio_gpio_output(line->chip, line->number, false, &line->handle);
    } else {
        status = virtio_gpio_input(line->chip, line->number, &line->handle);
        if (status == VIRTIO_GPIO_STATUS_OK)
            status = virtio_gpio_watch(line->chip, line->handle, line->edge);
    }
    if (status == VIRTIO_GPIO_STATUS_OK)
        return;
    failed(line, "cannot be used: ", virtio_gpio_status_text(status));
    tally.is_lost = line->is_lost = true;
}

// Drives the line to the other level. Where that fails the next beat tries it again.
static void change(struct line *line)
{
    bool level = !line->level;
    virtio_gpio_status status = virtio_gpio_set(line->chip, line->handle, level);
    line->is_failing = status != VIRTIO_GPIO_STATUS_OK;
    if (!line->is_failing) {
        line->level = level;
        line->blinks += !level;
        tally.blinks += !level;
        return;
    }
    // While the device is being reset that is no error of its own.
    if (status != VIRTIO_GPIO_STATUS_RECOVERING)
        failed(line, "", virtio_gpio_status_text(status));
    if (status == VIRTIO_GPIO_STATUS_LINE_LOST || status == VIRTIO_GPIO_STATUS_CHIP_FAILED)
        line->is_lost = true;
}

// Whether a line has not blinked that often, and still can.
static bool is_left(const struct line *line, uint64_t count)
{
    return line->edge == VIRTIO_GPIO_EDGE_NONE && !line->is_lost && line->blinks < count;
}

static bool has_blinking_to_do(uint64_t count)
{
    for (const struct line *line = lines; line < lines + line_count; line++)
        if (is_left(line, count))
            return true;
    return false;
}

static void rest(uint64_t end)
{
    for (const struct line *line = lines; line < lines + line_count; line++)
        if (line->unmask_at != 0 && line->unmask_at < end)
            end = line->unmask_at;
    kernel_rest(end);
}

// Gives the lines of one kind back, outputs low.
static void release(bool blinking)
{
    for (struct line *line = lines; line < lines + line_count; line++) {
        bool is_output = line->edge == VIRTIO_GPIO_EDGE_NONE;
        if (line->handle == 0 || is_output != blinking)
            continue;
        virtio_gpio_status low = is_output ? virtio_gpio_set(line->chip, line->handle, false) : VIRTIO_GPIO_STATUS_OK;
        virtio_gpio_status status = virtio_gpio_release(line->chip, line->handle);
        if (status == VIRTIO_GPIO_STATUS_OK)
            status = low;
        if (status != VIRTIO_GPIO_STATUS_OK)
            failed(line, "cannot be released: ", virtio_gpio_status_text(status));
        tally.is_lost |= line->is_failing || status != VIRTIO_GPIO_STATUS_OK;
    }
}

static bool has_event_under_way(void)
{
    for (unsigned chip = 0; chip < chip_count; chip++)
        if (virtio_gpio_has_event_under_way(chips[chip]))
            return true;
    return false;
}

_Noreturn void board_main(const void *device_tree)
{
    struct arguments arguments = arguments_read(device_tree);
    chip_count = kernel_open(arguments.timeout, chips);
    if (chip_count == 0)
        fail("there is no GPIO device on this machine");
    for (unsigned chip = 0; chip < chip_count; chip++)
        describe(chip);
    lines_choose(&arguments, chips, chip_count);
    // Inputs first: an edge that the first beat causes is not missed then.
    for (struct line *line = lines; line < lines + line_count; line++)
        if (line->edge != VIRTIO_GPIO_EDGE_NONE)
            take(line);
    for (struct line *line = lines; line < lines + line_count; line++)
        if (line->edge == VIRTIO_GPIO_EDGE_NONE)
            take(line);

    uint64_t start = kernel_now(), half = arguments.period / 2, beat = start;
    uint64_t end = arguments.run_for < UINT64_MAX ? start + arguments.run_for : UINT64_MAX;
    bool counts = arguments.count != UINT64_MAX;
    while (!tally.is_chip_lost && kernel_now() < end && (!counts || has_blinking_to_do(arguments.count))) {
        serve();
        if (kernel_now() >= beat) {
            for (struct line *line = lines; line < lines + line_count; line++)
                if (is_left(line, arguments.count))
                    change(line);
            // Beats that were missed are left out.
            while (beat <= kernel_now())
                beat += half + (half == 0);
        }
        rest(beat < end ? beat : end);
    }

    release(true);
    uint64_t patience = kernel_now() + PATIENCE;
    for (serve(); has_event_under_way() && kernel_now() < patience; serve())
        kernel_rest(patience);
    release(false);
    serve();
    if (!kernel_close())
        fail("a device does not give its memory back");
    print("INFO  summary blinks=%U edges=%U errors=%U resets=%U interrupts=%u\n", tally.blinks, tally.edges, tally.errors,
          tally.resets, kernel_interrupts);
    board_power_off(tally.is_lost ? FAILED : PASSED);
}
