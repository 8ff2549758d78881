//! Places to try things: a device with a chip on it, and the seams by themselves. What a check sees of either does not depend
//! on the kernel's types, so that the checks are in a program once.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU8, Ordering};

use gpio_loopback::{Bus, Direct, Machine, Registers, Settings};
use gpio_model::bank::Bank;
use gpio_model::names::{Names, NamesError};
use gpio_model::observe::Activity;
use gpio_model::{draft, ratified};
use virtio_gpio::clock::{Clock, Instant};
use virtio_gpio::fence::Fence;
use virtio_gpio::memory::DmaMemory;
use virtio_gpio::messages::ratified::Request;
use virtio_gpio::transport::Transport;
use virtio_gpio::{
    Chip, DescriptorSlot, Event, EventSlot, Identified, Input, InterruptType, Level, Line, LineId, LineSlot, Notice,
    Options, Output, Parts, Protocol, RequestSlot, Resources, SetupError, Sizes, Statistics, Storage, Trigger,
};

use crate::kernel::{Kernel, MEMORY_SIZE, Seams, Shows};
use crate::outcome::{Failure, Outcome, ensure};
use crate::watch::{Watch, WatchedClock};

/// The IDs of the two protocols' devices.
pub(crate) const RATIFIED: u32 = 41;
pub(crate) const DRAFT: u32 = 30;
/// Lines of the devices here.
pub(crate) const LINES: u16 = 8;
/// Interrupts in a row after which driver and device keep each other busy for ever.
const STORM: u32 = 10_000;

/// A modern device of the ratified protocol.
pub(crate) fn ratified() -> Machine {
    ratified_with(Settings::new(RATIFIED), ratified::Options::default())
}

pub(crate) fn ratified_with(settings: Settings, options: ratified::Options) -> Machine {
    Machine::ratified(Bank::new(LINES), options, settings)
}

/// A device of the draft.
pub(crate) fn draft() -> Machine {
    draft_with(Settings::new(DRAFT), draft::Options::default())
}

pub(crate) fn draft_with(settings: Settings, options: draft::Options) -> Machine {
    Machine::draft(Bank::new(LINES), options, settings)
}

pub(crate) fn legacy(id: u32) -> Settings {
    Settings { legacy: true, ..Settings::new(id) }
}

impl From<NamesError> for Failure {
    fn from(error: NamesError) -> Self {
        Self::new(error)
    }
}

/// Names for lines: those given, and none for the others.
pub(crate) fn names(names: &[&str]) -> Outcome<Names> {
    let all: Vec<&str> = names.iter().copied().chain(core::iter::repeat("")).take(LINES.into()).collect();
    Ok(Names::new(&all)?)
}

/// What a chip is set up with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) options: Options,
    pub(crate) names: usize,
}

impl Default for Plan {
    fn default() -> Self {
        let options = Options { request_queue_size: 16, event_queue_size: 16, ..Options::default() };
        Self { options, names: 256 }
    }
}

/// A chip on any kernel's seams: those of its functions that the checks need.
pub(crate) trait AnyChip: Sync {
    fn protocol(&self) -> Protocol;
    fn line(&self, line: LineId) -> Result<Line<'_>, virtio_gpio::Error>;
    fn find(&self, name: &str) -> Option<LineId>;
    /// A line's name, as a console would show it.
    fn name(&self, line: LineId) -> Option<String>;
    fn device_name(&self) -> Option<String>;
    fn handle_interrupt(&self) -> bool;
    fn next_event(&self) -> Option<Event>;
    fn next_notice(&self) -> Option<Notice>;
    fn statistics(&self) -> Statistics;
    fn resources(&self) -> Resources;
}

