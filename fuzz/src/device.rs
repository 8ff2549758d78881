//! A device in the driver's own process whose every register and every shared byte an input decides about, and which
//! can turn healthy: then it is the device model behind rings that it reads as they are.
//!
//! Between its acts the device works or not, as the input says. A script of acts goes on whenever the driver touches a
//! register or waits. Time passes only while the driver waits.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arbitrary::Arbitrary;
use gpio_model::bank::Bank;
use gpio_model::names::Names;
use gpio_model::{Token, draft, ratified};
use virtio_gpio::clock::{Clock, Instant};
use virtio_gpio::fence::CoherentFence;
use virtio_gpio::messages::draft::{Marking, Message};
use virtio_gpio::messages::{Level, LineId};
use virtio_gpio::transport::{DeviceStatus, InterruptStatus, QueueAddresses, QueueSetupError, Transport};
use virtio_gpio::{Platform, Protocol};

use self::memory::{BASE, Memory, SharedBytes};
use self::ring::Ring;

mod memory;
mod ring;

const F_EVENT_IDX: u64 = 1 << 29;
const F_VERSION_1: u64 = 1 << 32;
/// Accesses to registers, and waits, that one call of the driver may take. Giving a device up, which takes half a minute,
/// takes less than a tenth of it.
const WORK_LIMIT: u32 = 50_000;
/// What a look at the device, or a wait, costs at least; and what it costs once a call has done so much work. A device may
/// keep the driver busy until its deadline; that deadline comes sooner then.
const LOOK: u64 = 1_000;
const SLOW_LOOK: u64 = 1_000_000;
const MUCH_WORK: u32 = 1_000;

/// The types of a hostile device, for the driver.
#[derive(Debug)]
pub enum Hostile {}

impl Platform for Hostile {
    type Transport = Registers;
    type Memory = Memory;
    type Fence = CoherentFence;
    type Clock = DeviceClock;
}

/// Something that the device does.
#[expect(missing_docs, reason = "the fields are what their variants say")]
#[derive(Debug, Clone, Arbitrary)]
pub enum Act {
    /// What a healthy device would do now.
    Work,
    /// From now on it does that by itself, or not.
    WorkAlways(bool),
    /// Returns a chain that it has, or the next one: with these bytes, and another id or length.
    Complete { queue: bool, which: u8, bytes: [u8; 4], id: Option<u32>, length: Option<u32> },
    /// Sets the used index to so much more than the driver has seen of it.
    UsedIndex { queue: bool, by: i8 },
    /// Sets the used index.
    UsedIndexTo { queue: bool, to: u16 },
    /// Writes an element of the used ring.
    UsedElement { queue: bool, slot: u8, id: u32, length: u32 },
    /// Writes to the memory that both share.
    Write { at: u16, bytes: [u8; 4] },
    /// Writes many equal bytes there.
    Fill { at: u16, count: u8, byte: u8 },
    /// Sets the status register.
    Status(u8),
    /// Raises an interrupt, for these reasons.
    Interrupt(u8),
    /// Sets the offered features.
    Features(u64),
    /// Sets the largest size of a queue.
    QueueLimit { queue: bool, limit: u32 },
    /// Sets a byte of the configuration space.
    Config { at: u8, byte: u8 },
    /// Sets the configuration generation.
    Generation(u8),
    /// From now on it does not carry out resets, or does again.
    StickyStatus(bool),
    /// From now on it refuses queues, or accepts them.
    RefuseQueues(bool),
    /// Drives a line from outside.
    Drive { line: u8, level: bool },
    /// Sends a message of the draft.
    Send { kind: u16, line: u8, value: i32 },
    /// Forgets everything.
    Forget,
}

/// What kind of device it is.
#[derive(Debug, Clone, Arbitrary)]
#[expect(clippy::struct_excessive_bools, reason = "an input chooses each of them alone")]
pub struct Kind {
    draft: bool,
    legacy: bool,
    event_index: bool,
    interrupts: bool,
    lines: u8,
    marking: u8,
    /// The names block.
    pub names: Vec<u8>,
}

