//! What pins can do with their chip, without its type parameters.

use ::core::fmt;

use super::core::Core;
use super::lines::{Rearm, Use};
use super::requests::{Owner, Ticket};
#[cfg(feature = "async")]
use super::tasks::Tasks;
#[cfg(feature = "async")]
use super::waiters::Until;
use super::{Chip, Submitted};
use crate::clock::{Clock, Instant};
use crate::dialect::{Operation, Value};
use crate::error::Error;
use crate::messages::{InterruptType, Level};
use crate::platform::Platform;

/// A chip, as its pins know it.
pub(crate) trait Lines: Sync + fmt::Debug {
    fn run(&self, line_slot: u16, operation: Operation) -> Result<Value, Error>;
    fn submit(&self, line_slot: u16, operation: Operation) -> Result<Submitted, Error>;
    /// Takes a few steps with interrupts masked once.
    fn hold(&self, steps: &mut dyn FnMut(&mut dyn Steps)) -> Result<(), Error>;
    /// Makes a request available without notifying the device.
    fn enqueue(&self, line_slot: u16, operation: Operation, now: Instant) -> Result<Submitted, Error>;
    fn now(&self) -> Instant;
    fn notify(&self);
    /// Somebody is going to wait for what is sent next: where that begins with polling, answers need no interrupt from
    /// here on, until somebody has waited, or until [`poll`](Self::poll). Returns the present.
    fn announce(&self) -> Instant;
    /// Does what is due, asks for interrupts, and notifies the device.
    fn poll(&self);
    fn is_done(&self, ticket: Ticket) -> bool;
    fn take(&self, ticket: Ticket) -> Option<Result<Value, Error>>;
    fn wait(&self, submitted: Submitted) -> Result<Value, Error>;
    /// By when a request that begins now has ended.
    fn deadline(&self) -> Instant;
    /// Changes with whatever may have made room for a request.
    fn progress(&self) -> u32;
    /// Waits until `progress` is no longer current, and for half of the request slots where they become free soon. `false` if
    /// there was no progress by the deadline.
    fn wait_for_room(&self, progress: u32, deadline: Instant) -> bool;
    fn abandon(&self, ticket: Ticket);
    fn watch(&self, line_slot: u16, kind: InterruptType) -> Result<(), Error>;
    fn unmask(&self, line_slot: u16);
    fn output_level(&self, line_slot: u16) -> Option<Level>;
    fn heard_level(&self, line_slot: u16) -> Option<Level>;
    fn forget(&self, line_slot: u16);
    /// The same chip for tasks that wait for it.
    #[cfg(feature = "async")]
    fn tasks(&self) -> &dyn Tasks;
}

/// What can be done several times while interrupts are masked.
pub(crate) trait Steps {
    /// As [`Lines::enqueue`].
    fn enqueue(&mut self, line_slot: u16, operation: Operation, now: Instant) -> Result<Submitted, Error>;
    /// As [`Lines::take`].
    fn take(&mut self, ticket: Ticket) -> Option<Result<Value, Error>>;
    /// As [`Lines::progress`].
    fn progress(&self) -> u32;
}

impl<P: Platform> Steps for Core<'_, P> {
    fn enqueue(&mut self, line_slot: u16, operation: Operation, now: Instant) -> Result<Submitted, Error> {
        self.submit(line_slot, operation, Owner::Caller, now)
    }

    fn take(&mut self, ticket: Ticket) -> Option<Result<Value, Error>> {
        self.requests.take(ticket)
    }

    fn progress(&self) -> u32 {
        self.requests.progress()
    }
}

