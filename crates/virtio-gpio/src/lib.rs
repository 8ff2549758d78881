//! A virtio GPIO driver for bare-metal guests and RTOSes.
#![no_std]
#![deny(unsafe_code)]

pub mod clock;
pub mod fence;
pub mod memory;
pub mod messages;
pub mod transport;
