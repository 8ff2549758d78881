//! The requests: who asked, what was sent, who owns the memory.
//!
//! A slot owns one pair of buffers in the shared memory. It is free again only when its owner has had the result
//! *and* the device has given the memory back: a request that timed out keeps its slot until then, or until the
//! device is reset.

use core::time::Duration;

use crate::clock::Instant;
use crate::dialect::{Operation, Value};
use crate::error::Error;
use crate::messages::LineId;

/// Who wants the result of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Somebody who waits for it in a call of the driver.
    Caller,
    /// The holder of a ticket, who may sleep outside of the driver until an interrupt.
    Holder,
    /// The driver: the level of a line after an event.
    EventLevel,
    /// The driver: the state of a line after a reset.
    Restore,
    /// The driver: the state of a line after a time-out.
    Correct,
    /// Nobody any more.
    Nobody,
}

impl Owner {
    /// Whether the result waits until the application takes it.
    fn takes_result(self) -> bool {
        matches!(self, Self::Caller | Self::Holder)
    }

    /// Whether somebody may sleep for it outside of the driver, where only the answer's interrupt wakes him: the holder of a
    /// ticket, or a main loop that is told of what the driver has asked.
    fn may_sleep(self) -> bool {
        !matches!(self, Self::Caller | Self::Nobody)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Free,
    /// Waits for room in the queue.
    Queued,
    /// Sent, not answered.
    Sent,
    /// Answered, timed out or lost; the result waits for its owner.
    Done(Result<Value, Error>),
}

/// Storage for one request under way.
#[derive(Debug, Clone, Copy)]
pub struct RequestSlot {
    phase: Phase,
    pub(crate) asked: Asked,
    /// The device may still read or write the slot's memory.
    device_owns: bool,
    /// Sent, and no answer has come yet, though the owner may have stopped waiting.
    unanswered: bool,
    /// The device was notified once more, because there was no answer for long.
    renotified: bool,
    /// The low half of what counts requests.
    order: u32,
    /// Tells this request from earlier ones in the same slot.
    generation: u16,
    /// When it was asked for.
    sent: Instant,
    /// Of a free slot: the next free one. Of one that waits for room: the one behind it.
    next: Option<u16>,
}

impl RequestSlot {
    /// An unused slot.
    pub const EMPTY: Self = Self {
        phase: Phase::Free,
        asked: Asked {
            owner: Owner::Nobody,
            operation: Operation::Acquire,
            step: 0,
            target: Target { line: LineId(0), line_slot: 0, tenure: 0 },
        },
        device_owns: false,
        unanswered: false,
        renotified: false,
        order: 0,
        generation: 0,
        sent: Instant::from_nanos(0),
        next: None,
    };

    fn is_under_way(&self) -> bool {
        matches!(self.phase, Phase::Queued | Phase::Sent)
    }

    /// When something becomes due, if the request is under way.
    fn next_due(&self, times: Times) -> Option<Instant> {
        let after = if self.renotified { times.deadline } else { times.renotify };
        self.is_under_way().then(|| self.sent.after(after))
    }
}

/// What was asked, and for whom.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) owner: Owner,
    pub(crate) operation: Operation,
    /// Which message of an operation that takes several.
    pub(crate) step: u8,
    pub(crate) target: Target,
}

/// Names a request to its owner. A ticket of a slot that was used again since is not taken for the new request's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket {
    slot: u16,
    generation: u16,
}

/// What has become due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// Half-way to the deadline: a notification may have been lost.
    Renotify,
    /// The deadline has passed; the request was sent at that time.
    TimedOut { slot: u16, sent: Instant },
}

/// The line that a request is about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    pub(crate) line: LineId,
    /// The slot of the line in the line table, and which use of that slot.
    pub(crate) line_slot: u16,
    pub(crate) tenure: u16,
}

/// How long a request may take.
#[derive(Debug, Clone, Copy)]
struct Times {
    /// After which the device is notified once more.
    renotify: Duration,
    deadline: Duration,
}

