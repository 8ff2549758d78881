//! The memory seam on machines that are not coherent, reach only some memory, or have addresses of their own; and that these
//! tests see it where a hand-over is forgotten: what was not handed over is poison.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

mod common;

use core::marker::PhantomData;
use core::ops::Range;
use core::ptr::NonNull;
use core::sync::atomic::AtomicU8;
use std::sync::Arc;

use common::{DRAFT, High, LINES, Low, RATIFIED, rounds};
use gpio_loopback::{Machine, MachineClock, Memory, Registers, Settings};
use gpio_model::bank::Bank;
use gpio_model::{draft, ratified};
use virtio_gpio::fence::CoherentFence;
use virtio_gpio::memory::{Bounce, Cached, Caches, DmaMemory, Mapped};
use virtio_gpio::{
    Chip, DescriptorSlot, EventSlot, Identified, InterruptType, LineId, LineSlot, Options, Parts, Platform,
    RequestSlot, Sizes, Storage, Trigger,
};

/// A machine's platform, but for the memory.
struct With<M>(PhantomData<M>);

impl<M: DmaMemory + Send> Platform for With<M> {
    type Transport = Registers;
    type Memory = M;
    type Fence = CoherentFence;
    type Clock = MachineClock;
}

fn machines(settings: impl Fn(u32) -> Settings) -> [Machine; 2] {
    [
        Machine::ratified(Bank::new(LINES), ratified::Options::default(), settings(RATIFIED)),
        Machine::draft(Bank::new(LINES), draft::Options::default(), settings(DRAFT)),
    ]
}

/// Drives an output, reads an input and waits for its edges, with memory that `around` makes of the machine's. What does
/// not work is an error that says where.
fn work<M: DmaMemory + Send>(machine: &Machine, around: impl FnOnce(Memory) -> M) -> Result<(), String> {
    let clock = machine.clock();
    let options = Options::default();
    let failed = |step: &'static str| move |error: &dyn core::fmt::Display| format!("{step}: {error}");
    let device = Identified::new(machine.registers(), &clock, None).map_err(|(error, _)| failed("identify")(&error))?;
    let granule = machine.granule();
    let sizes = Sizes::new(&device, &options, 4, 0, granule).map_err(|error| failed("sizes")(&error))?;
    let mut descriptors = vec![DescriptorSlot::EMPTY; sizes.descriptors];
    let storage = Storage {
        descriptors: &mut descriptors,
        requests: &mut [RequestSlot::EMPTY; 4],
        lines: &mut [LineSlot::EMPTY; 4],
        events: &mut [EventSlot::EMPTY; 4],
        names: &mut [],
    };
    let parts = Parts { memory: around(machine.allocate(sizes.memory)), fence: CoherentFence, clock };
    let chip: Chip<'_, With<M>> =
        Chip::new(device, &sizes, parts, storage, options).map_err(|error| failed("set-up")(&error))?;
    let pump = || {
        for _ in 0..100 {
            machine.run();
            if !machine.interrupt_raised() {
                return;
            }
            chip.handle_interrupt();
        }
    };
    let line = |line: u16| chip.line(LineId(line)).map_err(|error| failed("line")(&error));
    let mut led = line(0)?.into_output(Low).map_err(|rejected| failed("into_output")(&rejected))?;
    let mut button = line(1)?.into_input().map_err(|rejected| failed("into_input")(&rejected))?;
    button.watch(InterruptType::BothEdges).map_err(|error| failed("watch")(&error))?;
    // More often than a ring has places.
    for round in 0..rounds(100) {
        for (level, trigger) in [(High, Trigger::Rising), (Low, Trigger::Falling)] {
            led.set(level).map_err(|error| failed("set")(&error))?;
            if machine.line(LineId(0)).level() != level {
                return Err(format!("round {round}: the device has another level"));
            }
            machine.drive(LineId(1), Some(level));
            pump();
            let event = chip.next_event().map(|event| event.trigger);
            if event != Some(trigger) || button.level() != Ok(level) {
                return Err(format!("round {round}: {event:?} in place of {trigger:?}"));
            }
        }
    }
    drop((led, button));
    pump();
    let statistics = chip.statistics();
    drop(chip);
    match machine.violations().first() {
        Some(violation) => Err(violation.clone()),
        None if statistics.resets > 0 || statistics.timeouts > 0 => Err(format!("{statistics:?}")),
        None if !machine.memory_released() => Err("the memory was not given back".into()),
        None => Ok(()),
    }
}

