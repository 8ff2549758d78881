//! The 2020 draft: messages, markings, errors, oddities, events.
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
    DRAFT, High, LINES, Low, RATIFIED, draft, draft_with, drive, events, input, messages, ms, names, notices, output,
    triggers, watched, with_chip, with_plan,
};
use gpio_loopback::{Bench, Machine, Plan, Settings, Tamper};
use gpio_model::bank::Bank;
use gpio_model::draft::{EBUSY, EINVAL, Options, Refusal};
use virtio_gpio::messages::draft::{HOST_LEVEL, Marking, Message, RequestType};
use virtio_gpio::transport::DeviceStatus;
use virtio_gpio::{Chip, Direction, Error, InterruptType, LineId, Notice, Oddity, Protocol, SetupError, Trigger};

use Trigger::{Falling, Rising};

const L0: LineId = LineId(0);

fn marked(marking: Marking) -> Machine {
    draft_with(Options { marking, ..Options::default() })
}

/// A completion of the receive queue with these contents.
fn message(kind: u16, line: u16, value: i32) -> Tamper {
    Tamper::Bytes(Message { kind, line: LineId(line), value }.encode().to_vec())
}

fn oddities(chip: &Chip<'_, gpio_loopback::Loopback>) -> Vec<Oddity> {
    let odd = |notice| if let Notice::Odd { oddity, .. } = notice { Some(oddity) } else { None };
    notices(chip).into_iter().filter_map(odd).collect()
}

/// Every message, bytes as the draft has them, for each of the four ways in which devices mark replies.
#[test]
fn every_message_is_understood_in_every_marking() {
    for marking in Marking::ALL {
        let machine = marked(marking);
        with_chip(&machine, |chip| {
            assert_eq!(chip.protocol(), Protocol::Draft);
            let line = chip.line(LineId(3)).unwrap();
            assert_eq!(line.direction(), Ok(Direction::Input), "the draft has no other");
            let pin = line.into_input().unwrap();
            machine.drive(LineId(3), Some(High));
            machine.pump(chip);
            assert_eq!(pin.level(), Ok(High), "{marking:?}");
            let mut pin = pin.into_output(High).unwrap();
            assert_eq!(pin.direction(), Ok(Direction::Output));
            pin.set(Low).unwrap();
            pin.release().unwrap();
            assert_eq!(
                messages(&machine),
                [(1, 3, 0), (4, 3, 0), (2, 3, 0), (5, 3, 0), (3, 3, 1), (4, 3, 0), (6, 3, 0), (2, 3, 0)]
            );
            assert_eq!(chip.statistics().timeouts, 0);
        });
    }
}

#[test]
fn events_arrive_in_every_marking() {
    for marking in Marking::ALL {
        let machine = marked(marking);
        with_chip(&machine, |chip| {
            let _pin = watched(chip, 2, InterruptType::BothEdges);
            let mut led = output(chip, 0, Low);
            for level in [High, Low] {
                drive(&machine, chip, 2, level);
                led.set(level).unwrap();
            }
            assert_eq!(triggers(chip), [(2, Rising), (2, Falling)], "{marking:?}");
            assert_eq!(chip.statistics().oddities, 0);
        });
    }
}

/// In the prose's marking the reply to REQUEST is 0x11, as an event is. One for another line, or for a high level, is
/// an event; nothing is lost and nothing is taken for the other.
#[test]
fn an_event_during_request_is_not_taken_for_its_reply() {
    for marking in Marking::ALL {
        let machine = marked(marking);
        with_chip(&machine, |chip| {
            let _pin = watched(chip, 2, InterruptType::BothEdges);
            // The events are there before the reply: one for a high level, one for another line than the one asked for.
            machine.drive(LineId(2), Some(High));
            machine.drive(LineId(2), Some(Low));
            let _line = chip.line(LineId(4)).unwrap();
            assert_eq!(triggers(chip), [(2, Rising), (2, Falling)], "{marking:?}");
            assert_eq!(chip.statistics().oddities, 0);
        });
    }
}

