// The lines in use: which they are, and what is done with them.

#ifndef DEMO_LINES_H
#define DEMO_LINES_H

#include <virtio_gpio.h>

#include "arguments.h"

#define MAX_LINES 32

struct line {
    const virtio_gpio_chip *chip;
    unsigned chip_number;
    uint16_t number;
    // What it is watched for; VIRTIO_GPIO_EDGE_NONE for one that blinks.
    uint32_t edge;
    virtio_gpio_line handle;
    // Of one that blinks.
    bool level, is_failing, is_lost;
    uint64_t blinks;
    // Of one that is watched for a level: when it may fire again.
    uint64_t unmask_at;
};

extern struct line lines[MAX_LINES];
extern unsigned line_count;

// Chooses the lines that the boot arguments name; where they name none, those whose names begin with "led" blink, or line 0 of the first
// chip, and all others are watched. Words that name none end the machine; no line is touched yet.
void lines_choose(const struct arguments *arguments, virtio_gpio_chip *const chips[], unsigned chip_count);

// "gpio0:4 button0"
void lines_print(const struct line *line);

#endif
