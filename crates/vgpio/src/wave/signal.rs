//! One bit over time.

use std::time::Duration;

/// What a bit can be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Value {
    /// 0.
    Low,
    /// 1.
    High,
    /// Nobody knows or cares: `x` or `z`.
    #[default]
    Unknown,
}

/// A bit changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// When.
    pub at: Duration,
    /// What it is from then on.
    pub value: Value,
}

/// One bit over time: its changes in order. Several at one time are all kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signal(Vec<Change>);

/// A bit during a stretch of time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Column {
    /// What it is right before.
    pub before: Value,
    /// What it is in the end.
    pub after: Value,
    /// How often it changes.
    pub changes: usize,
    /// How often it changes from low to high.
    pub rising: usize,
    /// How often it changes from high to low.
    pub falling: usize,
}

/// What can be said about the edges of a window.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Measure {
    pub(super) rising: usize,
    pub(super) falling: usize,
    /// Over the whole periods from the first to the last rising edge; only when there are at least three, and none is
    /// longer than twice another: all else is no rhythm.
    pub(super) rhythm: Option<Rhythm>,
}

/// A mean frequency, and the share of the time that a bit is high.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rhythm {
    pub(super) hertz: f64,
    pub(super) duty: f64,
}

impl Signal {
    /// Adds a change at the end. One to the same value is left out.
    pub(super) fn push(&mut self, at: Duration, value: Value) {
        if self.0.last().map_or(Value::Unknown, |last| last.value) != value {
            self.0.push(Change { at, value });
        }
    }

    /// The value at a time, after what changed at that time.
    pub fn at(&self, at: Duration) -> Value {
        let after = self.0.partition_point(|change| change.at <= at);
        self.0.get(..after).and_then(<[Change]>::last).map_or(Value::Unknown, |change| change.value)
    }

    /// The changes after `from`, up to and with `to`.
    pub fn between(&self, from: Duration, to: Duration) -> impl Iterator<Item = Change> {
        let begin = self.0.partition_point(|change| change.at <= from);
        self.0.get(begin..).unwrap_or_default().iter().copied().take_while(move |change| change.at <= to)
    }

    /// A window cut into so many columns of the same length. A change counts in the column that its time lies in, one at
    /// the end of the window in the last.
    pub fn columns(&self, from: Duration, to: Duration, count: usize) -> Vec<Column> {
        let mut columns = vec![Column::default(); count];
        let span = to.saturating_sub(from);
        let mut changes = self.between(from, to).peekable();
        let mut value = self.at(from);
        for (number, column) in columns.iter_mut().enumerate() {
            let is_here = |change: &Change| column_of(change.at.saturating_sub(from), span, count) <= number;
            column.before = value;
            while let Some(change) = changes.next_if(is_here) {
                column.changes = column.changes.saturating_add(1);
                match (value, change.value) {
                    (Value::Low, Value::High) => column.rising = column.rising.saturating_add(1),
                    (Value::High, Value::Low) => column.falling = column.falling.saturating_add(1),
                    _ => {}
                }
                value = change.value;
            }
            column.after = value;
        }
        columns
    }

