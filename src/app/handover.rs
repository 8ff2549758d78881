//! Lines that change hands: a command takes a line from blinking, from watching, or from nobody.
//!
//! Every function here asks the device for one thing at most, so that whoever calls them in turn can look after other
//! things in between. Where the device refuses, the line stays what it was.

use alloc::format;
use alloc::string::{String, ToString};

use thiserror::Error;
use virtio_gpio::{Direction, Error as DriverError, Input, InterruptType, Level, Line, Output, Pending, Rejected};

use super::arguments::trigger_name;
use super::blink::Blinker;
use super::in_use::{InUse, Label, label};
use super::selection::ChipLine;
use super::watch::Watcher;

/// A line that a command took.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) line: ChipLine,
    pin: Pin,
    /// Events of the line so far: the driver goes on counting when it is watched again.
    edges: u64,
}

/// What the line is.
#[derive(Debug)]
enum Pin {
    Line(Line<'static>),
    Input(Input<'static>),
    Output(Output<'static>),
}

/// A pin, whoever has it.
enum AnyPin<'a> {
    Line(&'a Line<'static>),
    Input(&'a Input<'static>),
    Output(&'a Output<'static>),
}

impl Held {
    /// Drives an output low, and gives the line back.
    ///
    /// # Errors
    ///
    /// What the driver says.
    pub(super) fn end(self) -> Result<(), DriverError> {
        match self.pin {
            Pin::Line(line) => line.release(),
            Pin::Input(input) => input.release(),
            Pin::Output(mut output) => {
                let low = output.set(Level::Low);
                output.release().and(low)
            }
        }
    }
}

/// Who uses a line, and as what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum User {
    /// Nobody.
    Nobody,
    /// It is to blink or to be watched, and its device has not answered yet.
    Wanted,
    /// It blinks.
    Blinker,
    /// It is watched for that.
    Watcher(InterruptType),
    /// A command took it, and it is neither input nor output.
    Line,
    /// A command took it, and it is an input.
    Input,
    /// A command took it, and it is an output; the level that the device has confirmed.
    Output(Option<Level>),
}

/// Why a line cannot be had, or its device not asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum HandoverError {
    /// It is another thing than it was when it was looked at.
    #[error("another command took the line")]
    Taken,
    /// The application has not got it yet.
    #[error("the application still waits for the device to give the line; expected a device that answers")]
    Wanted,
    /// The driver's.
    #[error("{0}")]
    Driver(#[from] DriverError),
}

type Outcome<T> = Result<T, HandoverError>;

impl InUse {
    /// Who uses a line.
    pub(super) fn user(&self, line: ChipLine) -> User {
        match self.held(line) {
            Some(Pin::Line(_)) => User::Line,
            Some(Pin::Input(_)) => User::Input,
            Some(Pin::Output(output)) => User::Output(output.level_set()),
            None if self.blinker(line).is_some() => User::Blinker,
            None if self.wanted.iter().any(|wanted| wanted.line == line) => User::Wanted,
            None => self.watcher(line).map_or(User::Nobody, |watcher| User::Watcher(watcher.kind())),
        }
    }

    /// The line in one row: `gpio0:0 led0 output high blinks=4`, with `-` for what is not known. Asks no device; what it
    /// has just answered can be given.
    pub(super) fn describe(
        &self,
        line: ChipLine,
        label: &Label<'_>,
        direction: Option<Direction>,
        level: Option<Level>,
    ) -> String {
        let (known_direction, known_level) = match self.pin(line) {
            Some(AnyPin::Input(input)) => (Some(Direction::Input), input.last_level()),
            Some(AnyPin::Output(output)) => (Some(Direction::Output), output.level_set()),
            Some(AnyPin::Line(_)) | None => (None, None),
        };
        let direction = direction.or(known_direction).map_or("-", direction_name);
        let level = level.or(known_level).map_or("-", level_name);
        let state = format!("{label} {direction} {level}");
        if let Some(blinker) = self.blinker(line) {
            format!("{state} blinks={}", blinker.blinks())
        } else if let Some(watcher) = self.watcher(line) {
            format!("{state} watch={} edges={}", trigger_name(watcher.kind()), watcher.count())
        } else {
            state
        }
    }

