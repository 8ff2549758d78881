//! Events of watched lines, with a device of the ratified protocol: types, pulses, latching, masking, arming again.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

mod common;

use std::boxed::Box;

use common::{
    High, LINES, Low, RATIFIED, drive, events, input, ms, notices, output, ratified, ratified_with, requests, triggers,
    watched, with_chip, with_plan,
};
use gpio_loopback::{Bench, Loopback, Machine, Plan, Settings, Tamper};
use gpio_model::ratified::{Options, Quirks};
use virtio_gpio::messages::ratified::Request;
use virtio_gpio::{Chip, Error, InterruptType, LineId, Notice, Oddity, Trigger};

use InterruptType::{BothEdges, FallingEdge, HighLevel, LowLevel, RisingEdge};
use Trigger::{Falling, Rising};

/// A line driven up and down twice, with the driver looking after each change.
fn twice_up_and_down(machine: &Machine, chip: &Chip<'_, Loopback>, line: u16) {
    for level in [High, Low, High, Low] {
        drive(machine, chip, line, level);
    }
}

#[test]
fn each_edge_type_delivers_its_edges_only() {
    for (kind, expected) in [
        (RisingEdge, vec![(3, Rising), (3, Rising)]),
        (FallingEdge, vec![(3, Falling), (3, Falling)]),
        (BothEdges, vec![(3, Rising), (3, Falling), (3, Rising), (3, Falling)]),
    ] {
        let machine = ratified();
        with_chip(&machine, |chip| {
            let _pin = watched(chip, 3, kind);
            twice_up_and_down(&machine, chip, 3);
            assert_eq!(triggers(chip), expected, "{kind:?}");
        });
    }
}

#[test]
fn a_line_that_is_high_from_the_start_falls_first() {
    let machine = ratified();
    machine.drive(LineId(3), Some(High));
    with_chip(&machine, |chip| {
        let _pin = watched(chip, 3, BothEdges);
        drive(&machine, chip, 3, Low);
        assert_eq!(triggers(chip), [(3, Falling)]);
    });
}

#[test]
fn events_carry_the_count_and_the_time_of_their_line() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let _pins = [watched(chip, 0, BothEdges), watched(chip, 1, RisingEdge)];
        machine.pass(ms(5));
        let first = machine.now();
        drive(&machine, chip, 0, High);
        machine.pass(ms(5));
        drive(&machine, chip, 0, Low);
        drive(&machine, chip, 1, High);
        let seen: Vec<_> = events(chip).iter().map(|event| (event.line.0, event.count, event.at >= first)).collect();
        assert_eq!(seen, [(0, 1, true), (0, 2, true), (1, 1, true)]);
        assert_eq!(chip.statistics().events, 3);
    });
}

/// The line is back before the driver has even looked: the second edge was latched, and none is lost.
#[test]
fn a_pulse_faster_than_the_driver_is_two_edges() {
    for (first, then, expected) in [(High, Low, [(2, Rising), (2, Falling)]), (Low, High, [(2, Falling), (2, Rising)])]
    {
        let machine = ratified();
        machine.drive(LineId(2), Some(then));
        with_chip(&machine, |chip| {
            let _pin = watched(chip, 2, BothEdges);
            machine.drive(LineId(2), Some(first));
            machine.drive(LineId(2), Some(then));
            machine.pump(chip);
            assert_eq!(triggers(chip), expected);
        });
    }
}

/// Three edges make one event and one latched edge; what the level says beyond that is delivered too.
#[test]
fn e7_edges_that_the_device_merged_leave_the_right_level_behind() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let _pin = watched(chip, 2, BothEdges);
        for level in [High, Low, High] {
            machine.drive(LineId(2), Some(level));
        }
        machine.pump(chip);
        assert_eq!(triggers(chip), [(2, Rising), (2, Falling), (2, Rising)]);
        // The next edge is told right again.
        drive(&machine, chip, 2, Low);
        assert_eq!(triggers(chip), [(2, Falling)]);
    });
}

#[test]
fn a_latched_edge_is_delivered_when_the_line_is_armed_again() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let _pin = watched(chip, 2, RisingEdge);
        for level in [High, Low, High, Low] {
            machine.drive(LineId(2), Some(level));
        }
        machine.pump(chip);
        assert_eq!(triggers(chip), [(2, Rising), (2, Rising)]);
    });
}

