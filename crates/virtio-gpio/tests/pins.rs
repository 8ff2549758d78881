//! Pins: typed conversions, embedded-hal, many at once, the end of use.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

mod common;

use common::{
    High, LINES, Low, RATIFIED, drive, input, ms, output, ratified, ratified_with, requests, watched, with_chip,
    with_plan,
};
use embedded_hal::digital::{InputPin, OutputPin, StatefulOutputPin};
use gpio_loopback::{Loopback, Plan, Settings, Tamper};
use gpio_model::bank::Bank;
use gpio_model::ratified::{Options as DeviceOptions, Quirks};
use virtio_gpio::fence::CoherentFence;
use virtio_gpio::messages::ratified::Request;
use virtio_gpio::{
    Chip, DescriptorSlot, Direction, Error, EventSlot, Identified, InterruptType, Level, LineId, LineSlot, Options,
    Parts, RequestSlot, Sizes, Storage,
};

const L0: LineId = LineId(0);

#[test]
fn an_output_is_driven_and_an_input_read() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let mut led = output(chip, 0, Low);
        led.set(High).unwrap();
        assert_eq!(machine.line(led.id()).level(), High);
        assert_eq!(led.level(), Ok(High));
        let button = input(chip, 1);
        drive(&machine, chip, 1, High);
        assert_eq!(button.level(), Ok(High));
        drive(&machine, chip, 1, Low);
        assert_eq!(button.level(), Ok(Low));
    });
}

#[test]
fn a_line_goes_through_all_its_uses() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let line = chip.line(L0).unwrap();
        assert_eq!(line.direction(), Ok(Direction::None));
        let input = line.into_input().unwrap();
        assert_eq!(input.direction(), Ok(Direction::Input));
        let output = input.into_output(High).unwrap();
        assert_eq!((output.direction(), output.level_set()), (Ok(Direction::Output), Some(High)));
        let input = output.into_input().unwrap();
        assert_eq!(input.direction(), Ok(Direction::Input));
        input.release().unwrap();
        assert_eq!(machine.line(L0).direction, Direction::None);
    });
}

/// A rejected conversion gives the pin back, and it works.
#[test]
fn a_conversion_that_fails_gives_the_pin_back() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        machine.tamper(0, [Tamper::Bytes(vec![1, 0])]);
        let rejected = chip.line(L0).unwrap().into_output(High).unwrap_err();
        assert_eq!(rejected.error, Error::Refused);
        let output = rejected.pin.into_output(High).unwrap();
        machine.tamper(0, [Tamper::Bytes(vec![1, 0])]);
        let rejected = output.into_input().unwrap_err();
        assert_eq!((rejected.error, rejected.pin.level_set()), (Error::Refused, Some(High)));
        let input = rejected.pin.into_input().unwrap();
        machine.tamper(0, [Tamper::Nothing, Tamper::Bytes(vec![1, 0])]);
        let rejected = input.into_output(Low).unwrap_err();
        assert_eq!(rejected.error, Error::Refused);
        assert_eq!(rejected.pin.level(), Ok(Low));
    });
}

#[test]
fn embedded_hal_pins_do_what_the_pins_do() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let mut led = output(chip, 0, Low);
        let mut button = input(chip, 1);
        led.set_high().unwrap();
        assert_eq!((led.is_set_high(), led.is_set_low()), (Ok(true), Ok(false)));
        assert_eq!(machine.line(L0).level(), High);
        led.toggle().unwrap();
        assert_eq!((led.is_set_high(), machine.line(L0).level()), (Ok(false), Low));
        led.set_low().unwrap();
        assert_eq!(led.is_set_low(), Ok(true));
        drive(&machine, chip, 1, High);
        assert_eq!((button.is_high(), button.is_low()), (Ok(true), Ok(false)));
    });
}

#[test]
fn a_line_has_one_user_at_a_time() {
    let machine = ratified();
    with_plan(&machine, &Plan { lines: 2, ..Plan::default() }, |chip| {
        let first = chip.line(L0).unwrap();
        assert_eq!(chip.line(L0).unwrap_err(), Error::LineInUse(L0));
        let _second = chip.line(LineId(1)).unwrap();
        assert_eq!(chip.line(LineId(2)).unwrap_err(), Error::TooManyLines { limit: 2 });
        drop(first);
        let _third = chip.line(LineId(2)).unwrap();
        assert_eq!(chip.line(LineId(LINES)).unwrap_err(), Error::NoSuchLine { line: LineId(LINES), lines: LINES });
    });
}

