//! The boot arguments, and the choice of lines that they make: any text is understood or refused with a message, and no
//! line is chosen that is not there, twice, or beyond what its chip can do.

use std::collections::BTreeSet;

use arbitrary::{Arbitrary, Unstructured};
use guest::fuzzing::{ChipDescription, Selected, boot_arguments};

/// The names that the chips' lines can have; the arguments name them too.
const NAMES: [&str; 8] = ["led0", "led1", "button0", "3", "gpio0:1", "a:rising", "", "x"];

/// Pieces of which arguments are made that get past the first check.
const WORDS: [&str; 40] = [
    "blink=",
    "watch=",
    "period=",
    "count=",
    "for=",
    "timeout=",
    "log=",
    "protocol=",
    "none",
    "led0",
    "led1",
    "button0",
    "gpio0:",
    "gpio1:",
    "gpio2:",
    "0",
    "1",
    "3",
    "65535",
    "4294967296",
    ",",
    ":rising",
    ":falling",
    ":both",
    ":high",
    ":low",
    "ms",
    "us",
    "s",
    "auto",
    "ratified",
    "draft",
    "info",
    "trace",
    " ",
    "=",
    ":",
    "gpio",
    "18446744073709551615",
    "x",
];

#[derive(Debug, Arbitrary)]
enum Piece<'a> {
    Word(u8),
    Text(&'a str),
    Number(u64),
}

#[derive(Debug, Arbitrary)]
struct Chip {
    lines: u16,
    few: bool,
    names: u8,
    watch_limit: u8,
}

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    chips: Vec<Chip>,
    pieces: Vec<Piece<'a>>,
}

/// Chooses lines of the chips by the text.
pub fn run(data: &[u8]) {
    let Ok(Input { chips, pieces }) = Input::arbitrary_take_rest(Unstructured::new(data)) else { return };
    let text: String = pieces
        .iter()
        .map(|piece| match piece {
            Piece::Word(word) => WORDS[usize::from(*word) % WORDS.len()].into(),
            Piece::Text(text) => (*text).to_owned(),
            Piece::Number(number) => number.to_string(),
        })
        .collect();
    let chips: Vec<_> = chips
        .iter()
        .take(3)
        .map(|chip| ChipDescription {
            // A device without lines is no chip. Many lines are slow, and seldom more interesting than some.
            lines: 1 + if chip.few { chip.lines % 9 } else { chip.lines % 1200 },
            names: NAMES.get(usize::from(chip.names) % NAMES.len()..).unwrap_or_default(),
            watch_limit: chip.watch_limit.into(),
        })
        .collect();
    match boot_arguments(&text, &chips) {
        Ok(selected) => check(&selected, &chips),
        Err(message) => assert!(!message.is_empty()),
    }
}

fn check(selected: &Selected, chips: &[ChipDescription<'_>]) {
    assert!(!selected.period.is_zero() && !selected.timeout.is_zero());
    let mut seen = BTreeSet::new();
    for &(chip, line) in selected.blink.iter().chain(&selected.watch) {
        assert!(line < chips[chip].lines, "line {line} of chip {chip} does not exist");
        assert!(seen.insert((chip, line)), "line {line} of chip {chip} is used twice");
    }
    for (number, chip) in chips.iter().enumerate() {
        let of_chip = |list: &[(usize, u16)]| list.iter().filter(|(chip, _)| *chip == number).count();
        let (blink, watch) = (of_chip(&selected.blink), of_chip(&selected.watch));
        assert!(watch <= chip.watch_limit.into(), "{watch} lines are watched, more than the chip can");
        assert!(
            blink + watch <= selected.most_lines.into(),
            "{blink} and {watch} lines are more than there is room for"
        );
    }
}
