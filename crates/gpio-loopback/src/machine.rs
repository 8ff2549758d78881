//! The machine: the device's registers and queues, memory, time, and what the outside does.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::fmt;
use core::time::Duration;

use critical_section::Mutex;
use gpio_model::bank::{Bank, Line};
use gpio_model::observe::Activity;
use gpio_model::{draft, ratified};
use virtio_gpio::clock::Instant;
use virtio_gpio::fence::CoherentFence;
use virtio_gpio::messages::draft::Message;
use virtio_gpio::messages::{Level, LineId};
use virtio_gpio::transport::{DeviceStatus, InterruptStatus, QueueAddresses, QueueSetupError};
use virtio_gpio::{Chip, Platform};

use crate::clock::MachineClock;
use crate::device::{Completion, Device, Model, Recorder};
use crate::memory::{DeviceMemory, Memory};
use crate::registers::Registers;
use crate::ring::{Areas, Chain, Ring};
use crate::script::{Script, Tamper};

const F_EVENT_IDX: u64 = 1 << 29;
const F_VERSION_1: u64 = 1 << 32;
/// Interrupts that [`Machine::pump`] hands over in one go before it says that this is a storm.
const STORM: u32 = 100_000;

/// The types of a machine, for the driver.
#[derive(Debug)]
pub enum Loopback {}

impl Platform for Loopback {
    type Transport = Registers;
    type Memory = Memory;
    type Fence = CoherentFence;
    type Clock = MachineClock;
}

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
struct QueueState {
    ring: Option<Ring>,
    notified: bool,
}

/// A completion that is reported later.
#[derive(Debug)]
struct Later {
    /// `None` until it is told.
    due: Option<u64>,
    completion: Completion,
}

/// Called where the processor would take the interrupt.
pub(crate) type Handler = Arc<dyn Fn() + Send + Sync>;

/// Something that the outside does at a certain time.
pub(crate) type Action = Box<dyn FnOnce() + Send>;

pub(crate) struct State {
    pub(crate) settings: Settings,
    device: Device,
    pub(crate) script: Script,
    now: u64,
    memory: Option<DeviceMemory>,
    status: DeviceStatus,
    /// When the reset that was asked for is over.
    reset_over: Option<u64>,
    driver_features: u64,
    queues: [QueueState; 2],
    interrupt_status: InterruptStatus,
    interrupt_raised: bool,
    /// Interrupts are on their way, and do not arrive before they are let go. Whether there are any.
    held_interrupts: Option<bool>,
    /// What the outside does when the driver is about to acknowledge an interrupt.
    before_acknowledgement: Option<Action>,
    generation: u32,
    later: VecDeque<Later>,
    chains: Vec<Chain>,
    record_chains: bool,
    notifications: u64,
    interrupts: u64,
    /// Calls of the transport that reach the device.
    pub(crate) register_accesses: u64,
    config_reads: Vec<(u16, usize)>,
    /// The device has forgotten everything behind the driver's back: the driver cannot know what it does wrong.
    forgot: bool,
    violations: Vec<String>,
    handler: Option<Handler>,
    actions: Vec<(u64, Action)>,
}

