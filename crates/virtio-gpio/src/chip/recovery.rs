//! What happens when a device stops playing by the rules, or stops playing: reset, set up anew, restore every line,
//! with growing pauses between the tries, until it works or half a minute has passed.

use core::time::Duration;

use super::Submitted;
use super::core::{Core, LINE_STRIKES};
use super::events::Notice;
use super::lines::{Rearm, Use};
use super::requests::Owner;
use crate::clock::Instant;
use crate::dialect::{Operation, Value};
use crate::error::{Error, Fault};
use crate::identify::{Protocol, RESET_TIME};
use crate::messages::InterruptType;
use crate::platform::Platform;
use crate::transport::{DeviceStatus, Transport, add_status};

/// How often a reset that takes time is looked at.
const RESET_LOOK: Duration = Duration::from_millis(10);
/// How long a device may go without an answer before it is given up.
const PATIENCE: Duration = Duration::from_secs(30);
/// Tries in a row, for a device that answers and breaks again each time.
const MAX_TRIES: u32 = 24;
/// How long a device must have worked before its earlier failures are forgotten.
const HEALTHY_AFTER: Duration = Duration::from_secs(5);
/// The pause after the first failed try, and how often it doubles: 100 ms, 200 ms, ... 3.2 s.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const PAUSE_DOUBLINGS: u32 = 5;

/// Where a line's restoration stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Acquire,
    Direction,
    Interrupt,
    Level,
}

