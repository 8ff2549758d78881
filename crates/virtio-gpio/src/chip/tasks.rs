//! What a chip does for tasks: the steps of futures. Each looks, and registers the task in the same critical section if there
//! is nothing yet. None waits.

use ::core::task::{Poll, Waker};

use super::core::Core;
use super::lines::{Capture, Rearm};
use super::requests::{Owner, Ticket};
use super::waiters::Until;
use super::{Chip, Submitted};
use crate::clock::{Clock, Instant};
use crate::dialect::{Operation, Value};
use crate::error::Error;
use crate::messages::{InterruptType, LineId};
use crate::platform::Platform;

/// How far a request is that a task waits for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Progress {
    /// Not sent: there was no room, or nobody has tried. The time by which it must be, from the first try on.
    Unsent {
        deadline: Option<Instant>,
    },
    Sent(Ticket),
    /// The result was handed over.
    Over,
}

/// A chip, as the futures of its pins know it.
pub(crate) trait Tasks: Sync {
    /// Sends a request as soon as there is room, and gives its result.
    fn poll_run(
        &self,
        line_slot: u16,
        operation: Operation,
        progress: &mut Progress,
        waker: &Waker,
    ) -> Poll<Result<Value, Error>>;

    /// The result of a request.
    fn poll_answer(&self, ticket: Ticket, waker: &Waker) -> Poll<Result<Value, Error>>;

    /// Nobody waits for a request any more. What changes what a line is used for is taken back, as after a time-out.
    fn abandon(&self, ticket: Ticket);

    /// From here on the line's edges are a task's. Gives the interrupt type that the line has now, and whether it is being
    /// ended after a time-out.
    fn capture(&self, line_slot: u16) -> Result<(InterruptType, bool), Error>;

    /// The interrupt type that the line has now.
    fn interrupt(&self, line_slot: u16) -> Result<InterruptType, Error>;

    /// The level that was known is no longer to be relied on.
    fn forget_level(&self, line_slot: u16);

    /// The line is to be armed as soon as the device has confirmed its interrupt type.
    fn prepare_to_watch(&self, line_slot: u16);

    /// The device has.
    fn start_watching(&self, line_slot: u16);

    /// Edges of that kind count from here on.
    fn expect_edge(&self, line_slot: u16, kind: InterruptType);

    /// Such an edge.
    fn poll_edge(&self, line_slot: u16, waker: &Waker) -> Poll<Result<(), Error>>;

    /// Edges do not count any more.
    fn ignore_edges(&self, line_slot: u16);
}

