//! Time since the start of the image, and waiting.

use core::sync::atomic::{AtomicU64, Ordering};

pub use virtio_gpio::clock::{Clock, Instant};

use super::interrupts;
use crate::arch;

const NANOSECONDS: u64 = 1_000_000_000;

static FREQUENCY: AtomicU64 = AtomicU64::new(0);
static START: AtomicU64 = AtomicU64::new(0);

/// The clock: time since the start of the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        let ticks = arch::timer::counter().saturating_sub(START.load(Ordering::Relaxed));
        Instant::from_nanos(nanoseconds(ticks, FREQUENCY.load(Ordering::Relaxed)))
    }

    fn wait(&self, deadline: Instant, idle: &dyn Fn() -> bool) {
        // A handler keeps interrupts of its own priority away, also from `wfi`, and so must not sleep.
        if interrupts::in_handler() {
            core::hint::spin_loop();
        } else {
            idle_until(deadline, idle);
        }
    }
}

/// Sleeps until an interrupt or `deadline`, unless `idle` says that there is something to do. Called in a loop.
///
/// `idle` is asked with interrupts masked, so that none can come between its answer and the sleep; the interrupt that
/// ends the sleep is served before this returns, unless the caller has masked interrupts.
pub fn idle_until(deadline: Instant, idle: &dyn Fn() -> bool) {
    let unmasked = arch::mask_interrupts();
    let deadline = interrupts::main_is_running().map_or(deadline, |resume| deadline.min(resume));
    if SystemClock.now() < deadline && idle() {
        arch::timer::arm(ticks_at(deadline));
        arch::wait_for_interrupt();
    }
    arch::restore_interrupts(unmasked);
}

/// Starts the clock, given the counter's frequency.
pub(super) fn start(frequency: u64) {
    START.store(arch::timer::counter(), Ordering::Relaxed);
    FREQUENCY.store(frequency, Ordering::Relaxed);
}

/// The time that a number of ticks takes; 0 as long as the frequency is not known.
fn nanoseconds(ticks: u64, frequency: u64) -> u64 {
    let Some(seconds) = ticks.checked_div(frequency) else { return 0 };
    let rest = ticks.checked_rem(frequency).unwrap_or(0);
    // The rest is less than a second, so this fits for frequencies of up to 18 GHz.
    let rest = rest.saturating_mul(NANOSECONDS).checked_div(frequency).unwrap_or(0);
    seconds.saturating_mul(NANOSECONDS).saturating_add(rest)
}

/// The number of ticks that take at least this time.
fn ticks(nanoseconds: u64, frequency: u64) -> u64 {
    let whole = (nanoseconds / NANOSECONDS).saturating_mul(frequency);
    let rest = (nanoseconds % NANOSECONDS).saturating_mul(frequency).div_ceil(NANOSECONDS);
    whole.saturating_add(rest)
}

fn ticks_at(instant: Instant) -> u64 {
    START.load(Ordering::Relaxed).saturating_add(ticks(instant.as_nanos(), FREQUENCY.load(Ordering::Relaxed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_is_never_shorter_than_the_time_asked_for() {
        for frequency in [10_000_000, 24_000_000, 62_500_000, 1_000_000_000] {
            for time in [0, 1, 15, 16, 17, 999_999_999, 1_000_000_001, 86_400_000_000_000] {
                let reached = nanoseconds(ticks(time, frequency), frequency);
                let tick = NANOSECONDS.div_ceil(frequency);
                // One nanosecond is lost when the time in ticks is not a whole number of nanoseconds.
                assert!(reached + 1 >= time, "{time} ns at {frequency} Hz gave {reached}");
                assert!(reached <= time + tick, "{time} ns at {frequency} Hz gave {reached}");
            }
        }
    }

    #[test]
    fn the_end_of_time_fits() {
        assert_eq!(ticks(u64::MAX, 1_000_000_000), u64::MAX);
        assert_eq!(ticks(u64::MAX, 4_000_000_000), u64::MAX);
        assert_eq!(nanoseconds(u64::MAX, 10_000_000), u64::MAX);
    }

    #[test]
    fn an_unknown_frequency_stops_the_clock() {
        assert_eq!(nanoseconds(12_345, 0), 0);
    }
}