impl<P: Platform> Lines for Chip<'_, P> {
    fn run(&self, line_slot: u16, operation: Operation) -> Result<Value, Error> {
        self.run(line_slot, operation)
    }

    fn submit(&self, line_slot: u16, operation: Operation) -> Result<Submitted, Error> {
        let now = self.clock.now();
        self.try_with(|core| {
            let submitted = core.submit(line_slot, operation, Owner::Holder, now);
            core.notify();
            submitted
        })?
    }

    fn hold(&self, steps: &mut dyn FnMut(&mut dyn Steps)) -> Result<(), Error> {
        self.try_with(|core| steps(core))
    }

    fn enqueue(&self, line_slot: u16, operation: Operation, now: Instant) -> Result<Submitted, Error> {
        self.try_with(|core| core.submit(line_slot, operation, Owner::Holder, now))?
    }

    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn notify(&self) {
        Chip::notify(self);
    }

    fn announce(&self) -> Instant {
        self.with(Core::announce);
        self.clock.now()
    }

    fn poll(&self) {
        Chip::poll(self);
    }

    fn deadline(&self) -> Instant {
        self.clock.now().after(self.info.timeout)
    }

    fn progress(&self) -> u32 {
        self.with(|core| core.requests.progress())
    }

    fn wait_for_room(&self, progress: u32, deadline: Instant) -> bool {
        let half = self.with(|core| u16::try_from(core.requests.capacity() / 2).unwrap_or(u16::MAX));
        while self.progress() == progress {
            if self.clock.now() >= deadline {
                return false;
            }
            self.wait_for_progress(progress, deadline, half);
        }
        true
    }

    fn is_done(&self, ticket: Ticket) -> bool {
        self.with(|core| core.requests.is_done(ticket))
    }

    fn take(&self, ticket: Ticket) -> Option<Result<Value, Error>> {
        self.with(|core| core.requests.take(ticket))
    }

    fn wait(&self, submitted: Submitted) -> Result<Value, Error> {
        self.wait(submitted)
    }

    fn abandon(&self, ticket: Ticket) {
        self.with(|core| core.requests.abandon(ticket));
        // A task may have polled it.
        #[cfg(feature = "async")]
        self.stop_waiting(Until::Answer(ticket));
    }

    fn watch(&self, line_slot: u16, kind: InterruptType) -> Result<(), Error> {
        if !self.info.interrupts {
            return Err(Error::NoInterrupts);
        }
        #[cfg(feature = "async")]
        self.leave_events_to_the_application(line_slot)?;
        let current =
            self.with(|core| core.lines.get(line_slot).map(|record| (record.interrupt, record.interrupt_unsure)));
        let Some((current, unsure)) = current else { return Err(Error::LineLost) };
        if current == kind && !unsure {
            return Ok(());
        }
        if current != InterruptType::None {
            // A type is only changed by way of NONE (VIRTIO 1.2, 5.18.6.8).
            self.run(line_slot, Operation::SetInterruptType(InterruptType::None))?;
        }
        if kind == InterruptType::None {
            return Ok(());
        }
        // Before anything is sent in vain. It is looked at again when the type is sent.
        self.try_with(|core| core.room_to_watch(line_slot))??;
        // The level that the first edge leads away from. A device that refuses to tell it can still interrupt.
        self.with(|core| core.lines.get_mut(line_slot).map(|record| record.last = None));
        if let Err(error) = self.run(line_slot, Operation::GetValue)
            && !error.is_answer()
        {
            return Err(error);
        }
        self.with(|core| core.lines.get_mut(line_slot).map(|record| record.rearm = Rearm::Soon));
        self.run(line_slot, Operation::SetInterruptType(kind))?;
        let now = self.clock.now();
        self.with(|core| core.start_watching(line_slot, now));
        Ok(())
    }

    fn unmask(&self, line_slot: u16) {
        let now = self.clock.now();
        self.with(|core| {
            core.unmask(line_slot, now);
            core.poll(now);
        });
    }

    fn output_level(&self, line_slot: u16) -> Option<Level> {
        self.with(|core| match core.lines.get(line_slot)?.usage {
            Use::Output(level) => Some(level),
            Use::Input | Use::Unconfigured => None,
        })
    }

    fn heard_level(&self, line_slot: u16) -> Option<Level> {
        self.with(|core| core.lines.get(line_slot)?.last)
    }

    fn forget(&self, line_slot: u16) {
        let now = self.clock.now();
        self.with(|core| core.forget(line_slot, now));
    }

    #[cfg(feature = "async")]
    fn tasks(&self) -> &dyn Tasks {
        self
    }
}
