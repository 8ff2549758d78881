//! The fault catalogue: what a broken or hostile device does, and what the driver makes of it. Names carry the row:
//! A used ring, B time and interrupts, C setting up, D configuration and names, E answers, F life of the device.
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
    DRAFT, High, LINES, Low, RATIFIED, draft, drive, events, input, ms, names, notices, output, ratified,
    ratified_with, requests, rounds, triggers, watched, with_chip, with_plan,
};
use gpio_loopback::{Bench, Loopback, Machine, Plan, Settings, Tamper};
use gpio_model::bank::Bank;
use gpio_model::names::Names;
use gpio_model::ratified::Options;
use virtio_gpio::transport::DeviceStatus;
use virtio_gpio::{
    Chip, Direction, Error, Fault, InterruptType, LineId, NamesError, Notice, Oddity, RingViolation, SetupError,
    Trigger,
};

/// One request is tampered with on the ring. The queue is dead: the request fails, the fault is told once, the device
/// is reset and everything is as it was.
fn breaks_the_queue(tamper: Tamper, violation: RingViolation) {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let mut led = output(chip, 0, Low);
        let _button = watched(chip, 1, InterruptType::BothEdges);
        machine.tamper(0, [tamper]);
        let failed = led.set(High);
        assert_eq!(failed, Err(Error::OutcomeUnknown));
        machine.advance(chip, ms(100));
        assert_eq!(notices(chip), [Notice::Resetting(Fault::Ring { queue: 0, violation }), Notice::Recovered]);
        led.set(High).unwrap();
        assert_eq!(machine.line(LineId(0)).level(), High);
        drive(&machine, chip, 1, High);
        assert_eq!(triggers(chip), [(1, Trigger::Rising)]);
        assert_eq!(chip.statistics().resets, 1);
    });
}

#[test]
fn a1_an_id_beyond_the_queue_breaks_it() {
    breaks_the_queue(Tamper::Id(64), RingViolation::IdOutOfRange(64));
    breaks_the_queue(Tamper::Id(u32::MAX), RingViolation::IdOutOfRange(u32::MAX));
}

#[test]
fn a2_an_id_with_a_bit_above_the_low_sixteen_breaks_the_queue() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let mut led = output(chip, 0, Low);
        machine.tamper(0, [Tamper::IdWithHighBit]);
        assert_eq!(led.set(High), Err(Error::OutcomeUnknown));
        let told = notices(chip);
        let Some(Notice::Resetting(Fault::Ring { queue: 0, violation: RingViolation::IdOutOfRange(id) })) =
            told.first()
        else {
            panic!("{told:?}")
        };
        assert_eq!(id >> 16, 1);
    });
}

#[test]
fn a3_the_middle_of_a_chain_breaks_the_queue() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let mut led = output(chip, 0, Low);
        machine.tamper(0, [Tamper::IdOfLastDescriptor]);
        assert_eq!(led.set(High), Err(Error::OutcomeUnknown));
        let told = notices(chip);
        assert!(
            matches!(
                told.first(),
                Some(Notice::Resetting(Fault::Ring { queue: 0, violation: RingViolation::NotInFlight(_) }))
            ),
            "{told:?}"
        );
    });
}

#[test]
fn a4_an_id_that_was_never_posted_breaks_the_queue() {
    breaks_the_queue(Tamper::Id(63), RingViolation::NotInFlight(63));
}

#[test]
fn a5_duplicate_completion_breaks_the_queue() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let (mut a, mut b) = (output(chip, 0, Low), output(chip, 1, Low));
        // Two are in flight, so that the index alone does not give it away.
        machine.tamper(0, [Tamper::Duplicate, Tamper::Drop]);
        let (first, second) = (a.start_set(High).unwrap(), b.start_set(High).unwrap());
        machine.advance(chip, ms(10));
        assert_eq!((first.wait(), second.wait()), (Ok(()), Err(Error::OutcomeUnknown)));
        let told = notices(chip);
        assert!(
            matches!(
                told.as_slice(),
                [
                    Notice::Resetting(Fault::Ring { queue: 0, violation: RingViolation::NotInFlight(_) }),
                    Notice::Recovered
                ]
            ),
            "{told:?}"
        );
    });
}

