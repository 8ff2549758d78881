//! What the outside does to a line by itself once it was told to.

use std::time::Duration;

use rand_core::{Rng, SeedableRng};
use rand_xorshift::XorShiftRng;
use virtio_gpio::messages::Level;

/// The shortest period. Waveforms count in microseconds, so that each edge of it can be seen.
const SHORTEST_PERIOD: Duration = Duration::from_micros(2);

/// A series of levels that the outside drives a line to. The first one comes at once, when the stimulus is applied; the
/// others follow at exact times after that, whatever delay the world itself had: a stimulus does not drift.
///
/// Each of them keeps driving the line to its last level when it is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stimulus {
    /// The level, and from `width` later on the opposite level. A width of zero is a glitch: both changes come at the
    /// same instant, in this order.
    Pulse {
        /// The level at first.
        level: Level,
        /// For how long.
        width: Duration,
    },
    /// A square wave: high for the first half of each period, low for the second. It begins with high, and ends low
    /// after so many periods. It is [`Stimulus::Pwm`] with half of the period as `high`.
    Clock {
        /// The time between two rising edges; at least 2 µs.
        period: Duration,
        /// The number of rising edges; `None` for no end.
        cycles: Option<u64>,
    },
    /// High for the first part of each period, low for the rest. It begins with high, and is low when it is over,
    /// `cycles` periods after it began. With `high` of zero it is low from the beginning; when `high` is as long as the
    /// period or longer it is high without an edge until it is over.
    Pwm {
        /// The time between two rising edges; at least 2 µs.
        period: Duration,
        /// The time from a rising edge to the falling edge.
        high: Duration,
        /// The number of periods; `None` for no end.
        cycles: Option<u64>,
    },
    /// A contact that closes or opens, and chatters. The line goes to `to` at once, and then to and fro until it has
    /// changed `changes` times; the last change comes exactly `over` after the first one and leaves it at `to`. So that
    /// it can, an even number of changes is one more, and none is one: then the contact does not bounce. When the line
    /// was at `to` before, the first change is none.
    ///
    /// The times between them are whole microseconds, at least one each (`over` is stretched if it has no room for
    /// that), and depend on nothing but `over`, `changes` and `seed`.
    Bounce {
        /// The level in the end.
        to: Level,
        /// From the first change to the last one.
        over: Duration,
        /// The number of changes.
        changes: u32,
        /// The same seed gives the same times.
        seed: u64,
    },
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    /// How long after the step before.
    pub(super) after: Duration,
    /// What the line is driven to.
    pub(super) level: Level,
}

/// The steps of a stimulus after its first level.
#[derive(Debug, Clone)]
pub(super) enum Course {
    Over,
    Once(Step),
    /// The next step is the end of the high part, or else that of the low part.
    Wave {
        is_high: bool,
        high: Duration,
        low: Duration,
        /// Periods whose high part is still to come.
        left: Option<u64>,
    },
    Bounce {
        level: Level,
        /// Changes to come.
        left: u32,
        /// Microseconds until the last one, beyond the one that each needs.
        spare: u64,
        random: XorShiftRng,
    },
}

impl Stimulus {
    /// The first level, and what follows.
    pub(super) fn begin(self) -> (Level, Course) {
        match self {
            Self::Pulse { level, width } => (level, Course::Once(Step { after: width, level: level.toggled() })),
            Self::Clock { period, cycles } => {
                let period = period.max(SHORTEST_PERIOD);
                wave(period, period.checked_div(2).unwrap_or_default(), cycles)
            }
            Self::Pwm { period, high, cycles } => wave(period, high, cycles),
            Self::Bounce { to, over, changes, seed } => {
                let left = changes.saturating_sub(1).next_multiple_of(2);
                let over = u64::try_from(over.as_micros()).unwrap_or(u64::MAX);
                let spare = over.saturating_sub(left.into());
                let random = XorShiftRng::seed_from_u64(seed);
                (to, Course::Bounce { level: to, left, spare, random })
            }
        }
    }
}

fn wave(period: Duration, high: Duration, cycles: Option<u64>) -> (Level, Course) {
    let period = period.max(SHORTEST_PERIOD);
    if high.is_zero() || cycles == Some(0) {
        return (Level::Low, Course::Over);
    }
    let low = period.saturating_sub(high);
    if !low.is_zero() {
        let left = cycles.map(|cycles| cycles.saturating_sub(1));
        return (Level::High, Course::Wave { is_high: true, high, low, left });
    }
    let all = cycles.map(|cycles| {
        let nanoseconds = period.as_nanos().saturating_mul(cycles.into());
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    });
    (Level::High, all.map_or(Course::Over, |after| Course::Once(Step { after, level: Level::Low })))
}

