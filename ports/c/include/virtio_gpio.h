// virtio GPIO for kernels written in C: the driver `virtio-gpio` behind functions.
//
// Made by cbindgen from the sources of ports/c; do not edit. ports/c/README.md says how a kernel takes it.
//
// Every call may be made from every context in which `virtio_gpio_enter_critical` makes a critical section, unless it says
// otherwise; what waits does so outside of it, by the platform's `wait`. Two calls on one line at once are one too many: the
// second one ends with VIRTIO_GPIO_STATUS_BUSY.

#ifndef VIRTIO_GPIO_H
#define VIRTIO_GPIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// What the storage's first byte must be a multiple of.
#define VIRTIO_GPIO_STORAGE_ALIGN 16

// Words of a `virtio_gpio_device`.
#define VIRTIO_GPIO_DEVICE_WORDS 40

// Bytes of a notice's text, the NUL at its end included.
#define VIRTIO_GPIO_NOTICE_TEXT 96

// Bytes shared with the simulated device, at least.
#define VIRTIO_GPIO_SELFTEST_MEMORY 32768

// Bytes of heap, at least.
#define VIRTIO_GPIO_SELFTEST_HEAP 131072

// How a call ended. 0 is success; everything else says why not.
typedef enum virtio_gpio_status {
    // Done.
    VIRTIO_GPIO_STATUS_OK = 0,
    // A pointer is null or not aligned, or a number is none that the call takes. Nothing was done.
    VIRTIO_GPIO_STATUS_BAD_ARGUMENT,
    // The line's handle is none, or that of a line that was released.
    VIRTIO_GPIO_STATUS_BAD_HANDLE,
    // The line is an output where the call is one for inputs, or an input where it is one for outputs.
    VIRTIO_GPIO_STATUS_WRONG_DIRECTION,
    // The memory or the storage is smaller than `virtio_gpio_get_sizes` says.
    VIRTIO_GPIO_STATUS_TOO_SMALL,
    // There are no registers of virtio-mmio, or of a version that is not known.
    VIRTIO_GPIO_STATUS_NOT_VIRTIO,
    // The slot has no device. Nothing to report.
    VIRTIO_GPIO_STATUS_EMPTY_SLOT,
    // The slot's device is not a GPIO device. It was not touched.
    VIRTIO_GPIO_STATUS_NOT_GPIO,
    // The device has the ID of a GPIO device, but its configuration is that of neither protocol.
    VIRTIO_GPIO_STATUS_UNKNOWN_PROTOCOL,
    // The device has no lines.
    VIRTIO_GPIO_STATUS_NO_LINES,
    // The device did not finish a reset within one second.
    VIRTIO_GPIO_STATUS_RESET_TIMEOUT,
    // The device does not accept the features that the driver needs.
    VIRTIO_GPIO_STATUS_FEATURES_REFUSED,
    // The device lacks a queue, or does not accept one.
    VIRTIO_GPIO_STATUS_NO_QUEUE,
    // The device has no line with that number or name.
    VIRTIO_GPIO_STATUS_NO_SUCH_LINE,
    // The line is in use already.
    VIRTIO_GPIO_STATUS_LINE_IN_USE,
    // As many lines are in use as the options say.
    VIRTIO_GPIO_STATUS_TOO_MANY_LINES,
    // The event queue has no room for a further watched line.
    VIRTIO_GPIO_STATUS_TOO_MANY_WATCHED,
    // The device cannot interrupt, so that no line can be watched.
    VIRTIO_GPIO_STATUS_NO_INTERRUPTS,
    // The same line or the same chip is in another call, or there is no room for a request; try again.
    VIRTIO_GPIO_STATUS_BUSY,
    // The device refused the request.
    VIRTIO_GPIO_STATUS_REFUSED,
    // The device's answer is none that its protocol has.
    VIRTIO_GPIO_STATUS_BAD_ANSWER,
    // The device did not answer in time.
    VIRTIO_GPIO_STATUS_TIMEOUT,
    // The device was reset while the request was under way: it may or may not have been carried out.
    VIRTIO_GPIO_STATUS_OUTCOME_UNKNOWN,
    // The device is being reset and restored; nothing was sent.
    VIRTIO_GPIO_STATUS_RECOVERING,
    // The line was given up: the device answers for others, but not for it.
    VIRTIO_GPIO_STATUS_LINE_LOST,
    // The chip was given up: the device does not recover.
    VIRTIO_GPIO_STATUS_CHIP_FAILED,
    // Something that this library has no number for yet.
    VIRTIO_GPIO_STATUS_OTHER,
} virtio_gpio_status;