#[test]
fn a7_an_index_that_jumps_breaks_the_queue() {
    for by in [2, 1000, 65535] {
        let machine = ratified();
        with_chip(&machine, |chip| {
            let mut led = output(chip, 0, Low);
            machine.tamper(0, [Tamper::JumpIndex(by)]);
            assert_eq!(led.set(High), if by == 65535 { Err(Error::Timeout) } else { Err(Error::OutcomeUnknown) });
            machine.advance(chip, ms(100));
            if by != 65535 {
                let told = notices(chip);
                assert!(
                    matches!(
                        told.first(),
                        Some(Notice::Resetting(Fault::Ring { queue: 0, violation: RingViolation::IndexJump { .. } }))
                    ),
                    "{told:?}"
                );
            }
            led.set(High).unwrap();
        });
    }
}

#[test]
fn a8_an_index_that_goes_back_breaks_the_queue() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let mut led = output(chip, 0, Low);
        machine.tamper(0, [Tamper::JumpIndex(65534)]);
        assert_eq!(led.set(High), Err(Error::OutcomeUnknown));
        machine.advance(chip, ms(100));
        led.set(High).unwrap();
    });
}

/// The event queue is watched over in the same way.
#[test]
fn e4_an_event_that_was_not_asked_for_breaks_the_queue() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let _pin = watched(chip, 0, InterruptType::RisingEdge);
        machine.tamper(1, [Tamper::Id(5)]);
        drive(&machine, chip, 0, High);
        machine.advance(chip, ms(100));
        assert_eq!(
            notices(chip),
            [Notice::Resetting(Fault::Ring { queue: 1, violation: RingViolation::NotInFlight(5) }), Notice::Recovered]
        );
        // The edge itself is told by the level after the reset.
        let seen = events(chip);
        assert_eq!(seen.len(), 1);
        assert!(seen.iter().all(|event| event.after_reset && event.trigger == Trigger::Rising));
    });
}

#[test]
fn a9_a_response_that_is_too_short_fails_alone() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        machine.drive(LineId(0), Some(High));
        let pin = input(chip, 0);
        for length in [0, 1] {
            machine.tamper(0, [Tamper::Length(length)]);
            assert_eq!(pin.level(), Err(Error::ShortResponse { length }));
            assert_eq!(pin.level(), Ok(High));
        }
        // An error may be the status alone.
        machine.tamper(0, [Tamper::Bytes(vec![1])]);
        assert_eq!(pin.level(), Err(Error::Refused));
        assert_eq!(chip.statistics().resets, 0);
    });
}

#[test]
fn a10_a_response_that_claims_too_much_fails_alone() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let pin = input(chip, 0);
        for length in [3, 1000, u32::MAX] {
            machine.tamper(0, [Tamper::Length(length)]);
            assert_eq!(pin.level(), Err(Error::LongResponse { length }));
            assert_eq!(pin.level(), Ok(Low));
        }
        assert_eq!(chip.statistics().resets, 0);
    });
}

#[test]
fn a11_a_rewritten_descriptor_table_has_no_effect() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let _button = watched(chip, 1, InterruptType::BothEdges);
        let mut led = output(chip, 0, Low);
        machine.tamper(0, [Tamper::Hold]);
        let pending = led.start_set(High).unwrap();
        machine.pump(chip);
        machine.scribble_descriptors();
        machine.release_held(false);
        assert_eq!(pending.wait(), Ok(()));
        for level in [Low, High, Low] {
            led.set(level).unwrap();
            drive(&machine, chip, 1, level.toggled());
        }
        assert_eq!(triggers(chip), [(1, Trigger::Rising), (1, Trigger::Falling), (1, Trigger::Rising)]);
        assert_eq!(chip.statistics().resets, 0);
    });
}

#[test]
fn a12_a_rewritten_available_ring_has_no_effect() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let mut led = output(chip, 0, Low);
        machine.tamper(0, [Tamper::Hold]);
        let pending = led.start_set(High).unwrap();
        machine.pump(chip);
        machine.scribble_available();
        machine.release_held(false);
        assert_eq!(pending.wait(), Ok(()));
        for level in [Low, High, Low] {
            led.set(level).unwrap();
            assert_eq!(machine.line(LineId(0)).level(), level);
        }
        assert_eq!(chip.statistics().resets, 0);
    });
}

#[test]
fn a13_a_response_rewritten_after_completion_is_one_or_the_other() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let pin = input(chip, 0);
        for rewritten in [vec![0, 1], vec![1, 0], vec![9, 9]] {
            machine.tamper(0, [Tamper::RewriteAfterwards(rewritten.clone())]);
            let level = pin.level();
            let other = match rewritten.as_slice() {
                [0, 1] => Ok(High),
                [1, _] => Err(Error::Refused),
                _ => Err(Error::InvalidStatus(9)),
            };
            assert!(level == Ok(Low) || level == other, "{level:?}");
        }
    });
}

