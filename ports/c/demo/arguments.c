// The boot arguments: words of the form `key=value`, which the boot loader leaves in the device tree.

#include "arguments.h"

#include <stddef.h>

#include "console.h"
#include "kernel.h"

// The tree's own marks. All of its numbers have the highest byte first.
#define MAGIC 0xd00dfeed
#define BEGIN_NODE 1
#define END_NODE 2
#define PROPERTY 3
#define NOTHING 4

static char text[1024];

static uint32_t word(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static bool is(const char *text, const char *other)
{
    const char *rest = arguments_behind(text, other);
    return rest && !*rest;
}

// The property `bootargs` of the node `/chosen`; empty where there is none.
static const char *boot_arguments(const uint8_t *tree)
{
    if (word(tree) != MAGIC)
        return "";
    const uint8_t *at = tree + word(tree + 8);
    const char *names = (const char *)tree + word(tree + 12);
    bool is_chosen = false;
    for (unsigned depth = 0;;) {
        uint32_t mark = word(at);
        at += 4;
        if (mark == BEGIN_NODE) {
            const char *name = (const char *)at;
            is_chosen = ++depth == 2 && is(name, "chosen");
            while (*at++)
                ;
        } else if (mark == END_NODE) {
            is_chosen = false;
            depth--;
        } else if (mark == PROPERTY) {
            uint32_t length = word(at);
            if (is_chosen && is(names + word(at + 4), "bootargs"))
                return (const char *)at + 8;
            at += 8 + length;
        } else if (mark != NOTHING) {
            return "";
        }
        at += -(uintptr_t)at & 3; // what follows is aligned
    }
}

// The words, for whoever cuts them apart.
static char *words(const void *device_tree)
{
    const char *from = boot_arguments(device_tree);
    size_t length = 0;
    for (; from[length]; length++) {
        if (length == sizeof text - 1)
            fail("the boot arguments are longer than %u bytes", (unsigned)length);
        text[length] = from[length];
    }
    text[length] = 0;
    return text;
}

const char *arguments_behind(const char *text, const char *beginning)
{
    for (; *beginning; text++, beginning++)
        if (*text != *beginning)
            return NULL;
    return text;
}

char *arguments_part(char **rest, char separator)
{
    char *part = *rest;
    if (!part)
        return NULL;
    for (char *at = part; *at; at++) {
        if (*at == separator) {
            *at = 0;
            *rest = at + 1;
            return part;
        }
    }
    *rest = NULL;
    return part;
}

bool arguments_number(const char *text, const char *end, uint64_t *number)
{
    *number = 0;
    for (const char *at = text; at < end; at++) {
        uint64_t digit = (uint64_t)(*at - '0');
        if (digit > 9 || *number > (UINT64_MAX - digit) / 10)
            return false;
        *number = *number * 10 + digit;
    }
    return text < end;
}

// A number with a unit, above 0.
static bool duration(const char *text, uint64_t *nanoseconds)
{
    const char *unit = text;
    while (*unit >= '0' && *unit <= '9')
        unit++;
    uint64_t factor = is(unit, "s") ? SECOND : is(unit, "ms") ? MILLISECOND : is(unit, "us") ? MILLISECOND / 1000 : 0;
    uint64_t number;
    if (!arguments_number(text, unit, &number) || number == 0 || factor == 0 || number > UINT64_MAX / 2 / factor)
        return false;
    *nanoseconds = number * factor;
    return true;
}

// Takes a word. Gives what was expected where its value is none.
static const char *take(struct arguments *arguments, char *word)
{
    static const char a_duration[] = "a duration above 0 such as 500ms, 2s or 250us";
    const char *value;
    if ((value = arguments_behind(word, "blink="))) {
        arguments->blink = word + (value - word);
        return *value ? NULL : "lines as numbers or names, separated by commas, or none";
    } else if ((value = arguments_behind(word, "watch="))) {
        arguments->watch = word + (value - word);
        return *value ? NULL : "a line as number or name, with :rising, :falling, :both, :high or :low behind it";
    } else if ((value = arguments_behind(word, "period="))) {
        return duration(value, &arguments->period) ? NULL : a_duration;
    } else if ((value = arguments_behind(word, "for="))) {
        return duration(value, &arguments->run_for) ? NULL : a_duration;
    } else if ((value = arguments_behind(word, "timeout="))) {
        return duration(value, &arguments->timeout) ? NULL : a_duration;
    } else if ((value = arguments_behind(word, "count="))) {
        const char *end = value;
        while (*end)
            end++;
        return arguments_number(value, end, &arguments->count) && arguments->count > 0 ? NULL : "a number from 1";
    }
    print("WARN  unknown boot argument \"%s\" is ignored\n", word);
    return NULL;
}

struct arguments arguments_read(const void *device_tree)
{
    struct arguments arguments = {
        .period = SECOND,
        .run_for = UINT64_MAX,
        .timeout = SECOND,
        .count = UINT64_MAX,
    };
    char *rest = words(device_tree);
    for (char *word; (word = arguments_part(&rest, ' '));) {
        const char *expected = *word ? take(&arguments, word) : NULL;
        if (expected)
            fail("bad boot argument \"%s\": expected %s", word, expected);
    }
    return arguments;
}

const char *arguments_value(const void *device_tree, const char *key)
{
    char *rest = words(device_tree);
    for (char *word; (word = arguments_part(&rest, ' '));) {
        const char *value = arguments_behind(word, key);
        if (value && *value == '=')
            return value + 1;
    }
    return NULL;
}
