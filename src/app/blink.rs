//! Blinking: outputs that change level on a common beat.

use alloc::string::String;

use log::debug;
use virtio_gpio::{Error, Level, LineId, Output, Pending};

use super::chips::StaticChip;
use super::tally::Tally;

/// A line that blinks.
#[derive(Debug)]
pub(super) struct Blinker {
    /// `gpio0:0 led0`, for messages.
    label: String,
    pin: Output<'static>,
    /// The level that was asked for last.
    level: Level,
    /// The change that is under way.
    pending: Option<Pending<'static>>,
    /// There was no room for the last beat's change.
    late: bool,
    blinks: u64,
    /// Failed changes in a row.
    failures: u32,
    /// The line or its chip was given up.
    lost: bool,
}

impl Blinker {
    /// Takes a line into use as an output, low.
    ///
    /// # Errors
    ///
    /// What the driver says.
    pub(super) fn new(chip: StaticChip, line: LineId, label: String) -> Result<Self, Error> {
        let pin = chip.line(line)?.into_output(Level::Low).map_err(|rejected| rejected.error)?;
        Ok(Self { label, pin, level: Level::Low, pending: None, late: false, blinks: 0, failures: 0, lost: false })
    }

    /// The pin. It is changed on the beat only.
    pub(super) fn pin(&self) -> &Output<'static> {
        &self.pin
    }

    /// How often the line has blinked.
    pub(super) fn blinks(&self) -> u64 {
        self.blinks
    }

    /// Ends the blinking. A change that is under way runs its course, before anything that is asked of the pin from now on.
    pub(super) fn into_pin(self) -> Output<'static> {
        self.pin
    }

    /// Whether the last change failed, so that the line is not in the state that it should be in.
    pub(super) fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// Whether the line has blinked `count` times, or never will.
    pub(super) fn is_done(&self, count: u64) -> bool {
        self.blinks >= count || self.lost
    }

    /// Queues the change to the other level; the chip is to be notified then. A change that is still under way is not
    /// overtaken: the beat is left out.
    pub(super) fn beat(&mut self, tally: &mut Tally) {
        if self.pending.is_some() || self.lost {
            return;
        }
        let level = self.level.toggled();
        self.late = false;
        match self.pin.queue_set(level) {
            Ok(pending) => {
                self.level = level;
                self.pending = Some(pending);
            }
            // More lines blink than requests can be under way at once: it goes out when others have ended.
            Err(Error::Busy) => self.late = true,
            // The chip has said so itself, once; no use in repeating it on every beat.
            Err(Error::Recovering) => self.failures = self.failures.saturating_add(1),
            Err(error) => self.fail(error, tally),
        }
    }

    /// Whether the last beat's change still waits for room.
    pub(super) fn is_late(&self) -> bool {
        self.late
    }

    /// Whether [`collect`](Self::collect) has something to take.
    pub(super) fn has_outcome(&self) -> bool {
        self.pending.as_ref().is_some_and(Pending::is_done)
    }

    /// Takes the outcome of the change under way, if there is one.
    pub(super) fn collect(&mut self, tally: &mut Tally) {
        let Some(outcome) = self.pending.as_mut().and_then(Pending::outcome) else { return };
        self.pending = None;
        match outcome {
            Ok(()) => {
                self.failures = 0;
                debug!("blink {} level={}", self.label, self.level);
                if self.level == Level::Low {
                    self.blinks = self.blinks.saturating_add(1);
                    tally.blinks = tally.blinks.saturating_add(1);
                }
            }
            Err(error) => {
                // The level is what it was, or not known: the next beat tries the same change again.
                self.level = self.level.toggled();
                self.fail(error, tally);
            }
        }
    }

    /// Counts a failure, and tells of the first in a row and of every doubling.
    fn fail(&mut self, error: Error, tally: &mut Tally) {
        self.failures = self.failures.saturating_add(1);
        if self.failures.is_power_of_two() {
            tally.failed(format_args!("{}", self.label), error);
        } else {
            tally.errors = tally.errors.saturating_add(1);
        }
        self.lost |= matches!(error, Error::LineLost | Error::ChipFailed);
    }

    /// Drives the line low and gives it back.
    ///
    /// # Errors
    ///
    /// What the driver says.
    pub(super) fn end(mut self) -> Result<(), Error> {
        if let Some(pending) = self.pending.take() {
            // Sent before, so carried out before; what it says is of no more use.
            let _ = pending.wait();
        }
        let low = self.pin.set(Level::Low);
        self.pin.release().and(low)
    }

    /// What the line is called in messages.
    pub(super) fn label(&self) -> &str {
        &self.label
    }
}
