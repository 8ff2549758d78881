//! The ring's indexes run freely modulo 65536: more completions than that, in batches of different sizes, with and
//! without `VIRTIO_F_EVENT_IDX`, on every kind of transport and memory. A notification or interrupt that is lost at
//! the wrap shows as time that passes: nothing here takes any.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

mod common;

use common::{High, Low, RATIFIED, draft_with, drive, ms, output, ratified_with, rounds, triggers, watched, with_plan};
use gpio_loopback::{Machine, Plan, Settings};
use gpio_model::bank::Bank;
use gpio_model::ratified::Options;
use virtio_gpio::{InterruptType, Level, LineId, Trigger};

const EVENT_IDX: u64 = 1 << 29;
const ROUNDS: u32 = 70_000;

/// At least [`ROUNDS`] completions of requests, so many to a notification, and as many of events as there are batches.
fn wraps(machine: &Machine, plan: &Plan, batch: u32) {
    machine.record_chains(false);
    with_plan(machine, plan, |chip| {
        let mut led = output(chip, 0, Low);
        let _button = watched(chip, 1, InterruptType::RisingEdge);
        let (mut rounds, mut edges) = (0, 0);
        let mut level = Low;
        while rounds < ROUNDS {
            let pending: Vec<_> = (0..batch)
                .map(|_| {
                    level = level.toggled();
                    led.queue_set(level).unwrap()
                })
                .collect();
            chip.notify();
            // An edge with each batch: rising and falling in turn.
            machine.drive(LineId(1), Some(Level::from(rounds % (2 * batch) == 0)));
            machine.pump(chip);
            for mut pending in pending {
                assert_eq!(pending.outcome(), Some(Ok(())), "at {rounds}");
            }
            assert_eq!(machine.line(LineId(0)).level(), level);
            edges += triggers(chip).len();
            rounds += batch;
            if rounds.is_multiple_of(1000) {
                machine.take_activities();
            }
        }
        let expected = rounds.div_ceil(batch).div_ceil(2);
        assert_eq!(u32::try_from(edges), Ok(expected));
        let statistics = chip.statistics();
        assert_eq!((statistics.timeouts, statistics.resets, statistics.oddities), (0, 0, 0));
        // One for each batch, one for each event buffer that goes back, and a few for the set-up.
        let least = u64::from(rounds.div_ceil(batch) + expected);
        assert!((least..least + 10).contains(&statistics.notifications), "{}", statistics.notifications);
        assert!(machine.now().as_nanos() < 1_000_000_000, "no deadline had to help");
        machine.take_activities();
    });
}

fn device(change: impl FnOnce(&mut Settings)) -> Machine {
    let mut settings = Settings::new(RATIFIED);
    change(&mut settings);
    ratified_with(settings, Options::default())
}

#[test]
#[cfg_attr(miri, ignore = "70,000 completions take the interpreter hours")]
fn a14_no_notification_is_lost_at_the_wrap_with_event_indexes() {
    for batch in [1, 2, 3] {
        wraps(&device(|_| ()), &Plan::default(), batch);
    }
}

#[test]
#[cfg_attr(miri, ignore = "70,000 completions take the interpreter hours")]
fn a14_no_notification_is_lost_at_the_wrap_without_event_indexes() {
    for batch in [1, 2, 3] {
        wraps(&device(|settings| settings.features &= !EVENT_IDX), &Plan::default(), batch);
    }
}

#[test]
#[cfg_attr(miri, ignore = "70,000 completions take the interpreter hours")]
fn a14_small_queues_wrap_too() {
    let mut plan = Plan::default();
    plan.options.request_queue_size = 8;
    plan.options.event_queue_size = 2;
    wraps(&device(|_| ()), &plan, 3);
    wraps(&device(|settings| settings.legacy = true), &plan, 3);
}

#[test]
#[cfg_attr(miri, ignore = "70,000 completions take the interpreter hours")]
fn a14_a_legacy_device_wraps_too() {
    wraps(&device(|settings| settings.legacy = true), &Plan::default(), 3);
}

/// Memory that is not coherent: what is not handed over is not seen.
#[test]
fn memory_that_is_not_coherent_is_kept_in_step() {
    let machine = device(|settings| settings.granule = 64);
    with_plan(&machine, &Plan::default(), |chip| {
        let mut led = output(chip, 0, Low);
        let _button = watched(chip, 1, InterruptType::BothEdges);
        for round in 0..rounds(200) {
            let level = Level::from(round % 2 == 0);
            led.set(level).unwrap();
            assert_eq!(led.level(), Ok(level));
            drive(&machine, chip, 1, level);
            assert_eq!(triggers(chip).len(), 1);
        }
        assert_eq!((chip.statistics().timeouts, chip.statistics().oddities), (0, 0));
    });
    let machine = Machine::draft(
        Bank::new(4),
        gpio_model::draft::Options::default(),
        Settings { granule: 64, ..Settings::new(common::DRAFT) },
    );
    with_plan(&machine, &Plan::default(), |chip| {
        let mut led = output(chip, 0, Low);
        let _button = watched(chip, 1, InterruptType::BothEdges);
        for round in 0..rounds(200) {
            let level = Level::from(round % 2 == 0);
            led.set(level).unwrap();
            drive(&machine, chip, 1, level);
            assert_eq!(triggers(chip).len(), 1);
        }
        assert_eq!((chip.statistics().timeouts, chip.statistics().oddities), (0, 0));
    });
}

/// A device that looks by itself says that it wants no notifications, and gets none.
#[test]
fn a_device_that_polls_is_not_notified() {
    for features in [EVENT_IDX, 0] {
        let machine = device(|settings| settings.features = settings.features & !EVENT_IDX | features);
        machine.poll_queues();
        with_plan(&machine, &Plan::default(), |chip| {
            let mut led = output(chip, 0, Low);
            let _button = watched(chip, 1, InterruptType::RisingEdge);
            for _ in 0..rounds(100) {
                led.set(High).unwrap();
                drive(&machine, chip, 1, High);
                drive(&machine, chip, 1, Low);
                assert_eq!(triggers(chip), [(1, Trigger::Rising)]);
            }
            assert_eq!(machine.notifications(), 0);
        });
    }
}

#[test]
#[cfg_attr(miri, ignore = "70,000 completions take the interpreter hours")]
fn the_drafts_queues_wrap_too() {
    let machine = draft_with(gpio_model::draft::Options::default());
    machine.record_chains(false);
    with_plan(&machine, &Plan::default(), |chip| {
        let mut led = output(chip, 0, Low);
        let _button = watched(chip, 1, InterruptType::BothEdges);
        for round in 0..ROUNDS {
            let level = Level::from(round % 2 == 0);
            led.set(level).unwrap();
            if round % 8 == 0 {
                machine.take_activities();
                let level = Level::from(round % 16 == 0);
                drive(&machine, chip, 1, level);
                assert_eq!(triggers(chip).len(), 1, "at {round}");
            }
        }
        let statistics = chip.statistics();
        assert_eq!((statistics.timeouts, statistics.resets), (0, 0));
        assert!(machine.now().as_nanos() < ms(2000).as_nanos().try_into().unwrap());
    });
}