#[test]
fn a15_a_full_ring_completed_at_once_does_not_starve_events() {
    let machine = ratified();
    let mut plan = Plan { requests: 64, ..Plan::default() };
    plan.options.request_queue_size = 16;
    with_plan(&machine, &plan, |chip| {
        let _button = watched(chip, 1, InterruptType::BothEdges);
        let mut led = output(chip, 0, Low);
        for round in 0..20u32 {
            let pending: Vec<_> = (0..7).map(|n| led.start_set((n % 2 == 0).into()).unwrap()).collect();
            assert!(matches!(led.start_set(Low), Err(Error::Busy)));
            machine.drive(LineId(1), Some((round % 2 == 0).into()));
            machine.pump(chip);
            assert_eq!(events(chip).len(), 1);
            assert!(pending.into_iter().all(|pending| pending.wait() == Ok(())));
        }
    });
}

/// More requests than the ring has room for wait in the driver.
#[test]
fn requests_beyond_the_ring_wait_for_room() {
    let machine = ratified();
    let mut plan = Plan { requests: 64, ..Plan::default() };
    plan.options.request_queue_size = 8;
    with_plan(&machine, &plan, |chip| {
        let mut led = output(chip, 0, Low);
        let mut pending = Vec::new();
        while let Ok(request) = led.start_set((pending.len() % 2 == 0).into()) {
            pending.push(request);
        }
        assert_eq!(pending.len(), 3, "two descriptors for each, and one slot for the driver's own");
        assert!(pending.into_iter().all(|pending| pending.wait() == Ok(())));
        assert_eq!(machine.line(LineId(0)).level(), High);
    });
}

#[test]
fn b1_a_request_that_is_never_answered_ends_at_its_deadline() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let (mut mute, mut other) = (output(chip, 0, Low), output(chip, 1, Low));
        machine.mute(LineId(0), true);
        let start = machine.now();
        assert_eq!(mute.set(High), Err(Error::Timeout));
        let took = machine.now().since(start);
        assert!(took >= ms(1000) && took < ms(1010), "{took:?}");
        other.set(High).unwrap();
        assert_eq!(chip.statistics().resets, 0, "one request alone is no reason for a reset");
        machine.mute(LineId(0), false);
        mute.set(Low).unwrap();
    });
}

#[test]
fn b2_an_answer_after_the_deadline_is_dropped_and_its_slot_recovered() {
    let machine = ratified();
    with_plan(&machine, &Plan { requests: 3, ..Plan::default() }, |chip| {
        let pin = input(chip, 0);
        let other = input(chip, 1);
        machine.drive(LineId(0), Some(High));
        for round in 0..10 {
            machine.tamper(0, [Tamper::Delay(ms(1500))]);
            assert_eq!(pin.level(), Err(Error::Timeout));
            assert_eq!(other.level(), Ok(Low), "the next answer is not shifted ({round})");
            machine.advance(chip, ms(600));
            assert_eq!(pin.level(), Ok(High));
        }
        assert_eq!((chip.statistics().resets, chip.statistics().timeouts), (0, 10));
        assert!(notices(chip).contains(&Notice::Odd { oddity: Oddity::LateAnswer(LineId(0)), count: 1 }));
    });
}

/// The device looks by itself, and is done before anybody notifies it.
#[test]
fn b3_an_answer_before_the_notification_is_taken() {
    let machine = ratified();
    machine.poll_queues();
    with_chip(&machine, |chip| {
        let mut led = output(chip, 0, Low);
        let notifications = machine.notifications();
        let mut pending = led.queue_set(High).unwrap();
        machine.run();
        assert_eq!((machine.line(LineId(0)).level(), machine.notifications()), (High, notifications));
        machine.pump(chip);
        assert_eq!(pending.outcome(), Some(Ok(())));
        led.set(Low).unwrap();
    });
}

#[test]
fn b4_a_spurious_interrupt_is_counted() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        machine.interrupt_spuriously();
        assert!(!chip.handle_interrupt());
        assert_eq!(notices(chip), [Notice::Odd { oddity: Oddity::SpuriousInterrupt, count: 1 }]);
        assert_eq!(chip.statistics().interrupts, 0);
    });
}

/// Before the device is set up, and while it is being reset, nothing can have come, whatever the interrupt says.
#[test]
fn b5_an_interrupt_before_the_driver_is_ready_is_ignored() {
    let machine = ratified();
    machine.change_config();
    with_chip(&machine, |chip| {
        let mut led = output(chip, 0, Low);
        machine.pump(chip);
        machine.set_reset_time(Some(ms(50)));
        machine.need_reset();
        machine.pump(chip);
        assert!(chip.is_recovering());
        let before = chip.statistics();
        for _ in 0..10 {
            machine.change_config();
            chip.handle_interrupt();
        }
        let after = chip.statistics();
        assert_eq!((after.resets, after.messages), (before.resets, before.messages));
        assert!(chip.is_recovering());
        machine.advance(chip, ms(100));
        assert_eq!(notices(chip), [Notice::Resetting(Fault::NeedsReset), Notice::Recovered]);
        led.set(High).unwrap();
    });
}

