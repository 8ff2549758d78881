//! The driver against a device that does anything, in its memory and in its registers, at any moment.
//!
//! Whatever comes: every call ends in bounded work and by its deadline, nothing outside the shared memory is written, no
//! descriptor is lost or gained, and the driver tells the application of no line that it does not have. When the device
//! behaves again, the chip recovers or says that it was given up; after another reset the lines are as the driver says.

use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use virtio_gpio::fence::CoherentFence;
use virtio_gpio::memory::DmaMemory;
use virtio_gpio::{
    Chip, DescriptorSlot, Direction, Error, EventSlot, Identified, Input as InputPin, InterruptType, Level, Line,
    LineId, LineSlot, Options, Output, Parts, Pending, RequestSlot, Sizes, Storage,
};

use crate::device::{Act, Device, Hostile, Kind, bounded};

/// How much room a chip gets, and its options.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// The driver's options.
    pub options: Options,
    /// Requests under way at once.
    pub requests: usize,
    /// Lines in use at once.
    pub lines: u16,
    /// Events that wait.
    pub events: usize,
    /// Bytes of names.
    pub names: usize,
}

impl Default for Plan {
    fn default() -> Self {
        Self { options: Options::default(), requests: 8, lines: 4, events: 4, names: 64 }
    }
}

/// Storage for one chip.
#[derive(Debug, Default)]
pub struct Bench {
    descriptors: Vec<DescriptorSlot>,
    requests: Vec<RequestSlot>,
    lines: Vec<LineSlot>,
    events: Vec<EventSlot>,
    names: Vec<u8>,
}

impl Bench {
    /// Sets the device up. `None` if the driver refuses it.
    pub fn chip(&mut self, device: &Device, plan: &Plan) -> Option<Chip<'_, Hostile>> {
        let clock = device.clock();
        let identified = Identified::new(device.registers(), &clock, None).ok()?;
        let sizes = Sizes::new(&identified, &plan.options, plan.lines, plan.names, 1).ok()?;
        let memory = device.allocate(sizes.memory)?;
        assert!(memory.len() >= sizes.memory);
        self.descriptors = vec![DescriptorSlot::EMPTY; sizes.descriptors];
        self.requests = vec![RequestSlot::EMPTY; plan.requests];
        self.lines = vec![LineSlot::EMPTY; plan.lines.into()];
        self.events = vec![EventSlot::EMPTY; plan.events];
        self.names = vec![0; sizes.names];
        let storage = Storage {
            descriptors: &mut self.descriptors,
            requests: &mut self.requests,
            lines: &mut self.lines,
            events: &mut self.events,
            names: &mut self.names,
        };
        Chip::new(identified, &sizes, Parts { memory, fence: CoherentFence, clock }, storage, plan.options).ok()
    }
}

/// What the application does next.
#[derive(Debug, Arbitrary)]
enum Step {
    Take { line: u8 },
    IntoInput { pin: u8 },
    IntoOutput { pin: u8, high: bool },
    Set { pin: u8, high: bool },
    Start { pin: u8, high: bool, notify: bool },
    Outcome { pending: u8 },
    WaitFor { pending: u8 },
    DropPending { pending: u8 },
    Level { pin: u8 },
    Direction { pin: u8 },
    Watch { pin: u8, kind: u8 },
    Unmask { pin: u8 },
    Release { pin: u8 },
    Drop { pin: u8 },
    HandleInterrupt,
    InterruptEnabled,
    Poll,
    Notify,
    TakeEvents,
    TakeNotices,
    Idle { milliseconds: u16 },
    Device(Act),
}

#[derive(Debug, Arbitrary)]
struct Input {
    kind: Kind,
    timeout: u16,
    queue_sizes: [u8; 2],
    in_flight: u8,
    requests: u8,
    lines: u8,
    events: u8,
    /// The script starts with the set-up; otherwise behind it.
    from_the_start: bool,
    script: Vec<(u8, Act)>,
    steps: Vec<Step>,
}

