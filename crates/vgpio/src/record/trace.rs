//! All records of the devices, to be looked at by another thread while the world goes on.

use std::fmt;
use std::time::Duration;

use super::growing::Growing;
use super::{Record, Sink};

/// All records so far. Clones show the same.
#[derive(Debug, Clone, Default)]
pub struct Trace(Growing<Record>);

/// What was waited for did not happen in time.
#[derive(Debug)]
pub struct TimedOut {
    /// How long was waited.
    pub waited: Duration,
    /// Everything that happened.
    pub records: Vec<Record>,
}

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// More of them would bury the message.
        const SHOWN: usize = 20;
        writeln!(f, "Nothing of that kind within {:?}; the last of {} records:", self.waited, self.records.len())?;
        for record in self.records.iter().skip(self.records.len().saturating_sub(SHOWN)) {
            writeln!(f, "  {:>12.6} chip {}: {:?}", record.at.as_secs_f64(), record.chip, record.activity)?;
        }
        Ok(())
    }
}

impl std::error::Error for TimedOut {}

impl Trace {
    /// A copy of everything that happened so far.
    pub fn records(&self) -> Vec<Record> {
        self.0.with(<[Record]>::to_vec)
    }

    /// Waits until `found` likes what happened so far, and returns what it found. Whoever looks for one thing after the
    /// other had better use a [`Log`](super::log::Log), which shows nothing twice.
    ///
    /// # Errors
    ///
    /// [`TimedOut`] when it does not within `patience`, or when the world ends before.
    pub fn wait_for<T>(&self, patience: Duration, found: impl FnMut(&[Record]) -> Option<T>) -> Result<T, TimedOut> {
        self.0.wait_for(patience, found).map_err(|vain| TimedOut { waited: vain.waited, records: self.records() })
    }
}

impl Sink for Trace {
    fn record(&mut self, record: &Record) {
        self.0.push(*record);
    }

    fn finish(&mut self, _at: Duration) {
        self.0.end();
    }
}
