//! How the device behaves behind its registers and queues, and what it thinks of the driver.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use virtio_gpio::transport::{DeviceStatus, InterruptStatus, QueueAddresses, QueueSetupError};

use crate::bus::Bus;
use crate::device::{Completion, Device};
use crate::memory::DeviceMemory;
use crate::ring::{Areas, Chain, Ring};
use crate::script::{Script, Tamper};

const F_EVENT_IDX: u64 = 1 << 29;
const F_VERSION_1: u64 = 1 << 32;

/// What kind of device it is, besides its behaviour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The device ID.
    pub device_id: u32,
    /// A legacy transport: no `FEATURES_OK`, no configuration generation, 32 feature bits, contiguous queues.
    pub legacy: bool,
    /// The features on offer, besides those of the model.
    pub features: u64,
    /// The largest size of each queue.
    pub queue_limits: [u32; 2],
    /// A configuration space in place of the model's.
    pub config: Option<Vec<u8>>,
    /// Bytes of a cache line of memory that is not coherent; 1 if it is.
    pub granule: usize,
    /// Where the device finds the shared memory. By default within a legacy device's reach.
    pub memory_address: u64,
}

impl Settings {
    /// A modern device with that ID.
    pub fn new(device_id: u32) -> Self {
        Self {
            device_id,
            legacy: false,
            features: F_VERSION_1 | F_EVENT_IDX,
            queue_limits: [1024; 2],
            config: None,
            granule: 1,
            memory_address: 0x4000_0000,
        }
    }
}

/// What a queue's registers say.
#[derive(Debug, Default)]
pub(super) struct QueueState {
    pub(super) ring: Option<Ring>,
    pub(super) notified: bool,
}

/// A completion that is reported later.
#[derive(Debug)]
pub(super) struct Later {
    /// `None` until it is told.
    pub(super) due: Option<u64>,
    pub(super) completion: Completion,
}

/// Called where the processor would take the interrupt.
pub(crate) type Handler = Arc<dyn Fn() + Send + Sync>;

/// Something that the outside does at a certain time.
pub(crate) type Action = Box<dyn FnOnce() + Send>;

pub(crate) struct State {
    pub(crate) settings: Settings,
    pub(super) device: Device,
    pub(crate) script: Script,
    pub(super) now: u64,
    /// The memory that the device is connected to.
    pub(super) memory: Option<Arc<dyn Bus>>,
    /// That memory, if it is the machine's own.
    pub(super) allocated: Option<Arc<DeviceMemory>>,
    pub(super) status: DeviceStatus,
    /// When the reset that was asked for is over.
    pub(super) reset_over: Option<u64>,
    pub(super) driver_features: u64,
    pub(super) queues: [QueueState; 2],
    pub(crate) interrupt_status: InterruptStatus,
    pub(super) interrupt_raised: bool,
    /// Interrupts are on their way, and do not arrive before they are let go. Whether there are any.
    pub(super) held_interrupts: Option<bool>,
    /// What the outside does when the driver is about to acknowledge an interrupt.
    pub(super) before_acknowledgement: Option<Action>,
    pub(super) generation: u32,
    pub(super) later: VecDeque<Later>,
    pub(super) chains: Vec<Chain>,
    pub(super) record_chains: bool,
    pub(super) notifications: u64,
    pub(super) interrupts: u64,
    /// Calls of the transport that reach the device.
    pub(crate) register_accesses: u64,
    pub(super) config_reads: Vec<(u16, usize)>,
    /// The device has forgotten everything behind the driver's back: the driver cannot know what it does wrong.
    pub(super) forgot: bool,
    pub(super) violations: Vec<String>,
    pub(super) handler: Option<Handler>,
    pub(super) actions: Vec<(u64, Action)>,
}

impl State {
    pub(super) fn violated(&mut self, rule: &str) {
        self.violations.push(rule.into());
    }

    pub(crate) fn offered_features(&self) -> u64 {
        let all = self.settings.features | self.device.features();
        if self.settings.legacy { all & 0xffff_ffff } else { all }
    }

    pub(crate) fn set_driver_features(&mut self, features: u64) {
        if features & !self.offered_features() != 0 {
            self.violated("a feature was accepted that is not on offer (2.2.1)");
        }
        if self.settings.features & F_VERSION_1 != 0 && !self.settings.legacy && features & F_VERSION_1 == 0 {
            self.violated("VIRTIO_F_VERSION_1 was not accepted (6.1)");
        }
        if self.status.intersects(DeviceStatus::FEATURES_OK | DeviceStatus::DRIVER_OK) {
            self.violated("features were written after FEATURES_OK (3.1.1)");
        }
        self.driver_features = features;
    }

    pub(crate) fn read_status(&mut self) -> DeviceStatus {
        if self.reset_over.is_some_and(|over| self.now >= over) {
            self.finish_reset();
        }
        self.status
    }