#[test]
fn an_active_level_fires_once_until_it_is_unmasked() {
    for (kind, idle, active, trigger) in [(HighLevel, Low, High, Trigger::High), (LowLevel, High, Low, Trigger::Low)] {
        let machine = ratified();
        machine.drive(LineId(5), Some(idle));
        with_chip(&machine, |chip| {
            let mut pin = watched(chip, 5, kind);
            drive(&machine, chip, 5, active);
            assert_eq!(triggers(chip), [(5, trigger)]);
            machine.advance(chip, ms(100));
            assert_eq!(triggers(chip), [], "{kind:?} stays masked");
            // Still active: it fires again at once (5.18.7).
            pin.unmask();
            machine.pump(chip);
            assert_eq!(triggers(chip), [(5, trigger)]);
            // No longer active: nothing is latched.
            drive(&machine, chip, 5, idle);
            pin.unmask();
            machine.pump(chip);
            assert_eq!(triggers(chip), []);
            drive(&machine, chip, 5, active);
            assert_eq!(triggers(chip), [(5, trigger)]);
        });
    }
}

#[test]
fn a_level_that_is_active_from_the_start_fires() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let _pin = watched(chip, 5, LowLevel);
        machine.pump(chip);
        assert_eq!(triggers(chip), [(5, Trigger::Low)]);
    });
}

#[test]
fn unmasking_an_edge_line_or_an_armed_line_changes_nothing() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let mut edge = watched(chip, 0, RisingEdge);
        let mut level = watched(chip, 1, HighLevel);
        let before = machine.notifications();
        edge.unmask();
        level.unmask();
        machine.pump(chip);
        assert_eq!(machine.notifications(), before);
        drive(&machine, chip, 0, High);
        drive(&machine, chip, 1, High);
        assert_eq!(triggers(chip), [(0, Rising), (1, Trigger::High)]);
    });
}

#[test]
fn one_interrupt_can_carry_events_of_many_lines() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let _pins: Vec<_> = (0..LINES).map(|line| watched(chip, line, RisingEdge)).collect();
        for line in 0..LINES {
            machine.drive(LineId(line), Some(High));
        }
        let interrupts = chip.statistics().interrupts;
        machine.pump(chip);
        assert_eq!(chip.statistics().interrupts, interrupts + 1);
        assert_eq!(triggers(chip), (0..LINES).map(|line| (line, Rising)).collect::<Vec<_>>());
    });
}

/// The device latches what the application has no room for; nothing is dropped while the reader is slow.
#[test]
fn a_slow_reader_holds_the_line_back() {
    let machine = ratified();
    with_plan(&machine, &Plan { events: 1, ..Plan::default() }, |chip| {
        let _pin = watched(chip, 0, RisingEdge);
        drive(&machine, chip, 0, High);
        drive(&machine, chip, 0, Low);
        drive(&machine, chip, 0, High);
        assert_eq!(chip.next_event().map(|event| event.count), Some(1));
        // Taking the event is all that the application does: the line is armed by that.
        machine.pump(chip);
        assert_eq!(chip.next_event().map(|event| event.count), Some(2));
        assert_eq!(chip.statistics().dropped_events, 0);
    });
}

#[test]
fn what_finds_no_room_is_counted() {
    let machine = ratified();
    with_plan(&machine, &Plan { events: 1, ..Plan::default() }, |chip| {
        let _pins = [watched(chip, 0, RisingEdge), watched(chip, 1, RisingEdge)];
        machine.drive(LineId(0), Some(High));
        machine.drive(LineId(1), Some(High));
        machine.pump(chip);
        assert_eq!(triggers(chip), [(0, Rising)]);
        assert_eq!((chip.statistics().events, chip.statistics().dropped_events), (1, 1));
    });
}

#[test]
fn a_line_that_is_no_longer_watched_says_nothing() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let mut pin = watched(chip, 0, BothEdges);
        pin.watch(InterruptType::None).unwrap();
        machine.pump(chip);
        twice_up_and_down(&machine, chip, 0);
        assert_eq!(triggers(chip), []);
        assert_eq!(chip.statistics().oddities, 0);
        pin.watch(FallingEdge).unwrap();
        twice_up_and_down(&machine, chip, 0);
        assert_eq!(triggers(chip), [(0, Falling), (0, Falling)]);
    });
}

#[test]
fn watching_for_what_is_watched_already_sends_nothing() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let mut pin = watched(chip, 0, BothEdges);
        requests(&machine);
        pin.watch(BothEdges).unwrap();
        assert_eq!(requests(&machine), []);
    });
}