#[test]
fn many_requests_can_be_under_way_and_take_one_notification() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let mut pins: Vec<_> = (0..LINES).map(|line| output(chip, line, Low)).collect();
        let before = machine.notifications();
        let mut pending: Vec<_> = pins.iter_mut().map(|pin| pin.start_set(High).unwrap()).collect();
        // The device asks for one: the next is due when it has looked.
        assert_eq!(machine.notifications(), before + 1);
        assert!(pending.iter_mut().all(|pending| !pending.is_done() && pending.outcome().is_none()));
        machine.pump(chip);
        assert!(pending.iter().all(virtio_gpio::Pending::is_done));
        assert!(pending.iter_mut().all(|pending| pending.outcome() == Some(Ok(()))));
        assert!((0..LINES).all(|line| machine.line(LineId(line)).level() == High));
    });
}

/// A6 of the fault catalogue: lines may be answered in any order (5.18.6).
#[test]
fn v6_a6_answers_in_another_order_reach_their_owners() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let (mut a, mut b) = (output(chip, 0, Low), output(chip, 1, Low));
        // The first is refused, the second is not.
        machine.tamper(0, [Tamper::Hold, Tamper::Hold]);
        let (first, second) = (a.start_set(High).unwrap(), b.start_set(High).unwrap());
        machine.pump(chip);
        machine.release_held(true);
        machine.pump(chip);
        assert_eq!((first.wait(), second.wait()), (Ok(()), Ok(())));
        assert_eq!((a.level_set(), b.level_set()), (Some(High), Some(High)));
    });
}

#[test]
fn a_full_request_table_says_busy_and_recovers() {
    let machine = ratified();
    with_plan(&machine, &Plan { requests: 3, ..Plan::default() }, |chip| {
        let mut led = output(chip, 0, Low);
        let one = led.start_set(High).unwrap();
        let two = led.start_set(Low).unwrap();
        assert!(matches!(led.start_set(High), Err(Error::Busy)));
        assert_eq!((one.wait(), two.wait()), (Ok(()), Ok(())));
        assert_eq!(led.level_set(), Some(Low));
        led.set(High).unwrap();
    });
}

/// Requests that nobody waits for any more end all the same, and their slots are used again.
#[test]
fn dropped_requests_are_carried_out() {
    let machine = ratified();
    with_plan(&machine, &Plan { requests: 3, ..Plan::default() }, |chip| {
        let mut led = output(chip, 0, Low);
        for _ in 0..20 {
            drop(led.start_set(High).unwrap());
            drop(led.start_set(Low).unwrap());
            machine.pump(chip);
        }
        drop(led.start_set(High).unwrap());
        machine.pump(chip);
        assert_eq!((machine.line(L0).level(), led.level_set()), (High, Some(High)));
    });
}

/// A caller that finds all slots taken waits for one.
#[test]
fn a_waiting_request_gets_the_slot_that_becomes_free() {
    let machine = ratified();
    with_plan(&machine, &Plan { requests: 1, ..Plan::default() }, |chip| {
        let (mut a, mut b) = (output(chip, 0, Low), output(chip, 1, Low));
        machine.set_latency(ms(100));
        drop(a.start_set(High).unwrap());
        b.set(High).unwrap();
        assert_eq!((machine.line(L0).level(), machine.line(LineId(1)).level()), (High, High));
    });
}

/// A lost notification is found by notifying again, also while somebody waits for the slot.
#[test]
fn a_request_behind_a_lost_notification_is_served_in_time() {
    let machine = ratified();
    with_plan(&machine, &Plan { requests: 1, ..Plan::default() }, |chip| {
        let (mut a, mut b) = (output(chip, 0, Low), output(chip, 1, Low));
        machine.lose_notifications(1);
        drop(a.start_set(High).unwrap());
        assert_eq!(b.set(High), Ok(()));
        assert_eq!(chip.statistics().timeouts, 0);
    });
}

#[test]
fn drop_releases_an_output() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        drop(output(chip, 0, High));
        machine.pump(chip);
        assert_eq!(machine.line(L0).direction, Direction::None);
        output(chip, 0, High).release().unwrap();
        assert_eq!(machine.line(L0).direction, Direction::None);
        requests(&machine);
        drop(chip.line(L0).unwrap());
        machine.pump(chip);
        assert_eq!(requests(&machine), [], "a line that was not configured needs no message");
    });
}

#[test]
fn release_and_drop_end_an_interrupt_first() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let none = [Request::SetInterruptType(L0, InterruptType::None), Request::SetDirection(L0, Direction::None)];
        let pin = watched(chip, 0, InterruptType::BothEdges);
        requests(&machine);
        pin.release().unwrap();
        machine.pump(chip);
        assert_eq!(requests(&machine), none);
        let pin = watched(chip, 0, InterruptType::BothEdges);
        requests(&machine);
        drop(pin);
        machine.pump(chip);
        assert_eq!(requests(&machine), none);
    });
}

