//! Watching: inputs whose edges and levels are logged.

use alloc::string::String;
use core::time::Duration;

use log::info;
use virtio_gpio::clock::Instant;
use virtio_gpio::{Error, Event, Input, InterruptType, LineId};

use super::chips::StaticChip;

/// How soon a level that was logged may be logged again. Nobody here removes what causes it, so that it would be
/// logged as fast as the device can interrupt.
const LEVEL_PAUSE: Duration = Duration::from_millis(100);

/// A line that is watched.
#[derive(Debug)]
pub(super) struct Watcher {
    label: String,
    pin: Input<'static>,
    kind: InterruptType,
    /// The count of the last event.
    count: u64,
    /// When a level-triggered line may fire again.
    unmask: Option<Instant>,
}

impl Watcher {
    /// Takes a line into use as an input, and has it interrupt.
    ///
    /// # Errors
    ///
    /// What the driver says.
    pub(super) fn new(chip: StaticChip, line: LineId, kind: InterruptType, label: String) -> Result<Self, Error> {
        let mut pin = chip.line(line)?.into_input().map_err(|rejected| rejected.error)?;
        pin.watch(kind)?;
        Ok(Self::of_pin(pin, kind, label, 0))
    }

    /// The watcher of an input that interrupts already, and has had so many events.
    pub(super) fn of_pin(pin: Input<'static>, kind: InterruptType, label: String, count: u64) -> Self {
        Self { label, pin, kind, count, unmask: None }
    }

    /// The pin.
    pub(super) fn pin(&self) -> &Input<'static> {
        &self.pin
    }

    /// What the line is watched for.
    pub(super) fn kind(&self) -> InterruptType {
        self.kind
    }

    /// The line's own count of events.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Switches the interrupt off.
    ///
    /// # Errors
    ///
    /// What the driver says; the line is still watched then.
    pub(super) fn stop(&mut self) -> Result<(), Error> {
        self.pin.watch(InterruptType::None)
    }

    /// The input, after [`stop`](Self::stop).
    pub(super) fn into_pin(self) -> Input<'static> {
        self.pin
    }

    /// The line's number.
    pub(super) fn line(&self) -> LineId {
        self.pin.id()
    }

    /// Logs an event of the line.
    pub(super) fn log(&mut self, event: &Event, now: Instant) {
        let level = event.trigger.level();
        let note = match event {
            Event { after_reset: true, .. } => " (found after a reset)",
            Event { assumed: true, .. } => " (assumed: the device does not tell the level)",
            _ => "",
        };
        self.count = event.count;
        info!("edge {} {} level={level} count={}{note}", self.label, event.trigger, event.count);
        if self.kind.is_level() {
            self.unmask = Some(now.after(LEVEL_PAUSE));
        }
    }

    /// Lets a level fire again, when it is time.
    pub(super) fn pace(&mut self, now: Instant) {
        if self.unmask.is_some_and(|at| now >= at) {
            self.unmask = None;
            self.pin.unmask();
        }
    }

    /// When [`pace`](Self::pace) has something to do.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.unmask
    }

    /// Switches the interrupt off and gives the line back.
    ///
    /// # Errors
    ///
    /// What the driver says.
    pub(super) fn end(self) -> Result<(), Error> {
        self.pin.release()
    }

    /// What the line is called in messages.
    pub(super) fn label(&self) -> &str {
        &self.label
    }
}
