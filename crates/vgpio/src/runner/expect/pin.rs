//! The state of a line.

use std::process::ExitStatus;

use gpio_model::bank::Line;
use virtio_gpio::messages::{Direction, Level};

use super::{Expectation, Outcome, Stream, change_in, direction_name};
use crate::record::log::Event;
use crate::runner::story::Story;
use crate::scenario::layout::{Layout, Unknown};
use crate::scenario::step::ExpectPin;
use crate::world::Place;

/// A line has a level, now or in time.
#[derive(Debug)]
pub(super) struct Pin {
    place: Place,
    label: String,
    level: Level,
    direction: Option<Direction>,
    line: Line,
    /// Whether it must be so at once.
    now: bool,
}

impl Pin {
    pub(super) fn new(expect: &ExpectPin, layout: &Layout, story: &Story) -> Result<Self, Unknown> {
        let place = layout.line(&expect.line)?;
        let line = story.line(place);
        let (level, direction) = (expect.value.0, expect.direction.map(Into::into));
        Ok(Self { place, label: layout.label(place), level, direction, line, now: expect.within.is_none() })
    }

    fn is_met(&self) -> bool {
        self.line.level() == self.level && self.direction.is_none_or(|direction| direction == self.line.direction)
    }
}

impl Expectation for Pin {
    fn stream(&self) -> Stream {
        Stream::Settled
    }

    fn expected(&self) -> String {
        let direction = self.direction.map(|direction| format!(" and {}", direction_name(direction)));
        format!("{} to be {}{}", self.label, self.level, direction.unwrap_or_default())
    }

    fn at_once(&self) -> Outcome {
        match (self.is_met(), self.now) {
            (true, _) => Outcome::Met,
            (false, true) => Outcome::Failed(self.seen()),
            (false, false) => Outcome::Open,
        }
    }

    fn event(&mut self, _: usize, event: &Event) -> Outcome {
        if let Some((place, change)) = change_in(event)
            && place == self.place
        {
            self.line = change.after;
        }
        if self.is_met() { Outcome::Met } else { Outcome::Open }
    }

    fn exit(&mut self, status: ExitStatus) -> Outcome {
        Outcome::Failed(format!("{}, and the guest has ended ({status})", self.seen()))
    }

    fn seen(&self) -> String {
        let driver = match (self.line.direction, self.line.drive) {
            (Direction::Output, _) => "driven by the guest",
            (_, Some(_)) => "driven from outside",
            (_, None) => "driven by nobody",
        };
        format!("it is {}, {}, {driver}", self.line.level(), direction_name(self.line.direction))
    }
}