impl<K: Kernel> AnyChip for Chip<'_, Seams<K>> {
    fn protocol(&self) -> Protocol {
        Chip::protocol(self)
    }

    fn line(&self, line: LineId) -> Result<Line<'_>, virtio_gpio::Error> {
        Chip::line(self, line)
    }

    fn find(&self, name: &str) -> Option<LineId> {
        Chip::find(self, name)
    }

    fn name(&self, line: LineId) -> Option<String> {
        Chip::name(self, line).map(|name| alloc::format!("{name}"))
    }

    fn device_name(&self) -> Option<String> {
        Chip::device_name(self).map(|name| alloc::format!("{name}"))
    }

    fn handle_interrupt(&self) -> bool {
        Chip::handle_interrupt(self)
    }

    fn next_event(&self) -> Option<Event> {
        Chip::next_event(self)
    }

    fn next_notice(&self) -> Option<Notice> {
        Chip::next_notice(self)
    }

    fn statistics(&self) -> Statistics {
        Chip::statistics(self)
    }

    fn resources(&self) -> Resources {
        Chip::resources(self)
    }
}

/// A device with a chip on it.
pub(crate) struct Desk<'d> {
    pub(crate) machine: &'d Machine,
    pub(crate) chip: &'d dyn AnyChip,
    rig: &'d dyn Rig,
}

impl<'d> Desk<'d> {
    pub(crate) fn line(&self, line: u16) -> Outcome<Line<'d>> {
        Ok(self.chip.line(LineId(line))?)
    }

    pub(crate) fn input(&self, line: u16) -> Outcome<Input<'d>> {
        Ok(self.line(line)?.into_input()?)
    }

    pub(crate) fn output(&self, line: u16, level: Level) -> Outcome<Output<'d>> {
        Ok(self.line(line)?.into_output(level)?)
    }

    pub(crate) fn watched(&self, line: u16, kind: InterruptType) -> Outcome<Input<'d>> {
        let mut input = self.input(line)?;
        input.watch(kind)?;
        Ok(input)
    }

    /// Hands one interrupt over, by the kernel's way, with something that happens at the end of its handler.
    pub(crate) fn interrupt(&self, at_the_end: &mut (dyn FnMut() + Send)) {
        let chip = self.chip;
        self.rig.interrupt(&self.machine.registers(), &mut || {
            chip.handle_interrupt();
            at_the_end();
        });
    }

    /// Runs the device and hands its interrupts over, until neither has anything to do.
    pub(crate) fn pump(&self) -> Outcome {
        for _ in 0..STORM {
            self.machine.run();
            if !self.machine.interrupt_raised() {
                return Ok(());
            }
            self.interrupt(&mut || ());
        }
        Err(Failure::new("the interrupt is raised again and again: acknowledging does not lower it"))
    }

    /// Drives a line from outside and lets driver and device do what follows from it.
    pub(crate) fn drive(&self, line: u16, level: Level) -> Outcome {
        self.machine.drive(LineId(line), Some(level));
        self.pump()
    }

    /// Line and trigger of the events that wait.
    pub(crate) fn triggers(&self) -> Vec<(u16, Trigger)> {
        core::iter::from_fn(|| self.chip.next_event()).map(|event| (event.line.0, event.trigger)).collect()
    }

    pub(crate) fn notices(&self) -> Vec<Notice> {
        core::iter::from_fn(|| self.chip.next_notice()).collect()
    }

    /// The requests of the ratified protocol that the device saw since it was last asked.
    pub(crate) fn requests(&self) -> Outcome<Vec<Request>> {
        let mut requests = Vec::new();
        for activity in self.machine.take_activities() {
            if let Activity::Request { request, .. } = activity {
                ensure!(request.is_ok(), "a request that is none: {request:?}");
                requests.extend(request);
            }
        }
        Ok(requests)
    }

    /// The messages of the draft that the device saw since it was last asked: type, line, value.
    pub(crate) fn messages(&self) -> Vec<(u16, u16, i32)> {
        let message = |activity: &Activity| match activity {
            Activity::Message { request, .. } => Some((request.kind, request.line.0, request.value)),
            _ => None,
        };
        self.machine.take_activities().iter().filter_map(message).collect()
    }
}

/// A kernel's seams without a driver on them.
pub(crate) struct Raw<'r> {
    pub(crate) transport: &'r dyn Transport,
    pub(crate) fence: &'r dyn Fence,
    pub(crate) memory: RawMemory<'r>,
    pub(crate) bus: &'r dyn Bus,
}