/// All request slots of a chip.
#[derive(Debug)]
pub(crate) struct RequestTable<'a> {
    slots: &'a mut [RequestSlot],
    times: Times,
    first_free: Option<u16>,
    free: u16,
    order: u64,
    /// Those that wait for room, the oldest first.
    first_queued: Option<u16>,
    last_queued: Option<u16>,
    unanswered: u16,
    /// Nothing is due before; it may be that nothing is due then either, where a request has ended since. `None` where
    /// nothing is under way.
    not_due_before: Option<Instant>,
    /// Requests that are queued or sent.
    under_way: u16,
    /// Those of them for whose answers somebody may sleep ([`Owner::may_sleep`]).
    slept_for: u16,
    /// Counts what may have made a slot free.
    progress: u32,
}

impl<'a> RequestTable<'a> {
    /// `timeout` is for how long a request may take.
    pub(crate) fn new(slots: &'a mut [RequestSlot], timeout: Duration) -> Self {
        let mut first_free = None;
        let mut free = 0u16;
        for slot in slots.iter_mut() {
            *slot = RequestSlot { next: first_free.replace(free), ..RequestSlot::EMPTY };
            free = free.saturating_add(1);
        }
        Self {
            slots,
            times: Times { renotify: timeout.checked_div(4).unwrap_or(timeout), deadline: timeout },
            first_free,
            free,
            order: 0,
            first_queued: None,
            last_queued: None,
            unanswered: 0,
            not_due_before: None,
            under_way: 0,
            slept_for: 0,
            progress: 0,
        }
    }

    pub(crate) fn get(&self, slot: u16) -> Option<&RequestSlot> {
        self.slots.get(usize::from(slot))
    }

    fn numbered(&self) -> impl Iterator<Item = (u16, &RequestSlot)> {
        (0..=u16::MAX).zip(self.slots.iter())
    }

    /// Takes a free slot for a request that is to be sent. `None` if there is none. Where there are more than one, the
    /// last is kept for the driver's own requests: callers may leave their results where they are for long.
    pub(crate) fn begin(&mut self, operation: Operation, target: Target, owner: Owner, now: Instant) -> Option<Ticket> {
        if owner.takes_result() && !self.has_free_slot() {
            return None;
        }
        let number = self.first_free?;
        self.order = self.order.wrapping_add(1);
        let order = self.low_order();
        let slot = self.slots.get_mut(usize::from(number))?;
        self.first_free = slot.next;
        self.free = self.free.saturating_sub(1);
        *slot = RequestSlot {
            phase: Phase::Queued,
            asked: Asked { owner, operation, step: 0, target },
            device_owns: false,
            unanswered: false,
            renotified: false,
            order,
            generation: slot.generation.wrapping_add(1),
            sent: now,
            next: None,
        };
        let ticket = Ticket { slot: number, generation: slot.generation };
        let due = now.after(self.times.renotify);
        self.not_due_before = Some(self.not_due_before.map_or(due, |before| before.min(due)));
        self.under_way = self.under_way.saturating_add(1);
        self.slept_for = self.slept_for.saturating_add(owner.may_sleep().into());
        self.put_behind(self.last_queued, number);
        Some(ticket)
    }

    /// Lets a request wait for room, behind that one; before all others where there is none.
    fn put_behind(&mut self, before: Option<u16>, number: u16) {
        let link = match before.and_then(|before| self.slots.get_mut(usize::from(before))) {
            Some(before) => &mut before.next,
            None => &mut self.first_queued,
        };
        let behind = link.replace(number);
        if behind.is_none() {
            self.last_queued = Some(number);
        }
        if let Some(slot) = self.slots.get_mut(usize::from(number)) {
            slot.next = behind;
        }
    }

    /// The last of those that wait for room for which that holds, from the first on.
    fn last_queued_while(&self, holds: impl Fn(u16, &RequestSlot) -> bool) -> Option<u16> {
        let (mut last, mut next) = (None, self.first_queued);
        while let Some(number) = next
            && let Some(slot) = self.get(number)
            && holds(number, slot)
        {
            last = next;
            next = slot.next;
        }
        last
    }

