//! What happened in the simulated world, and who keeps it.

pub(crate) mod growing;
pub mod log;
pub mod tally;
pub mod trace;
pub mod vcd;

use std::fmt;
use std::time::Duration;

use gpio_model::observe::Activity;

/// Something that happened in one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// The host's monotonic time since the world began.
    pub at: Duration,
    /// The device, by its position in the world.
    pub chip: usize,
    /// What happened.
    pub activity: Activity,
}

/// Keeps records: all of them or an extract, in the order in which they happen.
pub trait Sink: Send + fmt::Debug {
    /// Takes one record.
    fn record(&mut self, record: &Record);

    /// Takes a line that the guest printed, without its end; everything that the guest had caused by then was recorded
    /// before.
    fn console(&mut self, _at: Duration, _line: &str) {}

    /// The world ends at the given time; nothing comes after it.
    fn finish(&mut self, _at: Duration) {}
}