#[test]
fn as_many_lines_can_be_watched_as_the_event_queue_holds() {
    let machine = ratified();
    let mut plan = Plan::default();
    plan.options.event_queue_size = 4;
    with_plan(&machine, &plan, |chip| {
        assert_eq!(chip.watch_limit(), Some(2));
        let (mut first, _second) = (watched(chip, 0, RisingEdge), watched(chip, 1, RisingEdge));
        let mut third = input(chip, 2);
        requests(&machine);
        assert_eq!(third.watch(RisingEdge), Err(Error::TooManyWatched { limit: 2 }));
        assert_eq!(requests(&machine), [], "refused before anything was sent");
        first.watch(InterruptType::None).unwrap();
        machine.pump(chip);
        third.watch(RisingEdge).unwrap();
        drive(&machine, chip, 0, High);
        drive(&machine, chip, 2, High);
        assert_eq!(triggers(chip), [(2, Rising)]);
    });
}

#[test]
fn watching_costs_the_same_when_the_device_is_as_strict_as_can_be() {
    let options = Options { quirks: Quirks::VHOST_DEVICE, ..Options::default() };
    let machine = ratified_with(Settings::new(RATIFIED), options);
    with_chip(&machine, |chip| {
        let mut pin = watched(chip, 0, RisingEdge);
        pin.watch(FallingEdge).unwrap();
        twice_up_and_down(&machine, chip, 0);
        assert_eq!(triggers(chip), [(0, Falling), (0, Falling)]);
        let pin = pin.into_output(High).unwrap().into_input().unwrap();
        pin.release().unwrap();
    });
}

/// A device that cannot tell the level, only that it changed: events alternate from the level known at first.
#[test]
fn both_edges_alternate_where_the_level_cannot_be_read() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let _pin = watched(chip, 0, BothEdges);
        machine.tamper_every(0, Some(Tamper::Bytes(vec![1, 0])));
        twice_up_and_down(&machine, chip, 0);
        assert_eq!(triggers(chip), [(0, Rising), (0, Falling), (0, Rising), (0, Falling)]);
        machine.tamper_every(0, None);
    });
}

/// The question for the level waits for a free request slot, and is not forgotten over it.
#[test]
fn an_edge_waits_for_a_request_slot() {
    let machine = ratified();
    with_plan(&machine, &Plan { requests: 1, ..Plan::default() }, |chip| {
        let mut led = output(chip, 1, Low);
        let _pin = watched(chip, 0, BothEdges);
        machine.tamper(0, [Tamper::Hold]);
        let pending = led.start_set(High).unwrap();
        drive(&machine, chip, 0, High);
        assert_eq!(triggers(chip), [], "the only slot is taken");
        machine.release_held(false);
        machine.pump(chip);
        assert_eq!(pending.wait(), Ok(()));
        machine.advance(chip, ms(1));
        assert_eq!(triggers(chip), [(0, Rising)]);
        drive(&machine, chip, 0, Low);
        assert_eq!(triggers(chip), [(0, Falling)]);
    });
}

/// A device gives the buffer back when the interrupt is switched off, and may do so before it answers. That is not odd, and
/// the buffer is not queued for nothing.
#[test]
fn a_buffer_that_comes_back_before_the_answer_to_switching_off_stays_here() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let mut pin = watched(chip, 0, RisingEdge);
        machine.pump(chip);
        machine.take_chains();
        machine.tamper(0, [Tamper::Delay(ms(1))]);
        pin.watch(InterruptType::None).unwrap();
        machine.advance(chip, ms(10));
        assert_eq!(machine.take_chains().iter().filter(|chain| chain.queue == 1).count(), 0);
        assert_eq!((notices(chip), chip.statistics().oddities), (vec![], 0));
    });
}

/// Where the interrupt stays on after all, the buffer goes back to the device.
#[test]
fn a_buffer_that_came_back_is_queued_again_where_the_interrupt_stays_on() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let mut pin = watched(chip, 0, RisingEdge);
        machine.pump(chip);
        // Switched off, but by its answer something else happened.
        machine.tamper(0, [Tamper::Bytes(vec![7, 0])]);
        assert!(pin.watch(InterruptType::None).is_err());
        machine.pump(chip);
        machine.take_chains();
        machine.advance(chip, ms(100));
        let before = machine.take_activities().len();
        pin.watch(InterruptType::None).unwrap();
        pin.watch(RisingEdge).unwrap();
        drive(&machine, chip, 0, High);
        assert_eq!(triggers(chip), [(0, Rising)], "{before}");
    });
}

