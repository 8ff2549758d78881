//! The life of a device: stalls, resets, restoration, giving up.
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
    High, Low, draft, drive, events, input, ms, notices, output, ratified, requests, triggers, watched, with_chip,
    with_plan,
};
use gpio_loopback::{Bench, Loopback, Machine, Plan, Tamper};
use gpio_model::observe::Activity;
use virtio_gpio::messages::ratified::Request;
use virtio_gpio::transport::DeviceStatus;
use virtio_gpio::{Chip, Direction, Error, Fault, InterruptType, LineId, Notice, Trigger};

/// A plan with a timeout of 800 ms.
fn impatient() -> Plan {
    let mut plan = Plan::default();
    plan.options.timeout = ms(800);
    plan
}

/// Sets an output every 100 ms for so long; gives the results.
fn blink_for(
    machine: &Machine,
    chip: &Chip<'_, Loopback>,
    led: &mut virtio_gpio::Output<'_>,
    milliseconds: u64,
) -> Vec<Result<(), Error>> {
    let end = machine.now().after(ms(milliseconds));
    let mut results = Vec::new();
    let mut level = High;
    while machine.now() < end {
        let result = led.set(level);
        if result.is_ok() {
            level = level.toggled();
        }
        results.push(result);
        machine.advance(chip, ms(100));
    }
    results
}

#[test]
fn f4_a_stall_of_three_seconds_is_recovered_from() {
    for machine in [ratified(), draft()] {
        with_plan(&machine, &impatient(), |chip| {
            let mut led = output(chip, 0, Low);
            let _button = watched(chip, 1, InterruptType::BothEdges);
            machine.advance(chip, ms(10_000));
            machine.stall(ms(3000));
            let results = blink_for(&machine, chip, &mut led, 8000);
            assert_eq!(results.first(), Some(&Err(Error::Timeout)));
            assert!(results.iter().rev().take(20).all(Result::is_ok), "{results:?}");
            drive(&machine, chip, 1, High);
            assert_eq!(triggers(chip), [(1, Trigger::Rising)]);
            let told = notices(chip);
            assert_eq!(told.first(), Some(&Notice::Resetting(Fault::Unresponsive)));
            assert_eq!(told.iter().filter(|&notice| *notice == Notice::Recovered).count(), 1, "{told:?}");
            assert!(!chip.has_failed());
        });
    }
}

/// A device that never answers again is given up after about half a minute, with growing pauses between the tries.
#[test]
fn f3_f4_a_device_that_stays_silent_is_given_up_after_half_a_minute() {
    for machine in [ratified(), draft()] {
        with_plan(&machine, &impatient(), |chip| {
            let mut led = output(chip, 0, Low);
            machine.advance(chip, ms(10_000));
            machine.take_activities();
            machine.stall(ms(1_000_000));
            let start = machine.now();
            let mut resets = Vec::new();
            let mut seen = 0;
            while !chip.has_failed() {
                let _ = led.set(High);
                machine.advance(chip, ms(50));
                if chip.statistics().resets != seen {
                    seen = chip.statistics().resets;
                    resets.push(machine.now());
                }
                assert!(machine.now().since(start) < ms(60_000), "it ends");
            }
            let took = machine.now().since(start);
            assert!((ms(29_000)..ms(40_000)).contains(&took), "{took:?}");
            let pauses: Vec<_> = resets.windows(2).map(|pair| pair[1].since(pair[0])).collect();
            assert!(pauses.is_sorted() || pauses.windows(2).all(|pair| pair[1] + ms(50) >= pair[0]), "{pauses:?}");
            assert!(resets.len() < 24, "{}", resets.len());
            assert_eq!(notices(chip), [Notice::Resetting(Fault::Unresponsive), Notice::Failed]);
            assert_eq!(led.set(Low), Err(Error::ChipFailed));
            assert_eq!(chip.line(LineId(5)).unwrap_err(), Error::ChipFailed);
            assert_eq!(chip.next_deadline(), None, "nothing more is tried");
            assert!(machine.status().contains(DeviceStatus::FAILED));
        });
    }
}