#[test]
fn errors_carry_the_devices_number() {
    let refusal = |request, error| Refusal { request, line: None, error };
    for (request, error) in [
        (RequestType::DirectionInput, EINVAL),
        (RequestType::DirectionOutput, EBUSY),
        (RequestType::GetDirection, 95),
        (RequestType::GetValue, 5),
        (RequestType::SetValue, 1),
    ] {
        let mut options = Options { refusals: vec![refusal(request, error)], ..Options::default() };
        options.marking = Marking::HighNibble;
        let machine = draft_with(options);
        with_chip(&machine, |chip| {
            let expected = Error::Errno(error.unsigned_abs());
            let line = chip.line(L0).unwrap();
            match request {
                RequestType::DirectionInput => assert_eq!(line.into_input().unwrap_err().error, expected),
                RequestType::DirectionOutput => assert_eq!(line.into_output(High).unwrap_err().error, expected),
                RequestType::GetDirection => assert_eq!(line.direction(), Err(expected)),
                RequestType::GetValue => assert_eq!(line.into_input().unwrap().level(), Err(expected)),
                _ => assert_eq!(line.into_output(Low).unwrap().set(High), Err(expected)),
            }
        });
    }
}

/// A line that another uses cannot be had; a device that does not know REQUEST gives its lines all the same.
#[test]
fn request_is_asked_first_and_its_refusal_heard() {
    for (error, expected) in [(EBUSY, Err(Error::Errno(16))), (EINVAL, Ok(())), (38, Ok(())), (4, Ok(()))] {
        let refusals = vec![Refusal { request: RequestType::Request, line: Some(L0), error }];
        let machine = draft_with(Options { refusals, ..Options::default() });
        with_chip(&machine, |chip| {
            assert_eq!(chip.line(L0).map(|_| ()), expected);
            let _other = chip.line(LineId(1)).unwrap();
            assert_eq!(messages(&machine), [(1, 0, 0), (1, 1, 0)], "the first message for a line is REQUEST");
        });
    }
}

#[test]
fn values_are_errors_before_they_are_levels() {
    let machine = draft();
    with_chip(&machine, |chip| {
        let pin = input(chip, 0);
        machine.tamper(0, [message(0x8005, 0, i32::MIN)]);
        assert_eq!(pin.level(), Err(Error::Errno(0x8000_0000)));
        machine.tamper(0, [message(0x8005, 0, 3)]);
        assert_eq!(pin.level(), Ok(High), "bit 0 counts");
        assert_eq!(oddities(chip), [Oddity::WideLevel(L0)]);
        machine.tamper(0, [message(0x8004, 0, 2)]);
        assert_eq!(pin.direction(), Err(Error::InvalidValue(2)));
        // SET_VALUE may be answered by the new level or by 0.
        let mut led = output(chip, 1, Low);
        machine.tamper(0, [message(0x8006, 1, 0)]);
        assert_eq!(led.set(High), Ok(()));
    });
}

/// A device that does not fill the line in: the only request under way is meant.
#[test]
fn a_reply_for_the_wrong_line_is_taken_where_only_one_can_be_meant() {
    let machine = draft();
    with_chip(&machine, |chip| {
        let mut led = output(chip, 3, Low);
        machine.tamper(0, [message(0x8006, 0, 1)]);
        assert_eq!(led.set(High), Ok(()));
        assert_eq!(oddities(chip), [Oddity::WrongLine { asked: LineId(3), answered: L0 }]);
    });
}

