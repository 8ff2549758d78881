//! The chip: one GPIO device, from its set-up to its lines.
//!
//! [`Chip`] is what applications hold. It wraps the state machine of [`core`] in a critical section, and waits around
//! it: inside, nothing ever waits. So every function here may be called from main code and from interrupt handlers.

mod access;
mod arrivals;
pub(crate) mod core;
mod edges;
pub(crate) mod events;
pub(crate) mod layout;
pub(crate) mod lines;
mod outcomes;
mod patience;
mod reconcile;
mod recovery;
pub(crate) mod requests;
mod sending;
mod setup;
#[cfg(feature = "async")]
pub(crate) mod tasks;
#[cfg(feature = "async")]
mod waiters;
mod waiting;

use ::core::cell::RefCell;
use ::core::fmt;
use ::core::time::Duration;

use critical_section::Mutex;

use crate::clock::{Clock, Instant};
use crate::dialect::{Operation, Value};
use crate::error::{Error, Fault};
use crate::identify::Protocol;
use crate::messages::LineId;
use crate::messages::draft::DEVICE_NAME_SIZE;
use crate::names::{Name, NameBlock, field};
use crate::pins::Line;
use crate::platform::Platform;
use core::Core;
use events::{Event, Notice, Resources, Statistics};
use requests::Ticket;

pub(crate) use access::{Lines, Steps};
pub use setup::{Options, Parts, Sizes, Storage};

/// A request of an application's: answered already, or under way.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Submitted {
    Done(Result<Value, Error>),
    Ticket(Ticket),
}

/// What is known of a device since its set-up, and does not change.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Info {
    pub(crate) protocol: Protocol,
    pub(crate) lines: u16,
    pub(crate) interrupts: bool,
    pub(crate) legacy: bool,
    pub(crate) watch_limit: Option<u16>,
    pub(crate) timeout: Duration,
    pub(crate) device_name: [u8; DEVICE_NAME_SIZE],
    pub(crate) names_error: Option<NamesError>,
}

/// Why the lines of a device have no names, though it says that they do. The lines can be used by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NamesError {
    /// The names block is larger than was wanted.
    TooLarge {
        /// Its size, as the device says.
        size: u32,
        /// What [`Sizes::new`] was told.
        limit: usize,
    },
    /// The request for the names failed.
    Request(Error),
}

impl fmt::Display for NamesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { size, limit } => {
                write!(f, "The names block of {size} bytes is larger than the {limit} bytes kept for it")
            }
            Self::Request(error) => write!(f, "The names cannot be had: {error}"),
        }
    }
}

impl ::core::error::Error for NamesError {}

/// One GPIO device and its lines.
///
/// All functions take `&self`; a chip can be shared between main code and interrupt handlers, and many of its lines
/// can be in use at once. Functions that wait do so for [`Options::timeout`], or a few times that: the
/// [table of bounds](crate#bounds) says which. All others end at once.
///
/// The device is reset when the chip is dropped. If it does not confirm that in time, the memory that it may still
/// write is never given back.
pub struct Chip<'a, P: Platform> {
    core: Mutex<RefCell<Core<'a, P>>>,
    clock: P::Clock,
    names: &'a [u8],
    info: Info,
    #[cfg(feature = "async")]
    waiters: waiters::Waiters,
}

impl<P: Platform> fmt::Debug for Chip<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Info { protocol, lines, interrupts, .. } = self.info;
        f.debug_struct("Chip")
            .field("protocol", &protocol)
            .field("lines", &lines)
            .field("interrupts", &interrupts)
            .finish_non_exhaustive()
    }
}

impl<'a, P: Platform> Chip<'a, P> {
    /// Runs `f` on the state machine with interrupts masked.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`] if the state machine is at work already: a platform has called the chip from inside one of the
    /// driver's own calls of it.
    fn try_with<R>(&self, f: impl FnOnce(&mut Core<'a, P>) -> R) -> Result<R, Error> {
        let done = critical_section::with(|section| {
            self.core.borrow(section).try_borrow_mut().map(|mut core| f(&mut core)).map_err(|_| Error::Busy)
        });
        #[cfg(feature = "async")]
        self.wake_ready();
        done
    }

    /// As [`try_with`](Self::try_with), where nothing done is an answer too.
    fn with<R: Default>(&self, f: impl FnOnce(&mut Core<'a, P>) -> R) -> R {
        self.try_with(f).unwrap_or_default()
    }

    /// The protocol that the device speaks.
    pub fn protocol(&self) -> Protocol {
        self.info.protocol
    }

    /// The number of lines.
    pub fn lines(&self) -> u16 {
        self.info.lines
    }

    /// Whether lines can be watched.
    pub fn has_interrupts(&self) -> bool {
        self.info.interrupts
    }

    /// Whether the transport is a legacy one.
    pub fn is_legacy(&self) -> bool {
        self.info.legacy
    }

    /// How many lines can be watched at once; `None` where only the storage sets a limit.
    pub fn watch_limit(&self) -> Option<u16> {
        self.info.watch_limit
    }

    /// The device's name, which only the draft has.
    pub fn device_name(&self) -> Option<Name<'_>> {
        field(&self.info.device_name)
    }

    /// The name of a line. The cost grows with the line's number.
    pub fn name(&self, line: LineId) -> Option<Name<'a>> {
        NameBlock::new(self.names).get(line.0)
    }