/// A device that answers and breaks each time is not silent; it is given up after a number of tries.
#[test]
fn a_device_that_breaks_every_time_is_given_up() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let mut led = output(chip, 0, Low);
        machine.advance(chip, ms(10_000));
        machine.need_reset_always(true);
        machine.need_reset();
        let start = machine.now();
        while !chip.has_failed() {
            let _ = led.set(High);
            machine.advance(chip, ms(10));
            assert!(machine.now().since(start) < ms(120_000), "it ends");
        }
        assert!(chip.statistics().resets > 5);
    });
}

/// One that works for a while in between is not given up, however often it breaks.
#[test]
fn a_device_that_breaks_now_and_then_is_not_given_up() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let mut led = output(chip, 0, Low);
        for _ in 0..100 {
            machine.need_reset();
            machine.advance(chip, ms(6000));
            led.set(High).unwrap();
        }
        assert!(!chip.has_failed());
        assert_eq!(chip.statistics().resets, 100);
    });
}

#[test]
fn f1_a_device_that_needs_a_reset_gets_one() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let mut led = output(chip, 0, Low);
        // While idle.
        machine.need_reset();
        machine.advance(chip, ms(10));
        assert_eq!(notices(chip), [Notice::Resetting(Fault::NeedsReset), Notice::Recovered]);
        // While a request is under way.
        machine.advance(chip, ms(10_000));
        machine.tamper(0, [Tamper::Hold]);
        let mut pending = led.start_set(High).unwrap();
        machine.pump(chip);
        machine.need_reset();
        machine.pump(chip);
        assert_eq!(pending.outcome(), Some(Err(Error::OutcomeUnknown)));
        machine.advance(chip, ms(10));
        assert_eq!(notices(chip), [Notice::Resetting(Fault::NeedsReset), Notice::Recovered]);
        led.set(High).unwrap();
    });
}

#[test]
fn f2_a_silent_reset_is_noticed_at_the_next_deadline() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let mut led = output(chip, 0, Low);
        machine.reset_silently();
        assert_eq!(led.set(High), Err(Error::Timeout));
        machine.advance(chip, ms(10));
        assert_eq!(notices(chip), [Notice::Resetting(Fault::StatusLost), Notice::Recovered]);
        led.set(High).unwrap();
        assert_eq!(machine.line(LineId(0)).level(), High);
    });
}

/// Everything is as it was: direction, level, interrupt type, armed lines; in the order that the rules ask for.
#[test]
fn lines_are_restored_as_they_were() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let mut led = output(chip, 0, Low);
        led.set(High).unwrap();
        let _input = input(chip, 1);
        let _button = watched(chip, 2, InterruptType::BothEdges);
        let _idle = chip.line(LineId(3)).unwrap();
        drop(output(chip, 4, High));
        machine.pump(chip);
        requests(&machine);
        machine.need_reset();
        machine.advance(chip, ms(10));
        let mut seen = requests(&machine);
        // Lines may come in any order, the requests of one line may not.
        seen.sort_by_key(|request| request.line());
        assert_eq!(
            seen,
            [
                Request::SetValue(LineId(0), High),
                Request::SetDirection(LineId(0), Direction::Output),
                Request::SetDirection(LineId(1), Direction::Input),
                Request::SetDirection(LineId(2), Direction::Input),
                Request::SetInterruptType(LineId(2), InterruptType::BothEdges),
                Request::GetValue(LineId(2)),
            ]
        );
        assert_eq!(machine.line(LineId(0)).level(), High);
        assert_eq!(led.level_set(), Some(High));
        drive(&machine, chip, 2, High);
        assert_eq!(triggers(chip), [(2, Trigger::Rising)]);
    });
}