    /// A request does not wait for room any more.
    fn take_out(&mut self, number: u16) {
        let before =
            if self.first_queued == Some(number) { None } else { self.last_queued_while(|other, _| other != number) };
        let behind = self.slots.get_mut(usize::from(number)).and_then(|slot| slot.next.take());
        match before.and_then(|before| self.slots.get_mut(usize::from(before))) {
            Some(before) => before.next = behind,
            None => self.first_queued = behind,
        }
        if behind.is_none() {
            self.last_queued = before;
        }
    }

    /// Whether [`begin`](Self::begin) would find a slot for a caller.
    pub(crate) fn has_free_slot(&self) -> bool {
        self.free > u16::from(self.slots.len() > 1)
    }

    /// Whether [`begin`](Self::begin) would find a slot for the driver.
    pub(crate) fn has_slot(&self) -> bool {
        self.first_free.is_some()
    }

    /// Changes whenever something happened that an operation may have waited for.
    pub(crate) fn progress(&self) -> u32 {
        self.progress
    }

    /// The place of the last request among all that were ever asked for.
    pub(crate) fn order(&self) -> u64 {
        self.order
    }

    fn low_order(&self) -> u32 {
        let [b0, b1, b2, b3, ..] = self.order.to_le_bytes();
        u32::from_le_bytes([b0, b1, b2, b3])
    }

    /// The place of a request that is not over.
    pub(crate) fn order_of(&self, slot: &RequestSlot) -> u64 {
        self.order.wrapping_sub(self.low_order().wrapping_sub(slot.order).into())
    }

    /// The request that has waited longest for room.
    pub(crate) fn next_queued(&self) -> Option<u16> {
        self.first_queued
    }

    /// The message of a request that waited for room is with the device.
    pub(crate) fn mark_sent(&mut self, slot: u16) {
        self.take_out(slot);
        if let Some(slot) = self.slots.get_mut(usize::from(slot)) {
            self.unanswered = self.unanswered.saturating_add(1);
            slot.phase = Phase::Sent;
            slot.device_owns = true;
            slot.unanswered = true;
        }
    }

    /// Whether a request was sent and not answered.
    pub(crate) fn is_unanswered(&self, slot: u16) -> bool {
        self.get(slot).is_some_and(|slot| slot.unanswered)
    }

    /// What callers have asked for, and wait for.
    pub(crate) fn under_way_for_callers(&self) -> impl Iterator<Item = &Asked> {
        let asked = self.slots.iter().filter(|slot| slot.is_under_way()).map(|slot| &slot.asked);
        asked.filter(|asked| asked.owner.takes_result())
    }

    /// Requests that were sent and not answered, also those that nobody waits for any more.
    pub(crate) fn unanswered(&self) -> impl Iterator<Item = (u16, &RequestSlot)> {
        self.numbered().filter(|(_, slot)| slot.unanswered)
    }

    pub(crate) fn waiting_for_answer(&self) -> u16 {
        self.unanswered
    }

    /// The device has given the memory of a request back.
    pub(crate) fn returned(&mut self, slot: u16) {
        self.progress = self.progress.wrapping_add(1);
        if let Some(record) = self.slots.get_mut(usize::from(slot)) {
            record.device_owns = false;
            self.free_if_over(slot);
        }
    }

    /// An answer came. Gives what was asked, its place among all requests, and whether somebody still waits for it.
    pub(crate) fn answered(&mut self, slot: u16) -> Option<(Asked, u64, bool)> {
        let order = self.get(slot).map(|slot| self.order_of(slot))?;
        let record = self.slots.get_mut(usize::from(slot)).filter(|slot| slot.unanswered)?;
        record.unanswered = false;
        self.unanswered = self.unanswered.saturating_sub(1);
        let awaited = record.phase == Phase::Sent;
        let asked = record.asked;
        self.free_if_over(slot);
        Some((asked, order, awaited))
    }