impl Kind {
    /// A healthy device of that protocol with those names.
    pub fn with_names(draft: bool, names: Vec<u8>) -> Self {
        Self { draft, legacy: false, event_index: true, interrupts: true, lines: 7, marking: 0, names }
    }

    /// The number of lines.
    pub fn lines(&self) -> u16 {
        u16::from(self.lines % 8) + 1
    }

    /// The protocol that it speaks.
    pub fn protocol(&self) -> Protocol {
        if self.draft { Protocol::Draft } else { Protocol::Ratified }
    }

    fn features(&self) -> u64 {
        let event_index = if self.event_index { F_EVENT_IDX } else { 0 };
        let own = u64::from(!self.draft && self.interrupts);
        own | event_index | if self.legacy { 0 } else { F_VERSION_1 }
    }

    fn model(&self) -> Model {
        let bank = Bank::new(self.lines());
        let names = Names::from_raw(self.names.clone());
        if self.draft {
            let marking = Marking::ALL[usize::from(self.marking) % 4];
            Model::Draft(draft::Device::new(bank, draft::Options { names, marking, ..draft::Options::default() }))
        } else {
            let options = ratified::Options { names, interrupts: self.interrupts, ..ratified::Options::default() };
            Model::Ratified(ratified::Device::new(bank, options))
        }
    }
}

#[derive(Debug)]
enum Model {
    Ratified(ratified::Device),
    Draft(draft::Device),
}

impl Model {
    fn bank(&self) -> &Bank {
        match self {
            Self::Ratified(device) => device.bank(),
            Self::Draft(device) => device.bank(),
        }
    }

    fn config_space(&self) -> Vec<u8> {
        match self {
            Self::Ratified(device) => device.config_space().to_vec(),
            Self::Draft(device) => device.config_space().to_vec(),
        }
    }
}

#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "an input chooses each of them alone")]
struct State {
    kind: Kind,
    model: Model,
    config: Vec<u8>,
    /// In reverse: the next act is the last. With each the number of occasions that it lets pass first.
    script: Vec<(u8, Act)>,
    /// Whether the script goes on by itself.
    scripted: bool,
    works: bool,
    now: u64,
    work: u32,
    status: DeviceStatus,
    sticky_status: bool,
    refuses_queues: bool,
    features: u64,
    driver_features: u64,
    limits: [u32; 2],
    generation: u32,
    interrupt: InterruptStatus,
    rings: [Option<Ring>; 2],
    shared: SharedBytes,
}

/// The device. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Device(Arc<Mutex<State>>);