// What happened on a watched line.
typedef enum virtio_gpio_trigger {
    // The line went from low to high.
    VIRTIO_GPIO_TRIGGER_RISING = 0,
    // The line went from high to low.
    VIRTIO_GPIO_TRIGGER_FALLING,
    // The line is high.
    VIRTIO_GPIO_TRIGGER_HIGH,
    // The line is low.
    VIRTIO_GPIO_TRIGGER_LOW,
} virtio_gpio_trigger;

// What is worth telling about a device.
typedef enum virtio_gpio_notice_kind {
    // The device is being reset: it broke the rules, does not answer, or the kernel asked for it.
    VIRTIO_GPIO_NOTICE_KIND_RESETTING = 0,
    // The device is back, and every line is as it was.
    VIRTIO_GPIO_NOTICE_KIND_RECOVERED,
    // The device was given up.
    VIRTIO_GPIO_NOTICE_KIND_FAILED,
    // A line was given up.
    VIRTIO_GPIO_NOTICE_KIND_LINE_LOST,
    // The device did something odd: told the first time, and then at every doubling of the count.
    VIRTIO_GPIO_NOTICE_KIND_ODD,
    // Something that this library has no number for yet.
    VIRTIO_GPIO_NOTICE_KIND_OTHER,
} virtio_gpio_notice_kind;

// What a line is watched for.
typedef enum virtio_gpio_edge {
    // Nothing: the watch ends.
    VIRTIO_GPIO_EDGE_NONE = 0,
    // A change from low to high.
    VIRTIO_GPIO_EDGE_RISING,
    // A change from high to low.
    VIRTIO_GPIO_EDGE_FALLING,
    // A change in either direction.
    VIRTIO_GPIO_EDGE_BOTH,
    // The line being high. It fires once, and again after `virtio_gpio_unmask`.
    VIRTIO_GPIO_EDGE_HIGH,
    // The line being low. It fires once, and again after `virtio_gpio_unmask`.
    VIRTIO_GPIO_EDGE_LOW,
} virtio_gpio_edge;

// An open device, at the start of the storage that it was opened with.
typedef struct virtio_gpio_chip virtio_gpio_chip;

// Says whether the driver has nothing to do; called with the argument that came with it. Looks at shared memory only: it
// is cheap, and can be called with interrupts masked. Not to be kept.
typedef bool (*virtio_gpio_idle)(const void *argument);

// What a kernel supplies for a device: time, a way to wait, ordering, and caches. The registers are those that
// `virtio_gpio_identify` is given. The table is copied.
//
// Every function gets `context`, and may be called from every context in which the kernel calls the driver, also from
// several at once. All but `now`, `wait` and `relax` are called inside the critical section. None of them may call the
// driver, but for the `idle` that `wait` is given.
typedef struct virtio_gpio_platform {
    // What the functions are given.
    void *context;
    // The present: nanoseconds since a start that does not change. Never goes back, and goes on with interrupts masked.
    // Must not be null.
    uint64_t (*now)(void *context);
    // Passes time while the driver waits for its device; called in a loop. Returns when an interrupt may have changed
    // something, at `deadline` at the latest, or at any earlier moment. One that sleeps masks interrupts, calls
    // `idle(argument)`, and sleeps only if that says true, in a way that a masked but pending interrupt ends. Null: the
    // driver polls.
    void (*wait)(void *context, uint64_t deadline, virtio_gpio_idle idle, const void *argument);
    // Passes a moment between two looks of a caller who polls. Null: the processor's hint for that.
    void (*relax)(void *context);
    // Makes all earlier stores to shared memory visible to the device before any later store. Null, as for the next
    // four: the processor's own fence, which is right where the device is another processor of a cache-coherent machine,
    // as a hypervisor's device is.
    void (*fence_release)(void *context);
    // Orders all earlier loads from shared memory before any later access.
    void (*fence_acquire)(void *context);
    // Orders all earlier accesses to shared memory, stores included, before all later ones, loads included.
    void (*fence_full)(void *context);
    // Makes all earlier stores to shared memory visible before the register write that notifies the device.
    void (*fence_before_notify)(void *context);
    // Orders the reads of the interrupt registers before any later load from shared memory.
    void (*fence_after_interrupt)(void *context);
    // Hands bytes of the shared memory to the device: cleans the caches' lines that `offset` and `length` touch, and is
    // over when it returns. Null on a coherent machine.
    void (*sync_for_device)(void *context, size_t offset, size_t length);
    // Takes bytes of the shared memory over from the device: invalidates those lines. Null on a coherent machine.
    void (*sync_for_driver)(void *context, size_t offset, size_t length);
    // Bytes of a cache line where caches are kept in step by hand: what the driver writes and what the device writes
    // never share one. A power of two; 0 and 1 on a coherent machine.
    size_t granule;
    // Called once, when the driver and its device are done with the shared memory: inside `virtio_gpio_close`, or
    // inside a `virtio_gpio_open` that fails with anything but `VIRTIO_GPIO_STATUS_BAD_ARGUMENT`. Where it is not
    // called, the device did not confirm its reset and may still write: the memory must not be used for anything else,
    // ever. Null where it never is.
    void (*memory_released)(void *context);
} virtio_gpio_platform;