#[test]
fn the_draft_asks_for_each_line_again() {
    let machine = draft();
    with_chip(&machine, |chip| {
        let _led = output(chip, 0, High);
        let _button = watched(chip, 2, InterruptType::BothEdges);
        common::messages(&machine);
        machine.need_reset();
        machine.advance(chip, ms(10));
        let mut seen = common::messages(&machine);
        seen.sort_by_key(|&(_, line, _)| line);
        assert_eq!(seen, [(1, 0, 0), (3, 0, 1), (1, 2, 0), (2, 2, 0), (5, 2, 0)]);
        drive(&machine, chip, 2, High);
        assert_eq!(triggers(chip), [(2, Trigger::Rising)]);
    });
}

/// What changed while nobody could look is told once, and marked.
#[test]
fn an_edge_during_a_reset_is_told_once() {
    for machine in [ratified(), draft()] {
        for (kind, expected) in
            [(InterruptType::BothEdges, 1), (InterruptType::RisingEdge, 1), (InterruptType::FallingEdge, 0)]
        {
            machine.drive(LineId(2), Some(Low));
            with_chip(&machine, |chip| {
                let _button = watched(chip, 2, kind);
                machine.set_reset_time(Some(ms(50)));
                machine.need_reset();
                machine.pump(chip);
                machine.drive(LineId(2), Some(High));
                machine.advance(chip, ms(500));
                let seen = events(chip);
                assert_eq!(seen.len(), expected, "{kind:?}");
                assert!(seen.iter().all(|event| event.after_reset && event.trigger == Trigger::Rising));
                // The next edge is an ordinary one.
                drive(&machine, chip, 2, Low);
                let seen = events(chip);
                assert_eq!(seen.len(), usize::from(kind != InterruptType::RisingEdge));
                assert!(seen.iter().all(|event| !event.after_reset && event.trigger == Trigger::Falling));
                machine.set_reset_time(Some(ms(0)));
            });
        }
    }
}

#[test]
fn nothing_is_told_where_nothing_changed_during_a_reset() {
    for machine in [ratified(), draft()] {
        machine.drive(LineId(2), Some(High));
        with_chip(&machine, |chip| {
            let _button = watched(chip, 2, InterruptType::BothEdges);
            machine.need_reset();
            machine.advance(chip, ms(100));
            assert_eq!(notices(chip).len(), 2);
            assert_eq!(triggers(chip), []);
        });
    }
}

/// A level-triggered line that waits for its consumer goes on waiting; one that was armed fires if it is active.
#[test]
fn level_triggered_lines_keep_their_mask_through_a_reset() {
    for machine in [ratified(), draft()] {
        with_chip(&machine, |chip| {
            let mut fired = watched(chip, 1, InterruptType::HighLevel);
            let _armed = watched(chip, 2, InterruptType::HighLevel);
            drive(&machine, chip, 1, High);
            assert_eq!(triggers(chip), [(1, Trigger::High)]);
            machine.set_reset_time(Some(ms(50)));
            machine.need_reset();
            machine.pump(chip);
            machine.drive(LineId(2), Some(High));
            machine.advance(chip, ms(500));
            assert_eq!(triggers(chip), [(2, Trigger::High)]);
            fired.unmask();
            machine.advance(chip, ms(1));
            assert_eq!(triggers(chip), [(1, Trigger::High)]);
        });
    }
}

/// The device answers for every line but one. That one is given up, the others go on.
#[test]
fn a_mute_line_is_given_up_while_the_others_go_on() {
    for machine in [ratified(), draft()] {
        with_plan(&machine, &impatient(), |chip| {
            let mut mute = output(chip, 0, Low);
            let mut led = output(chip, 1, Low);
            let _button = watched(chip, 2, InterruptType::BothEdges);
            machine.mute(LineId(0), true);
            let mut level = High;
            let mut results = Vec::new();
            for _ in 0..200 {
                results.push(mute.set(High));
                if led.set(level).is_ok() {
                    level = level.toggled();
                }
                machine.advance(chip, ms(100));
            }
            assert_eq!(results.last(), Some(&Err(Error::LineLost)), "{:?} {:?} {results:?}", notices(chip), chip);
            assert!(!chip.has_failed());
            let lost = Notice::LineLost { line: LineId(0), error: Error::Timeout };
            assert_eq!(notices(chip).iter().filter(|&notice| *notice == lost).count(), 1);
            let results = blink_for(&machine, chip, &mut led, 10_000);
            assert!(results.iter().all(Result::is_ok), "{results:?}");
            drive(&machine, chip, 2, High);
            assert_eq!(triggers(chip), [(2, Trigger::Rising)]);
        });
    }
}

