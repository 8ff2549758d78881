//! Interrupts that come late, twice, or after what they were for was found by looking: none of them is odd, and none is
//! needed by anything that came in between.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

mod common;

use core::ops::Range;
use core::ptr::NonNull;
use core::time::Duration;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use common::{High, Low, draft, ms, notices, output, ratified, triggers, watched, with_chip};
use gpio_loopback::{Bench, Loopback, Machine, Plan, Tamper};
use virtio_gpio::fence::CoherentFence;
use virtio_gpio::memory::DmaMemory;
use virtio_gpio::{
    Chip, DescriptorSlot, EventSlot, Identified, InterruptType, LineId, LineSlot, Notice, Oddity, Parts, Platform,
    RequestSlot, Sizes, Storage, Trigger,
};

const SPURIOUS: Notice = Notice::Odd { oddity: Oddity::SpuriousInterrupt, count: 1 };

/// Lets time pass until something is overdue, with nobody looking.
fn be_late(machine: &Machine, chip: &Chip<'_, Loopback>) {
    machine.run();
    machine.pass(chip.next_deadline().unwrap().since(machine.now()));
}

/// An interrupt that was taken away by a poll may be under way all the same, and is for nothing then. One more is odd.
#[test]
fn an_interrupt_whose_reason_a_poll_took_is_not_odd() {
    for machine in [ratified(), draft()] {
        with_chip(&machine, |chip| {
            let mut led = output(chip, 0, Low);
            machine.pump(chip);
            notices(chip);
            let odd = chip.statistics().oddities;
            let mut pending = led.start_set(High).unwrap();
            be_late(&machine, chip);
            assert!(machine.interrupt_raised());
            chip.poll();
            assert_eq!(pending.outcome(), Some(Ok(())));
            assert!(!machine.interrupt_raised(), "the line is down, so that a new edge can come");
            assert!(!chip.handle_interrupt());
            machine.advance(chip, ms(5000));
            assert_eq!((notices(chip), chip.statistics().oddities - odd), (vec![], 0));
            chip.handle_interrupt();
            assert_eq!(notices(chip), [SPURIOUS]);
        });
    }
}

/// A poll that finds nothing to acknowledge does not make an earlier acknowledgement unsaid.
#[test]
fn a_poll_in_between_does_not_make_an_interrupt_odd() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let mut led = output(chip, 0, Low);
        let mut other = output(chip, 1, Low);
        machine.pump(chip);
        let mut pending = led.start_set(High).unwrap();
        machine.run();
        chip.handle_interrupt();
        assert_eq!(pending.outcome(), Some(Ok(())));
        machine.stall(ms(300));
        let pending = other.start_set(High).unwrap();
        be_late(&machine, chip);
        chip.poll();
        chip.handle_interrupt();
        assert_eq!(notices(chip), []);
        pending.wait().unwrap();
    });
}

#[test]
fn an_interrupt_from_before_it_was_enabled_is_not_odd() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let mut led = output(chip, 0, Low);
        machine.pump(chip);
        let mut pending = led.start_set(High).unwrap();
        machine.run();
        chip.interrupt_enabled();
        assert_eq!(pending.outcome(), Some(Ok(())));
        // The interrupt controller had noted it.
        chip.handle_interrupt();
        assert_eq!(notices(chip), []);
        chip.handle_interrupt();
        assert_eq!(notices(chip), [SPURIOUS]);
    });
}

/// The host is busy: answers are there, their interrupts are not. They are late, and not lost.
#[test]
fn a_late_interrupt_is_not_lost() {
    for machine in [ratified(), draft()] {
        with_chip(&machine, |chip| {
            let (mut led, mut other) = (output(chip, 0, Low), output(chip, 1, Low));
            machine.pump(chip);
            notices(chip);
            let odd = chip.statistics().oddities;
            machine.hold_interrupts();
            let mut pending = [led.start_set(High).unwrap()];
            be_late(&machine, chip);
            chip.poll();
            assert_eq!(pending[0].outcome(), Some(Ok(())));
            assert_eq!(chip.statistics().rescues, 1);
            let mut another = other.start_set(High).unwrap();
            machine.run();
            machine.pass(ms(100));
            machine.release_interrupts();
            machine.pump(chip);
            assert_eq!(another.outcome(), Some(Ok(())));
            machine.advance(chip, ms(5000));
            assert_eq!((notices(chip), chip.statistics().oddities - odd), (vec![], 0));
        });
    }
}