    fn blinker(&self, line: ChipLine) -> Option<&Blinker> {
        self.blinkers.iter().find(|entry| blinks(entry, line)).map(|(_, blinker)| blinker)
    }

    fn watcher(&self, line: ChipLine) -> Option<&Watcher> {
        self.watchers.iter().find(|entry| watches(entry, line)).map(|(_, watcher)| watcher)
    }

    fn held(&self, line: ChipLine) -> Option<&Pin> {
        self.held.iter().find(|held| held.line == line).map(|held| &held.pin)
    }

    /// The pin of a line, whoever uses it.
    fn pin(&self, line: ChipLine) -> Option<AnyPin<'_>> {
        if let Some(pin) = self.held(line) {
            return Some(match pin {
                Pin::Line(pin) => AnyPin::Line(pin),
                Pin::Input(pin) => AnyPin::Input(pin),
                Pin::Output(pin) => AnyPin::Output(pin),
            });
        }
        let output = self.blinker(line).map(|blinker| AnyPin::Output(blinker.pin()));
        output.or_else(|| self.watcher(line).map(|watcher| AnyPin::Input(watcher.pin())))
    }

    /// Takes a line that nobody uses.
    pub(super) fn take(&mut self, line: ChipLine) -> Outcome<()> {
        let chip = self.chips.get(line.chip).ok_or(HandoverError::Taken)?;
        let pin = Pin::Line(chip.line(line.line)?);
        self.held.push(Held { line, pin, edges: 0 });
        Ok(())
    }

    /// Ends the blinking of a line; it stays an output.
    pub(super) fn stop_blinking(&mut self, line: ChipLine) -> Outcome<()> {
        let index = self.blinkers.iter().position(|entry| blinks(entry, line)).ok_or(HandoverError::Taken)?;
        let (_, blinker) = self.blinkers.swap_remove(index);
        self.held.push(Held { line, pin: Pin::Output(blinker.into_pin()), edges: 0 });
        Ok(())
    }

    /// Ends the watching of a line; it stays an input.
    pub(super) fn stop_watching(&mut self, line: ChipLine) -> Outcome<()> {
        let index = self.watchers.iter().position(|entry| watches(entry, line)).ok_or(HandoverError::Taken)?;
        if let Some((_, watcher)) = self.watchers.get_mut(index) {
            watcher.stop()?;
        }
        let (_, watcher) = self.watchers.swap_remove(index);
        let edges = watcher.count();
        self.held.push(Held { line, pin: Pin::Input(watcher.into_pin()), edges });
        Ok(())
    }

    /// Has the edges of an input logged.
    pub(super) fn start_watching(&mut self, line: ChipLine, kind: InterruptType) -> Outcome<()> {
        let (pin, edges) = self.take_held(line)?;
        let Pin::Input(mut input) = pin else { return self.put_back(line, (pin, edges), Err(HandoverError::Taken)) };
        if let Err(error) = input.watch(kind) {
            return self.put_back(line, (Pin::Input(input), edges), Err(error.into()));
        }
        let label = label(self.chips, line).to_string();
        self.watchers.push((line.chip, Watcher::of_pin(input, kind, label, edges)));
        Ok(())
    }

    /// Makes a line an input.
    pub(super) fn make_input(&mut self, line: ChipLine) -> Outcome<()> {
        let (pin, edges) = self.take_held(line)?;
        let (pin, outcome) = match pin {
            Pin::Line(pin) => converted(pin.into_input(), Pin::Input, Pin::Line),
            Pin::Output(pin) => converted(pin.into_input(), Pin::Input, Pin::Output),
            pin @ Pin::Input(_) => (pin, Ok(())),
        };
        self.put_back(line, (pin, edges), outcome)
    }

