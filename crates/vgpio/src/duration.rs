//! Durations as people write them: `500ms`, `2s`, `250us`.

use std::time::Duration;

/// Reads a whole number and its unit: `us`, `ms` or `s`.
///
/// # Errors
///
/// What was expected.
pub fn parse(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| "expected a whole number and a unit: 500ms, 2s, 250us")?;
    match text.strip_prefix(digits) {
        Some("us") => Ok(Duration::from_micros(number)),
        Some("ms") => Ok(Duration::from_millis(number)),
        Some("s") => Ok(Duration::from_secs(number)),
        _ => Err("expected a unit: us, ms or s".to_owned()),
    }
}

/// Writes a duration for a reader: in the largest unit that leaves a number before the point, to three places.
pub fn shown(duration: Duration) -> String {
    let (unit, micros) = match duration.as_micros() {
        0 => return "0s".to_owned(),
        1..1_000 => ("us", 1.0),
        1_000..1_000_000 => ("ms", 1e3),
        _ => ("s", 1e6),
    };
    let number = format!("{:.3}", duration.as_secs_f64() * 1e6 / micros);
    format!("{}{unit}", number.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(parse("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse("2s"), Ok(Duration::from_secs(2)));
        assert_eq!(parse("250us"), Ok(Duration::from_micros(250)));
        for bad in ["", "5", "ms", "1.5s", "-1s", "5h", "99999999999999999999s"] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn durations_are_shown_as_short_as_they_can_be() {
        for (micros, text) in [(0, "0s"), (250, "250us"), (1_500, "1.5ms"), (20_000, "20ms"), (2_000_000, "2s")] {
            assert_eq!(shown(Duration::from_micros(micros)), text);
        }
        assert_eq!(shown(Duration::from_nanos(12_345_678)), "12.346ms");
    }
}