    /// Counts and times the edges of a window.
    pub(super) fn measure(&self, from: Duration, to: Duration) -> Measure {
        const PERIODS: u32 = 3;
        let mut measure = Measure::default();
        let mut first_rise = None;
        let mut last_rise = from;
        let mut last_change = from;
        // High since the first rising edge, and the same up to the last one.
        let (mut high, mut high_at_rise) = (Duration::ZERO, Duration::ZERO);
        let (mut shortest, mut longest) = (Duration::MAX, Duration::ZERO);
        let mut value = self.at(from);
        for change in self.between(from, to) {
            if value == Value::High && first_rise.is_some() {
                high = high.saturating_add(change.at.saturating_sub(last_change));
            }
            match (value, change.value) {
                (Value::Low, Value::High) => {
                    measure.rising = measure.rising.saturating_add(1);
                    if first_rise.is_some() {
                        let period = change.at.saturating_sub(last_rise);
                        (shortest, longest) = (shortest.min(period), longest.max(period));
                    }
                    first_rise.get_or_insert(change.at);
                    (last_rise, high_at_rise) = (change.at, high);
                }
                (Value::High, Value::Low) => measure.falling = measure.falling.saturating_add(1),
                _ => {}
            }
            (value, last_change) = (change.value, change.at);
        }
        let periods = u32::try_from(measure.rising.saturating_sub(1)).unwrap_or(u32::MAX);
        let span = last_rise.saturating_sub(first_rise.unwrap_or(last_rise)).as_secs_f64();
        if periods >= PERIODS && span > 0.0 && longest <= shortest.saturating_mul(2) {
            measure.rhythm = Some(Rhythm { hertz: f64::from(periods) / span, duty: high_at_rise.as_secs_f64() / span });
        }
        measure
    }
}

/// In which of so many columns a time lies.
pub(super) fn column_of(at: Duration, span: Duration, count: usize) -> usize {
    let scaled = at.as_nanos().saturating_mul(u128::try_from(count).unwrap_or(u128::MAX));
    let column = scaled.checked_div(span.as_nanos()).unwrap_or_default();
    usize::try_from(column).unwrap_or(usize::MAX).min(count.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn us(microseconds: u64) -> Duration {
        Duration::from_micros(microseconds)
    }

    fn signal(changes: &[(u64, Value)]) -> Signal {
        let mut signal = Signal::default();
        for (at, value) in changes {
            signal.push(us(*at), *value);
        }
        signal
    }

    #[test]
    fn value_is_that_of_the_last_change() {
        let signal = signal(&[(2, Value::High), (5, Value::Low), (5, Value::High), (7, Value::Unknown)]);
        let at = [0, 1, 2, 4, 5, 6, 7, 9].map(|time| signal.at(us(time)));
        let (high, unknown) = (Value::High, Value::Unknown);
        assert_eq!(at, [unknown, unknown, high, high, high, high, unknown, unknown]);
        assert_eq!(signal.between(us(2), us(7)).count(), 3);
        assert_eq!(signal.between(us(9), us(2)).count(), 0);
    }

    #[test]
    fn columns_count_every_change_once() {
        let signal =
            signal(&[(0, Value::Low), (4, Value::High), (10, Value::Low), (11, Value::High), (20, Value::Low)]);
        let columns = signal.columns(us(0), us(20), 4);
        let seen: Vec<_> = columns.iter().map(|column| (column.rising, column.falling, column.after)).collect();
        assert_eq!(seen, [(1, 0, Value::High), (0, 0, Value::High), (1, 1, Value::High), (0, 1, Value::Low)]);
        assert!(signal.columns(us(0), us(20), 0).is_empty());
        let point = signal.columns(us(4), us(4), 3);
        assert!(point.iter().all(|column| (column.changes, column.after) == (0, Value::High)));
    }

    #[test]
    fn rhythm_is_that_of_whole_periods() {
        let mut signal = signal(&[(0, Value::Low)]);
        for period in 0..5 {
            signal.push(us(period * 1000 + 100), Value::High);
            signal.push(us(period * 1000 + 350), Value::Low);
        }
        let Measure { rising, falling, rhythm } = signal.measure(us(0), us(10_000));
        let Rhythm { hertz, duty } = rhythm.unwrap();
        assert_eq!((rising, falling), (5, 5));
        assert!((hertz - 1000.0).abs() < 1e-6 && (duty - 0.25).abs() < 1e-9, "{hertz} {duty}");
        assert_eq!(signal.measure(us(0), us(3000)).rhythm, None, "two periods are none yet");
        signal.push(us(6101), Value::High);
        assert_eq!(signal.measure(us(0), us(10_000)).rhythm, None, "one period is more than twice as long");
    }
}