// A device that was identified, and is not open yet. What it holds is the driver's; it may be moved, but not copied and
// used twice. One that is not wanted after all is just forgotten.
typedef struct virtio_gpio_device {
    // The driver's.
    uint64_t words[VIRTIO_GPIO_DEVICE_WORDS];
} virtio_gpio_device;

// What a kernel chooses. `virtio_gpio_options_default` fills it.
typedef struct virtio_gpio_options {
    // How long a request may take, in nanoseconds. Default: 1 s.
    uint64_t timeout;
    // The longest time, in nanoseconds, for which a caller who waits for an answer polls before the platform's `wait` is
    // called; 0 for not at all. Default: 50 µs.
    uint64_t poll_limit;
    // Bytes of line names that are wanted at most; a larger block counts as none. Default: 1024.
    uint32_t names_limit;
    // The largest size of the queue for requests, and of the draft's queue from the device; a power of two. Default: 64.
    uint16_t request_queue_size;
    // The largest size of the event queue; two for each line that can be watched at once. Default: 64.
    uint16_t event_queue_size;
    // Requests that may be under way at once; at least 1. Default: 8.
    uint16_t requests;
    // Lines that may be in use at once; at least 1. Default: 16.
    uint16_t lines;
    // Events that may wait for the kernel; at least 1. Default: 32.
    uint16_t events;
    // How many requests may be under way at once with a device of the 2020 draft. Default: 1, which suits every revision.
    uint16_t draft_requests_in_flight;
} virtio_gpio_options;

// What a device needs.
typedef struct virtio_gpio_sizes {
    // Bytes of memory shared with the device.
    size_t memory;
    // Bytes of storage, which the device does not see.
    size_t storage;
} virtio_gpio_sizes;

// Memory that driver and device share.
typedef struct virtio_gpio_memory {
    // The first byte; a multiple of 4096. Nobody else touches the memory, until `memory_released`.
    void *base;
    // Bytes; at least `virtio_gpio_get_sizes` says.
    size_t length;
    // Where the device finds the first byte; a multiple of 4096. The others follow.
    uint64_t device_address;
} virtio_gpio_memory;

// What is known of a device since it was opened, and does not change.
typedef struct virtio_gpio_info {
    // The number of lines, from 0.
    uint16_t lines;
    // How many lines can be watched at once; 0xffff where only the options set a limit, 0 where none can be.
    uint16_t watch_limit;
    // Whether the device speaks the draft of 2020, rather than VIRTIO 1.2 and later.
    bool draft;
    // Whether the transport is a legacy one.
    bool legacy;
    // Whether the device says that it has names, but they cannot be had, or are larger than the options' limit.
    bool names_missing;
} virtio_gpio_info;

// An edge or a level on a watched line.
typedef struct virtio_gpio_event {
    // The line's own count of events, from 1.
    uint64_t count;
    // When the driver learnt of it, by the platform's clock.
    uint64_t at;
    // What happened.
    enum virtio_gpio_trigger trigger;
    // The line's number.
    uint16_t line;
    // The level after the edge, or the level itself.
    bool level;
    // The device does not tell levels: that there was an edge is certain, which one it was is assumed.
    bool assumed;
    // The change happened while the device was being reset.
    bool after_reset;
} virtio_gpio_event;