    /// The answer leaves a further message to be sent, in the same slot, before what was asked for later.
    pub(crate) fn continue_with_step(&mut self, number: u16, step: u8) {
        let Some(slot) = self.slots.get_mut(usize::from(number)) else { return };
        slot.asked.step = step;
        slot.phase = Phase::Queued;
        let order = slot.order;
        // Orders wrap around.
        let earlier = |other: &RequestSlot| order.wrapping_sub(other.order) < u32::MAX / 2;
        self.put_behind(self.last_queued_while(|_, other| earlier(other)), number);
    }

    /// Ends a request: the result waits for the ticket's holder, or the slot is over.
    pub(crate) fn finish(&mut self, slot: u16, result: Result<Value, Error>) {
        self.progress = self.progress.wrapping_add(1);
        if self.get(slot).is_some_and(|record| record.phase == Phase::Queued) {
            self.take_out(slot);
        }
        if let Some(record) = self.slots.get_mut(usize::from(slot)) {
            let before = core::mem::replace(&mut record.phase, Phase::Done(result));
            let owner = record.asked.owner;
            if !owner.takes_result() {
                record.asked.owner = Owner::Nobody;
            }
            if matches!(before, Phase::Queued | Phase::Sent) {
                self.under_way = self.under_way.saturating_sub(1);
                self.slept_for = self.slept_for.saturating_sub(owner.may_sleep().into());
                if self.under_way == 0 {
                    self.not_due_before = None;
                }
            }
            self.free_if_over(slot);
        }
    }

    fn free_if_over(&mut self, number: u16) {
        let Some(slot) = self.slots.get_mut(usize::from(number)) else { return };
        let done = matches!(slot.phase, Phase::Done(_));
        if done && slot.asked.owner == Owner::Nobody && !slot.device_owns && !slot.unanswered {
            slot.phase = Phase::Free;
            slot.next = self.first_free.replace(number);
            self.free = self.free.saturating_add(1);
        }
    }

    fn of(&mut self, ticket: Ticket) -> Option<&mut RequestSlot> {
        self.slots.get_mut(usize::from(ticket.slot)).filter(|slot| slot.generation == ticket.generation)
    }

    /// The result, once there is one; the ticket is worth nothing then.
    pub(crate) fn take(&mut self, ticket: Ticket) -> Option<Result<Value, Error>> {
        let Some(slot) = self.of(ticket) else { return Some(Err(Error::OutcomeUnknown)) };
        let Phase::Done(result) = slot.phase else { return None };
        slot.asked.owner = Owner::Nobody;
        self.free_if_over(ticket.slot);
        self.progress = self.progress.wrapping_add(1);
        Some(result)
    }

    /// The request of a ticket, while it is under way.
    #[cfg(feature = "async")]
    pub(crate) fn find_under_way(&self, ticket: Ticket) -> Option<Asked> {
        let slot = self.get(ticket.slot).filter(|slot| slot.generation == ticket.generation);
        slot.filter(|slot| slot.is_under_way()).map(|slot| slot.asked)
    }

    /// Nobody waits for the result any more. The request itself goes on.
    pub(crate) fn abandon(&mut self, ticket: Ticket) {
        self.progress = self.progress.wrapping_add(1);
        self.pass_on(ticket, Owner::Nobody);
        self.free_if_over(ticket.slot);
    }

    /// The holder of a ticket waits for the result in a call of the driver from here on.
    pub(crate) fn attend(&mut self, ticket: Ticket) {
        self.pass_on(ticket, Owner::Caller);
    }

    fn pass_on(&mut self, ticket: Ticket, owner: Owner) {
        let Some(slot) = self.of(ticket) else { return };
        let before = core::mem::replace(&mut slot.asked.owner, owner);
        if slot.is_under_way() {
            self.slept_for = self.slept_for.saturating_sub(before.may_sleep().into());
        }
    }