/// A piece of the kernel's memory.
pub(crate) struct RawMemory<'r> {
    base: NonNull<u8>,
    pub(crate) len: usize,
    pub(crate) address: u64,
    pub(crate) granule: usize,
    pub(crate) sync_for_device: &'r dyn Fn(Range<usize>),
    pub(crate) sync_for_driver: &'r dyn Fn(Range<usize>),
}

impl RawMemory<'_> {
    /// The processor's address of the first byte.
    pub(crate) fn processor_address(&self) -> usize {
        self.base.addr().get()
    }

    /// One byte. The accesses of driver and device are atomic, and so are those here.
    fn byte(&self, offset: usize) -> Option<&AtomicU8> {
        (offset < self.len).then(|| {
            #[expect(unsafe_code, reason = "reaches memory by a pointer")]
            // SAFETY: within the memory.
            let place = unsafe { self.base.add(offset) };
            #[expect(unsafe_code, reason = "reaches memory by a pointer")]
            // SAFETY: `DmaMemory` promises that the byte is there and can be read and written; it outlives this.
            unsafe {
                AtomicU8::from_ptr(place.as_ptr())
            }
        })
    }

    /// Where the device finds a byte.
    pub(crate) fn device_address(&self, offset: usize) -> u64 {
        self.address.wrapping_add(offset as u64)
    }

    /// Writes bytes, as the driver does. What is beyond the end is dropped.
    pub(crate) fn store(&self, offset: usize, bytes: &[u8]) {
        for (offset, &byte) in (offset..).zip(bytes) {
            if let Some(place) = self.byte(offset) {
                place.store(byte, Ordering::Relaxed);
            }
        }
    }

    /// Reads bytes, as the driver does. What is beyond the end is zero.
    pub(crate) fn load<const N: usize>(&self, offset: usize) -> [u8; N] {
        let mut bytes = [0; N];
        for (offset, byte) in (offset..).zip(&mut bytes) {
            *byte = self.byte(offset).map_or(0, |place| place.load(Ordering::Relaxed));
        }
        bytes
    }
}