// Something about the device that its user should hear of.
typedef struct virtio_gpio_notice {
    // What.
    enum virtio_gpio_notice_kind kind;
    // Of a line that was given up: why.
    enum virtio_gpio_status status;
    // Of something odd: how often that kind has been seen.
    uint32_t count;
    // Of a line that was given up: which.
    uint16_t line;
    // Why the device is reset, why a line was given up, what was odd: in English, without a full stop, with a NUL at its
    // end; empty for what says everything by its kind.
    char text[VIRTIO_GPIO_NOTICE_TEXT];
} virtio_gpio_notice;

// A line in use: a number that is none of a line released before. 0 is never one.
typedef uint32_t virtio_gpio_line;

// What the self-test is given.
typedef struct virtio_gpio_selftest_setup {
    // The table under test, as a device's. `memory_released` is not called.
    struct virtio_gpio_platform platform;
    // The memory, as a device's: `VIRTIO_GPIO_SELFTEST_MEMORY` bytes at least.
    struct virtio_gpio_memory memory;
    // Where the simulated device reaches the memory. Null, on a coherent machine: where the driver does. Where the table
    // keeps caches in step it must be another mapping of the same bytes, without caches: the device runs on the
    // processor whose caches are invalidated.
    void *uncached;
    // Memory for what is allocated meanwhile: `VIRTIO_GPIO_SELFTEST_HEAP` bytes at least.
    void *heap;
    // Bytes of that.
    size_t heap_length;
    // Prints a piece of a line, or several lines, without a NUL. It gets the platform's `context`. Must not be null.
    void (*print)(void *context, const char *text, size_t length);
} virtio_gpio_selftest_setup;

// What came out.
typedef struct virtio_gpio_selftest_report {
    // Checks that passed.
    uint32_t passed;
    // Checks that failed; each is named in what was printed.
    uint32_t failed;
    // Checks that this machine cannot show, or that a failed seam made meaningless.
    uint32_t skipped;
} virtio_gpio_selftest_report;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Supplied by the kernel: begins a critical section, in which no other context runs that calls the driver. With one
// processor that is: masks interrupts. Returns what `virtio_gpio_leave_critical` needs to know, for instance whether
// they were masked already: sections nest. Orders memory as a lock does, for the compiler as well.
//
// A program in which nothing but one thread ever calls the driver can do nothing here, and return 0.
extern size_t virtio_gpio_enter_critical(void);

// Supplied by the kernel: ends the section that was begun last, and restores what `state` says.
extern void virtio_gpio_leave_critical(size_t state);

// Supplied by the kernel: a mistake in the library was found, and it cannot go on. Does not return.
extern void virtio_gpio_panicked(void);

// What a status says, in English, without a full stop; for a number that is none, the text of
// `VIRTIO_GPIO_STATUS_OTHER`. Any context; does not wait.
const char *virtio_gpio_status_text(int status);

// Looks at a virtio-mmio slot, and resets the device that is there, if it is a GPIO device. At most one second. To be
// called once for each slot; not from an interrupt handler.
//
// `registers` is the first register, a multiple of 4, and `size` the bytes up to the end of the configuration space, at
// least 0x100 (0x200 shows the names of a device of the draft as well). `device` is filled on success. `id`, unless it is
// null, takes the device ID whatever it is; 0 for an empty slot.
//
// Ends with `VIRTIO_GPIO_STATUS_EMPTY_SLOT` or `…_NOT_GPIO` for most slots of a machine; devices of others are not touched.
//
// # Safety
//
// The registers are mapped as device memory for as long as the program runs, and nobody else uses them, unless this fails.
// The pointers lead to what they say, and the functions of `platform` do what it says.
enum virtio_gpio_status virtio_gpio_identify(void *registers,
                                             size_t size,
                                             const struct virtio_gpio_platform *platform,
                                             struct virtio_gpio_device *device,
                                             uint32_t *id);

// The default options.
//
// # Safety
//
// `options` has room for them.
enum virtio_gpio_status virtio_gpio_options_default(struct virtio_gpio_options *options);

// What the device needs with these options; null for the default. Does not wait.
//
// # Safety
//
// The pointers lead to what they say; the device was identified.
enum virtio_gpio_status virtio_gpio_get_sizes(const struct virtio_gpio_device *device,
                                              const struct virtio_gpio_options *options,
                                              struct virtio_gpio_sizes *sizes);

