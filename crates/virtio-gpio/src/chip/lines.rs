//! The lines in use: what the application wants of each, which is also what is restored after a reset.

use super::reconcile::Question;
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
    /// The device was told to enable or to end an interrupt, has not confirmed it in time, and may do it yet. Either way it is
    /// ended.
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
    /// Places in the application's queue that the line's events may take: those that came, and the one that may come.
    claim: u16,
    /// The last level known, from which edges are told.
    pub(crate) last: Option<Level>,
    /// The device has never told the level; `last` only follows the edges.
    pub(crate) last_is_assumed: bool,
    /// What is open about the line's edges.
    pub(crate) question: Question,
    /// A question for the level is under way.
    pub(crate) asking: bool,
    /// The next answer is the level after a reset.
    pub(crate) after_reset: bool,
    /// Event buffers that came back without an interrupt, in a row.
    pub(crate) empty_events: u8,
    /// Events delivered.
    pub(crate) count: u64,
    /// The last request that the device is known to have carried out, of those that make [`usage`](Self::usage).
    pub(crate) usage_order: u64,
    /// The same of those that make [`interrupt`](Self::interrupt).
    pub(crate) interrupt_order: u64,
    /// The last request that was answered with a level.
    pub(crate) level_order: u64,
    /// Requests that timed out in a row.
    pub(crate) strikes: u8,
    /// Given up.
    pub(crate) lost: bool,
    /// Whether its edges are a waiting task's.
    #[cfg(feature = "async")]
    pub(crate) capture: Capture,
    links: Links,
}

/// Where the edges of a line go that a task waits for.
#[cfg(feature = "async")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Capture {
    /// To the application's queue, as those of all other lines.
    Off,
    /// Nowhere: no task is waiting at present.
    Idle,
    /// A task waits for this kind of edge.
    Waiting(InterruptType),
    /// It has come.
    Seen,
}

/// How the slots of the table hang together; these survive the uses of a slot.
#[derive(Debug, Clone, Copy)]
struct Links {
    /// Of all lines with this slot's number as their remainder: the slot of the first.
    bucket: Option<u16>,
    /// The next slot of the same bucket, or the next free one.
    next: Option<u16>,
    /// In the list of slots that owe something, and the next one there.
    owes: bool,
    next_owing: Option<u16>,
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
        claim: 0,
        last: None,
        last_is_assumed: false,
        question: Question::NONE,
        asking: false,
        after_reset: false,
        empty_events: 0,
        count: 0,
        usage_order: 0,
        interrupt_order: 0,
        level_order: 0,
        strikes: 0,
        lost: false,
        #[cfg(feature = "async")]
        capture: Capture::Off,
        links: Links { bucket: None, next: None, owes: false, next_owing: None },
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
            Operation::SetInterruptType(_) => self.interrupt_unsure = true,
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

    /// Whether its events are a task's, and take no room in the application's queue.
    #[cfg_attr(not(feature = "async"), expect(clippy::unused_self, reason = "there are no tasks then"))]
    pub(crate) fn keeps_events(&self) -> bool {
        #[cfg(feature = "async")]
        return self.capture != Capture::Off;
        #[cfg(not(feature = "async"))]
        false
    }

    /// Takes note of an edge for the task that waits for it.
    #[cfg(feature = "async")]
    pub(crate) fn note_edge(&mut self, to: Level) {
        let wanted = match self.capture {
            Capture::Waiting(InterruptType::RisingEdge) => to == Level::High,
            Capture::Waiting(InterruptType::FallingEdge) => to == Level::Low,
            Capture::Waiting(_) => true,
            Capture::Off | Capture::Idle | Capture::Seen => false,
        };
        if wanted {
            self.capture = Capture::Seen;
        }
    }

    /// When it is armed again by itself, or asked for its level, if it is waiting for just that.
    pub(crate) fn pause_ends(&self) -> Option<Instant> {
        let armed = match self.rearm {
            Rearm::At(at) => Some(at),
            Rearm::Soon | Rearm::No => None,
        };
        let asked = self.question.asked_at().filter(|_| !self.asking);
        armed.into_iter().chain(asked).min().filter(|_| self.watched() && self.enabled)
    }

