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
#![cfg_attr(virtio_gpio_model, doc = "```")]
#![cfg_attr(not(virtio_gpio_model), doc = "```ignore")]
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
//! # Tasks
//!
//! With the feature `async`, whatever waits has a sibling that is awaited: `Output::set_async`, `Input::level_async`,
//! `Chip::line_async`, `Chip::event_async` and their like; a [`Pending`] is a future itself; and an [`Input`] implements
//! `Wait` of `embedded-hal-async`, for edges and for levels. Nothing is allocated: a chip has places for the wakers of 32 tasks.
//! Where more wait at once they take turns, which costs polls and no edge.
//!
//! A future can be dropped at any moment. Its request goes on, and what the device may still write stays the device's until
//! it is given back; what would change what a line is used for is taken back, as after a time-out, and a line whose
//! conversion is dropped is released.
//!
//! Tasks are woken by [`Chip::handle_interrupt`] and [`Chip::poll`], outside of the critical section. So the executor does
//! what any application does: it calls [`Chip::poll`] when no task can go on, and sleeps until an interrupt or
//! [`Chip::next_deadline`]. `examples/async_blink.rs` of the repository does so with `embassy-executor`.
//!
//! # Contexts
//!
//! Every function takes `&self` or a pin of its own, and may be called from main code and from interrupt handlers, on any
//! processor for which the program's `critical-section` is one. The state is behind that critical section, in which nothing
//! waits. Functions that wait do so outside of it, by [`clock::Clock::wait`]: a handler that calls one waits as well, and has
//! better use for those that do not.
//!
//! | call | waits | from an interrupt handler |
//! | --- | --- | --- |
//! | [`Identified::new`], [`Chip::new`], dropping a [`Chip`] | yes | no: once, at the start and at the end |
//! | [`Chip::line`], `into_input`, `into_output`, `release` | yes | possible, better not |
//! | [`Output::set`], [`Input::level`], `direction`, [`Input::watch`], [`run_all`], [`Port`], [`Pending::wait`] | yes | possible, better not |
//! | [`Output::start_set`], [`Output::queue_set`] and their like, [`Chip::notify`], [`Pending::outcome`], [`Pending::is_done`] | no | yes |
//! | [`Chip::handle_interrupt`] | no | yes: that is what it is for |
//! | [`Chip::interrupt_enabled`], [`Chip::next_event`], [`Chip::next_notice`], [`Input::unmask`], [`Input::last_level`], [`Output::level_set`] | no | yes |
//! | [`Chip::poll`], [`Chip::is_idle`], [`Chip::next_deadline`], [`Chip::reset`], dropping a pin or a [`Pending`] | no | yes |
//! | what is known since the set-up: [`Chip::lines`], [`Chip::name`], [`Chip::find`], … | no, and no critical section | yes |
//!
//! A seam must not call the chip that is calling it; what does gets [`Error::Busy`], or nothing. What is dropped there, a pin or
//! a [`Pending`], keeps its place for good.
//!
//! An application that sleeps calls [`Chip::poll`] first, and sleeps while [`Chip::is_idle`] until an interrupt comes or
//! [`Chip::next_deadline`] has passed. Deadlines, pauses and recovery are worked on in [`Chip::poll`] and in whatever
//! waits, not in interrupts.
//!
//! # Bounds
//!
//! *T* is [`Options::timeout`], and *C* the completions that both queues can hold: half their descriptors; in
//! the draft all of them.
//!
//! | call | ends by | longest step with interrupts masked |
//! | --- | --- | --- |
//! | [`Identified::new`] | 1 s, for the reset | none |
//! | [`Chip::new`] | *T*; 5 s and one *T* more where the names are not answered | none |
//! | dropping a [`Chip`] | 1 s, for the reset | none |
//! | [`Output::set`], [`Input::level`], `direction` | *T* for a request slot, *T* for the answer | one request, or *C* completions |
//! | [`Chip::line`] | *T* for the line, *T* for a request slot, *T* for the answer | the same |
//! | [`Input::watch`] | three times *T* and *T*: two messages from one type to another, and the level between them | the same |
//! | `into_output` of a watched [`Input`], `release` | twice *T* and *T* | the same |
//! | [`run_all`], [`Port`] | *T* and *T* for each filling of the request slots | eight requests, or *C* completions |
//! | [`Output::queue_set`] and their like | at once | one request |
//! | [`Chip::handle_interrupt`], [`Chip::poll`] | at once | *C* completions, a message or two for each line that owes one; in a reset, clearing the rings |
//! | [`Chip::next_event`], [`Chip::next_notice`], [`Chip::is_idle`] | at once | one record; where a drain was cut, *C* completions; where they were full or this was the last, a message or two for each line that owes one |
//! | [`Chip::next_deadline`] | at once | the lines that owe something |
//! | [`Chip::name`], [`Chip::find`] | at once; grows with the line's number, or the names | none |
//!
//! A device that does not answer any more is reset, with growing pauses, and given up after half a minute; meanwhile
//! operations fail at once with [`Error::Recovering`], and afterwards with [`Error::ChipFailed`].
//!
//! Memory is what [`Sizes`] says: with the default queues about 20 KiB shared with the device, and in [`Storage`] one
//! record for each descriptor, request, line and event. None of it depends on a number from the device but the names,
//! for which the user sets a limit. Nothing recurses, and the largest thing on the stack is a [`Port`]'s batch of 2 KiB.
//!
//! # Promises
//!
//! What the driver takes from the device for granted: nothing. A device that keeps the left column gets the right one; where
//! it does not, the driver does what stands below.
//!
//! | the device promises (VIRTIO 1.2) | the driver promises |
//! | --- | --- |
//! | each buffer comes back once, whole, with the length that was written (2.7.8) | it believes an id that is in range, the head of a chain, and in flight, and an index that moved by no more than that; otherwise the queue is broken and the device is reset |
//! | requests of a line are carried out in order (5.18.6.9) | one line's requests are sent in the order in which they were called for |
//! | an answer has a status and a value that mean something (5.18.6) | anything else is [`Error`] for that request, and for no other |
//! | it answers | a request ends by its deadline; the device is notified once more a quarter of the way there, because notifications get lost, and looked at without an interrupt, because those get lost too |
//! | it writes only to buffers that it has | memory that the device may still write is used for nothing else, and not given back, until the device has returned it or confirmed a reset: also after a time-out, a failed set-up, or the chip's end |
//! | one event buffer comes back for each edge or level of an enabled line (5.18.7) | each line has at most one there, and it is queued again at once (edges) or when the application says so (levels) |
//! | it keeps what it was told | after a reset every line is restored, one after the other, and an edge that happened meanwhile is delivered once and marked |
//!
//! # Feature flags
//!
//! - `async`: pins to be awaited; see [Tasks](#tasks). Off by default.
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
#[cfg(feature = "async")]
mod tasks;
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