#[test]
fn b6_an_interrupt_storm_does_not_stop_the_work() {
    let machine = ratified();
    let mut plan = Plan::default();
    // Each answer comes by an interrupt.
    plan.options.poll_limit = ms(0);
    with_plan(&machine, &plan, |chip| {
        let mut led = output(chip, 0, Low);
        machine.pump(chip);
        let rounds = rounds(1000);
        for round in 0..rounds {
            for _ in 0..100 {
                machine.interrupt_spuriously();
                chip.handle_interrupt();
            }
            led.set((round % 2 == 0).into()).unwrap();
            machine.pump(chip);
        }
        // After each real interrupt, one without a reason is ordinary: what it was for was acknowledged with the first.
        assert_eq!(chip.statistics().oddities, 99 * u64::from(rounds));
        assert!(notices(chip).len() <= 16, "ever more rarely");
    });
}

/// It may be late at first, on a host that is busy: that it is lost is said when no other has come for a while.
#[test]
fn b7_a_lost_interrupt_is_made_up_for_by_looking() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let mut led = output(chip, 0, Low);
        machine.tamper(0, [Tamper::NoInterrupt]);
        let mut pending = led.start_set(High).unwrap();
        machine.run();
        // An application that sleeps until an interrupt or the next deadline.
        machine.pass(chip.next_deadline().unwrap().since(machine.now()));
        chip.poll();
        assert_eq!(pending.outcome(), Some(Ok(())));
        assert_eq!((chip.statistics().rescues, notices(chip)), (1, vec![]));
        machine.advance(chip, ms(1001));
        assert_eq!(notices(chip), [Notice::Odd { oddity: Oddity::LostInterrupt, count: 1 }]);
        machine.advance(chip, ms(5000));
        assert_eq!((chip.statistics().rescues, chip.statistics().oddities), (1, 1), "said once");
    });
}

#[test]
fn b7_a_lost_notification_is_sent_again() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let mut led = output(chip, 0, Low);
        machine.lose_notifications(1);
        let start = machine.now();
        assert_eq!(led.set(High), Ok(()));
        assert!(machine.now().since(start) < ms(300));
        assert_eq!(chip.statistics().timeouts, 0);
    });
}

/// What comes while an interrupt is being served, before its acknowledgement or behind the drain, is not lost: either that
/// drain takes it, or there is another interrupt. Nobody polls here.
#[test]
fn b8_an_answer_while_an_interrupt_is_served_is_not_lost() {
    for features in [0, 1 << 29] {
        let machine = modern(|settings| settings.features = 1 << 32 | features);
        with_chip(&machine, |chip| {
            let (mut first, mut second) = (output(chip, 0, Low), output(chip, 1, Low));
            machine.pump(chip);
            for round in 0..rounds(200) {
                let level = (round % 2 == 0).into();
                machine.tamper(0, [Tamper::Nothing, Tamper::Hold]);
                let (mut one, mut two) = (first.start_set(level).unwrap(), second.start_set(level).unwrap());
                machine.run();
                assert!(machine.interrupt_raised());
                if round % 3 == 0 {
                    machine.release_held(false);
                    chip.handle_interrupt();
                } else {
                    chip.handle_interrupt();
                    machine.release_held(false);
                    assert!(machine.interrupt_raised(), "round {round}");
                    chip.handle_interrupt();
                }
                assert_eq!((one.outcome(), two.outcome()), (Some(Ok(())), Some(Ok(()))), "round {round}");
            }
        });
    }
}

#[test]
fn b9_a_device_is_in_time_or_not() {
    for (latency, expected) in [(ms(999), Ok(())), (ms(1001), Err(Error::Timeout))] {
        let machine = ratified();
        with_chip(&machine, |chip| {
            let mut led = output(chip, 0, Low);
            machine.set_latency(latency);
            assert_eq!(led.set(High), expected);
            machine.set_latency(ms(0));
        });
    }
}

// --- C: setting up -------------------------------------------------------------------------------------------------

fn setup_error(machine: &Machine) -> SetupError {
    let mut bench = Bench::new();
    let error = bench.chip(machine, &Plan::default()).map(|_| ()).unwrap_err();
    assert!(!machine.status().contains(DeviceStatus::DRIVER_OK));
    assert_eq!(machine.violations(), Vec::<String>::new());
    assert!(machine.memory_released());
    error
}

