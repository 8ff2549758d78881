//! Near misses.

/// The candidate that was probably meant.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// Less alike, and a suggestion is a guess.
    const ALIKE: f64 = 0.7;
    let scored = candidates.into_iter().map(|candidate| (strsim::jaro_winkler(word, candidate), candidate));
    let best = scored.filter(|(score, _)| *score > ALIKE).max_by(|(left, _), (right, _)| left.total_cmp(right));
    best.map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_understood_and_other_words_are_not() {
        let known = ["wait-serial", "write-serial", "delay", "expect-pin"];
        assert_eq!(nearest("wait-seral", known), Some("wait-serial"));
        assert_eq!(nearest("expect_pin", known), Some("expect-pin"));
        assert_eq!(nearest("dealy", known), Some("delay"));
        assert_eq!(nearest("blink", known), None);
        assert_eq!(nearest("", known), None);
    }
}
