//! The time seam.

use core::time::Duration;

/// A point in time: nanoseconds since an arbitrary start that does not change while the driver runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The point `nanoseconds` after the clock's start.
    pub const fn from_nanos(nanoseconds: u64) -> Self {
        Self(nanoseconds)
    }

    /// Nanoseconds since the clock's start.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The point `duration` later; the end of time where it does not fit.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// The time from `earlier` to here; zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Time, and a way to let it pass.
pub trait Clock {
    /// The present. Never goes back.
    fn now(&self) -> Instant;

    /// Passes time while the driver waits for its device. Called in a loop.
    ///
    /// Returns when an interrupt may have changed something, at `deadline` at the latest, or at any earlier moment: to
    /// return at once is always correct, and is what the default does (the driver then polls). An implementation that
    /// sleeps must not miss an interrupt that comes between the driver's last look and the sleep: it masks
    /// interrupts, calls `idle`, sleeps only if that says `true`, and in a way that a masked but pending interrupt ends (`wfi`).
    /// The driver may wait in any context in which its user calls it, also with interrupts masked.
    ///
    /// `idle` looks at shared memory only: it is cheap, and says whether there is nothing for the driver to do.
    fn wait(&self, deadline: Instant, idle: &dyn Fn() -> bool) {
        let _ = (deadline, idle);
        core::hint::spin_loop();
    }

    /// Passes a moment between two looks of a caller who polls for its answer rather than sleep
    /// ([`Options::poll_limit`](crate::Options::poll_limit)). By default the processor's hint for that.
    fn relax(&self) {
        core::hint::spin_loop();
    }
}

impl<C: Clock + ?Sized> Clock for &C {
    fn now(&self) -> Instant {
        (**self).now()
    }

    fn wait(&self, deadline: Instant, idle: &dyn Fn() -> bool) {
        (**self).wait(deadline, idle);
    }

    fn relax(&self) {
        (**self).relax();
    }
}