impl Iterator for Course {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        match self {
            Self::Over => None,
            Self::Once(step) => {
                let step = *step;
                *self = Self::Over;
                Some(step)
            }
            Self::Wave { is_high, high, low, left } => {
                if let (false, Some(left)) = (*is_high, left) {
                    *left = left.checked_sub(1)?;
                }
                let after = if *is_high { *high } else { *low };
                *is_high = !*is_high;
                Some(Step { after, level: Level::from(*is_high) })
            }
            Self::Bounce { level, left, spare, random } => {
                *left = left.checked_sub(1)?;
                let extra = match u64::from(*left) {
                    0 => *spare,
                    after_this => below(random, share(*spare, after_this)),
                };
                *spare = spare.saturating_sub(extra);
                *level = level.toggled();
                Some(Step { after: Duration::from_micros(extra.saturating_add(1)), level: *level })
            }
        }
    }
}

/// One more than the most that a gap may take of the spare time, when so many others shall have some, too: twice their
/// fair share, so that it is the fair share on average.
fn share(spare: u64, others: u64) -> u64 {
    let gaps = others.saturating_add(1);
    spare.saturating_mul(2).checked_div(gaps).unwrap_or_default().min(spare).saturating_add(1)
}

/// A random number below the limit.
fn below(random: &mut XorShiftRng, limit: u64) -> u64 {
    let scaled = u128::from(random.next_u64()).saturating_mul(limit.into());
    u64::try_from(scaled >> u64::BITS).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When the line goes where, in microseconds.
    fn levels(stimulus: Stimulus) -> Vec<(u128, bool)> {
        let (first, course) = stimulus.begin();
        let mut at = Duration::ZERO;
        let later = course.take(100).map(|step| {
            at = at.saturating_add(step.after);
            (at.as_micros(), step.level.into())
        });
        std::iter::once((0, first.into())).chain(later).collect()
    }

    fn us(microseconds: u64) -> Duration {
        Duration::from_micros(microseconds)
    }

    #[test]
    fn pulse_is_a_level_and_then_the_opposite() {
        assert_eq!(levels(Stimulus::Pulse { level: Level::Low, width: us(5) }), [(0, false), (5, true)]);
        assert_eq!(levels(Stimulus::Pulse { level: Level::High, width: us(0) }), [(0, true), (0, false)]);
    }

    #[test]
    fn waves_have_their_edges_at_exact_times() {
        let clock = |period, cycles| levels(Stimulus::Clock { period: us(period), cycles });
        assert_eq!(clock(10, Some(2)), [(0, true), (5, false), (10, true), (15, false)]);
        assert_eq!(clock(0, Some(2)), [(0, true), (1, false), (2, true), (3, false)], "the shortest period");
        assert_eq!(clock(10, Some(0)), [(0, false)]);
        assert_eq!(clock(10, None).len(), 101);
        let pwm = |high, cycles| levels(Stimulus::Pwm { period: us(10), high: us(high), cycles });
        assert_eq!(pwm(3, Some(2)), [(0, true), (3, false), (10, true), (13, false)]);
        assert_eq!(pwm(0, Some(2)), [(0, false)]);
        assert_eq!(pwm(10, Some(2)), [(0, true), (20, false)]);
        assert_eq!(pwm(11, None), [(0, true)]);
    }

    #[test]
    fn contact_changes_as_often_as_told_and_ends_where_and_when_it_shall() {
        for to in [Level::Low, Level::High] {
            for (changes, made) in [(0, 1), (1, 1), (2, 3), (7, 7), (8, 9), (99, 99)] {
                for (over, end) in [(0, made - 1), (1000, 1000), (u64::MAX, u128::from(u64::MAX))] {
                    for seed in 0..20 {
                        let seen = levels(Stimulus::Bounce { to, over: us(over), changes, seed });
                        assert_eq!(seen.len(), usize::try_from(made).unwrap());
                        assert!(seen.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 != pair[1].1));
                        let end = if made == 1 { 0 } else { end };
                        assert_eq!((seen[0], *seen.last().unwrap()), ((0, to.into()), (end, to.into())));
                    }
                }
            }
        }
    }

    #[test]
    fn seed_decides_how_a_contact_bounces() {
        let bounce = |seed| levels(Stimulus::Bounce { to: Level::High, over: us(5000), changes: 7, seed });
        assert_eq!(bounce(1), bounce(1));
        assert_ne!(bounce(1), bounce(2));
        // Typed in: the same seed has to give the same times in later versions, too.
        assert_eq!(bounce(1).iter().map(|(at, _)| *at).collect::<Vec<_>>(), [0, 819, 1980, 2083, 3903, 4359, 5000]);
    }
}