fn modern(change: impl FnOnce(&mut Settings)) -> Machine {
    let mut settings = Settings::new(RATIFIED);
    change(&mut settings);
    ratified_with(settings, Options::default())
}

#[test]
fn c1_another_device_is_left_alone() {
    let machine = modern(|settings| settings.device_id = 1);
    assert_eq!(setup_error(&machine), SetupError::NotGpio(1));
    assert_eq!(machine.status(), DeviceStatus::empty());
}

#[test]
fn c2_features_that_do_not_stick_are_an_error() {
    let machine = ratified();
    machine.refuse_features();
    assert_eq!(setup_error(&machine), SetupError::FeaturesRefused);
    assert!(machine.status().contains(DeviceStatus::FAILED));
}

#[test]
fn c3_a_modern_device_without_version_1_is_refused() {
    let machine = modern(|settings| settings.features = 0);
    assert_eq!(setup_error(&machine), SetupError::NoVersion1);
    assert!(machine.status().contains(DeviceStatus::FAILED));
}

#[test]
fn c4_without_interrupts_outputs_work() {
    let options = Options { interrupts: false, ..Options::default() };
    let machine = ratified_with(Settings::new(RATIFIED), options);
    with_chip(&machine, |chip| {
        assert!(!chip.has_interrupts());
        let mut led = output(chip, 0, Low);
        led.set(High).unwrap();
        let mut pin = input(chip, 1);
        requests(&machine);
        assert_eq!(pin.watch(InterruptType::RisingEdge), Err(Error::NoInterrupts));
        assert_eq!(requests(&machine), []);
        let pin = pin.into_output(Low).unwrap();
        drop((pin, led));
        machine.pump(chip);
        assert!(
            requests(&machine)
                .iter()
                .all(|request| { !matches!(request, virtio_gpio::messages::ratified::Request::SetInterruptType(..)) })
        );
    });
}

#[test]
fn c5_queue_sizes_are_refused_or_rounded_down() {
    for limits in [[0, 64], [1, 64], [64, 0], [64, 1]] {
        let machine = modern(|settings| settings.queue_limits = limits);
        let error = setup_error(&machine);
        assert!(matches!(error, SetupError::NoQueue { limit: 0 | 1, .. }), "{error:?}");
        assert!(machine.status().contains(DeviceStatus::FAILED), "{limits:?}");
    }
    for limits in [[2, 2], [3, 3], [65535, 65535], [u32::MAX, u32::MAX], [0x1_0000, 0x1_0001]] {
        let machine = modern(|settings| settings.queue_limits = limits);
        with_chip(&machine, |chip| {
            let mut led = output(chip, 0, Low);
            led.set(High).unwrap();
            let _pin = watched(chip, 1, InterruptType::BothEdges);
            drive(&machine, chip, 1, High);
            drive(&machine, chip, 1, Low);
            assert_eq!(triggers(chip), [(1, Trigger::Rising), (1, Trigger::Falling)]);
        });
    }
}

#[test]
fn c6_a_reset_that_never_ends_is_an_error() {
    let machine = ratified();
    let registers = machine.registers();
    virtio_gpio::transport::Transport::set_status(&registers, DeviceStatus::ACKNOWLEDGE);
    machine.set_reset_time(None);
    let start = machine.now();
    assert_eq!(setup_error(&machine), SetupError::ResetTimeout);
    assert!(machine.now().since(start) <= ms(1010));
}

/// The memory is not given back while the device may still write it.
#[test]
#[cfg_attr(miri, ignore = "leaks its memory on purpose")]
fn c6_memory_is_kept_where_the_last_reset_does_not_end() {
    let machine = ratified();
    let mut bench = Bench::new();
    let chip = bench.chip(&machine, &Plan::default()).unwrap();
    machine.set_reset_time(None);
    drop(chip);
    assert!(!machine.memory_released());
}

#[test]
fn c7_only_known_features_are_accepted() {
    let machine = modern(|settings| settings.features = u64::MAX);
    with_chip(&machine, |_| {
        // EVENT_IDX, VERSION_1, ACCESS_PLATFORM, ORDER_PLATFORM and the device's own F_IRQ.
        assert_eq!(machine.driver_features(), 1 << 29 | 1 << 32 | 1 << 33 | 1 << 36 | 1);
    });
    let machine = Machine::draft(
        Bank::new(LINES),
        gpio_model::draft::Options::default(),
        Settings { features: u64::MAX, ..Settings::new(DRAFT) },
    );
    with_chip(&machine, |_| {
        assert_eq!(machine.driver_features() & 0x00ff_ffff, 0, "no device-specific bit means anything in the draft");
    });
}

