//! What comes from the device: interrupts, and what is in the queues; whether somebody looks for it by himself, and what it
//! means that he finds it before its interrupt comes.

use ::core::time::Duration;

use super::core::{Core, bus};
use crate::clock::Instant;
use crate::dialect::{Arrival, Interrupts, Oddity};
use crate::error::Fault;
use crate::fence::Fence;
use crate::platform::Platform;
use crate::queue::Bus;
use crate::transport::{InterruptStatus, Transport};

impl<P: Platform> Core<'_, P> {
    /// Handles an interrupt: acknowledges first and drains then, so that what comes in between raises a new one.
    /// Returns whether it was this device's.
    pub(super) fn handle_interrupt(&mut self, now: Instant) -> bool {
        let raised = self.acknowledge(now);
        // What came between the interrupt and its acknowledgement was acknowledged with it, though the interrupt
        // controller may have noted it as another one.
        let explained = ::core::mem::replace(&mut self.interrupt_cleared, raised);
        // Also where the reason was taken away before: nobody else may look for what came since.
        let found = (raised || self.has_news()) && self.take_what_came(now);
        if raised {
            self.statistics.interrupts = self.statistics.interrupts.wrapping_add(1);
        }
        if raised || explained || found {
            self.missing_since = None;
        } else {
            self.odd(Oddity::SpuriousInterrupt);
        }
        raised
    }

    /// The interrupt's handler is in place: takes what came before, and lowers the line.
    pub(super) fn interrupt_enabled(&mut self, now: Instant) {
        // The interrupt controller may have noted it already, and calls the handler for it.
        self.interrupt_cleared |= self.acknowledge(now);
        self.take_what_came(now);
    }

    /// Takes the reason of an interrupt away, if there is one, and hears what it says of the device as a whole. The queues
    /// are to be looked at behind that: for what came before, no interrupt comes any more.
    pub(super) fn acknowledge(&mut self, now: Instant) -> bool {
        let status = self.transport.acknowledge_interrupt();
        self.fence.after_interrupt();
        if status.contains(InterruptStatus::CONFIG_CHANGE) {
            self.check_status(now);
        }
        !status.is_empty()
    }

    /// Drains the queues and does what follows from it. Returns whether there was anything.
    fn take_what_came(&mut self, now: Instant) -> bool {
        let found = self.health.has_live_device() && self.drain(now);
        self.finish_round(now);
        found
    }

    /// The interrupt for something that was found by looking did not come: on a busy host it may be late for a while.
    pub(super) fn note_lost_interrupt(&mut self, now: Instant) {
        if self.missing_since.is_some_and(|since| now >= since.after(self.options.timeout)) {
            self.missing_since = None;
            self.odd(Oddity::LostInterrupt);
        }
    }

    /// Whether there is something in the queues to be taken, or a slot to go on with.
    pub(super) fn has_news(&self) -> bool {
        self.health.has_live_device() && (self.dialect.has_news(bus!(self)) || self.has_slot_to_restore())
    }

    /// Somebody is going to wait for what is sent next, or for room: for how long he is to look, as long as nothing comes, if
    /// at all. Interrupts for answers are off then, until the next [`poll`](Self::poll) or interrupt.
    pub(super) fn announce(&mut self) -> Option<Duration> {
        let look = self.health.is_running().then(|| self.patience.look_unlearnt()).flatten();
        self.switch_interrupts_off(look)
    }

    /// As [`announce`](Self::announce), for a caller who tells [`super::patience`] how long it took.
    pub(super) fn begin_look(&mut self) -> Option<Duration> {
        let look = self.health.is_running().then(|| self.patience.look_for()).flatten();
        self.switch_interrupts_off(look)
    }

    fn switch_interrupts_off(&mut self, look: Option<Duration>) -> Option<Duration> {
        // Whoever looks may take the answer that another one sleeps for, and nothing but its interrupt wakes that one.
        if look.is_some() && self.sleepers == 0 && self.requests.slept_for() == 0 {
            self.interrupts_off = true;
            self.dialect.suppress_interrupts(bus!(self));
        }
        look
    }

    /// Takes what came and sends what follows from it, and leaves interrupts as they are.
    pub(super) fn look(&mut self, now: Instant) {
        if self.has_news() {
            self.take_all(Interrupts::AsTheyAre, now);
            self.finish_round(now);
        }
    }

    /// Takes what came, and asks for interrupts. Returns whether there was anything.
    pub(super) fn drain(&mut self, now: Instant) -> bool {
        self.interrupts_off = false;
        self.take_all(Interrupts::Wanted, now)
    }

    fn take_all(&mut self, interrupts: Interrupts, now: Instant) -> bool {
        self.drain_cut = false;
        for round in 0..self.drain_limit {
            match self.dialect.next(bus!(self), &self.requests, interrupts) {
                Ok(Some(arrival)) => self.take(arrival, now),
                Ok(None) => return round > 0,
                Err((queue, violation)) => {
                    self.begin_recovery(Fault::Ring { queue, violation }, now);
                    return true;
                }
            }
            if !self.health.has_live_device() {
                return true;
            }
        }
        self.drain_cut = true;
        self.dialect.rearm_interrupts(bus!(self));
        true
    }

    fn take(&mut self, arrival: Arrival, now: Instant) {
        match arrival {
            Arrival::Answer { slot, result, oddity } => {
                if let Some(oddity) = oddity {
                    self.odd(oddity);
                }
                self.answered(slot, result, now);
            }
            Arrival::Returned { slot } => self.requests.returned(slot),
            Arrival::Event { line_slot, interrupt } => self.event_returned(line_slot, interrupt, now),
            Arrival::LevelChange { line, level, oddity } => {
                if let Some(oddity) = oddity {
                    self.odd(oddity);
                }
                self.level_changed(line, level, now);
            }
            Arrival::Odd(oddity) => self.odd(oddity),
        }
    }
}