impl Input {
    fn plan(&self) -> Plan {
        let size = |size: u8| 2 << (size % 5);
        Plan {
            options: Options {
                timeout: Duration::from_millis(u64::from(self.timeout % 1000) + 1),
                request_queue_size: size(self.queue_sizes[0]),
                event_queue_size: size(self.queue_sizes[1]),
                draft_requests_in_flight: u16::from(self.in_flight % 4) + 1,
                poll_limit: Duration::from_micros(u64::from(self.in_flight / 4)),
            },
            requests: usize::from(self.requests % 6) + 1,
            lines: u16::from(self.lines % 4) + 1,
            events: usize::from(self.events % 4) + 1,
            names: 64,
        }
    }
}

/// Lets application and device do what the input says.
pub fn run(data: &[u8]) {
    let Ok(mut input) = Input::arbitrary_take_rest(Unstructured::new(data)) else { return };
    input.kind.names.truncate(96);
    let plan = input.plan();
    let device = Device::new(&input.kind, std::mem::take(&mut input.script));
    if input.from_the_start {
        device.start_script();
    }
    let mut bench = Bench::default();
    // One second for each of two resets, five for the names, and one more request for them.
    let set_up = Duration::from_secs(7) + plan.options.timeout * 2;
    let chip = bounded(&device, set_up, || bench.chip(&device, &plan));
    device.check_guards();
    let Some(chip) = chip else { return };
    device.start_script();
    let mut application = Application::new(&device, &chip, plan.options.timeout);
    for step in &input.steps {
        application.step(step);
        application.check();
    }
    device.check_guards();
    application.pendings.clear();
    device.turn_healthy();
    // A device that was taken for one of the other protocol behaves as little as before.
    if chip.protocol() == input.kind.protocol() {
        application.see_it_through();
    }
    drop(application);
    bounded(&device, Duration::from_secs(2), || drop(chip));
    assert!(device.memory_released(), "a device that confirms its reset gives the memory back");
    device.check_guards();
}

