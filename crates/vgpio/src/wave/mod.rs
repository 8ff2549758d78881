//! Waveforms that were recorded: reading them ([`Wave::read`]), drawing them as text ([`text`]) or as a picture ([`svg`]),
//! and writing them as JSON ([`json`]).

mod axis;
pub mod json;
mod read;
mod signal;
pub mod svg;
pub mod text;

use std::fmt;
use std::time::Duration;

pub use self::read::ReadError;
pub use self::signal::{Column, Signal, Value};
use crate::record::vcd::plain;

/// What is written where nobody has a name for it.
const NO_LINES: &str = "no lines";

/// One line of a waveform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its name.
    pub name: String,
    /// Its level.
    pub level: Signal,
    /// Whether the guest drives it, where that was recorded.
    pub output: Option<Signal>,
    /// Whether the outside drives it, where that was recorded.
    pub external: Option<Signal>,
}

/// A waveform: how lines changed over time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wave {
    /// The lines, in the order of the file.
    pub lines: Vec<Line>,
    /// The first time that the file tells of.
    pub begin: Duration,
    /// The last time that the file tells of.
    pub end: Duration,
    /// How many variables of the file are no lines: they have more than one bit, or are numbers or texts.
    pub left_out: usize,
}

/// The part of a waveform that is drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Where it begins.
    pub from: Duration,
    /// Where it ends.
    pub to: Duration,
    /// The lines to draw, by their positions in [`Wave::lines`], in this order.
    pub lines: Vec<usize>,
}

/// The waveform has no line of that name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoSuchLine {
    name: String,
    known: Vec<String>,
}

impl fmt::Display for NoSuchLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = if self.known.is_empty() { NO_LINES.to_owned() } else { self.known.join(", ") };
        write!(f, "There is no line {:?} in the waveform: it has {known}", self.name)
    }
}

impl std::error::Error for NoSuchLine {}

/// Who drives a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// The guest: the line is an output.
    Guest,
    /// The outside.
    Outside,
    /// Nobody, or the file does not tell.
    Nobody,
}

impl Line {
    /// Who drives the line at a time. Of both it is the guest, because the level is the guest's then.
    pub fn driver(&self, at: Duration) -> Driver {
        let is_high = |signal: &Option<Signal>| signal.as_ref().is_some_and(|signal| signal.at(at) == Value::High);
        match (is_high(&self.output), is_high(&self.external)) {
            (true, _) => Driver::Guest,
            (false, true) => Driver::Outside,
            (false, false) => Driver::Nobody,
        }
    }

    /// The times within a window at which the driver may become another, in order, after its beginning.
    fn handovers(&self, window: &Window) -> Vec<Duration> {
        let drives = self.output.iter().chain(&self.external);
        let mut times: Vec<_> =
            drives.flat_map(|signal| signal.between(window.from, window.to)).map(|c| c.at).collect();
        times.sort_unstable();
        times.dedup();
        times
    }

    /// Whether anything is known about the line in a window.
    fn is_used(&self, window: &Window) -> bool {
        let is_known = |value| matches!(value, Value::Low | Value::High);
        is_known(self.level.at(window.from))
            || self.level.between(window.from, window.to).any(|change| is_known(change.value))
    }
}

impl Wave {
    /// The position of the line of that name; as it is in the file, or as the world has it (`gpio1:led 0` is
    /// `gpio1_led_0` in a file).
    ///
    /// # Errors
    ///
    /// [`NoSuchLine`]; its message has the names that there are.
    pub fn find(&self, name: &str) -> Result<usize, NoSuchLine> {
        let find = |name: &str| self.lines.iter().position(|line| line.name == name);
        let known = || self.lines.iter().map(|line| line.name.clone()).collect();
        find(name).or_else(|| find(&plain(name))).ok_or_else(|| NoSuchLine { name: name.to_owned(), known: known() })
    }

    /// All of it, but no lines that nobody uses.
    pub fn window(&self) -> Window {
        self.between(self.begin, self.end)
    }

    /// A part of it, without lines that nobody uses then.
    pub fn between(&self, from: Duration, to: Duration) -> Window {
        let mut window = Window { from, to: to.max(from), lines: Vec::new() };
        let used = self.lines.iter().enumerate().filter(|(_, line)| line.is_used(&window));
        window.lines = used.map(|(position, _)| position).collect();
        window
    }

    /// The lines of a window.
    fn shown<'a>(&'a self, window: &'a Window) -> impl Iterator<Item = &'a Line> {
        window.lines.iter().filter_map(|position| self.lines.get(*position))
    }
}
