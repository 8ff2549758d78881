//! A virtio GPIO device in the driver's own process.
//!
//! A [`Machine`] is everything that a driver finds around itself: a device with registers, queues and a configuration
//! space, memory that both share, an interrupt, and time. The device's behaviour is [`gpio_model`]'s; the queues here
//! are the device's side of the split virtqueue, written from the specification and not from the driver.
//!
//! Nothing happens by itself: the device works while the driver waits (its [`Clock`](virtio_gpio::clock::Clock) is
//! the machine's), or when its owner says so ([`Machine::run`], [`Machine::pump`], [`Machine::advance`]). Time passes
//! only then, too, so that every run is the same and half a minute takes no time at all.
//!
//! Each rule that the driver breaks is noted in [`Machine::violations`]. A device that breaks rules is made by
//! [`Machine::tamper`] and its siblings.
#![no_std]
#![deny(unsafe_code)]

extern crate alloc;

mod bench;
mod bus;
mod clock;
mod device;
mod machine;
mod memory;
mod registers;
mod ring;
mod script;

pub use bench::{Bench, Plan};
pub use bus::{Bus, Direct};
pub use clock::MachineClock;
pub use device::Model;
pub use machine::{Costs, Loopback, Machine, Settings};
pub use memory::Memory;
pub use registers::Registers;
pub use ring::{Chain, Descriptor};
pub use script::Tamper;
