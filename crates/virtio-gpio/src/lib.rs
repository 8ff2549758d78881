//! A virtio GPIO driver for bare-metal guests and RTOSes: the ratified device (VIRTIO 1.2 to 1.4, section 5.18) and
//! the draft of 2020, behind one API.
//!
//! The driver allocates nothing, knows no architecture, and does not trust its device: no byte that a device writes
//! makes it panic, loop, or touch memory that is not its own; every wait ends; a device that breaks is reset, and its
//! lines are restored.
//!
//! # From a slot to a level
//!
//! 1. A [`transport::Transport`] reaches the device's registers, for instance [`transport::MmioTransport`].
//! 2. [`Identified::new`] resets the device and finds out which protocol it speaks.
//! 3. [`Sizes::new`] says how much memory and [`Storage`] a chip takes.
//! 4. [`Chip::new`] sets the device up. [`Chip::line`] takes a line into use as a [`Line`], which turns into an
//!    [`Input`] or an [`Output`] and back. These implement the traits of `embedded-hal`.
//! 5. Watched inputs give [`Event`]s ([`Input::watch`], [`Chip::next_event`]); what else is worth telling about the
//!    device are [`Notice`]s ([`Chip::next_notice`]).
//!
//! A pin's request goes from the chip to the device's dialect, which makes a message of it; the queue makes that
//! available; one register write notifies the device. The answer comes back through the used ring, where
//! [`Chip::handle_interrupt`] or [`Chip::poll`] takes it, to the caller who waits. An edge takes the same way.
//!
//! # The four seams
//!
//! A kernel supplies these, gathered in a [`Platform`], and nothing else:
//!
//! | seam | what it does |
//! | --- | --- |
//! | [`transport::Transport`] | the device's registers |
//! | [`memory::DmaMemory`] | memory that driver and device share; caches, where they are not coherent |
//! | [`fence::Fence`] | ordering; [`fence::CoherentFence`] suits a hypervisor's device |
//! | [`clock::Clock`] | time, and a way to wait |
//!
//! Besides, the final program chooses an implementation of the crate `critical-section`.
//!
//! # Example
//!
//! With a simulated device in the place of a real one:
//!
//! ```
//! use gpio_loopback::{Loopback, Machine, Settings};
//! use gpio_model::{bank::Bank, ratified};
//! use virtio_gpio::fence::CoherentFence;
//! use virtio_gpio::{
//!     Chip, DescriptorSlot, EventSlot, Identified, InterruptType, Level, LineId, LineSlot, Options, Parts, RequestSlot,
//!     Sizes, Storage, Trigger,
//! };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let machine = Machine::ratified(Bank::new(8), ratified::Options::default(), Settings::new(41));
//! let clock = machine.clock();
//! let options = Options::default();
//!
//! let device = Identified::new(machine.registers(), &clock, None).map_err(|(error, _transport)| error)?;
//! let sizes = Sizes::new(&device, &options, 4, 1024, machine.granule())?;
//! // A guest has statics here.
//! let (mut descriptors, mut names) = (vec![DescriptorSlot::EMPTY; sizes.descriptors], vec![0; sizes.names]);
//! let storage = Storage {
//!     descriptors: &mut descriptors,
//!     requests: &mut [RequestSlot::EMPTY; 8],
//!     lines: &mut [LineSlot::EMPTY; 4],
//!     events: &mut [EventSlot::EMPTY; 16],
//!     names: &mut names,
//! };
//! let parts = Parts { memory: machine.allocate(sizes.memory), fence: CoherentFence, clock };
//! let chip: Chip<'_, Loopback> = Chip::new(device, &sizes, parts, storage, options)?;
//!
//! // A conversion that fails gives the pin back beside the error.
//! let mut led = chip.line(LineId(0))?.into_output(Level::Low).map_err(|rejected| rejected.error)?;
//! led.set(Level::High)?;
//! assert_eq!(machine.line(LineId(0)).level(), Level::High);
//!
//! let mut button = chip.line(LineId(4))?.into_input().map_err(|rejected| rejected.error)?;
//! button.watch(InterruptType::RisingEdge)?;
//! machine.drive(LineId(4), Some(Level::High));
//! machine.run();
//! chip.handle_interrupt(); // what the interrupt's handler does
//! let event = chip.next_event().expect("the button was pressed");
//! assert_eq!((event.line, event.trigger, event.count), (LineId(4), Trigger::Rising, 1));
//! # Ok(())
//! # }
//! ```
//!
//! # Several lines at once
//!
//! [`run_all`] sends any number of [`Request`]s with one notification and waits for all; a [`Port`] does so with up to 64
//! pins as the bits of a number. To go on meanwhile, [`Output::queue_set`], [`Input::queue_level`] and their like queue a
//! request, [`Chip::notify`] notifies for all of them, and each [`Pending`] gives its outcome when there is one.
//!
//! # Contexts
//!
//! Every function takes `&self` or a pin of its own, and may be called from main code and from interrupt handlers. The
//! state is behind a critical section, in which nothing waits: it lasts for one step, at most as many completions as
//! both queues can hold. Functions that wait do so outside of it, by [`clock::Clock::wait`]; handlers better use those
//! that do not: [`Chip::handle_interrupt`], [`Chip::next_event`], [`Output::start_set`].
//!
//! An application that sleeps calls [`Chip::poll`] first, and sleeps while [`Chip::is_idle`] until an interrupt comes or
//! [`Chip::next_deadline`] has passed. Deadlines, pauses and recovery are worked on in [`Chip::poll`] and in whatever
//! waits, not in interrupts.
//!
//! # Bounds
//!
//! Each request ends by [`Options::timeout`]. An operation that consists of several requests, or that finds all request
//! slots taken, may take that time for each: at most one wait for a slot, and three requests ([`Input::watch`] from one
//! type to another). A batch of [`run_all`] takes that long for each time that the request slots are filled. A device that does not answer any more is reset, with growing pauses, and given up after half a
//! minute; meanwhile operations fail at once with [`Error::Recovering`].
//!
//! Memory is what [`Sizes`] says: with the default queues about 20 KiB shared with the device, and in [`Storage`] one
//! record for each descriptor, request, line and event. None of it depends on a number from the device but the names,
//! for which the user sets a limit.
//!
//! Memory that the device may still write is not used for anything else, and not given back, until the device has
//! returned it or confirmed a reset: also after a time-out, a failed set-up, or the chip's end.
//!
//! # Feature flags
//!
//! - `virtio-drivers`: any transport of the crate `virtio-drivers` as a [`transport::Transport`]. Off by default.
#![no_std]
#![deny(unsafe_code)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, reason = "an overflow in a test is a failure"))]

#[cfg(test)]
extern crate std;

mod batch;
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
mod pending;
mod pins;
mod platform;
mod port;
mod queue;
mod shared;
pub mod transport;

pub use batch::{Request, SomeFailed, run_all};
pub use chip::events::{Event, EventSlot, Notice, Resources, Statistics, Trigger};
pub use chip::lines::LineSlot;
pub use chip::requests::RequestSlot;
pub use chip::{Chip, NamesError, Options, Parts, Sizes, Storage};
pub use dialect::Oddity;
pub use error::{Error, Fault, SetupError};
pub use identify::{Identified, Protocol, is_gpio_id};
pub use messages::{Direction, InterruptType, Level, LineId};
pub use names::Name;
pub use pending::Pending;
pub use pins::{Input, Line, Output, Rejected};
pub use platform::Platform;
pub use port::{Port, PortError};
pub use queue::{DescriptorSlot, MAX_QUEUE_SIZE, RingViolation};