/// E5, E6 of the fault catalogue: a pair that comes back without an interrupt is queued again.
#[test]
fn e6_a_pair_returned_without_an_interrupt_is_queued_again() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let _pin = watched(chip, 0, RisingEdge);
        machine.tamper(1, [Tamper::Bytes(vec![0])]);
        drive(&machine, chip, 0, High);
        assert_eq!(triggers(chip), [], "INVALID is no edge");
        assert_eq!(notices(chip), [Notice::Odd { oddity: Oddity::EmptyEvent(LineId(0)), count: 1 }]);
        drive(&machine, chip, 0, Low);
        drive(&machine, chip, 0, High);
        assert_eq!(triggers(chip), [(0, Rising)]);
    });
}

/// A line whose buffer came back empty again and again is armed after a pause. When that is over and the line waits for
/// something else, the end of the pause is no deadline: the application would be kept busy by it.
#[test]
fn a_pause_that_is_over_is_no_deadline() {
    for released in [true, false] {
        let machine = ratified();
        let plan = Plan { requests: 1, events: 1, ..Plan::default() };
        with_plan(&machine, &plan, |chip| {
            let pin = watched(chip, 0, BothEdges);
            machine.tamper_every(1, Some(Tamper::Bytes(vec![0])));
            for level in [High, Low, High, Low] {
                drive(&machine, chip, 0, level);
            }
            let pause = chip.next_deadline().expect("the device is slowed down");
            let mut pin = Some(pin);
            let _other;
            if released {
                // Two messages end the use of the line; the second one has to wait for the first one's slot.
                machine.stall(ms(100_000));
                pin = None;
            } else {
                // There is no room for another event.
                machine.tamper_every(1, None);
                _other = watched(chip, 1, RisingEdge);
                drive(&machine, chip, 1, High);
            }
            machine.pass(pause.since(machine.now()) + ms(1));
            chip.poll();
            assert!(chip.next_deadline().is_none_or(|due| due > machine.now()), "released: {released}");
            drop(pin);
        });
    }
}

/// The same for a pause that a reset overtakes, and for a device that is given up then.
#[test]
fn a_pause_that_a_reset_has_overtaken_is_no_deadline() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let _pin = watched(chip, 0, BothEdges);
        machine.tamper_every(1, Some(Tamper::Bytes(vec![0])));
        for level in [High, Low, High, Low] {
            drive(&machine, chip, 0, level);
        }
        let pause = chip.next_deadline().expect("the device is slowed down");
        machine.set_reset_time(None);
        machine.need_reset();
        machine.pump(chip);
        machine.pass(pause.since(machine.now()) + ms(1));
        chip.poll();
        assert!(chip.next_deadline().is_some_and(|due| due > machine.now()), "the reset is looked at now and then");
        machine.advance(chip, ms(60_000));
        assert!(chip.has_failed());
        assert_eq!(chip.next_deadline(), None);
        machine.set_reset_time(Some(ms(0)));
    });
}

/// Who would sleep looks for the level that says which edge it was, and for no longer than it may.
#[test]
fn the_level_behind_an_event_is_looked_for_before_anybody_sleeps() {
    for limit in [ms(0), ms(1)] {
        let machine = ratified();
        let mut plan = Plan::default();
        plan.options.poll_limit = limit;
        with_plan(&machine, &plan, |chip| {
            let _pin = watched(chip, 0, BothEdges);
            assert!(chip.is_idle());
            machine.tamper(0, [Tamper::Hold]);
            drive(&machine, chip, 0, High);
            assert!(chip.has_event_under_way());
            assert_eq!(chip.is_idle(), limit.is_zero());
            machine.pass(limit);
            assert!(chip.is_idle(), "the application may sleep");
            machine.release_held(false);
            machine.pump(chip);
            assert_eq!(triggers(chip), [(0, Rising)]);
            assert!(chip.is_idle());
        });
    }
}

/// Interrupts are taken while the application waits for something else.
#[test]
fn edges_are_found_by_the_interrupt_handler_during_a_request() {
    let machine = ratified();
    let bench: &'static mut Bench = Box::leak(Box::default());
    let chip: &'static Chip<'static, Loopback> = Box::leak(Box::new(bench.chip(&machine, &Plan::default()).unwrap()));
    let handler = machine.clone();
    machine.set_handler(move || {
        while handler.interrupt_raised() {
            assert!(chip.handle_interrupt());
        }
    });
    let _pin = watched(chip, 0, BothEdges);
    let mut led = output(chip, 1, Low);
    machine.drive(LineId(0), Some(High));
    led.set(High).unwrap();
    machine.drive(LineId(0), Some(Low));
    led.set(Low).unwrap();
    machine.advance(chip, ms(1));
    assert_eq!(triggers(chip), [(0, Rising), (0, Falling)]);
    assert_eq!(chip.statistics().oddities, 0);
    assert_eq!(machine.violations(), Vec::<String>::new());
}

