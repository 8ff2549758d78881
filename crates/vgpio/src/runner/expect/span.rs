//! Spans of time, and the guest's end.

use std::process::ExitStatus;
use std::time::Duration;

use super::{Expectation, Outcome, console_in};
use crate::duration::shown;
use crate::record::log::Event;
use crate::scenario::step::Until;
use crate::scenario::value::Time;

/// The span of time that a step looks at.
#[derive(Debug)]
pub(super) struct Span {
    until: Until,
    end: Option<Duration>,
}

impl Span {
    pub(super) fn new(until: &Until, since: Duration) -> Self {
        let end = match until {
            Until::Time(Time(time)) => Some(since.saturating_add(*time)),
            Until::Serial(_) | Until::Exit => None,
        };
        Self { until: until.clone(), end }
    }

    /// When it ends, if time alone decides that.
    pub(super) fn end(&self) -> Option<Duration> {
        self.end
    }

    /// Whether an event lies behind the end, or is the end itself.
    pub(super) fn is_over_at(&self, event: &Event) -> bool {
        match &self.until {
            Until::Time(_) => self.end.is_some_and(|end| event.at > end),
            Until::Serial(text) => console_in(event).is_some_and(|line| line.contains(text)),
            Until::Exit => false,
        }
    }

    /// What an expectation that is met in the end says to such an event.
    pub(super) fn met(&self) -> Outcome {
        self.end.map_or(Outcome::Met, Outcome::MetAt)
    }

    /// Whether the guest's end is the end of the span.
    pub(super) fn ends_with_guest(&self) -> bool {
        matches!(self.until, Until::Exit)
    }

    /// For a reader: a part of a sentence.
    pub(super) fn shown(&self) -> String {
        match &self.until {
            Until::Time(Time(time)) => format!("within {}", shown(*time)),
            Until::Serial(text) => format!("before a console line with {text:?}"),
            Until::Exit => "before the guest's end".to_owned(),
        }
    }
}

/// Time passes.
#[derive(Debug)]
pub(super) struct Delay {
    time: Duration,
    end: Duration,
}

impl Delay {
    pub(super) fn new(Time(time): Time, since: Duration) -> Self {
        Self { time, end: since.saturating_add(time) }
    }
}

impl Expectation for Delay {
    fn expected(&self) -> String {
        format!("{} to pass", shown(self.time))
    }

    fn event(&mut self, event: &Event) -> Outcome {
        if event.at > self.end { Outcome::MetAt(self.end) } else { Outcome::Open }
    }

    fn end(&self) -> Option<Duration> {
        Some(self.end)
    }

    fn time_is_up(&mut self) -> Outcome {
        Outcome::MetAt(self.end)
    }

    fn exit(&mut self, _: ExitStatus) -> Outcome {
        Outcome::Open
    }

    fn seen(&self) -> String {
        "time went on".to_owned()
    }
}

/// The guest ends.
#[derive(Debug)]
pub(super) struct End {
    code: i32,
}

impl End {
    pub(super) fn new(code: i32) -> Self {
        Self { code }
    }
}

impl Expectation for End {
    fn expected(&self) -> String {
        format!("the guest to end with the exit status {}", self.code)
    }

    fn event(&mut self, _: &Event) -> Outcome {
        Outcome::Open
    }

    fn exit(&mut self, status: ExitStatus) -> Outcome {
        if status.code() == Some(self.code) { Outcome::Met } else { Outcome::Failed(format!("it ended with {status}")) }
    }

    fn seen(&self) -> String {
        "it still runs".to_owned()
    }
}
