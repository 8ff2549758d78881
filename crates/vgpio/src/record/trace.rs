//! All records, to be looked at by another thread while the world goes on.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Record, Sink};

/// All records so far. Clones show the same.
#[derive(Debug, Clone, Default)]
pub struct Trace(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    records: Mutex<Vec<Record>>,
    grown: Condvar,
}

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
        self.lock().clone()
    }

    /// Waits until `found` likes what happened so far, and returns what it found.
    ///
    /// # Errors
    ///
    /// [`TimedOut`] when it does not within `patience`.
    pub fn wait_for<T>(
        &self,
        patience: Duration,
        mut found: impl FnMut(&[Record]) -> Option<T>,
    ) -> Result<T, TimedOut> {
        let begin = Instant::now();
        let mut records = self.lock();
        loop {
            if let Some(found) = found(&records) {
                return Ok(found);
            }
            let waited = begin.elapsed();
            let Some(rest) = patience.checked_sub(waited).filter(|rest| !rest.is_zero()) else {
                return Err(TimedOut { waited, records: records.clone() });
            };
            (records, _) = self.0.grown.wait_timeout(records, rest).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A list of records is whole after every step, so a panic of another holder of the lock does no harm.
    fn lock(&self) -> MutexGuard<'_, Vec<Record>> {
        self.0.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for Trace {
    fn record(&mut self, record: &Record) {
        self.lock().push(*record);
        self.0.grown.notify_all();
    }
}
