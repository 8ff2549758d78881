//! Requests that are carried out after the driver has stopped waiting for them: what the application holds counts, and
//! the device is told so.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

mod common;

use core::time::Duration;

use common::{
    High, Low, RATIFIED, drive, input, ms, output, ratified, ratified_with, requests, triggers, watched, with_chip,
    with_plan,
};
use gpio_loopback::{Machine, Plan, Settings, Tamper};
use gpio_model::ratified::{Options, Quirks};
use virtio_gpio::messages::ratified::Request;
use virtio_gpio::{Direction, Error, InterruptType, LineId, Trigger};

const L0: LineId = LineId(0);

/// As strict as rust-vmm's device: a type that is set already is an error.
fn strict() -> Machine {
    ratified_with(Settings::new(RATIFIED), Options { quirks: Quirks::VHOST_DEVICE, ..Options::default() })
}

/// An answer that is later than its deadline. The request itself is carried out at once.
const LATE: Tamper = Tamper::Delay(Duration::from_millis(1100));

#[test]
fn an_input_that_became_an_output_too_late_is_made_an_input_again() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let pin = input(chip, 0);
        machine.tamper(0, [Tamper::Nothing, LATE]);
        let rejected = pin.into_output(High).unwrap_err();
        assert_eq!(rejected.error, Error::Timeout);
        let mut pin = rejected.pin;
        machine.advance(chip, ms(500));
        assert_eq!(pin.direction(), Ok(Direction::Input));
        // It can be watched like any input, and is restored as one.
        pin.watch(InterruptType::RisingEdge).unwrap();
        requests(&machine);
        machine.need_reset();
        machine.advance(chip, ms(500));
        assert!(requests(&machine).contains(&Request::SetDirection(L0, Direction::Input)));
        assert_eq!(pin.direction(), Ok(Direction::Input));
    });
}

#[test]
fn an_output_that_became_an_input_too_late_is_driven_again() {
    let machine = strict();
    with_chip(&machine, |chip| {
        let pin = output(chip, 0, High);
        machine.tamper(0, [LATE]);
        let rejected = pin.into_input().unwrap_err();
        assert_eq!(rejected.error, Error::Timeout);
        machine.advance(chip, ms(500));
        assert_eq!(rejected.pin.direction(), Ok(Direction::Output));
        assert_eq!(machine.line(L0).level(), High);
        assert_eq!(rejected.pin.level_set(), Some(High));
    });
}

#[test]
fn a_line_that_was_configured_too_late_is_free_again() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let line = chip.line(L0).unwrap();
        machine.tamper(0, [LATE]);
        let rejected = line.into_input().unwrap_err();
        machine.advance(chip, ms(500));
        assert_eq!(rejected.pin.direction(), Ok(Direction::None));
    });
}

/// The next request of the line's holder does not overtake the correction.
#[test]
fn a_correction_comes_before_what_follows() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let pin = output(chip, 0, High);
        requests(&machine);
        machine.tamper(0, [LATE]);
        let mut pin = pin.into_input().unwrap_err().pin;
        pin.set(Low).unwrap();
        let expected = [
            Request::SetDirection(L0, Direction::Input),
            Request::SetValue(L0, High),
            Request::SetDirection(L0, Direction::Output),
            Request::SetValue(L0, Low),
        ];
        assert_eq!(requests(&machine), expected);
        machine.advance(chip, ms(500));
        assert_eq!((pin.direction(), pin.level_set()), (Ok(Direction::Output), Some(Low)));
        assert_eq!(machine.line(L0).level(), Low);
    });
}

/// The device has the interrupt enabled when the driver tries again: it goes through NONE (VIRTIO 1.2, 5.18.6.8).
#[test]
fn a_watch_that_timed_out_can_be_tried_again() {
    for wait in [0, 500] {
        let machine = strict();
        with_chip(&machine, |chip| {
            let mut pin = input(chip, 0);
            // The level, then the interrupt type.
            machine.tamper(0, [Tamper::Nothing, LATE]);
            assert_eq!(pin.watch(InterruptType::RisingEdge), Err(Error::Timeout));
            machine.advance(chip, ms(wait));
            drive(&machine, chip, 0, High);
            drive(&machine, chip, 0, Low);
            assert_eq!(triggers(chip), [], "what failed does not come true behind the back");
            assert_eq!(pin.watch(InterruptType::RisingEdge), Ok(()));
            drive(&machine, chip, 0, High);
            assert_eq!(triggers(chip), [(0, Trigger::Rising)]);
        });
    }
}