    /// Whether there is an edge between the last known level and this one, and it is wanted.
    pub(crate) fn has_edge_to(&self, level: Level) -> bool {
        let wanted = match self.interrupt {
            InterruptType::RisingEdge => level == Level::High,
            InterruptType::FallingEdge => level == Level::Low,
            kind => kind == InterruptType::BothEdges,
        };
        wanted && self.last.is_some_and(|last| last != level)
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

/// All line slots of a chip. Neither a line nor what it owes is searched for: the lines that have a slot hang in buckets
/// by their number, and those that owe something in a list.
#[derive(Debug)]
pub(crate) struct LineTable<'a> {
    slots: &'a mut [LineSlot],
    first_free: Option<u16>,
    first_owing: Option<u16>,
    /// The claims of all lines together.
    claims: usize,
}

impl<'a> LineTable<'a> {
    pub(crate) fn new(slots: &'a mut [LineSlot]) -> Self {
        slots.fill(LineSlot::EMPTY);
        let mut table = Self { slots, first_free: None, first_owing: None, claims: 0 };
        for number in (0..u16::try_from(table.slots.len()).unwrap_or(u16::MAX)).rev() {
            table.put_free(number);
        }
        table
    }

    fn put_free(&mut self, number: u16) {
        if let Some(slot) = self.slots.get_mut(usize::from(number)) {
            slot.links.next = self.first_free.replace(number);
        }
    }

    /// The slot in whose bucket a line is.
    fn bucket(&mut self, line: LineId) -> Option<&mut Option<u16>> {
        let bucket = usize::from(line.0).checked_rem(self.slots.len())?;
        self.slots.get_mut(bucket).map(|slot| &mut slot.links.bucket)
    }

    /// The slots of a line's bucket.
    fn chain(&self, line: LineId) -> impl Iterator<Item = (u16, &LineSlot)> {
        let bucket = usize::from(line.0).checked_rem(self.slots.len());
        let numbered = |number: u16| self.get(number).map(|slot| (number, slot));
        let first = bucket.and_then(|bucket| self.slots.get(bucket)?.links.bucket).and_then(numbered);
        core::iter::successors(first, move |(_, slot)| slot.links.next.and_then(numbered)).take(self.slots.len())
    }

    /// A slot that nobody holds any more goes from its line's bucket to the free ones.
    fn free(&mut self, number: u16) {
        let Some(&LineSlot { line, links: Links { next, .. }, .. }) = self.get(number) else { return };
        let before = self.chain(line).find(|(_, slot)| slot.links.next == Some(number)).map(|(before, _)| before);
        match before.and_then(|before| self.get_mut(before)) {
            Some(before) => before.links.next = next,
            None => {
                if let Some(bucket) = self.bucket(line) {
                    *bucket = next;
                }
            }
        }
        self.put_free(number);
    }

    /// Notes that a line owes the device something, to be served as soon as possible.
    pub(crate) fn owes(&mut self, number: u16) {
        let first = self.first_owing;
        let Some(slot) = self.slots.get_mut(usize::from(number)).filter(|slot| !slot.links.owes) else { return };
        slot.links.owes = true;
        slot.links.next_owing = first;
        self.first_owing = Some(number);
    }

    /// Whether a line owes something.
    pub(crate) fn any_owing(&self) -> bool {
        self.first_owing.is_some()
    }

    /// Counts anew what a line may bring.
    pub(crate) fn update_claim(&mut self, number: u16) {
        let Some(slot) = self.slots.get_mut(usize::from(number)) else { return };
        let counts = slot.watched() && !slot.keeps_events();
        let claim = if counts { u16::from(slot.armed).saturating_add(slot.question.events()) } else { 0 };
        let before = core::mem::replace(&mut slot.claim, claim);
        self.claims = self.claims.saturating_sub(before.into()).saturating_add(claim.into());
    }

    /// What all other lines may bring.
    pub(crate) fn claims_beside(&self, number: u16) -> usize {
        self.claims.saturating_sub(self.get(number).map_or(0, |slot| slot.claim.into()))
    }

    /// Takes the list of those that owe something. Each one's [`next_owing`](Self::next_owing) leads on.
    pub(crate) fn take_owing(&mut self) -> Option<u16> {
        self.first_owing.take()
    }

    /// Takes a slot out of that list, and gives the one behind it.
    pub(crate) fn next_owing(&mut self, number: u16) -> Option<u16> {
        let links = &mut self.get_mut(number)?.links;
        links.owes = false;
        links.next_owing.take()
    }

    /// The slots that owe something.
    pub(crate) fn owing(&self) -> impl Iterator<Item = &LineSlot> {
        let first = self.first_owing.and_then(|first| self.get(first));
        core::iter::successors(first, |slot| self.get(slot.links.next_owing?)).take(self.slots.len())
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
        self.chain(line).find(|(_, slot)| slot.in_use() && slot.line == line).map(|(number, _)| number)
    }

