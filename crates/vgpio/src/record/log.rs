//! Everything in one order: what happened in the devices, and what the guest printed.
//!
//! Whoever sees a line of the guest finds every change of a pin that the guest made before it printed the line at an
//! earlier position, if the line was handed to the world by [`crate::server::Handle::console`] before anybody saw it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use gpio_model::observe::Activity;

use super::growing::Growing;
use super::{Record, Sink};

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Occurrence {
    /// Something in a device.
    Device {
        /// The device, by its position in the world.
        chip: usize,
        /// What happened.
        activity: Activity,
    },
    /// A line that the guest printed, without its end.
    Console(Arc<str>),
}

/// Something that happened, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The host's monotonic time since the world began.
    pub at: Duration,
    /// What happened.
    pub what: Occurrence,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at.as_secs_f64();
        match &self.what {
            Occurrence::Device { chip, activity } => write!(f, "{at:>12.6} gpio{chip}: {activity:?}"),
            Occurrence::Console(line) => write!(f, "{at:>12.6} | {line}"),
        }
    }
}

/// Everything that happened so far, each at its position, from 0. Clones show the same.
#[derive(Debug, Clone, Default)]
pub struct Log(Growing<Event>);

/// What was waited for did not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotSeen {
    /// How long was waited.
    pub waited: Duration,
    /// Whether the world has ended; otherwise the time was up.
    pub ended: bool,
}

impl fmt::Display for NotSeen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.ended {
            return f.write_str("The simulated world ended before it happened");
        }
        write!(f, "It did not happen within {:?}", self.waited)
    }
}

impl std::error::Error for NotSeen {}

impl Log {
    /// How many events there are: the position of the next one.
    pub fn position(&self) -> usize {
        self.0.with(<[Event]>::len)
    }

    /// A copy of the events from a position on.
    pub fn events_from(&self, position: usize) -> Vec<Event> {
        self.0.with(|events| events.get(position..).unwrap_or_default().to_vec())
    }

    /// The lines that the guest printed so far.
    pub fn console(&self) -> Vec<Arc<str>> {
        let line = |event: &Event| match &event.what {
            Occurrence::Console(line) => Some(Arc::clone(line)),
            Occurrence::Device { .. } => None,
        };
        self.0.with(|events| events.iter().filter_map(line).collect())
    }

    /// Waits for the first event from `position` on that `found` makes something of. It sees each event with its
    /// position, and sees it once; what happens next waits meanwhile, so it should be quick.
    ///
    /// # Errors
    ///
    /// [`NotSeen`] when there is none within `patience`, or when the world ends without one.
    pub fn wait_from<T>(
        &self,
        position: usize,
        patience: Duration,
        found: impl FnMut(usize, &Event) -> Option<T>,
    ) -> Result<T, NotSeen> {
        let seen = self.0.find_from(position, patience, found);
        seen.map_err(|vain| NotSeen { waited: vain.waited, ended: vain.ended })
    }
}

impl Sink for Log {
    fn record(&mut self, record: &Record) {
        let Record { at, chip, activity } = *record;
        self.0.push(Event { at, what: Occurrence::Device { chip, activity } });
    }

    fn console(&mut self, at: Duration, line: &str) {
        self.0.push(Event { at, what: Occurrence::Console(line.into()) });
    }

    fn finish(&mut self, _at: Duration) {
        self.0.end();
    }
}
