//! What goes to the device: requests and notifications.

use super::Submitted;
use super::core::{Core, bus};
use super::lines::LineSlot;
use super::requests::{Owner, Target, Ticket};
use crate::clock::Instant;
use crate::dialect::{Operation, Value};
use crate::error::{Error, Fault};
use crate::fence::Fence;
use crate::messages::{InterruptType, LineId};
use crate::platform::Platform;
use crate::queue::Bus;
use crate::transport::Transport;

impl<P: Platform> Core<'_, P> {
    /// Queues a request of the application's, and sends it if there is room. The device is not notified yet.
    pub(super) fn submit(
        &mut self,
        line_slot: u16,
        operation: Operation,
        owner: Owner,
        now: Instant,
    ) -> Result<Submitted, Error> {
        self.health.usable()?;
        let record = self.lines.get(line_slot).ok_or(Error::LineLost)?;
        if record.lost {
            return Err(Error::LineLost);
        }
        if record.owed_correction().is_some() {
            // Nothing comes between the messages that put a line right.
            self.correct(line_slot, now);
            return Err(Error::Busy);
        }
        if matches!(operation, Operation::SetInterruptType(kind) if kind != InterruptType::None) {
            self.room_to_watch(line_slot)?;
        }
        let submitted = self.request(line_slot, operation, owner, now);
        self.note_room(submitted.is_ok(), now);
        submitted
    }

    /// A device that answers and gives no memory back leaves callers without a request slot, and nothing to time out.
    pub(super) fn note_room(&mut self, has_room: bool, now: Instant) {
        if has_room || !self.requests.too_many_pinned() {
            self.pinned_since = None;
        } else if now.since(*self.pinned_since.get_or_insert(now)) >= self.options.timeout {
            self.pinned_since = None;
            self.begin_recovery(Fault::Unresponsive, now);
        }
    }

    /// Queues a request, whoever wants it.
    pub(super) fn request(
        &mut self,
        line_slot: u16,
        operation: Operation,
        owner: Owner,
        now: Instant,
    ) -> Result<Submitted, Error> {
        let &LineSlot { line, tenure, .. } = self.lines.get(line_slot).ok_or(Error::LineLost)?;
        let target = Target { line, line_slot, tenure };
        if !self.dialect.takes_message(operation) {
            self.apply(operation, target, self.requests.order());
            return Ok(Submitted::Done(Ok(Value::None)));
        }
        let ticket = self.requests.begin(operation, target, owner, now).ok_or(Error::Busy)?;
        if matches!(operation, Operation::SetInput | Operation::SetOutput(_))
            && let Some(record) = self.lines.get_mut(line_slot)
        {
            record.told = true;
        }
        self.send_queued();
        Ok(Submitted::Ticket(ticket))
    }

    /// The names block of a ratified device; part of its set-up.
    pub(super) fn request_names(&mut self, now: Instant) -> Option<Ticket> {
        let nobody = Target { line: LineId(0), line_slot: 0, tenure: 0 };
        let ticket = self.requests.begin(Operation::Names, nobody, Owner::Caller, now)?;
        self.send_queued();
        Some(ticket)
    }

    pub(super) fn send_queued(&mut self) {
        while let Some(slot) = self.requests.next_queued() {
            if !self.dialect.send(bus!(self), slot, &self.requests) {
                break;
            }
            self.requests.mark_sent(slot);
            self.statistics.messages = self.statistics.messages.wrapping_add(1);
        }
    }

    /// Notifies the device of what was made available since the last time, where it wants to know. While it is being
    /// reset it must not be notified (3.1.1): what was made available before is forgotten then.
    pub(super) fn notify(&mut self) {
        if !self.health.has_live_device() {
            return;
        }
        for queue in self.dialect.queues() {
            if queue.should_notify(bus!(self)) {
                self.fence.before_notify();
                self.transport.notify(queue.index());
                self.statistics.notifications = self.statistics.notifications.wrapping_add(1);
            }
        }
    }

    /// Notifies the device of every queue, wanted or not: a notification may have been lost.
    pub(super) fn notify_again(&mut self) {
        self.fence.before_notify();
        for queue in self.dialect.queues() {
            self.transport.notify(queue.index());
            self.statistics.notifications = self.statistics.notifications.wrapping_add(1);
        }
    }
}
