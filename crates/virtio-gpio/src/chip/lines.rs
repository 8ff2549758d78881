//! The lines in use: what the application wants of each, which is also what is restored after a reset.

use crate::clock::Instant;
use crate::dialect::Operation;
use crate::messages::{InterruptType, Level, LineId};

/// How a line is configured, as far as the device has confirmed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    Unconfigured,
    Input,
    Output(Level),
}

/// Who holds a line slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holder {
    Nobody,
    /// Released, but the device still has the event buffer that belongs to the slot.
    Device,
    /// Released, but the messages that end the use could not be sent yet.
    Leaving,
    Application,
}

/// Storage for one line in use.
#[expect(clippy::struct_excessive_bools, reason = "independent facts about a line, not states of one machine")]
#[derive(Debug, Clone, Copy)]
pub struct LineSlot {
    holder: Holder,
    pub(crate) line: LineId,
    pub(crate) usage: Use,
    /// The device was told to configure the line, whether it has confirmed that or not.
    pub(crate) told: bool,
    /// The device was told to configure the line otherwise than [`usage`](Self::usage) says, has not confirmed it in time,
    /// and may do it yet.
    pub(crate) use_unsure: bool,
    /// The device was told to enable an interrupt, has not confirmed it in time, and may do it yet.
    pub(crate) interrupt_unsure: bool,
    /// A request that corrects one of these is under way.
    pub(crate) correcting: bool,
    /// Tells this use of the slot from earlier ones: answers to requests of those are not this one's.
    pub(crate) tenure: u16,
    /// The interrupt type that the device has been told; `None` when the line is not watched.
    pub(crate) interrupt: InterruptType,
    /// The device has confirmed that type since its last reset.
    pub(crate) enabled: bool,
    /// The line's event buffer is in the event queue.
    pub(crate) armed: bool,
    /// The event buffer is to be queued again: at once where room or the reader's pace allows, or at a time.
    pub(crate) rearm: Rearm,
    /// The last level known, from which edges are told.
    pub(crate) last: Option<Level>,
    /// The device has never told the level; `last` only follows the edges.
    pub(crate) last_is_assumed: bool,
    /// Events that came since the level was last asked for, and wait for the answer.
    pub(crate) pending: u8,
    /// The level is to be asked for, event or not.
    pub(crate) owes_level: bool,
    /// A question for the level is under way.
    pub(crate) asking: bool,
    /// The next answer is the level after a reset.
    pub(crate) after_reset: bool,
    /// Event buffers that came back without an interrupt, in a row.
    pub(crate) empty_events: u8,
    /// Events delivered.
    pub(crate) count: u64,
    /// Requests that timed out in a row.
    pub(crate) strikes: u8,
    /// Given up.
    pub(crate) lost: bool,
}

/// When an event buffer that is here goes back to the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rearm {
    /// Not by itself: nothing is watched, or a level waits for its consumer.
    No,
    /// As soon as there is room for what it may bring.
    Soon,
    /// After a pause.
    At(Instant),
}

impl LineSlot {
    /// An unused slot.
    pub const EMPTY: Self = Self {
        holder: Holder::Nobody,
        line: LineId(0),
        usage: Use::Unconfigured,
        told: false,
        use_unsure: false,
        interrupt_unsure: false,
        correcting: false,
        tenure: 0,
        interrupt: InterruptType::None,
        enabled: false,
        armed: false,
        rearm: Rearm::No,
        last: None,
        last_is_assumed: false,
        pending: 0,
        owes_level: false,
        asking: false,
        after_reset: false,
        empty_events: 0,
        count: 0,
        strikes: 0,
        lost: false,
    };

    /// Whether the slot belongs to a line that an application uses.
    pub(crate) fn in_use(&self) -> bool {
        self.holder == Holder::Application
    }

    /// Whether the line was released, and the device is still to hear of it.
    pub(crate) fn leaving(&self) -> bool {
        self.holder == Holder::Leaving
    }

    /// The next message that ends the use of a line: first its interrupt, then its direction (VIRTIO 1.2, 5.18.6.8).
    pub(crate) fn owed_at_end(&self) -> Option<Operation> {
        if self.interrupt == InterruptType::None && !self.interrupt_unsure {
            (self.told || self.usage != Use::Unconfigured).then_some(Operation::Release)
        } else {
            Some(Operation::SetInterruptType(InterruptType::None))
        }
    }

    /// That message was sent.
    pub(crate) fn told_at_end(&mut self, operation: Operation) {
        self.interrupt = InterruptType::None;
        self.interrupt_unsure = false;
        if operation == Operation::Release {
            self.told = false;
            self.usage = Use::Unconfigured;
        }
    }

    /// A message timed out, of which the device may still make something. What the application holds counts: the device
    /// is told so once more, behind that message.
    pub(crate) fn made_unsure_by(&mut self, operation: Operation) {
        match operation {
            Operation::SetInput | Operation::SetOutput(_) => self.use_unsure = true,
            Operation::SetInterruptType(kind) if kind != InterruptType::None => self.interrupt_unsure = true,
            _ => (),
        }
    }