/// A line in use, as what it is.
#[derive(Debug)]
enum Pin<'c> {
    Line(Line<'c>),
    Input(InputPin<'c>),
    Output(Output<'c>),
}

struct Application<'c, 's> {
    device: &'c Device,
    chip: &'c Chip<'s, Hostile>,
    timeout: Duration,
    pins: Vec<Pin<'c>>,
    pendings: Vec<Pending<'c>>,
}

const KINDS: [InterruptType; 6] = [
    InterruptType::None,
    InterruptType::RisingEdge,
    InterruptType::FallingEdge,
    InterruptType::BothEdges,
    InterruptType::HighLevel,
    InterruptType::LowLevel,
];

impl<'c, 's> Application<'c, 's> {
    fn new(device: &'c Device, chip: &'c Chip<'s, Hostile>, timeout: Duration) -> Self {
        Self { device, chip, timeout, pins: Vec::new(), pendings: Vec::new() }
    }

    /// A call that waits for so many requests at most, and for a slot before them.
    fn waits<T>(&self, requests: u32, call: impl FnOnce() -> T) -> T {
        bounded(self.device, self.timeout * (requests + 1) + Duration::from_millis(1), call)
    }

    /// A call that does not wait.
    fn at_once<T>(&self, call: impl FnOnce() -> T) -> T {
        bounded(self.device, Duration::ZERO, call)
    }

    fn take_pin(&mut self, pin: u8) -> Option<Pin<'c>> {
        let count = self.pins.len();
        (count > 0).then(|| self.pins.swap_remove(usize::from(pin) % count))
    }

    fn step(&mut self, step: &Step) {
        let chip = self.chip;
        match *step {
            Step::Take { line } => {
                if let Ok(line) = self.waits(1, || chip.line(LineId(line.into()))) {
                    assert!(line.id().0 < chip.lines());
                    self.pins.push(Pin::Line(line));
                }
            }
            Step::IntoInput { pin } => {
                let Some(pin) = self.take_pin(pin) else { return };
                let pin = self.waits(1, || match pin {
                    Pin::Line(line) => line.into_input().map_or_else(|rejected| Pin::Line(rejected.pin), Pin::Input),
                    Pin::Output(output) => {
                        output.into_input().map_or_else(|rejected| Pin::Output(rejected.pin), Pin::Input)
                    }
                    Pin::Input(_) => pin,
                });
                self.pins.push(pin);
            }
            Step::IntoOutput { pin, high } => {
                let Some(pin) = self.take_pin(pin) else { return };
                // An input that is watched is no longer, before.
                let pin = self.waits(2, || match pin {
                    Pin::Line(line) => {
                        line.into_output(high.into()).map_or_else(|rejected| Pin::Line(rejected.pin), Pin::Output)
                    }
                    Pin::Input(input) => {
                        input.into_output(high.into()).map_or_else(|rejected| Pin::Input(rejected.pin), Pin::Output)
                    }
                    Pin::Output(_) => pin,
                });
                self.pins.push(pin);
            }
            Step::Set { pin, high } => {
                let Some(mut pin) = self.take_pin(pin) else { return };
                if let Pin::Output(output) = &mut pin {
                    let result = self.waits(1, || output.set(high.into()));
                    if result.is_ok() {
                        assert_eq!(output.level_set(), Some(high.into()));
                    }
                }
                self.pins.push(pin);
            }
            _ => self.other_step(step),
        }
    }

    fn other_step(&mut self, step: &Step) {
        let chip = self.chip;
        let number = |pin: u8| usize::from(pin).checked_rem(self.pins.len()).unwrap_or(0);
        let pending = |pending: u8| usize::from(pending).checked_rem(self.pendings.len());
        match *step {
            Step::Start { pin, high, notify } => {
                let number = number(pin);
                let device = self.device;
                if self.pendings.len() < 16
                    && let Some(Pin::Output(output)) = self.pins.get_mut(number)
                {
                    let started = bounded(device, Duration::ZERO, || {
                        if notify { output.start_set(high.into()) } else { output.queue_set(high.into()) }
                    });
                    self.pendings.extend(started);
                }
            }
            Step::Outcome { pending: number } => {
                if let Some(number) = pending(number) {
                    let mut pending = self.pendings.swap_remove(number);
                    let done = pending.is_done();
                    let outcome = self.at_once(|| pending.outcome());
                    assert_eq!(outcome.is_some(), done);
                    if outcome.is_none() {
                        self.pendings.push(pending);
                    }
                }
            }
            Step::WaitFor { pending: number } => {
                if let Some(number) = pending(number) {
                    let pending = self.pendings.swap_remove(number);
                    let _ = self.waits(1, || pending.wait());
                }
            }
            Step::DropPending { pending: number } => {
                if let Some(number) = pending(number) {
                    let pending = self.pendings.swap_remove(number);
                    self.at_once(|| drop(pending));
                }
            }
            Step::Level { pin } => match self.pins.get(number(pin)) {
                Some(Pin::Input(input)) => drop(self.waits(1, || input.level())),
                Some(Pin::Output(output)) => drop(self.waits(1, || output.level())),
                Some(Pin::Line(_)) | None => (),
            },
            Step::Direction { pin } => match self.pins.get(number(pin)) {
                Some(Pin::Line(line)) => drop(self.waits(1, || line.direction())),
                Some(Pin::Input(input)) => drop(self.waits(1, || input.direction())),
                Some(Pin::Output(output)) => drop(self.waits(1, || output.direction())),
                None => (),
            },
            Step::Watch { pin, kind } => {
                let Some(mut pin) = self.take_pin(pin) else { return };
                if let Pin::Input(input) = &mut pin {
                    let _ = self.waits(3, || input.watch(KINDS[usize::from(kind) % KINDS.len()]));
                }
                self.pins.push(pin);
            }
            Step::Unmask { pin } => {
                let (number, device) = (number(pin), self.device);
                if let Some(Pin::Input(input)) = self.pins.get_mut(number) {
                    bounded(device, Duration::ZERO, || input.unmask());
                }
            }
            Step::Release { pin } => {
                let Some(pin) = self.take_pin(pin) else { return };
                let _ = self.waits(2, || match pin {
                    Pin::Line(line) => line.release(),
                    Pin::Input(input) => input.release(),
                    Pin::Output(output) => output.release(),
                });
            }
            Step::Drop { pin } => {
                let pin = self.take_pin(pin);
                self.at_once(|| drop(pin));
            }
            Step::HandleInterrupt => _ = self.at_once(|| chip.handle_interrupt()),
            Step::InterruptEnabled => self.at_once(|| chip.interrupt_enabled()),
            Step::Poll => self.at_once(|| chip.poll()),
            Step::Notify => self.at_once(|| chip.notify()),
            Step::TakeEvents => self.take_events(),
            Step::TakeNotices => while self.at_once(|| chip.next_notice()).is_some() {},
            Step::Idle { milliseconds } => self.idle(Duration::from_millis(milliseconds.into()), 8),
            Step::Device(ref act) => self.device.act(act),
            Step::Take { .. } | Step::IntoInput { .. } | Step::IntoOutput { .. } | Step::Set { .. } => (),
        }
    }

    fn take_events(&self) {
        while let Some(event) = self.at_once(|| self.chip.next_event()) {
            assert!(event.line.0 < self.chip.lines(), "{event:?}");
        }
    }

    /// What always holds.
    fn check(&self) {
        let resources = self.chip.resources();
        assert!(resources.free <= resources.descriptors, "{resources:?}");
        let _ = (self.chip.is_idle(), self.chip.has_event_under_way());
        assert!(!(self.chip.has_failed() && self.chip.is_recovering()));
    }

    /// Lets time pass as an idle application does: interrupts are handed over, and deadlines kept. So many interrupts at
    /// one moment are handed over at most.
    fn idle(&self, time: Duration, most_interrupts: u32) {
        let (device, chip) = (self.device, self.chip);
        let end = device.now() + u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 2);
        for _ in 0..20_000 {
            device.run();
            for _ in 0..most_interrupts {
                if !device.interrupts() {
                    break;
                }
                self.at_once(|| chip.handle_interrupt());
                device.run();
            }
            self.at_once(|| chip.poll());
            device.run();
            let now = device.now();
            if now >= end {
                return;
            }
            let due = chip.next_deadline().map_or(end, |due| due.as_nanos().min(end));
            device.pass_until(due.max(now + 1_000));
        }
        panic!("the driver wants to be polled all the time");
    }

    /// The device behaves: the chip recovers or has been given up, and so does every line.
    fn see_it_through(&mut self) {
        self.settle();
        if self.chip.has_failed() {
            return;
        }
        // A reset more, so that the device's state is what the driver made of it and nothing else.
        let resets = self.chip.statistics().resets;
        self.device.need_reset();
        self.settle();
        if self.chip.has_failed() {
            return;
        }
        assert!(self.chip.statistics().resets > resets, "the reset that the device asked for was carried out");
        for _ in 0..3 {
            for pin in &mut self.pins {
                let Pin::Output(output) = pin else { continue };
                let level = output.level_set().map_or(Level::High, Level::toggled);
                let result = bounded(self.device, self.timeout * 2 + Duration::from_millis(1), || output.set(level));
                if result == Err(Error::LineLost) {
                    continue;
                }
                assert_eq!(result, Ok(()), "a line of a device that behaves");
                let line = self.device.line(output.id()).expect("the line exists");
                assert_eq!((line.direction, line.level()), (Direction::Output, level), "{:?}", output.id());
            }
        }
        for pin in &self.pins {
            if let Pin::Input(input) = pin {
                match self.waits(1, || input.level()) {
                    Ok(level) => {
                        let line = self.device.line(input.id()).expect("the line exists");
                        assert_eq!((line.direction, line.level()), (Direction::Input, level), "{:?}", input.id());
                    }
                    Err(error) => assert_eq!(error, Error::LineLost),
                }
            }
        }
        self.idle(Duration::from_millis(100), 1000);
        self.take_events();
        self.idle(Duration::from_secs(2), 1000);
        let resources = self.chip.resources();
        assert!(resources.is_at_rest(), "something is missing: {resources:?}");
    }

    /// Waits until the chip runs or has failed. It takes half a minute at most, and a reset more.
    fn settle(&self) {
        for _ in 0..10 {
            self.idle(Duration::from_secs(10), 1000);
            self.take_events();
            if !self.chip.is_recovering() {
                return;
            }
        }
        panic!("neither usable nor given up");
    }
}
