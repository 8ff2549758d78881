//! Waiting for answers, around the state machine: looking for them by itself for a while, then sleeping until the
//! interrupt.

use super::core::Core;
use super::{Chip, Submitted};
use crate::clock::{Clock, Instant};
use crate::dialect::{Operation, Value};
use crate::error::Error;
use crate::platform::Platform;

impl<P: Platform> Chip<'_, P> {
    /// Does one operation and waits for its end.
    pub(super) fn run(&self, line_slot: u16, operation: Operation) -> Result<Value, Error> {
        let deadline = self.clock.now().after(self.info.timeout);
        loop {
            let now = self.clock.now();
            let (submitted, look, progress) = self.try_with(|core| {
                // Before the request: so the device sees that no interrupt is wanted.
                let look = core.begin_look(now);
                let submitted = core.submit(line_slot, operation, now);
                core.notify();
                (submitted, look, core.requests.progress())
            })?;
            match submitted {
                Err(Error::Busy) if now < deadline => self.wait_for_progress(progress, deadline),
                Err(error) => {
                    self.poll();
                    return Err(error);
                }
                Ok(submitted) => return self.wait_from(submitted, now, look),
            }
        }
    }

    /// Something else must end first: waits until a request has ended, until something is due, or until the deadline.
    /// `progress` is the table's from the moment at which there was nothing for it but to wait.
    pub(super) fn wait_for_progress(&self, progress: u32, deadline: Instant) {
        let now = self.clock.now();
        if let Some(until) = self.with(|core| core.announce(now)) {
            self.look(now, until, |core| core.requests.progress() != progress);
        }
        self.poll();
        let wake = self.next_deadline().map_or(deadline, |due| due.min(deadline));
        self.clock.wait(wake, &|| self.with(|core| !core.has_news() && core.requests.progress() == progress));
    }

    /// Looks for what comes until `done` or until the time is over. Returns the present.
    fn look(&self, mut now: Instant, until: Instant, done: impl Fn(&Core<'_, P>) -> bool) -> Instant {
        let look = |now| {
            self.with(|core| {
                core.look(now);
                done(core)
            })
        };
        while now < until && !look(now) {
            self.clock.relax();
            now = self.clock.now();
        }
        now
    }

    pub(super) fn wait(&self, submitted: Submitted) -> Result<Value, Error> {
        let now = self.clock.now();
        let look = self.with(|core| core.begin_look(now));
        self.wait_from(submitted, now, look)
    }

    /// Waits for the end of a request. Where that begins with looking, interrupts are off; the last step, and every step
    /// before a sleep, is a poll, which switches them on.
    fn wait_from(&self, submitted: Submitted, since: Instant, look: Option<Instant>) -> Result<Value, Error> {
        let ticket = match submitted {
            Submitted::Done(result) => {
                self.poll();
                return result;
            }
            Submitted::Ticket(ticket) => ticket,
        };
        let mut now = since;
        if let Some(until) = look {
            now = self.look(since, until, |core| core.requests.is_done(ticket));
        }
        loop {
            let (taken, wake) = self.try_with(|core| {
                core.poll(now);
                let taken = core.requests.take(ticket);
                if taken.is_some_and(|result| !matches!(result, Err(Error::Timeout | Error::OutcomeUnknown))) {
                    core.patience.learn(look.is_some(), now.since(since));
                }
                (taken, core.next_deadline())
            })?;
            if let Some(result) = taken {
                return result;
            }
            // There always is one: the request's own.
            let wake = wake.unwrap_or(now);
            self.clock.wait(wake, &|| self.with(|core| !core.has_news() && !core.requests.is_done(ticket)));
            now = self.clock.now();
        }
    }
}
