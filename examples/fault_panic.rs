//! Panics: the image has to say where and end with status 101.
#![cfg_attr(target_os = "none", no_std, no_main)]

use guest::platform::{ExitCode, Machine};

guest::entry!(run);

fn run(machine: &'static Machine) -> ExitCode {
    panic!("on purpose, on {}", machine.model());
}
