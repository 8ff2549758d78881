//! What differs between the two protocols: which messages an operation takes, which queue they travel on, and what
//! comes back.
//!
//! [`Dialect`] is all that the chip knows of it. Requests are known by the number of their slot
//! ([`crate::chip::requests`]), watched lines by the number of theirs ([`crate::chip::lines`]).

mod draft;
mod ratified;

use core::fmt;

use crate::chip::layout::DmaLayout;
use crate::chip::requests::RequestTable;
use crate::error::Error;
use crate::fence::Fence;
use crate::identify::Protocol;
use crate::memory::DmaMemory;
use crate::messages::{Direction, InterruptType, Level, LineId};
use crate::queue::{Bus, DescriptorSlot, Queue, RingViolation};

/// What can be asked of a line, whatever the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    /// The names block. Only sent while the device is set up.
    Names,
    /// The line is going to be used.
    Acquire,
    /// The line is no longer used.
    Release,
    SetInput,
    SetOutput(Level),
    GetDirection,
    GetValue,
    SetValue(Level),
    SetInterruptType(InterruptType),
}

/// What an operation gives back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value {
    None,
    Level(Level),
    Direction(Direction),
}

impl Value {
    /// Whatever the answer is: that it came without an error is all.
    #[expect(clippy::unnecessary_wraps, reason = "one of several readings of an answer")]
    pub(crate) fn done(_: Self) -> Option<()> {
        Some(())
    }

    pub(crate) fn level(self) -> Option<Level> {
        if let Self::Level(level) = self { Some(level) } else { None }
    }

    pub(crate) fn direction(self) -> Option<Direction> {
        if let Self::Direction(direction) = self { Some(direction) } else { None }
    }
}

/// Something in the device's behaviour that costs nothing but is worth counting and telling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Oddity {
    /// An answer came after its request had timed out; it was dropped.
    LateAnswer(LineId),
    /// A message that answers nothing and means nothing: type and line.
    UnexpectedMessage {
        /// The message's type.
        kind: u16,
        /// The message's line.
        line: LineId,
    },
    /// The answer names another line than the only request under way; it was taken for that one's.
    WrongLine {
        /// The line of the request.
        asked: LineId,
        /// The line in the answer.
        answered: LineId,
    },
    /// A level has more than bit 0 set; only that bit counts.
    WideLevel(LineId),
    /// A level message for a line that is not watched, or that does not exist.
    UnwatchedLevel(LineId),
    /// An event for a line whose interrupt is off.
    StaleEvent(LineId),
    /// An event buffer came back without an interrupt though the line is watched; it is queued again, with growing
    /// pauses where it happens in a row.
    EmptyEvent(LineId),
    /// The device interrupted without a reason. One whose reason was taken away before, by a look at what was overdue or
    /// with an earlier interrupt, is none.
    SpuriousInterrupt,
    /// An interrupt was lost: an overdue answer was found by looking, and for as long as a request may take no interrupt
    /// came either.
    LostInterrupt,
}

impl fmt::Display for Oddity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::LateAnswer(line) => write!(f, "an answer for line {line} came after its deadline"),
            Self::UnexpectedMessage { kind, line } => {
                write!(f, "a message of type {kind:#06x} for line {line} that answers nothing")
            }
            Self::WrongLine { asked, answered } => {
                write!(f, "a reply for line {answered} to the request for line {asked}, taken for its answer")
            }
            Self::WideLevel(line) => {
                write!(f, "a level of line {line} that is neither 0 nor 1, of which bit 0 was taken")
            }
            Self::UnwatchedLevel(line) => write!(f, "a level of line {line}, which is not watched"),
            Self::StaleEvent(line) => write!(f, "an event of line {line}, whose interrupt is off"),
            Self::EmptyEvent(line) => write!(f, "an event buffer of line {line} came back without an interrupt"),
            Self::SpuriousInterrupt => f.write_str("an interrupt without a reason"),
            Self::LostInterrupt => f.write_str("an interrupt was lost; what it was for was found by looking"),
        }
    }
}

/// What a drain does about interrupts when it has taken everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interrupts {
    /// The device is asked for one at the next thing that it has to say.
    Wanted,
    /// Those for answers stay on or off, as they are; edges are always worth one.
    AsTheyAre,
}

/// What came over the queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// The answer to a request.
    Answer { slot: u16, result: Result<Value, Error>, oddity: Option<Oddity> },
    /// A request's memory is the driver's again.
    Returned { slot: u16 },
    /// The ratified protocol: a line's event buffer is the driver's again; `true` if it carries an interrupt.
    Event { line_slot: u16, interrupt: bool },
    /// The draft: the device says that a line has a new level.
    LevelChange { line: LineId, level: Level, oddity: Option<Oddity> },
    /// See there.
    Odd(Oddity),
}

