//! The chip's state machine. Everything that the driver does, it does here, in steps that never wait: take what came,
//! send what is queued, give up what is overdue. Whoever waits, waits around it ([`super`]).

use ::core::time::Duration;

use heapless::Deque;

use super::events::{EventQueue, Notice, OddityCounts, Resources, Statistics};
use super::lines::{LineSlot, LineTable, Rearm, TakeError, Use};
use super::patience::Patience;
use super::reconcile::Question;
use super::recovery::Health;
use super::requests::{Due, Owner, RequestSlot, RequestTable, Target, Ticket, Times};
use super::{Options, Submitted};
use crate::clock::Instant;
use crate::dialect::{Arrival, Dialect, Interrupts, Oddity, Operation, Value};
use crate::error::{Error, Fault, SetupError};
use crate::fence::Fence;
use crate::identify::{FEATURE_EVENT_INDEX, Protocol};
use crate::messages::{InterruptType, LineId};
use crate::platform::Platform;
use crate::queue::{Bus, MAX_QUEUE_SIZE};
use crate::shared::Shared;
use crate::transport::{DeviceStatus, InterruptStatus, Transport, add_status};

/// Things taken from the queues in one go, so that a device that never stops cannot keep the driver for ever. More than
/// both queues hold: what is left then came after the interrupt was acknowledged, and raises a new one.
const DRAIN_LIMIT: u32 = 2 * (MAX_QUEUE_SIZE as u32) + 1;
/// Requests of one line that may time out in a row before the line is given up.
pub(super) const LINE_STRIKES: u8 = 3;

pub(crate) struct Core<'a, P: Platform> {
    pub(super) transport: P::Transport,
    pub(super) shared: Shared<P::Memory>,
    pub(super) fence: P::Fence,
    pub(super) dialect: Dialect<'a>,
    pub(super) requests: RequestTable<'a>,
    pub(super) lines: LineTable<'a>,
    pub(super) events: EventQueue<'a>,
    /// The features that are negotiated.
    features: u64,
    pub(super) options: Options,
    pub(super) health: Health,
    pub(super) statistics: Statistics,
    notices: Deque<Notice, 16>,
    oddities: OddityCounts,
    /// Time-outs in a row, counted once for requests that were sent together.
    strikes: u8,
    last_strike: Instant,
    /// The reason of an interrupt that may be pending was taken away by the driver itself.
    pub(super) interrupt_cleared: bool,
    /// Since when an interrupt is missing: what it was for was overdue, and found by looking.
    pub(super) missing_since: Option<Instant>,
    /// Interrupts for answers are off, because somebody looks for them.
    interrupts_off: bool,
    /// The last drain ended at its limit. With event indexes the device need not interrupt for what is left.
    pub(super) drain_cut: bool,
    /// What callers who wait have learnt of the device's pace.
    pub(super) patience: Patience,
}

/// Memory and fences of a core, borrowed apart from the rest.
macro_rules! bus {
    ($core:expr) => {
        Bus { shared: &$core.shared, fence: &$core.fence }
    };
}
pub(super) use bus;

impl<'a, P: Platform> Core<'a, P> {
    #[expect(clippy::too_many_arguments, reason = "the parts of the chip, each handed over once")]
    pub(super) fn new(
        transport: P::Transport,
        shared: Shared<P::Memory>,
        fence: P::Fence,
        dialect: Dialect<'a>,
        requests: RequestTable<'a>,
        lines: LineTable<'a>,
        events: EventQueue<'a>,
        features: u64,
        options: Options,
    ) -> Self {
        Self {
            transport,
            shared,
            fence,
            dialect,
            requests,
            lines,
            events,
            features,
            patience: Patience::new(options.poll_limit),
            options,
            health: Health::new(),
            statistics: Statistics::default(),
            notices: Deque::new(),
            oddities: OddityCounts::default(),
            strikes: 0,
            last_strike: Instant::from_nanos(0),
            interrupt_cleared: false,
            missing_since: None,
            interrupts_off: false,
            drain_cut: false,
        }
    }

