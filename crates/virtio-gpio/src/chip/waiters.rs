//! Wakers of the tasks that wait for something of a chip, in storage of a fixed size.
//!
//! A task registers what it waits for in the same critical section in which it has found that it must; after every step of
//! the state machine those are woken whose time has come. Tasks are woken, and their wakers dropped, outside of the chip:
//! that may run anything, also a pin's `drop`.

use ::core::cell::RefCell;
use ::core::task::Waker;

use critical_section::{CriticalSection, Mutex};

use super::Chip;
use super::core::Core;
use super::lines::Capture;
use super::requests::Ticket;
use crate::clock::Instant;
use crate::platform::Platform;

/// Tasks that can wait at once without taking turns.
pub(crate) const WAITERS: usize = 32;

/// What a task waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// The result of a request.
    Answer(Ticket),
    /// Something has ended that may have made room; or it is too late.
    Room { progress: u32, deadline: Instant },
    /// The edge that the line's [`Capture`] names, or the line's end.
    Edge { line_slot: u16 },
    /// An event for the application.
    Event,
}

impl Until {
    fn is_over<P: Platform>(self, core: &Core<'_, P>) -> bool {
        match self {
            Self::Answer(ticket) => core.requests.is_done(ticket),
            Self::Room { progress, .. } => core.requests.progress() != progress,
            Self::Edge { line_slot } => {
                let waits = |capture| matches!(capture, Capture::Waiting(_));
                core.health.has_failed()
                    || core.lines.get(line_slot).is_none_or(|line| line.lost || !line.watched() || !waits(line.capture))
            }
            Self::Event => !core.events.is_empty() || core.health.has_failed(),
        }
    }

    fn deadline(self) -> Option<Instant> {
        match self {
            Self::Room { deadline, .. } => Some(deadline),
            Self::Answer(_) | Self::Edge { .. } | Self::Event => None,
        }
    }
}

#[derive(Debug)]
struct Waiter {
    until: Until,
    waker: Waker,
}

#[derive(Debug)]
struct Table {
    places: [Option<Waiter>; WAITERS],
    count: usize,
    /// Whose turn it is to give way.
    next: usize,
}

/// All who wait.
#[derive(Debug)]
pub(crate) struct Waiters(Mutex<RefCell<Table>>);

impl Waiters {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(RefCell::new(Table { places: [const { None }; WAITERS], count: 0, next: 0 })))
    }

    fn with<R: Default>(&self, section: CriticalSection<'_>, f: impl FnOnce(&mut Table) -> R) -> R {
        // Nothing in here runs what could come back.
        self.0.borrow(section).try_borrow_mut().map(|mut table| f(&mut table)).unwrap_or_default()
    }

    /// Has a task woken when the time has come. Where all places are taken, another task is to be woken for nothing, and will
    /// register anew. That task's waker, or one that is replaced, is returned: to be woken, outside of the chip.
    #[must_use = "whoever gives way must be woken"]
    pub(super) fn register(&self, section: CriticalSection<'_>, until: Until, waker: &Waker) -> Option<Waker> {
        self.with(section, |table| {
            let same = |place: &Waiter| place.until == until && place.waker.will_wake(waker);
            if table.places.iter().flatten().any(same) {
                return None;
            }
            let waiter = Waiter { until, waker: waker.clone() };
            let free = table.places.iter_mut().find(|place| place.is_none());
            let before = if let Some(free) = free {
                table.count = table.count.saturating_add(1);
                free.replace(waiter)
            } else {
                table.next = table.next.wrapping_add(1) % WAITERS;
                table.places.get_mut(table.next)?.replace(waiter)
            };
            before.map(|waiter| waiter.waker)
        })
    }

    /// Takes the waker of somebody whose waiting is over.
    fn take(&self, section: CriticalSection<'_>, is_over: impl Fn(Until) -> bool) -> Option<Waker> {
        self.with(section, |table| {
            if table.count == 0 {
                return None;
            }
            let over = |place: &&mut Option<Waiter>| place.as_ref().is_some_and(|waiter| is_over(waiter.until));
            let waiter = table.places.iter_mut().find(over)?.take()?;
            table.count = table.count.saturating_sub(1);
            Some(waiter.waker)
        })
    }

    fn next_deadline(&self, section: CriticalSection<'_>) -> Option<Instant> {
        self.with(section, |table| table.places.iter().flatten().filter_map(|waiter| waiter.until.deadline()).min())
    }
}

impl<P: Platform> Chip<'_, P> {
    /// Wakes those whose waiting is over. Inside one of the driver's own calls of the platform nothing is: whoever is
    /// at work does it when that is done.
    pub(super) fn wake_ready(&self) {
        wake(|section| {
            let core = self.core.borrow(section).try_borrow().ok()?;
            self.waiters.take(section, |until| until.is_over(&core))
        });
    }

    /// Wakes those who have waited for too long.
    pub(super) fn wake_overdue(&self, now: Instant) {
        wake(|section| self.waiters.take(section, |until| until.deadline().is_some_and(|deadline| now >= deadline)));
    }

    /// When [`wake_overdue`](Self::wake_overdue) has somebody to wake.
    pub(super) fn next_overdue(&self) -> Option<Instant> {
        critical_section::with(|section| self.waiters.next_deadline(section))
    }

    /// A task does not wait any more.
    pub(super) fn stop_waiting(&self, until: Until) {
        // What is dropped here is dropped outside of the chip.
        for _ in 0..WAITERS {
            let stopped = critical_section::with(|section| self.waiters.take(section, |other| other == until));
            if stopped.is_none() {
                return;
            }
        }
    }
}

/// Wakes one after the other. Those that registered meanwhile are the next step's matter, so that this ends.
fn wake(next: impl Fn(CriticalSection<'_>) -> Option<Waker>) {
    for _ in 0..WAITERS {
        let Some(waker) = critical_section::with(&next) else { return };
        waker.wake();
    }
}