/// Somebody who looks has asked for no interrupt, and misses none, however long something else held him up.
#[test]
fn an_interrupt_that_nobody_asked_for_is_not_lost() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let mut led = output(chip, 0, Low);
        let interrupts = machine.costs().interrupts;
        let stopped = machine.clone();
        // While the driver looks, its processor is taken away for a while.
        machine.at(machine.now(), move || stopped.pass(ms(400)));
        led.set(High).unwrap();
        assert_eq!(machine.costs().interrupts, interrupts, "the wait began with looking");
        machine.advance(chip, ms(5000));
        assert_eq!((chip.statistics().rescues, notices(chip)), (0, vec![]));
    });
}

/// What comes after an overdue answer was looked for and before the interrupt is acknowledged: the acknowledgement is for it,
/// too, and no interrupt comes for it any more. Nobody looks by himself here.
#[test]
fn what_comes_just_before_a_poll_acknowledges_is_taken() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let _button = watched(chip, 2, InterruptType::RisingEdge);
        let mut led = output(chip, 0, Low);
        machine.pump(chip);
        let mut pending = led.start_set(High).unwrap();
        be_late(&machine, chip);
        let outside = machine.clone();
        machine.before_acknowledgement(move || outside.drive(LineId(2), Some(High)));
        chip.poll();
        assert_eq!(pending.outcome(), Some(Ok(())));
        while machine.interrupt_raised() {
            chip.handle_interrupt();
        }
        assert_eq!(triggers(chip), [(2, Trigger::Rising)]);
    });
}

/// A device may ask for a reset just when the driver polls for an overdue answer.
#[test]
fn a_poll_hears_that_the_device_needs_a_reset() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let mut led = output(chip, 0, Low);
        let pending = led.start_set(High).unwrap();
        be_late(&machine, chip);
        let device = machine.clone();
        machine.before_acknowledgement(move || device.need_reset());
        chip.poll();
        drop(pending);
        assert_eq!(chip.statistics().resets, 1);
        machine.advance(chip, ms(10));
        led.set(High).unwrap();
    });
}

/// An interrupt whose reason somebody else took away is served if there is something to do.
#[test]
fn an_interrupt_without_a_status_finds_what_came() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let mut led = output(chip, 0, Low);
        machine.pump(chip);
        machine.hold_interrupts();
        let mut pending = led.start_set(High).unwrap();
        machine.run();
        assert!(!chip.handle_interrupt());
        assert_eq!(pending.outcome(), Some(Ok(())));
        assert_eq!(notices(chip), []);
    });
}

/// A machine whose processor handles interrupts while the driver waits, its chip, and how many there were.
fn interrupted() -> (Machine, &'static Chip<'static, Loopback>, Arc<AtomicU32>) {
    let machine = ratified();
    let bench = Box::leak(Box::new(Bench::new()));
    let chip = &*Box::leak(Box::new(bench.chip(&machine, &Plan::default()).unwrap()));
    let interrupts = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&interrupts);
    machine.set_handler(move || {
        count.fetch_add(1, Ordering::Relaxed);
        chip.handle_interrupt();
    });
    (machine, chip, interrupts)
}

/// Somebody else may take its answer from the queue, without a word to who sleeps.
#[test]
#[cfg_attr(miri, ignore = "leaks its chip on purpose")]
fn who_sleeps_is_woken_though_another_caller_polls() {
    let (machine, chip, interrupts) = interrupted();
    let (mut sleeper, mut other) = (output(chip, 0, Low), output(chip, 1, Low));
    // The first one sleeps when the second one comes, and its answer does while the second one polls for its own.
    machine.tamper(0, [Tamper::Hold, Tamper::Delay(Duration::from_micros(30))]);
    let (now, device) = (machine.now(), machine.clone());
    machine.at(now.after(ms(1)), move || {
        let release = device.clone();
        device.at(device.now().after(Duration::from_micros(5)), move || release.release_held(false));
        other.set(High).unwrap();
        core::mem::forget(other);
    });
    sleeper.set(High).unwrap();
    assert!(interrupts.load(Ordering::Relaxed) > 0, "nothing else wakes who sleeps");
}

