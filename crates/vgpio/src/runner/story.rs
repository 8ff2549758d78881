//! What has happened so far, and how far the steps have looked at it.
//!
//! Pins and console come in one order, but not with one speed: a line travels from the guest through QEMU and a pipe, so
//! pins that the guest changes after it printed a line may be in the log before the line. So there is a mark for each of
//! the two: a step about pins goes on where the last step about pins has stopped, and a step about the console where the
//! last one about the console has. What is done to the world sets both marks.

use std::ops::Range;
use std::time::Duration;

use gpio_model::bank::Line;

use super::expect::{Stream, change_in, console_in};
use crate::record::log::{Event, Log};
use crate::world::Place;

/// Everything that has happened, and the marks.
#[derive(Debug)]
pub(super) struct Story {
    log: Log,
    pub(super) events: Vec<Event>,
    /// The next event for a step about pins.
    pins: usize,
    /// The next event for a step about the console.
    console: usize,
    /// Where a span of time begins: where the step before ended.
    now: usize,
    /// The end of what the step before has caused at once.
    settled: usize,
    /// When the step before ended.
    pub(super) since: Duration,
    /// Whether the step before did something to the world.
    is_acting: bool,
    forbidden: Vec<Forbidden>,
}

/// A text that no console line may have.
#[derive(Debug)]
struct Forbidden {
    text: String,
    /// Where that is said.
    span: Option<Range<usize>>,
    /// The next event to look at.
    next: usize,
}

/// A console line that may not be.
#[derive(Debug)]
pub(super) struct Violation {
    pub(super) text: String,
    pub(super) span: Option<Range<usize>>,
    pub(super) line: String,
}

impl Story {
    pub(super) fn new(log: Log) -> Self {
        Self {
            log,
            events: Vec::new(),
            pins: 0,
            console: 0,
            now: 0,
            settled: 0,
            since: Duration::ZERO,
            is_acting: false,
            forbidden: Vec::new(),
        }
    }

    /// Takes what has happened since the last time.
    pub(super) fn read(&mut self) {
        self.events.extend(self.log.events_from(self.events.len()));
    }

    /// Waits until more has happened, but not for long.
    pub(super) fn wait(&self, patience: Duration) {
        // In vain or not: whoever waits looks for itself.
        let _ = self.log.wait_from(self.events.len(), patience, |_, _| Some(()));
    }

    /// From here on no console line may have a text.
    pub(super) fn forbid(&mut self, text: &str, span: Option<Range<usize>>) {
        self.forbidden.push(Forbidden { text: text.to_owned(), span, next: self.console });
    }

    /// A line that may not be, among those that were not looked at for that yet.
    pub(super) fn violation(&mut self) -> Option<Violation> {
        let events = &self.events;
        self.forbidden.iter_mut().find_map(|forbidden| {
            let new = events.get(forbidden.next..).unwrap_or_default();
            forbidden.next = events.len();
            let line = new.iter().filter_map(console_in).find(|line| line.contains(&forbidden.text))?;
            Some(Violation { text: forbidden.text.clone(), span: forbidden.span.clone(), line: line.to_owned() })
        })
    }

    /// Something was done to the world: the log grew from `before` to `after` by it. What is done one after the other
    /// counts as one.
    pub(super) fn acted(&mut self, before: usize, after: usize, at: Duration) {
        if !self.is_acting {
            (self.pins, self.console, self.now, self.since) = (before, before, before, at);
        }
        self.is_acting = true;
        self.settled = after;
    }

    /// Begins to wait; returns the first event to look at.
    pub(super) fn begin(&mut self, stream: Stream) -> usize {
        self.is_acting = false;
        match stream {
            Stream::Pins | Stream::Both => self.pins,
            Stream::Console => self.console,
            Stream::Now | Stream::Neither => self.now,
            Stream::Settled => self.settled,
        }
    }

    /// Has waited up to an event, which is not among what was looked at, and to a time.
    pub(super) fn end(&mut self, stream: Stream, end: usize, at: Duration) {
        match stream {
            Stream::Pins | Stream::Now | Stream::Settled => self.pins = self.pins.max(end),
            Stream::Console => self.console = end,
            Stream::Both => (self.pins, self.console) = (end, end),
            Stream::Neither => {}
        }
        self.now = self.now.max(end);
        self.settle(end);
        self.since = self.since.max(at);
    }

    /// What comes before an event belongs to the step before.
    pub(super) fn settle(&mut self, end: usize) {
        self.settled = self.settled.max(end);
    }

    /// The next event for a step about the console.
    pub(super) fn console(&self) -> usize {
        self.console
    }

    /// A line as the step before has left it.
    pub(super) fn line(&self, place: Place) -> Line {
        let settled = self.events.get(..self.settled).unwrap_or(&self.events);
        let change = settled.iter().rev().filter_map(change_in).find(|(changed, _)| *changed == place);
        change.map_or(Line::IDLE, |(_, change)| change.after)
    }
}
