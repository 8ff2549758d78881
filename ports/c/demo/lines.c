// The lines in use: which they are.

#include "lines.h"

#include <stddef.h>

#include "console.h"

struct line lines[MAX_LINES];
unsigned line_count;

static virtio_gpio_chip *const *chips;
static unsigned chip_count;

void lines_print(const struct line *line)
{
    size_t length;
    const uint8_t *name = virtio_gpio_name(line->chip, line->number, &length);
    print("gpio%u:%u ", line->chip_number, (unsigned)line->number);
    print_name(name, length);
}

static virtio_gpio_info info_of(unsigned chip)
{
    virtio_gpio_info info;
    if (virtio_gpio_get_info(chips[chip], &info) != VIRTIO_GPIO_STATUS_OK)
        fail("gpio%u is no chip", chip);
    return info;
}

static bool is_chosen(unsigned chip, uint16_t number)
{
    for (const struct line *line = lines; line < lines + line_count; line++)
        if (line->chip_number == chip && line->number == number)
            return true;
    return false;
}

static void add(unsigned chip, uint16_t number, uint32_t edge)
{
    if (line_count == MAX_LINES)
        fail("more than %u lines are to be used", (unsigned)MAX_LINES);
    lines[line_count++] = (struct line){ .chip = chips[chip], .chip_number = chip, .number = number, .edge = edge };
}

// Adds the line that a word names: `4`, `button0`, `gpio1:4`, `gpio1:button0`.
static void add_named(char *word, uint32_t edge)
{
    char *name = word;
    unsigned first = 0, end = chip_count;
    const char *digits = arguments_behind(word, "gpio");
    if (digits) {
        const char *colon = digits;
        while (*colon && *colon != ':')
            colon++;
        uint64_t chip;
        if (*colon && arguments_number(digits, colon, &chip)) {
            if (chip >= chip_count)
                fail("unknown line \"%s\": expected a chip from gpio0 to gpio%u", word, chip_count - 1);
            name = word + (colon - word) + 1;
            first = (unsigned)chip;
            end = first + 1;
        }
    }
    const char *name_end = name;
    while (*name_end)
        name_end++;
    uint64_t written;
    uint16_t number = 0;
    unsigned chip = first;
    bool is_found;
    if (arguments_number(name, name_end, &written)) {
        is_found = written < info_of(chip).lines;
        number = (uint16_t)written;
    } else {
        while (chip < end && virtio_gpio_find(chips[chip], name, &number) != VIRTIO_GPIO_STATUS_OK)
            chip++;
        is_found = chip < end;
    }
    if (!is_found)
        fail("unknown line \"%s\": expected the name or the number of a line", word);
    if (is_chosen(chip, number))
        fail("bad boot argument \"%s\": gpio%u:%u is named twice", word, chip, (unsigned)number);
    if (edge != VIRTIO_GPIO_EDGE_NONE && info_of(chip).watch_limit == 0)
        fail("cannot watch \"%s\": gpio%u cannot interrupt", word, chip);
    add(chip, number, edge);
}

// Cuts what a line is watched for off its word.
static uint32_t edge_of(char *word)
{
    static const struct {
        const char *word;
        uint32_t edge;
    } edges[] = {
        { ":rising", VIRTIO_GPIO_EDGE_RISING }, { ":falling", VIRTIO_GPIO_EDGE_FALLING },
        { ":both", VIRTIO_GPIO_EDGE_BOTH },     { ":high", VIRTIO_GPIO_EDGE_HIGH },
        { ":low", VIRTIO_GPIO_EDGE_LOW },
    };
    for (; *word; word++) {
        for (size_t i = 0; i < sizeof edges / sizeof *edges; i++) {
            const char *rest = arguments_behind(word, edges[i].word);
            if (rest && !*rest) {
                *word = 0;
                return edges[i].edge;
            }
        }
    }
    return VIRTIO_GPIO_EDGE_BOTH;
}

static bool is_none(const char *list)
{
    const char *rest = arguments_behind(list, "none");
    return rest && !*rest;
}

static bool is_led(unsigned chip, uint16_t number)
{
    size_t length;
    const uint8_t *name = virtio_gpio_name(chips[chip], number, &length);
    return length >= 3 && name[0] == 'l' && name[1] == 'e' && name[2] == 'd';
}

static void choose_blinking(void)
{
    bool is_any = false;
    for (unsigned chip = 0; chip < chip_count; chip++) {
        uint16_t count = info_of(chip).lines;
        for (uint16_t number = 0; number < count; number++) {
            if (!is_led(chip, number))
                continue;
            is_any = true;
            if (!is_chosen(chip, number))
                add(chip, number, VIRTIO_GPIO_EDGE_NONE);
        }
    }
    if (!is_any && !is_chosen(0, 0))
        add(0, 0, VIRTIO_GPIO_EDGE_NONE);
}

static void choose_watched(void)
{
    for (unsigned chip = 0; chip < chip_count; chip++) {
        virtio_gpio_info info = info_of(chip);
        if (info.watch_limit == 0)
            print("WARN  gpio%u cannot interrupt: none of its lines is watched\n", chip);
        for (uint16_t number = 0, watched = 0; number < info.lines && watched < info.watch_limit; number++) {
            if (!is_chosen(chip, number) && line_count < MAX_LINES) {
                add(chip, number, VIRTIO_GPIO_EDGE_BOTH);
                watched++;
            }
        }
    }
}

void lines_choose(const struct arguments *arguments, virtio_gpio_chip *const all_chips[], unsigned count)
{
    chips = all_chips;
    chip_count = count;
    char *rest = arguments->blink;
    if (rest && !is_none(rest))
        for (char *word; (word = arguments_part(&rest, ','));)
            add_named(word, VIRTIO_GPIO_EDGE_NONE);
    rest = arguments->watch;
    if (rest && !is_none(rest)) {
        for (char *word; (word = arguments_part(&rest, ','));) {
            uint32_t edge = edge_of(word);
            add_named(word, edge);
        }
    }
    if (!arguments->blink)
        choose_blinking();
    if (!arguments->watch)
        choose_watched();
}
