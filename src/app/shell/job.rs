//! Commands that take time, in steps: each asks a device for one thing at most, so that the beat and other lines do not
//! wait for a whole command.

use core::time::Duration;

use virtio_gpio::clock::{Clock, Instant};
use virtio_gpio::{Direction, InterruptType, Level, LineId, Pending};

use crate::app::handover::{HandoverError, User};
use crate::app::in_use::{InUse, Label, label};
use crate::app::selection::ChipLine;
use crate::platform::time::SystemClock;

/// Lines that are shown in one step.
const LINES_AT_ONCE: u16 = 16;

/// What a command wants of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    /// Its level.
    AskLevel,
    /// Its direction.
    AskDirection,
    /// A direction, or to be given back.
    Direction(Direction),
    /// A level.
    Set(Level),
    /// To be watched for that.
    Watch(InterruptType),
    /// To change its level.
    Toggle {
        /// So often.
        left: u32,
        /// In such a distance.
        pause: Duration,
        /// The next time; `None` before the first.
        next: Option<Instant>,
    },
}

impl Goal {
    /// Whether nothing is to be done.
    fn is_met_by(self, user: User) -> bool {
        match self {
            Self::Direction(Direction::Input) => matches!(user, User::Input | User::Watcher(_)),
            Self::Direction(Direction::Output) => matches!(user, User::Output(_)),
            Self::Direction(Direction::None) => user == User::Nobody,
            Self::Watch(InterruptType::None) => !matches!(user, User::Watcher(_)),
            Self::Watch(kind) => user == User::Watcher(kind),
            Self::AskLevel | Self::AskDirection | Self::Set(_) | Self::Toggle { .. } => false,
        }
    }
}

/// A command under way.
#[derive(Debug)]
pub(super) enum Job {
    /// With a line.
    Line {
        /// The line.
        line: ChipLine,
        /// What is wanted of it.
        goal: Goal,
        /// A change of its level that is under way.
        pending: Option<Pending<'static>>,
        /// The line was taken for a question only.
        borrowed: bool,
    },
    /// Shows all lines, from this one on.
    List(ChipLine),
    /// Resets a device, and those behind it if all are to be reset.
    Reset {
        /// The device.
        chip: usize,
        /// All behind it follow.
        all: bool,
        /// It was told.
        begun: bool,
    },
}

/// How a job stands after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// The next step can follow at once.
    Again,
    /// It waits for a device, or for a time.
    Wait(Option<Instant>),
    /// It is over, well or not.
    Done,
}

/// Prints a line.
pub(super) type Print<'a> = &'a mut dyn FnMut(core::fmt::Arguments<'_>);

impl Job {
    /// A job with a line.
    pub(super) fn line(line: ChipLine, goal: Goal) -> Self {
        Self::Line { line, goal, pending: None, borrowed: false }
    }

    /// Whether the device has answered what the job waits for.
    pub(super) fn has_outcome(&self) -> bool {
        matches!(self, Self::Line { pending: Some(pending), .. } if pending.is_done())
    }

    /// Ends the job before its time. A line that it changed stays as it is.
    pub(super) fn cancel(self, in_use: &mut InUse) {
        if let Self::Line { line, borrowed: true, .. } = self {
            in_use.let_go(line);
        }
    }

    /// Takes a step.
    pub(super) fn advance(&mut self, in_use: &mut InUse, print: Print<'_>) -> Progress {
        match self {
            Self::List(next) => list(next, in_use, print),
            Self::Reset { chip, all, begun } => reset(chip, *all, begun, in_use, print),
            Self::Line { line, goal, pending, borrowed } => {
                let line = *line;
                let step = LineStep { in_use, line, pending, borrowed, print }.take(goal);
                step.unwrap_or_else(|error| {
                    if matches!(error, HandoverError::Driver(_)) {
                        in_use.tally.errors = in_use.tally.errors.saturating_add(1);
                    }
                    print(format_args!("error: {}: {error}", label(in_use.chips, line)));
                    Progress::Done
                })
            }
        }
    }
}

/// A step with a line.
struct LineStep<'a, 'p> {
    in_use: &'a mut InUse,
    line: ChipLine,
    pending: &'a mut Option<Pending<'static>>,
    borrowed: &'a mut bool,
    print: &'a mut (dyn FnMut(core::fmt::Arguments<'_>) + 'p),
}

