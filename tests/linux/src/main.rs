//! The only program of a Linux guest: uses GPIO lines through the character device, version 2 of its interface, as the
//! words after `--` on the kernel's command line say; prints a line for each word on the console, and powers the machine off.
//!
//! A word is a command with its arguments, separated by colons. Lines that were requested together have a handle, counted
//! from 0 in the order of the requests.
//!
//! | word | what it does | prints |
//! | --- | --- | --- |
//! | `info` | asks for the chip and all of its lines | `chip NAME LABEL lines=N`, and `line N NAME FLAGS` for each |
//! | `request:LINES:HOW[:BITS]` | requests lines, for instance `0,1` or `0-7`; `HOW` is `out`, `in`, `rising`, `falling`, `both`; `BITS` is a value for each line, `10` | `request H` |
//! | `configure:H:HOW[:BITS]` | changes what they are | `configure H` |
//! | `set:H:BITS` | sets the first lines of a handle | `set H BITS` |
//! | `get:H` | reads all of them | `get H BITS` |
//! | `edges:H:N` | waits for `N` edges | `edge LINE rising\|falling seqno=N` for each, in batches |
//! | `quiet:H:MS` | waits for a time in which there is no edge | `quiet H` or `edge …` |
//! | `release:H` | closes the handle | `release H` |
//! | `memory` | | `memory used=BYTES total=BYTES` |
//! | `bench:set:H:N`, `bench:get:H:N` | `N` calls; for more than 64 lines `H` is a range of handles, `0-3` | `bench set …`, see below |
//! | `bench:direction:H:N` | turns lines to inputs and back to outputs, each a call | `bench direction …` |
//! | `react:IN:OUT:N` | for each of `N` edges of one handle, sets the other to the level after it | `react done` |
//! | `count:H:QUIET:N` | counts edges until none comes for `QUIET` milliseconds, `N` times | `count round=N edges=N nanoseconds=N` for each |
//!
//! A figure is `bench NAME lines=N calls=N nanoseconds=N p50=N p99=N`: the time that all calls took, and the time that half
//! of them and all but one in a hundred of them stayed below. Whatever goes wrong is `error WORD: WHY`, and the end.
#![no_std]
#![no_main]
#![allow(clippy::cast_possible_truncation, reason = "sizes, times and system call arguments fit into a register")]

mod bench;
mod commands;
mod gpio;
mod linux;

use core::arch::global_asm;
use core::ffi::CStr;
use core::panic::PanicInfo;

// The kernel starts a program with the number of its arguments, and their addresses, on the stack.
#[cfg(target_arch = "aarch64")]
global_asm!(".global _start", "_start:", "mov x0, sp", "and sp, x0, #~15", "bl start");
#[cfg(target_arch = "riscv64")]
global_asm!(".global _start", "_start:", "mv a0, sp", "andi sp, sp, -16", "call start");

/// Prints a line on the console.
#[macro_export]
macro_rules! say {
    ($($words:tt)*) => { $crate::linux::print(format_args!("linux: {}\n", format_args!($($words)*))) };
}

/// # Safety
///
/// `stack` is what the kernel has prepared for a new program.
#[unsafe(no_mangle)]
unsafe extern "C" fn start(stack: *const usize) -> ! {
    // SAFETY: the first word is the number of arguments, and as many addresses of strings follow.
    let arguments = unsafe { core::slice::from_raw_parts(stack.add(1).cast::<*const core::ffi::c_char>(), *stack) };
    // SAFETY: the strings live as long as the program does.
    let words = arguments.iter().skip(1).map(|argument| unsafe { CStr::from_ptr(*argument) });
    linux::mount_devices();
    let mut commands = commands::Commands::new();
    say!("ready");
    let mut failed = false;
    for word in words {
        let word = word.to_str().unwrap_or("?");
        if let Err(error) = commands.run(word) {
            say!("error {word}: {error}");
            failed = true;
            break;
        }
    }
    say!("{}", if failed { "failed" } else { "done" });
    linux::power_off()
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    say!("panic {info}");
    linux::power_off()
}