impl Stage {
    const fn next(self) -> Option<Self> {
        match self {
            Self::Acquire => Some(Self::Direction),
            Self::Direction => Some(Self::Interrupt),
            Self::Interrupt => Some(Self::Level),
            Self::Level => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Running,
    /// Before the next try.
    Pausing {
        until: Instant,
    },
    /// The reset was written, and is not finished.
    Resetting {
        until: Instant,
        /// When it is looked at again.
        look: Instant,
    },
    /// Lines are restored one after the other; `done` of them are.
    Restoring {
        done: u16,
        stage: Stage,
        any_answer: bool,
    },
    Failed,
}

/// The state of the device as a whole.
#[derive(Debug)]
pub(crate) struct Health {
    state: State,
    /// Tries since the device last worked for a while.
    tries: u32,
    /// Since when it has not answered.
    silent_since: Instant,
    /// Since when it works.
    running_since: Instant,
    /// The line slot that is restored first: the one behind that which was not answered the last time. So that line
    /// comes last, and does not hide that the others are answered.
    first_slot: u16,
}

impl Health {
    pub(super) const fn new() -> Self {
        let start = Instant::from_nanos(0);
        Self { state: State::Running, tries: 0, silent_since: start, running_since: start, first_slot: 0 }
    }

    pub(super) fn is_running(&self) -> bool {
        self.state == State::Running
    }

    pub(super) fn has_failed(&self) -> bool {
        self.state == State::Failed
    }

    /// Whether the queues are in use.
    pub(super) fn has_live_device(&self) -> bool {
        matches!(self.state, State::Running | State::Restoring { .. })
    }

    /// Whether applications may send requests.
    pub(super) fn usable(&self) -> Result<(), Error> {
        match self.state {
            State::Running => Ok(()),
            State::Failed => Err(Error::ChipFailed),
            State::Pausing { .. } | State::Resetting { .. } | State::Restoring { .. } => Err(Error::Recovering),
        }
    }

    /// The device has answered something.
    pub(super) fn heard(&mut self, now: Instant) {
        self.silent_since = now;
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        match self.state {
            State::Pausing { until } => Some(until),
            State::Resetting { look, .. } => Some(look),
            State::Running | State::Restoring { .. } | State::Failed => None,
        }
    }
}

impl<P: Platform> Core<'_, P> {
    /// The device cannot be used as it is. Everything under way ends with an unknown outcome, and the first try starts.
    pub(super) fn begin_recovery(&mut self, fault: Fault, now: Instant) {
        if !self.health.is_running() {
            // The device broke again while it was being restored.
            self.try_failed(now);
            return;
        }
        self.tell(Notice::Resetting(fault));
        self.requests.fail_all(Error::OutcomeUnknown);
        // A reset that is no failure of the device's is not counted as one.
        if fault == Fault::Requested || now.since(self.health.running_since) >= HEALTHY_AFTER {
            self.health.tries = 0;
        }
        if self.health.tries == 0 {
            self.health.silent_since = now;
            self.begin_reset(now);
        } else {
            self.try_failed(now);
        }
    }

    fn begin_reset(&mut self, now: Instant) {
        self.health.tries = self.health.tries.saturating_add(1);
        self.statistics.resets = self.statistics.resets.wrapping_add(1);
        self.transport.set_status(DeviceStatus::empty());
        self.interrupt_cleared = true;
        self.missing_since = None;
        self.health.state = State::Resetting { until: now.after(RESET_TIME), look: now };
        self.advance_recovery(now);
    }

    /// Ends a try; the next one follows after a pause, or the device is given up.
    fn try_failed(&mut self, now: Instant) {
        self.requests.fail_all(Error::OutcomeUnknown);
        if now.since(self.health.silent_since) >= PATIENCE || self.health.tries >= MAX_TRIES {
            add_status(&self.transport, DeviceStatus::FAILED);
            self.health.state = State::Failed;
            self.tell(Notice::Failed);
            return;
        }
        let doublings = self.health.tries.saturating_sub(1).min(PAUSE_DOUBLINGS);
        self.health.state = State::Pausing { until: now.after(FIRST_PAUSE.saturating_mul(1 << doublings)) };
    }

    /// The part of a poll that works on a recovery.
    pub(super) fn advance_recovery(&mut self, now: Instant) {
        match self.health.state {
            State::Pausing { until } if now >= until => self.begin_reset(now),
            State::Resetting { until, .. } => {
                if self.transport.status().is_empty() {
                    self.requests.device_was_reset();
                    self.lines.device_was_reset();
                    if self.start_device().is_ok() {
                        self.health.state = State::Restoring { done: 0, stage: Stage::Acquire, any_answer: false };
                        self.restore(now);
                    } else {
                        self.try_failed(now);
                    }
                } else if now >= until {
                    self.try_failed(now);
                } else {
                    self.health.state = State::Resetting { until, look: now.after(RESET_LOOK) };
                }
            }
            State::Restoring { .. } if self.waits_for_slot() => self.restore(now),
            State::Running | State::Pausing { .. } | State::Restoring { .. } | State::Failed => (),
        }
    }

    /// Whether the restoration goes on with a request for which there was no slot.
    fn waits_for_slot(&self) -> bool {
        matches!(self.health.state, State::Restoring { .. }) && self.requests.under_way() == 0
    }

    /// Whether the restoration has waited for a request slot, and now there is one.
    pub(super) fn has_slot_to_restore(&self) -> bool {
        self.waits_for_slot() && self.requests.has_slot()
    }

    /// When the restoration goes on, or is given up, where it waits for a request slot.
    pub(super) fn slot_deadline(&self) -> Option<Instant> {
        let kept = || self.pinned_since.map(|since| since.after(self.options.timeout));
        let at_once = Instant::from_nanos(0);
        if self.has_slot_to_restore() { Some(at_once) } else { self.waits_for_slot().then(kept).flatten() }
    }

    /// The line slot whose turn it is.
    fn restored_slot(&self, done: u16) -> Option<u16> {
        let capacity = u16::try_from(self.lines.capacity()).unwrap_or(u16::MAX);
        if done >= capacity {
            return None;
        }
        let slot = u32::from(done).wrapping_add(self.health.first_slot.into());
        slot.checked_rem(u32::from(capacity)).and_then(|slot| u16::try_from(slot).ok())
    }

    /// Sends the next request that restores something; when nothing is left, the device is running again.
    fn restore(&mut self, now: Instant) {
        let draft = self.dialect.protocol() == Protocol::Draft;
        while let State::Restoring { done, stage, any_answer } = self.health.state {
            let Some(line_slot) = self.restored_slot(done) else {
                self.health.state = State::Running;
                self.health.running_since = now;
                self.tell(Notice::Recovered);
                return;
            };
            let operation =
                self.lines.get(line_slot).filter(|record| record.in_use() && !record.lost).and_then(|record| {
                    match (stage, record.usage, record.interrupt) {
                        (Stage::Acquire, ..) => Some(Operation::Acquire),
                        (Stage::Direction, Use::Input, _) => Some(Operation::SetInput),
                        (Stage::Direction, Use::Output(level), _) => Some(Operation::SetOutput(level)),
                        (Stage::Direction, Use::Unconfigured, _) | (_, _, InterruptType::None) => None,
                        (Stage::Interrupt, _, kind) => Some(Operation::SetInterruptType(kind)),
                        (Stage::Level, ..) => Some(Operation::GetValue),
                    }
                });
            if let Some(operation) = operation {
                if operation == Operation::GetValue
                    && let Some(record) = self.lines.get_mut(line_slot)
                {
                    record.after_reset = true;
                    record.asking = true;
                    // A level-triggered line of the draft fires again by the level that is read now.
                    record.armed |= draft && record.interrupt.is_level() && record.rearm == Rearm::Soon;
                }
                let submitted = self.request(line_slot, operation, Owner::Restore, now);
                self.note_room(submitted.is_ok(), now);
                match submitted {
                    // Busy: results that the application has not looked at have the slots, or the device keeps one.
                    Ok(Submitted::Ticket(_)) | Err(Error::Busy) => return,
                    Ok(Submitted::Done(_)) => (),
                    Err(_) => {
                        self.try_failed(now);
                        return;
                    }
                }
            }
            self.health.state = match stage.next() {
                Some(stage) => State::Restoring { done, stage, any_answer },
                None => State::Restoring { done: done.saturating_add(1), stage: Stage::Acquire, any_answer },
            };
        }
    }

    /// An answer to a request that restores something, or none in time.
    pub(super) fn restore_answered(
        &mut self,
        line_slot: u16,
        operation: Operation,
        result: Result<Value, Error>,
        now: Instant,
    ) {
        let State::Restoring { done, stage, any_answer } = self.health.state else { return };
        if result == Err(Error::Timeout) {
            self.health.first_slot = line_slot.wrapping_add(1);
            // Where nobody was answered it is the device; otherwise it is this line, which may be given up for it.
            if any_answer {
                self.give_up_if_mute(line_slot);
            } else if let Some(record) = self.lines.get_mut(line_slot) {
                record.strikes = 0;
            }
            self.try_failed(now);
            return;
        }
        if operation == Operation::GetValue {
            self.level_answered(line_slot, result, now);
        } else if let Err(error) = result {
            // A refusal is final. An answer that means nothing may be better the next time.
            let strikes = self.strike(line_slot);
            if error.is_malformed() && strikes < LINE_STRIKES {
                self.try_failed(now);
                return;
            }
            self.lose(line_slot, error);
        }
        self.health.state = match (stage.next(), result) {
            (Some(stage), Ok(_)) => State::Restoring { done, stage, any_answer: true },
            _ => State::Restoring { done: done.saturating_add(1), stage: Stage::Acquire, any_answer: true },
        };
        self.restore(now);
    }

    /// Counts a failure of the line, and gives the number in a row.
    pub(super) fn strike(&mut self, line_slot: u16) -> u8 {
        self.lines.get_mut(line_slot).map_or(0, |record| {
            record.strikes = record.strikes.saturating_add(1);
            record.strikes
        })
    }

    /// Gives a line up after too many time-outs in a row.
    pub(super) fn give_up_if_mute(&mut self, line_slot: u16) {
        if self.lines.get(line_slot).is_some_and(|record| record.strikes >= LINE_STRIKES) {
            self.lose(line_slot, Error::Timeout);
        }
    }

    pub(super) fn lose(&mut self, line_slot: u16, error: Error) {
        let Some(record) = self.lines.get_mut(line_slot) else { return };
        let line = record.line;
        if !core::mem::replace(&mut record.lost, true) {
            self.tell(Notice::LineLost { line, error });
        }
    }
}
