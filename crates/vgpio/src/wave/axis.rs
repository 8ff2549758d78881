//! The axis of time: where its marks are, what they say, and numbers that people read.

use std::time::Duration;

use super::signal::{Measure, Rhythm};

/// Nanoseconds of a unit, and its name.
const UNITS: [(u64, &str); 4] = [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "µs"), (1, "ns")];

/// A mark on the axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) at: Duration,
    pub(super) label: String,
}

/// The marks of a window: at multiples of 1, 2 or 5 times a power of ten, with room between
/// them for not more than so many gaps.
pub(super) fn marks(from: Duration, to: Duration, most: usize) -> Vec<Mark> {
    let (from, to) = (nanoseconds(from), nanoseconds(to));
    let most = u64::try_from(most).unwrap_or(u64::MAX).max(1);
    let step = step(to.saturating_sub(from).div_ceil(most));
    let unit = UNITS.into_iter().find(|(size, _)| *size <= to).unwrap_or((1, "ns"));
    let first = from.div_ceil(step).saturating_mul(step);
    let marks = std::iter::successors(Some(first), |at| at.checked_add(step)).take_while(|at| *at <= to);
    marks.map(|at| Mark { at: Duration::from_nanos(at), label: label(at, step, unit) }).collect()
}

/// The smallest of 1, 2, 5, 10, 20, … that is at least that.
fn step(least: u64) -> u64 {
    let mut decade = 1_u64;
    loop {
        // At the end of all numbers it is the largest.
        for factor in [1, 2, 5] {
            let step = decade.saturating_mul(factor);
            if step >= least {
                return step;
            }
        }
        decade = decade.saturating_mul(10);
    }
}

/// A time in a unit, with as many decimals as the step needs.
fn label(at: u64, step: u64, (unit, name): (u64, &str)) -> String {
    let mut decimals = 0_usize;
    let mut rest = unit;
    while rest > 1 && step.checked_rem(rest) != Some(0) {
        decimals = decimals.saturating_add(1);
        rest = rest.checked_div(10).unwrap_or_default();
    }
    let whole = at.checked_div(unit).unwrap_or_default();
    let fraction = at.checked_rem(unit).and_then(|fraction| fraction.checked_div(rest)).unwrap_or_default();
    if decimals == 0 { format!("{whole} {name}") } else { format!("{whole}.{fraction:0decimals$} {name}") }
}

pub(super) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// What can be said about the edges of a line: how many rise and fall, `3↑ 2↓`, and its rhythm where it has one,
/// `2.00 Hz, 50 % high`.
pub(super) fn note(measure: &Measure, up: &str, down: &str) -> (String, Option<String>) {
    let edges = format!("{}{up} {}{down}", measure.rising, measure.falling);
    (edges, measure.rhythm.map(rhythm))
}

fn rhythm(Rhythm { hertz, duty }: Rhythm) -> String {
    /// From here on it is shown as one of the unit.
    const ROUNDED: f64 = 0.9995;
    let units = [(1e6, "MHz"), (1e3, "kHz"), (1.0, "Hz"), (1e-3, "mHz")];
    let (size, unit) = units.into_iter().find(|(size, _)| hertz >= *size * ROUNDED).unwrap_or((1e-3, "mHz"));
    let hertz = hertz / size;
    let decimals = match hertz {
        100.0.. => 0,
        10.0.. => 1,
        _ => 2,
    };
    format!("{hertz:.decimals$} {unit}, {:.0} % high", duty * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(from: u64, to: u64, most: usize) -> Vec<String> {
        let marks = marks(Duration::from_nanos(from), Duration::from_nanos(to), most);
        marks.into_iter().map(|mark| mark.label).collect()
    }

    #[test]
    fn marks_are_round_and_few() {
        assert_eq!(labels(0, 2_000_000_000, 4), ["0.0 s", "0.5 s", "1.0 s", "1.5 s", "2.0 s"]);
        assert_eq!(labels(0, 10_000_000_000, 4), ["0 s", "5 s", "10 s"]);
        assert_eq!(labels(1_100_000, 2_300_000, 4), ["1.5 ms", "2.0 ms"]);
        assert_eq!(labels(0, 30_000, 3), ["0 µs", "10 µs", "20 µs", "30 µs"]);
        assert_eq!(labels(0, 0, 4), ["0 ns"]);
        assert_eq!(labels(12_345_678_000, 12_345_680_000, 2), ["12.345678 s", "12.345679 s", "12.345680 s"]);
        for (from, to) in [(0, u64::MAX), (u64::MAX, u64::MAX), (u64::MAX - 3, u64::MAX)] {
            for most in [0, 1, 7, 1000] {
                assert!(labels(from, to, most).len() <= most.max(1) + 1);
            }
        }
    }

    #[test]
    fn rhythm_is_told_in_a_fitting_unit() {
        let measure = |hertz| Measure { rising: 3, falling: 1, rhythm: Some(Rhythm { hertz, duty: 0.25 }) };
        let told = |hertz| note(&measure(hertz), "↑", "↓");
        assert_eq!(told(2.0), ("3↑ 1↓".to_owned(), Some("2.00 Hz, 25 % high".to_owned())));
        assert_eq!(told(12_345.0).1.unwrap(), "12.3 kHz, 25 % high");
        assert_eq!(told(0.5).1.unwrap(), "500 mHz, 25 % high");
        assert_eq!(told(0.9999).1.unwrap(), "1.00 Hz, 25 % high");
        assert_eq!(note(&Measure::default(), "+", "-"), ("0+ 0-".to_owned(), None));
    }
}