/// A line that had to wait behind mute ones is not given up with them.
#[test]
fn requests_behind_a_mute_line_do_not_count_against_theirs() {
    let machine = draft();
    with_plan(&machine, &impatient(), |chip| {
        let (mut led, mut other) = (output(chip, 0, Low), output(chip, 1, Low));
        for line in 2..6 {
            let mut mute = output(chip, line, Low);
            machine.mute(LineId(line), true);
            let done = other.start_set(High).unwrap();
            machine.pump(chip);
            let sent = mute.start_set(High).unwrap();
            drop(done);
            // Whichever slot it has, it is found overdue before the one that was sent.
            let queued = led.start_set(High).unwrap();
            assert_eq!((queued.wait(), sent.wait().is_err()), (Err(Error::Timeout), true));
            machine.advance(chip, ms(20_000));
            assert_eq!(mute.set(High), Err(Error::LineLost));
        }
        led.set(High).unwrap();
        assert_eq!(machine.line(LineId(0)).level(), High);
    });
}

/// A device that lets itself be restored and breaks with the next request, over and over, is reset with growing pauses
/// and given up.
#[test]
fn a_device_that_breaks_with_every_request_is_given_up() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let mut led = output(chip, 0, Low);
        let start = machine.now();
        while !chip.has_failed() {
            if !chip.is_recovering() {
                machine.tamper(0, [Tamper::Id(u32::MAX)]);
            }
            let _ = led.set(High);
            machine.advance(chip, ms(10));
            assert!(machine.now().since(start) < ms(120_000), "it ends");
        }
        assert_eq!(chip.statistics().resets, 24);
    });
}

/// Patience is for silence: a device that answers between its faults has more than half a minute.
#[test]
fn a_device_that_answers_between_its_faults_is_not_silent() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let mut led = output(chip, 0, Low);
        while machine.now().as_nanos() < 60_000_000_000 {
            machine.need_reset();
            machine.advance(chip, ms(4000));
            let _ = led.set(High);
        }
        assert!(!chip.has_failed());
    });
}

/// The first of an output's two messages was answered late, the second never sent: the line is no output, and does not
/// become one with the next reset.
#[test]
fn half_of_an_output_is_none() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        machine.tamper(0, [Tamper::Delay(ms(1100))]);
        let rejected = chip.line(LineId(0)).unwrap().into_output(High).unwrap_err();
        assert_eq!(rejected.error, Error::Timeout);
        machine.advance(chip, ms(200));
        machine.need_reset();
        machine.advance(chip, ms(100));
        assert_eq!(rejected.pin.direction(), Ok(Direction::None));
    });
}

/// A lost line gets a new chance with its next user.
#[test]
fn a_lost_line_can_be_taken_again() {
    let machine = ratified();
    with_plan(&machine, &impatient(), |chip| {
        let mut mute = output(chip, 0, Low);
        let other = output(chip, 1, Low);
        machine.mute(LineId(0), true);
        while mute.set(High) != Err(Error::LineLost) {
            other.level().unwrap();
            assert!(machine.now().since(virtio_gpio::clock::Instant::from_nanos(0)) < ms(60_000));
        }
        drop(mute);
        machine.mute(LineId(0), false);
        machine.advance(chip, ms(2000));
        output(chip, 0, High).set(Low).unwrap();
    });
}

