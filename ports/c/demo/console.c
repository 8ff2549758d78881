// The console: text on the serial port.

#include <stdarg.h>

#include "console.h"

void print_byte(char byte)
{
    if (byte == '\n')
        board_put('\r');
    board_put(byte);
}

static void print_text(const char *text)
{
    for (; *text; text++)
        print_byte(*text);
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
        print_byte(digits[--count]);
}

void print(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    for (; *format; format++) {
        if (*format != '%') {
            print_byte(*format);
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
}

void print_name(const uint8_t *name, size_t length)
{
    if (length == 0)
        print_byte('-');
    for (size_t i = 0; i < length; i++)
        print_byte(name[i] > ' ' && name[i] < 0x7f ? (char)name[i] : '?');
}

void board_unexpected(void)
{
    print("ERROR unexpected exception\n");
    board_power_off(CRASHED);
}