    pub(crate) fn write_status(&mut self, status: DeviceStatus) {
        if status.is_empty() {
            match self.script.reset_time {
                Some(0) => self.finish_reset(),
                Some(time) => self.reset_over = Some(self.now.saturating_add(time)),
                None => (),
            }
            return;
        }
        if self.reset_over.is_some() {
            self.violated("the status was written before the reset was over (4.2.2.1)");
        }
        if !status.contains(self.status.difference(DeviceStatus::NEEDS_RESET)) {
            self.violations.push(format!("status bits were cleared: {:?} to {status:?} (2.1.1)", self.status));
        }
        let new = status.difference(self.status);
        self.status = status;
        if new.contains(DeviceStatus::FEATURES_OK) && self.script.refuses_features {
            self.status.remove(DeviceStatus::FEATURES_OK);
        }
        if new.contains(DeviceStatus::DRIVER_OK) {
            if !self.settings.legacy && !status.contains(DeviceStatus::FEATURES_OK) {
                self.violated("DRIVER_OK without FEATURES_OK (3.1.1)");
            }
            self.device.start(self.driver_features);
            if self.script.needs_reset_again {
                self.needs_reset();
            }
        }
    }

    pub(super) fn finish_reset(&mut self) {
        self.reset_over = None;
        self.forgot = false;
        self.status = DeviceStatus::empty();
        self.driver_features = 0;
        self.queues = Default::default();
        self.interrupt_status = InterruptStatus::empty();
        self.interrupt_raised = false;
        self.later.clear();
        self.device.reset();
    }

    pub(crate) fn needs_reset(&mut self) {
        self.status |= DeviceStatus::NEEDS_RESET;
        self.interrupt_status |= InterruptStatus::CONFIG_CHANGE;
        self.interrupt_raised = true;
    }

    pub(crate) fn queue_limit(&self, queue: u16) -> u32 {
        self.settings.queue_limits.get(usize::from(queue)).copied().unwrap_or(0)
    }

    pub(crate) fn set_queue(&mut self, queue: u16, addresses: &QueueAddresses) -> Result<(), QueueSetupError> {
        if !self.settings.legacy && !self.status.contains(DeviceStatus::FEATURES_OK) {
            self.violated("a queue was set up before FEATURES_OK (3.1.1)");
        }
        if self.status.contains(DeviceStatus::DRIVER_OK) {
            self.violated("a queue was set up after DRIVER_OK (3.1.1)");
        }
        if !addresses.size.is_power_of_two() || u32::from(addresses.size) > self.queue_limit(queue) {
            self.violated("a queue size that is no power of two or above the largest (4.2.2.2)");
        }
        let areas = if self.settings.legacy {
            Areas::legacy(addresses.size, addresses.descriptors, 4096)
        } else {
            let QueueAddresses { size, descriptors, available, used } = *addresses;
            Areas { size, descriptors, available, used }
        };
        let event_index = self.driver_features & F_EVENT_IDX != 0;
        let Some(memory) = self.memory.as_deref() else { return Err(QueueSetupError::Address) };
        let Some(state) = self.queues.get_mut(usize::from(queue)) else { return Err(QueueSetupError::InUse) };
        if state.ring.is_some() {
            return Err(QueueSetupError::InUse);
        }
        let ring = Ring::new(queue, areas, event_index, memory, &mut self.violations);
        ring.want_notifications(memory, !self.script.polls);
        state.ring = Some(ring);
        Ok(())
    }

    pub(crate) fn notified(&mut self, queue: u16) {
        if self.forgot {
            return;
        }
        if !self.status.contains(DeviceStatus::DRIVER_OK) {
            self.violated("a notification before DRIVER_OK (3.1.1)");
        }
        self.notifications = self.notifications.saturating_add(1);
        if self.script.lost_notifications > 0 {
            self.script.lost_notifications = self.script.lost_notifications.saturating_sub(1);
            return;
        }
        match self.queues.get_mut(usize::from(queue)) {
            Some(state) if state.ring.is_some() => state.notified = true,
            _ => self.violated("a notification of a queue that is not set up"),
        }
    }

    pub(crate) fn take_before_acknowledgement(&mut self) -> Option<Action> {
        self.before_acknowledgement.take()
    }

    pub(crate) fn acknowledge(&mut self) -> InterruptStatus {
        self.interrupt_raised = false;
        core::mem::replace(&mut self.interrupt_status, InterruptStatus::empty())
    }

    pub(crate) fn config_generation(&mut self) -> u32 {
        if self.settings.legacy {
            return 0;
        }
        if self.script.unsettled_reads > 0 {
            self.script.unsettled_reads = self.script.unsettled_reads.saturating_sub(1);
            self.generation = self.generation.wrapping_add(1);
        }
        self.generation
    }

    pub(crate) fn read_config<const N: usize>(&mut self, offset: u16) -> [u8; N] {
        self.config_reads.push((offset, N));
        let offset = usize::from(offset);
        let space = self.settings.config.clone().unwrap_or_else(|| self.device.config_space());
        let bytes = offset.checked_add(N).and_then(|end| space.get(offset..end));
        bytes.and_then(|bytes| bytes.try_into().ok()).unwrap_or([0xff; N])
    }

