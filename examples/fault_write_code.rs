//! Writes to its own code, which must be refused: the image has to end with an exception and status 101.
#![cfg_attr(target_os = "none", no_std, no_main)]

use guest::platform::{ExitCode, Machine};

guest::entry!(run);

fn run(_machine: &'static Machine) -> ExitCode {
    let code = run as *mut u32;
    // SAFETY: none. This is what must fault.
    unsafe { code.write_volatile(0) };
    log::error!("code was written");
    ExitCode::Failure
}