// Sets the device up. At most 7 seconds, where it does not answer; not from an interrupt handler.
//
// `memory` is shared with the device. `storage` is a multiple of `VIRTIO_GPIO_STORAGE_ALIGN`; what it contains does not
// matter, and it is the driver's until `virtio_gpio_close`. On success `chip` takes a pointer into it. The device is used
// up, unless this ends with `VIRTIO_GPIO_STATUS_BAD_ARGUMENT`; the platform's `memory_released` says when the memory may be used
// again.
//
// # Safety
//
// The pointers lead to what they say, the device was identified, and nobody else uses memory and storage.
enum virtio_gpio_status virtio_gpio_open(struct virtio_gpio_device *device,
                                         const struct virtio_gpio_options *options,
                                         const struct virtio_gpio_memory *memory,
                                         void *storage,
                                         size_t storage_length,
                                         struct virtio_gpio_chip **chip);

// Ends the use of a device: releases its lines and resets it. At most one second; not from an interrupt handler. The chip
// is none from then on, and its storage is free. Of the memory says `memory_released`.
//
// Ends with `VIRTIO_GPIO_STATUS_BUSY`, and does nothing, while a call works on a line of the chip.
//
// # Safety
//
// The chip is open, and no other call uses it.
enum virtio_gpio_status virtio_gpio_close(struct virtio_gpio_chip *chip);

// What is known of the device. Any context; does not wait.
//
// # Safety
//
// The chip is open; `info` has room for it.
enum virtio_gpio_status virtio_gpio_get_info(const struct virtio_gpio_chip *chip, struct virtio_gpio_info *info);

// The name of a line: `length` bytes of the device's, without a NUL at the end, and not fit for a terminal as they are. Null,
// and 0, where there is none. The bytes stay until the chip is closed. Any context; does not wait.
//
// # Safety
//
// The chip is open; `length` is null or has room for a number.
const uint8_t *virtio_gpio_name(const struct virtio_gpio_chip *chip,
                                uint16_t line,
                                size_t *length);

// The name of the device, which only a draft device has; as `virtio_gpio_name`.
//
// # Safety
//
// The chip is open; `length` is null or has room for a number.
const uint8_t *virtio_gpio_device_name(const struct virtio_gpio_chip *chip, size_t *length);

// The number of the line with that name, the first one where there are several;
// `VIRTIO_GPIO_STATUS_NO_SUCH_LINE` if there is none. Any context; does not wait.
//
// # Safety
//
// The chip is open; `name` ends with a NUL; `line` has room for a number.
enum virtio_gpio_status virtio_gpio_find(const struct virtio_gpio_chip *chip, const char *name, uint16_t *line);

// Handles the device's interrupt: acknowledges it, takes what has come, arms fired lines again. Says whether the device had
// raised it. For the interrupt's handler; does not wait.
//
// # Safety
//
// The chip is open.
bool virtio_gpio_handle_interrupt(const struct virtio_gpio_chip *chip);

// Takes what came before the interrupt was enabled, and lowers its line. To be called once, after the handler is in place.
// Does not wait.
//
// # Safety
//
// The chip is open.
void virtio_gpio_interrupt_enabled(const struct virtio_gpio_chip *chip);

// Does what is due: answers and events, deadlines, recovery. To be called whenever the kernel is about to wait, at
// `virtio_gpio_next_deadline`, and in a loop where there are no interrupts. Any context; does not wait.
//
// # Safety
//
// The chip is open.
void virtio_gpio_poll(const struct virtio_gpio_chip *chip);

// When `virtio_gpio_poll` has something to do though the device does nothing, by the platform's clock; the largest number
// for never. Any context; does not wait.
//
// # Safety
//
// The chip is open.
uint64_t virtio_gpio_next_deadline(const struct virtio_gpio_chip *chip);

// Whether there is nothing to be done, so that the kernel may sleep until an interrupt or `virtio_gpio_next_deadline`. Any
// context; does not wait.
//
// # Safety
//
// The chip is open.
bool virtio_gpio_is_idle(const struct virtio_gpio_chip *chip);

// Whether an edge has come of which the level is still asked for: soon there is an event, also if nothing else happens. For
// those who want to hear of everything before they end a watch. Any context; does not wait.
//
// # Safety
//
// The chip is open.
bool virtio_gpio_has_event_under_way(const struct virtio_gpio_chip *chip);

// Takes the next event of a watched line. `false` if there is none; then `event` is as it was. Any context; does not wait.
//
// # Safety
//
// The chip is open; `event` has room for one.
bool virtio_gpio_next_event(const struct virtio_gpio_chip *chip,
                            struct virtio_gpio_event *event);

