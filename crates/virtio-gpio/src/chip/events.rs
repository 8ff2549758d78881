//! Events on their way to the application, and what else it should be told.

use core::fmt;

use crate::clock::Instant;
use crate::dialect::Oddity;
use crate::error::{Error, Fault};
use crate::messages::{Level, LineId};

/// What happened on a watched line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trigger {
    /// The line went from low to high.
    Rising,
    /// The line went from high to low.
    Falling,
    /// The line is high.
    High,
    /// The line is low.
    Low,
}

impl Trigger {
    /// The edge that leads to `level`.
    pub(crate) const fn edge_to(level: Level) -> Self {
        match level {
            Level::Low => Self::Falling,
            Level::High => Self::Rising,
        }
    }

    /// The level after the edge, or the level itself.
    pub const fn level(self) -> Level {
        match self {
            Self::Rising | Self::High => Level::High,
            Self::Falling | Self::Low => Level::Low,
        }
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rising => "rising",
            Self::Falling => "falling",
            Self::High => "high",
            Self::Low => "low",
        })
    }
}

/// An edge or a level on a watched line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// The line.
    pub line: LineId,
    /// What happened.
    pub trigger: Trigger,
    /// The line's own count of events, from 1.
    pub count: u64,
    /// The device does not tell the line's level: that there was an edge is certain, which one it was is assumed from
    /// their alternating.
    pub assumed: bool,
    /// The change happened while the device was being reset; that it is one change is all that is known.
    pub after_reset: bool,
    /// When the driver learnt of it.
    pub at: Instant,
}

/// Something about the device that its user should hear of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// The device is being reset, and why.
    Resetting(Fault),
    /// The device is back, and every line is as it was.
    Recovered,
    /// The device was given up.
    Failed,
    /// A line was given up, and why.
    LineLost {
        /// The line.
        line: LineId,
        /// Why.
        error: Error,
    },
    /// The device did something odd: the first time, and then at every doubling of the count.
    Odd {
        /// What it was.
        oddity: Oddity,
        /// How often that kind has been seen.
        count: u32,
    },
}

/// Counters since the device was set up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Messages sent to the device.
    pub messages: u64,
    /// Notifications sent to the device.
    pub notifications: u64,
    /// Interrupts taken.
    pub interrupts: u64,
    /// Events delivered.
    pub events: u64,
    /// Events dropped because the application did not take them, or because the device does not tell levels.
    pub dropped_events: u64,
    /// Requests without an answer by their deadline.
    pub timeouts: u64,
    /// Times that an overdue answer was found by looking, though an interrupt had been asked for: that was late, or lost.
    pub rescues: u64,
    /// Resets of the device after the first one.
    pub resets: u64,
    /// Oddities of all kinds.
    pub oddities: u64,
}

/// Where a chip's descriptors and request slots are. Counted, so that one that was lost is missing here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Resources {
    /// Descriptors of both queues together.
    pub descriptors: u32,
    /// Those that are free.
    pub free: u32,
    /// Those that lie with the device though nothing was asked of it: the event buffers of armed lines, the draft's
    /// receive buffers.
    pub standing: u32,
    /// Request slots that are in use: under way, with a result that nobody has taken, or not given back by the device.
    pub requests: u32,
}

impl Resources {
    /// Whether nothing is under way and nothing is missing.
    pub const fn is_at_rest(&self) -> bool {
        self.requests == 0 && self.free.saturating_add(self.standing) == self.descriptors
    }
}

/// Storage for one event.
#[derive(Debug, Clone, Copy)]
pub struct EventSlot(Option<Event>);

impl EventSlot {
    /// An unused slot.
    pub const EMPTY: Self = Self(None);
}

/// A first-in, first-out queue over borrowed slots.
#[derive(Debug)]
pub(crate) struct EventQueue<'a> {
    slots: &'a mut [EventSlot],
    first: usize,
    count: usize,
}

