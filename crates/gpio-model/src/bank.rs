//! The electrical truth about the lines of one device.

use alloc::boxed::Box;
use alloc::vec;
use core::error::Error;
use core::fmt;

use virtio_gpio::messages::{Direction, Level, LineId};

/// What is known about one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// What the guest uses the line for.
    pub direction: Direction,
    /// The output level that the guest set last; `None` before it set any. It is remembered while the line is no
    /// output, and takes effect when the line becomes one.
    pub latch: Option<Level>,
    /// What the outside drives; `None` when it lets go.
    pub drive: Option<Level>,
    /// The level of the line when nobody drives it.
    pub pull: Level,
}

impl Line {
    /// A line that nobody uses or drives, pulled low: what every line is at first.
    pub const IDLE: Self = Self { direction: Direction::None, latch: None, drive: None, pull: Level::Low };

    /// The level that can be sensed now. On an output the guest wins over the outside, see [`Line::is_contended`].
    pub fn level(self) -> Level {
        match self.direction {
            Direction::Output => self.latch.unwrap_or(Level::Low),
            Direction::None | Direction::Input => self.drive.unwrap_or(self.pull),
        }
    }

    /// Whether anybody determines the level: the guest by using the line, or the outside by driving it.
    pub fn is_defined(self) -> bool {
        self.direction != Direction::None || self.drive.is_some()
    }

    /// Whether the guest and the outside drive the line against each other. Real hardware would not like it.
    pub fn is_contended(self) -> bool {
        self.direction == Direction::Output && self.drive.is_some_and(|drive| drive != self.level())
    }

    /// The line in that direction. With [`Direction::None`] its latch is forgotten (VIRTIO 1.2, 5.18.6.9).
    #[must_use]
    pub fn in_direction(self, direction: Direction) -> Self {
        Self { direction, latch: self.latch.filter(|_| direction != Direction::None), ..self }
    }

    /// The line with that output level, which becomes its level once the line is an output.
    #[must_use]
    pub fn with_latch(self, level: Level) -> Self {
        Self { latch: Some(level), ..self }
    }

    /// What others can see of the line; the latch of a line that is no output cannot be seen.
    fn visible(self) -> (Direction, Option<Level>, Level) {
        (self.direction, self.drive, self.level())
    }
}

/// A visible change of one line: of its direction, of what drives it, or of its level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// The line.
    pub line: LineId,
    /// The line as it was.
    pub before: Line,
    /// The line as it is.
    pub after: Line,
}

impl Change {
    /// The new level, if it is another than before.
    pub fn new_level(&self) -> Option<Level> {
        let level = self.after.level();
        (level != self.before.level()).then_some(level)
    }
}

/// The bank has no line of that number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownLine {
    /// The line asked for.
    pub line: LineId,
    /// The number of lines that there are.
    pub lines: u16,
}

impl fmt::Display for UnknownLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "There is no line {}: the device has {} lines, counted from 0", self.line, self.lines)
    }
}

impl Error for UnknownLine {}

/// The lines of one device.
#[derive(Debug, Clone)]
pub struct Bank {
    lines: Box<[Line]>,
    count: u16,
}

impl Bank {
    /// `count` lines that nobody uses or drives, pulled low.
    pub fn new(count: u16) -> Self {
        Self { lines: vec![Line::IDLE; usize::from(count)].into_boxed_slice(), count }
    }

    /// The number of lines.
    pub fn count(&self) -> u16 {
        self.count
    }

    /// All lines, in the order of their numbers.
    pub fn lines(&self) -> impl Iterator<Item = (LineId, &Line)> {
        (0..self.count).map(LineId).zip(&self.lines)
    }

    /// One line.
    ///
    /// # Errors
    ///
    /// [`UnknownLine`].
    pub fn line(&self, line: LineId) -> Result<&Line, UnknownLine> {
        self.lines.get(usize::from(line.0)).ok_or(UnknownLine { line, lines: self.count })
    }

    /// Lets the outside drive a line, or let go of it.
    ///
    /// # Errors
    ///
    /// [`UnknownLine`].
    pub fn drive(&mut self, line: LineId, drive: Option<Level>) -> Result<Option<Change>, UnknownLine> {
        self.update(line, |state| state.drive = drive)
    }

    /// Sets the level of a line that nobody drives.
    ///
    /// # Errors
    ///
    /// [`UnknownLine`].
    pub fn pull(&mut self, line: LineId, pull: Level) -> Result<Option<Change>, UnknownLine> {
        self.update(line, |state| state.pull = pull)
    }