impl LineStep<'_, '_> {
    fn take(&mut self, goal: &mut Goal) -> Result<Progress, HandoverError> {
        let Self { in_use, line, .. } = self;
        let line = *line;
        match (*goal, in_use.user(line)) {
            (_, User::Wanted) => return Err(HandoverError::Wanted),
            (goal, user) if goal.is_met_by(user) => return Ok(self.done(None, None)),
            // Questions.
            (Goal::AskLevel, User::Input | User::Output(_) | User::Watcher(_) | User::Blinker) => {
                let level = in_use.ask_level(line)?;
                return Ok(self.done(None, Some(level)));
            }
            (Goal::AskDirection, User::Nobody) => {
                in_use.take(line)?;
                *self.borrowed = true;
            }
            (Goal::AskDirection, _) => {
                let direction = in_use.ask_direction(line);
                if *self.borrowed {
                    in_use.let_go(line);
                }
                return direction.map(|direction| self.done(Some(direction), None));
            }
            // From other users.
            (_, User::Nobody) => in_use.take(line)?,
            (_, User::Blinker) => in_use.stop_blinking(line)?,
            (_, User::Watcher(_)) => in_use.stop_watching(line)?,
            // The last steps.
            (Goal::Watch(kind), User::Input) => in_use.start_watching(line, kind)?,
            (Goal::Set(level), User::Output(_)) => return self.set(level),
            (Goal::Set(level), _) => {
                in_use.make_output(line, level)?;
                return Ok(self.done(None, None));
            }
            (Goal::Toggle { .. }, User::Output(level)) => return self.toggle(goal, level.unwrap_or(Level::Low)),
            (Goal::Toggle { next: Some(_), .. }, _) => return Err(HandoverError::Taken),
            (Goal::Toggle { .. } | Goal::Direction(Direction::Output), _) => in_use.make_output(line, Level::Low)?,
            (Goal::Direction(Direction::None), _) => in_use.give_back(line)?,
            (Goal::Direction(Direction::Input) | Goal::Watch(_) | Goal::AskLevel, _) => in_use.make_input(line)?,
        }
        Ok(Progress::Again)
    }

    /// The result, in the form in which `lines` shows it.
    fn done(&mut self, direction: Option<Direction>, level: Option<Level>) -> Progress {
        let label = label(self.in_use.chips, self.line);
        (self.print)(format_args!("{}", self.in_use.describe(self.line, &label, direction, level)));
        Progress::Done
    }

    /// Sends a change of level, or takes its outcome; `None` while there is none.
    fn change(&mut self, level: Level) -> Result<Option<()>, HandoverError> {
        let Some(pending) = self.pending else {
            *self.pending = Some(self.in_use.start_set(self.line, level)?);
            return Ok(None);
        };
        let Some(outcome) = pending.outcome() else { return Ok(None) };
        *self.pending = None;
        outcome?;
        Ok(Some(()))
    }

    fn set(&mut self, level: Level) -> Result<Progress, HandoverError> {
        Ok(match self.change(level)? {
            Some(()) => self.done(None, None),
            None => Progress::Wait(None),
        })
    }

    fn toggle(&mut self, goal: &mut Goal, level: Level) -> Result<Progress, HandoverError> {
        let Goal::Toggle { left, pause, next } = goal else { return Err(HandoverError::Taken) };
        let now = SystemClock.now();
        let due = *next.get_or_insert(now);
        if self.pending.is_none() && now < due {
            return Ok(Progress::Wait(Some(due)));
        }
        if self.change(level.toggled())?.is_none() {
            return Ok(Progress::Wait(None));
        }
        *left = left.saturating_sub(1);
        if *left == 0 {
            return Ok(self.done(None, None));
        }
        // It follows the clock; what was missed is not made up for.
        let following = due.after(*pause).max(now);
        *next = Some(following);
        Ok(Progress::Wait(Some(following)))
    }
}

fn list(next: &mut ChipLine, in_use: &InUse, print: Print<'_>) -> Progress {
    let Some(chip) = in_use.chips.get(next.chip) else { return Progress::Done };
    let end = next.line.0.saturating_add(LINES_AT_ONCE).min(chip.lines());
    let names = chip.names().chain(core::iter::repeat(None)).skip(next.line.0.into());
    for (line, name) in (next.line.0..end).zip(names) {
        let line = ChipLine { chip: next.chip, line: LineId(line) };
        print(format_args!("{}", in_use.describe(line, &Label { line, name }, None, None)));
    }
    *next = if end < chip.lines() {
        ChipLine { line: LineId(end), ..*next }
    } else {
        ChipLine { chip: next.chip.saturating_add(1), line: LineId(0) }
    };
    Progress::Again
}

fn reset(number: &mut usize, all: bool, begun: &mut bool, in_use: &InUse, print: Print<'_>) -> Progress {
    let Some(chip) = in_use.chips.get(*number) else { return Progress::Done };
    if !*begun {
        *begun = true;
        if let Err(error) = chip.reset() {
            print(format_args!("error: gpio{number}: {error}"));
        } else {
            return Progress::Wait(None);
        }
    } else if chip.is_recovering() {
        return Progress::Wait(None);
    } else if chip.has_failed() {
        print(format_args!("error: gpio{number}: {}", virtio_gpio::Error::ChipFailed));
    } else {
        print(format_args!("gpio{number} recovered"));
    }
    if !all {
        return Progress::Done;
    }
    *number = number.saturating_add(1);
    *begun = false;
    Progress::Again
}
