//! Fuzz targets: everything in this project that reads bytes from somebody who is not trusted.
//!
//! Each module is one target, with a function `run` that takes any bytes and panics where a promise is broken. The
//! programs in `fuzz_targets/` hand it libFuzzer's inputs; without `cargo fuzz` they run the files that they are given.
//! [`TARGETS`] lists them all, for the replay of the corpus.
#![deny(unsafe_code)]

pub mod boot_arguments;
pub mod control;
pub mod device;
pub mod device_model;
pub mod device_tree;
pub mod driver;
pub mod messages;
pub mod names;
pub mod replay;
pub mod scenario;
pub mod vgpio_device;
pub mod web;

/// One target.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name: that of its module, its program and its folder of the corpus.
    pub name: &'static str,
    /// Runs one input.
    pub run: fn(&[u8]),
}

/// All targets.
pub const TARGETS: [Target; 10] = [
    Target { name: "boot_arguments", run: boot_arguments::run },
    Target { name: "control", run: control::run },
    Target { name: "device_model", run: device_model::run },
    Target { name: "device_tree", run: device_tree::run },
    Target { name: "driver", run: driver::run },
    Target { name: "messages", run: messages::run },
    Target { name: "names", run: names::run },
    Target { name: "scenario", run: scenario::run },
    Target { name: "vgpio_device", run: vgpio_device::run },
    Target { name: "web", run: web::run },
];

/// The program of a target: under `cargo fuzz` it is libFuzzer, otherwise it runs files.
#[macro_export]
macro_rules! target {
    ($name:ident) => {
        #[cfg(fuzzing)]
        libfuzzer_sys::fuzz_target!(|data: &[u8]| $crate::$name::run(data));

        #[cfg(not(fuzzing))]
        fn main() -> std::process::ExitCode {
            $crate::replay::main($crate::$name::run)
        }
    };
}