/// A line that is dropped meanwhile is released with its interrupt off first.
#[test]
fn a_watch_that_timed_out_is_ended_when_the_line_is_dropped() {
    let machine = strict();
    with_chip(&machine, |chip| {
        let mut pin = input(chip, 0);
        machine.tamper(0, [Tamper::Nothing, LATE]);
        assert_eq!(pin.watch(InterruptType::RisingEdge), Err(Error::Timeout));
        drop(pin);
        machine.advance(chip, ms(500));
        let seen = requests(&machine);
        assert!(seen.ends_with(&[
            Request::SetInterruptType(L0, InterruptType::None),
            Request::SetDirection(L0, Direction::None)
        ]));
    });
}

/// A line that cannot be put right is given up, and its holder hears of it.
#[test]
fn a_correction_that_is_refused_costs_the_line() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let pin = input(chip, 0);
        machine.tamper(0, [Tamper::Nothing, LATE, Tamper::Bytes(vec![1, 0])]);
        let pin = pin.into_output(High).unwrap_err().pin;
        machine.advance(chip, ms(500));
        assert_eq!(pin.level(), Err(Error::LineLost));
    });
}

/// An answer that means nothing is no refusal: the correction is tried again, but not for ever: with
/// the time-out before it, the third failure in a row is the last.
#[test]
fn a_correction_with_a_wrong_answer_is_tried_again() {
    for (wrong, lost) in [(1, false), (2, true)] {
        let machine = ratified();
        with_chip(&machine, |chip| {
            let pin = input(chip, 0);
            let wrong = std::iter::repeat_n(Tamper::Bytes(vec![200, 0]), wrong);
            machine.tamper(0, [Tamper::Nothing, LATE].into_iter().chain(wrong));
            let pin = pin.into_output(High).unwrap_err().pin;
            machine.advance(chip, ms(500));
            assert_eq!(pin.level().err(), lost.then_some(Error::LineLost));
        });
    }
}

/// Requests of a line's former holder say nothing about its next one.
#[test]
fn answers_to_a_former_holder_are_not_the_next_ones() {
    let machine = ratified();
    with_plan(&machine, &Plan::default(), |chip| {
        let mut pin = output(chip, 0, Low);
        machine.tamper(0, [Tamper::Hold, Tamper::Hold]);
        let pending = pin.start_set(High).unwrap();
        drop((pin, pending));
        let pin = input(chip, 0);
        machine.run();
        machine.release_held(false);
        machine.pump(chip);
        requests(&machine);
        drop(pin);
        machine.advance(chip, ms(10));
        assert_eq!(requests(&machine), [Request::SetDirection(L0, Direction::None)], "it is still known to be in use");
    });
}

/// The correction takes two messages, and the release comes in between.
#[test]
fn a_line_that_is_dropped_while_it_is_corrected_is_released() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let pin = output(chip, 0, High);
        machine.tamper(0, [LATE, Tamper::Hold]);
        let pin = pin.into_input().unwrap_err().pin;
        // The correction's first message is with the device.
        machine.run();
        requests(&machine);
        drop(pin);
        machine.run();
        machine.release_held(false);
        machine.advance(chip, ms(500));
        let seen = requests(&machine);
        assert_eq!(seen.last(), Some(&Request::SetDirection(L0, Direction::None)), "{seen:?}");
    });
}

/// A line's requests are carried out in order, whenever they are answered.
#[test]
fn a_level_that_is_answered_late_is_not_taken_for_the_last_one() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let mut pin = output(chip, 0, Low);
        machine.tamper(0, [LATE]);
        assert_eq!(pin.set(High), Err(Error::Timeout));
        pin.set(Low).unwrap();
        machine.advance(chip, ms(500));
        assert_eq!((machine.line(L0).level(), pin.level_set()), (Low, Some(Low)));
        machine.need_reset();
        machine.advance(chip, ms(500));
        assert_eq!(machine.line(L0).level(), Low);
    });
}

#[test]
fn levels_of_a_line_answered_in_another_order_leave_the_last_one() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let mut pin = output(chip, 0, Low);
        machine.tamper(0, [Tamper::Hold, Tamper::Hold]);
        let (first, second) = (pin.start_set(High).unwrap(), pin.start_set(Low).unwrap());
        machine.run();
        machine.release_held(true);
        machine.pump(chip);
        assert_eq!((first.wait(), second.wait()), (Ok(()), Ok(())));
        assert_eq!((machine.line(L0).level(), pin.level_set()), (Low, Some(Low)));
    });
}

/// The first answer to two requests that end a watch comes when the line is watched again, or never.
#[test]
fn a_watch_whose_end_is_repeated_can_be_followed_by_another() {
    for answer in [LATE, Tamper::Drop] {
        let machine = ratified();
        with_chip(&machine, |chip| {
            let mut pin = watched(chip, 0, InterruptType::BothEdges);
            machine.tamper(0, [answer.clone()]);
            assert_eq!(pin.watch(InterruptType::None), Err(Error::Timeout));
            pin.watch(InterruptType::None).unwrap();
            pin.watch(InterruptType::BothEdges).unwrap();
            machine.advance(chip, ms(500));
            drive(&machine, chip, 0, High);
            assert_eq!(triggers(chip), [(0, Trigger::Rising)], "{answer:?}");
        });
    }
}