    /// Makes a line an output.
    pub(super) fn make_output(&mut self, line: ChipLine, level: Level) -> Outcome<()> {
        let (pin, edges) = self.take_held(line)?;
        let (pin, outcome) = match pin {
            Pin::Line(pin) => converted(pin.into_output(level), Pin::Output, Pin::Line),
            Pin::Input(pin) => converted(pin.into_output(level), Pin::Output, Pin::Input),
            pin @ Pin::Output(_) => (pin, Ok(())),
        };
        self.put_back(line, (pin, edges), outcome)
    }

    /// Sends the request to change an output.
    pub(super) fn start_set(&mut self, line: ChipLine, level: Level) -> Outcome<Pending<'static>> {
        match self.held.iter_mut().find(|held| held.line == line) {
            Some(Held { pin: Pin::Output(output), .. }) => Ok(output.start_set(level)?),
            _ => Err(HandoverError::Taken),
        }
    }

    /// Gives a line back as it is.
    pub(super) fn give_back(&mut self, line: ChipLine) -> Outcome<()> {
        match self.take_held(line)?.0 {
            Pin::Line(pin) => pin.release()?,
            Pin::Input(pin) => pin.release()?,
            Pin::Output(pin) => pin.release()?,
        }
        Ok(())
    }

    /// Gives a line back of which nothing was made, without waiting.
    pub(super) fn let_go(&mut self, line: ChipLine) {
        self.held.retain(|held| held.line != line);
    }

    /// Asks the device for the level of an input or output, whoever uses it.
    pub(super) fn ask_level(&self, line: ChipLine) -> Outcome<Level> {
        match self.pin(line) {
            Some(AnyPin::Input(input)) => Ok(input.level()?),
            Some(AnyPin::Output(output)) => Ok(output.level()?),
            Some(AnyPin::Line(_)) | None => Err(HandoverError::Taken),
        }
    }

    /// Asks the device for the direction of a line, whoever uses it.
    pub(super) fn ask_direction(&self, line: ChipLine) -> Outcome<Direction> {
        match self.pin(line) {
            Some(AnyPin::Line(pin)) => Ok(pin.direction()?),
            Some(AnyPin::Input(pin)) => Ok(pin.direction()?),
            Some(AnyPin::Output(pin)) => Ok(pin.direction()?),
            None => Err(HandoverError::Taken),
        }
    }

    fn take_held(&mut self, line: ChipLine) -> Outcome<(Pin, u64)> {
        let index = self.held.iter().position(|held| held.line == line).ok_or(HandoverError::Taken)?;
        let Held { pin, edges, .. } = self.held.swap_remove(index);
        Ok((pin, edges))
    }

    fn put_back(&mut self, line: ChipLine, (pin, edges): (Pin, u64), outcome: Outcome<()>) -> Outcome<()> {
        self.held.push(Held { line, pin, edges });
        outcome
    }
}

fn blinks((chip, blinker): &(usize, Blinker), line: ChipLine) -> bool {
    *chip == line.chip && blinker.pin().id() == line.line
}

fn watches((chip, watcher): &(usize, Watcher), line: ChipLine) -> bool {
    *chip == line.chip && watcher.line() == line.line
}

/// What a conversion has made of a pin.
fn converted<A, B>(result: Result<A, Rejected<B>>, new: fn(A) -> Pin, old: fn(B) -> Pin) -> (Pin, Outcome<()>) {
    match result {
        Ok(pin) => (new(pin), Ok(())),
        Err(Rejected { error, pin }) => (old(pin), Err(error.into())),
    }
}

/// The word for a direction.
pub(super) const fn direction_name(direction: Direction) -> &'static str {
    match direction {
        Direction::None => "none",
        Direction::Output => "output",
        Direction::Input => "input",
    }
}

/// The word for a level.
pub(super) const fn level_name(level: Level) -> &'static str {
    match level {
        Level::Low => "low",
        Level::High => "high",
    }
}
