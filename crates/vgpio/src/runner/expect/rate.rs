//! How fast a line changes, and how long it is high.

use std::time::Duration;

use virtio_gpio::messages::Level;

use super::{Expectation, Outcome, Stream, edge_in};
use crate::duration::shown;
use crate::record::log::Event;
use crate::scenario::layout::{Layout, Unknown};
use crate::scenario::step::{ExpectDuty, ExpectFrequency};
use crate::world::Place;

/// Some whole periods of a line, each from one rising edge to the next. What comes before the first one does not count.
#[derive(Debug)]
struct Periods {
    place: Place,
    label: String,
    wanted: usize,
    rising: Option<Duration>,
    falling: Option<Duration>,
    /// The length of each period and of its high part.
    seen: Vec<(Duration, Duration)>,
}

impl Periods {
    fn new(line: &str, periods: u16, layout: &Layout) -> Result<Self, Unknown> {
        let place = layout.line(line)?;
        let label = layout.label(place);
        Ok(Self { place, label, wanted: periods.into(), rising: None, falling: None, seen: Vec::new() })
    }

    /// Takes an event; returns whether there are enough periods.
    fn take(&mut self, event: &Event) -> bool {
        match edge_in(event).filter(|(place, _)| *place == self.place) {
            Some((_, Level::Low)) => self.falling = Some(event.at),
            Some((_, Level::High)) => {
                if let (Some(rising), Some(falling)) = (self.rising, self.falling) {
                    self.seen.push((event.at.saturating_sub(rising), falling.saturating_sub(rising)));
                }
                self.rising = Some(event.at);
            }
            None => {}
        }
        self.seen.len() >= self.wanted
    }

    /// The median of something about the periods: one that a busy machine made longer does not count.
    fn median(&self, of: impl Fn(f64, f64) -> f64) -> Option<f64> {
        let mut values: Vec<_> =
            self.seen.iter().map(|(whole, high)| of(whole.as_secs_f64(), high.as_secs_f64())).collect();
        values.sort_unstable_by(f64::total_cmp);
        values.get(values.len().checked_div(2)?).copied()
    }

    fn shown(&self) -> String {
        let of = |(whole, high): &(Duration, Duration)| format!("{} ({} high)", shown(*whole), shown(*high));
        match self.seen.as_slice() {
            [] => "no whole period".to_owned(),
            seen => format!("periods of {}", super::last_of(&seen.iter().map(of).collect::<Vec<_>>())),
        }
    }
}

/// A line changes with a frequency.
#[derive(Debug)]
pub(super) struct Frequency {
    periods: Periods,
    hz: f64,
    tolerance: f64,
}

impl Frequency {
    pub(super) fn new(expect: &ExpectFrequency, layout: &Layout) -> Result<Self, Unknown> {
        let periods = Periods::new(&expect.line, expect.periods, layout)?;
        Ok(Self { periods, hz: *expect.hz, tolerance: expect.tolerance.0 })
    }
}

impl Expectation for Frequency {
    fn stream(&self) -> Stream {
        Stream::Now
    }

    fn expected(&self) -> String {
        let (hz, percent) = (self.hz, self.tolerance * 100.0);
        format!("{} at {hz} Hz, {percent}% more or less, over {} periods", self.periods.label, self.periods.wanted)
    }

    fn event(&mut self, _: usize, event: &Event) -> Outcome {
        if !self.periods.take(event) {
            return Outcome::Open;
        }
        let Some(hz) = self.periods.median(|whole, _| 1.0 / whole) else { return Outcome::Open };
        if (hz - self.hz).abs() <= self.hz * self.tolerance {
            return Outcome::Met;
        }
        Outcome::Failed(format!("{hz:.3} Hz: {}", self.periods.shown()))
    }

    fn seen(&self) -> String {
        self.periods.shown()
    }
}

/// A line is high for a part of the time.
#[derive(Debug)]
pub(super) struct Duty {
    periods: Periods,
    share: f64,
    tolerance: f64,
}

impl Duty {
    pub(super) fn new(expect: &ExpectDuty, layout: &Layout) -> Result<Self, Unknown> {
        let periods = Periods::new(&expect.line, expect.periods, layout)?;
        Ok(Self { periods, share: expect.duty.0, tolerance: expect.tolerance.0 })
    }
}

impl Expectation for Duty {
    fn stream(&self) -> Stream {
        Stream::Now
    }

    fn expected(&self) -> String {
        let (duty, percent) = (self.share * 100.0, self.tolerance * 100.0);
        let Periods { label, wanted, .. } = &self.periods;
        format!("{label} high for {duty}% of the time, {percent}% more or less, over {wanted} periods")
    }

    fn event(&mut self, _: usize, event: &Event) -> Outcome {
        if !self.periods.take(event) {
            return Outcome::Open;
        }
        let Some(duty) = self.periods.median(|whole, high| high / whole) else { return Outcome::Open };
        if (duty - self.share).abs() <= self.tolerance {
            return Outcome::Met;
        }
        Outcome::Failed(format!("{:.1}%: {}", duty * 100.0, self.periods.shown()))
    }

    fn seen(&self) -> String {
        self.periods.shown()
    }
}
