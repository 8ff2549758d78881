//! Which edges there were, where events do not say it: what events report is brought into agreement with the level that
//! is read behind them.
//!
//! For both edges, each event is one edge, and from a known level the first edge can only lead away from it: so events
//! alternate, even where the line is back already when the level is read. Where the level then read does not fit, there was
//! an edge that no event has reported, and it is delivered. Either the device has merged edges, and no event will come for it;
//! or its event is on its way, because between a device's answers and its events there is no order (VIRTIO 1.2, 5.18.6 and
//! 5.18.7: each has its own queue). So the next event, if it comes within the time that a request may take, may be for an edge
//! that was delivered already: it is a new one only if the level that is read behind it says so.
//!
//! No edge is reported twice then, each event of the device is at least one edge, and the last edge leads to the line's level.
//! What the protocol does not tell:
//!
//! * Into one event a device may merge any number of edges. As many are reported as the level makes certain: one, or two.
//! * Where an event may be for an edge that was found by the level, it may also be for an even number of further ones. Those
//!   are not reported.
//! * An event that is later than a request may be is taken for another edge.
//!
//! For one kind of edge, each event is one, and nothing is asked. After a reset the level is, and a change may come as an event
//! too: it has [`LATENESS`] to do so before the edge is reported as found. An event that is later is reported as well.

use core::time::Duration;

use super::core::Core;
use super::events::Trigger;
use super::requests::Owner;
use crate::clock::Instant;
use crate::dialect::{Operation, Value};
use crate::error::Error;
use crate::identify::Protocol;
use crate::messages::{InterruptType, Level};
use crate::platform::Platform;

/// How long an event may be on its way behind an answer that shows its edge already; also the pause before a level that could
/// not be read is asked for again.
const LATENESS: Duration = Duration::from_millis(5);
/// Questions in a row that may go without a level, where the device has not refused to tell it.
const FAILURES: u8 = 3;

/// When the level is asked for though no event came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ask {
    No,
    /// As soon as there is a request slot.
    Soon,
    /// When an event has had the time to come.
    At(Instant),
}

/// What is open about the edges of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Question {
    /// Events that came since the last answer, each of which is an edge.
    events: u16,
    /// So many of these came before a task waited for an edge, and are not worth waking it.
    #[cfg(feature = "async")]
    earlier: u16,
    /// One more event came, which may be for the edge that was found by the level.
    excused: bool,
    /// An event came since the level was last asked for: the answer may be older than it, and explains nothing.
    outdated: bool,
    /// An edge was found by the level: the next event may be for it, if it comes by then.
    found: Option<Instant>,
    ask: Ask,
    /// An event has had the time to come.
    waited: bool,
    /// Questions in a row that went without a level.
    failures: u8,
}

impl Question {
    /// Nothing is open.
    pub(crate) const NONE: Self = Self {
        events: 0,
        #[cfg(feature = "async")]
        earlier: 0,
        excused: false,
        outdated: false,
        found: None,
        ask: Ask::No,
        waited: false,
        failures: 0,
    };

    /// An event came.
    pub(crate) fn event_came(&mut self, now: Instant) {
        self.settled();
        self.outdated = true;
        if self.found.take().is_some_and(|until| now <= until) {
            self.excused = true;
        } else {
            self.events = self.events.saturating_add(1);
        }
    }

    /// A task waits for an edge from here on.
    #[cfg(feature = "async")]
    pub(crate) fn wait_begins(&mut self) {
        self.earlier = self.events;
    }

    /// Whether the edge that is delivered now is from before that.
    #[cfg(feature = "async")]
    pub(crate) fn takes_earlier(&mut self) -> bool {
        let earlier = self.earlier > 0;
        self.earlier = self.earlier.saturating_sub(1);
        earlier
    }

    /// What was asked for is no longer what counts: an event came that explains itself, or the line is watched anew.
    pub(crate) fn is_overtaken(&mut self) {
        self.outdated = true;
    }

    /// The line's level is explained, or an event is to explain it.
    fn settled(&mut self) {
        self.ask = Ask::No;
        self.waited = false;
        self.failures = 0;
    }

    /// Events that are still to be delivered.
    pub(crate) fn events(&self) -> u16 {
        self.events
    }

    /// Whether something is to be asked, now or later.
    pub(crate) fn is_open(&self) -> bool {
        self.events > 0 || self.excused || self.ask != Ask::No
    }

    /// When the level is asked for by itself, if it is waiting for just that.
    pub(crate) fn asked_at(&self) -> Option<Instant> {
        match self.ask {
            Ask::At(at) if self.events == 0 && !self.excused => Some(at),
            Ask::At(_) | Ask::Soon | Ask::No => None,
        }
    }
}