fn plain(id: u32) -> Settings {
    Settings::new(id)
}

/// Caches that are kept in step by hand.
fn cached(id: u32) -> Settings {
    Settings { granule: 64, ..Settings::new(id) }
}

/// Beyond 32 bits, where the driver's pointers never are.
fn elsewhere(id: u32) -> Settings {
    Settings { memory_address: 0x0012_3456_7000, ..Settings::new(id) }
}

#[test]
fn caches_can_be_kept_in_step_by_hand() {
    for machine in machines(cached) {
        assert_eq!(work(&machine, |memory| memory), Ok(()));
    }
}

/// The machine's memory without its hooks.
struct Plain(Arc<Memory>);

// SAFETY: the machine's, which lives as long. The hooks are for `Lines` to call.
unsafe impl DmaMemory for Plain {
    fn base(&self) -> NonNull<u8> {
        self.0.base()
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn device_address(&self) -> u64 {
        self.0.device_address()
    }
}

/// A processor's cache maintenance, which knows addresses only.
struct Lines {
    memory: Arc<Memory>,
    cleans: bool,
    invalidates: bool,
}

impl Lines {
    const SIZE: usize = 64;

    fn range(&self, start: NonNull<u8>, len: usize) -> Range<usize> {
        let start = start.addr().get() - self.memory.base().addr().get();
        assert!(start.is_multiple_of(Self::SIZE) && len.is_multiple_of(Self::SIZE) && len > 0, "whole lines");
        assert!(start + len <= self.memory.len(), "of this memory");
        start..start + len
    }
}

// SAFETY: the machine has no longer lines; without a mistake, it copies all of them.
unsafe impl Caches for Lines {
    fn line_size(&self) -> usize {
        Self::SIZE
    }

    fn clean(&self, start: NonNull<u8>, len: usize) {
        if self.cleans {
            self.memory.sync_for_device(self.range(start, len));
        }
    }