/// The link to the device: one of the two protocols on its two queues.
#[derive(Debug)]
pub(crate) enum Dialect<'a> {
    Ratified(ratified::Link<'a>),
    Draft(draft::Link<'a>),
}

impl<'a> Dialect<'a> {
    /// The dialect with its queues laid out as `layout` says. `in_flight` bounds the draft's requests under way.
    pub(crate) fn new(
        protocol: Protocol,
        layout: DmaLayout,
        first: &'a mut [DescriptorSlot],
        second: &'a mut [DescriptorSlot],
        in_flight: u16,
    ) -> Self {
        match protocol {
            Protocol::Ratified => Self::Ratified(ratified::Link::new(layout, first, second)),
            Protocol::Draft => Self::Draft(draft::Link::new(layout, first, second, in_flight)),
        }
    }

    pub(crate) fn protocol(&self) -> Protocol {
        match self {
            Self::Ratified(_) => Protocol::Ratified,
            Self::Draft(_) => Protocol::Draft,
        }
    }

    /// The completions that both queues can hold: a ratified device's are of two descriptors each, a draft device's of one.
    pub(crate) fn completions(&mut self) -> u32 {
        let descriptors = self.queues().fold(0u32, |sum, queue| sum.saturating_add(queue.size().into()));
        match self.protocol() {
            Protocol::Ratified => descriptors / 2,
            Protocol::Draft => descriptors,
        }
    }

    /// The queues that are to be set up, in order.
    pub(crate) fn queues(&mut self) -> impl Iterator<Item = &mut Queue<'a>> {
        match self {
            Self::Ratified(link) => link.queues(),
            Self::Draft(link) => link.queues(),
        }
        .into_iter()
        .flatten()
    }

    /// Starts anew after a reset of the device, before `DRIVER_OK`; posts the buffers that must be there from the start.
    pub(crate) fn reset<M: DmaMemory, F: Fence>(&mut self, bus: Bus<'_, M, F>, event_index: bool) {
        for queue in self.queues() {
            queue.reset(bus.shared, event_index);
        }
        if let Self::Draft(link) = self {
            link.restart(bus);
        }
    }

    /// Whether the operation takes a message at all; one that does not succeeds at once.
    pub(crate) fn takes_message(&self, operation: Operation) -> bool {
        match self {
            Self::Ratified(_) => ratified::request(operation, LineId(0), 0).is_some(),
            Self::Draft(_) => draft::request(operation, LineId(0)).is_some(),
        }
    }

    /// Sends the message that a request slot's operation has reached. `false` if there is no room at present.
    pub(crate) fn send<M: DmaMemory, F: Fence>(
        &mut self,
        bus: Bus<'_, M, F>,
        slot: u16,
        requests: &RequestTable<'_>,
    ) -> bool {
        match self {
            Self::Ratified(link) => link.send(bus, slot, requests),
            Self::Draft(link) => link.send(bus, slot, requests),
        }
    }

    /// Whether a successful answer to this step of an operation leaves a further message to be sent.
    pub(crate) fn has_step_after(&self, operation: Operation, step: u8) -> bool {
        match self {
            Self::Ratified(_) => ratified::request(operation, LineId(0), step.saturating_add(1)).is_some(),
            Self::Draft(_) => false,
        }
    }

    /// Bytes of the names block that the device has written in answer to a request; the draft has none for it.
    pub(crate) fn names_written(&self) -> u32 {
        match self {
            Self::Ratified(link) => link.names_written(),
            Self::Draft(_) => 0,
        }
    }

    /// How many lines can be watched at once; `None` if there is no limit.
    pub(crate) fn watch_limit(&self) -> Option<u16> {
        match self {
            Self::Ratified(link) => Some(link.watch_limit()),
            Self::Draft(_) => None,
        }
    }

    /// Unmasks a watched line. `false` if the event queue has no room. Nothing to do in the draft.
    pub(crate) fn arm<M: DmaMemory, F: Fence>(&mut self, bus: Bus<'_, M, F>, line_slot: u16, line: LineId) -> bool {
        match self {
            Self::Ratified(ratified) => ratified.arm(bus, line_slot, line),
            Self::Draft(_) => true,
        }
    }

    /// Descriptors that lie with the device for whatever it may report, where so many lines are armed.
    pub(crate) fn standing_descriptors(&self, armed_lines: usize) -> u32 {
        match self {
            Self::Ratified(_) => u32::try_from(armed_lines.saturating_mul(2)).unwrap_or(u32::MAX),
            Self::Draft(link) => link.receive_buffers().into(),
        }
    }

    /// Takes the next thing that came. A queue that the device broke is named.
    pub(crate) fn next<M: DmaMemory, F: Fence>(
        &mut self,
        bus: Bus<'_, M, F>,
        requests: &RequestTable<'_>,
        interrupts: Interrupts,
    ) -> Result<Option<Arrival>, (u16, RingViolation)> {
        match self {
            Self::Ratified(link) => link.next(bus, requests, interrupts),
            Self::Draft(link) => link.next(bus, requests, interrupts),
        }
    }

    /// Tells the device that answers are worth no interrupt: somebody looks for them. Edges go on interrupting, because
    /// what the application does about them may be its interrupt handler's business. The draft has edges and answers in
    /// one queue, so that only the return of messages goes without an interrupt there.
    pub(crate) fn suppress_interrupts<M: DmaMemory, F: Fence>(&mut self, bus: Bus<'_, M, F>) {
        match self {
            Self::Ratified(link) => link.suppress_interrupts(bus),
            Self::Draft(link) => link.suppress_interrupts(bus),
        }
    }

    /// Asks for interrupts though not everything was taken: at whatever comes from now on.
    pub(crate) fn rearm_interrupts<M: DmaMemory, F: Fence>(&mut self, bus: Bus<'_, M, F>) {
        for queue in self.queues() {
            queue.rearm_interrupt_behind_used(bus);
        }
    }

    /// Whether [`next`](Self::next) would find something.
    pub(crate) fn has_news<M: DmaMemory, F: Fence>(&self, bus: Bus<'_, M, F>) -> bool {
        match self {
            Self::Ratified(link) => link.has_news(bus),
            Self::Draft(link) => link.has_news(bus),
        }
    }
}