#[test]
fn what_answers_nothing_is_counted_and_dropped() {
    let machine = draft();
    with_chip(&machine, |chip| {
        let mut led = output(chip, 0, Low);
        for kind in [0, 7, 0x10, 0x12, 0x8005, 0x8007, 0xf006, 0x4006, 0xffff] {
            machine.send(Message { kind, line: L0, value: 0 });
            machine.pump(chip);
        }
        assert_eq!(chip.statistics().oddities, 9);
        led.set(High).unwrap();
        // Too short, or more than there was room for: it means nothing, and what it answered times out.
        for length in [0, 7, 9] {
            machine.tamper(0, [Tamper::Length(length)]);
            assert_eq!(led.set(Low), Err(Error::Timeout));
            machine.advance(chip, ms(6000));
            led.set(High).unwrap();
        }
    });
}

#[test]
fn levels_of_outputs_and_unknown_lines_are_counted_and_dropped() {
    let machine = draft();
    with_chip(&machine, |chip| {
        let _led = output(chip, 0, Low);
        let _input = input(chip, 1);
        for line in [0, 1, 2, LINES, u16::MAX] {
            machine.send(Message { kind: HOST_LEVEL, line: LineId(line), value: 1 });
        }
        machine.pump(chip);
        assert_eq!(events(chip), []);
        assert_eq!(chip.statistics().oddities, 5);
        assert!(oddities(chip).contains(&Oddity::UnwatchedLevel(L0)));
    });
}

#[test]
fn edges_are_told_by_the_levels() {
    for (kind, expected) in [
        (InterruptType::RisingEdge, vec![(2, Rising), (2, Rising)]),
        (InterruptType::FallingEdge, vec![(2, Falling), (2, Falling)]),
        (InterruptType::BothEdges, vec![(2, Rising), (2, Falling), (2, Rising), (2, Falling)]),
    ] {
        let machine = draft();
        with_chip(&machine, |chip| {
            let _pin = watched(chip, 2, kind);
            for level in [High, Low, High, Low] {
                machine.drive(LineId(2), Some(level));
            }
            // A device that repeats itself makes no edges by that.
            machine.send(Message { kind: HOST_LEVEL, line: LineId(2), value: 0 });
            machine.pump(chip);
            assert_eq!(triggers(chip), expected, "{kind:?}");
        });
    }
}

/// A change between the answer for the level and the start of watching is no edge, and does not hide the next one.
#[test]
fn a_change_while_watching_starts_does_not_hide_the_next_edge() {
    let machine = draft();
    with_chip(&machine, |chip| {
        let mut pin = input(chip, 2);
        // The answer and the level after it arrive together, while the driver waits for the answer.
        machine.tamper(0, [Tamper::Hold]);
        let device = machine.clone();
        machine.at(machine.now().after(ms(10)), move || {
            device.release_held(false);
            device.drive(LineId(2), Some(High));
        });
        pin.watch(InterruptType::BothEdges).unwrap();
        machine.pump(chip);
        assert_eq!(triggers(chip), []);
        drive(&machine, chip, 2, Low);
        assert_eq!(triggers(chip), [(2, Falling)]);
        // Unwatched, the line changes; watched again, the next edge leads away from where it is now.
        pin.watch(InterruptType::None).unwrap();
        drive(&machine, chip, 2, High);
        pin.watch(InterruptType::BothEdges).unwrap();
        drive(&machine, chip, 2, Low);
        assert_eq!(triggers(chip), [(2, Falling)]);
    });
}

#[test]
fn level_triggered_lines_are_emulated() {
    let machine = draft();
    with_chip(&machine, |chip| {
        let mut pin = watched(chip, 2, InterruptType::HighLevel);
        assert_eq!(triggers(chip), []);
        drive(&machine, chip, 2, High);
        assert_eq!(triggers(chip), [(2, Trigger::High)]);
        drive(&machine, chip, 2, Low);
        drive(&machine, chip, 2, High);
        assert_eq!(triggers(chip), [], "masked until the consumer says so");
        pin.unmask();
        machine.pump(chip);
        assert_eq!(triggers(chip), [(2, Trigger::High)], "still active");
        drive(&machine, chip, 2, Low);
        pin.unmask();
        machine.pump(chip);
        assert_eq!(triggers(chip), []);
        drive(&machine, chip, 2, High);
        assert_eq!(triggers(chip), [(2, Trigger::High)]);
        // One that is active when watching starts fires at once.
        let _low = watched(chip, 3, InterruptType::LowLevel);
        assert_eq!(triggers(chip), [(3, Trigger::Low)]);
    });
}

