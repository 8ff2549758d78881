//! Completion of the word that is being typed.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::commands::{COMMANDS, Description, Word};

/// Candidates that are listed; a device can have 65,535 lines.
const LISTED: usize = 32;

/// What completion needs to know of the devices.
pub(super) trait Names {
    /// How many devices there are.
    fn chips(&self) -> usize;
    /// Calls `found` with the name of every line that has one, and the number of its device.
    fn visit(&self, found: &mut dyn FnMut(usize, &[u8]));
}

/// What is to be done to complete a word.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Completion {
    /// Nothing fits.
    None,
    /// This is to be added to the text.
    Insert(String),
    /// More than one thing fits, and there is nothing to add: show what there is, and how many more.
    List(Vec<String>, usize),
}

/// What fits, gathered.
#[derive(Default)]
struct Candidates {
    /// What all have in common.
    common: Option<String>,
    count: usize,
    longest: usize,
    listed: Vec<String>,
}

impl Candidates {
    fn add(&mut self, candidate: &str) {
        self.count = self.count.saturating_add(1);
        self.longest = self.longest.max(candidate.len());
        match &mut self.common {
            None => self.common = Some(candidate.into()),
            // ASCII, so that every length is one of characters.
            Some(common) => {
                let same = common.bytes().zip(candidate.bytes()).take_while(|(a, b)| a == b).count();
                common.truncate(same);
            }
        }
        if self.listed.len() < LISTED {
            self.listed.push(candidate.into());
        }
    }

    fn finish(mut self, word: &str) -> Completion {
        let Some(common) = self.common else { return Completion::None };
        let only_one = common.len() == self.longest;
        let end = if only_one && !common.ends_with(':') { " " } else { "" };
        let rest = common.get(word.len()..).unwrap_or_default();
        if rest.is_empty() && end.is_empty() {
            self.listed.sort_unstable();
            let more = self.count.saturating_sub(self.listed.len());
            // Devices can have lines of the same name.
            self.listed.dedup();
            return Completion::List(self.listed, more);
        }
        Completion::Insert(format!("{rest}{end}"))
    }
}

/// Completes the last word of `text`, printable ASCII.
pub(super) fn complete(text: &str, names: &impl Names) -> Completion {
    let (before, word) = text.rsplit_once(' ').unwrap_or(("", text));
    let mut before = before.split_ascii_whitespace();
    let kind = match before.next() {
        None => Some(Word::Command),
        Some(name) => Description::find(name).and_then(|found| found.words.get(before.count()).copied()),
    };
    let mut candidates = Candidates::default();
    let mut add = |candidate: &str| {
        if candidate.starts_with(word) {
            candidates.add(candidate);
        }
    };
    match kind {
        None => (),
        Some(Word::Command) => COMMANDS.iter().for_each(|command| add(command.name)),
        Some(Word::OneOf(words)) => words.iter().copied().for_each(add),
        Some(Word::Chip) => (0..names.chips()).for_each(|chip| add(&format!("gpio{chip}"))),
        Some(Word::Line) => {
            let chips: Vec<_> = (0..names.chips()).map(|chip| format!("gpio{chip}:")).collect();
            let chip_given = chips.iter().position(|chip| word.starts_with(chip.as_str()));
            if chip_given.is_none() && !word.is_empty() {
                for chip in &chips {
                    add(chip);
                }
            }
            names.visit(&mut |chip, name| {
                let Some(name) = core::str::from_utf8(name).ok().filter(|name| can_be_typed(name)) else { return };
                match (chip_given, chips.get(chip)) {
                    (None, _) => add(name),
                    (Some(given), Some(prefix)) if given == chip => add(&format!("{prefix}{name}")),
                    _ => (),
                }
            });
        }
    }
    candidates.finish(word)
}

/// Whether a line's name is a word, and not taken for a number.
fn can_be_typed(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_graphic()) && !name.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Fake(Vec<Vec<&'static [u8]>>);

    impl Names for Fake {
        fn chips(&self) -> usize {
            self.0.len()
        }
        fn visit(&self, found: &mut dyn FnMut(usize, &[u8])) {
            for (chip, names) in self.0.iter().enumerate() {
                for name in names {
                    found(chip, name);
                }
            }
        }
    }

    fn fake() -> Fake {
        Fake(vec![vec![b"led0", b"led1", b"button0", b"two words", b"12", b"\xffx"], vec![b"led0", b"gpioish"]])
    }

    fn completed(text: &str) -> Completion {
        complete(text, &fake())
    }

    fn insert(text: &str) -> Completion {
        Completion::Insert(text.into())
    }

    fn list(words: &[&str]) -> Completion {
        Completion::List(words.iter().map(|word| (*word).into()).collect(), 0)
    }

    #[test]
    fn words_are_completed() {
        for (text, expected) in [
            ("wat", insert("ch ")),
            ("se", insert("t ")),
            ("set", insert(" ")),
            ("x", Completion::None),
            ("s", list(&["set", "stats"])),
            ("get l", insert("ed")),
            ("get led", list(&["led0", "led1"])),
            ("get led0", insert(" ")),
            ("get b", insert("utton0 ")),
            ("get tw", Completion::None),
            ("get 1", Completion::None),
            ("get gpioi", insert("sh ")),
            ("get gpio", list(&["gpio0:", "gpio1:", "gpioish"])),
            ("get gpio1", insert(":")),
            ("get gpio1:l", insert("ed0 ")),
            ("get gpio1:", list(&["gpio1:gpioish", "gpio1:led0"])),
            ("get gpio7:", Completion::None),
            ("get led0 ", Completion::None),
            ("set led0 h", insert("igh ")),
            ("set led0 o", list(&["off", "on"])),
            ("dir  led0  n", insert("one ")),
            ("watch led0 f", insert("alling ")),
            ("reset ", insert("gpio")),
            ("reset gpio", list(&["gpio0", "gpio1"])),
            ("help wa", insert("tch ")),
            ("nothing l", Completion::None),
        ] {
            assert_eq!(completed(text), expected, "{text:?}");
        }
        assert!(matches!(completed(""), Completion::List(words, 0) if words.len() == COMMANDS.len()));
    }

    #[test]
    fn long_lists_are_cut() {
        struct Many;
        impl Names for Many {
            fn chips(&self) -> usize {
                1
            }
            fn visit(&self, found: &mut dyn FnMut(usize, &[u8])) {
                (0..65_535).for_each(|line| found(0, format!("line{line}").as_bytes()));
            }
        }
        let Completion::List(words, more) = complete("get line", &Many) else { panic!() };
        assert_eq!((words.len(), more), (LISTED, 65_535 - LISTED));
    }

    proptest! {
        #[test]
        fn any_text_can_be_completed(text in "[ -~]{0,128}") {
            completed(&text);
        }

        #[test]
        fn what_is_inserted_leads_to_a_word_that_fits(text in "(get|set|watch|help|reset) [a-z0-9:]{0,7}") {
            if let Completion::Insert(rest) = completed(&text) {
                let whole = format!("{text}{rest}");
                prop_assert_ne!(complete(whole.trim_end(), &fake()), Completion::None);
            }
        }
    }
}