    /// Requests under way for whose answers somebody may sleep outside of the driver, until an interrupt.
    pub(crate) fn slept_for(&self) -> u16 {
        self.slept_for
    }

    /// Whether [`take`](Self::take) would give a result.
    pub(crate) fn is_done(&self, ticket: Ticket) -> bool {
        self.get(ticket.slot)
            .is_none_or(|slot| slot.generation != ticket.generation || matches!(slot.phase, Phase::Done(_)))
    }

    /// Something that is due, once for each thing. Looks at the requests only where that may be.
    pub(crate) fn due(&mut self, now: Instant) -> Option<Due> {
        if self.not_due_before.is_none_or(|before| now < before) {
            return None;
        }
        let times = self.times;
        let overdue = self.numbered().filter(|(_, slot)| slot.is_under_way() && now >= slot.sent.after(times.deadline));
        // Those that were never sent come first: what the others lead to must not make their outcome unknown.
        if let Some((slot, &RequestSlot { sent, .. })) = overdue.min_by_key(|(_, slot)| slot.phase == Phase::Sent) {
            return Some(Due::TimedOut { slot, sent });
        }
        let doubtful =
            |slot: &&mut RequestSlot| slot.is_under_way() && !slot.renotified && now >= slot.sent.after(times.renotify);
        // One notification is for all of them.
        let mut any = false;
        for slot in self.slots.iter_mut().filter(doubtful) {
            slot.renotified = true;
            any = true;
        }
        if any {
            return Some(Due::Renotify);
        }
        self.not_due_before = self.slots.iter().filter_map(|slot| slot.next_due(times)).min();
        None
    }

    /// Requests that are queued or sent.
    pub(crate) fn under_way(&self) -> u16 {
        self.under_way
    }

