//! What the summary and the exit status are made of.

use log::error;
use virtio_gpio::Error;

/// Counts of one run.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Full on-off cycles, over all lines.
    pub(super) blinks: u64,
    /// Edges and levels delivered, over all lines.
    pub(super) edges: u64,
    /// Operations that failed.
    pub(super) errors: u64,
    /// Something was lost for good: a line, a device, or a device that could not be used from the start.
    pub(super) lost: bool,
}

impl Tally {
    /// Counts a failed operation, and says so.
    pub(super) fn failed(&mut self, what: core::fmt::Arguments<'_>, error: Error) {
        self.errors = self.errors.saturating_add(1);
        error!("{what}: {error}");
    }
}

/// Whether the operation may succeed when it is tried again: the device did not refuse it, it did not answer.
pub(super) const fn is_passing(error: Error) -> bool {
    matches!(error, Error::Timeout | Error::OutcomeUnknown | Error::Recovering | Error::Busy)
}
