//! What operations cost, counted rather than timed: notifications, interrupts, accesses to registers and to shared
//! memory. A change that makes any of them dearer fails here, however fast the machine is.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

mod common;

use common::{DRAFT, High, Low, RATIFIED, events, ms, output, watched, with_plan};
use core::time::Duration;

use gpio_loopback::{Costs, Loopback, Machine, Plan, Settings, Tamper};
use gpio_model::bank::Bank;
use gpio_model::{draft, ratified};
use virtio_gpio::{Chip, Error, InterruptType, Level, LineId, Output, Request, run_all};

const EVENT_IDX: u64 = 1 << 29;

fn machine(lines: u16, features: u64) -> Machine {
    let mut settings = Settings::new(RATIFIED);
    settings.features = settings.features & !EVENT_IDX | features;
    Machine::ratified(Bank::new(lines), ratified::Options::default(), settings)
}

/// Callers poll, so that no answer interrupts; or they sleep, so that each may.
fn plan(lines: u16, polls: bool) -> Plan {
    let mut plan = Plan { lines, requests: 32, ..Plan::default() };
    plan.options.poll_limit = if polls { ms(1) } else { ms(0) };
    plan
}

/// What `action` costs, with the interrupts handled that it raises.
fn cost(machine: &Machine, chip: &Chip<'_, Loopback>, action: impl FnOnce()) -> Costs {
    machine.pump(chip);
    let before = machine.costs();
    action();
    machine.pump(chip);
    let after = machine.costs();
    Costs {
        notifications: after.notifications - before.notifications,
        interrupts: after.interrupts - before.interrupts,
        register_accesses: after.register_accesses - before.register_accesses,
        handed_over: after.handed_over - before.handed_over,
        taken_over: after.taken_over - before.taken_over,
    }
}

