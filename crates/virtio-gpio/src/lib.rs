//! A virtio GPIO driver for bare-metal guests and RTOSes.
#![no_std]
#![deny(unsafe_code)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, reason = "an overflow in a test is a failure"))]

#[cfg(test)]
extern crate std;

mod chip;
pub mod clock;
mod dialect;
mod error;
pub mod fence;
mod hal;
mod identify;
pub mod memory;
pub mod messages;
mod names;
mod pins;
mod platform;
mod queue;
mod shared;
pub mod transport;

pub use chip::events::{Event, EventSlot, Notice, Statistics, Trigger};
pub use chip::lines::LineSlot;
pub use chip::requests::RequestSlot;
pub use chip::{Chip, NamesError, Options, Parts, Sizes, Storage};
pub use dialect::Oddity;
pub use error::{Error, Fault, SetupError};
pub use identify::{Identified, Protocol, is_gpio_id};
pub use messages::{Direction, InterruptType, Level, LineId};
pub use names::Name;
pub use pins::{Input, Line, Output, Pending, Rejected};
pub use platform::Platform;
pub use queue::{DescriptorSlot, MAX_QUEUE_SIZE, RingViolation};