/// Where checks take place: a kernel, whatever its types.
pub(crate) trait Rig {
    /// Runs `test` with a chip on the machine's device, and looks at the end whether the driver kept the rules.
    fn with_plan(&self, machine: &Machine, plan: &Plan, test: &mut dyn FnMut(&Desk<'_>) -> Outcome) -> Outcome;

    /// Why the machine's device cannot be set up, if it cannot.
    fn refusal(&self, machine: &Machine) -> Outcome<Option<SetupError>>;

    /// Runs `test` with the seams alone.
    fn raw(&self, machine: &Machine, test: &mut dyn FnMut(&Raw<'_>) -> Outcome) -> Outcome;

    fn interrupt(&self, registers: &Registers, handler: &mut (dyn FnMut() + Send));
    fn shows(&self) -> Shows;

    /// The kernel's clock as it is.
    fn now(&self) -> Instant;
    fn wait(&self, deadline: Instant, idle: &dyn Fn() -> bool);
    fn watch(&self) -> &Watch;
}

impl dyn Rig + '_ {
    /// [`with_plan`](Rig::with_plan), as most checks need it.
    pub(crate) fn with_chip(&self, machine: &Machine, mut test: impl FnMut(&Desk<'_>) -> Outcome) -> Outcome {
        self.with_plan(machine, &Plan::default(), &mut test)
    }
}

/// A kernel with what is known of it.
pub(crate) struct Ground<'k, K: Kernel> {
    kernel: &'k K,
    clock: K::Clock,
    watch: Arc<Watch>,
}

/// Why there is no chip.
enum NoChip {
    Memory,
    Refused(SetupError),
}

impl From<NoChip> for Failure {
    fn from(reason: NoChip) -> Self {
        match reason {
            NoChip::Memory => Self::new("Kernel::memory gives none, or too little"),
            NoChip::Refused(error) => error.into(),
        }
    }
}

impl<'k, K: Kernel> Ground<'k, K> {
    pub(crate) fn new(kernel: &'k K) -> Self {
        Self { kernel, clock: kernel.clock(), watch: Watch::new() }
    }

    /// Memory, connected to the machine.
    fn memory(&self, machine: &Machine) -> Result<(K::Memory, Arc<dyn Bus>), NoChip> {
        let memory = self.kernel.memory().filter(|memory| memory.len() >= MEMORY_SIZE).ok_or(NoChip::Memory)?;
        let direct = || -> Arc<dyn Bus> {
            #[expect(unsafe_code, reason = "lends memory to the simulated device")]
            // SAFETY: both callers of this function disconnect the machine before the memory is dropped, and let go of the
            // bus; only `Chip::new` drops it before, after a reset, and a machine whose device is not live accesses nothing.
            Arc::new(unsafe { Direct::new(&memory) })
        };
        let bus = self.kernel.bus(&memory).unwrap_or_else(direct);
        machine.connect(bus.clone());
        Ok((memory, bus))
    }

    fn set_up<R>(
        &self,
        machine: &Machine,
        plan: &Plan,
        test: impl FnOnce(&Chip<'_, Seams<K>>) -> R,
    ) -> Result<R, NoChip> {
        let clock = || WatchedClock::new(self.kernel.clock(), self.watch.clone(), machine.clone());
        let transport = self.kernel.transport(machine.registers());
        let device =
            Identified::new(transport, &clock(), None).map_err(|(error, _transport)| NoChip::Refused(error))?;
        let (memory, _) = self.memory(machine)?;
        let sizes = Sizes::new(&device, &plan.options, LINES, plan.names, memory.granule()).map_err(NoChip::Refused)?;
        let mut descriptors = vec![DescriptorSlot::EMPTY; sizes.descriptors];
        let mut names = vec![0; sizes.names];
        let storage = Storage {
            descriptors: &mut descriptors,
            requests: &mut [RequestSlot::EMPTY; 8],
            lines: &mut vec![LineSlot::EMPTY; LINES.into()],
            events: &mut vec![EventSlot::EMPTY; 32],
            names: &mut names,
        };
        let parts = Parts { memory, fence: self.kernel.fence(), clock: clock() };
        let chip = Chip::new(device, &sizes, parts, storage, plan.options);
        let result = chip.as_ref().map(test).map_err(|error| NoChip::Refused(*error));
        machine.disconnect();
        drop(chip);
        result
    }
}

impl<K: Kernel> Rig for Ground<'_, K> {
    fn with_plan(&self, machine: &Machine, plan: &Plan, test: &mut dyn FnMut(&Desk<'_>) -> Outcome) -> Outcome {
        let outcome = self.set_up(machine, plan, |chip| test(&Desk { machine, chip, rig: self }));
        // What the driver did is the cause of what the check found.
        if let Some(violation) = machine.violations().first() {
            return Err(Failure::new(violation));
        }
        outcome?
    }

    fn refusal(&self, machine: &Machine) -> Outcome<Option<SetupError>> {
        match self.set_up(machine, &Plan::default(), |_| ()) {
            Ok(()) => Ok(None),
            Err(NoChip::Refused(error)) => Ok(Some(error)),
            Err(reason @ NoChip::Memory) => Err(reason.into()),
        }
    }

    fn raw(&self, machine: &Machine, test: &mut dyn FnMut(&Raw<'_>) -> Outcome) -> Outcome {
        let (memory, bus) = self.memory(machine)?;
        let outcome = test(&Raw {
            transport: &self.kernel.transport(machine.registers()),
            fence: &self.kernel.fence(),
            memory: RawMemory {
                base: memory.base(),
                len: memory.len(),
                address: memory.device_address(),
                granule: memory.granule(),
                sync_for_device: &|range| memory.sync_for_device(range),
                sync_for_driver: &|range| memory.sync_for_driver(range),
            },
            bus: &*bus,
        });
        machine.disconnect();
        outcome
    }

    fn interrupt(&self, registers: &Registers, handler: &mut (dyn FnMut() + Send)) {
        self.kernel.interrupt(registers, handler);
    }

    fn shows(&self) -> Shows {
        self.kernel.shows()
    }

    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn wait(&self, deadline: Instant, idle: &dyn Fn() -> bool) {
        self.clock.wait(deadline, idle);
    }

    fn watch(&self) -> &Watch {
        &self.watch
    }
}
