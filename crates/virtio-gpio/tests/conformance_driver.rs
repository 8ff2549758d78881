//! What VIRTIO asks of the driver of a GPIO device, item by item. R and E are the normative items of 5.18.6.8 and
//! 5.18.7.2 in their order, B the rules of the chapter's body; T are those of the transport (4.2) and the split ring
//! (2.7). The machine notes further ones itself: every test here ends with a look at what it noted.
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
    High, LINES, Low, RATIFIED, drive, input, ms, names, output, ratified, ratified_with, requests, triggers, watched,
    with_chip, with_plan,
};
use gpio_loopback::{Chain, Machine, Plan, Settings, Tamper};
use gpio_model::observe::Activity;
use gpio_model::ratified::Options;
use virtio_gpio::messages::ratified::{EventStatus, Request};
use virtio_gpio::transport::{DeviceStatus, Transport};
use virtio_gpio::{Direction, InterruptType, LineId, SetupError, Trigger};

use InterruptType::{BothEdges, FallingEdge, HighLevel, RisingEdge};

const L0: LineId = LineId(0);

/// Sends every message that there is, for line 0 and 1.
fn everything(machine: &Machine) -> Vec<Chain> {
    let mut chains = Vec::new();
    with_chip(machine, |chip| {
        let line = chip.line(L0).unwrap();
        line.direction().unwrap();
        let mut pin = line.into_input().unwrap();
        pin.level().unwrap();
        pin.watch(BothEdges).unwrap();
        drive(machine, chip, 0, High);
        let mut led = pin.into_output(Low).unwrap();
        led.set(High).unwrap();
        led.release().unwrap();
        let _other = watched(chip, 1, HighLevel);
        machine.pump(chip);
        chains = machine.take_chains();
    });
    chains
}

fn named() -> Machine {
    let options = Options { names: names(&["led", "", "", "", "", "", "", ""]), ..Options::default() };
    ratified_with(Settings::new(RATIFIED), options)
}

#[test]
fn r1_requests_go_on_the_request_queue_only() {
    for chain in everything(&named()) {
        // Requests have eight bytes, events two.
        assert_eq!(chain.readable.len(), if chain.queue == 0 { 8 } else { 2 }, "{chain:?}");
    }
}

#[test]
fn r2_r3_r4_every_message_has_a_request_and_a_response_buffer() {
    let chains = everything(&named());
    assert!(chains.len() > 12);
    for chain in chains {
        let [request, response] = chain.descriptors.as_slice() else { panic!("{chain:?}") };
        assert!(!request.is_writable() && response.is_writable(), "{chain:?}");
        let room = match (chain.queue, chain.readable.first()) {
            (1, _) => 1,
            // B4: one byte for the status, the rest for the block.
            (_, Some(1)) => 1 + 11,
            _ => 2,
        };
        assert_eq!(chain.room(), room);
        // Nothing that could be mistaken for an answer is in the buffer already.
        assert_eq!(chain.writable.first(), Some(&0xff));
    }
}

#[test]
fn r5_messages_for_same_and_other_lines_are_under_way_at_once() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let (mut a, mut b) = (output(chip, 0, Low), output(chip, 1, Low));
        machine.take_chains();
        let pending = [a.start_set(High), a.start_set(Low), a.start_set(High), b.start_set(High)].map(Result::unwrap);
        machine.run();
        assert_eq!(machine.take_chains().len(), 4);
        machine.pump(chip);
        assert!(pending.into_iter().all(|pending| pending.wait() == Ok(())));
        assert_eq!((a.level_set(), machine.line(L0).level()), (Some(High), High));
    });
}

#[test]
fn r6_b17_without_the_feature_there_are_no_interrupt_messages_and_no_event_queue() {
    let options = Options { interrupts: false, ..Options::default() };
    // The second queue does not even exist: a driver that set it up would fail.
    let settings = Settings { queue_limits: [64, 0], ..Settings::new(RATIFIED) };
    let machine = ratified_with(settings, options);
    with_chip(&machine, |chip| {
        let mut pin = input(chip, 0);
        pin.watch(RisingEdge).unwrap_err();
        pin.unmask();
        drop(pin.into_output(High).unwrap());
        machine.pump(chip);
        assert!(requests(&machine).iter().all(|request| !matches!(request, Request::SetInterruptType(..))));
        assert!(machine.take_chains().iter().all(|chain| chain.queue == 0));
    });
}