/// Answers that come after the deadline are nobody else's.
#[test]
fn late_answers_are_not_taken_for_another_request() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let (low, high) = (input(chip, 0), input(chip, 1));
        machine.drive(LineId(1), Some(High));
        for _ in 0..20 {
            machine.tamper(0, [Tamper::Delay(ms(1100))]);
            assert_eq!(low.level(), Err(Error::Timeout));
            assert_eq!((high.level(), low.level()), (Ok(High), Ok(Low)));
            machine.advance(chip, ms(200));
        }
        assert_eq!(chip.statistics().resets, 0);
    });
}

/// Buffers of requests that timed out are the device's until it returns them: no later request uses the same memory.
#[test]
fn memory_is_not_used_again_before_it_came_back() {
    let machine = ratified();
    with_plan(&machine, &Plan { requests: 16, ..Plan::default() }, |chip| {
        let (slow, quick) = (input(chip, 0), input(chip, 1));
        machine.take_chains();
        machine.tamper(0, [Tamper::Hold]);
        assert_eq!(slow.level(), Err(Error::Timeout));
        let held: Vec<u64> =
            machine.take_chains().iter().flat_map(|chain| &chain.descriptors).map(|found| found.address).collect();
        assert_eq!(held.len(), 2);
        for _ in 0..50 {
            quick.level().unwrap();
        }
        let uses_held = |machine: &Machine| {
            machine.take_chains().iter().flat_map(|chain| &chain.descriptors).any(|found| held.contains(&found.address))
        };
        assert!(!uses_held(&machine));
        machine.release_held(false);
        machine.pump(chip);
        for _ in 0..50 {
            quick.level().unwrap();
        }
        assert!(uses_held(&machine), "it is used again when it came back");
    });
}

/// Where too much memory is stuck in the device, a reset frees it before nothing is left.
#[test]
fn a_device_that_swallows_requests_is_reset_before_memory_runs_out() {
    let machine = ratified();
    with_plan(&machine, &Plan { requests: 4, ..Plan::default() }, |chip| {
        let (a, b) = (input(chip, 0), input(chip, 1));
        for _ in 0..20 {
            machine.tamper(0, [Tamper::Drop]);
            assert_eq!(a.level(), Err(Error::Timeout));
            machine.advance(chip, ms(7000));
            assert_eq!((a.level(), b.level()), (Ok(Low), Ok(Low)));
        }
        assert!((1..20).contains(&chip.statistics().resets), "{}", chip.statistics().resets);
    });
}

#[test]
fn a_line_dropped_during_a_recovery_is_released() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let first = output(chip, 0, High);
        let second = watched(chip, 1, InterruptType::BothEdges);
        let third = output(chip, 2, High);
        machine.set_latency(ms(10));
        machine.need_reset();
        machine.pump(chip);
        // One at a time, at different moments of the restoration.
        for pin in [Ok(first), Err(second)] {
            machine.advance(chip, ms(25));
            assert!(chip.is_recovering());
            drop(pin);
        }
        machine.advance(chip, ms(1000));
        assert_eq!(third.level(), Ok(High));
        for line in [0, 1] {
            assert_eq!(machine.line(LineId(line)).direction, Direction::None, "line {line}");
            chip.line(LineId(line)).unwrap();
        }
        machine.set_latency(ms(0));
    });
}

#[test]
fn while_a_recovery_goes_on_nothing_is_sent_and_everybody_is_told() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let mut led = output(chip, 0, Low);
        machine.set_reset_time(Some(ms(500)));
        machine.need_reset();
        machine.pump(chip);
        assert_eq!(led.set(High), Err(Error::Recovering));
        assert!(matches!(led.start_set(High), Err(Error::Recovering)));
        assert_eq!(chip.line(LineId(3)).unwrap_err(), Error::Recovering);
        machine.advance(chip, ms(1000));
        led.set(High).unwrap();
        machine.set_reset_time(Some(ms(0)));
    });
}

/// A reset that takes longer than a second is tried again, not taken for granted.
#[test]
fn a_slow_reset_is_waited_for() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let mut led = output(chip, 0, Low);
        machine.set_reset_time(None);
        machine.need_reset();
        machine.advance(chip, ms(5000));
        assert_eq!(led.set(High), Err(Error::Recovering));
        machine.set_reset_time(Some(ms(0)));
        machine.advance(chip, ms(10_000));
        led.set(High).unwrap();
    });
}