    /// The next message that corrects what time-outs left open.
    pub(crate) fn owed_correction(&self) -> Option<Operation> {
        if self.interrupt_unsure {
            return Some(Operation::SetInterruptType(InterruptType::None));
        }
        self.use_unsure.then_some(match self.usage {
            Use::Unconfigured => Operation::Release,
            Use::Input => Operation::SetInput,
            Use::Output(level) => Operation::SetOutput(level),
        })
    }

    /// That message was confirmed.
    pub(crate) fn corrected_by(&mut self, operation: Operation) {
        match operation {
            Operation::SetInterruptType(_) => self.interrupt_unsure = false,
            _ => self.use_unsure = false,
        }
    }

    /// Whether events of the line are wanted.
    pub(crate) fn watched(&self) -> bool {
        self.in_use() && self.interrupt != InterruptType::None
    }

    /// Notes a level of a line that is not watched. It may be watched next: this is what its first edge will lead away
    /// from.
    pub(crate) fn note_level(&mut self, level: Level) {
        if !self.watched() {
            self.last = Some(level);
        }
    }
}

/// Why a line cannot be taken into use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TakeError {
    InUse,
    /// The device is still to hear that a line was released.
    Leaving,
    Full,
}

/// All line slots of a chip.
#[derive(Debug)]
pub(crate) struct LineTable<'a> {
    slots: &'a mut [LineSlot],
}

impl<'a> LineTable<'a> {
    pub(crate) fn new(slots: &'a mut [LineSlot]) -> Self {
        slots.fill(LineSlot::EMPTY);
        Self { slots }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn get(&self, slot: u16) -> Option<&LineSlot> {
        self.slots.get(usize::from(slot))
    }

    pub(crate) fn get_mut(&mut self, slot: u16) -> Option<&mut LineSlot> {
        self.slots.get_mut(usize::from(slot))
    }

    /// All slots with their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u16, &LineSlot)> {
        (0..=u16::MAX).zip(self.slots.iter())
    }

    /// The slot of a line in use.
    pub(crate) fn find(&self, line: LineId) -> Option<u16> {
        self.iter().find(|(_, slot)| slot.in_use() && slot.line == line).map(|(number, _)| number)
    }

    /// Takes a line into use. A slot whose event buffer the device still has can only serve the same line.
    pub(crate) fn take(&mut self, line: LineId) -> Result<u16, TakeError> {
        if self.find(line).is_some() {
            return Err(TakeError::InUse);
        }
        let mut leaving = self.slots.iter().filter(|slot| slot.leaving()).peekable();
        let none = if leaving.peek().is_some() { TakeError::Leaving } else { TakeError::Full };
        if leaving.any(|slot| slot.line == line) {
            return Err(TakeError::Leaving);
        }
        let held = |slot: &LineSlot| slot.holder == Holder::Device && slot.line == line;
        let number = (self.iter().find(|(_, slot)| held(slot)))
            .or_else(|| self.iter().find(|(_, slot)| slot.holder == Holder::Nobody))
            .map(|(number, _)| number)
            .ok_or(none)?;
        let slot = self.slots.get_mut(usize::from(number)).ok_or(none)?;
        let tenure = slot.tenure.wrapping_add(1);
        *slot = LineSlot { holder: Holder::Application, line, armed: slot.armed, tenure, ..LineSlot::EMPTY };
        Ok(number)
    }

    /// The application has no use for a line any more; the device is still to hear of it.
    pub(crate) fn leave(&mut self, slot: u16) {
        if let Some(slot) = self.slots.get_mut(usize::from(slot)) {
            slot.holder = Holder::Leaving;
        }
    }

    /// Ends the use of a line.
    pub(crate) fn release(&mut self, slot: u16) {
        if let Some(slot) = self.slots.get_mut(usize::from(slot)) {
            let holder = if slot.armed { Holder::Device } else { Holder::Nobody };
            *slot = LineSlot { holder, line: slot.line, armed: slot.armed, tenure: slot.tenure, ..LineSlot::EMPTY };
        }
    }

    /// The event buffer of a slot is the driver's again.
    pub(crate) fn event_returned(&mut self, slot: u16) {
        if let Some(slot) = self.slots.get_mut(usize::from(slot)) {
            slot.armed = false;
            if slot.holder == Holder::Device {
                slot.holder = Holder::Nobody;
            }
        }
    }

    /// The device was reset: it has no event buffers, knows no interrupt types, and owes no answers. A line that was
    /// armed is to be armed again; one that waits for its consumer goes on waiting. One that was released needs no
    /// message for that any more.
    pub(crate) fn device_was_reset(&mut self) {
        for number in 0..u16::try_from(self.slots.len()).unwrap_or(u16::MAX) {
            let was_armed = self.get(number).is_some_and(|slot| slot.armed || slot.rearm != Rearm::No);
            self.event_returned(number);
            if self.get(number).is_some_and(LineSlot::leaving) {
                self.release(number);
            }
            if let Some(slot) = self.get_mut(number) {
                slot.rearm = if was_armed { Rearm::Soon } else { Rearm::No };
                slot.told = false;
                slot.use_unsure = false;
                slot.interrupt_unsure = false;
                slot.correcting = false;
                slot.enabled = false;
                slot.pending = 0;
                slot.owes_level = false;
                slot.asking = false;
                slot.empty_events = 0;
            }
        }
    }
}