/// Unmasking with all request slots taken: the level is asked for when there is one.
#[test]
fn unmasking_waits_for_a_request_slot() {
    let machine = draft();
    with_plan(&machine, &Plan { requests: 1, ..Plan::default() }, |chip| {
        let mut led = output(chip, 0, Low);
        let mut pin = watched(chip, 2, InterruptType::HighLevel);
        drive(&machine, chip, 2, High);
        assert_eq!(triggers(chip), [(2, Trigger::High)]);
        let pending = led.start_set(High).unwrap();
        pin.unmask();
        assert_eq!(pending.wait(), Ok(()));
        machine.advance(chip, ms(1));
        assert_eq!(triggers(chip), [(2, Trigger::High)]);
    });
}

/// However many messages come: there is always a buffer for the next.
#[test]
fn receive_buffers_are_always_posted_again() {
    let machine = draft_with(Options { lose_without_buffer: true, ..Options::default() });
    let mut plan = Plan { events: 64, ..Plan::default() };
    plan.options.request_queue_size = 16;
    with_plan(&machine, &plan, |chip| {
        let mut led = output(chip, 0, Low);
        let _pin = watched(chip, 2, InterruptType::BothEdges);
        for _ in 0..1000 {
            // As many as there are buffers, at once.
            for round in 0..16u32 {
                machine.drive(LineId(2), Some((round % 2 == 0).into()));
            }
            machine.pump(chip);
            assert_eq!(events(chip).len(), 16);
        }
        led.set(High).unwrap();
        assert_eq!(chip.statistics().oddities, 0);
    });
}

/// The original device loses what it finds no buffer for, replies included: that is recovered from.
#[test]
fn a_reply_lost_in_a_burst_is_recovered_from() {
    let machine = draft_with(Options { lose_without_buffer: true, ..Options::default() });
    let mut plan = Plan { events: 64, ..Plan::default() };
    plan.options.request_queue_size = 8;
    with_plan(&machine, &plan, |chip| {
        let mut led = output(chip, 0, Low);
        let _pin = watched(chip, 2, InterruptType::BothEdges);
        for round in 0..100u32 {
            machine.drive(LineId(2), Some((round % 2 == 0).into()));
        }
        let _ = led.set(High);
        machine.advance(chip, ms(10_000));
        led.set(High).unwrap();
        events(chip);
        // The level is known again, whatever was lost.
        drive(&machine, chip, 2, High);
        assert_eq!(triggers(chip), [(2, Rising)]);
    });
}

/// One request at a time, unless more are allowed; then several, answered in order.
#[test]
fn as_many_requests_are_under_way_as_are_allowed() {
    for (allowed, notified) in [(1, 1), (4, 4)] {
        let machine = draft();
        let mut plan = Plan::default();
        plan.options.draft_requests_in_flight = allowed;
        with_plan(&machine, &plan, |chip| {
            let mut led = output(chip, 0, Low);
            let other = output(chip, 1, High);
            machine.take_chains();
            let pending: Vec<_> = (0..8).map(|n| led.start_set((n % 2 == 0).into()).unwrap()).collect();
            machine.run();
            assert_eq!(machine.take_chains().len(), notified);
            machine.pump(chip);
            assert!(pending.into_iter().all(|pending| pending.wait() == Ok(())));
            assert_eq!((led.level(), other.level()), (Ok(Low), Ok(High)));
        });
    }
}