/// The first edge leads away from the level that was read last, whichever was told last.
#[test]
fn an_older_level_that_is_told_later_is_not_the_last_one() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let mut pin = input(chip, 0);
        // A level that is told late, the level before the watch, the type.
        machine.tamper(0, [Tamper::Hold, Tamper::Nothing, Tamper::Delay(ms(10))]);
        let old = pin.start_level().unwrap();
        machine.run();
        machine.drive(L0, Some(High));
        let other = machine.clone();
        machine.at(machine.now().after(ms(5)), move || other.release_held(false));
        pin.watch(InterruptType::BothEdges).unwrap();
        assert_eq!(old.wait(), Ok(Low));
        drive(&machine, chip, 0, Low);
        assert_eq!(triggers(chip), [(0, Trigger::Falling)]);
    });
}

#[test]
fn a_question_that_is_answered_first_leaves_the_level_that_was_set_before_it() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let mut pin = output(chip, 0, Low);
        machine.tamper(0, [Tamper::Hold, Tamper::Hold]);
        let (first, second) = (pin.start_set(High).unwrap(), pin.start_level().unwrap());
        machine.run();
        machine.release_held(true);
        machine.pump(chip);
        assert_eq!((first.wait(), second.wait()), (Ok(()), Ok(High)));
        assert_eq!((machine.line(L0).level(), pin.level_set()), (High, Some(High)));
    });
}

/// The answer to what an event led to is held back, while the line changes hands.
#[test]
fn a_level_that_was_asked_for_another_holder_is_no_edge() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let pin = watched(chip, 0, InterruptType::BothEdges);
        machine.tamper(0, [Tamper::Hold]);
        drive(&machine, chip, 0, High);
        drop(pin);
        machine.pump(chip);
        drive(&machine, chip, 0, Low);
        let _pin = watched(chip, 0, InterruptType::BothEdges);
        machine.pump(chip);
        machine.release_held(false);
        machine.pump(chip);
        assert_eq!(triggers(chip), []);
        drive(&machine, chip, 0, High);
        assert_eq!(triggers(chip), [(0, Trigger::Rising)]);
    });
}

#[test]
fn a_level_that_was_asked_for_an_earlier_watch_is_no_edge() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let mut pin = watched(chip, 0, InterruptType::BothEdges);
        machine.tamper(0, [Tamper::Hold]);
        drive(&machine, chip, 0, High);
        pin.watch(InterruptType::None).unwrap();
        drive(&machine, chip, 0, Low);
        pin.watch(InterruptType::BothEdges).unwrap();
        machine.pump(chip);
        machine.release_held(false);
        machine.pump(chip);
        assert_eq!(triggers(chip), []);
        drive(&machine, chip, 0, High);
        assert_eq!(triggers(chip), [(0, Trigger::Rising)]);
    });
}

/// The device has ended the watch, or does so behind the back: either way the next one is not ended with it.
#[test]
fn a_watch_whose_end_timed_out_can_be_begun_again_at_once() {
    for (answer, wait) in [(Tamper::Drop, 0), (Tamper::Drop, 500), (LATE, 0), (LATE, 500)] {
        let machine = strict();
        with_chip(&machine, |chip| {
            let mut pin = watched(chip, 0, InterruptType::BothEdges);
            machine.tamper(0, [answer.clone()]);
            assert_eq!(pin.watch(InterruptType::None), Err(Error::Timeout));
            machine.advance(chip, ms(wait));
            assert_eq!(pin.watch(InterruptType::BothEdges), Ok(()));
            machine.advance(chip, ms(500));
            for (level, trigger) in [(High, Trigger::Rising), (Low, Trigger::Falling)] {
                drive(&machine, chip, 0, level);
                assert_eq!(triggers(chip), [(0, trigger)], "{answer:?} {wait}");
            }
        });
    }
}

/// A reset ends what was to end.
#[test]
fn a_watch_that_was_being_ended_is_not_restored() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let mut pin = watched(chip, 0, InterruptType::BothEdges);
        machine.tamper(0, [Tamper::Drop, Tamper::Hold]);
        assert_eq!(pin.watch(InterruptType::None), Err(Error::Timeout));
        machine.need_reset();
        machine.advance(chip, ms(500));
        drive(&machine, chip, 0, High);
        assert_eq!((chip.statistics().resets, triggers(chip)), (1, vec![]));
        pin.watch(InterruptType::BothEdges).unwrap();
        drive(&machine, chip, 0, Low);
        assert_eq!(triggers(chip), [(0, Trigger::Falling)]);
    });
}
