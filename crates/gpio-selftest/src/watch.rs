//! The kernel's clock, with the device at work while the driver waits, and an eye on whether time goes on: so that the
//! self-test ends where it does not.

use alloc::sync::Arc;
use core::cell::Cell;
use core::time::Duration;

use critical_section::Mutex;
use gpio_loopback::Machine;
use virtio_gpio::clock::{Clock, Instant};

/// After so many looks in a row at a clock that has not moved, it is taken to stand still.
const LOOKS: u32 = 1_000_000;
/// What a look counts from then on.
const STEP: Duration = Duration::from_micros(10);

#[derive(Debug, Clone, Copy)]
struct Seen {
    last: Instant,
    /// Looks in a row at which the clock had not moved.
    looks: u32,
    /// What was added since the clock stands still.
    added: Duration,
    stood_still: bool,
    went_back: bool,
}

/// What is known of a clock.
#[derive(Debug)]
pub(crate) struct Watch(Mutex<Cell<Seen>>);

impl Watch {
    pub(crate) fn new() -> Arc<Self> {
        let seen = Seen {
            last: Instant::from_nanos(0),
            looks: 0,
            added: Duration::ZERO,
            stood_still: false,
            went_back: false,
        };
        Arc::new(Self(Mutex::new(Cell::new(seen))))
    }

    /// Takes note of what the clock says. Gives a time that goes on, whatever the clock does.
    fn look(&self, now: Instant) -> Instant {
        critical_section::with(|section| {
            let cell = self.0.borrow(section);
            let mut seen = cell.get();
            seen.went_back |= now < seen.last;
            if now > seen.last {
                seen.last = now;
                seen.looks = 0;
            } else {
                seen.looks = seen.looks.saturating_add(1);
                seen.stood_still |= seen.looks >= LOOKS;
            }
            if seen.stood_still {
                seen.added = seen.added.saturating_add(STEP);
            }
            cell.set(seen);
            seen.last.after(seen.added)
        })
    }

    fn seen(&self) -> Seen {
        critical_section::with(|section| self.0.borrow(section).get())
    }

    /// Whether the clock stood still. From then on, time goes on without it.
    pub(crate) fn stood_still(&self) -> bool {
        self.seen().stood_still
    }

    pub(crate) fn went_back(&self) -> bool {
        self.seen().went_back
    }

    /// Says that the clock stands still, where somebody has found out.
    pub(crate) fn set_still(&self) {
        critical_section::with(|section| {
            let cell = self.0.borrow(section);
            cell.set(Seen { stood_still: true, ..cell.get() });
        });
    }
}

/// A kernel's clock.
#[derive(Debug)]
pub(crate) struct WatchedClock<C> {
    clock: C,
    watch: Arc<Watch>,
    machine: Machine,
}

impl<C: Clock> WatchedClock<C> {
    pub(crate) fn new(clock: C, watch: Arc<Watch>, machine: Machine) -> Self {
        Self { clock, watch, machine }
    }

    /// Lets the device do what there is to do by now.
    fn work(&self) {
        self.machine.set_now(self.now());
        self.machine.run();
    }
}

impl<C: Clock> Clock for WatchedClock<C> {
    fn now(&self) -> Instant {
        self.watch.look(self.clock.now())
    }

    fn wait(&self, deadline: Instant, idle: &dyn Fn() -> bool) {
        self.work();
        if idle() && !self.watch.stood_still() {
            let until = self.machine.next_activity().map_or(deadline, |next| next.min(deadline));
            self.clock.wait(until, idle);
        }
    }

    fn relax(&self) {
        self.work();
        self.clock.relax();
    }
}