/// A main loop that has nothing to do sleeps until an interrupt, also where another caller takes its answer from the queue.
#[test]
#[cfg_attr(miri, ignore = "leaks its chip on purpose")]
fn a_main_loop_that_sleeps_is_woken_though_another_caller_polls() {
    let (machine, chip, interrupts) = interrupted();
    let (mut led, mut other) = (output(chip, 0, Low), output(chip, 1, Low));
    machine.tamper(0, [Tamper::Hold, Tamper::Delay(Duration::from_micros(30))]);
    let mut pending = led.start_set(High).unwrap();
    machine.run();
    chip.poll();
    assert!(chip.is_idle() && !pending.is_done());
    // The other one, on another processor.
    let release = machine.clone();
    machine.at(machine.now().after(Duration::from_micros(5)), move || release.release_held(false));
    other.set(High).unwrap();
    assert_eq!(pending.outcome(), Some(Ok(())));
    assert!(interrupts.load(Ordering::Relaxed) > 0, "nothing else wakes who sleeps");
}

/// A machine whose device works while the driver does.
enum Simultaneous {}

impl Platform for Simultaneous {
    type Transport = <Loopback as Platform>::Transport;
    type Memory = Watched;
    type Fence = CoherentFence;
    type Clock = <Loopback as Platform>::Clock;
}

/// Lets the device work whenever the driver is about to read; line 0 moves meanwhile.
struct Watched(<Loopback as Platform>::Memory, Machine);

// SAFETY: all is the machine's own memory's.
#[expect(unsafe_code, reason = "implements an unsafe trait")]
unsafe impl DmaMemory for Watched {
    fn base(&self) -> NonNull<u8> {
        self.0.base()
    }
    fn len(&self) -> usize {
        self.0.len()
    }
    fn device_address(&self) -> u64 {
        self.0.device_address()
    }
    fn sync_for_driver(&self, _: Range<usize>) {
        for level in [High, Low] {
            self.1.drive(LineId(0), Some(level));
        }
    }
}

/// A device that returns each event buffer at once does not keep the driver for longer than what both queues hold.
#[test]
fn a_drain_ends_though_event_buffers_come_back_at_once() {
    let machine = ratified();
    machine.poll_queues();
    let clock = machine.clock();
    let options = virtio_gpio::Options::default();
    let device = Identified::new(machine.registers(), &clock, None).map_err(|(error, _)| error).unwrap();
    let sizes = Sizes::new(&device, &options, 8, 0, machine.granule()).unwrap();
    let mut descriptors = vec![DescriptorSlot::EMPTY; sizes.descriptors];
    let mut events = vec![EventSlot::EMPTY; 4096];
    let storage = Storage {
        descriptors: &mut descriptors,
        requests: &mut [RequestSlot::EMPTY; 8],
        lines: &mut [LineSlot::EMPTY; 8],
        events: &mut events,
        names: &mut [],
    };
    let parts = Parts { memory: Watched(machine.allocate(sizes.memory), machine.clone()), fence: CoherentFence, clock };
    let chip: Chip<'_, Simultaneous> = Chip::new(device, &sizes, parts, storage, options).unwrap();
    let mut button = chip.line(LineId(0)).unwrap().into_input().unwrap();
    button.watch(InterruptType::RisingEdge).unwrap();
    let most = (0..10).map(|_| {
        let before = chip.statistics().events;
        machine.drive(LineId(0), Some(High));
        chip.handle_interrupt();
        machine.drive(LineId(0), Some(Low));
        chip.statistics().events - before
    });
    let most = most.max().unwrap();
    assert!((2..=65).contains(&most), "{most}");
}