#[test]
fn the_configuration_gives_the_device_and_its_lines_names() {
    let options = Options {
        device_name: "simulator".into(),
        names: names(&["led0", "", "button0", "", "", "", "", ""]),
        ..Options::default()
    };
    let machine = draft_with(options);
    with_chip(&machine, |chip| {
        assert_eq!(chip.device_name().map(|name| name.to_string()).as_deref(), Some("simulator"));
        assert_eq!(chip.find("button0"), Some(LineId(2)));
        assert_eq!((chip.name(L0).map(|name| name.to_string()).as_deref(), chip.name(LineId(1))), (Some("led0"), None));
        assert_eq!(chip.names_error(), None);
    });
}

/// A configuration space that ends early reads as ones: there are no names then, and everything else works.
#[test]
fn a_short_configuration_costs_names_only() {
    for size in [8, 0x20, 0x30, 0x40, 0x44] {
        let options = Options {
            device_name: "simulator with a long name".into(),
            names: names(&["led0", "x", "", "", "", "", "", ""]),
            config_size: size,
            ..Options::default()
        };
        let machine = draft_with(options);
        with_chip(&machine, |chip| {
            assert_eq!(chip.device_name().is_some(), size >= 0x40, "{size:#x}");
            assert_eq!(chip.name(L0), None);
            output(chip, 0, High).release().unwrap();
        });
    }
    // One that announces names which are not there.
    let settings = Settings { config: Some(vec![1, 0, 8, 0, 100, 0, 0, 0]), ..Settings::new(DRAFT) };
    let machine = Machine::draft(Bank::new(LINES), Options::default(), settings);
    with_chip(&machine, |chip| {
        assert!((0..LINES).all(|line| chip.name(LineId(line)).is_none()));
        assert_eq!(chip.device_name(), None);
    });
}

/// The later revisions have the ID of the ratified device: the configuration tells them apart.
#[test]
fn the_draft_is_known_under_both_ids() {
    let machine = Machine::draft(Bank::new(LINES), Options::default(), Settings::new(RATIFIED));
    with_chip(&machine, |chip| {
        assert_eq!(chip.protocol(), Protocol::Draft);
        output(chip, 0, High).release().unwrap();
    });
    for (id, config, expected) in [
        (DRAFT, [2, 0, 8, 0, 0, 0, 0, 0], SetupError::DraftVersion(2)),
        (DRAFT, [1, 0, 0, 0, 0, 0, 0, 0], SetupError::NoLines),
        (DRAFT, [0, 0, 0, 0, 0, 0, 0, 0], SetupError::NotGpio(DRAFT)),
    ] {
        let settings = Settings { config: Some(config.to_vec()), ..Settings::new(id) };
        let machine = Machine::draft(Bank::new(LINES), Options::default(), settings);
        let mut bench = Bench::new();
        assert_eq!(bench.chip(&machine, &Plan::default()).map(|_| ()).unwrap_err(), expected);
        // A device of another kind is some other driver's.
        let left_alone = expected == SetupError::NotGpio(DRAFT);
        assert_eq!(machine.status().contains(DeviceStatus::FAILED), !left_alone);
        assert_eq!(machine.status().is_empty(), left_alone);
    }
}

/// A device that says one thing and speaks the other is given up cleanly by whoever insists.
#[test]
fn a_protocol_that_was_chosen_wrongly_fails_by_timeout() {
    let machine = Machine::draft(Bank::new(LINES), Options::default(), Settings::new(RATIFIED));
    let plan = Plan { protocol: Some(Protocol::Ratified), ..Plan::default() };
    let mut bench = Bench::new();
    let chip = bench.chip(&machine, &plan).unwrap();
    assert_eq!(chip.line(L0).unwrap().into_input().unwrap_err().error, Error::Timeout);
}

/// Behind a reset may stand another build of the device.
#[test]
fn the_marking_is_learnt_anew_after_a_reset() {
    let machine = draft();
    with_chip(&machine, |chip| {
        let mut led = output(chip, 0, Low);
        machine.need_reset();
        machine.tamper(0, [message(0xf001, 0, 0), message(0xf003, 0, 0), message(0xf006, 0, 1)]);
        machine.advance(chip, ms(10));
        assert_eq!(notices(chip).last(), Some(&Notice::Recovered));
        led.set(High).unwrap();
    });
}

