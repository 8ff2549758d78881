//! From what the device reports to the events that the application gets: event buffers and their arming, and the draft's
//! level messages. Which edge it was that an event reports is worked out in [`super::reconcile`].

use core::time::Duration;

use super::core::{Core, bus};
use super::events::{Event, Trigger};
use super::lines::{LineSlot, Rearm};
use super::requests::{Asked, Owner};
use crate::clock::Instant;
use crate::dialect::{Oddity, Operation};
use crate::error::Error;
use crate::identify::Protocol;
use crate::messages::{InterruptType, Level, LineId};
use crate::platform::Platform;
use crate::queue::Bus;

/// Empty events in a row that are answered at once; later ones after a pause.
const EMPTY_EVENTS_AT_ONCE: u8 = 3;
/// The first pause, and how often it doubles.
const EMPTY_EVENT_PAUSE: Duration = Duration::from_millis(10);
const EMPTY_EVENT_DOUBLINGS: u8 = 6;

impl<P: Platform> Core<'_, P> {
    /// Takes an event. Lines that waited for its room are armed again by that, and what a drain left is taken where
    /// there is no other event: nobody else may look for long.
    pub(super) fn next_event(&mut self, now: Instant) -> Option<Event> {
        if self.events.is_empty() && self.drain_cut && self.health.has_live_device() {
            self.drain(now);
            self.finish_round(now);
        }
        let was_full = self.events.room() == 0;
        let event = self.events.pop()?;
        // Not at every one: so that lines that waited for room are armed together.
        if was_full || (self.events.is_empty() && self.lines.any_owing()) {
            self.finish_round(now);
        }
        Some(event)
    }

    pub(super) fn deliver(&mut self, line_slot: u16, trigger: Trigger, after_reset: bool, now: Instant) {
        let Some(record) = self.lines.get_mut(line_slot) else { return };
        record.count = record.count.saturating_add(1);
        #[cfg(feature = "async")]
        if record.keeps_events() {
            if !record.question.takes_earlier() {
                record.note_edge(trigger.level());
            }
            self.statistics.events = self.statistics.events.wrapping_add(1);
            return;
        }
        let event = Event {
            line: record.line,
            trigger,
            count: record.count,
            assumed: record.last_is_assumed,
            after_reset,
            at: now,
        };
        if self.events.push(event) {
            self.statistics.events = self.statistics.events.wrapping_add(1);
        } else {
            self.statistics.dropped_events = self.statistics.dropped_events.wrapping_add(1);
        }
    }

    /// The ratified protocol: an event buffer came back (VIRTIO 1.2, 5.18.7).
    pub(super) fn event_returned(&mut self, line_slot: u16, interrupt: bool, now: Instant) {
        self.lines.event_returned(line_slot);
        let Some(record) = self.lines.get_mut(line_slot) else { return };
        let line = record.line;
        if !record.watched() {
            if interrupt {
                self.odd(Oddity::StaleEvent(line));
            }
            return;
        }
        if !interrupt && self.is_switching_off(line_slot) {
            // That is how its buffer comes back then (5.18.7). It is queued again where the interrupt stays on after all.
            if let Some(record) = self.lines.get_mut(line_slot) {
                record.rearm = Rearm::Soon;
            }
            self.lines.owes(line_slot);
            return;
        }
        let Some(record) = self.lines.get_mut(line_slot) else { return };
        if !interrupt {
            // A device may return a buffer that was queued in the wrong moment. One that always does is slowed down.
            record.empty_events = record.empty_events.saturating_add(1);
            let surplus = record.empty_events.saturating_sub(EMPTY_EVENTS_AT_ONCE);
            record.rearm = if surplus == 0 {
                Rearm::Soon
            } else {
                let doublings = surplus.saturating_sub(1).min(EMPTY_EVENT_DOUBLINGS);
                Rearm::At(now.after(EMPTY_EVENT_PAUSE.saturating_mul(1 << doublings)))
            };
            self.odd(Oddity::EmptyEvent(line));
            self.serve_line(line_slot, now);
            return;
        }
        record.empty_events = 0;
        match record.interrupt {
            InterruptType::RisingEdge | InterruptType::FallingEdge => {
                let level = Level::from(record.interrupt == InterruptType::RisingEdge);
                record.last = Some(level);
                record.question.is_overtaken();
                record.rearm = Rearm::Soon;
                self.deliver(line_slot, Trigger::edge_to(level), false, now);
            }
            InterruptType::BothEdges => {
                // The event does not say which edge it was: the level is asked for, while the line is armed again.
                record.question.event_came(now);
                record.rearm = Rearm::Soon;
            }
            InterruptType::HighLevel => self.deliver(line_slot, Trigger::High, false, now),
            InterruptType::LowLevel => self.deliver(line_slot, Trigger::Low, false, now),
            InterruptType::None => (),
        }
        self.serve_line(line_slot, now);
    }

    /// Whether the device was told to switch the line's interrupt off, and has answered neither that nor what it was told
    /// of the interrupt since.
    fn is_switching_off(&self, line_slot: u16) -> bool {
        let off = Operation::SetInterruptType(InterruptType::None);
        let Some(record) = self.lines.get(line_slot) else { return false };
        self.requests.unanswered().any(|(_, request)| {
            let Asked { operation, target, .. } = request.asked;
            operation == off
                && target.line_slot == line_slot
                && target.tenure == record.tenure
                && self.requests.order_of(request) > record.interrupt_order
        })
    }

    /// Serves every line that owes something. What is owed from now on is for the next time.
    pub(super) fn serve_lines(&mut self, now: Instant) {
        let mut owing = self.lines.take_owing();
        while let Some(line_slot) = owing {
            owing = self.lines.next_owing(line_slot);
            self.serve_line(line_slot, now);
        }
    }

    /// Ends the use of a line without waiting. What cannot be sent at once is sent when there is a free request slot.
    pub(super) fn forget(&mut self, line_slot: u16, now: Instant) {
        self.lines.leave(line_slot);
        self.serve_leaving(line_slot, now);
        self.notify();
    }

    /// Sends the messages that end the use of a line; their answers are nobody's. A reset makes them needless, and a
    /// line or a device that was given up would not answer.
    pub(super) fn serve_leaving(&mut self, line_slot: u16, now: Instant) {
        while let Some(record) = self.lines.get_mut(line_slot)
            && !record.lost
            && !self.health.has_failed()
            && let Some(operation) = record.owed_at_end()
        {
            if !self.health.is_running() || self.request(line_slot, operation, Owner::Nobody, now).is_err() {
                self.lines.owes(line_slot);
                return;
            }
            if let Some(record) = self.lines.get_mut(line_slot) {
                record.told_at_end(operation);
            }
        }
        self.lines.release(line_slot);
    }

    /// Queues a line's event buffer again and asks for its level, where that is owed and possible.
    pub(super) fn serve_line(&mut self, line_slot: u16, now: Instant) {
        self.serve_what_is_owed(line_slot, now);
        self.lines.update_claim(line_slot);
    }

    fn serve_what_is_owed(&mut self, line_slot: u16, now: Instant) {
        let Some(record) = self.lines.get(line_slot).copied() else { return };
        if record.leaving() {
            self.serve_leaving(line_slot, now);
            return;
        }
        self.correct(line_slot, now);
        if !record.watched() || !record.enabled || record.lost {
            return;
        }
        self.serve_question(line_slot, now);
        let due = match record.rearm {
            Rearm::No => return,
            Rearm::Soon => true,
            Rearm::At(at) => now >= at,
        };
        // What came and is not explained yet takes room as well, and so does what other lines may bring; unless there never
        // is enough for all of them.
        let others = match self.dialect.protocol() {
            Protocol::Ratified => self.lines.claims_beside(line_slot),
            Protocol::Draft => 0,
        };
        let others = if others < self.events.capacity() { others } else { 0 };
        let taken = others.saturating_add(record.question.events().into());
        let room = record.keeps_events() || self.events.room() > taken;
        let may = due && room && !self.is_switching_off(line_slot);
        let armed = may && (record.armed || self.dialect.arm(bus!(self), line_slot, record.line));
        if let Some(record) = self.lines.get_mut(line_slot).filter(|_| due) {
            record.armed |= armed;
            // A pause that is over is no deadline any more: what is missing now is room.
            record.rearm = if armed { Rearm::No } else { Rearm::Soon };
        }
        if !armed {
            self.lines.owes(line_slot);
        }
    }

    /// The draft: the device reports every level, and the driver makes of it what was asked for.
    pub(super) fn level_changed(&mut self, line: LineId, level: Level, now: Instant) {
        let found = self.lines.find(line);
        if let Some(record) = found.and_then(|slot| self.lines.get_mut(slot)) {
            record.note_level(level);
        }
        let watched = found.filter(|&slot| self.lines.get(slot).is_some_and(LineSlot::watched));
        let Some(line_slot) = watched else {
            self.odd(Oddity::UnwatchedLevel(line));
            return;
        };
        if self.lines.get(line_slot).is_some_and(|record| record.interrupt.is_level()) {
            self.level_seen(line_slot, level, now);
        } else {
            self.settle(line_slot, level, false, now);
        }
    }

    /// The draft: a level-triggered line has this level. It is delivered once, until the application unmasks the line.
    pub(super) fn level_seen(&mut self, line_slot: u16, level: Level, now: Instant) {
        let Some(record) = self.lines.get_mut(line_slot) else { return };
        record.last = Some(level);
        let trigger = match (record.interrupt, level) {
            (InterruptType::HighLevel, Level::High) => Trigger::High,
            (InterruptType::LowLevel, Level::Low) => Trigger::Low,
            _ => return,
        };
        if self.dialect.protocol() == Protocol::Draft && core::mem::take(&mut record.armed) {
            self.deliver(line_slot, trigger, false, now);
        }
    }

    /// Lets a level-triggered line fire again.
    pub(super) fn unmask(&mut self, line_slot: u16, now: Instant) {
        let Some(record) = self.lines.get_mut(line_slot) else { return };
        if !record.watched() || !record.interrupt.is_level() || record.armed {
            return;
        }
        record.rearm = Rearm::Soon;
        if self.dialect.protocol() == Protocol::Draft && !record.asking && self.health.is_running() {
            // Nobody but the level itself says whether it is active now. After a reset the level is asked for anyway.
            record.armed = true;
            record.rearm = Rearm::No;
            self.ask_level(line_slot, now);
        }
        self.lines.owes(line_slot);
    }

    /// The first look at a line that is now watched. A level-triggered line of the draft fires by the level that was
    /// just read; all others wait for the device.
    pub(super) fn start_watching(&mut self, line_slot: u16, now: Instant) {
        self.serve_line(line_slot, now);
        let level_triggered = self.lines.get(line_slot).filter(|record| record.interrupt.is_level());
        if let Some(level) = level_triggered.and_then(|record| record.last) {
            self.level_seen(line_slot, level, now);
        }
        self.notify();
    }

    /// Whether it is being worked out which edges there were.
    pub(super) fn has_event_under_way(&self) -> bool {
        let asks = |slot: &LineSlot| slot.watched() && !slot.lost && (slot.asking || slot.question.is_open());
        self.health.is_running() && self.lines.iter().any(|(_, slot)| asks(slot))
    }

    /// Whether the event queue has a buffer for one more line, which is not watched yet.
    pub(super) fn room_to_watch(&self, line_slot: u16) -> Result<(), Error> {
        let Some(limit) = self.dialect.watch_limit() else { return Ok(()) };
        let held = |&(number, slot): &(u16, &LineSlot)| number != line_slot && (slot.armed || slot.watched());
        // Those that are going to be watched.
        let begun = self.requests.under_way_for_callers().filter(|request| {
            let &&Asked { operation, target, .. } = request;
            let record = self.lines.get(target.line_slot).filter(|record| record.tenure == target.tenure);
            matches!(operation, Operation::SetInterruptType(kind) if kind != InterruptType::None)
                && record.is_some_and(|record| !held(&(target.line_slot, record)))
                && target.line_slot != line_slot
        });
        let count = self.lines.iter().filter(held).count().saturating_add(begun.count());
        if count < usize::from(limit) { Ok(()) } else { Err(Error::TooManyWatched { limit }) }
    }
}