/// However few the request slots: what is dropped is released.
#[test]
fn drop_releases_though_all_request_slots_are_taken() {
    let machine = ratified();
    with_plan(&machine, &Plan { requests: 1, ..Plan::default() }, |chip| {
        let watched = watched(chip, 1, InterruptType::BothEdges);
        let led = output(chip, 0, High);
        drop(led);
        drop(watched);
        machine.advance(chip, ms(10));
        assert_eq!(machine.line(L0).direction, Direction::None);
        assert_eq!(machine.line(LineId(1)).direction, Direction::None);
        assert_eq!(output(chip, 0, Low).level(), Ok(Low), "the line can be had again");
    });
}

/// Taking a line right after it was dropped does not mix the two uses up.
#[test]
fn a_line_can_be_taken_again_at_once() {
    let machine = ratified();
    with_plan(&machine, &Plan { requests: 1, ..Plan::default() }, |chip| {
        let pin = watched(chip, 0, InterruptType::BothEdges);
        drop(pin);
        let led = output(chip, 0, High);
        machine.advance(chip, ms(10));
        assert_eq!((machine.line(L0).direction, machine.line(L0).level()), (Direction::Output, High));
        assert_eq!(led.level_set(), Some(High));
    });
}

#[test]
fn an_output_that_timed_out_is_released_too() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        // The line becomes an output, but nobody says so.
        machine.tamper(0, [Tamper::Nothing, Tamper::Drop]);
        let rejected = chip.line(L0).unwrap().into_output(High).unwrap_err();
        assert_eq!(rejected.error, Error::Timeout);
        assert_eq!(machine.line(L0).direction, Direction::Output);
        drop(rejected);
        machine.advance(chip, ms(10));
        assert_eq!(machine.line(L0).direction, Direction::None);
    });
}

