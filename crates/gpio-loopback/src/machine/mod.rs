//! The machine: a device with memory, time, and what the outside does.

mod faults;
mod state;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
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
use virtio_gpio::transport::{DeviceStatus, InterruptStatus};
use virtio_gpio::{Chip, Platform};

use crate::bus::Bus;
use crate::clock::MachineClock;
use crate::device::{Device, Model, Recorder};
use crate::memory::{DeviceMemory, Memory};
use crate::registers::Registers;
use crate::ring::Chain;
use crate::script::Script;
use state::nanoseconds;

pub use state::Settings;
pub(crate) use state::State;

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
            allocated: None,
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
            let device = Arc::new(device);
            state.memory = Some(device.clone());
            state.allocated = Some(device);
            memory
        })
    }

    /// Connects the device to memory of somebody else's, in place of [`allocate`](Self::allocate).
    pub fn connect(&self, bus: Arc<dyn Bus>) {
        self.with(|state| {
            state.memory = Some(bus);
            state.allocated = None;
        });
    }

    /// From now on the device reaches no memory, and does nothing that it would have to do there.
    pub fn disconnect(&self) {
        self.with(|state| {
            state.memory = None;
            state.allocated = None;
        });
    }

    /// Whether the driver has given the memory up that it was handed.
    pub fn memory_released(&self) -> bool {
        self.with(|state| state.allocated.as_deref().is_none_or(DeviceMemory::is_released))
    }

    // --- time and interrupts --------------------------------------------------------------------------------------

    /// The present.
    pub fn now(&self) -> Instant {
        Instant::from_nanos(self.with(|state| state.now))
    }

    /// Says what time it is, where a clock of somebody else's does. Time does not go back.
    pub fn set_now(&self, now: Instant) {
        self.with(|state| state.now = state.now.max(now.as_nanos()));
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
            let (handed_over, taken_over) = state.allocated.as_deref().map_or((0, 0), DeviceMemory::hand_overs);
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
}
