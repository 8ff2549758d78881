//! The way of the boot arguments from text to lines, for the fuzz targets.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use virtio_gpio::LineId;

use super::arguments::Arguments;
use super::selection::{ChipFacts, ChipLine, LINES_IN_USE, Selection};

/// A chip to choose from.
#[derive(Debug)]
pub struct ChipDescription<'a> {
    /// The number of lines.
    pub lines: u16,
    /// The names of the first lines.
    pub names: &'a [&'a str],
    /// How many lines can be watched at once.
    pub watch_limit: u16,
}

impl ChipDescription<'_> {
    fn named(&self) -> impl Iterator<Item = (LineId, &str)> {
        (0..self.lines).map(LineId).zip(self.names.iter().copied())
    }
}

impl ChipFacts for ChipDescription<'_> {
    fn lines(&self) -> u16 {
        self.lines
    }

    fn find(&self, name: &str) -> Option<LineId> {
        self.named().find(|(_, found)| !found.is_empty() && *found == name).map(|(line, _)| line)
    }

    fn starting_with(&self, prefix: &str) -> Vec<LineId> {
        self.named().filter(|(_, found)| found.starts_with(prefix)).map(|(line, _)| line).collect()
    }

    fn watch_limit(&self) -> u16 {
        self.watch_limit
    }
}

/// What the boot arguments lead to. A line is the number of its chip and its own.
#[derive(Debug)]
pub struct Selected {
    /// The lines that blink.
    pub blink: Vec<(usize, u16)>,
    /// The lines that are watched.
    pub watch: Vec<(usize, u16)>,
    /// A full on-off period.
    pub period: Duration,
    /// The deadline of a request.
    pub timeout: Duration,
    /// How many lines of one chip can be in use at once.
    pub most_lines: u16,
}

/// Reads the text and chooses lines.
///
/// # Errors
///
/// What the user is told.
pub fn boot_arguments(text: &str, chips: &[ChipDescription<'_>]) -> Result<Selected, String> {
    let arguments = Arguments::parse(text).map_err(|error| error.to_string())?;
    let selection = Selection::new(&arguments, chips)?;
    let numbers = |line: &ChipLine| (line.chip, line.line.0);
    Ok(Selected {
        blink: selection.blink.iter().map(numbers).collect(),
        watch: selection.watch.iter().map(|(line, _)| numbers(line)).collect(),
        period: arguments.period,
        timeout: arguments.timeout,
        most_lines: LINES_IN_USE,
    })
}