#[test]
fn a_line_that_changes_hands_starts_afresh() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        drop(watched(chip, 0, BothEdges));
        let mut pin = input(chip, 0);
        pin.watch(RisingEdge).unwrap();
        machine.advance(chip, ms(100));
        drive(&machine, chip, 0, High);
        assert_eq!(events(chip).iter().map(|event| event.count).collect::<Vec<_>>(), [1]);
        assert!(requests(&machine).contains(&Request::SetInterruptType(LineId(0), InterruptType::None)));
    });
}

/// A device that refuses `GET_VALUE`: that there was an edge is known, and no more.
#[test]
fn edges_without_a_level_alternate_and_say_that_it_is_assumed() {
    let machine = ratified();
    let refuse = || Tamper::Bytes(vec![1, 0]);
    with_chip(&machine, |chip| {
        let mut pin = input(chip, 0);
        machine.tamper(0, [refuse(), Tamper::Nothing, refuse(), refuse()]);
        pin.watch(BothEdges).unwrap();
        drive(&machine, chip, 0, High);
        drive(&machine, chip, 0, Low);
        let seen = events(chip);
        assert_eq!(seen.iter().map(|event| event.trigger).collect::<Vec<_>>(), [Rising, Falling]);
        assert!(seen.iter().all(|event| event.assumed));
        // Once the device tells the level, nothing is assumed any more.
        drive(&machine, chip, 0, High);
        let seen = events(chip);
        assert_eq!(seen.iter().map(|event| (event.trigger, event.assumed)).collect::<Vec<_>>(), [(Rising, false)]);
    });
}

/// An edge whose level is not told yet takes room as well.
#[test]
fn a_line_is_not_armed_without_room_for_what_it_may_bring() {
    let machine = ratified();
    with_plan(&machine, &Plan { events: 1, ..Plan::default() }, |chip| {
        let _pin = watched(chip, 0, BothEdges);
        machine.tamper(0, [Tamper::Delay(ms(10))]);
        drive(&machine, chip, 0, High);
        machine.advance(chip, ms(1));
        drive(&machine, chip, 0, Low);
        machine.advance(chip, ms(100));
        let mut seen = Vec::new();
        while let Some(event) = chip.next_event() {
            seen.push(event.trigger);
            machine.advance(chip, ms(100));
        }
        assert_eq!((seen.as_slice(), chip.statistics().dropped_events), (&[Rising, Falling][..], 0));
    });
}

#[test]
fn edges_behind_a_slow_level_are_not_lost() {
    let machine = ratified();
    with_plan(&machine, &Plan { events: 1024, ..Plan::default() }, |chip| {
        let _pin = watched(chip, 0, BothEdges);
        machine.tamper(0, [Tamper::Delay(ms(500))]);
        for edge in 0..300 {
            drive(&machine, chip, 0, if edge % 2 == 0 { High } else { Low });
        }
        machine.advance(chip, ms(1000));
        assert_eq!((triggers(chip).len(), chip.statistics().dropped_events), (300, 0));
    });
}

/// A line that has brought an event leaves room for what the other ones may bring.
#[test]
fn a_line_that_is_armed_has_its_place_among_the_events() {
    for kind in [RisingEdge, BothEdges] {
        let machine = ratified();
        with_plan(&machine, &Plan { events: 3, ..Plan::default() }, |chip| {
            let _pins: Vec<_> = (0..3).map(|line| watched(chip, line, kind)).collect();
            let mut seen = Vec::new();
            for level in [High, Low, High, Low] {
                drive(&machine, chip, 0, level);
            }
            for line in [1, 2] {
                drive(&machine, chip, line, High);
            }
            assert_eq!(chip.statistics().dropped_events, 0);
            while let Some(event) = chip.next_event() {
                seen.push((event.line.0, event.trigger));
                machine.pump(chip);
            }
            assert_eq!(chip.statistics().dropped_events, 0);
            assert!([0, 1, 2].iter().all(|&line| seen.contains(&(line, Rising))), "{seen:?}");
            assert_eq!(chip.resources().standing, 6, "all are armed again");
        });
    }
}