    /// Brings a device that was reset to life (VIRTIO 1.2, 3.1.1 and 4.2.3). It is not notified yet.
    pub(super) fn start_device(&mut self) -> Result<(), SetupError> {
        add_status(&self.transport, DeviceStatus::ACKNOWLEDGE);
        add_status(&self.transport, DeviceStatus::DRIVER);
        if self.transport.device_features() & self.features != self.features {
            return Err(SetupError::FeaturesRefused);
        }
        self.transport.set_driver_features(self.features);
        if !self.transport.is_legacy() {
            add_status(&self.transport, DeviceStatus::FEATURES_OK);
            if !self.transport.status().contains(DeviceStatus::FEATURES_OK) {
                return Err(SetupError::FeaturesRefused);
            }
        }
        self.dialect.reset(bus!(self), self.features & FEATURE_EVENT_INDEX != 0);
        // From here on the device knows where the memory is.
        self.shared.expose();
        for queue in self.dialect.queues() {
            let limit = self.transport.max_queue_size(queue.index());
            if limit < u32::from(queue.size()) {
                return Err(SetupError::NoQueue { queue: queue.index(), limit });
            }
            let addresses = queue.addresses(&self.shared);
            self.transport
                .set_queue(queue.index(), &addresses)
                .map_err(|error| SetupError::Queue { queue: queue.index(), error })?;
        }
        add_status(&self.transport, DeviceStatus::DRIVER_OK);
        self.strikes = 0;
        Ok(())
    }

    /// Takes a line into use. [`Error::Busy`] while the device is still to hear that it was released.
    pub(super) fn take_line(&mut self, line: LineId) -> Result<u16, Error> {
        self.health.usable()?;
        self.lines.take(line).map_err(|error| match error {
            TakeError::InUse => Error::LineInUse(line),
            TakeError::Leaving => Error::Busy,
            TakeError::Full => Error::TooManyLines { limit: self.lines.capacity() },
        })
    }

    // --- requests -------------------------------------------------------------------------------------------------

    fn times(&self, now: Instant) -> Times {
        let timeout = self.options.timeout;
        Times { now, renotify: now.after(timeout.checked_div(4).unwrap_or(timeout)), deadline: now.after(timeout) }
    }