// --- D: configuration and names ------------------------------------------------------------------------------------

#[test]
fn d1_no_line_is_refused_one_works() {
    let lines = |count| Machine::ratified(Bank::new(count), Options::default(), Settings::new(RATIFIED));
    assert_eq!(setup_error(&lines(0)), SetupError::NoLines);
    let machine = lines(1);
    with_chip(&machine, |chip| {
        output(chip, 0, High).release().unwrap();
        assert_eq!(chip.line(LineId(1)).unwrap_err(), Error::NoSuchLine { line: LineId(1), lines: 1 });
    });
}

#[test]
fn d2_a_configuration_that_settles_is_read_whole() {
    let machine = ratified();
    machine.unsettle_config(3);
    with_chip(&machine, |chip| assert_eq!(chip.lines(), LINES));
    // One that never settles does not hold the driver up.
    let machine = ratified();
    machine.unsettle_config(u32::MAX);
    with_chip(&machine, |chip| assert_eq!(chip.lines(), LINES));
    assert!(machine.take_config_reads().len() <= 12);
}

#[test]
fn d3_a_configuration_interrupt_has_no_effect() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let mut led = output(chip, 0, Low);
        machine.take_config_reads();
        machine.change_config();
        machine.pump(chip);
        assert!(!machine.interrupt_raised());
        led.set(High).unwrap();
        assert_eq!(machine.take_config_reads(), []);
        assert_eq!((notices(chip), chip.statistics().oddities), (vec![], 0));
    });
}

fn shown_names(chip: &Chip<'_, Loopback>) -> Vec<Option<String>> {
    (0..chip.lines()).map(|line| chip.name(LineId(line)).map(|name| name.to_string())).collect()
}

fn names_of(block: &[u8]) -> Vec<Option<String>> {
    let options = Options { names: Names::from_raw(block.to_vec()), ..Options::default() };
    let machine = Machine::ratified(Bank::new(4), options, Settings::new(RATIFIED));
    let mut shown = Vec::new();
    with_chip(&machine, |chip| {
        shown = shown_names(chip);
        assert_eq!(chip.names().count(), shown.len().min(chip.names().count()));
        output(chip, 3, High).release().unwrap();
    });
    shown
}

fn some(names: [&str; 4]) -> Vec<Option<String>> {
    names.iter().map(|name| (!name.is_empty()).then(|| (*name).to_owned())).collect()
}

#[test]
fn d4_names_without_a_sensible_size_cost_names_only() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        assert_eq!(shown_names(chip), vec![None; 8]);
        assert_eq!((chip.names_error(), requests(&machine)), (None, vec![]), "nothing to be asked for");
    });
    for size in [1025, 1 << 20, u32::MAX] {
        let [s0, s1, s2, s3] = size.to_le_bytes();
        let machine = modern(|settings| settings.config = Some(vec![8, 0, 0, 0, s0, s1, s2, s3]));
        with_chip(&machine, |chip| {
            assert_eq!(chip.names_error(), Some(NamesError::TooLarge { size, limit: 1024 }));
            output(chip, 7, High).release().unwrap();
        });
    }
}

#[test]
fn d5_a_broken_names_block_costs_names_only() {
    assert_eq!(names_of(b"a\0b\0c\0d\0"), some(["a", "b", "c", "d"]));
    assert_eq!(names_of(b"a\0b\0c\0d"), some(["a", "b", "c", "d"]));
    assert_eq!(names_of(b"a\0\0c\0"), some(["a", "", "c", ""]));
    assert_eq!(names_of(b"abc"), some(["abc", "", "", ""]));
    assert_eq!(names_of(b"a\0b\0c\0d\0e\0f\0"), some(["a", "b", "c", "d"]));
    assert_eq!(names_of(b"\0\0\0\0"), some(["", "", "", ""]));
}

/// The device writes less than it announced: what it did not write is no name.
#[test]
fn d5_names_end_where_the_device_stopped_writing() {
    for (answer, expected) in [(vec![0, b'a', 0, b'b'], some(["a", "b", "", ""])), (vec![0], some(["", "", "", ""]))] {
        let options = Options { names: names(&["led", "button", "c", "d"]), ..Options::default() };
        let machine = Machine::ratified(Bank::new(4), options, Settings::new(RATIFIED));
        machine.tamper(0, [Tamper::Bytes(answer)]);
        with_chip(&machine, |chip| assert_eq!(shown_names(chip), expected));
    }
}