// Takes the next thing that the kernel should hear of the device. `false` if there is none; then `notice` is as it was. Any
// context; does not wait.
//
// # Safety
//
// The chip is open; `notice` has room for one.
bool virtio_gpio_next_notice(const struct virtio_gpio_chip *chip,
                             struct virtio_gpio_notice *notice);

// Resets the device and restores every line, as after a fault. Does not wait: a notice says how it ended.
//
// # Safety
//
// The chip is open.
enum virtio_gpio_status virtio_gpio_reset(const struct virtio_gpio_chip *chip);

// Takes the line with that number into use as an output that has `level` from the start. Waits: at most three of the
// options' `timeout` for each of the two messages; from an interrupt handler better not.
//
// # Safety
//
// The chip is open; `handle` has room for one.
enum virtio_gpio_status virtio_gpio_output(const struct virtio_gpio_chip *chip,
                                           uint16_t line,
                                           bool level,
                                           virtio_gpio_line *handle);

// Takes the line with that number into use as an input. Waits as `virtio_gpio_output` does.
//
// # Safety
//
// The chip is open; `handle` has room for one.
enum virtio_gpio_status virtio_gpio_input(const struct virtio_gpio_chip *chip, uint16_t line, virtio_gpio_line *handle);

// Makes an output of the line; of one that is an output already: sets it. A watch ends. Where it fails the line stays what
// it was. Waits: at most four times `timeout`.
//
// # Safety
//
// The chip is open.
enum virtio_gpio_status virtio_gpio_to_output(const struct virtio_gpio_chip *chip,
                                              virtio_gpio_line handle,
                                              bool level);

// Makes an input of the line; one that is an input already stays as it is. Where it fails the line stays what it was. Waits:
// at most twice `timeout`.
//
// # Safety
//
// The chip is open.
enum virtio_gpio_status virtio_gpio_to_input(const struct virtio_gpio_chip *chip,
                                             virtio_gpio_line handle);

// Drives an output, and waits until the device has confirmed it: at most twice `timeout`.
//
// # Safety
//
// The chip is open.
enum virtio_gpio_status virtio_gpio_set(const struct virtio_gpio_chip *chip, virtio_gpio_line handle, bool level);

// Asks the device for the level of an input or an output, and waits for the answer: at most twice `timeout`.
//
// # Safety
//
// The chip is open; `level` has room for one.
enum virtio_gpio_status virtio_gpio_get(const struct virtio_gpio_chip *chip, virtio_gpio_line handle, bool *level);

// Has the events of an input delivered by `virtio_gpio_next_event`, or no longer; `edge` is a `virtio_gpio_edge`. Waits: at
// most four times `timeout`.
//
// # Safety
//
// The chip is open.
enum virtio_gpio_status virtio_gpio_watch(const struct virtio_gpio_chip *chip,
                                          virtio_gpio_line handle,
                                          uint32_t edge);

// Lets an input that is watched for a level fire again. Any context; does not wait.
//
// # Safety
//
// The chip is open.
enum virtio_gpio_status virtio_gpio_unmask(const struct virtio_gpio_chip *chip, virtio_gpio_line handle);

// Ends the use of the line, and waits until the device has confirmed it: at most three times `timeout`. The line is
// released in any case, and the handle is none from then on.
//
// # Safety
//
// The chip is open.
enum virtio_gpio_status virtio_gpio_release(const struct virtio_gpio_chip *chip, virtio_gpio_line handle);

// Runs the self-test for ports: a device is simulated inside the kernel, in the same thread, and the driver works with it on
// the table and the memory that it will have in front of a real one. First each function of the table is tried alone, so
// that one that is wrong is named. Prints TAP, and takes about a second. Not from an interrupt handler.
//
// Only a library that was built with `--features selftest` has it. Ends with `VIRTIO_GPIO_STATUS_OK` when all checks were
// made, whatever came out, which is in `report`. The heap that the first call is given is that of all later ones, and
// stays the library's.
//
// # Safety
//
// The pointers lead to what they say, the functions of the table may be called, and nobody else uses memory and heap.
enum virtio_gpio_status virtio_gpio_selftest(const struct virtio_gpio_selftest_setup *setup,
                                             struct virtio_gpio_selftest_report *report);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* VIRTIO_GPIO_H */