    /// Queues a request of the application's, and sends it if there is room. The device is not notified yet.
    pub(super) fn submit(&mut self, line_slot: u16, operation: Operation, now: Instant) -> Result<Submitted, Error> {
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
        self.request(line_slot, operation, Owner::Caller, now)
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
            self.apply(operation, target);
            return Ok(Submitted::Done(Ok(Value::None)));
        }
        let times = self.times(now);
        let ticket = self.requests.begin(operation, target, owner, times).ok_or(Error::Busy)?;
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
        let times = self.times(now);
        let nobody = Target { line: LineId(0), line_slot: 0, tenure: 0 };
        let ticket = self.requests.begin(Operation::Names, nobody, Owner::Caller, times)?;
        self.send_queued();
        Some(ticket)
    }

    fn send_queued(&mut self) {
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
    fn notify_again(&mut self) {
        self.fence.before_notify();
        for queue in self.dialect.queues() {
            self.transport.notify(queue.index());
            self.statistics.notifications = self.statistics.notifications.wrapping_add(1);
        }
    }

    // --- what the device does -------------------------------------------------------------------------------------

    /// Handles an interrupt: acknowledges first and drains then, so that what comes in between raises a new one.
    /// Returns whether it was this device's.
    pub(super) fn handle_interrupt(&mut self, now: Instant) -> bool {
        let raised = self.acknowledge(now);
        // What came between the interrupt and its acknowledgement was acknowledged with it, though the interrupt
        // controller may have noted it as another one.
        let explained = ::core::mem::replace(&mut self.interrupt_cleared, raised);
        // Also where the reason was taken away before: nobody else may look for what came since.
        let found = (raised || self.has_news()) && self.take_what_came(now);
        if raised {
            self.statistics.interrupts = self.statistics.interrupts.wrapping_add(1);
        }
        if raised || explained || found {
            self.missing_since = None;
        } else {
            self.odd(Oddity::SpuriousInterrupt);
        }
        raised
    }

    /// The interrupt's handler is in place: takes what came before, and lowers the line.
    pub(super) fn interrupt_enabled(&mut self, now: Instant) {
        // The interrupt controller may have noted it already, and calls the handler for it.
        self.interrupt_cleared |= self.acknowledge(now);
        self.take_what_came(now);
    }

    /// Takes the reason of an interrupt away, if there is one, and hears what it says of the device as a whole. The queues
    /// are to be looked at behind that: for what came before, no interrupt comes any more.
    fn acknowledge(&mut self, now: Instant) -> bool {
        let status = self.transport.acknowledge_interrupt();
        self.fence.after_interrupt();
        if status.contains(InterruptStatus::CONFIG_CHANGE) {
            self.check_status(now);
        }
        !status.is_empty()
    }

    /// Drains the queues and does what follows from it. Returns whether there was anything.
    fn take_what_came(&mut self, now: Instant) -> bool {
        let found = self.health.has_live_device() && self.drain(now);
        self.finish_round(now);
        found
    }

    /// Advances everything: takes what came, gives up what is overdue, sends what is queued.
    pub(super) fn poll(&mut self, now: Instant) {
        self.advance_recovery(now);
        if !self.health.has_live_device() {
            return;
        }
        self.note_lost_interrupt(now);
        let overdue = self.requests.is_due(now);
        if overdue {
            // Where the interrupt is edge-triggered and its line still up, no new edge comes until it is acknowledged.
            self.interrupt_cleared |= self.acknowledge(now);
        }
        let interrupts_off = self.interrupts_off;
        if self.health.has_live_device() && self.drain(now) && overdue && !self.requests.is_due(now) && !interrupts_off
        {
            self.statistics.rescues = self.statistics.rescues.wrapping_add(1);
            self.missing_since.get_or_insert(now);
        }
        while self.health.has_live_device()
            && let Some(due) = self.requests.due(now)
        {
            match due {
                Due::Renotify => self.notify_again(),
                Due::TimedOut { slot, sent } => self.timed_out(slot, sent, now),
            }
        }
        self.finish_round(now);
    }

    /// The interrupt for something that was found by looking did not come: on a busy host it may be late for a while.
    fn note_lost_interrupt(&mut self, now: Instant) {
        if self.missing_since.is_some_and(|since| now >= since.after(self.options.timeout)) {
            self.missing_since = None;
            self.odd(Oddity::LostInterrupt);
        }
    }

    /// What every round ends with: lines that owe something, requests that wait for room, one notification.
    pub(super) fn finish_round(&mut self, now: Instant) {
        if !self.health.has_live_device() {
            return;
        }
        self.serve_lines(now);
        self.send_queued();
        self.notify();
    }

    /// When [`poll`](Self::poll) has something to do without the device doing anything.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        // While the device is being reset, or was given up, nothing is armed.
        let lines = self.health.has_live_device().then(|| self.lines.owing());
        let pauses = lines.into_iter().flatten().filter_map(LineSlot::pause_ends);
        pauses.chain(self.requests.next_due()).chain(self.health.next_deadline()).min()
    }

    /// Whether there is something in the queues to be taken.
    pub(super) fn has_news(&self) -> bool {
        self.health.has_live_device() && self.dialect.has_news(bus!(self))
    }

    /// Somebody is going to wait for what is sent next, or for room: until when he is to begin with looking, if at all.
    /// Interrupts for answers are off then, until the next [`poll`](Self::poll) or interrupt.
    pub(super) fn announce(&mut self, now: Instant) -> Option<Instant> {
        let look = self.health.is_running().then(|| self.patience.look_unlearnt()).flatten();
        self.switch_interrupts_off(look, now)
    }

    /// As [`announce`](Self::announce), for a caller who tells [`Patience`] how long it took.
    pub(super) fn begin_look(&mut self, now: Instant) -> Option<Instant> {
        let look = self.health.is_running().then(|| self.patience.look_for()).flatten();
        self.switch_interrupts_off(look, now)
    }

    fn switch_interrupts_off(&mut self, look: Option<Duration>, now: Instant) -> Option<Instant> {
        let until = now.after(look?);
        self.interrupts_off = true;
        self.dialect.suppress_interrupts(bus!(self));
        Some(until)
    }

    /// Takes what came and sends what follows from it, and leaves interrupts as they are.
    pub(super) fn look(&mut self, now: Instant) {
        if self.has_news() {
            self.take_all(Interrupts::AsTheyAre, now);
            self.finish_round(now);
        }
    }

    /// Takes what came, and asks for interrupts. Returns whether there was anything.
    pub(super) fn drain(&mut self, now: Instant) -> bool {
        self.interrupts_off = false;
        self.take_all(Interrupts::Wanted, now)
    }

    fn take_all(&mut self, interrupts: Interrupts, now: Instant) -> bool {
        self.drain_cut = false;
        for round in 0..DRAIN_LIMIT {
            match self.dialect.next(bus!(self), &self.requests, interrupts) {
                Ok(Some(arrival)) => self.take(arrival, now),
                Ok(None) => return round > 0,
                Err((queue, violation)) => {
                    self.begin_recovery(Fault::Ring { queue, violation }, now);
                    return true;
                }
            }
            if !self.health.has_live_device() {
                return true;
            }
        }
        self.drain_cut = true;
        self.dialect.rearm_interrupts(bus!(self));
        true
    }

    fn take(&mut self, arrival: Arrival, now: Instant) {
        match arrival {
            Arrival::Answer { slot, result, oddity } => {
                if let Some(oddity) = oddity {
                    self.odd(oddity);
                }
                self.answered(slot, result, now);
            }
            Arrival::Returned { slot } => self.requests.returned(slot),
            Arrival::Event { line_slot, interrupt } => self.event_returned(line_slot, interrupt, now),
            Arrival::LevelChange { line, level, oddity } => {
                if let Some(oddity) = oddity {
                    self.odd(oddity);
                }
                self.level_changed(line, level, now);
            }
            Arrival::Odd(oddity) => self.odd(oddity),
        }
    }

    fn answered(&mut self, slot: u16, result: Result<Value, Error>, now: Instant) {
        if self.dialect.protocol() == Protocol::Ratified {
            // The response is part of the request's own chain: both come back together.
            self.requests.returned(slot);
        }
        let Some((request, awaited)) = self.requests.answered(slot) else { return };
        self.strikes = 0;
        self.health.heard(now);
        // A line that answers only while it is restored or corrected has not made up for its failures.
        if !matches!(request.owner, Owner::Restore | Owner::Correct)
            && let Some(record) = self.record_of(&request)
        {
            record.strikes = 0;
        }
        if !awaited {
            self.odd(Oddity::LateAnswer(request.line));
        }
        if result.is_ok() && awaited && self.dialect.has_step_after(request.operation, request.step) {
            self.requests.continue_with_step(slot, request.step.saturating_add(1));
            self.send_queued();
            return;
        }
        // What the application was told that it failed, or does not wait for any more, is not done behind its back, but
        // taken back.
        let wanted = awaited && request.owner != Owner::Nobody;
        if result.is_ok() && request.owner != Owner::Correct && (wanted || !Self::is_taken_back(&request)) {
            self.apply(request.operation, request.target());
        }
        if let Ok(Value::Level(level)) = result
            && let Some(record) = self.record_of(&request)
        {
            // In the order of arrival: a level message of the draft that follows is newer.
            record.note_level(level);
        }
        if awaited {
            self.finished(slot, &request, result, now);
        }
    }

    /// Hands a result to whoever wants it.
    fn finished(&mut self, slot: u16, request: &RequestSlot, result: Result<Value, Error>, now: Instant) {
        self.requests.finish(slot, result);
        match request.owner {
            Owner::EventLevel => self.level_answered(request.line_slot, result, now),
            Owner::Restore => self.restore_answered(request.line_slot, request.operation, result, now),
            Owner::Correct => self.correction_answered(request, result),
            Owner::Caller | Owner::Nobody => (),
        }
    }

    /// The record of the line that a request is about, unless the line is another's by now.
    pub(super) fn record_of(&mut self, request: &RequestSlot) -> Option<&mut LineSlot> {
        self.record(request.target())
    }

    fn record(&mut self, target: Target) -> Option<&mut LineSlot> {
        self.lines.get_mut(target.line_slot).filter(|record| record.in_use() && record.tenure == target.tenure)
    }

    /// Whether a request that timed out is taken back, rather than left to be carried out late.
    fn is_taken_back(request: &RequestSlot) -> bool {
        match request.operation {
            Operation::SetInput | Operation::SetOutput(_) => true,
            Operation::SetInterruptType(kind) => kind != InterruptType::None,
            _ => false,
        }
    }

    /// Tells the device how a line is to be, where a message that timed out may still make it otherwise. Requests for
    /// one line are carried out in order (VIRTIO 1.2, 5.18.6.9), so that this has the last word.
    pub(super) fn correct(&mut self, line_slot: u16, now: Instant) {
        let owed = self.lines.get(line_slot).filter(|record| record.in_use() && !record.lost && !record.correcting);
        let Some(operation) = owed.and_then(LineSlot::owed_correction) else { return };
        let sent = self.health.is_running() && self.request(line_slot, operation, Owner::Correct, now).is_ok();
        if let Some(record) = self.lines.get_mut(line_slot) {
            record.correcting = sent;
        }
        if !sent {
            self.lines.owes(line_slot);
        }
    }

    fn correction_answered(&mut self, request: &RequestSlot, result: Result<Value, Error>) {
        let Some(record) = self.record_of(request) else { return };
        record.correcting = false;
        match result {
            Ok(_) => record.corrected_by(request.operation),
            // To be tried again, until the line is given up for its time-outs.
            Err(Error::Timeout) => (),
            Err(error) if error.is_malformed() && self.strike(request.line_slot) < LINE_STRIKES => (),
            // The line is neither as its holder thinks nor can it be put right.
            Err(error) => self.lose(request.line_slot, error),
        }
        self.lines.owes(request.line_slot);
    }

    /// Writes into the line's record what the device has carried out.
    fn apply(&mut self, operation: Operation, target: Target) {
        let Some(record) = self.record(target) else { return };
        match operation {
            Operation::SetInput => record.usage = Use::Input,
            Operation::Release => {
                record.usage = Use::Unconfigured;
                record.told = false;
            }
            Operation::SetOutput(level) => record.usage = Use::Output(level),
            Operation::SetValue(level) => {
                if matches!(record.usage, Use::Output(_)) {
                    record.usage = Use::Output(level);
                }
            }
            Operation::SetInterruptType(kind) => {
                record.interrupt = kind;
                record.enabled = kind != InterruptType::None;
                record.empty_events = 0;
                record.question = Question::NONE;
                if !record.enabled {
                    record.rearm = Rearm::No;
                }
                self.lines.owes(target.line_slot);
            }
            Operation::Names | Operation::Acquire | Operation::GetDirection | Operation::GetValue => (),
        }
    }

    fn timed_out(&mut self, slot: u16, sent: Instant, now: Instant) {
        let Some(request) = self.requests.get(slot).copied() else { return };
        self.statistics.timeouts = self.statistics.timeouts.wrapping_add(1);
        if !self.requests.is_unanswered(slot) {
            // It never had its turn: that says nothing about its line, and of the device others tell.
            self.finished(slot, &request, Err(Error::Timeout), now);
            return;
        }
        let half_done = self.dialect.has_step_after(request.operation, request.step);
        if let Some(record) = self.record_of(&request) {
            record.strikes = record.strikes.saturating_add(1);
            // The first half of an output is a level that the device remembers; it changes nothing by itself.
            if !half_done {
                record.made_unsure_by(request.operation);
            }
            self.lines.owes(request.line_slot);
        }
        self.finished(slot, &request, Err(Error::Timeout), now);
        if !self.health.is_running() {
            return;
        }
        self.give_up_if_mute(request.line_slot);
        if sent >= self.last_strike {
            self.strikes = self.strikes.saturating_add(1);
            self.last_strike = now;
        }
        self.check_status(now);
        // A draft reply carries no more than type and line: after a lost one, the next could be taken for it. A
        // ratified answer is known by its descriptor, so that one lost request harms only itself.
        let limit = match self.dialect.protocol() {
            Protocol::Ratified => 2,
            Protocol::Draft => 1,
        };
        let too_many_pinned = self.requests.pinned().saturating_mul(2) > self.requests.capacity();
        if self.health.is_running() && (self.strikes >= limit || too_many_pinned) {
            self.begin_recovery(Fault::Unresponsive, now);
        }
    }

    /// Looks whether the device asks for a reset, or lost its state.
    fn check_status(&mut self, now: Instant) {
        if !self.health.has_live_device() {
            return;
        }
        let status = self.transport.status();
        if status.contains(DeviceStatus::NEEDS_RESET) {
            self.begin_recovery(Fault::NeedsReset, now);
        } else if !status.contains(DeviceStatus::DRIVER_OK) {
            self.begin_recovery(Fault::StatusLost, now);
        }
    }

    /// Where everything is that can be lent to the device.
    pub(super) fn resources(&mut self) -> Resources {
        let (mut descriptors, mut free) = (0u32, 0u32);
        for queue in self.dialect.queues() {
            descriptors = descriptors.saturating_add(queue.size().into());
            free = free.saturating_add(queue.count_free().into());
        }
        let armed = self.lines.iter().filter(|(_, slot)| slot.armed).count();
        let requests = u32::try_from(self.requests.in_use()).unwrap_or(u32::MAX);
        Resources { descriptors, free, standing: self.dialect.standing_descriptors(armed), requests }
    }

    pub(super) fn odd(&mut self, oddity: Oddity) {
        self.statistics.oddities = self.statistics.oddities.wrapping_add(1);
        if let Some(count) = self.oddities.note(oddity) {
            self.tell(Notice::Odd { oddity, count });
        }
    }

    /// Queues a notice; where nobody takes them, the oldest goes.
    pub(super) fn tell(&mut self, notice: Notice) {
        if self.notices.is_full() {
            self.notices.pop_front();
        }
        let _ = self.notices.push_back(notice);
    }

    pub(super) fn next_notice(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }

    pub(super) fn has_notice(&self) -> bool {
        !self.notices.is_empty()
    }
}