impl<'a> EventQueue<'a> {
    pub(crate) fn new(slots: &'a mut [EventSlot]) -> Self {
        slots.fill(EventSlot::EMPTY);
        Self { slots, first: 0, count: 0 }
    }

    pub(crate) fn room(&self) -> usize {
        self.slots.len().saturating_sub(self.count)
    }

    /// How many there can be.
    pub(crate) fn capacity(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// `false` if there is no room.
    pub(crate) fn push(&mut self, event: Event) -> bool {
        if self.room() == 0 {
            return false;
        }
        let end = self.first.saturating_add(self.count).checked_rem(self.slots.len()).unwrap_or(0);
        if let Some(slot) = self.slots.get_mut(end) {
            slot.0 = Some(event);
            self.count = self.count.saturating_add(1);
        }
        true
    }

    pub(crate) fn pop(&mut self) -> Option<Event> {
        let event = self.slots.get_mut(self.first)?.0.take()?;
        self.first = self.first.saturating_add(1).checked_rem(self.slots.len()).unwrap_or(0);
        self.count = self.count.saturating_sub(1);
        Some(event)
    }
}

/// Counts oddities by kind, so that one that repeats is told of ever more rarely.
#[derive(Debug, Default)]
pub(crate) struct OddityCounts([u32; 9]);

impl OddityCounts {
    /// Counts; gives the count where it is to be told of.
    pub(crate) fn note(&mut self, oddity: Oddity) -> Option<u32> {
        let kind = match oddity {
            Oddity::LateAnswer(_) => 0,
            Oddity::UnexpectedMessage { .. } => 1,
            Oddity::WrongLine { .. } => 2,
            Oddity::WideLevel(_) => 3,
            Oddity::UnwatchedLevel(_) => 4,
            Oddity::StaleEvent(_) => 5,
            Oddity::EmptyEvent(_) => 6,
            Oddity::SpuriousInterrupt => 7,
            Oddity::LostInterrupt => 8,
        };
        let count = self.0.get_mut(kind)?;
        *count = count.saturating_add(1);
        count.is_power_of_two().then_some(*count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chip_is_at_rest_when_nothing_is_missing() {
        let rest = Resources { descriptors: 8, free: 5, standing: 3, requests: 0 };
        assert!(rest.is_at_rest());
        assert!(!Resources { requests: 1, ..rest }.is_at_rest(), "something is under way");
        assert!(!Resources { free: 4, ..rest }.is_at_rest(), "a descriptor is lost");
        assert!(!Resources { standing: 4, ..rest }.is_at_rest(), "one is in two places");
    }

    #[test]
    fn events_wait_in_order_and_none_is_lost_without_a_word() {
        let at = Instant::from_nanos(0);
        let event =
            |count| Event { line: LineId(1), trigger: Trigger::Rising, count, assumed: false, after_reset: false, at };
        let mut slots = [EventSlot::EMPTY; 2];
        let mut queue = EventQueue::new(&mut slots);
        assert!(queue.is_empty() && queue.pop().is_none());
        for round in 0..5 {
            assert!(queue.push(event(round)) && !queue.is_empty());
            assert!(queue.push(event(round + 100)));
            assert!(!queue.push(event(round + 200)), "there is no room");
            assert_eq!(queue.pop(), Some(event(round)));
            assert_eq!((queue.room(), queue.is_empty()), (1, false));
            assert_eq!(queue.pop(), Some(event(round + 100)));
            assert!(queue.is_empty() && queue.pop().is_none());
        }
    }

    #[test]
    fn an_oddity_that_repeats_is_told_of_ever_more_rarely() {
        let mut counts = OddityCounts::default();
        let told: [_; 9] = core::array::from_fn(|_| counts.note(Oddity::LostInterrupt));
        assert_eq!(told, [Some(1), Some(2), None, Some(4), None, None, None, Some(8), None]);
        assert_eq!(counts.note(Oddity::SpuriousInterrupt), Some(1), "each kind by itself");
    }
}