/// F5: a chip that is dropped leaves the device reset, and the next chip finds nothing of the old one.
#[test]
fn f5_a_second_chip_starts_afresh() {
    let machine = ratified();
    for _ in 0..3 {
        with_chip(&machine, |chip| {
            assert_eq!(chip.line(LineId(0)).unwrap().direction(), Ok(Direction::None));
            let _led = output(chip, 0, High);
            let _button = watched(chip, 1, InterruptType::BothEdges);
        });
        assert_eq!(machine.status(), DeviceStatus::empty());
        assert!(machine.take_activities().contains(&Activity::Reset));
    }
}

/// While a chip is silent because its device broke, another device's chip works.
#[test]
fn c8_two_chips_do_not_disturb_each_other() {
    let (good, bad) = (ratified(), ratified());
    let (mut one, mut two) = (Bench::new(), Bench::new());
    let good_chip = one.chip(&good, &Plan::default()).unwrap();
    let bad_chip = two.chip(&bad, &impatient()).unwrap();
    let (mut led, mut dead) = (output(&good_chip, 0, Low), output(&bad_chip, 0, Low));
    bad.stall(ms(1_000_000));
    for round in 0..20u32 {
        led.set((round % 2 == 0).into()).unwrap();
        let _ = dead.set(High);
        bad.advance(&bad_chip, ms(100));
    }
    assert_eq!(good_chip.statistics().timeouts, 0);
}

/// What was made available before a reset is not notified during it (VIRTIO 1.2, 3.1.1: not before `DRIVER_OK`).
#[test]
fn a_device_is_not_notified_while_it_is_being_reset() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let mut led = output(chip, 0, Low);
        let _buttons = [watched(chip, 1, InterruptType::BothEdges), watched(chip, 2, InterruptType::BothEdges)];
        machine.set_reset_time(Some(ms(500)));
        // The first event makes the driver ask for a level; behind the second one it cannot go on.
        machine.tamper(1, [Tamper::Nothing, Tamper::IdWithHighBit]);
        machine.drive(LineId(1), Some(High));
        machine.drive(LineId(2), Some(High));
        machine.run();
        assert!(chip.handle_interrupt());
        assert!(chip.is_recovering());
        let before = machine.notifications();
        assert_eq!(led.start_set(High).map(drop), Err(Error::Recovering));
        assert_eq!(machine.notifications(), before);
        machine.advance(chip, ms(1000));
        assert_eq!(led.set(High), Ok(()));
    });
}

/// An answer that means nothing is no refusal: the restoration is tried again, and only the third time is the line given up.
#[test]
fn a_wrong_answer_while_restoring_is_asked_for_again() {
    for (wrong, lost) in [(2, false), (3, true)] {
        let machine = ratified();
        with_chip(&machine, |chip| {
            let mut led = output(chip, 0, High);
            machine.advance(chip, ms(10_000));
            machine.tamper(0, vec![Tamper::Bytes(vec![200, 0]); wrong]);
            machine.need_reset();
            machine.advance(chip, ms(2000));
            assert!(!chip.is_recovering());
            assert_eq!(led.set(Low), if lost { Err(Error::LineLost) } else { Ok(()) });
        });
    }
}

/// A refusal is final: the line is given up, once, and no later reset makes it anything behind its holder's back. Its next
/// user gets it.
#[test]
fn a_refusal_while_restoring_costs_the_line() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let mut led = output(chip, 0, High);
        let mut other = output(chip, 1, High);
        machine.advance(chip, ms(10_000));
        machine.tamper(0, [Tamper::Bytes(vec![1, 0])]);
        for _ in 0..2 {
            machine.need_reset();
            machine.advance(chip, ms(2000));
        }
        let lost = Notice::LineLost { line: LineId(0), error: Error::Refused };
        let resetting = Notice::Resetting(Fault::NeedsReset);
        assert_eq!(notices(chip), [resetting, lost, Notice::Recovered, resetting, Notice::Recovered]);
        assert_eq!(machine.line(LineId(0)).direction, Direction::None);
        assert_eq!(led.set(Low), Err(Error::LineLost));
        other.set(Low).unwrap();
        drop(led);
        output(chip, 0, Low).set(High).unwrap();
    });
}