    /// Lets the device do what there is to do at this moment.
    pub(super) fn work(&mut self) {
        if self.now < self.script.stalled_until || !self.status.contains(DeviceStatus::DRIVER_OK) {
            return;
        }
        let Some(memory) = self.memory.clone() else { return };
        let memory = &*memory;
        while let Some(place) = self.later.iter().position(|later| later.due.is_some_and(|due| self.now >= due)) {
            if let Some(Later { completion, .. }) = self.later.remove(place) {
                self.report(memory, &completion, &Tamper::Nothing);
            }
        }
        for queue in 0..2 {
            self.take_chains(memory, queue);
        }
        self.speak(memory);
    }

    fn take_chains(&mut self, memory: &dyn Bus, queue: u16) {
        loop {
            let Some(state) = self.queues.get_mut(usize::from(queue)) else { return };
            let Some(ring) = &mut state.ring else { return };
            if !(state.notified || self.script.polls) || !self.device.takes(queue) {
                return;
            }
            let chain = ring.pop(memory, &mut self.violations);
            ring.want_notifications(memory, !self.script.polls);
            let Some(chain) = chain else {
                state.notified = false;
                return;
            };
            if self.record_chains {
                self.chains.push(chain.clone());
            }
            if let Some(completion) = self.device.execute(chain) {
                self.complete(memory, completion);
            }
        }
    }

    fn speak(&mut self, memory: &dyn Bus) {
        loop {
            self.device.swallow_replies(&self.script.mute);
            let (queues, violations) = (&mut self.queues, &mut self.violations);
            let spoken = self.device.speak(|| queues.first_mut()?.ring.as_mut()?.pop(memory, violations));
            let Some(completion) = spoken else { return };
            self.complete(memory, completion);
        }
    }

    fn complete(&mut self, memory: &dyn Bus, completion: Completion) {
        if completion.line.is_some_and(|line| self.script.mute.contains(&line.0)) {
            return;
        }
        let tamper = self.script.next(completion.chain.queue);
        let due = match tamper {
            Tamper::Drop => return,
            Tamper::Hold => None,
            Tamper::Delay(delay) => Some(self.now.saturating_add(nanoseconds(delay))),
            _ if self.script.latency > 0 => Some(self.now.saturating_add(self.script.latency)),
            _ => return self.report(memory, &completion, &tamper),
        };
        self.later.push_back(Later { due, completion });
    }

    /// Puts a completion into the used ring.
    pub(super) fn report(&mut self, memory: &dyn Bus, completion: &Completion, tamper: &Tamper) {
        let Completion { chain, bytes, .. } = completion;
        let Some(ring) = self.queues.get_mut(usize::from(chain.queue)).and_then(|queue| queue.ring.as_mut()) else {
            return;
        };
        let head = u32::from(chain.head());
        let mut length = match tamper {
            Tamper::Unwritten => u32::try_from(bytes.len()).unwrap_or(u32::MAX),
            Tamper::Bytes(bytes) => chain.write(memory, bytes),
            _ => chain.write(memory, bytes),
        };
        if let Tamper::Length(other) = tamper {
            length = *other;
        }
        let id = match tamper {
            Tamper::Id(id) => *id,
            Tamper::IdWithHighBit => head | 0x1_0000,
            Tamper::IdOfLastDescriptor => chain.descriptors.last().map_or(head, |last| last.index.into()),
            _ => head,
        };
        ring.push(memory, id, length);
        match tamper {
            Tamper::Duplicate => ring.push(memory, id, length),
            Tamper::JumpIndex(by) => ring.jump(memory, *by),
            Tamper::RewriteAfterwards(bytes) => {
                chain.write(memory, bytes);
            }
            _ => (),
        }
        let wanted = ring.interrupt_wanted(memory);
        if wanted && *tamper != Tamper::NoInterrupt {
            self.interrupt();
        }
    }

    pub(super) fn interrupt(&mut self) {
        if let Some(held) = &mut self.held_interrupts {
            *held = true;
            return;
        }
        self.interrupt_status |= InterruptStatus::USED_BUFFER;
        if !core::mem::replace(&mut self.interrupt_raised, true) {
            self.interrupts = self.interrupts.saturating_add(1);
        }
    }

    /// Takes the earliest of the outside's actions that are due.
    pub(super) fn next_action(&mut self) -> Option<Action> {
        let due = self.actions.iter().enumerate().filter(|(_, (at, _))| *at <= self.now);
        let (place, _) = due.min_by_key(|(_, (at, _))| *at)?;
        Some(self.actions.remove(place).1)
    }

    /// When something happens though nobody does anything.
    pub(super) fn next_activity(&self) -> Option<u64> {
        let stall = (self.now < self.script.stalled_until).then_some(self.script.stalled_until);
        self.later
            .iter()
            .filter_map(|later| later.due)
            .chain(stall)
            .chain(self.reset_over)
            .chain(self.actions.iter().map(|(at, _)| *at))
            .filter(|&at| at > self.now)
            .min()
    }
}

pub(super) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
