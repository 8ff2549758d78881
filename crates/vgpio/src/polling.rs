//! Whether to look at the queues again and again, or to sleep until the driver tells.
//!
//! To be woken on another processor takes a thread some thirty microseconds, which is longer than everything else about
//! a request. A driver that has just sent something, or has just been told something, often sends more at once.

use std::time::Duration;

/// How long the queues are looked at after a driver has sent something, or was told something, before the thread sleeps
/// until it is notified. The driver gets its answers sooner meanwhile, and the host has a busy processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Polling {
    /// For [`LEARNT_LIMIT`] at most, and only where that has been worth it lately.
    #[default]
    Learnt,
    /// Always for so long; zero is not at all.
    For(Duration),
}

/// The longest that anybody looks who was not told for how long.
pub const LEARNT_LIMIT: Duration = Duration::from_micros(100);

/// A thread that was kept from its processor for longer has shared it, most likely with the driver that it looked for.
const SHARED: Duration = Duration::from_micros(5);

/// What was learnt of the drivers' pace.
#[derive(Debug)]
pub(crate) struct Pace {
    polling: Polling,
    /// When a driver last sent something, or was told something.
    last: Option<Duration>,
    /// The queues are being looked at.
    looking: bool,
    /// Times of looking, counted round.
    looks: u8,
    /// Where it is looked whether the processor was shared: when looking began, and how long the thread had worked by then.
    sample: Option<(Duration, Duration)>,
    /// How often in a row looking was in vain, or held up the driver.
    doubts: u8,
    /// How many times a driver has to be quick before they are looked at again.
    owed: u8,
}

impl Pace {
    /// What happens to come late now and then says nothing.
    const FREE: u8 = 2;
    const MOST: u8 = 64;
    /// To ask how long the thread has worked takes a system call: it is asked for one in so many times of looking, and while
    /// there are doubts.
    const SAMPLE_EVERY: u8 = 8;

    pub(crate) fn new(polling: Polling) -> Self {
        Self { polling, last: None, looking: false, looks: 0, sample: None, doubts: 0, owed: 1 }
    }

    /// A driver has sent something. `worked` says for how long the thread has had a processor so far.
    pub(crate) fn sent(&mut self, now: Duration, worked: impl Fn() -> Duration) {
        if self.looking {
            if let Some((began, before)) = self.sample {
                let waited = now.saturating_sub(began).saturating_sub(worked().saturating_sub(before));
                // Though it came: a driver that shares the processor comes when it gets it, looking or not.
                if waited > SHARED { self.doubt() } else { self.doubts = 0 }
            }
        } else if self.since(now).is_some_and(|since| since <= LEARNT_LIMIT) {
            self.owed = self.owed.saturating_sub(1);
        }
        self.begin(now, worked);
    }

    /// A driver was told something of which it did not ask.
    pub(crate) fn told(&mut self, now: Duration, worked: impl Fn() -> Duration) {
        self.begin(now, worked);
    }

    fn begin(&mut self, now: Duration, worked: impl Fn() -> Duration) {
        self.last = Some(now);
        self.sample = None;
        self.looking = match self.polling {
            Polling::Learnt => self.owed == 0,
            Polling::For(limit) => !limit.is_zero(),
        };
        if self.looking && self.polling == Polling::Learnt {
            self.looks = self.looks.wrapping_add(1);
            let sampled = self.doubts > 0 || self.looks.is_multiple_of(Self::SAMPLE_EVERY);
            self.sample = sampled.then(|| (now, worked()));
        }
    }

    /// Whether to look again instead of sleeping.
    pub(crate) fn goes_on(&mut self, now: Duration) -> bool {
        let limit = match self.polling {
            Polling::Learnt => LEARNT_LIMIT,
            Polling::For(limit) => limit,
        };
        if self.looking && self.since(now).is_some_and(|since| since >= limit) {
            self.looking = false;
            self.doubt();
        }
        self.looking
    }

    /// Where a driver cannot come because this thread has its processor, trying has to be rare.
    fn doubt(&mut self) {
        self.doubts = self.doubts.saturating_add(1);
        let costly = u32::from(self.doubts.saturating_sub(Self::FREE));
        self.owed = 1u8.checked_shl(costly).unwrap_or(Self::MOST).min(Self::MOST).saturating_sub(1);
    }

    fn since(&self, now: Duration) -> Option<Duration> {
        self.last.map(|last| now.saturating_sub(last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn us(microseconds: u64) -> Duration {
        Duration::from_micros(microseconds)
    }

    /// A driver that sends something after each of the pauses, again and again. Where it shares the processor, it sends
    /// nothing before nobody looks any more, but for each other time, when it is given the processor in between. Gives how
    /// often it is looked for in 64 rounds.
    #[expect(clippy::arithmetic_side_effects, reason = "small counts")]
    fn looked_for(pauses: &[u64], shares: bool) -> usize {
        let mut pace = Pace::new(Polling::Learnt);
        let (mut now, mut worked, mut given) = (Duration::ZERO, Duration::ZERO, false);
        let mut round = || {
            let mut looks = 0;
            for pause in pauses {
                let mut next = now.saturating_add(us(*pause));
                if pace.goes_on(now) {
                    looks += 1;
                    let end = now.saturating_add(LEARNT_LIMIT);
                    given = !given;
                    if next >= end || shares && !given {
                        assert!(!pace.goes_on(end), "it ends");
                        next = next.max(end.saturating_add(us(*pause)));
                    } else if !shares {
                        worked = worked.saturating_add(us(*pause));
                    }
                }
                now = next;
                pace.sent(now, || worked);
            }
            looks
        };
        for _ in 0..1000 {
            round();
        }
        (0..64).map(|_| round()).sum()
    }

    #[test]
    fn a_quick_driver_is_looked_for_and_a_slow_one_is_not() {
        assert_eq!(looked_for(&[10], false), 64);
        assert_eq!(looked_for(&[99], false), 64);
        assert_eq!(looked_for(&[101], false), 0);
        assert_eq!(looked_for(&[500_000], false), 0);
    }

    #[test]
    fn a_driver_that_shares_the_processor_is_rarely_looked_for() {
        assert_eq!(looked_for(&[10], true), 1);
        assert_eq!(looked_for(&[60], true), 1);
    }

    #[test]
    fn a_driver_that_rests_after_two_requests_is_looked_for() {
        assert_eq!(looked_for(&[1000, 30], false), 128);
    }

    #[test]
    fn what_a_driver_was_told_begins_the_time() {
        let mut pace = Pace::new(Polling::Learnt);
        let worked = || us(0);
        pace.told(us(10_000), worked);
        assert!(!pace.goes_on(us(10_000)), "nothing is known yet");
        pace.sent(us(10_070), worked);
        pace.told(us(30_000), worked);
        assert!(pace.goes_on(us(30_099)));
        assert!(!pace.goes_on(us(30_100)));
    }

    #[test]
    fn a_time_that_was_asked_for_is_kept() {
        let mut pace = Pace::new(Polling::For(us(500)));
        assert!(!pace.goes_on(us(0)), "nobody has sent anything yet");
        pace.sent(us(10_000), || us(0));
        assert!(pace.goes_on(us(10_499)));
        assert!(!pace.goes_on(us(10_500)));
        let mut pace = Pace::new(Polling::For(us(0)));
        pace.sent(us(10_000), || us(0));
        assert!(!pace.goes_on(us(10_000)));
    }
}
