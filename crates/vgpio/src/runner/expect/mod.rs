//! Expectations: each is shown what happens, event by event, and says when it is met or cannot be met any more.

mod edges;
mod pin;
mod rate;
mod request;
mod serial;
mod span;

use std::process::ExitStatus;
use std::time::Duration;

use gpio_model::bank::Change;
use gpio_model::observe::Activity;
use virtio_gpio::messages::{Direction, Level};

use super::story::Story;
use crate::duration::shown;
use crate::record::log::{Event, Occurrence};
use crate::scenario::layout::{Layout, Unknown};
use crate::scenario::step::Step;
use crate::scenario::value::Time;
use crate::world::Place;

/// What is known about an expectation by now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nothing yet.
    Open,
    /// It is met by this event.
    Met,
    /// It was met at that time; this event comes after it.
    MetAt(Duration),
    /// It cannot be met any more; this is what was seen instead.
    Failed(String),
}

/// What an expectation is about, and so where it begins to look; see [`super::story`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    /// Pins and requests, from where the last step about them stopped.
    Pins,
    /// Console lines, in the same manner.
    Console,
    /// Pins, up to a console line.
    Both,
    /// Pins, from where the step before ended.
    Now,
    /// Pins, from what the step before has caused at once.
    Settled,
    /// Neither: the marks of both stay where they are.
    Neither,
}

/// Something that is expected.
pub(super) trait Expectation {
    /// What it is about.
    fn stream(&self) -> Stream {
        Stream::Pins
    }

    /// What is expected, for a reader.
    fn expected(&self) -> String;

    /// What is known before any event.
    fn at_once(&self) -> Outcome {
        Outcome::Open
    }

    /// Takes the next event, with its position in the log.
    fn event(&mut self, position: usize, event: &Event) -> Outcome;

    /// Until when it waits by itself, if time alone can decide it.
    fn end(&self) -> Option<Duration> {
        None
    }

    /// The time of [`Expectation::end`] has come, and every event up to it was taken.
    fn time_is_up(&mut self) -> Outcome {
        Outcome::Open
    }

    /// The guest has ended, and every event was taken.
    fn exit(&mut self, status: ExitStatus) -> Outcome {
        Outcome::Failed(format!("{}, and then the guest ended ({status})", self.seen()))
    }

    /// What was seen so far, for a reader.
    fn seen(&self) -> String;
}

/// What a step waits for.
pub(super) struct Awaited {
    pub(super) expectation: Box<dyn Expectation>,
    /// How long after the step before it may come.
    pub(super) within: Option<Time>,
}

/// What a step waits for; `None` for one that waits for nothing.
pub(super) fn of_step(step: &Step, layout: &Layout, story: &Story) -> Result<Option<Awaited>, Unknown> {
    let (expectation, within): (Box<dyn Expectation>, _) = match step {
        Step::Delay(time) => (Box::new(span::Delay::new(*time, story.since)), None),
        Step::WaitSerial(wait) => (Box::new(serial::Wait::new(&wait.text)), wait.within),
        Step::ExpectSerial(expect) => (Box::new(serial::Next::new(expect)), expect.within),
        Step::ExpectPin(pin) => (Box::new(pin::Pin::new(pin, layout, story)?), pin.within),
        Step::ExpectEdges(edges) => (Box::new(edges::Order::new(edges, layout, story.since)?), edges.within),
        Step::ExpectCount(count) => (Box::new(edges::Count::new(count, layout, story)?), None),
        Step::ExpectSilence(silence) => (Box::new(edges::Silence::new(silence, layout, story)?), None),
        Step::ExpectFrequency(frequency) => (Box::new(rate::Frequency::new(frequency, layout)?), None),
        Step::ExpectDuty(duty) => (Box::new(rate::Duty::new(duty, layout)?), None),
        Step::ExpectRequest(filter) => (Box::new(request::Asking::new(filter, layout)?), None),
        Step::ExpectExit(code) => (Box::new(span::End::new(*code)), None),
        Step::SetControl(_)
        | Step::Release(_)
        | Step::Pulse(_)
        | Step::Clock(_)
        | Step::Pwm(_)
        | Step::Bounce(_)
        | Step::WriteSerial(_)
        | Step::FailSerial(_)
        | Step::Fault(_) => return Ok(None),
    };
    Ok(Some(Awaited { expectation, within }))
}

/// The expectation that the guest ends with an exit status.
pub(super) fn end(code: i32) -> Box<dyn Expectation> {
    Box::new(span::End::new(code))
}

/// The change of a line that an event tells of.
pub(super) fn change_in(event: &Event) -> Option<(Place, Change)> {
    match event.what {
        Occurrence::Device { chip, activity: Activity::Changed(change) } => {
            Some((Place { chip, line: change.line }, change))
        }
        _ => None,
    }
}

/// The edge that an event tells of: the line and its new level.
fn edge_in(event: &Event) -> Option<(Place, Level)> {
    let (place, change) = change_in(event)?;
    Some((place, change.new_level()?))
}

/// The console line that an event tells of.
pub(super) fn console_in(event: &Event) -> Option<&str> {
    match &event.what {
        Occurrence::Console(line) => Some(line),
        Occurrence::Device { .. } => None,
    }
}

fn edge_name(level: Level) -> &'static str {
    match level {
        Level::Low => "falling",
        Level::High => "rising",
    }
}

fn direction_name(direction: Direction) -> &'static str {
    match direction {
        Direction::None => "not in use",
        Direction::Output => "an output",
        Direction::Input => "an input",
    }
}

/// A time after another, for a reader.
fn later(at: Duration, since: Duration) -> String {
    format!("+{}", shown(at.saturating_sub(since)))
}

/// The last of a list that may be long.
fn last_of(list: &[String]) -> String {
    /// More of them would bury the message.
    const SHOWN: usize = 12;
    match list.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        None => list.join(", "),
        Some(more) => format!("{more} more, then {}", list.get(more..).unwrap_or_default().join(", ")),
    }
}
