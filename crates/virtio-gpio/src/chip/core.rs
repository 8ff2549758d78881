//! The chip's state machine. Everything that the driver does, it does here, in steps that never wait: take what came
//! ([`super::arrivals`]), send what is queued ([`super::sending`]), give up what is overdue ([`super::outcomes`]). Whoever
//! waits, waits around it ([`super`]).

use heapless::Deque;

use super::Options;
use super::events::{EventQueue, Notice, OddityCounts, Resources, Statistics};
use super::lines::{LineSlot, LineTable, TakeError};
use super::patience::Patience;
use super::recovery::Health;
use super::requests::{Due, RequestTable};
use crate::clock::Instant;
use crate::dialect::{Dialect, Oddity};
use crate::error::{Error, Fault, SetupError};
use crate::identify::FEATURE_EVENT_INDEX;
use crate::messages::LineId;
use crate::platform::Platform;
use crate::queue::Bus;
use crate::shared::Shared;
use crate::transport::{DeviceStatus, Transport, add_status};

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
    pub(super) strikes: u8,
    pub(super) last_strike: Instant,
    /// The reason of an interrupt that may be pending was taken away by the driver itself.
    pub(super) interrupt_cleared: bool,
    /// Since when an interrupt is missing: what it was for was overdue, and found by looking.
    pub(super) missing_since: Option<Instant>,
    /// Interrupts for answers are off, because somebody looks for them.
    pub(super) interrupts_off: bool,
    /// Callers who sleep until an interrupt.
    pub(super) sleepers: u16,
    /// Things taken from the queues in one go, so that a device that never stops cannot keep the driver for ever. One more than
    /// both queues hold: what is left then came after the interrupt was acknowledged, and raises a new one.
    pub(super) drain_limit: u32,
    /// The last drain ended at its limit. With event indexes the device need not interrupt for what is left.
    pub(super) drain_cut: bool,
    /// Until when a level that was asked for is worth looking for by itself, by whoever would sleep otherwise.
    pub(super) answer_expected: Option<Instant>,
    /// Since when there has been no request slot, because the device gives none back.
    pub(super) pinned_since: Option<Instant>,
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
        mut dialect: Dialect<'a>,
        requests: RequestTable<'a>,
        lines: LineTable<'a>,
        events: EventQueue<'a>,
        features: u64,
        options: Options,
    ) -> Self {
        let drain_limit = dialect.completions().saturating_add(1);
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
            sleepers: 0,
            drain_limit,
            drain_cut: false,
            answer_expected: None,
            pinned_since: None,
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
            TakeError::Full => Error::TooManyLines { limit: u16::try_from(self.lines.capacity()).unwrap_or(u16::MAX) },
        })
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
        pauses.chain(self.requests.next_due()).chain(self.health.next_deadline()).chain(self.slot_deadline()).min()
    }

    /// Looks whether the device asks for a reset, or lost its state.
    pub(super) fn check_status(&mut self, now: Instant) {
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
