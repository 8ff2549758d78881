//! What the commands for a running simulation have in common. They follow the tools of libgpiod 2 in their words and
//! formats.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use vgpio::control::client::Client;
use vgpio::control::message::LineState;
use vgpio::duration;

/// Where the simulation is, and how its lines are named.
#[derive(Debug, Args)]
pub(crate) struct Selection {
    /// The control socket of the simulation
    #[arg(long, value_name = "PATH", env = "VGPIO_CONTROL")]
    control: PathBuf,
    /// Only lines of that chip: 0 or gpiochip0
    #[arg(short, long, value_parser = parse_chip)]
    pub(crate) chip: Option<usize>,
    /// Do not put names in quotes
    #[arg(long)]
    pub(crate) unquoted: bool,
}

impl Selection {
    pub(crate) fn connect(&self) -> anyhow::Result<Client> {
        Client::connect(&self.control)
    }

    /// A line as the simulation is to be asked for it.
    pub(crate) fn line(&self, word: &str) -> String {
        self.chip.map_or_else(|| word.to_owned(), |chip| format!("gpio{chip}:{word}"))
    }

    /// A name as it is shown.
    pub(crate) fn quoted(&self, name: &str) -> String {
        if self.unquoted { name.to_owned() } else { format!("\"{name}\"") }
    }
}

/// A chip as it is shown.
pub(crate) fn chip_name(chip: usize) -> String {
    format!("gpiochip{chip}")
}

/// The position and the name of a line, as they are shown.
pub(crate) fn place(selection: &Selection, line: &LineState) -> String {
    let place = format!("{} {}", chip_name(line.chip), line.line);
    if line.name.is_empty() { place } else { format!("{place} {}", selection.quoted(&line.name)) }
}

/// The names of lines in a sentence.
pub(crate) fn listed(words: &[&str]) -> String {
    match words {
        [] => "all lines".to_owned(),
        [one] => format!("line '{one}'"),
        [many @ .., last] => {
            let many: Vec<_> = many.iter().map(|word| format!("'{word}'")).collect();
            format!("lines {}, and '{last}'", many.join(", "))
        }
    }
}

/// A period with a unit; milliseconds without one.
pub(crate) fn parse_period(text: &str) -> Result<Duration, String> {
    text.parse().map(Duration::from_millis).or_else(|_| duration::parse(text))
}

fn parse_chip(text: &str) -> Result<usize, String> {
    let number = text.strip_prefix("gpiochip").unwrap_or(text);
    number.parse().map_err(|_| "expected the number of a chip: 0 or gpiochip0".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chips_are_numbers_with_or_without_their_kind() {
        assert_eq!(parse_chip("gpiochip3"), Ok(3));
        assert_eq!(parse_chip("0"), Ok(0));
        assert!(parse_chip("gpiochip").is_err());
        assert!(parse_chip("/dev/gpiochip0").is_err());
    }

    #[test]
    fn periods_are_milliseconds_unless_they_say_otherwise() {
        assert_eq!(parse_period("20"), Ok(Duration::from_millis(20)));
        assert_eq!(parse_period("20us"), Ok(Duration::from_micros(20)));
        assert!(parse_period("soon").is_err());
    }

    #[test]
    fn lines_are_listed_in_a_sentence() {
        assert_eq!(listed(&["a"]), "line 'a'");
        assert_eq!(listed(&["a", "b", "c"]), "lines 'a', 'b', and 'c'");
    }
}
