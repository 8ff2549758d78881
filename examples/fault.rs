//! Does what must not be done; the boot argument says what. The image has to report it, and to end with status 101.
//!
//! | word | what |
//! | --- | --- |
//! | `panic` | panics: the report says where |
//! | `null` | reads address 0, where nothing is mapped |
//! | `write-code` | writes to its own code |
//! | `execute-data` | executes data |
//! | `stack-overflow` | recurses for ever: the report says so |
#![cfg_attr(target_os = "none", no_std, no_main)]

use core::hint::black_box;
use core::sync::atomic::{AtomicU32, Ordering};

use guest::platform::{ExitCode, Machine};

guest::entry!(run);

fn run(machine: &'static Machine) -> ExitCode {
    match machine.bootargs() {
        "panic" => panic!("on purpose, on {}", machine.model()),
        "null" => null(),
        "write-code" => write_code(),
        "execute-data" => execute_data(),
        "stack-overflow" => _ = black_box(recurse(&[0; 64])),
        other => log::error!("'{other}' is no word of examples/fault.rs"),
    }
    log::error!("nothing has stopped it");
    ExitCode::Failure
}

fn null() {
    let null = black_box(core::ptr::null::<u32>());
    // SAFETY: none. This is what must fault.
    black_box(unsafe { null.read_volatile() });
}

fn write_code() {
    let code = run as *mut u32;
    // SAFETY: none. This is what must fault.
    unsafe { code.write_volatile(0) };
}

/// Will hold the code of [`nothing`].
static DATA: AtomicU32 = AtomicU32::new(0);

/// Returns; its code is no longer than a word.
#[inline(never)]
extern "C" fn nothing() {}

fn execute_data() {
    // SAFETY: code is readable.
    let code = unsafe { (nothing as *const u32).read_unaligned() };
    DATA.store(code, Ordering::SeqCst);
    // SAFETY: none. This is what must fault.
    let copy: extern "C" fn() = unsafe { core::mem::transmute(DATA.as_ptr()) };
    copy();
}

#[expect(unconditional_recursion, reason = "this is what must fault")]
fn recurse(caller: &[u64; 64]) -> u64 {
    let frame = black_box(*caller);
    // To look at the result keeps this from becoming a loop.
    black_box(recurse(&frame))
}