impl<P: Platform> Chip<'_, P> {
    /// Does something that leads to a result or to waiting.
    fn step<T>(
        &self,
        waker: &Waker,
        step: impl FnOnce(&mut Core<'_, P>) -> Result<Result<T, Error>, Until>,
    ) -> Poll<Result<T, Error>> {
        let mut gives_way = None;
        let result = self.try_with(|core| match step(core) {
            Ok(result) => Poll::Ready(result),
            Err(until) => {
                gives_way = critical_section::with(|section| self.waiters.register(section, until, waker));
                Poll::Pending
            }
        });
        if let Some(other) = gives_way {
            other.wake();
        }
        match result {
            Ok(poll) => poll,
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Takes a line into use. Waits until the device may hear of it.
    pub(crate) fn poll_take_line(
        &self,
        line: LineId,
        deadline: &mut Option<Instant>,
        waker: &Waker,
    ) -> Poll<Result<u16, Error>> {
        if line.0 >= self.info.lines {
            return Poll::Ready(Err(Error::NoSuchLine { line, lines: self.info.lines }));
        }
        let now = self.clock.now();
        let deadline = *deadline.get_or_insert(now.after(self.info.timeout));
        self.step(waker, |core| {
            core.poll(now);
            match core.take_line(line) {
                Err(Error::Busy) if now < deadline => Err(Until::Room { progress: core.requests.progress(), deadline }),
                taken => Ok(taken),
            }
        })
    }

    /// Waits until there is an event for the application.
    pub(crate) fn poll_event(&self, waker: &Waker) -> Poll<Result<super::Event, Error>> {
        let now = self.clock.now();
        self.step(waker, |core| {
            core.poll(now);
            match core.next_event(now) {
                Some(event) => Ok(Ok(event)),
                None if core.health.has_failed() => Ok(Err(Error::ChipFailed)),
                None => Err(Until::Event),
            }
        })
    }

    /// The edges of a line are the application's again.
    pub(super) fn leave_events_to_the_application(&self, line_slot: u16) -> Result<(), Error> {
        self.try_with(|core| {
            if let Some(record) = core.lines.get_mut(line_slot) {
                record.capture = Capture::Off;
            }
            core.lines.update_claim(line_slot);
        })
    }
}

impl<P: Platform> Tasks for Chip<'_, P> {
    fn poll_run(
        &self,
        line_slot: u16,
        operation: Operation,
        progress: &mut Progress,
        waker: &Waker,
    ) -> Poll<Result<Value, Error>> {
        let now = self.clock.now();
        let deadline = match *progress {
            Progress::Unsent { deadline } => deadline.unwrap_or(now.after(self.info.timeout)),
            Progress::Sent(ticket) => {
                let polled = self.poll_answer(ticket, waker);
                if polled.is_ready() {
                    *progress = Progress::Over;
                }
                return polled;
            }
            Progress::Over => return Poll::Ready(Err(Error::OutcomeUnknown)),
        };
        *progress = Progress::Unsent { deadline: Some(deadline) };
        let polled = self.step(waker, |core| {
            let submitted = core.submit(line_slot, operation, Owner::Holder, now);
            core.notify();
            match submitted {
                Err(Error::Busy) if now < deadline => {
                    let progress = core.requests.progress();
                    core.poll(now);
                    Err(Until::Room { progress, deadline })
                }
                Ok(Submitted::Ticket(ticket)) => {
                    *progress = Progress::Sent(ticket);
                    Err(Until::Answer(ticket))
                }
                Ok(Submitted::Done(result)) => Ok(result),
                Err(error) => Ok(Err(error)),
            }
        });
        if polled.is_ready() {
            *progress = Progress::Over;
        }
        polled
    }

    fn poll_answer(&self, ticket: Ticket, waker: &Waker) -> Poll<Result<Value, Error>> {
        let now = self.clock.now();
        self.step(waker, |core| {
            core.poll(now);
            core.requests.take(ticket).ok_or(Until::Answer(ticket))
        })
    }

    fn abandon(&self, ticket: Ticket) {
        let now = self.clock.now();
        self.with(|core| {
            let request = core.requests.find_under_way(ticket);
            core.requests.abandon(ticket);
            let Some(request) = request else { return };
            if let Some(record) = core.record_of(&request) {
                record.made_unsure_by(request.operation);
                core.lines.owes(request.target.line_slot);
            }
            core.finish_round(now);
        });
        self.stop_waiting(Until::Answer(ticket));
    }

    fn capture(&self, line_slot: u16) -> Result<(InterruptType, bool), Error> {
        if !self.info.interrupts {
            return Err(Error::NoInterrupts);
        }
        self.try_with(|core| {
            let record = core.lines.get_mut(line_slot).filter(|record| !record.lost).ok_or(Error::LineLost)?;
            record.capture = Capture::Idle;
            let interrupt = (record.interrupt, record.interrupt_unsure);
            // It may have waited for room in the application's queue.
            core.lines.owes(line_slot);
            Ok(interrupt)
        })?
    }

    fn interrupt(&self, line_slot: u16) -> Result<InterruptType, Error> {
        self.try_with(|core| core.lines.get(line_slot).map(|record| record.interrupt).ok_or(Error::LineLost))?
    }

    fn forget_level(&self, line_slot: u16) {
        self.with(|core| core.lines.get_mut(line_slot).map(|record| record.last = None));
    }

    fn prepare_to_watch(&self, line_slot: u16) {
        self.with(|core| core.lines.get_mut(line_slot).map(|record| record.rearm = Rearm::Soon));
    }

    fn start_watching(&self, line_slot: u16) {
        let now = self.clock.now();
        self.with(|core| core.start_watching(line_slot, now));
    }

    fn expect_edge(&self, line_slot: u16, kind: InterruptType) {
        let now = self.clock.now();
        self.with(|core| {
            // What has come is from before.
            core.poll(now);
            if let Some(record) = core.lines.get_mut(line_slot) {
                record.question.wait_begins();
                record.capture = Capture::Waiting(kind);
            }
        });
    }

    fn poll_edge(&self, line_slot: u16, waker: &Waker) -> Poll<Result<(), Error>> {
        let now = self.clock.now();
        self.step(waker, |core| {
            core.poll(now);
            if core.health.has_failed() {
                return Ok(Err(Error::ChipFailed));
            }
            match core.lines.get(line_slot) {
                Some(record) if !record.lost && record.capture == Capture::Seen => Ok(Ok(())),
                Some(record) if !record.lost && record.watched() => Err(Until::Edge { line_slot }),
                _ => Ok(Err(Error::LineLost)),
            }
        })
    }

    fn ignore_edges(&self, line_slot: u16) {
        self.with(|core| {
            if let Some(record) = core.lines.get_mut(line_slot)
                && record.capture != Capture::Off
            {
                record.capture = Capture::Idle;
            }
        });
        self.stop_waiting(Until::Edge { line_slot });
    }
}
