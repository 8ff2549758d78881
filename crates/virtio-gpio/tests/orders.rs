//! Answers and events in every order: the two queues have none between them, and what the application hears must be right
//! all the same. No edge twice, none lost, and the last one leads to the line's level.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

mod common;

use common::{High, Low, ms, ratified, requests, triggers, watched, with_chip};
use gpio_loopback::{Loopback, Machine, Tamper};
use gpio_model::observe::Activity;
use proptest::prelude::*;
use virtio_gpio::messages::ratified::{EVENT_QUEUE, EventStatus, REQUEST_QUEUE, Request};
use virtio_gpio::{Chip, InterruptType, LineId, Trigger};

use InterruptType::{BothEdges, RisingEdge};
use Trigger::{Falling, Rising};

const LINE: LineId = LineId(2);

/// What can happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The line changes, and the device looks at its queues then.
    Edge,
    /// The device looks at its queues.
    Look,
    /// The device shows its next answer.
    Answer,
    /// The device shows its next event.
    Event,
    /// Time passes: longer than an event may need to come without its edge being reported.
    Late,
}

const STEPS: [Step; 5] = [Step::Edge, Step::Look, Step::Answer, Step::Event, Step::Late];

/// All sequences of so many steps, of which the first is an edge.
fn sequences(length: u32) -> impl Iterator<Item = Vec<Step>> {
    (0..5usize.pow(length - 1)).map(move |number| {
        let rest = (0..length - 1).map(move |place| STEPS[number / 5usize.pow(place) % 5]);
        [Step::Edge].into_iter().chain(rest).collect()
    })
}

/// A device that shows nothing by itself.
fn hold(machine: &Machine) {
    for queue in [REQUEST_QUEUE, EVENT_QUEUE] {
        machine.tamper_every(queue, Some(Tamper::Hold));
    }
}

/// Shows the next answer, or the next event, and lets the driver do what follows.
fn show(machine: &Machine, chip: &Chip<'_, Loopback>, queue: u16) -> bool {
    let shown = machine.release_first(queue);
    while machine.interrupt_raised() {
        chip.handle_interrupt();
    }
    shown
}

/// Shows everything, answers first where `answers_first`, until nothing is open.
fn show_all(machine: &Machine, chip: &Chip<'_, Loopback>, answers_first: bool) {
    let queues = if answers_first { [REQUEST_QUEUE, EVENT_QUEUE] } else { [EVENT_QUEUE, REQUEST_QUEUE] };
    for _ in 0..20 {
        while queues.iter().any(|&queue| show(machine, chip, queue)) {
            machine.run();
        }
        machine.advance(chip, ms(6));
    }
    assert!(!chip.has_event_under_way());
}

/// Runs the steps on a line that is watched for both edges. Gives what was reported, how many edges there were, and how many
/// events the device made of them.
fn run(steps: &[Step], answers_first: bool) -> (Vec<Trigger>, usize, usize) {
    let machine = ratified();
    let mut outcome = (Vec::new(), 0, 0);
    with_chip(&machine, |chip| {
        let pin = watched(chip, LINE.0, BothEdges);
        machine.pump(chip);
        machine.take_activities();
        hold(&machine);
        let mut level = Low;
        for step in steps {
            match step {
                Step::Edge => {
                    level = if level == Low { High } else { Low };
                    machine.drive(LINE, Some(level));
                    outcome.1 += 1;
                }
                Step::Look => machine.run(),
                Step::Answer => {
                    show(&machine, chip, REQUEST_QUEUE);
                }
                Step::Event => {
                    show(&machine, chip, EVENT_QUEUE);
                }
                Step::Late => machine.advance(chip, ms(6)),
            }
        }
        show_all(&machine, chip, answers_first);
        outcome.0 = triggers(chip).into_iter().map(|(_, trigger)| trigger).collect();
        let valid = |activity: &Activity| matches!(activity, Activity::Event { status: EventStatus::Valid, .. });
        outcome.2 = machine.take_activities().iter().filter(|activity| valid(activity)).count();
        assert_eq!(chip.statistics().oddities, 0, "{steps:?}");
        for queue in [REQUEST_QUEUE, EVENT_QUEUE] {
            machine.tamper_every(queue, None);
        }
        machine.release_held(false);
        drop(pin);
    });
    outcome
}

/// What is reported alternates, ends at the line's level, and is no more than there was. An event of the device's is at least
/// one edge. Gives how many edges were reported.
fn check(steps: &[Step], answers_first: bool) -> usize {
    let (reported, edges, events) = run(steps, answers_first);
    let alternating = [Rising, Falling].into_iter().cycle().take(reported.len());
    assert!(reported.iter().copied().eq(alternating), "{steps:?} {answers_first}: {reported:?}");
    assert_eq!(reported.len() % 2, edges % 2, "{steps:?} {answers_first}: {reported:?} of {edges}");
    assert!(reported.len() <= edges, "{steps:?} {answers_first}: {reported:?} of {edges}");
    assert!(reported.len() >= events, "{steps:?} {answers_first}: {reported:?} of {events} events");
    reported.len()
}