/// The reset takes the reason of an interrupt that is pending away; that one interrupt is nothing to wonder at.
#[test]
fn an_interrupt_that_the_reset_has_overtaken_is_no_oddity() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let _led = output(chip, 0, Low);
        machine.need_reset();
        machine.advance(chip, ms(10));
        assert_eq!(notices(chip), [Notice::Resetting(Fault::NeedsReset), Notice::Recovered]);
        assert!(!chip.handle_interrupt());
        assert_eq!(notices(chip), []);
        assert!(!chip.handle_interrupt());
        assert_eq!(notices(chip).len(), 1, "the next one is");
    });
}

/// Everything that was lent is back: descriptors and request slots.
#[test]
fn nothing_is_missing_after_faults_and_a_reset() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let mut led = output(chip, 0, Low);
        let _button = watched(chip, 1, InterruptType::BothEdges);
        let rest = chip.resources();
        assert!(rest.is_at_rest(), "{rest:?}");
        assert_eq!((rest.standing, rest.requests), (2, 0));
        let pending = led.queue_set(High).unwrap();
        let busy = chip.resources();
        assert!(!busy.is_at_rest());
        assert_eq!((busy.free, busy.requests), (rest.free - 2, 1));
        machine.tamper(0, [Tamper::Duplicate]);
        drop(pending);
        machine.advance(chip, ms(500));
        assert_eq!(chip.statistics().resets, 1);
        assert_eq!(chip.resources(), rest);
    });
}

/// More often than a device may fail in a row: a reset that was asked for is no failure of the device's.
#[test]
fn a_reset_can_be_asked_for_at_any_time() {
    for machine in [ratified(), draft()] {
        with_chip(&machine, |chip| {
            let led = output(chip, 0, High);
            let button = watched(chip, 1, InterruptType::BothEdges);
            drive(&machine, chip, 1, High);
            assert_eq!(triggers(chip), [(1, Trigger::Rising)]);
            for _ in 0..50 {
                chip.reset().unwrap();
                machine.advance(chip, ms(10));
                assert_eq!(notices(chip), [Notice::Resetting(Fault::Requested), Notice::Recovered]);
            }
            assert_eq!(chip.statistics().resets, 50);
            assert_eq!((led.level(), button.last_level()), (Ok(High), Some(High)));
            drive(&machine, chip, 1, Low);
            assert_eq!(triggers(chip), [(1, Trigger::Falling)]);
            assert_eq!(button.last_level(), Some(Low));
        });
    }
}

/// The level is read before the edge and told behind it.
#[test]
fn an_edge_that_comes_before_the_level_after_a_reset_is_reported_once() {
    for kind in [InterruptType::BothEdges, InterruptType::RisingEdge] {
        let machine = ratified();
        with_chip(&machine, |chip| {
            let _pin = watched(chip, 0, kind);
            // Direction, interrupt type; the level is read at once and told later.
            machine.tamper(0, [Tamper::Nothing, Tamper::Nothing, Tamper::Delay(ms(5))]);
            machine.need_reset();
            machine.advance(chip, ms(2));
            assert!(chip.is_recovering());
            machine.drive(LineId(0), Some(High));
            machine.advance(chip, ms(100));
            assert_eq!(triggers(chip), [(0, Trigger::Rising)], "{kind:?}");
            // A reset without a change.
            machine.need_reset();
            machine.advance(chip, ms(500));
            assert_eq!(triggers(chip), [], "{kind:?}");
        });
    }
}

