//! Counts of what happened.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use gpio_model::observe::Activity;
use virtio_gpio::messages::{Direction, Level};

use super::{Record, Sink};

/// The edges of one line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Edges {
    /// Changes from low to high.
    pub rising: u64,
    /// Changes from high to low.
    pub falling: u64,
    /// Whether the guest made some of them, by driving the line.
    pub by_guest: bool,
}

/// Counts so far. Clones show the same.
#[derive(Debug, Clone, Default)]
pub struct Tally(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    edges: Mutex<Vec<Vec<Edges>>>,
    requests: AtomicU64,
}

impl Tally {
    /// The edges of each line of each chip; a list ends with the last line that had one.
    pub fn edges(&self) -> Vec<Vec<Edges>> {
        self.0.edges.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Requests of drivers.
    pub fn requests(&self) -> u64 {
        self.0.requests.load(Ordering::Relaxed)
    }
}

impl Sink for Tally {
    fn record(&mut self, record: &Record) {
        match record.activity {
            Activity::Request { .. } | Activity::Message { .. } => {
                self.0.requests.fetch_add(1, Ordering::Relaxed);
            }
            Activity::Changed(change) => {
                let Some(level) = change.new_level() else { return };
                let mut chips = self.0.edges.lock().unwrap_or_else(PoisonError::into_inner);
                let edges = entry(entry(&mut chips, record.chip), usize::from(change.line.0));
                let count = match level {
                    Level::High => &mut edges.rising,
                    Level::Low => &mut edges.falling,
                };
                *count = count.saturating_add(1);
                edges.by_guest |= change.after.direction == Direction::Output;
            }
            _ => {}
        }
    }
}

/// The element at an index of a list that grows as needed.
fn entry<T: Default>(list: &mut Vec<T>, index: usize) -> &mut T {
    while list.len() <= index {
        list.push(T::default());
    }
    #[expect(clippy::indexing_slicing, reason = "the loop above made the list longer than the index")]
    &mut list[index]
}