/// The level is set before the line becomes an output: no other level shows in between.
#[test]
fn an_output_starts_at_its_level() {
    for quirks in [Quirks::default(), Quirks::VHOST_DEVICE] {
        for level in [Low, High] {
            let options = DeviceOptions { quirks, ..DeviceOptions::default() };
            let machine = ratified_with(Settings::new(RATIFIED), options);
            with_chip(&machine, |chip| {
                let led = output(chip, 0, level);
                assert_eq!(
                    requests(&machine),
                    [Request::SetValue(L0, level), Request::SetDirection(L0, Direction::Output)]
                );
                assert_eq!(machine.line(led.id()).level(), level);
            });
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "so many lines and names take the interpreter hours")]
fn a_chip_with_very_many_lines_works() {
    let machine =
        gpio_loopback::Machine::ratified(Bank::new(u16::MAX), DeviceOptions::default(), Settings::new(RATIFIED));
    with_plan(&machine, &Plan { lines: 300, events: 300, ..Plan::default() }, |chip| {
        assert_eq!(chip.lines(), u16::MAX);
        let pins: Vec<_> = (0..300).map(|line| output(chip, line * 218, Level::from(line % 2 == 0))).collect();
        assert!(pins.iter().all(|pin| pin.level() == Ok(pin.level_set().unwrap())));
        let last = LineId(u16::MAX - 1);
        drop(pins);
        machine.advance(chip, ms(10));
        assert_eq!(chip.line(last).unwrap().into_output(High).unwrap().level(), Ok(High));
    });
}

/// A device without event indexes is not asked before each notification, and gets one for all.
#[test]
fn queued_requests_take_one_notification() {
    let settings = Settings { features: Settings::new(RATIFIED).features & !(1 << 29), ..Settings::new(RATIFIED) };
    let machine = ratified_with(settings, DeviceOptions::default());
    with_chip(&machine, |chip| {
        let mut pins: Vec<_> = (0..8).map(|line| output(chip, line, Low)).collect();
        for by_waiting in [false, true] {
            let before = machine.notifications();
            let pending: Vec<_> = pins.iter_mut().map(|pin| pin.queue_set(Level::from(!by_waiting)).unwrap()).collect();
            assert_eq!(machine.notifications(), before);
            if !by_waiting {
                chip.notify();
            }
            for pending in pending {
                assert_eq!(pending.wait(), Ok(()));
            }
            assert_eq!(machine.notifications(), before + 1);
        }
        assert!(pins.iter().all(|pin| pin.level() == Ok(Low)));
    });
}

/// Every line number is there, and the one behind the last is looked for.
#[test]
#[cfg_attr(miri, ignore = "so many lines and names take the interpreter hours")]
fn d1_a_chip_with_all_line_numbers_in_use_works() {
    let machine =
        gpio_loopback::Machine::ratified(Bank::new(u16::MAX), DeviceOptions::default(), Settings::new(RATIFIED));
    let mut settings = Settings::new(RATIFIED);
    settings.config = Some(vec![0xff, 0xff, 0, 0, 0xff, 0xff, 0, 0]);
    let named = gpio_loopback::Machine::ratified(Bank::new(u16::MAX), DeviceOptions::default(), settings);
    named.tamper(0, [Tamper::Bytes(vec![0; 0x1_0000])]);
    for machine in [machine, named] {
        let plan = Plan { lines: u16::MAX, names: 0x1_0000, ..Plan::default() };
        with_plan(&machine, &plan, |chip| {
            assert_eq!((chip.names_error(), chip.find("none")), (None, None));
            let _first = output(chip, 0, Low);
            assert_eq!(chip.line(LineId(1)).unwrap().into_input().unwrap().level(), Ok(Low));
            assert!(!chip.has_event_under_way());
        });
    }
}

/// Sizes lay out the memory for one kind of device. Those of another are refused before the device is told anything.
#[test]
fn sizes_of_another_device_are_refused() {
    let identified = |machine: &gpio_loopback::Machine| {
        Identified::new(machine.registers(), &machine.clock(), None).map_err(|(error, _)| error).unwrap()
    };
    let no_interrupts =
        || ratified_with(Settings::new(RATIFIED), DeviceOptions { interrupts: false, ..DeviceOptions::default() });
    let coarse = || ratified_with(Settings { granule: 64, ..Settings::new(RATIFIED) }, DeviceOptions::default());
    for (of, machine) in [
        (ratified(), common::draft()),
        (common::draft(), ratified()),
        (no_interrupts(), ratified()),
        (ratified(), coarse()),
    ] {
        let sizes = Sizes::new(&identified(&of), &Options::default(), 8, 0, 1).unwrap();
        let mut descriptors = vec![DescriptorSlot::EMPTY; 128];
        let storage = Storage {
            descriptors: &mut descriptors,
            requests: &mut [RequestSlot::EMPTY; 8],
            lines: &mut [LineSlot::EMPTY; 8],
            events: &mut [EventSlot::EMPTY; 8],
            names: &mut [],
        };
        let parts = Parts { memory: machine.allocate(1 << 20), fence: CoherentFence, clock: machine.clock() };
        let device = identified(&machine);
        let chip: Result<Chip<'_, Loopback>, _> = Chip::new(device, &sizes, parts, storage, Options::default());
        assert_eq!(chip.map(|_| ()).unwrap_err(), virtio_gpio::SetupError::OtherSizes);
        assert!(machine.status().contains(virtio_gpio::transport::DeviceStatus::FAILED));
    }
}

/// The numbers in [`Sizes`] are for the user to read: what he writes there does not reach the layout.
#[test]
fn too_little_storage_is_refused_whatever_the_sizes_say() {
    let machine = ratified();
    let device = Identified::new(machine.registers(), &machine.clock(), None).map_err(|(error, _)| error).unwrap();
    let mut sizes = Sizes::new(&device, &Options::default(), 2, 0, 1).unwrap();
    (sizes.descriptors, sizes.memory) = (0, 0);
    let storage = Storage {
        descriptors: &mut [],
        requests: &mut [RequestSlot::EMPTY; 8],
        lines: &mut [LineSlot::EMPTY; 8],
        events: &mut [EventSlot::EMPTY; 8],
        names: &mut [],
    };
    let parts = Parts { memory: machine.allocate(1 << 20), fence: CoherentFence, clock: machine.clock() };
    let chip: Result<Chip<'_, Loopback>, _> = Chip::new(device, &sizes, parts, storage, Options::default());
    let needed = virtio_gpio::SetupError::TooSmall { what: "descriptor slots", needed: 128, available: 0 };
    assert_eq!(chip.map(|_| ()).unwrap_err(), needed);
}

/// The memory was laid out for two lines; line slots beyond that would have no event buffer.
#[test]
fn line_slots_beyond_the_sizes_are_not_used() {
    let machine = ratified();
    let device = Identified::new(machine.registers(), &machine.clock(), None).map_err(|(error, _)| error).unwrap();
    let sizes = Sizes::new(&device, &Options::default(), 2, 0, 1).unwrap();
    let (mut descriptors, mut requests) = (vec![DescriptorSlot::EMPTY; sizes.descriptors], [RequestSlot::EMPTY; 8]);
    let (mut lines, mut events) = ([LineSlot::EMPTY; 8], [EventSlot::EMPTY; 8]);
    let storage = Storage {
        descriptors: &mut descriptors,
        requests: &mut requests,
        lines: &mut lines,
        events: &mut events,
        names: &mut [],
    };
    let parts = Parts { memory: machine.allocate(sizes.memory), fence: CoherentFence, clock: machine.clock() };
    let chip: Chip<'_, Loopback> = Chip::new(device, &sizes, parts, storage, Options::default()).unwrap();
    let _watched = [watched(&chip, 0, InterruptType::BothEdges), watched(&chip, 1, InterruptType::BothEdges)];
    assert_eq!(chip.line(LineId(2)).unwrap_err(), Error::TooManyLines { limit: 2 });
}
