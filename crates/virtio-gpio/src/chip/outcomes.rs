//! What becomes of requests: answered, late or never, and what the records of their lines make of that.

use super::core::{Core, LINE_STRIKES};
use super::lines::{LineSlot, Rearm, Use};
use super::reconcile::Question;
use super::requests::{Asked, Owner, Target};
use crate::clock::Instant;
use crate::dialect::{Oddity, Operation, Value};
use crate::error::{Error, Fault};
use crate::identify::Protocol;
use crate::messages::InterruptType;
use crate::platform::Platform;

impl<P: Platform> Core<'_, P> {
    pub(super) fn answered(&mut self, slot: u16, result: Result<Value, Error>, now: Instant) {
        if self.dialect.protocol() == Protocol::Ratified {
            // The response is part of the request's own chain: both come back together.
            self.requests.returned(slot);
        }
        let Some((request, order, awaited)) = self.requests.answered(slot) else { return };
        self.strikes = 0;
        self.health.heard(now);
        // A line that answers only while it is restored or corrected has not made up for its failures.
        if !matches!(request.owner, Owner::Restore | Owner::Correct)
            && let Some(record) = self.record_of(&request)
        {
            record.strikes = 0;
        }
        if !awaited {
            self.odd(Oddity::LateAnswer(request.target.line));
        }
        // A line that was left meanwhile was released behind this message, which the next one must not undo.
        let goes_on = awaited && request.owner != Owner::Nobody && self.record_of(&request).is_some();
        if result.is_ok() && goes_on && self.dialect.has_step_after(request.operation, request.step) {
            self.requests.continue_with_step(slot, request.step.saturating_add(1));
            self.send_queued();
            return;
        }
        // What the application was told that it failed, or does not wait for any more, is not done behind its back, but
        // taken back.
        let wanted = awaited && request.owner != Owner::Nobody;
        if result.is_ok() && (wanted || !Self::is_taken_back(&request)) {
            self.apply(request.operation, request.target, order);
        }
        if let Ok(Value::Level(level)) = result
            && let Some(record) = self.record_of(&request)
        {
            // In the order of arrival: a level message of the draft that follows is newer. But no older answer is.
            if order >= record.level_order {
                record.level_order = order;
                record.note_level(level);
            }
        }
        if awaited {
            self.finished(slot, &request, result, now);
        }
    }

    /// Hands a result to whoever wants it.
    fn finished(&mut self, slot: u16, request: &Asked, result: Result<Value, Error>, now: Instant) {
        self.requests.finish(slot, result);
        match request.owner {
            // The level that a former holder's event was about is nothing to the next one.
            Owner::EventLevel if self.record_of(request).is_none() => (),
            Owner::EventLevel => self.level_answered(request.target.line_slot, result, now),
            Owner::Restore => self.restore_answered(request.target.line_slot, request.operation, result, now),
            Owner::Correct => self.correction_answered(request, result),
            Owner::Caller | Owner::Holder | Owner::Nobody => (),
        }
    }

    /// The record of the line that a request is about, unless the line is another's by now.
    pub(super) fn record_of(&mut self, request: &Asked) -> Option<&mut LineSlot> {
        self.record(request.target)
    }

    fn record(&mut self, target: Target) -> Option<&mut LineSlot> {
        self.lines.get_mut(target.line_slot).filter(|record| record.in_use() && record.tenure == target.tenure)
    }

    /// Whether a request that timed out is taken back, rather than left to be carried out late.
    fn is_taken_back(request: &Asked) -> bool {
        match request.operation {
            Operation::SetInput | Operation::SetOutput(_) => true,
            Operation::SetInterruptType(kind) => kind != InterruptType::None,
            _ => false,
        }
    }

    /// Tells the device how a line is to be, where a message that timed out may still make it otherwise. Requests for
    /// one line are carried out in order (VIRTIO 1.2, 5.18.6.9), so that this has the last word.
    pub(super) fn correct(&mut self, line_slot: u16, now: Instant) {
        let owed = self.lines.get(line_slot).filter(|record| record.in_use() && !record.lost && !record.correcting);
        let Some(operation) = owed.and_then(LineSlot::owed_correction) else { return };
        let sent = self.health.is_running() && self.request(line_slot, operation, Owner::Correct, now).is_ok();
        if let Some(record) = self.lines.get_mut(line_slot) {
            record.correcting = sent;
        }
        if !sent {
            self.lines.owes(line_slot);
        }
    }

    fn correction_answered(&mut self, request: &Asked, result: Result<Value, Error>) {
        let Some(record) = self.record_of(request) else { return };
        record.correcting = false;
        match result {
            Ok(_) => record.corrected_by(request.operation),
            // To be tried again, until the line is given up for its time-outs.
            Err(Error::Timeout) => (),
            Err(error) if error.is_malformed() && self.strike(request.target.line_slot) < LINE_STRIKES => (),
            // The line is neither as its holder thinks nor can it be put right.
            Err(error) => self.lose(request.target.line_slot, error),
        }
        self.lines.owes(request.target.line_slot);
    }

    /// Writes into the line's record what the device has carried out: in the order of the requests, though answers may come
    /// in another.
    pub(super) fn apply(&mut self, operation: Operation, target: Target, order: u64) {
        let Some(record) = self.record(target) else { return };
        let applied = match operation {
            Operation::Names | Operation::Acquire | Operation::GetDirection | Operation::GetValue => return,
            Operation::SetInterruptType(_) => &mut record.interrupt_order,
            Operation::SetInput | Operation::Release | Operation::SetOutput(_) | Operation::SetValue(_) => {
                &mut record.usage_order
            }
        };
        if order < *applied {
            return;
        }
        *applied = order;
        match operation {
            Operation::SetInput => record.usage = Use::Input,
            Operation::Release => {
                record.usage = Use::Unconfigured;
                record.told = false;
            }
            Operation::SetOutput(level) => record.usage = Use::Output(level),
            Operation::SetValue(level) => {
                if matches!(record.usage, Use::Output(_)) {
                    record.usage = Use::Output(level);
                }
            }
            Operation::SetInterruptType(kind) => {
                record.interrupt = kind;
                record.enabled = kind != InterruptType::None;
                record.empty_events = 0;
                record.question = Question::NONE;
                if record.asking {
                    // By an event of an earlier watch.
                    record.question.is_overtaken();
                }
                if !record.enabled {
                    record.rearm = Rearm::No;
                }
                self.lines.owes(target.line_slot);
            }
            Operation::Names | Operation::Acquire | Operation::GetDirection | Operation::GetValue => (),
        }
    }

    pub(super) fn timed_out(&mut self, slot: u16, sent: Instant, now: Instant) {
        let Some(request) = self.requests.get(slot).map(|slot| slot.asked) else { return };
        self.statistics.timeouts = self.statistics.timeouts.wrapping_add(1);
        if !self.requests.is_unanswered(slot) {
            // It never had its turn: that says nothing about its line, and of the device others tell.
            self.finished(slot, &request, Err(Error::Timeout), now);
            return;
        }
        let half_done = self.dialect.has_step_after(request.operation, request.step);
        if let Some(record) = self.record_of(&request) {
            record.strikes = record.strikes.saturating_add(1);
            // The first half of an output is a level that the device remembers; it changes nothing by itself. And what restores
            // a line is behind a reset, and before the next one. What nobody waits for any more was taken back when that began:
            // what the line was told since has the last word.
            if !half_done && !matches!(request.owner, Owner::Restore | Owner::Nobody) {
                record.made_unsure_by(request.operation);
            }
            self.lines.owes(request.target.line_slot);
        }
        self.finished(slot, &request, Err(Error::Timeout), now);
        if !self.health.is_running() {
            return;
        }
        self.give_up_if_mute(request.target.line_slot);
        if sent >= self.last_strike {
            self.strikes = self.strikes.saturating_add(1);
            self.last_strike = now;
        }
        self.check_status(now);
        // A draft reply carries no more than type and line: after a lost one, the next could be taken for it. A
        // ratified answer is known by its descriptor, so that one lost request harms only itself.
        let limit = match self.dialect.protocol() {
            Protocol::Ratified => 2,
            Protocol::Draft => 1,
        };
        let too_many_pinned = self.requests.too_many_pinned();
        if self.health.is_running() && (self.strikes >= limit || too_many_pinned) {
            self.begin_recovery(Fault::Unresponsive, now);
        }
    }
}