    fn invalidate(&self, start: NonNull<u8>, len: usize) {
        if self.invalidates {
            self.memory.sync_for_driver(self.range(start, len));
        }
    }
}

#[test]
fn cache_maintenance_by_address_will_do() {
    for which in 0..2 {
        let with = |cleans, invalidates| {
            work(&machines(cached)[which], |memory| {
                let memory = Arc::new(memory);
                Cached::new(Plain(memory.clone()), Lines { memory, cleans, invalidates })
            })
        };
        assert_eq!(with(true, true), Ok(()));
        assert!(with(false, true).is_err(), "what is not cleaned is noticed");
        assert!(with(true, false).is_err(), "what is not invalidated is noticed");
    }
}

/// Memory that ends within a line has somebody else's bytes behind it.
#[test]
fn a_line_that_is_not_all_ours_is_left_out() {
    let memory = Arc::new(machines(cached)[0].allocate(1000));
    let cached = Cached::new(Plain(memory.clone()), Lines { memory, cleans: true, invalidates: true });
    assert_eq!((cached.len(), cached.granule()), (960, 64));
    for range in [0..1, 100..900, 959..960, 959..961, 990..1000, 5000..6000] {
        cached.sync_for_device(range.clone());
        cached.sync_for_driver(range);
    }
}

// --- bounce buffers -----------------------------------------------------------------------------------------------

#[repr(align(4096))]
struct Page(#[expect(dead_code, reason = "reached by its address")] [AtomicU8; 4096]);

/// Memory of the driver's that no device knows.
struct Private(Vec<Page>);

impl Private {
    fn new(len: usize) -> Self {
        Self((0..len.div_ceil(4096)).map(|_| Page([const { AtomicU8::new(0x5a) }; 4096])).collect())
    }
}

// SAFETY: whole pages, aligned by their type, made of atomics; nobody else has them, and no device is told of them.
unsafe impl DmaMemory for Private {
    fn base(&self) -> NonNull<u8> {
        NonNull::from(&*self.0).cast()
    }

    fn len(&self) -> usize {
        self.0.len() * 4096
    }

    fn device_address(&self) -> u64 {
        panic!("no device finds this")
    }
}

#[test]
fn a_device_that_reaches_a_window_alone_is_served_through_it() {
    for settings in [plain, cached, elsewhere] {
        for machine in machines(settings) {
            let bounce = |window: Memory| Bounce::new(Private::new(window.len()), window);
            assert_eq!(work(&machine, bounce), Ok(()));
        }
    }
}

/// An index that the device moves on while it is copied must not come in halves: fields go as wholes, whatever is copied.
#[test]
fn any_range_is_copied_and_nothing_else() {
    let machine = machines(plain)[0].clone();
    let memory = Bounce::new(Private::new(4096), machine.allocate(4096));
    let bytes = |base: NonNull<u8>| -> Vec<u8> {
        // SAFETY: the memory is alive, and nobody is at work in it.
        unsafe { core::slice::from_raw_parts(base.as_ptr(), 64) }.to_vec()
    };
    for start in 0..16 {
        for end in start..16 {
            let fresh = Bounce::new(Private::new(4096), machine.allocate(4096));
            fresh.sync_for_driver(start..end);
            let expected: Vec<u8> = (0..64).map(|place| if (start..end).contains(&place) { 0 } else { 0x5a }).collect();
            assert_eq!(bytes(fresh.base()), expected, "{start}..{end}");
        }
    }
    memory.sync_for_driver(4090..9000);
    assert_eq!(memory.len(), 4096, "what lies behind the end is left alone");
}

// --- addresses ----------------------------------------------------------------------------------------------------

/// Memory that says where the processor finds it.
struct Physical(Memory);

// SAFETY: all but the address is the machine's; that is for `Mapped` to say.
unsafe impl DmaMemory for Physical {
    fn base(&self) -> NonNull<u8> {
        self.0.base()
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn device_address(&self) -> u64 {
        0x8000_0000
    }

    fn granule(&self) -> usize {
        self.0.granule()
    }

    fn sync_for_device(&self, range: Range<usize>) {
        self.0.sync_for_device(range);
    }

    fn sync_for_driver(&self, range: Range<usize>) {
        self.0.sync_for_driver(range);
    }
}

#[test]
fn a_device_may_have_addresses_of_its_own() {
    for settings in [elsewhere, |id| Settings { granule: 32, ..elsewhere(id) }] {
        for machine in machines(settings) {
            // SAFETY: that is where the machine's device finds it.
            let mapped = |memory| unsafe { Mapped::new(Physical(memory), 0x0012_3456_7000) };
            assert_eq!(work(&machine, mapped), Ok(()));
            let machine = machine.clone();
            assert!(work(&machine, Physical).is_err(), "without the offset the device finds nothing");
        }
    }
}

// --- what is forgotten --------------------------------------------------------------------------------------------

/// A cache that does not keep up with some of the hand-overs.
struct Forgetful {
    memory: Memory,
    to_device: fn(usize) -> bool,
    to_driver: fn(usize) -> bool,
}

// SAFETY: none that matters: the simulated device writes to memory of its own, and what the driver finds is poison at worst.
unsafe impl DmaMemory for Forgetful {
    fn base(&self) -> NonNull<u8> {
        self.memory.base()
    }

    fn len(&self) -> usize {
        self.memory.len()
    }

    fn device_address(&self) -> u64 {
        self.memory.device_address()
    }

    fn granule(&self) -> usize {
        self.memory.granule()
    }

    fn sync_for_device(&self, range: Range<usize>) {
        if !(self.to_device)(range.len()) {
            self.memory.sync_for_device(range);
        }
    }

    fn sync_for_driver(&self, range: Range<usize>) {
        if !(self.to_driver)(range.len()) {
            self.memory.sync_for_driver(range);
        }
    }
}

/// By the length one knows them: words of the rings, used elements and messages, descriptors, whole queues.
const SOME: [fn(usize) -> bool; 4] = [|len| len == 2, |len| len == 8, |len| len == 16, |len| len > 64];

#[test]
fn what_is_not_handed_over_is_noticed() {
    let never = |_: usize| false;
    let always = |_: usize| true;
    for which in 0..2 {
        let machine = || machines(cached)[which].clone();
        let with = |to_device, to_driver| work(&machine(), |memory| Forgetful { memory, to_device, to_driver });
        assert_eq!(with(never, never), Ok(()));
        assert!(with(always, never).is_err());
        assert!(with(never, always).is_err());
    }
    // The ratified protocol has all of them; the draft's messages are as long as its used elements.
    let with = |to_device, to_driver| work(&machines(cached)[0], |memory| Forgetful { memory, to_device, to_driver });
    for (number, forget) in SOME.into_iter().enumerate() {
        assert!(with(forget, never).is_err(), "kind {number}, to the device");
    }
    for (number, forget) in SOME.into_iter().take(2).enumerate() {
        assert!(with(never, forget).is_err(), "kind {number}, to the driver");
    }
}