/// Every order of edges, looks, answers, events and pauses in up to six steps.
#[test]
fn no_order_loses_an_edge_or_invents_one() {
    let longest = if cfg!(miri) { 3 } else { 6 };
    let all = (1..=longest).flat_map(sequences);
    let most = all.map(|steps| check(&steps, true).max(check(&steps, false))).max();
    assert!(most > Some(2), "the orders are not all idle");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 2 } else { 500 }, ..ProptestConfig::default() })]

    #[test]
    fn no_long_order_loses_an_edge_or_invents_one(
        steps in prop::collection::vec(prop::sample::select(&STEPS[..]), 0..30),
        answers_first in any::<bool>(),
    ) {
        check(&steps, answers_first);
    }
}

/// A device that reports its events 3 ms behind everything else, and a line that changes faster than that, or more slowly.
#[test]
fn events_that_always_come_behind_the_answers_are_told_right() {
    for pause in [0, 1, 2, 4, 50] {
        let machine = ratified();
        with_chip(&machine, |chip| {
            let _pin = watched(chip, LINE.0, BothEdges);
            machine.pump(chip);
            machine.tamper_every(EVENT_QUEUE, Some(Tamper::Delay(ms(3))));
            let mut reported = Vec::new();
            for change in 0..40 {
                machine.drive(LINE, Some(if change % 2 == 0 { High } else { Low }));
                machine.advance(chip, ms(pause));
                reported.extend(triggers(chip));
            }
            machine.advance(chip, ms(50));
            reported.extend(triggers(chip));
            let alternating = [Rising, Falling].into_iter().cycle().take(reported.len());
            assert!(reported.iter().map(|(_, trigger)| *trigger).eq(alternating), "{pause} ms: {reported:?}");
            assert!(reported.len().is_multiple_of(2) && reported.len() <= 40, "{pause} ms: {}", reported.len());
            assert!(pause < 4 || reported.len() == 40, "{pause} ms: {}", reported.len());
        });
    }
}

/// Edges that the device merges, and a question for the level that is not answered in time: the last edge shows in the level
/// alone, so the level is asked for again.
#[test]
fn an_edge_that_only_the_level_shows_survives_a_level_that_cannot_be_read() {
    let unread = [Tamper::Drop, Tamper::Bytes(vec![0, 7]), Tamper::Length(1)];
    for fault in unread {
        let machine = ratified();
        with_chip(&machine, |chip| {
            let _pin = watched(chip, LINE.0, BothEdges);
            machine.pump(chip);
            let drop = fault == Tamper::Drop;
            machine.tamper(REQUEST_QUEUE, [Tamper::Nothing, fault.clone()]);
            for level in [High, Low, High] {
                machine.drive(LINE, Some(level));
            }
            machine.advance(chip, ms(1100));
            assert_eq!(triggers(chip), [(2, Rising), (2, Falling), (2, Rising)], "{fault:?}");
            assert_eq!(chip.statistics().timeouts, drop.into());
        });
    }
}

/// A device that never tells the level is not asked for ever.
#[test]
fn a_level_that_is_never_readable_is_asked_for_three_times() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let _pin = watched(chip, LINE.0, BothEdges);
        machine.pump(chip);
        machine.take_activities();
        machine.tamper_every(REQUEST_QUEUE, Some(Tamper::Bytes(vec![0, 7])));
        machine.drive(LINE, Some(High));
        machine.advance(chip, ms(5000));
        assert_eq!(triggers(chip), [(2, Rising)]);
        assert_eq!(requests(&machine), [Request::GetValue(LINE); 3]);
        machine.tamper_every(REQUEST_QUEUE, None);
    });
}

/// After a reset the level is read, and may show an edge whose event is on its way: it is reported once.
#[test]
fn an_edge_after_a_reset_is_not_found_by_its_level_and_reported_by_its_event() {
    for (kind, late) in [(RisingEdge, 3), (BothEdges, 3), (BothEdges, 500)] {
        let machine = ratified();
        with_chip(&machine, |chip| {
            let _pin = watched(chip, LINE.0, kind);
            machine.pump(chip);
            machine.take_activities();
            chip.reset().unwrap();
            machine.tamper_every(EVENT_QUEUE, Some(Tamper::Delay(ms(late))));
            // The interrupt is on again; the level is read behind the edge.
            while !requests(&machine).contains(&Request::SetInterruptType(LINE, kind)) {
                machine.run();
                chip.handle_interrupt();
            }
            machine.drive(LINE, Some(High));
            machine.advance(chip, ms(1000));
            assert_eq!(triggers(chip), [(2, Rising)], "{kind:?} {late} ms");
            machine.tamper_every(EVENT_QUEUE, None);
            machine.drive(LINE, Some(Low));
            machine.drive(LINE, Some(High));
            machine.advance(chip, ms(1000));
            let expected: &[_] = if kind == RisingEdge { &[(2, Rising)] } else { &[(2, Falling), (2, Rising)] };
            assert_eq!(triggers(chip), expected, "{kind:?} {late} ms");
        });
    }
}
