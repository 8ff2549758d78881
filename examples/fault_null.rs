//! Reads address 0, where nothing is mapped: the image has to end with an exception and status 101.
#![cfg_attr(target_os = "none", no_std, no_main)]

use guest::platform::{ExitCode, Machine};

guest::entry!(run);

fn run(_machine: &'static Machine) -> ExitCode {
    let null = core::hint::black_box(core::ptr::null::<u32>());
    // SAFETY: none. This is what must fault.
    let value = unsafe { null.read_volatile() };
    log::error!("address 0 holds {value:#x}");
    ExitCode::Failure
}