#[test]
fn r7_no_interrupt_message_for_an_output() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let led = watched(chip, 0, BothEdges).into_output(High).unwrap();
        assert_eq!(
            requests(&machine),
            [
                Request::SetDirection(L0, Direction::Input),
                Request::GetValue(L0),
                Request::SetInterruptType(L0, BothEdges),
                Request::SetInterruptType(L0, InterruptType::None),
                Request::SetValue(L0, High),
                Request::SetDirection(L0, Direction::Output),
            ]
        );
        drop(led);
        machine.pump(chip);
        assert_eq!(requests(&machine), [Request::SetDirection(L0, Direction::None)]);
    });
}

#[test]
fn r8_the_type_is_set_to_none_at_the_end() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let end = [Request::SetInterruptType(L0, InterruptType::None), Request::SetDirection(L0, Direction::None)];
        let pin = watched(chip, 0, RisingEdge);
        requests(&machine);
        drop(pin);
        machine.pump(chip);
        assert_eq!(requests(&machine), end);
        let pin = watched(chip, 0, RisingEdge);
        requests(&machine);
        pin.release().unwrap();
        assert_eq!(requests(&machine), end);
    });
}

#[test]
fn r9_type_change_goes_through_none() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let mut pin = watched(chip, 0, RisingEdge);
        requests(&machine);
        pin.watch(HighLevel).unwrap();
        let types: Vec<_> =
            requests(&machine).into_iter().filter(|request| matches!(request, Request::SetInterruptType(..))).collect();
        assert_eq!(
            types,
            [Request::SetInterruptType(L0, InterruptType::None), Request::SetInterruptType(L0, HighLevel)]
        );
    });
}

#[test]
fn e1_events_need_both_a_type_and_a_buffer() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let mut pin = input(chip, 0);
        drive(&machine, chip, 0, High);
        assert_eq!(triggers(chip), [], "no type, no event");
        pin.watch(HighLevel).unwrap();
        machine.pump(chip);
        assert_eq!(triggers(chip), [(0, Trigger::High)]);
        machine.pump(chip);
        assert_eq!(triggers(chip), [], "no buffer, no event");
    });
}

#[test]
fn e2_enabled_before_unmasked() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let mut pin = input(chip, 0);
        for kind in [RisingEdge, FallingEdge, HighLevel] {
            pin.watch(kind).unwrap();
            machine.pump(chip);
        }
        let mut enabled = false;
        let mut unmasked = 0;
        for activity in machine.take_activities() {
            match activity {
                Activity::Request { request: Ok(Request::SetInterruptType(_, kind)), accepted } => {
                    assert!(accepted);
                    enabled = kind != InterruptType::None;
                }
                Activity::Unmasked(_) => {
                    assert!(enabled, "a buffer for a line without a type");
                    unmasked += 1;
                }
                _ => (),
            }
        }
        assert!(unmasked >= 3);
    });
}

#[test]
fn e3_e4_each_line_has_one_pair_of_its_own() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let mut pins: Vec<_> = (0..LINES).map(|line| watched(chip, line, BothEdges)).collect();
        for round in 0..50u32 {
            for line in 0..LINES {
                machine.drive(LineId(line), Some((round % 2 == 0).into()));
            }
            machine.pump(chip);
            if round % 7 == 0 {
                let kind = if round % 2 == 0 { RisingEdge } else { BothEdges };
                for pin in &mut pins {
                    pin.watch(kind).unwrap();
                }
            }
            machine.pump(chip);
            triggers(chip);
        }
        let mut queued = [false; LINES as usize];
        let mut buffers = [None; LINES as usize];
        for chain in machine.take_chains().iter().filter(|chain| chain.queue == 1) {
            let line = usize::from(chain.readable[0]);
            let own = buffers[line].get_or_insert(chain.descriptors[1].address);
            assert_eq!(*own, chain.descriptors[1].address, "a line keeps its buffer");
        }
        assert!((0..buffers.len()).all(|line| !buffers[line + 1..].contains(&buffers[line])), "each its own");
        for activity in machine.take_activities() {
            match activity {
                Activity::Unmasked(line) => {
                    assert!(!core::mem::replace(&mut queued[usize::from(line.0)], true), "two pairs for line {line}");
                }
                Activity::Event { line, .. } => queued[usize::from(line.0)] = false,
                _ => (),
            }
        }
    });
}

