//! Waiting for answers, around the state machine: looking for them by itself for a while, then sleeping until the
//! interrupt.

use ::core::time::Duration;

use super::core::Core;
use super::requests::{Owner, Ticket};
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
                let look = core.begin_look();
                let submitted = core.submit(line_slot, operation, Owner::Caller, now);
                core.notify();
                (submitted, look, core.requests.progress())
            })?;
            match submitted {
                Err(Error::Busy) if now < deadline => self.wait_for_progress(progress, deadline, u16::MAX),
                Err(error) => {
                    self.poll();
                    return Err(error);
                }
                Ok(submitted) => return self.wait_from(submitted, now, look),
            }
        }
    }

    /// Something else must end first: waits until a request has ended, until something is due, or until the deadline.
    /// `progress` is the table's from the moment at which there was nothing for it but to wait. Whoever looks meanwhile does
    /// so until no more than `under_way` requests are under way, as long as more of them end.
    pub(super) fn wait_for_progress(&self, progress: u32, deadline: Instant, under_way: u16) {
        let now = self.clock.now();
        if let Some(length) = self.with(Core::announce) {
            self.look(now, length, |core, _, _| {
                (core.requests.progress() != progress && core.requests.under_way() <= under_way).then_some(())
            });
        }
        let now = self.clock.now();
        let due = self.with(|core| {
            core.poll(now);
            core.sleepers = core.sleepers.saturating_add(1);
            core.next_deadline()
        });
        #[cfg(feature = "async")]
        self.wake_overdue(now);
        #[cfg(feature = "async")]
        let due = due.into_iter().chain(self.next_overdue()).min();
        let wake = due.map_or(deadline, |due| due.min(deadline));
        self.clock.wait(wake, &|| self.with(|core| !core.has_news() && core.requests.progress() == progress));
        self.with(|core| core.sleepers = core.sleepers.saturating_sub(1));
    }

    /// Looks for what comes until `done` has a result, until nothing has come for so long, or until something is due. `done`
    /// is told the present, and for how long nothing came at most. Returns its result, and the present.
    fn look<R>(
        &self,
        begin: Instant,
        length: Duration,
        done: impl Fn(&mut Core<'_, P>, Instant, Duration) -> Option<R>,
    ) -> (Option<R>, Instant) {
        let (mut now, mut since, mut longest) = (begin, begin, Duration::ZERO);
        // What comes counts only where it leaves fewer requests under way than ever: a device that keeps the driver busy
        // with something else does not keep the caller here.
        let mut fewest = None;
        while now.since(since) < length {
            longest = longest.max(now.since(since));
            let (result, under_way, is_due) = self.with(|core| {
                core.look(now);
                (done(core, now, longest), core.requests.under_way(), core.requests.is_due(now))
            });
            if result.is_some() || is_due {
                return (result, now);
            }
            if fewest.is_some_and(|fewest| under_way < fewest) {
                since = now;
            }
            fewest = Some(fewest.map_or(under_way, |fewest: u16| fewest.min(under_way)));
            self.clock.relax();
            now = self.clock.now();
        }
        (None, now)
    }

    pub(super) fn wait(&self, submitted: Submitted) -> Result<Value, Error> {
        let now = self.clock.now();
        let look = self.with(|core| {
            if let Submitted::Ticket(ticket) = submitted {
                core.requests.attend(ticket);
            }
            core.begin_look()
        });
        self.wait_from(submitted, now, look)
    }

    /// Waits for the end of a request. Where that begins with looking, interrupts are off; the last step, and every step
    /// before a sleep, is a poll, which switches them on.
    fn wait_from(&self, submitted: Submitted, since: Instant, look: Option<Duration>) -> Result<Value, Error> {
        let ticket = match submitted {
            Submitted::Done(result) => {
                self.poll();
                return result;
            }
            Submitted::Ticket(ticket) => ticket,
        };
        let mut now = since;
        if let Some(length) = look {
            let (result, end) = self.look(since, length, |core, now, longest| {
                core.requests.is_done(ticket).then(|| core.conclude(ticket, now, true, longest)).flatten()
            });
            if let Some(result) = result {
                return result;
            }
            now = end;
        }
        let mut slept = 0;
        loop {
            let (result, wake) = self.try_with(|core| {
                core.sleepers = core.sleepers.saturating_sub(slept);
                let result = core.conclude(ticket, now, look.is_some(), now.since(since));
                slept = u16::from(result.is_none());
                core.sleepers = core.sleepers.saturating_add(slept);
                (result, core.next_deadline())
            })?;
            if let Some(result) = result {
                return result;
            }
            // There always is one: the request's own.
            let wake = wake.unwrap_or(now);
            self.clock.wait(wake, &|| self.with(|core| !core.has_news() && !core.requests.is_done(ticket)));
            now = self.clock.now();
        }
    }
}

impl<P: Platform> Core<'_, P> {
    /// Does what is due, which switches interrupts on, and takes the result if there is one. `looked` says how the wait for it
    /// began, and `took` how long that way of waiting would have had to last.
    fn conclude(&mut self, ticket: Ticket, now: Instant, looked: bool, took: Duration) -> Option<Result<Value, Error>> {
        self.poll(now);
        let result = self.requests.take(ticket)?;
        if !matches!(result, Err(Error::Timeout | Error::OutcomeUnknown)) {
            self.patience.learn(looked, took);
        }
        Some(result)
    }
}