    /// When [`due`](Self::due) may next have something; never later than that.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.not_due_before
    }

    /// Whether [`due`](Self::due) has something.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.not_due_before.is_some_and(|before| now >= before)
            && self.slots.iter().filter_map(|slot| slot.next_due(self.times)).any(|due| now >= due)
    }

    /// Whether of the slots that callers can have more than half are neither free nor awaited: their memory is the device's,
    /// or their answer is still to come.
    pub(crate) fn too_many_pinned(&self) -> bool {
        let pinned = self
            .slots
            .iter()
            .filter(|slot| matches!(slot.phase, Phase::Done(_)) && (slot.device_owns || slot.unanswered))
            .count();
        pinned.saturating_mul(2) > self.slots.len().saturating_sub(usize::from(self.slots.len() > 1))
    }

    /// Slots that are not free.
    pub(crate) fn in_use(&self) -> usize {
        self.slots.iter().filter(|slot| slot.phase != Phase::Free).count()
    }

    pub(crate) fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// Everything under way gets `error` as its result; memory that the device owns stays so.
    pub(crate) fn fail_all(&mut self, error: Error) {
        for number in 0..u16::try_from(self.slots.len()).unwrap_or(u16::MAX) {
            if self.get(number).is_some_and(RequestSlot::is_under_way) {
                self.finish(number, Err(error));
            }
        }
    }

    /// The device was reset: it owns no memory and owes no answer.
    pub(crate) fn device_was_reset(&mut self) {
        for number in 0..u16::try_from(self.slots.len()).unwrap_or(u16::MAX) {
            if let Some(slot) = self.slots.get_mut(usize::from(number)) {
                slot.device_owns = false;
                slot.unanswered = false;
            }
            self.free_if_over(number);
        }
        self.unanswered = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chip::Submitted;
    use proptest::prelude::*;

    /// What is copied for each request is a few words. Larger, it would be copied by calls of `memcpy`.
    #[test]
    fn results_are_two_words_and_a_slot_is_ten() {
        let sizes = [size_of::<Result<Value, Error>>(), size_of::<Phase>(), size_of::<Submitted>()];
        assert_eq!(sizes, [8; 3]);
        assert_eq!(size_of::<RequestSlot>(), 40);
    }

    const SLOTS: usize = 5;

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Begin(Owner),
        Attend(u16),
        Abandon(u16),
        Send,
        Continue(u16),
        Finish(u16),
        Reset,
    }

    fn step() -> impl Strategy<Value = Step> {
        let slot = 0..u16::try_from(SLOTS).unwrap();
        prop_oneof![
            3 => Just(Step::Begin(Owner::EventLevel)),
            3 => Just(Step::Begin(Owner::Holder)),
            1 => Just(Step::Begin(Owner::Caller)),
            1 => slot.clone().prop_map(Step::Attend),
            1 => slot.clone().prop_map(Step::Abandon),
            3 => Just(Step::Send),
            2 => slot.clone().prop_map(Step::Continue),
            2 => slot.prop_map(Step::Finish),
            1 => Just(Step::Reset),
        ]
    }

    fn begin(table: &mut RequestTable<'_>, owner: Owner) {
        let target = Target { line: LineId(0), line_slot: 0, tenure: 0 };
        table.begin(Operation::GetValue, target, owner, Instant::from_nanos(0));
    }

    /// The ticket of a slot, if somebody has it.
    fn ticket(table: &RequestTable<'_>, slot: u16) -> Option<Ticket> {
        let held = table.get(slot).filter(|slot| slot.phase != Phase::Free && slot.asked.owner.takes_result());
        held.map(|held| Ticket { slot, generation: held.generation })
    }

    proptest! {
        /// Whoever waits for room stands in the order in which things were asked for, whatever becomes of others, and
        /// across the wrap of that order.
        #[test]
        fn the_oldest_of_those_that_wait_is_the_next(steps in proptest::collection::vec(step(), 0..60), order: u32) {
            let mut slots = [RequestSlot::EMPTY; SLOTS];
            let mut table = RequestTable::new(&mut slots, Duration::ZERO);
            table.order = u64::from(if order.is_multiple_of(2) { order } else { u32::MAX - order % 8 });
            for step in steps {
                match step {
                    Step::Begin(owner) => begin(&mut table, owner),
                    Step::Attend(slot) => {
                        if let Some(ticket) = ticket(&table, slot) {
                            table.attend(ticket);
                        }
                    }
                    Step::Abandon(slot) => {
                        if let Some(ticket) = ticket(&table, slot) {
                            table.abandon(ticket);
                        }
                    }
                    Step::Send => {
                        if let Some(slot) = table.next_queued() {
                            table.mark_sent(slot);
                        }
                    }
                    Step::Continue(slot) => {
                        if table.get(slot).is_some_and(|slot| slot.phase == Phase::Sent) {
                            table.returned(slot);
                            table.answered(slot);
                            table.continue_with_step(slot, 1);
                        }
                    }
                    Step::Finish(slot) => {
                        if table.get(slot).is_some_and(RequestSlot::is_under_way) {
                            table.finish(slot, Ok(Value::None));
                        }
                    }
                    Step::Reset => {
                        table.fail_all(Error::OutcomeUnknown);
                        table.device_was_reset();
                    }
                }
                let waiting = |(_, slot): &(u16, &RequestSlot)| slot.phase == Phase::Queued;
                let oldest = table.numbered().filter(waiting).min_by_key(|(_, slot)| table.order_of(slot));
                prop_assert_eq!(table.next_queued(), oldest.map(|(number, _)| number));
                let last = table.last_queued_while(|_, _| true);
                prop_assert_eq!(table.last_queued, last);
                prop_assert_eq!(table.numbered().filter(waiting).count() == 0, last.is_none());
                let free = table.numbered().filter(|(_, slot)| slot.phase == Phase::Free).count();
                prop_assert_eq!(usize::from(table.free), free);
                let slept_for = |(_, slot): &(u16, &RequestSlot)| slot.is_under_way() && slot.asked.owner.may_sleep();
                prop_assert_eq!(usize::from(table.slept_for()), table.numbered().filter(slept_for).count());
            }
        }
    }
}