#[test]
fn a_device_that_keeps_the_only_slot_for_callers_is_reset() {
    for slots in [1, 2, 3, 4] {
        let machine = ratified();
        with_plan(&machine, &Plan { requests: slots, ..Plan::default() }, |chip| {
            let mut a = output(chip, 0, Low);
            let mut b = output(chip, 1, Low);
            machine.tamper(0, [Tamper::Drop]);
            assert_eq!(a.set(High), Err(Error::Timeout));
            machine.advance(chip, ms(5000));
            assert_eq!(b.set(High), Ok(()), "{slots} slots, {:?}", notices(chip));
        });
    }
}

/// The only request slot is taken by a result that the application does not look at.
#[test]
fn a_recovery_waits_for_a_slot_rather_than_giving_the_device_up() {
    let machine = ratified();
    with_plan(&machine, &Plan { requests: 1, ..Plan::default() }, |chip| {
        let mut led = output(chip, 0, Low);
        let _button = watched(chip, 1, InterruptType::BothEdges);
        machine.tamper(0, [Tamper::Hold]);
        let mut pending = led.start_set(High).unwrap();
        machine.run();
        machine.need_reset();
        machine.advance(chip, ms(60_000));
        assert_eq!(chip.next_deadline(), None, "there is nothing to be done until the application looks");
        assert_eq!(pending.outcome(), Some(Err(Error::OutcomeUnknown)));
        assert!(!chip.is_idle());
        assert!(chip.next_deadline().is_some());
        machine.advance(chip, ms(10));
        assert_eq!((chip.has_failed(), chip.is_recovering(), chip.statistics().resets), (false, false, 1));
        assert_eq!(led.set(High), Ok(()));
        drive(&machine, chip, 1, High);
        assert_eq!(triggers(chip), [(1, Trigger::Rising)]);
    });
}

/// Its interrupts go on, but nobody asks for its level any more: the requests would stay with the device.
#[test]
fn edges_of_a_line_that_was_given_up_cost_the_others_nothing() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let mut led = output(chip, 0, Low);
        let _button = watched(chip, 1, InterruptType::BothEdges);
        machine.mute(LineId(1), true);
        for edge in 0..60 {
            led.set(if edge % 2 == 0 { High } else { Low }).unwrap();
            drive(&machine, chip, 1, if edge % 2 == 0 { High } else { Low });
            for _ in 0..5 {
                machine.advance(chip, ms(250));
                led.set(High).unwrap();
            }
        }
        assert_eq!(chip.statistics().resets, 0, "{:?}", notices(chip));
        assert!(!chip.has_event_under_way());
    });
}

/// With one request slot, the edges of a line that is restored already do not keep the others waiting.
#[test]
fn a_restless_line_does_not_hold_up_the_recovery() {
    let machine = ratified();
    with_plan(&machine, &Plan { requests: 1, ..Plan::default() }, |chip| {
        let _first = watched(chip, 0, InterruptType::BothEdges);
        let _second = watched(chip, 1, InterruptType::BothEdges);
        machine.tamper_every(0, Some(Tamper::Delay(ms(1))));
        chip.reset().unwrap();
        let mut level = Low;
        for _ in 0..2000 {
            level = level.toggled();
            machine.drive(LineId(0), Some(level));
            machine.pass(core::time::Duration::from_micros(300));
            machine.pump(chip);
            chip.poll();
            while chip.next_event().is_some() {}
        }
        assert!(!chip.is_recovering());
    });
}

/// What was not answered in time is repeated behind the next reset, and makes nothing doubtful.
#[test]
fn a_watch_whose_restoration_times_out_is_restored_by_the_next_try() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let _button = watched(chip, 0, InterruptType::RisingEdge);
        // The direction, the interrupt type.
        machine.tamper(0, [Tamper::Nothing, Tamper::Drop]);
        machine.need_reset();
        machine.advance(chip, ms(5_000));
        assert_eq!((chip.is_recovering(), chip.statistics().resets), (false, 2));
        drive(&machine, chip, 0, High);
        assert_eq!(triggers(chip), [(0, Trigger::Rising)]);
    });
}