    /// The names of all lines in line order, as far as the device gave them.
    pub fn names(&self) -> impl Iterator<Item = Option<Name<'a>>> {
        NameBlock::new(self.names).iter().take(self.info.lines.into())
    }

    /// The line with that name; the first one where the device gave it twice.
    pub fn find(&self, name: impl AsRef<[u8]>) -> Option<LineId> {
        let name = name.as_ref();
        (0..=u16::MAX)
            .zip(self.names())
            .find(|(_, found)| found.is_some_and(|found| found.as_bytes() == name))
            .map(|(line, _)| LineId(line))
    }

    /// Why the lines have no names, if the device says that they do.
    pub fn names_error(&self) -> Option<NamesError> {
        self.info.names_error
    }

    /// Takes a line into use. Waits for the device where its protocol has a message for that.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchLine`], [`Error::LineInUse`], [`Error::TooManyLines`]; what the device answers; and what every
    /// request can end with.
    pub fn line(&self, line: LineId) -> Result<Line<'_>, Error> {
        if line.0 >= self.info.lines {
            return Err(Error::NoSuchLine { line, lines: self.info.lines });
        }
        let deadline = self.clock.now().after(self.info.timeout);
        let slot = loop {
            let (taken, progress) = self.try_with(|core| (core.take_line(line), core.requests.progress()))?;
            match taken {
                Err(Error::Busy) if self.clock.now() < deadline => {
                    self.wait_for_progress(progress, deadline, u16::MAX);
                }
                taken => break taken?,
            }
        };
        match self.run(slot, Operation::Acquire) {
            Ok(_) => Ok(Line::new(self, slot, line)),
            Err(error) => {
                self.with(|core| core.lines.release(slot));
                Err(error)
            }
        }
    }

    /// Handles the device's interrupt: acknowledges it, takes what has come, arms fired lines again. Returns whether
    /// the device had raised it.
    ///
    /// To be called from the interrupt's handler. An edge-triggered interrupt is not lost: what comes after the
    /// acknowledgement raises a new one.
    pub fn handle_interrupt(&self) -> bool {
        let now = self.clock.now();
        self.with(|core| core.handle_interrupt(now))
    }

    /// Takes what came before the interrupt was enabled, and lowers its line: an edge-triggered one raises no new edge
    /// otherwise. To be called once, after the interrupt's handler is in place.
    pub fn interrupt_enabled(&self) {
        let now = self.clock.now();
        self.with(|core| core.interrupt_enabled(now));
    }

    /// Does what is due: completions whose interrupt was lost, deadlines, pauses, recovery. To be called whenever the
    /// application is about to wait, and at [`next_deadline`](Self::next_deadline).
    pub fn poll(&self) {
        let now = self.clock.now();
        self.with(|core| core.poll(now));
        #[cfg(feature = "async")]
        self.wake_overdue(now);
    }

    /// Notifies the device of the requests that [`Output::queue_set`](crate::Output::queue_set) has queued, once for all
    /// of them.
    pub fn notify(&self) {
        self.with(Core::notify);
    }

    /// When [`poll`](Self::poll) has something to do though the device does nothing.
    pub fn next_deadline(&self) -> Option<Instant> {
        let own = self.with(|core| core.next_deadline());
        #[cfg(feature = "async")]
        let own = own.into_iter().chain(self.next_overdue()).min();
        own
    }

    /// Whether there is nothing to be done: nothing in the queues, no event and no notice. Cheap; the condition under
    /// which a main loop may sleep until an interrupt or [`next_deadline`](Self::next_deadline).
    ///
    /// Where the level that says which edge an event was is about to come, a main loop is not idle either, for
    /// [`Options::poll_limit`] at most: to sleep and to be woken would take longer.
    pub fn is_idle(&self) -> bool {
        let now = self.clock.now();
        self.with(|core| !core.has_news() && core.events.is_empty() && !core.has_notice() && !core.expects_level(now))
    }

    /// Whether an event has come whose edge is still being worked out: the level was asked for and is not answered.
    pub fn has_event_under_way(&self) -> bool {
        self.with(|core| core.has_event_under_way())
    }

    /// The next event of a watched line.
    pub fn next_event(&self) -> Option<Event> {
        let now = self.clock.now();
        self.with(|core| core.next_event(now))
    }

    /// The next thing that the application should hear of the device.
    pub fn next_notice(&self) -> Option<Notice> {
        self.with(Core::next_notice)
    }

    /// The counters.
    pub fn statistics(&self) -> Statistics {
        self.with(|core| core.statistics)
    }

    /// Where the descriptors and the request slots are. The cost grows with the size of the queues.
    pub fn resources(&self) -> Resources {
        self.with(Core::resources)
    }

    /// Resets the device and restores every line, as after a fault, without a fault. Does not wait:
    /// [`is_recovering`](Self::is_recovering) says whether it is over, and a [`Notice`] how it ended.
    ///
    /// # Errors
    ///
    /// [`Error::Recovering`] and [`Error::ChipFailed`], where there is nothing to be reset at present; [`Error::Busy`] from
    /// inside one of the driver's own calls of the platform.
    pub fn reset(&self) -> Result<(), Error> {
        let now = self.clock.now();
        self.try_with(|core| {
            core.health.usable()?;
            core.begin_recovery(Fault::Requested, now);
            core.finish_round(now);
            Ok(())
        })?
    }

    /// Whether the device was given up.
    pub fn has_failed(&self) -> bool {
        self.with(|core| core.health.has_failed())
    }

    /// Whether the device is being reset and restored.
    pub fn is_recovering(&self) -> bool {
        self.with(|core| core.health.usable() == Err(Error::Recovering))
    }
}