impl<P: Platform> Core<'_, P> {
    /// Asks for the level of a line, if that is due and no question is under way.
    pub(super) fn serve_question(&mut self, line_slot: u16, now: Instant) {
        let Some(record) = self.lines.get_mut(line_slot).filter(|record| !record.asking) else { return };
        let question = &mut record.question;
        match question.asked_at() {
            Some(at) if now < at => self.lines.owes(line_slot),
            waited => {
                if question.is_open() {
                    question.waited |= waited.is_some();
                    self.ask_level(line_slot, now);
                }
            }
        }
    }

    /// Asks for the level of a line; the answer is worth an event or more. Without a free request slot it stays owed, and
    /// while others are restored, who may need the only one.
    pub(super) fn ask_level(&mut self, line_slot: u16, now: Instant) {
        let asked =
            self.health.is_running() && self.request(line_slot, Operation::GetValue, Owner::EventLevel, now).is_ok();
        if let Some(record) = self.lines.get_mut(line_slot) {
            record.asking = asked;
            record.question.outdated &= !asked;
            record.question.ask = if asked { Ask::No } else { Ask::Soon };
        }
        if asked {
            self.answer_expected = self.patience.look_unlearnt().map(|look| now.after(look));
        } else {
            self.lines.owes(line_slot);
        }
    }

    /// Whether the level that makes an event of an edge is worth waiting for without sleep.
    pub(super) fn expects_level(&self, now: Instant) -> bool {
        self.health.is_running() && self.answer_expected.is_some_and(|until| now < until)
    }

    /// The level that was asked for has come, or is not to be had.
    pub(super) fn level_answered(&mut self, line_slot: u16, result: Result<Value, Error>, now: Instant) {
        self.answer_expected = None;
        let Some(record) = self.lines.get_mut(line_slot) else { return };
        record.asking = false;
        let events = core::mem::take(&mut record.question.events);
        self.lines.update_claim(line_slot);
        let Some(record) = self.lines.get_mut(line_slot) else { return };
        if !record.watched() {
            record.question = Question::NONE;
            record.after_reset = false;
            return;
        }
        let read = result.ok().and_then(Value::level);
        if record.interrupt.is_level() {
            record.after_reset = false;
            if let Some(level) = read {
                self.level_seen(line_slot, level, now);
            }
            return;
        }
        if record.interrupt == InterruptType::BothEdges {
            self.deliver_events(line_slot, events, read, now);
        }
        match read {
            Some(_) if self.lines.get(line_slot).is_some_and(|record| record.question.outdated) => {
                self.ask_level(line_slot, now);
            }
            Some(level) => self.reconcile(line_slot, level, now),
            None => self.level_not_told(line_slot, result, now),
        }
    }

    /// For both edges: delivers what events have reported.
    fn deliver_events(&mut self, line_slot: u16, events: u16, read: Option<Level>, now: Instant) {
        let Some(record) = self.lines.get_mut(line_slot) else { return };
        let known = if record.last_is_assumed { None } else { record.last };
        // Without a level from before, the one read now says how the edges must have begun.
        let begin = known.or(read.map(|level| if events.is_multiple_of(2) { level } else { level.toggled() }));
        record.last_is_assumed = begin.is_none();
        // A device that never tells the level: that there were edges is certain, so they are delivered, and alternate.
        let mut level = begin.or(record.last).unwrap_or(Level::Low);
        for _ in 0..events {
            level = level.toggled();
            self.deliver(line_slot, Trigger::edge_to(level), false, now);
        }
        if let Some(record) = self.lines.get_mut(line_slot) {
            record.last = Some(level);
        }
    }

    /// Compares the level to what events have reported.
    fn reconcile(&mut self, line_slot: u16, level: Level, now: Instant) {
        let ratified = self.dialect.protocol() == Protocol::Ratified;
        let until = now.after(self.options.timeout);
        let Some(record) = self.lines.get_mut(line_slot) else { return };
        let both = record.interrupt == InterruptType::BothEdges;
        record.question.excused = false;
        record.question.failures = 0;
        // A draft's levels come in one queue, in order: none is on its way.
        let certain = !ratified || both || record.question.waited;
        if record.has_edge_to(level) && !certain {
            record.question.ask = Ask::At(now.after(LATENESS));
            self.lines.owes(line_slot);
            return;
        }
        record.question.settled();
        if record.has_edge_to(level) && both && ratified {
            record.question.found = Some(until);
        }
        let after_reset = core::mem::take(&mut record.after_reset);
        self.settle(line_slot, level, after_reset, now);
    }

    /// The level could not be read. Unless the device has refused to tell it, it is asked for again: an edge may depend on it.
    fn level_not_told(&mut self, line_slot: u16, result: Result<Value, Error>, now: Instant) {
        let Some(record) = self.lines.get_mut(line_slot) else { return };
        let failures = record.question.failures.saturating_add(1);
        let again = result.is_err_and(|error| error == Error::Timeout || error.is_malformed()) && failures < FAILURES;
        if again {
            record.question.failures = failures;
            record.question.ask = Ask::At(now.after(LATENESS));
            self.lines.owes(line_slot);
        } else {
            record.question.excused = false;
            record.question.settled();
            record.after_reset = false;
        }
    }

    /// Delivers the edge between the last known level and this one, if there is one and it is wanted.
    pub(super) fn settle(&mut self, line_slot: u16, level: Level, after_reset: bool, now: Instant) {
        let Some(record) = self.lines.get_mut(line_slot) else { return };
        let is_edge = record.has_edge_to(level);
        record.last = Some(level);
        if is_edge {
            self.deliver(line_slot, Trigger::edge_to(level), after_reset, now);
        }
    }
}
