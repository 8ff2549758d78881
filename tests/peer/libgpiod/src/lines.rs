//! The simulated lines and their wires.

use std::fmt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::Result;
use crate::line::{Direction, Edge, Info, Settings, Value};

/// What can go wrong. Comparable and copyable, as the original's is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Error {
    /// The path does not end in a number.
    NoSuchChip,
    /// The chip has no such line.
    NoSuchLine,
    /// A level that is neither 0 nor 1.
    InvalidValue,
    /// Only an output can be driven.
    NotAnOutput,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for Error {}

#[derive(Clone, Debug)]
struct Line {
    direction: Direction,
    driven: Value,
    edge: Option<Edge>,
    events: u32,
}

/// All lines of a chip.
#[derive(Debug)]
pub(crate) struct Lines {
    lines: Mutex<Vec<Line>>,
    happened: Condvar,
}

impl Lines {
    pub(crate) fn new(count: usize) -> Self {
        let idle = Line { direction: Direction::AsIs, driven: Value::InActive, edge: None, events: 0 };
        Self { lines: Mutex::new(vec![idle; count]), happened: Condvar::new() }
    }

    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    pub(crate) fn info(&self, offset: u32) -> Result<Info> {
        let direction = self.lock().get(offset as usize).ok_or(Error::NoSuchLine)?.direction;
        Ok(Info { name: format!("line{offset}"), direction })
    }

    /// The level at a line: its own if it is an output, else what its partner drives.
    pub(crate) fn value(&self, offset: u32) -> Result<Value> {
        level(&self.lock(), offset).ok_or(Error::NoSuchLine)
    }

    pub(crate) fn configure(&self, offset: u32, settings: &Settings) -> Result<()> {
        self.change(offset, |line| {
            if let Some(direction) = settings.direction {
                line.direction = direction;
                line.driven = settings.output;
            }
            line.edge = settings.edge;
            line.events = 0;
            Ok(())
        })
    }

    pub(crate) fn drive(&self, offset: u32, value: Value) -> Result<()> {
        self.change(offset, |line| {
            if line.direction != Direction::Output {
                return Err(Error::NotAnOutput);
            }
            line.driven = value;
            Ok(())
        })
    }

    pub(crate) fn release(&self, offset: u32) {
        let released = self.change(offset, |line| {
            line.direction = Direction::AsIs;
            line.edge = None;
            line.events = 0;
            Ok(())
        });
        debug_assert!(released.is_ok(), "a request holds a line that exists");
    }

    /// Waits until a line has an event.
    pub(crate) fn wait(&self, offset: u32, timeout: Duration) -> Result<bool> {
        let quiet = |lines: &mut Vec<Line>| lines.get(offset as usize).is_some_and(|line| line.events == 0);
        let (lines, _) =
            self.happened.wait_timeout_while(self.lock(), timeout, quiet).unwrap_or_else(PoisonError::into_inner);
        Ok(lines.get(offset as usize).ok_or(Error::NoSuchLine)?.events > 0)
    }

    /// Takes one event of a line; answers how many were taken.
    pub(crate) fn take_event(&self, offset: u32) -> Result<u32> {
        let mut lines = self.lock();
        let line = lines.get_mut(offset as usize).ok_or(Error::NoSuchLine)?;
        let taken = line.events.min(1);
        line.events -= taken;
        Ok(taken)
    }

    /// Changes a line, and gives its partner the edge that this makes.
    fn change(&self, offset: u32, action: impl FnOnce(&mut Line) -> Result<()>) -> Result<()> {
        let mut lines = self.lock();
        let before = level(&lines, offset ^ 1);
        action(lines.get_mut(offset as usize).ok_or(Error::NoSuchLine)?)?;
        let after = level(&lines, offset ^ 1);
        if let Some(partner) = lines.get_mut((offset ^ 1) as usize) {
            let seen = match partner.edge {
                Some(Edge::Rising) => after == Some(Value::Active),
                Some(Edge::Falling) => after == Some(Value::InActive),
                Some(Edge::Both) => true,
                None => false,
            };
            if seen && before != after {
                partner.events += 1;
                self.happened.notify_all();
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The level at a line, `None` if there is no such line.
fn level(lines: &[Line], offset: u32) -> Option<Value> {
    let line = lines.get(offset as usize)?;
    let partner = lines.get((offset ^ 1) as usize);
    Some(match (line.direction, partner) {
        (Direction::Output, _) => line.driven,
        (_, Some(partner)) if partner.direction == Direction::Output => partner.driven,
        _ => Value::InActive,
    })
}
