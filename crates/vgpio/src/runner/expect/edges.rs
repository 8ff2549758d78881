//! Edges: their order, their number, and that there are none.

use std::process::ExitStatus;
use std::time::Duration;

use virtio_gpio::messages::Level;

use super::span::Span;
use super::{Expectation, Outcome, Stream, edge_in, edge_name, last_of, later};
use crate::record::log::Event;
use crate::runner::story::Story;
use crate::scenario::layout::{Layout, Unknown};
use crate::scenario::step::{ExpectCount, ExpectEdges, ExpectSilence};
use crate::scenario::value::Edges;
use crate::world::Place;

/// Some lines change in an order, and in no other way.
#[derive(Debug)]
pub(super) struct Order {
    edges: Vec<(Place, Level)>,
    labels: Vec<String>,
    quiet: Vec<(Place, String)>,
    since: Duration,
    come: Vec<String>,
}

impl Order {
    pub(super) fn new(expect: &ExpectEdges, layout: &Layout, since: Duration) -> Result<Self, Unknown> {
        let edges = expect.edges.iter().map(|edge| Ok((layout.line(&edge.line)?, edge.to)));
        let edges = edges.collect::<Result<Vec<_>, Unknown>>()?;
        let labels = edges.iter().map(|(place, to)| format!("{} {}", layout.label(*place), edge_name(*to))).collect();
        let quiet = expect.quiet.iter().map(|line| layout.line(line).map(|place| (place, layout.label(place))));
        Ok(Self { edges, labels, quiet: quiet.collect::<Result<_, _>>()?, since, come: Vec::new() })
    }

    fn label(&self, place: Place, level: Level) -> Option<String> {
        let known = self.edges.iter().zip(&self.labels).find(|((line, _), _)| *line == place);
        let name = known.and_then(|(_, label)| label.rsplit_once(' ')).map(|(name, _)| name);
        let quiet = || self.quiet.iter().find(|(line, _)| *line == place).map(|(_, name)| name.as_str());
        Some(format!("{} {}", name.or_else(quiet)?, edge_name(level)))
    }
}

impl Expectation for Order {
    fn expected(&self) -> String {
        let quiet: Vec<_> = self.quiet.iter().map(|(_, name)| name.as_str()).collect();
        let quiet =
            if quiet.is_empty() { String::new() } else { format!("; and {} quiet until then", quiet.join(", ")) };
        format!("{}{quiet}", self.labels.join(", then "))
    }

    fn event(&mut self, _: usize, event: &Event) -> Outcome {
        let Some((place, level)) = edge_in(event) else { return Outcome::Open };
        let Some(label) = self.label(place, level) else { return Outcome::Open };
        let fits = self.edges.get(self.come.len()) == Some(&(place, level));
        self.come.push(format!("{label} {}", later(event.at, self.since)));
        match (fits, self.come.len() >= self.edges.len()) {
            (false, _) => Outcome::Failed(self.seen()),
            (true, true) => Outcome::Met,
            (true, false) => Outcome::Open,
        }
    }

    fn seen(&self) -> String {
        if self.come.is_empty() { "no edge of these lines".to_owned() } else { last_of(&self.come) }
    }
}

/// A line changes so often.
#[derive(Debug)]
pub(super) struct Count {
    place: Place,
    label: String,
    edges: Edges,
    span: Span,
    min: u64,
    max: u64,
    come: u64,
}

impl Count {
    pub(super) fn new(expect: &ExpectCount, layout: &Layout, story: &Story) -> Result<Self, Unknown> {
        let place = layout.line(&expect.line)?;
        Ok(Self {
            place,
            label: layout.label(place),
            edges: expect.edges,
            span: Span::new(&expect.until, story),
            min: expect.exactly.or(expect.min).unwrap_or(0),
            max: expect.exactly.or(expect.max).unwrap_or(u64::MAX),
            come: 0,
        })
    }

    /// The span is over.
    fn judge(&self) -> Outcome {
        if (self.min..=self.max).contains(&self.come) { self.span.met() } else { Outcome::Failed(self.seen()) }
    }
}

impl Expectation for Count {
    fn stream(&self) -> Stream {
        self.span.stream()
    }

    fn expected(&self) -> String {
        let number = match (self.min, self.max) {
            (min, max) if min == max => format!("{min}"),
            (min, u64::MAX) => format!("at least {min}"),
            (0, max) => format!("at most {max}"),
            (min, max) => format!("{min} to {max}"),
        };
        let kind = match self.edges {
            Edges::Both => "edges".to_owned(),
            edges => format!("{edges} edges"),
        };
        format!("{number} {kind} of {} {}", self.label, self.span.shown())
    }

    fn event(&mut self, position: usize, event: &Event) -> Outcome {
        if self.span.is_over_at(position, event) {
            return self.judge();
        }
        if edge_in(event).is_some_and(|(place, level)| place == self.place && self.edges.includes(level)) {
            self.come = self.come.saturating_add(1);
        }
        if self.come > self.max { Outcome::Failed(format!("{} already", self.seen())) } else { Outcome::Open }
    }

    fn end(&self) -> Option<Duration> {
        self.span.end()
    }

    fn time_is_up(&mut self) -> Outcome {
        self.judge()
    }

    fn exit(&mut self, status: ExitStatus) -> Outcome {
        match self.span.ends_with_guest() {
            true => self.judge(),
            // Time goes on without the guest.
            false if self.span.end().is_some() => Outcome::Open,
            false => Outcome::Failed(format!("{}, and then the guest ended ({status})", self.seen())),
        }
    }

    fn seen(&self) -> String {
        self.come.to_string()
    }
}

/// Some lines do not change.
#[derive(Debug)]
pub(super) struct Silence {
    lines: Vec<(Place, String)>,
    span: Span,
    since: Duration,
}

impl Silence {
    pub(super) fn new(expect: &ExpectSilence, layout: &Layout, story: &Story) -> Result<Self, Unknown> {
        let lines = expect.lines.iter().map(|line| layout.line(line).map(|place| (place, layout.label(place))));
        Ok(Self { lines: lines.collect::<Result<_, _>>()?, span: Span::new(&expect.until, story), since: story.since })
    }
}

impl Expectation for Silence {
    fn stream(&self) -> Stream {
        self.span.stream()
    }

    fn expected(&self) -> String {
        let names: Vec<_> = self.lines.iter().map(|(_, name)| name.as_str()).collect();
        format!("no edge of {} {}", names.join(", "), self.span.shown())
    }

    fn event(&mut self, position: usize, event: &Event) -> Outcome {
        if self.span.is_over_at(position, event) {
            return self.span.met();
        }
        let Some((place, level)) = edge_in(event) else { return Outcome::Open };
        match self.lines.iter().find(|(line, _)| *line == place) {
            Some((_, name)) => Outcome::Failed(format!("{name} {} {}", edge_name(level), later(event.at, self.since))),
            None => Outcome::Open,
        }
    }

    fn end(&self) -> Option<Duration> {
        self.span.end()
    }

    fn time_is_up(&mut self) -> Outcome {
        self.span.met()
    }

    fn exit(&mut self, status: ExitStatus) -> Outcome {
        match self.span.ends_with_guest() {
            true => Outcome::Met,
            false if self.span.end().is_some() => Outcome::Open,
            false => Outcome::Failed(format!("no edge, but the guest ended before that ({status})")),
        }
    }

    fn seen(&self) -> String {
        "no edge so far".to_owned()
    }
}
