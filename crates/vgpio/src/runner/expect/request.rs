//! What the driver asks for.

use super::{Expectation, Outcome, last_of};
use crate::record::log::{Event, Occurrence};
use crate::request::{Asked, Requests};
use crate::scenario::check::requests;
use crate::scenario::layout::{Layout, Unknown};
use crate::scenario::step::RequestFilter;

/// The driver asks for something.
#[derive(Debug)]
pub(super) struct Asking {
    requests: Requests,
    /// The chip; any where no line is named.
    chip: Option<usize>,
    expected: String,
    come: Vec<String>,
}

impl Asking {
    pub(super) fn new(filter: &RequestFilter, layout: &Layout) -> Result<Self, Unknown> {
        let place = filter.line.as_ref().map(|line| layout.line(line)).transpose()?;
        let requests = requests(filter, place.map(|place| place.line))
            .map_err(|message| Unknown { message: message.to_owned(), help: String::new() })?;
        let kind = requests.kind.map_or_else(|| "a request".to_owned(), |kind| kind.to_string());
        let line = place.map(|place| format!(" for {}", layout.label(place))).unwrap_or_default();
        Ok(Self { requests, chip: place.map(|place| place.chip), expected: format!("{kind}{line}"), come: Vec::new() })
    }
}

impl Expectation for Asking {
    fn expected(&self) -> String {
        self.expected.clone()
    }

    fn event(&mut self, _: usize, event: &Event) -> Outcome {
        let Occurrence::Device { chip, activity } = &event.what else { return Outcome::Open };
        let Some(asked) = Asked::of(activity) else { return Outcome::Open };
        if self.chip.is_none_or(|only| only == *chip) && self.requests.include(asked) {
            return Outcome::Met;
        }
        self.come.push(format!("gpio{chip}: {asked}"));
        Outcome::Open
    }

    fn seen(&self) -> String {
        if self.come.is_empty() { "no request".to_owned() } else { last_of(&self.come) }
    }
}