impl State {
    fn violated(&mut self, rule: &str) {
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

    fn finish_reset(&mut self) {
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
        let Some(memory) = &self.memory else { return Err(QueueSetupError::Address) };
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
    fn work(&mut self) {
        if self.now < self.script.stalled_until || !self.status.contains(DeviceStatus::DRIVER_OK) {
            return;
        }
        let Some(memory) = self.memory.clone() else { return };
        while let Some(place) = self.later.iter().position(|later| later.due.is_some_and(|due| self.now >= due)) {
            if let Some(Later { completion, .. }) = self.later.remove(place) {
                self.report(&memory, &completion, &Tamper::Nothing);
            }
        }
        for queue in 0..2 {
            self.take_chains(&memory, queue);
        }
        self.speak(&memory);
    }

    fn take_chains(&mut self, memory: &DeviceMemory, queue: u16) {
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

    fn speak(&mut self, memory: &DeviceMemory) {
        loop {
            self.device.swallow_replies(&self.script.mute);
            let (queues, violations) = (&mut self.queues, &mut self.violations);
            let spoken = self.device.speak(|| queues.first_mut()?.ring.as_mut()?.pop(memory, violations));
            let Some(completion) = spoken else { return };
            self.complete(memory, completion);
        }
    }

    fn complete(&mut self, memory: &DeviceMemory, completion: Completion) {
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
    fn report(&mut self, memory: &DeviceMemory, completion: &Completion, tamper: &Tamper) {
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

    fn interrupt(&mut self) {
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
    fn next_action(&mut self) -> Option<Action> {
        let due = self.actions.iter().enumerate().filter(|(_, (at, _))| *at <= self.now);
        let (place, _) = due.min_by_key(|(_, (at, _))| *at)?;
        Some(self.actions.remove(place).1)
    }

    /// When something happens though nobody does anything.
    fn next_activity(&self) -> Option<u64> {
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

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// What talking to the device costs, counted from the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Costs {
    /// Notifications by the driver.
    pub notifications: u64,
    /// Interrupts that the device raised for what it used.
    pub interrupts: u64,
    /// Calls of the transport that reach the device; one that acknowledges an interrupt is a read and a write.
    pub register_accesses: u64,
    /// Pieces of shared memory that the driver handed over to the device: descriptors, buffers, words of the rings.
    pub handed_over: u64,
    /// Pieces of shared memory that the driver took over from the device: buffers, words of the rings.
    pub taken_over: u64,
}

/// A device with everything around it. Clones are the same machine.
#[derive(Clone)]
pub struct Machine(Arc<Mutex<RefCell<State>>>);

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine").finish_non_exhaustive()
    }
}

impl Machine {
    /// A machine with a device of the ratified protocol.
    pub fn ratified(bank: Bank, options: ratified::Options, settings: Settings) -> Self {
        let device = ratified::Device::with_observer(bank, options, Recorder::default());
        Self::new(Model::Ratified(device), settings)
    }

    /// A machine with a device of the draft.
    pub fn draft(bank: Bank, options: draft::Options, settings: Settings) -> Self {
        let device = draft::Device::with_observer(bank, options, Recorder::default());
        Self::new(Model::Draft(device), settings)
    }

    fn new(model: Model, settings: Settings) -> Self {
        Self(Arc::new(Mutex::new(RefCell::new(State {
            settings,
            device: Device::new(model),
            script: Script::new(),
            now: 0,
            memory: None,
            status: DeviceStatus::empty(),
            reset_over: None,
            driver_features: 0,
            queues: Default::default(),
            interrupt_status: InterruptStatus::empty(),
            interrupt_raised: false,
            held_interrupts: None,
            before_acknowledgement: None,
            generation: 0,
            later: VecDeque::new(),
            chains: Vec::new(),
            record_chains: true,
            notifications: 0,
            interrupts: 0,
            register_accesses: 0,
            config_reads: Vec::new(),
            forgot: false,
            violations: Vec::new(),
            handler: None,
            actions: Vec::new(),
        }))))
    }

    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        critical_section::with(|section| f(&mut self.0.borrow_ref_mut(section)))
    }

    /// The device's registers.
    pub fn registers(&self) -> Registers {
        Registers(self.clone())
    }

    /// The machine's clock.
    pub fn clock(&self) -> MachineClock {
        MachineClock(self.clone())
    }

    /// Bytes of a cache line of the memory.
    pub fn granule(&self) -> usize {
        self.with(|state| state.settings.granule)
    }

    /// Memory that the device can reach.
    pub fn allocate(&self, len: usize) -> Memory {
        self.with(|state| {
            let Settings { memory_address, granule, .. } = state.settings;
            let (memory, device) = Memory::new(len, memory_address, granule);
            state.memory = Some(device);
            memory
        })
    }

    /// Whether the driver has given the memory up that it was handed.
    pub fn memory_released(&self) -> bool {
        self.with(|state| state.memory.as_ref().is_none_or(DeviceMemory::is_released))
    }

    // --- time and interrupts --------------------------------------------------------------------------------------

    /// The present.
    pub fn now(&self) -> Instant {
        Instant::from_nanos(self.with(|state| state.now))
    }

    /// Lets time pass, and nothing else.
    pub fn pass(&self, duration: Duration) {
        self.with(|state| state.now = state.now.saturating_add(nanoseconds(duration)));
    }

    /// Lets outside and device do what there is to do at this moment.
    pub fn run(&self) {
        while let Some(action) = self.with(State::next_action) {
            action();
        }
        self.with(State::work);
    }

    /// Has the outside do something at a certain time, whoever waits for what then.
    pub fn at(&self, time: Instant, action: impl FnOnce() + Send + 'static) {
        self.with(|state| state.actions.push((time.as_nanos(), Box::new(action))));
    }

    /// When the device will do something by itself.
    pub fn next_activity(&self) -> Option<Instant> {
        self.with(|state| state.next_activity()).map(Instant::from_nanos)
    }

    /// Whether the device's interrupt is raised.
    pub fn interrupt_raised(&self) -> bool {
        self.with(|state| state.interrupt_raised)
    }

    /// Has the device interrupt without a reason.
    pub fn interrupt_spuriously(&self) {
        self.with(|state| state.interrupt_raised = true);
    }

    /// From now on, interrupts are under way for what the device has used, and do not arrive.
    pub fn hold_interrupts(&self) {
        self.with(|state| {
            state.held_interrupts.get_or_insert(false);
        });
    }

    /// The interrupts that were held arrive, as one; later ones at once.
    pub fn release_interrupts(&self) {
        self.with(|state| {
            if state.held_interrupts.take() == Some(true) {
                state.interrupt();
            }
        });
    }

    /// Has the outside do something just before the driver reads and acknowledges the interrupt the next time.
    pub fn before_acknowledgement(&self, action: impl FnOnce() + Send + 'static) {
        self.with(|state| state.before_acknowledgement = Some(Box::new(action)));
    }

    /// What the processor does when the device interrupts while the driver waits. Without a handler it does nothing
    /// then: the driver looks by itself.
    pub fn set_handler(&self, handler: impl Fn() + Send + Sync + 'static) {
        self.with(|state| state.handler = Some(Arc::new(handler)));
    }

    pub(crate) fn raise_interrupt(&self) {
        let handler = self.with(|state| state.handler.clone().filter(|_| state.interrupt_raised));
        if let Some(handler) = handler {
            handler();
        }
    }

    /// Runs the device and hands its interrupts over, until neither has anything to do.
    ///
    /// # Panics
    ///
    /// If that does not end.
    pub fn pump(&self, chip: &Chip<'_, Loopback>) {
        for _ in 0..STORM {
            self.run();
            if !self.interrupt_raised() {
                return;
            }
            chip.handle_interrupt();
        }
        panic!("driver and device keep each other busy for ever");
    }

    /// Lets time pass as an idle application would see it: interrupts are handed over, and deadlines kept.
    pub fn advance(&self, chip: &Chip<'_, Loopback>, duration: Duration) {
        let end = self.now().after(duration);
        loop {
            self.pump(chip);
            chip.poll();
            self.pump(chip);
            let now = self.now();
            if now >= end {
                return;
            }
            let next = [self.next_activity(), chip.next_deadline()].into_iter().flatten().min();
            let until = next.map_or(end, |next| next.min(end)).max(now.after(Duration::from_micros(1)));
            self.pass(until.since(now));
        }
    }

    // --- the outside ----------------------------------------------------------------------------------------------

    /// Lets the outside drive a line, or let go of it.
    ///
    /// # Panics
    ///
    /// If there is no such line.
    pub fn drive(&self, line: LineId, drive: Option<Level>) {
        let done = self.with(|state| {
            let done = state.device.drive(line, drive);
            state.work();
            done
        });
        assert!(done.is_ok(), "line {line} exists");
    }

    /// A line as it is.
    ///
    /// # Panics
    ///
    /// If there is no such line.
    pub fn line(&self, line: LineId) -> Line {
        let found = self.with(|state| state.device.bank().line(line).copied());
        found.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Has a draft device send any message.
    pub fn send(&self, message: Message) {
        self.with(|state| {
            state.device.send(message);
            state.work();
        });
    }

    // --- what was seen --------------------------------------------------------------------------------------------

    /// What the device saw and did since the last call, in order.
    pub fn take_activities(&self) -> Vec<Activity> {
        self.with(|state| state.device.take_activities())
    }

    /// The chains that the device took since the last call, in order. Receive buffers of the draft are not among them.
    pub fn take_chains(&self) -> Vec<Chain> {
        self.with(|state| core::mem::take(&mut state.chains))
    }

    /// Whether chains are kept for [`Machine::take_chains`]; they are by default.
    pub fn record_chains(&self, record: bool) {
        self.with(|state| state.record_chains = record);
    }

    /// Notifications by the driver.
    pub fn notifications(&self) -> u64 {
        self.with(|state| state.notifications)
    }

    /// What the driver has cost so far.
    pub fn costs(&self) -> Costs {
        self.with(|state| {
            let (handed_over, taken_over) = state.memory.as_ref().map_or((0, 0), DeviceMemory::hand_overs);
            let State { notifications, interrupts, register_accesses, .. } = *state;
            Costs { notifications, interrupts, register_accesses, handed_over, taken_over }
        })
    }

    /// The reads of the configuration space since the last call: offset and width of each.
    pub fn take_config_reads(&self) -> Vec<(u16, usize)> {
        self.with(|state| core::mem::take(&mut state.config_reads))
    }

    /// The status register.
    pub fn status(&self) -> DeviceStatus {
        self.with(|state| state.status)
    }

    /// The features that the driver accepted.
    pub fn driver_features(&self) -> u64 {
        self.with(|state| state.driver_features)
    }

    /// The rules of the specification that the driver broke, in order.
    pub fn violations(&self) -> Vec<String> {
        self.with(|state| state.violations.clone())
    }

    // --- faults ---------------------------------------------------------------------------------------------------

    /// Says what happens to the next completions of a queue, one after the other.
    pub fn tamper(&self, queue: u16, with: impl IntoIterator<Item = Tamper>) {
        self.with(|state| {
            if let Some(completions) = state.script.completions.get_mut(usize::from(queue)) {
                completions.extend(with);
            }
        });
    }

    /// Says what happens to every completion of a queue that [`Machine::tamper`] says nothing about.
    pub fn tamper_every(&self, queue: u16, with: Option<Tamper>) {
        self.with(|state| {
            if let Some(every) = state.script.every.get_mut(usize::from(queue)) {
                *every = with;
            }
        });
    }

    /// Reports what was held back, the last one first if `reversed`.
    pub fn release_held(&self, reversed: bool) {
        self.with(|state| {
            if reversed {
                state.later.make_contiguous().reverse();
            }
            for later in &mut state.later {
                later.due.get_or_insert(state.now);
            }
            state.work();
        });
    }

    /// Reports what was held back of one queue first, and lets the device do nothing else. `false` if there is nothing.
    pub fn release_first(&self, queue: u16) -> bool {
        self.with(|state| {
            let held = |later: &Later| later.due.is_none() && later.completion.chain.queue == queue;
            let (Some(place), Some(memory)) = (state.later.iter().position(held), state.memory.clone()) else {
                return false;
            };
            let later = state.later.remove(place);
            later.inspect(|later| state.report(&memory, &later.completion, &Tamper::Nothing)).is_some()
        })
    }

    /// From now on, requests for the line are carried out and never answered; or they are answered again.
    pub fn mute(&self, line: LineId, mute: bool) {
        self.with(|state| {
            state.script.mute.retain(|&other| other != line.0);
            if mute {
                state.script.mute.push(line.0);
            }
        });
    }

    /// The device does not look at its queues for so long. Its registers work.
    pub fn stall(&self, duration: Duration) {
        self.with(|state| state.script.stalled_until = state.now.saturating_add(nanoseconds(duration)));
    }

    /// Every completion takes so long.
    pub fn set_latency(&self, latency: Duration) {
        self.with(|state| state.script.latency = nanoseconds(latency));
    }

    /// The next notifications get lost.
    pub fn lose_notifications(&self, count: u32) {
        self.with(|state| state.script.lost_notifications = count);
    }

    /// The device looks at its queues by itself and wants no notifications. To be said before the queues are set up.
    pub fn poll_queues(&self) {
        self.with(|state| state.script.polls = true);
    }

    /// `FEATURES_OK` does not stay set.
    pub fn refuse_features(&self) {
        self.with(|state| state.script.refuses_features = true);
    }

    /// How long resets take from now on; `None` if they never end.
    pub fn set_reset_time(&self, time: Option<Duration>) {
        self.with(|state| state.script.reset_time = time.map(nanoseconds));
    }

    /// The configuration changes under the next reads of its generation.
    pub fn unsettle_config(&self, reads: u32) {
        self.with(|state| state.script.unsettled_reads = reads);
    }

    /// The device asks for a reset, and interrupts to say so.
    pub fn need_reset(&self) {
        self.with(State::needs_reset);
    }

    /// From now on, the device asks for a reset whenever the driver is ready.
    pub fn need_reset_always(&self, always: bool) {
        self.with(|state| state.script.needs_reset_again = always);
    }

    /// The configuration changes, and the device interrupts to say so.
    pub fn change_config(&self) {
        self.with(|state| {
            state.generation = state.generation.wrapping_add(1);
            state.interrupt_status |= InterruptStatus::CONFIG_CHANGE | InterruptStatus::USED_BUFFER;
            state.interrupt_raised = true;
        });
    }

    /// The device forgets everything, and tells nobody.
    pub fn reset_silently(&self) {
        self.with(|state| {
            state.finish_reset();
            state.forgot = true;
        });
    }

    /// The device overwrites the descriptor tables with nonsense.
    pub fn scribble_descriptors(&self) {
        self.scribble(Ring::scribble_descriptors);
    }

    /// The device overwrites the available rings with nonsense.
    pub fn scribble_available(&self) {
        self.scribble(Ring::scribble_available);
    }

    fn scribble(&self, scribble: fn(&Ring, &DeviceMemory)) {
        self.with(|state| {
            let Some(memory) = &state.memory else { return };
            for ring in state.queues.iter().filter_map(|queue| queue.ring.as_ref()) {
                scribble(ring, memory);
            }
        });
    }
}