/// E4 where the device keeps the pair of a line whose type became NONE: it is not queued again before it came back.
#[test]
fn e4_a_pair_that_the_device_keeps_is_not_queued_twice() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let mut pin = watched(chip, 0, RisingEdge);
        machine.pump(chip);
        machine.take_chains();
        machine.tamper(1, [Tamper::Hold]);
        pin.watch(InterruptType::None).unwrap();
        pin.watch(FallingEdge).unwrap();
        machine.advance(chip, ms(100));
        assert!(machine.take_chains().iter().all(|chain| chain.queue == 0));
        machine.release_held(false);
        machine.advance(chip, ms(100));
        assert_eq!(machine.take_chains().iter().filter(|chain| chain.queue == 1).count(), 1);
        drive(&machine, chip, 0, High);
        drive(&machine, chip, 0, Low);
        assert_eq!(triggers(chip), [(0, Trigger::Falling)]);
        // The same where the line changes hands meanwhile.
        machine.pump(chip);
        machine.take_chains();
        machine.tamper(1, [Tamper::Hold]);
        drop(pin);
        machine.pump(chip);
        let _pin = watched(chip, 0, FallingEdge);
        machine.advance(chip, ms(100));
        assert!(machine.take_chains().iter().all(|chain| chain.queue == 0));
        machine.release_held(false);
        machine.advance(chip, ms(100));
        assert_eq!(machine.take_chains().iter().filter(|chain| chain.queue == 1).count(), 1);
    });
}

#[test]
fn b1_no_message_for_a_line_that_does_not_exist() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        for line in [LINES, LINES + 1, u16::MAX] {
            chip.line(LineId(line)).unwrap_err();
        }
        assert_eq!(requests(&machine), []);
    });
}

#[test]
fn b5_the_names_are_asked_for_with_zeroes_and_once() {
    let machine = named();
    with_chip(&machine, |chip| {
        assert_eq!(chip.find("led"), Some(L0));
        let asked: Vec<_> = machine.take_chains().into_iter().map(|chain| chain.readable).collect();
        assert_eq!(asked, [[1, 0, 0, 0, 0, 0, 0, 0]]);
    });
    let machine = ratified();
    with_chip(&machine, |_| assert_eq!(requests(&machine), [], "nor at all where there are none"));
}

#[test]
fn b6_questions_carry_no_value() {
    let asked = everything(&named());
    let questions = asked.iter().filter(|chain| chain.queue == 0 && matches!(chain.readable[0], 1 | 2 | 4));
    assert!(questions.clone().count() >= 4);
    assert!(questions.into_iter().all(|chain| chain.readable[4..] == [0; 4]));
}

#[test]
fn b7_b8_the_level_is_set_before_the_line_becomes_an_output() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let led = output(chip, 0, High);
        assert_eq!(requests(&machine), [Request::SetValue(L0, High), Request::SetDirection(L0, Direction::Output)]);
        assert_eq!(led.level(), Ok(High));
    });
}

#[test]
fn b13_b14_b15_b16_what_follows_an_event() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let mut level = watched(chip, 0, HighLevel);
        let _edge = watched(chip, 1, RisingEdge);
        machine.pump(chip);
        machine.take_activities();
        drive(&machine, chip, 0, High);
        drive(&machine, chip, 1, High);
        let unmasked: Vec<_> =
            machine.take_activities().into_iter().filter(|seen| matches!(seen, Activity::Unmasked(_))).collect();
        // The edge is armed again at once, the level only when its consumer is done.
        assert_eq!(unmasked, [Activity::Unmasked(LineId(1))]);
        level.unmask();
        machine.pump(chip);
        let seen = machine.take_activities();
        assert!(seen.contains(&Activity::Unmasked(L0)));
        assert!(seen.contains(&Activity::Event { line: L0, status: EventStatus::Valid }));
    });
}

// --- transport and ring ----------------------------------------------------------------------------------------------

#[test]
fn t2_t22_the_configuration_is_read_once_by_fields_of_their_own_width() {
    let machine = named();
    with_chip(&machine, |chip| {
        assert_eq!(machine.take_config_reads(), [(0, 2), (2, 2), (4, 4)]);
        output(chip, 0, High).release().unwrap();
        machine.need_reset();
        machine.advance(chip, ms(100));
        assert_eq!(machine.take_config_reads(), [], "not at a reset either");
    });
}