#[test]
fn d6_names_are_made_harmless_and_the_first_of_two_is_found() {
    let options = Options { names: Names::from_raw(b"\x1b[2J\0twin\0twin\0\xc3\xa4\0".to_vec()), ..Options::default() };
    let machine = Machine::ratified(Bank::new(4), options, Settings::new(RATIFIED));
    with_chip(&machine, |chip| {
        assert_eq!(shown_names(chip), some(["\\x1b[2J", "twin", "twin", "\\xc3\\xa4"]));
        assert_eq!((chip.find("twin"), chip.find("none"), chip.find("")), (Some(LineId(1)), None, None));
    });
}

#[test]
fn d7_without_an_answer_for_the_names_the_lines_work() {
    for (tamper, error) in [
        (Tamper::Bytes(vec![1, 0]), Error::Refused),
        (Tamper::Bytes(vec![7, 0]), Error::InvalidStatus(7)),
        (Tamper::Unwritten, Error::InvalidStatus(0xff)),
        (Tamper::Length(0), Error::ShortResponse { length: 0 }),
        (Tamper::Length(u32::MAX), Error::LongResponse { length: u32::MAX }),
    ] {
        let options = Options { names: names(&["led", "", "", "", "", "", "", ""]), ..Options::default() };
        let machine = ratified_with(Settings::new(RATIFIED), options);
        machine.tamper(0, [tamper.clone()]);
        with_chip(&machine, |chip| {
            assert_eq!(chip.names_error(), Some(NamesError::Request(error)), "{tamper:?}");
            assert_eq!(chip.name(LineId(0)), None);
            machine.advance(chip, ms(10));
            output(chip, 0, High).release().unwrap();
        });
    }
}

/// What is lost together with the request is asked for again, after a reset; what never comes costs the names only.
#[test]
fn d7_names_that_were_lost_are_asked_for_again() {
    for tamper in [Tamper::Drop, Tamper::Id(60)] {
        let options = Options { names: names(&["led", "", "", "", "", "", "", ""]), ..Options::default() };
        let machine = ratified_with(Settings::new(RATIFIED), options);
        machine.tamper(0, [tamper.clone()]);
        with_chip(&machine, |chip| {
            assert_eq!(chip.names_error(), None, "{tamper:?}");
            assert_eq!(chip.find("led"), Some(LineId(0)));
            assert_eq!(chip.statistics().resets, 1);
            output(chip, 0, High).release().unwrap();
        });
    }
    let options = Options { names: names(&["led", "", "", "", "", "", "", ""]), ..Options::default() };
    let machine = ratified_with(Settings::new(RATIFIED), options);
    machine.tamper_every(0, Some(Tamper::Drop));
    with_chip(&machine, |chip| {
        assert_eq!(chip.names_error(), Some(NamesError::Request(Error::Timeout)));
        machine.tamper_every(0, None);
        machine.advance(chip, ms(10_000));
        output(chip, 0, High).release().unwrap();
    });
}

// --- E: answers ----------------------------------------------------------------------------------------------------

#[test]
fn e1_an_error_for_any_request_fails_it_alone() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let refuse = |before: usize| {
            machine.tamper(0, std::iter::repeat_n(Tamper::Nothing, before).chain([Tamper::Bytes(vec![1, 0])]));
        };
        let line = chip.line(LineId(0)).unwrap();
        refuse(0);
        assert_eq!(line.direction(), Err(Error::Refused));
        refuse(0);
        let line = line.into_input().unwrap_err().pin;
        refuse(1);
        let line = line.into_output(High).unwrap_err().pin;
        let mut pin = line.into_input().unwrap();
        refuse(0);
        assert_eq!(pin.level(), Err(Error::Refused));
        refuse(1);
        assert_eq!(pin.watch(InterruptType::RisingEdge), Err(Error::Refused));
        assert_eq!(pin.watch(InterruptType::RisingEdge), Ok(()));
        // What is asked for is the case, whatever the device thinks of the request.
        refuse(0);
        assert_eq!(pin.watch(InterruptType::None), Ok(()));
        machine.pump(chip);
        let mut led = chip.line(LineId(1)).unwrap().into_output(Low).unwrap();
        refuse(0);
        assert_eq!(led.set(High), Err(Error::Refused));
        assert_eq!((led.level_set(), led.set(High)), (Some(Low), Ok(())));
        refuse(0);
        assert_eq!(led.release(), Err(Error::Refused));
    });
}