    /// Sets what the guest uses a line for. With [`Direction::None`] its latch is forgotten (VIRTIO 1.2, 5.18.6.9).
    ///
    /// # Errors
    ///
    /// [`UnknownLine`].
    pub fn set_direction(&mut self, line: LineId, direction: Direction) -> Result<Option<Change>, UnknownLine> {
        self.update(line, |state| *state = state.in_direction(direction))
    }

    /// Sets the output level of a line, which becomes its level once the line is an output.
    ///
    /// # Errors
    ///
    /// [`UnknownLine`].
    pub fn set_latch(&mut self, line: LineId, level: Level) -> Result<Option<Change>, UnknownLine> {
        self.update(line, |state| *state = state.with_latch(level))
    }

    /// Makes a line an output of the given level, in one step.
    ///
    /// # Errors
    ///
    /// [`UnknownLine`].
    pub fn set_output(&mut self, line: LineId, level: Level) -> Result<Option<Change>, UnknownLine> {
        self.update(line, |state| *state = state.in_direction(Direction::Output).with_latch(level))
    }

    /// Puts a line into a state as a whole.
    ///
    /// # Errors
    ///
    /// [`UnknownLine`].
    pub fn set(&mut self, line: LineId, after: Line) -> Result<Option<Change>, UnknownLine> {
        self.update(line, |state| *state = after)
    }

    fn update(&mut self, line: LineId, update: impl FnOnce(&mut Line)) -> Result<Option<Change>, UnknownLine> {
        let state = self.lines.get_mut(usize::from(line.0)).ok_or(UnknownLine { line, lines: self.count })?;
        let before = *state;
        update(state);
        let after = *state;
        Ok((after.visible() != before.visible()).then_some(Change { line, before, after }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: LineId = LineId(1);

    #[test]
    fn level_follows_whoever_drives_the_line() {
        let mut bank = Bank::new(2);
        assert_eq!(bank.line(LINE).unwrap().level(), Level::Low);
        bank.pull(LINE, Level::High).unwrap();
        assert_eq!(bank.line(LINE).unwrap().level(), Level::High);
        bank.drive(LINE, Some(Level::Low)).unwrap();
        assert_eq!(bank.line(LINE).unwrap().level(), Level::Low);
        bank.set_output(LINE, Level::High).unwrap();
        assert_eq!(bank.line(LINE).unwrap().level(), Level::High);
        assert!(bank.line(LINE).unwrap().is_contended());
        bank.drive(LINE, None).unwrap();
        assert!(!bank.line(LINE).unwrap().is_contended());
    }

    #[test]
    fn only_visible_changes_are_reported() {
        let mut bank = Bank::new(2);
        assert_eq!(bank.set_latch(LINE, Level::High), Ok(None), "the latch of a line that is no output is hidden");
        let change = bank.set_direction(LINE, Direction::Output).unwrap().unwrap();
        assert_eq!((change.line, change.new_level()), (LINE, Some(Level::High)));
        assert_eq!(bank.set_latch(LINE, Level::High), Ok(None));
        let change = bank.set_latch(LINE, Level::Low).unwrap().unwrap();
        assert_eq!(change.new_level(), Some(Level::Low));
        let change = bank.set_direction(LINE, Direction::Input).unwrap().unwrap();
        assert_eq!((change.after.direction, change.new_level()), (Direction::Input, None));
    }

    #[test]
    fn a_line_is_defined_once_somebody_cares() {
        let mut bank = Bank::new(2);
        assert!(!bank.line(LINE).unwrap().is_defined());
        bank.drive(LINE, Some(Level::Low)).unwrap();
        assert!(bank.line(LINE).unwrap().is_defined());
        bank.drive(LINE, None).unwrap();
        bank.set_direction(LINE, Direction::Input).unwrap();
        assert!(bank.line(LINE).unwrap().is_defined());
    }

    #[test]
    fn lines_beyond_the_bank_are_named_in_the_error() {
        let mut bank = Bank::new(2);
        let unknown = UnknownLine { line: LineId(2), lines: 2 };
        assert_eq!(bank.line(LineId(2)), Err(unknown));
        assert_eq!(bank.drive(LineId(2), None), Err(unknown));
        assert_eq!(Bank::new(0).line(LineId(0)), Err(UnknownLine { line: LineId(0), lines: 0 }));
    }
}