impl Device {
    /// A device that works, until its script is started.
    pub fn new(kind: &Kind, script: Vec<(u8, Act)>) -> Self {
        let model = kind.model();
        let state = State {
            config: model.config_space(),
            model,
            script: script.into_iter().rev().collect(),
            scripted: false,
            works: true,
            now: 0,
            work: 0,
            status: DeviceStatus::empty(),
            sticky_status: false,
            refuses_queues: false,
            features: kind.features(),
            driver_features: 0,
            limits: [64; 2],
            generation: 0,
            interrupt: InterruptStatus::empty(),
            rings: [None, None],
            shared: SharedBytes::new(),
            kind: kind.clone(),
        };
        Self(Arc::new(Mutex::new(state)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // One thread uses it at a time; the corpus goes on after an input that failed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The registers.
    pub fn registers(&self) -> Registers {
        Registers(self.clone())
    }

    /// The clock.
    pub fn clock(&self) -> DeviceClock {
        DeviceClock(self.clone())
    }

    /// Memory for the driver, with a guard on either side.
    pub fn allocate(&self, length: usize) -> Option<Memory> {
        self.state().shared.allocate(length)
    }

    /// Whether the driver has given the memory back.
    pub fn memory_released(&self) -> bool {
        self.state().shared.is_released()
    }

    /// Looks at what lies around the memory that was handed out.
    pub fn check_guards(&self) {
        self.state().shared.check_guards();
    }

    /// Lets the script go on by itself from now on.
    pub fn start_script(&self) {
        self.state().scripted = true;
    }

    /// Whether there are acts left.
    pub fn has_script(&self) -> bool {
        !self.state().script.is_empty()
    }

    /// Does something now.
    pub fn act(&self, act: &Act) {
        self.state().act(act);
    }

    /// What remains of the script is forgotten, and the device behaves from now on. What it has spoilt stays so until
    /// the driver resets it.
    pub fn turn_healthy(&self) {
        let mut state = self.state();
        state.script.clear();
        state.works = true;
        state.sticky_status = false;
        state.refuses_queues = false;
        state.features = state.kind.features();
        state.limits = [64; 2];
        state.config = state.model.config_space();
    }

    /// The device asks for a reset.
    pub fn need_reset(&self) {
        let mut state = self.state();
        state.status |= DeviceStatus::NEEDS_RESET;
        state.interrupt |= InterruptStatus::CONFIG_CHANGE;
    }

    /// Lets the device work, if it does.
    pub fn run(&self) {
        self.state().work_by_itself();
    }

    /// Whether the device interrupts.
    pub fn interrupts(&self) -> bool {
        !self.state().interrupt.is_empty()
    }

    /// The present, in nanoseconds.
    pub fn now(&self) -> u64 {
        self.state().now
    }

    /// Lets time pass up to a point.
    pub fn pass_until(&self, time: u64) {
        let mut state = self.state();
        state.now = state.now.max(time);
    }

    /// Begins to count the driver's work anew.
    pub fn forget_work(&self) {
        self.state().work = 0;
    }

    /// A line as the model has it.
    pub fn line(&self, line: LineId) -> Option<gpio_model::bank::Line> {
        self.state().model.bank().line(line).ok().copied()
    }
}

impl State {
    /// The driver touches a register, or waits: the script may go on.
    fn occasion(&mut self) {
        self.work += 1;
        assert!(self.work < WORK_LIMIT, "one call of the driver does not end");
        while self.scripted
            && let Some((wait, _)) = self.script.last_mut()
        {
            if *wait > 0 {
                *wait -= 1;
                break;
            }
            if let Some((_, act)) = self.script.pop() {
                self.act(&act);
            }
        }
    }

    fn act(&mut self, act: &Act) {
        let index = |queue: bool| usize::from(queue);
        match *act {
            Act::Work => self.work(),
            Act::WorkAlways(works) => self.works = works,
            Act::Complete { queue, which, bytes, id, length } => {
                let Some(ring) = &mut self.rings[index(queue)] else { return };
                if let Some(chain) = ring.take(&self.shared, which) {
                    let written = chain.write(&self.shared, &bytes[..chain.room().min(4)]);
                    ring.push(&self.shared, id.unwrap_or(chain.head.into()), length.unwrap_or(written));
                    self.interrupt |= InterruptStatus::USED_BUFFER;
                }
            }
            Act::UsedIndex { queue, by } => {
                if let Some(ring) = &self.rings[index(queue)] {
                    ring.set_used_index(&self.shared, ring.used.wrapping_add_signed(by.into()));
                }
            }
            Act::UsedIndexTo { queue, to } => {
                if let Some(ring) = &self.rings[index(queue)] {
                    ring.set_used_index(&self.shared, to);
                }
            }
            Act::UsedElement { queue, slot, id, length } => {
                if let Some(ring) = &self.rings[index(queue)] {
                    ring.write_element(&self.shared, slot.into(), id, length);
                }
            }
            Act::Write { at, bytes } => self.shared.write(BASE + u64::from(at), &bytes),
            Act::Fill { at, count, byte } => {
                for offset in 0..u64::from(count) {
                    self.shared.write(BASE + u64::from(at) + offset, &[byte]);
                }
            }
            Act::Status(status) => self.status = DeviceStatus::from_bits_truncate(status),
            Act::Interrupt(reasons) => self.interrupt = InterruptStatus::from_bits_truncate(reasons),
            Act::Features(features) => self.features = features,
            Act::QueueLimit { queue, limit } => self.limits[index(queue)] = limit,
            Act::Config { at, byte } => {
                if let Some(place) = self.config.get_mut(usize::from(at)) {
                    *place = byte;
                }
            }
            Act::Generation(generation) => self.generation = generation.into(),
            Act::StickyStatus(sticky) => self.sticky_status = sticky,
            Act::RefuseQueues(refuses) => self.refuses_queues = refuses,
            Act::Drive { line, level } => {
                let (line, level) = (LineId(u16::from(line) % self.kind.lines()), Some(Level::from(level)));
                let known = match &mut self.model {
                    Model::Ratified(device) => device.drive(line, level),
                    Model::Draft(device) => device.drive(line, level),
                };
                assert!(known.is_ok());
            }
            Act::Send { kind, line, value } => {
                if let Model::Draft(device) = &mut self.model {
                    device.send(Message { kind, line: LineId(line.into()), value });
                }
            }
            Act::Forget => self.reset(),
        }
    }

    fn reset(&mut self) {
        self.status = DeviceStatus::empty();
        self.driver_features = 0;
        self.rings = [None, None];
        self.interrupt = InterruptStatus::empty();
        match &mut self.model {
            Model::Ratified(device) => device.reset(),
            Model::Draft(device) => device.reset(),
        }
    }

    fn set_status(&mut self, status: DeviceStatus) {
        if status.is_empty() {
            if !self.sticky_status {
                self.reset();
            }
            return;
        }
        let started = status.difference(self.status).contains(DeviceStatus::DRIVER_OK);
        self.status = status;
        if started {
            match &mut self.model {
                Model::Ratified(device) => device.set_features(self.driver_features),
                Model::Draft(device) => device.set_driver_ready(true),
            }
        }
    }

    fn work_by_itself(&mut self) {
        if self.works && self.status.contains(DeviceStatus::DRIVER_OK) {
            self.work();
        }
    }

    fn work(&mut self) {
        let Self { model, rings, shared, interrupt, .. } = self;
        let mut pushed = false;
        match (model, rings) {
            (Model::Ratified(device), [Some(requests), events]) => {
                while let Some(chain) = requests.take(shared, 0) {
                    let mut bytes = vec![0; chain.room().min(1 + device.names_size().max(1))];
                    let written = device.request(&chain.read(shared), &mut bytes);
                    let written = chain.write(shared, &bytes[..written]);
                    requests.push(shared, chain.head.into(), written);
                    pushed = true;
                }
                let Some(events) = events else { return self.raise(pushed) };
                while let Some(chain) = events.pop(shared) {
                    device.queue_event(Token(chain.head), &chain.read(shared), chain.room());
                    events.held.push(chain);
                }
                while let Some((Token(head), status)) = device.pop_event() {
                    let Some(place) = events.held.iter().position(|chain| chain.head == head) else { continue };
                    let chain = events.held.swap_remove(place);
                    let written = chain.write(shared, &[status.code()]);
                    events.push(shared, head.into(), written);
                    pushed = true;
                }
            }
            (Model::Draft(device), [Some(receive), Some(transmit)]) => {
                pushed = deliver(device, receive, shared);
                while device.next_message().is_none()
                    && let Some(chain) = transmit.take(shared, 0)
                {
                    device.transmit(&chain.read(shared));
                    transmit.push(shared, chain.head.into(), 0);
                    deliver(device, receive, shared);
                    pushed = true;
                }
            }
            _ => (),
        }
        if pushed {
            *interrupt |= InterruptStatus::USED_BUFFER;
        }
    }

    fn raise(&mut self, pushed: bool) {
        if pushed {
            self.interrupt |= InterruptStatus::USED_BUFFER;
        }
    }

    fn config<const N: usize>(&self, offset: u16) -> [u8; N] {
        let offset = usize::from(offset);
        self.config.get(offset..offset + N).and_then(|bytes| bytes.try_into().ok()).unwrap_or([0xff; N])
    }
}

/// Puts the draft's messages into receive buffers. Returns whether there was something to deliver.
fn deliver(device: &mut draft::Device, receive: &mut Ring, shared: &SharedBytes) -> bool {
    let mut delivered = false;
    while let Some(message) = device.next_message()
        && let Some(chain) = receive.take(shared, 0)
    {
        let bytes = message.encode();
        let written = chain.write(shared, &bytes[..chain.room().min(bytes.len())]);
        receive.push(shared, chain.head.into(), written);
        device.message_sent();
        delivered = true;
    }
    delivered
}

/// The registers of a device.
#[derive(Debug)]
pub struct Registers(Device);

impl Registers {
    fn touch(&self) -> MutexGuard<'_, State> {
        let mut state = self.0.state();
        state.occasion();
        state
    }
}

impl Transport for Registers {
    fn device_id(&self) -> u32 {
        if self.touch().kind.draft { 30 } else { 41 }
    }

    fn is_legacy(&self) -> bool {
        self.0.state().kind.legacy
    }

    fn device_features(&self) -> u64 {
        let state = self.touch();
        // A legacy transport has 32 of them.
        if state.kind.legacy { state.features & 0xffff_ffff } else { state.features }
    }

    fn set_driver_features(&self, features: u64) {
        self.touch().driver_features = features;
    }

    fn status(&self) -> DeviceStatus {
        self.touch().status
    }

    fn set_status(&self, status: DeviceStatus) {
        self.touch().set_status(status);
    }

    fn max_queue_size(&self, queue: u16) -> u32 {
        self.touch().limits.get(usize::from(queue)).copied().unwrap_or(0)
    }

    fn set_queue(&self, queue: u16, addresses: &QueueAddresses) -> Result<(), QueueSetupError> {
        let mut state = self.touch();
        if state.refuses_queues {
            return Err(QueueSetupError::InUse);
        }
        let ring = state.rings.get_mut(usize::from(queue)).ok_or(QueueSetupError::InUse)?;
        *ring = Some(Ring::new(addresses));
        Ok(())
    }

    fn notify(&self, _queue: u16) {
        self.touch().work_by_itself();
    }

    fn acknowledge_interrupt(&self) -> InterruptStatus {
        std::mem::replace(&mut self.touch().interrupt, InterruptStatus::empty())
    }

    fn config_generation(&self) -> u32 {
        self.touch().generation
    }

    fn read_config_u8(&self, offset: u16) -> u8 {
        let [byte] = self.touch().config(offset);
        byte
    }

    fn read_config_u16(&self, offset: u16) -> u16 {
        u16::from_le_bytes(self.touch().config(offset))
    }

    fn read_config_u32(&self, offset: u16) -> u32 {
        u32::from_le_bytes(self.touch().config(offset))
    }
}

/// Simulated time.
#[derive(Debug)]
pub struct DeviceClock(Device);

impl DeviceClock {
    /// Lets the device do something, and time pass: not much beyond a deadline.
    fn look(&self, deadline: u64) {
        let mut state = self.0.state();
        let cost = if state.work < MUCH_WORK { LOOK } else { SLOW_LOOK };
        state.now += cost.min(deadline.saturating_sub(state.now)).max(LOOK);
        state.occasion();
        state.work_by_itself();
    }
}

impl Clock for DeviceClock {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.0.now())
    }

    fn relax(&self) {
        // Callers do so for microseconds.
        self.look(0);
    }

    fn wait(&self, deadline: Instant, idle: &dyn Fn() -> bool) {
        self.look(deadline.as_nanos());
        if !idle() {
            return;
        }
        let mut state = self.0.state();
        let left = deadline.as_nanos().saturating_sub(state.now);
        // Where the script goes on, it may do so in the middle of the wait.
        let step = if state.script.is_empty() { left } else { (left / 4).max(1_000_000).min(left) };
        state.now += step;
    }
}

/// Does one call of the driver, which must end in bounded work and by its deadline.
pub fn bounded<T>(device: &Device, most: Duration, call: impl FnOnce() -> T) -> T {
    let start = device.now();
    device.forget_work();
    let result = call();
    let took = Duration::from_nanos(device.now() - start);
    assert!(took <= most, "a call took {took:?}, more than {most:?}");
    result
}
