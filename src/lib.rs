//! The guest image: it boots on a machine with virtio GPIO devices, with nothing below it but the machine's firmware.
//!
//! The order of things: `arch` turns caches and translation on and calls [`platform`]'s start, which reads the device tree
//! (`device_tree`), sets up console, heap (`memory`), interrupt controller and timer, and calls the application that
//! [`entry!`] names.
#![cfg_attr(target_os = "none", no_std)]
#![deny(unsafe_code)]
#![cfg_attr(
    not(target_os = "none"),
    allow(dead_code, reason = "the image does not start on the host; parts are tested")
)]

extern crate alloc;

pub mod app;
mod arch;
mod device_tree;
mod memory;
pub mod platform;
mod sync;

/// Parts that read bytes from elsewhere, for the fuzz targets alone.
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing {
    pub use crate::app::fuzzing::{ChipDescription, Selected, boot_arguments};
    pub use crate::device_tree::fuzzing::{copy_tree, read_tree};
}
