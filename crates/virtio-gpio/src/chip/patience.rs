//! Whether a caller who waits for an answer looks for it by itself or sleeps until the interrupt, learnt from how long
//! either took lately.
//!
//! To look is quicker where the device has a processor of its own; where it has to share the caller's, looking keeps it
//! from answering. Only the outcome tells, so both are measured.

use core::time::Duration;

/// One wait in so many is spent the other way, to learn whether that has become the better one. As long as it is, the next
/// one is, too.
const TRY_EVERY: u8 = 64;
/// An estimate moves by this part of itself towards each wait, however long that took: so it comes to lie where half of them
/// are longer, and one that something else held up says no more than any other.
const STEP: u64 = 8;

/// What was learnt of a device.
#[derive(Debug)]
pub(super) struct Patience {
    /// The longest that anybody looks; 0 for not at all.
    limit: u64,
    /// How long a wait takes that begins with looking, in nanoseconds; those that end with sleep are among them.
    looking: Option<u64>,
    /// How long a wait takes that is sleep from the start.
    sleeping: Option<u64>,
    waits: u8,
}

impl Patience {
    /// Nothing is known: the first wait looks.
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit: nanoseconds(limit), looking: None, sleeping: None, waits: 0 }
    }

    /// Whether looking has been better lately; where it is about the same, it spares both sides the interrupt.
    pub(super) fn prefers_looking(&self) -> bool {
        let about = self.sleeping.map_or(u64::MAX, |usual| usual.saturating_add(usual / STEP));
        self.limit > 0 && self.looking.is_none_or(|usual| usual <= self.limit && usual <= about)
    }

    /// How long the next wait is to begin with looking; `None` if not at all.
    pub(super) fn look_for(&mut self) -> Option<Duration> {
        if self.limit == 0 {
            return None;
        }
        self.waits = self.waits.wrapping_add(1);
        let look = self.prefers_looking() != self.waits.is_multiple_of(TRY_EVERY);
        look.then(|| self.length())
    }

    /// How long a wait begins with looking from which nothing is learnt; `None` if not at all.
    pub(super) fn look_unlearnt(&self) -> Option<Duration> {
        self.prefers_looking().then(|| self.length())
    }

    fn length(&self) -> Duration {
        // To sleep is not worth it before the time has passed that sleeping itself costs.
        let enough = self.looking.zip(self.sleeping).map(|(looking, sleeping)| looking.saturating_mul(2).max(sleeping));
        Duration::from_nanos(enough.unwrap_or(self.limit).min(self.limit))
    }

    /// A wait has ended with an answer. `looked` says how it began.
    pub(super) fn learn(&mut self, looked: bool, took: Duration) {
        let took = nanoseconds(took);
        let (way, other) = if looked { (&mut self.looking, self.sleeping) } else { (&mut self.sleeping, self.looking) };
        let usual = way.unwrap_or(took);
        // Never none: from nothing it would not rise again.
        let step = (usual / STEP).max(1);
        *way = Some(took.clamp(usual.saturating_sub(step), usual.saturating_add(step)));
        if looked != self.prefers_looking() && other.is_some_and(|other| took < other) {
            self.waits = self.waits.wrapping_sub(1);
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn us(microseconds: u64) -> Duration {
        Duration::from_micros(microseconds)
    }

    /// Many waits for a device that answers a caller who looks, and one who sleeps, in so long. Gives how many looked
    /// of the last 64.
    fn settle(patience: &mut Patience, looking: Duration, sleeping: Duration) -> usize {
        let mut wait = || {
            let looked = patience.look_for().is_some();
            patience.learn(looked, if looked { looking } else { sleeping });
            looked
        };
        for _ in 0..1000 {
            wait();
        }
        (0..64).filter(|_| wait()).count()
    }

    #[test]
    fn what_was_quicker_is_chosen() {
        let mut patience = Patience::new(us(50));
        assert_eq!(settle(&mut patience, us(20), us(70)), 63, "the device has its own processor");
        assert_eq!(settle(&mut patience, us(40), us(15)), 1, "now it shares the caller's");
        assert_eq!(settle(&mut patience, us(20), us(70)), 63, "and now it does not");
    }

    #[test]
    fn a_slow_device_is_slept_for() {
        let mut patience = Patience::new(us(50));
        assert_eq!(settle(&mut patience, us(5000), us(5000)), 1);
    }

    #[test]
    fn nobody_looks_longer_than_allowed() {
        let mut patience = Patience::new(us(50));
        assert_eq!(patience.look_for(), Some(us(50)), "nothing is known yet");
        settle(&mut patience, us(4), us(20));
        let learnt = patience.look_for().unwrap();
        assert!((us(18)..=us(23)).contains(&learnt), "{learnt:?}");
        settle(&mut patience, us(45), us(70));
        assert_eq!(patience.look_for(), Some(us(50)));
    }

    #[test]
    fn waits_that_something_else_held_up_say_little() {
        let mut patience = Patience::new(us(50));
        settle(&mut patience, us(4), us(20));
        for wait in 0..1000 {
            let looked = patience.look_for().is_some();
            let held_up = wait % 4 == 0;
            patience.learn(
                looked,
                if held_up {
                    us(10_000)
                } else if looked {
                    us(4)
                } else {
                    us(20)
                },
            );
            assert!(patience.prefers_looking(), "wait {wait}");
        }
    }

    #[test]
    fn a_better_way_is_found_soon() {
        let mut patience = Patience::new(us(50));
        settle(&mut patience, us(45), us(20));
        assert!(!patience.prefers_looking());
        let mut wait = || {
            let looked = patience.look_for().is_some();
            patience.learn(looked, if looked { us(4) } else { us(20) });
            patience.prefers_looking()
        };
        assert!((0..100).any(|_| wait()), "the first try leads to the next");
    }

    #[test]
    fn a_limit_of_zero_is_never() {
        let mut patience = Patience::new(Duration::ZERO);
        assert_eq!(settle(&mut patience, us(1), us(1000)), 0);
    }
}