/// In between it does not change: what is marked otherwise is no reply.
#[test]
fn a_reply_with_another_marking_is_none() {
    let machine = draft();
    with_chip(&machine, |chip| {
        let mut led = output(chip, 0, Low);
        machine.tamper(0, [message(0xf006, 0, 1)]);
        assert_eq!(led.set(High), Err(Error::Timeout));
        assert!(oddities(chip).contains(&Oddity::UnexpectedMessage { kind: 0xf006, line: L0 }));
    });
}

/// More names than the configuration space has offsets: reading ends at the last one.
#[test]
#[cfg_attr(miri, ignore = "so many lines and names take the interpreter hours")]
fn names_end_where_offsets_end() {
    let mut config = vec![b'n'; 0x2_0000];
    config[..8].copy_from_slice(&[1, 0, 8, 0, 0, 0, 1, 0]);
    let settings = Settings { config: Some(config), ..Settings::new(DRAFT) };
    let machine = Machine::draft(Bank::new(LINES), Options::default(), settings);
    with_plan(&machine, &Plan { names: 0x1_0000, ..Plan::default() }, |chip| {
        let names: Vec<_> = chip.names().map(|name| name.map(|name| name.as_bytes().len())).collect();
        assert_eq!(names, [Some(0x1_0000 - 0x40)]);
    });
}

/// Replies come, and what was sent never comes back: there is nothing to time out, and no slot either.
#[test]
fn a_draft_device_that_keeps_what_it_was_sent_is_reset() {
    let machine = draft();
    with_plan(&machine, &Plan::default(), |chip| {
        let mut pin = output(chip, 0, Low);
        machine.tamper_every(1, Some(Tamper::Drop));
        let mut failed = 0;
        for _ in 0..40 {
            failed += u32::from(pin.set(High).is_err());
            machine.advance(chip, ms(10));
        }
        assert!(failed < 20, "{failed} {:?}", notices(chip));
    });
}

#[test]
fn no_request_at_once_is_one_at_once() {
    let machine = draft();
    let mut plan = Plan::default();
    plan.options.draft_requests_in_flight = 0;
    with_plan(&machine, &plan, |chip| {
        assert_eq!(output(chip, 0, Low).set(High), Ok(()));
    });
}

/// The device keeps what it was sent while it is restored, and there is one slot: it is not waited for for ever.
#[test]
fn a_draft_device_that_keeps_the_only_slot_while_it_is_restored_is_reset_again() {
    let machine = draft();
    with_plan(&machine, &Plan { requests: 1, ..Plan::default() }, |chip| {
        let mut pin = output(chip, 0, Low);
        machine.tamper_every(1, Some(Tamper::Drop));
        machine.need_reset();
        machine.advance(chip, ms(3_000));
        assert!(chip.is_recovering(), "{:?}", notices(chip));
        assert!(chip.next_deadline().is_some());
        machine.tamper_every(1, None);
        machine.advance(chip, ms(10_000));
        assert_eq!((chip.has_failed(), chip.is_recovering()), (false, false));
        assert!(chip.statistics().resets > 1);
        assert_eq!(pin.set(High), Ok(()));
    });
}

/// Without the level no first edge could be told, and no slot for the question is not a refusal to answer it.
#[test]
fn a_watch_without_a_slot_to_ask_for_the_level_is_refused() {
    let machine = draft();
    with_plan(&machine, &Plan { requests: 1, ..Plan::default() }, |chip| {
        let (mut led, mut button) = (output(chip, 0, Low), input(chip, 1));
        let pending = led.start_set(High).unwrap();
        assert_eq!(button.watch(InterruptType::RisingEdge), Err(Error::Busy));
        drop(pending);
        assert_eq!(button.watch(InterruptType::RisingEdge), Ok(()));
        drive(&machine, chip, 1, High);
        assert_eq!(triggers(chip), [(1, Rising)]);
    });
}
