//! Spans of time, and the guest's end.

use std::process::ExitStatus;
use std::time::Duration;

use super::{Expectation, Outcome, Stream, console_in};
use crate::duration::shown;
use crate::record::log::Event;
use crate::runner::story::Story;
use crate::scenario::step::Until;
use crate::scenario::value::Time;

/// The span of time that a step looks at.
#[derive(Debug)]
pub(super) struct Span {
    until: Until,
    end: Option<Duration>,
    /// The first event that can be a console line that ends it.
    console: usize,
}

impl Span {
    pub(super) fn new(until: &Until, story: &Story) -> Self {
        let end = match until {
            Until::Time(Time(time)) => Some(story.since.saturating_add(*time)),
            Until::Serial(_) | Until::Exit => None,
        };
        Self { until: until.clone(), end, console: story.console() }
    }

    /// When it ends, if time alone decides that.
    pub(super) fn end(&self) -> Option<Duration> {
        self.end
    }

    /// Where the pins are looked at from.
    pub(super) fn stream(&self) -> Stream {
        match &self.until {
            Until::Time(_) => Stream::Now,
            Until::Serial(_) => Stream::Both,
            Until::Exit => Stream::Pins,
        }
    }

    /// Whether an event lies behind the end, or is the end itself.
    pub(super) fn is_over_at(&self, position: usize, event: &Event) -> bool {
        match &self.until {
            Until::Time(_) => self.end.is_some_and(|end| event.at > end),
            Until::Serial(text) => {
                position >= self.console && console_in(event).is_some_and(|line| line.contains(text))
            }
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
    fn stream(&self) -> Stream {
        Stream::Neither
    }

    fn expected(&self) -> String {
        format!("{} to pass", shown(self.time))
    }

    fn event(&mut self, _: usize, event: &Event) -> Outcome {
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
    fn stream(&self) -> Stream {
        Stream::Neither
    }

    fn expected(&self) -> String {
        format!("the guest to end with the exit status {}", self.code)
    }

    fn event(&mut self, _: usize, _: &Event) -> Outcome {
        Outcome::Open
    }

    fn exit(&mut self, status: ExitStatus) -> Outcome {
        if status.code() == Some(self.code) { Outcome::Met } else { Outcome::Failed(format!("it ended with {status}")) }
    }

    fn seen(&self) -> String {
        "it still runs".to_owned()
    }
}