#[test]
fn t7_an_unknown_device_is_not_touched() {
    let machine = ratified_with(Settings { device_id: 0, ..Settings::new(RATIFIED) }, Options::default());
    machine.registers().set_status(DeviceStatus::ACKNOWLEDGE);
    let refused = virtio_gpio::Identified::new(machine.registers(), &machine.clock(), None).unwrap_err();
    assert_eq!(refused.0, SetupError::NotGpio(0));
    assert_eq!((machine.status(), machine.take_config_reads()), (DeviceStatus::ACKNOWLEDGE, vec![]));
}

/// T9, T15, T17, T18, T20, T21, T25 to T28 and T31 are watched by the machine in every test.
#[test]
fn t_the_machine_notes_what_a_driver_does_wrong() {
    let machine = ratified();
    let registers = machine.registers();
    registers.set_status(DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER);
    registers.set_status(DeviceStatus::ACKNOWLEDGE);
    registers.set_driver_features(1 << 34);
    registers.notify(0);
    let noted = machine.violations().join("\n");
    for rule in ["status bits were cleared", "not on offer", "VERSION_1 was not accepted", "before DRIVER_OK"] {
        assert!(noted.contains(rule), "{rule}: {noted}");
    }
}

#[test]
fn t13_interrupts_are_acknowledged() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let mut led = output(chip, 0, Low);
        machine.pump(chip);
        let mut pending = led.start_set(High).unwrap();
        machine.run();
        assert!(machine.interrupt_raised());
        assert!(chip.handle_interrupt());
        assert!(!machine.interrupt_raised());
        assert_eq!(pending.outcome(), Some(Ok(())));
    });
}

#[test]
fn t14_a_reset_is_waited_for() {
    let machine = ratified();
    machine.registers().set_status(DeviceStatus::ACKNOWLEDGE);
    machine.set_reset_time(Some(ms(300)));
    let start = machine.now();
    with_chip(&machine, |_| assert!(machine.now().since(start) >= ms(300)));
}

#[test]
fn t16_after_a_failure_the_next_try_starts_with_a_reset() {
    let machine = ratified();
    let mut bench = gpio_loopback::Bench::new();
    machine.refuse_features();
    bench.chip(&machine, &Plan::default()).unwrap_err();
    assert!(machine.status().contains(DeviceStatus::FAILED));
    machine.take_activities();
    bench.chip(&machine, &Plan::default()).unwrap_err();
    assert_eq!(machine.take_activities().first(), Some(&Activity::Reset));
    assert_eq!(machine.violations(), Vec::<String>::new());
}

#[test]
fn t23_t24_a_configuration_may_change_and_be_longer() {
    let config = [8, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8].to_vec();
    let settings = Settings { config: Some(config), ..Settings::new(RATIFIED) };
    let machine = ratified_with(settings, Options::default());
    machine.unsettle_config(1);
    with_chip(&machine, |chip| assert_eq!(chip.lines(), 8));
}

#[test]
fn t_legacy_devices_work_in_every_respect() {
    let settings = Settings { legacy: true, ..Settings::new(RATIFIED) };
    let options = Options { names: names(&["led", "", "", "", "", "", "", ""]), ..Options::default() };
    let machine = ratified_with(settings, options);
    with_plan(&machine, &Plan::default(), |chip| {
        assert!(chip.is_legacy());
        assert_eq!(chip.find("led"), Some(L0));
        let mut led = output(chip, 0, Low);
        led.set(High).unwrap();
        let _button = watched(chip, 1, BothEdges);
        drive(&machine, chip, 1, High);
        drive(&machine, chip, 1, Low);
        assert_eq!(triggers(chip), [(1, Trigger::Rising), (1, Trigger::Falling)]);
        machine.need_reset();
        machine.advance(chip, ms(100));
        assert_eq!(led.level(), Ok(High));
        drive(&machine, chip, 1, High);
        assert_eq!(triggers(chip), [(1, Trigger::Rising)]);
        // FEATURES_OK does not exist here.
        assert_eq!(machine.status(), DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER | DeviceStatus::DRIVER_OK);
    });
}
