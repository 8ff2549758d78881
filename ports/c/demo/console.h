// The console: text on the serial port.

#ifndef DEMO_CONSOLE_H
#define DEMO_CONSOLE_H

#include <stddef.h>
#include <stdint.h>

#include "board.h"

// %s text, %u unsigned, %U uint64_t, %X uintptr_t in hexadecimal.
void print_byte(char byte);
void print(const char *format, ...);

// A name as a device gives it: without a NUL, and with whatever bytes it likes. "-" for none.
void print_name(const uint8_t *name, size_t length);

// Statuses of the machine's end.
#define PASSED 0
#define FAILED 1
#define CRASHED 101

// Says what went wrong, and ends the machine.
#define fail(...) (print("ERROR " __VA_ARGS__), print("\n"), board_power_off(FAILED))

#endif