#[test]
fn e2_a_status_that_does_not_exist_is_an_error() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let mut led = output(chip, 0, Low);
        for status in [2, 3, 128, 255] {
            machine.tamper(0, [Tamper::Bytes(vec![status, 0])]);
            assert_eq!(led.set(High), Err(Error::InvalidStatus(status)));
        }
        machine.tamper(0, [Tamper::Unwritten]);
        assert_eq!(led.set(High), Err(Error::InvalidStatus(0xff)));
        led.set(High).unwrap();
    });
}

#[test]
fn e3_a_value_that_does_not_exist_is_an_error() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let pin = input(chip, 0);
        for value in [2, 7, 255] {
            machine.tamper(0, [Tamper::Bytes(vec![0, value])]);
            assert_eq!(pin.level(), Err(Error::InvalidValue(value.into())));
        }
        machine.tamper(0, [Tamper::Bytes(vec![0, 3])]);
        assert_eq!(pin.direction(), Err(Error::InvalidValue(3)));
        // Where the value means nothing it is not looked at.
        machine.tamper(0, [Tamper::Bytes(vec![0, 77])]);
        assert!(pin.into_output(Low).is_ok());
    });
}

/// With the direction None a device forgets the level; the next holder of the line finds nothing of the last one's.
#[test]
fn e8_a_line_that_was_released_starts_afresh() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        for _ in 0..3 {
            let led = output(chip, 0, High);
            assert_eq!((led.level_set(), led.direction()), (Some(High), Ok(Direction::Output)));
            led.release().unwrap();
            assert_eq!((machine.line(LineId(0)).direction, machine.line(LineId(0)).latch), (Direction::None, None));
            let line = chip.line(LineId(0)).unwrap();
            assert_eq!(line.direction(), Ok(Direction::None));
            let led = line.into_output(Low).unwrap();
            assert_eq!((led.level_set(), machine.line(LineId(0)).level()), (Some(Low), Low));
        }
    });
}

/// A device that says INVALID for every pair is slowed down, and the driver does its other work.
#[test]
fn e5_pairs_that_always_come_back_empty_do_not_loop() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let mut led = output(chip, 1, Low);
        let _pin = watched(chip, 0, InterruptType::HighLevel);
        machine.tamper_every(1, Some(Tamper::Bytes(vec![0])));
        drive(&machine, chip, 0, High);
        machine.advance(chip, ms(10_000));
        let pairs = chip.statistics().oddities;
        assert!((10..=40).contains(&pairs), "{pairs} in ten seconds");
        led.set(High).unwrap();
        assert_eq!(triggers(chip), []);
        // When it comes to its senses, the line works.
        machine.tamper_every(1, None);
        machine.advance(chip, ms(1000));
        assert_eq!(triggers(chip), [(0, Trigger::High)]);
    });
}

/// Neither 0 nor 1, or nothing written at all: no interrupt either.
#[test]
fn e5_an_event_status_that_does_not_exist_is_no_edge() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let _pin = watched(chip, 0, InterruptType::RisingEdge);
        for tamper in [Tamper::Bytes(vec![7]), Tamper::Unwritten, Tamper::Length(0)] {
            machine.tamper(1, [tamper.clone()]);
            drive(&machine, chip, 0, High);
            drive(&machine, chip, 0, Low);
            assert_eq!(triggers(chip), [], "{tamper:?}");
        }
    });
}

/// F2, F1: see recovery.rs for the rest of the device's life.
#[test]
fn the_draft_is_watched_over_in_the_same_way() {
    for queue in [0, 1] {
        let machine = draft();
        with_chip(&machine, |chip| {
            let mut led = output(chip, 0, Low);
            machine.tamper(queue, [Tamper::Id(999)]);
            assert_eq!(led.set(High), Err(Error::OutcomeUnknown));
            machine.advance(chip, ms(100));
            assert_eq!(
                notices(chip),
                [
                    Notice::Resetting(Fault::Ring { queue, violation: RingViolation::IdOutOfRange(999) }),
                    Notice::Recovered
                ]
            );
            led.set(High).unwrap();
        });
    }
}

/// One more notification is for everything that went unanswered.
#[test]
fn many_requests_in_doubt_are_one_more_notification() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let mut pins: Vec<_> = (0..8).map(|line| output(chip, line, Low)).collect();
        machine.stall(ms(500));
        let pending: Vec<_> = pins.iter_mut().map(|pin| pin.start_set(High).unwrap()).collect();
        let before = machine.notifications();
        machine.pass(ms(300));
        chip.poll();
        // Both queues, once each.
        assert_eq!(machine.notifications() - before, 2);
        machine.advance(chip, ms(300));
        for pending in pending {
            assert_eq!(pending.wait(), Ok(()));
        }
    });
}
