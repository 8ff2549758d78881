//! A virtio GPIO driver for bare-metal guests and RTOSes.
#![no_std]
#![deny(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod clock;
pub mod fence;
pub mod memory;
pub mod messages;
pub mod queue;
mod shared;
pub mod transport;