fn set_all(pins: &mut [Output<'_>], level: Level) {
    let mut requests: Vec<Request<'_>> = pins.iter_mut().map(|pin| pin.request_set(level)).collect();
    run_all(&mut requests).unwrap();
}

fn outputs<'c>(chip: &'c Chip<'_, Loopback>, count: u16) -> Vec<Output<'c>> {
    (0..count).map(|line| output(chip, line, Low)).collect()
}

/// A request hands over its message, the room for the answer, two descriptors, a ring slot and the index.
const HANDED_OVER: u64 = 6;

#[test]
fn a_set_that_is_polled_for_is_one_notification_and_no_interrupt() {
    for features in [EVENT_IDX, 0] {
        let machine = machine(8, features);
        with_plan(&machine, &plan(8, true), |chip| {
            let mut led = output(chip, 0, Low);
            let costs = cost(&machine, chip, || led.set(High).unwrap());
            assert_eq!((costs.notifications, costs.interrupts, costs.register_accesses), (1, 0, 1), "{features:#x}");
            // Interrupts are switched off before, and on again behind it.
            assert_eq!(costs.handed_over, HANDED_OVER + 2);
            assert!(costs.taken_over <= 14, "{costs:?}");
        });
    }
}

#[test]
fn a_set_that_is_slept_for_is_one_notification_and_one_interrupt() {
    for features in [EVENT_IDX, 0] {
        let machine = machine(8, features);
        with_plan(&machine, &plan(8, false), |chip| {
            let mut led = output(chip, 0, Low);
            let costs = cost(&machine, chip, || led.set(High).unwrap());
            // The notification, and the acknowledgement.
            assert_eq!((costs.notifications, costs.interrupts, costs.register_accesses), (1, 1, 2));
            assert!(costs.handed_over <= HANDED_OVER + 1, "{costs:?}");
            assert!(costs.taken_over <= 14, "{costs:?}");
        });
    }
}

#[test]
fn many_lines_at_once_are_one_notification() {
    for (count, features) in [(8, EVENT_IDX), (8, 0), (31, EVENT_IDX), (31, 0)] {
        let machine = machine(32, features);
        with_plan(&machine, &plan(32, true), |chip| {
            let mut pins = outputs(chip, count);
            let costs = cost(&machine, chip, || set_all(&mut pins, High));
            assert_eq!((costs.notifications, costs.interrupts, costs.register_accesses), (1, 0, 1), "{count} lines");
            assert!(costs.handed_over <= u64::from(count) * HANDED_OVER + 4, "{costs:?}");
            assert!(costs.taken_over <= u64::from(count) * 6 + 20, "{costs:?}");
        });
        let machine = self::machine(32, features);
        with_plan(&machine, &plan(32, false), |chip| {
            let mut pins = outputs(chip, count);
            let costs = cost(&machine, chip, || set_all(&mut pins, High));
            assert_eq!((costs.notifications, costs.interrupts, costs.register_accesses), (1, 1, 2), "{count} lines");
        });
    }
}

/// A batch that is larger than the request slots waits for room as it waits for its answers: looking, where that is quicker.
#[test]
fn a_batch_that_is_polled_for_waits_for_room_without_interrupts() {
    for features in [EVENT_IDX, 0] {
        let machine = machine(32, features);
        with_plan(&machine, &Plan { requests: 5, ..plan(32, true) }, |chip| {
            let mut pins = outputs(chip, 32);
            let costs = cost(&machine, chip, || set_all(&mut pins, High));
            assert_eq!((costs.notifications, costs.interrupts, costs.register_accesses), (8, 0, 8));
        });
    }
}

/// Whoever looks for the answers to a batch goes on for as long as they come, and not for longer than that.
#[test]
fn a_batch_whose_answers_come_slowly_is_polled_for_to_its_end() {
    let us = Duration::from_micros;
    for features in [EVENT_IDX, 0] {
        let machine = machine(8, features);
        with_plan(&machine, &plan(8, true), |chip| {
            let mut pins = outputs(chip, 4);
            machine.tamper(0, [600, 1200, 1800, 2400].map(|after| Tamper::Delay(us(after))));
            let costs = cost(&machine, chip, || set_all(&mut pins, High));
            assert_eq!((costs.notifications, costs.interrupts), (1, 0), "no pause is longer than the limit of 1 ms");
            machine.tamper(0, [600, 1200, 1800, 3000].map(|after| Tamper::Delay(us(after))));
            let costs = cost(&machine, chip, || set_all(&mut pins, Low));
            assert_eq!((costs.notifications, costs.interrupts), (1, 1), "before the last answer there is one");
        });
    }
}

/// Nobody waits for a batch of which nothing could be sent: the next answer has its interrupt.
#[test]
fn a_batch_that_fails_at_once_leaves_interrupts_on() {
    for features in [EVENT_IDX, 0] {
        let machine = machine(8, features);
        with_plan(&machine, &plan(8, true), |chip| {
            let (mut lost, mut led) = (output(chip, 0, Low), output(chip, 1, Low));
            machine.mute(LineId(0), true);
            for _ in 0..3 {
                assert_eq!(lost.set(High), Err(Error::Timeout));
                led.set(High).unwrap();
            }
            assert_eq!(lost.set(High), Err(Error::LineLost));
            machine.pump(chip);
            assert!(run_all(&mut [lost.request_set(High)]).is_err());
            let interrupts = machine.costs().interrupts;
            let mut pending = led.start_set(Low).unwrap();
            machine.run();
            assert_eq!(machine.costs().interrupts, interrupts + 1);
            chip.handle_interrupt();
            assert_eq!(pending.outcome(), Some(Ok(())));
        });
    }
}

/// The draft allows one request under way: one notification for each, but nobody waits in between.
#[test]
fn the_draft_is_notified_of_each_request() {
    let machine = Machine::draft(Bank::new(8), draft::Options::default(), Settings::new(DRAFT));
    with_plan(&machine, &plan(8, true), |chip| {
        let mut pins = outputs(chip, 8);
        let costs = cost(&machine, chip, || set_all(&mut pins, High));
        assert_eq!(costs.notifications, 8);
    });
}

/// Acknowledge, drain, and one notification of each queue: the buffer that arms the line again, and the question for the
/// level that tells which edge it was, in the same step.
#[test]
fn an_edge_arms_its_line_and_asks_for_the_level_in_one_step() {
    for (kind, expected) in [(InterruptType::RisingEdge, (1, 1, 2)), (InterruptType::BothEdges, (2, 2, 4))] {
        for features in [EVENT_IDX, 0] {
            let machine = machine(8, features);
            with_plan(&machine, &plan(8, true), |chip| {
                let _button = watched(chip, 0, kind);
                let first = cost(&machine, chip, || {
                    machine.drive(LineId(0), Some(High));
                    machine.run();
                    let before = machine.costs();
                    assert!(chip.handle_interrupt());
                    let notified = machine.costs().notifications - before.notifications;
                    assert_eq!(notified, expected.0, "arming and asking go out together");
                });
                assert_eq!((first.notifications, first.interrupts, first.register_accesses), expected, "{kind:?}");
                assert_eq!(events(chip).len(), 1);
            });
        }
    }
}

/// Edges that come together are taken together.
#[test]
fn a_burst_of_edges_is_one_interrupt() {
    // Lines are armed again at once where there is room for what the others may bring, or when the events were taken.
    for (room, at_once, later) in [(32, 1, 0), (16, 0, 1)] {
        let machine = machine(16, EVENT_IDX);
        with_plan(&machine, &Plan { events: room, ..plan(16, true) }, |chip| {
            let _buttons: Vec<_> = (0..16).map(|line| watched(chip, line, InterruptType::RisingEdge)).collect();
            let costs = cost(&machine, chip, || (0..16).for_each(|line| machine.drive(LineId(line), Some(High))));
            let expected = (at_once, 1, 1 + at_once);
            assert_eq!((costs.notifications, costs.interrupts, costs.register_accesses), expected);
            let costs = cost(&machine, chip, || assert_eq!(events(chip).len(), 16));
            assert!(costs.notifications <= later * 2, "{costs:?}");
            assert_eq!(chip.resources().standing, 32, "all are armed again");
        });
    }
}

/// The number of lines, and of those in use, changes nothing.
#[test]
#[cfg_attr(miri, ignore = "so many lines and names take the interpreter hours")]
fn many_lines_cost_no_more_than_few() {
    let measure = |lines: u16| {
        let machine = machine(lines, EVENT_IDX);
        let mut costs = Costs::default();
        with_plan(&machine, &plan(lines.min(500), true), |chip| {
            let _others = outputs(chip, lines.min(500) - 1);
            let mut led = output(chip, lines - 1, Low);
            // One wait in many is spent asleep, to learn; the next one is not.
            let mut measure = || cost(&machine, chip, || led.set(High).unwrap());
            costs = [measure(), measure()].into_iter().min_by_key(|costs| costs.interrupts).unwrap();
        });
        costs
    };
    assert_eq!(measure(65535), measure(8));
}
