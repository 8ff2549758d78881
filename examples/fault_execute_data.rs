//! Executes data, which must be refused: the image has to end with an exception and status 101.
#![cfg_attr(target_os = "none", no_std, no_main)]

use core::sync::atomic::{AtomicU32, Ordering};

use guest::platform::{ExitCode, Machine};

guest::entry!(run);

/// Will hold the code of [`nothing`].
static DATA: AtomicU32 = AtomicU32::new(0);

/// Returns; its code is no longer than a word.
#[inline(never)]
extern "C" fn nothing() {}

fn run(_machine: &'static Machine) -> ExitCode {
    // SAFETY: code is readable.
    let code = unsafe { (nothing as *const u32).read_unaligned() };
    DATA.store(code, Ordering::SeqCst);
    // SAFETY: none. This is what must fault.
    let copy: extern "C" fn() = unsafe { core::mem::transmute(DATA.as_ptr()) };
    copy();
    log::error!("data was executed");
    ExitCode::Failure
}
