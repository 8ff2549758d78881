// The boot arguments: words of the form `key=value`, which the boot loader leaves in the device tree.

#ifndef DEMO_ARGUMENTS_H
#define DEMO_ARGUMENTS_H

#include <stdbool.h>
#include <stdint.h>

struct arguments {
    // Lines, with commas between; null where there is no such word.
    char *blink, *watch;
    // Nanoseconds.
    uint64_t period, run_for, timeout;
    uint64_t count;
};

// Reads them. A value that is none ends the machine.
struct arguments arguments_read(const void *device_tree);

// The value of a word with that key, as it is written; null if there is none. It stays until the next reading.
const char *arguments_value(const void *device_tree, const char *key);

// A number of digits, all up to `end`, and nothing else.
bool arguments_number(const char *text, const char *end, uint64_t *number);

// Cuts the first part off a text: up to the separator, or to its end. Null where nothing is left.
char *arguments_part(char **rest, char separator);

// Whether the text begins like that. Gives what comes behind it.
const char *arguments_behind(const char *text, const char *beginning);

#endif
