//! What the devices saw, in numbers: small enough for a run of hours, and all that the guest's account is compared with.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gpio_model::observe::Activity;
use vgpio::record::{Record, Sink};
use virtio_gpio::Level;
use virtio_gpio::messages::ratified::EventStatus;

/// One line's account.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LineLedger {
    /// The device has the line's event buffer.
    pub(super) armed: bool,
    pub(super) rising: u64,
    pub(super) falling: u64,
    /// Event buffers that went back with an interrupt.
    pub(super) fired: u64,
}

/// One device's account.
#[derive(Debug, Clone, Default)]
pub(super) struct ChipLedger {
    lines: Vec<LineLedger>,
    pub(super) requests: u64,
    /// Requests that the device did not accept; a driver that knows its lines sends none.
    pub(super) refused: u64,
    /// Buffers that hold no message.
    pub(super) malformed: u64,
}

impl ChipLedger {
    pub(super) fn line(&self, line: u16) -> LineLedger {
        self.lines.get(usize::from(line)).copied().unwrap_or_default()
    }

    fn line_mut(&mut self, line: u16) -> &mut LineLedger {
        let index = usize::from(line);
        if self.lines.len() <= index {
            self.lines.resize(index + 1, LineLedger::default());
        }
        &mut self.lines[index]
    }
}

/// The account of all devices. Clones show the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Ledger(Arc<Mutex<Vec<ChipLedger>>>);

impl Ledger {
    pub(super) fn new(chips: usize) -> Self {
        Self(Arc::new(Mutex::new(vec![ChipLedger::default(); chips])))
    }

    /// A copy of everything.
    pub(super) fn chips(&self) -> Vec<ChipLedger> {
        self.lock().clone()
    }

    /// Numbers are whole after every step, so a panic of another holder of the lock does no harm.
    fn lock(&self) -> MutexGuard<'_, Vec<ChipLedger>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for Ledger {
    fn record(&mut self, record: &Record) {
        let mut chips = self.lock();
        let Some(chip) = chips.get_mut(record.chip) else { return };
        match record.activity {
            Activity::Reset => chip.lines.iter_mut().for_each(|line| line.armed = false),
            Activity::Changed(change) => {
                let line = chip.line_mut(change.line.0);
                match change.new_level() {
                    Some(Level::High) => line.rising += 1,
                    Some(Level::Low) => line.falling += 1,
                    None => {}
                }
            }
            Activity::Request { accepted, .. } => {
                chip.requests += 1;
                chip.refused += u64::from(!accepted);
            }
            Activity::Message { reply, .. } => {
                chip.requests += 1;
                chip.refused += u64::from(reply.value < 0);
            }
            Activity::Malformed { .. } => chip.malformed += 1,
            Activity::Unmasked(line) => chip.line_mut(line.0).armed = true,
            Activity::Event { line, status } => {
                let line = chip.line_mut(line.0);
                line.armed = false;
                line.fired += u64::from(status == EventStatus::Valid);
            }
            Activity::Notice(_) | Activity::Lost(_) => {}
        }
    }
}