    /// Takes a line into use. A slot whose event buffer the device still has can only serve the same line.
    pub(crate) fn take(&mut self, line: LineId) -> Result<u16, TakeError> {
        let held = self.chain(line).find(|(_, slot)| slot.line == line).map(|(number, slot)| (number, slot.holder));
        let number = match held {
            Some((_, Holder::Application)) => return Err(TakeError::InUse),
            Some((_, Holder::Leaving)) => return Err(TakeError::Leaving),
            Some((number, Holder::Device | Holder::Nobody)) => number,
            None => self.take_free(line)?,
        };
        let slot = self.slots.get_mut(usize::from(number)).ok_or(TakeError::Full)?;
        let (armed, links, tenure) = (slot.armed, slot.links, slot.tenure.wrapping_add(1));
        *slot = LineSlot { holder: Holder::Application, line, tenure, armed, links, ..LineSlot::EMPTY };
        Ok(number)
    }

    /// Takes a free slot into the bucket of a line.
    fn take_free(&mut self, line: LineId) -> Result<u16, TakeError> {
        let Some(number) = self.first_free else {
            let leaving = self.slots.iter().any(LineSlot::leaving);
            return Err(if leaving { TakeError::Leaving } else { TakeError::Full });
        };
        self.first_free = self.get(number).and_then(|slot| slot.links.next);
        let next = self.bucket(line).and_then(|bucket| bucket.replace(number));
        if let Some(slot) = self.get_mut(number) {
            slot.links.next = next;
        }
        Ok(number)
    }

    /// The application has no use for a line any more; the device is still to hear of it.
    pub(crate) fn leave(&mut self, number: u16) {
        if let Some(slot) = self.slots.get_mut(usize::from(number)) {
            slot.holder = Holder::Leaving;
        }
        self.update_claim(number);
    }

    /// Ends the use of a line.
    pub(crate) fn release(&mut self, number: u16) {
        let Some(slot) = self.slots.get_mut(usize::from(number)).filter(|slot| slot.holder != Holder::Nobody) else {
            return;
        };
        let LineSlot { line, tenure, armed, links, claim, .. } = *slot;
        self.claims = self.claims.saturating_sub(claim.into());
        let holder = if armed { Holder::Device } else { Holder::Nobody };
        *slot = LineSlot { holder, line, tenure, armed, links, ..LineSlot::EMPTY };
        if !armed {
            self.free(number);
        }
    }

    /// The event buffer of a slot is the driver's again.
    pub(crate) fn event_returned(&mut self, number: u16) {
        let Some(slot) = self.slots.get_mut(usize::from(number)) else { return };
        slot.armed = false;
        if slot.holder == Holder::Device {
            slot.holder = Holder::Nobody;
            self.free(number);
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
                if core::mem::take(&mut slot.interrupt_unsure) {
                    slot.interrupt = InterruptType::None;
                }
                slot.correcting = false;
                slot.enabled = false;
                slot.question = Question::NONE;
                slot.asking = false;
                slot.empty_events = 0;
            }
            self.update_claim(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::vec::Vec;

    proptest! {
        /// Whatever is taken, given up and returned: each line is found where it is, and no slot is lost.
        #[test]
        fn lines_are_found_where_they_are(steps in prop::collection::vec((0u8..4, 0u16..12), 0..200)) {
            let mut slots = [LineSlot::EMPTY; 5];
            let mut table = LineTable::new(&mut slots);
            let mut used: BTreeMap<u16, u16> = BTreeMap::new();
            let mut held: BTreeMap<u16, u16> = BTreeMap::new();
            for (step, line) in steps {
                let slot = used.get(&line).copied();
                match (step, slot) {
                    (0 | 1, None) => {
                        let room = used.len() + held.len() < 5 || held.contains_key(&line);
                        let taken = table.take(LineId(line));
                        prop_assert_eq!(taken.is_ok(), room);
                        if let Ok(slot) = taken {
                            prop_assert!(held.remove(&line).is_none_or(|other| other == slot));
                            used.insert(line, slot);
                            // Every other use lends the device an event buffer.
                            table.get_mut(slot).unwrap().armed |= step == 1;
                        }
                    }
                    (0 | 1, Some(slot)) => {
                        prop_assert_eq!(table.take(LineId(line)), Err(TakeError::InUse));
                        table.owes(slot);
                    }
                    (2, Some(slot)) => {
                        used.remove(&line);
                        if table.get(slot).unwrap().armed {
                            held.insert(line, slot);
                        }
                        table.release(slot);
                    }
                    (_, _) => {
                        if let Some(slot) = held.remove(&line) {
                            table.event_returned(slot);
                        }
                    }
                }
                for line in 0..12 {
                    prop_assert_eq!(table.find(LineId(line)), used.get(&line).copied());
                }
            }
            let owing = table.owing().count();
            let mut taken: Vec<u16> = std::iter::successors(table.take_owing(), |&slot| table.next_owing(slot)).collect();
            taken.sort_unstable();
            taken.dedup();
            prop_assert_eq!(taken.len(), owing);
        }
    }
}
