//! Several lines at once: batches, ports, and requests that are collected later.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

mod common;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use common::{DRAFT, High, Low, RATIFIED, input, ms, output, with_chip, with_plan};
use gpio_loopback::{Bench, Loopback, Machine, Plan, Settings, Tamper};
use gpio_model::bank::Bank;
use gpio_model::{draft, ratified};
use virtio_gpio::{
    Chip, Direction, Error, Level, LineId, Output, Pending, Port, PortError, Request, SomeFailed, run_all,
};

const LINES: u16 = 100;

/// A device of each protocol with many lines.
fn machines() -> [Machine; 2] {
    [
        Machine::ratified(Bank::new(LINES), ratified::Options::default(), Settings::new(RATIFIED)),
        Machine::draft(Bank::new(LINES), draft::Options::default(), Settings::new(DRAFT)),
    ]
}

fn plan() -> Plan {
    Plan { lines: LINES, ..Plan::default() }
}

fn outputs<'c>(chip: &'c Chip<'_, Loopback>, count: u16) -> Vec<Output<'c>> {
    (0..count).map(|line| output(chip, line, Low)).collect()
}

/// More lines than there are request slots, or than the queue holds.
#[test]
fn a_batch_larger_than_the_queue_is_fed_through_it() {
    for machine in machines() {
        for slots in [2, 16, 64] {
            with_plan(&machine, &Plan { requests: slots, ..plan() }, |chip| {
                let mut pins = outputs(chip, LINES);
                for (line, pin) in pins.iter_mut().enumerate() {
                    assert_eq!(pin.level_set(), Some(Low), "line {line}");
                }
                let mut requests: Vec<Request<'_>> = pins.iter_mut().map(|pin| pin.request_set(High)).collect();
                assert!(requests[0].result().is_none(), "nothing was sent yet");
                assert_eq!(run_all(&mut requests), Ok(()));
                assert!(requests.iter().all(|request| request.result() == Some(Ok(()))));
                assert!((0..LINES).all(|line| machine.line(LineId(line)).level() == High));
                assert_eq!((chip.statistics().timeouts, chip.statistics().resets), (0, 0));
                assert!(chip.resources().is_at_rest());
            });
        }
    }
}

#[test]
fn levels_and_directions_are_asked_for_together() {
    for machine in machines() {
        with_plan(&machine, &plan(), |chip| {
            let pins: Vec<_> = (0..40).map(|line| input(chip, line)).collect();
            for line in (0..40).step_by(3) {
                machine.drive(LineId(line), Some(High));
            }
            let mut levels: Vec<_> = pins.iter().map(|pin| pin.request_level()).collect();
            run_all(&mut levels).unwrap();
            for (line, request) in levels.iter().enumerate() {
                assert_eq!(request.result(), Some(Ok(Level::from(line % 3 == 0))));
            }
            let led = output(chip, 50, High);
            let mut directions = [pins[0].request_direction(), led.request_direction()];
            run_all(&mut directions).unwrap();
            assert_eq!(
                directions.map(|request| request.result().unwrap()),
                [Ok(Direction::Input), Ok(Direction::Output)]
            );
        });
    }
}

/// One line that never answers, and one that is refused: both are named, and all others are carried out.
#[test]
fn what_fails_is_told_by_line() {
    let [machine, _] = machines();
    with_plan(&machine, &Plan { requests: 4, ..plan() }, |chip| {
        let mut pins = outputs(chip, 20);
        machine.mute(LineId(3), true);
        machine.tamper(0, [Tamper::Nothing, Tamper::Bytes(vec![1, 0])]);
        let mut requests: Vec<_> = pins.iter_mut().map(|pin| pin.request_set(High)).collect();
        assert_eq!(run_all(&mut requests), Err(SomeFailed { count: 2, first: 1, error: Error::Refused }));
        for (line, request) in requests.iter().enumerate() {
            let expected = match line {
                1 => Err(Error::Refused),
                3 => Err(Error::Timeout),
                _ => Ok(()),
            };
            assert_eq!(request.result(), Some(expected), "line {line}");
        }
        drop(requests);
        assert!((0..20).all(|line| machine.line(LineId(line)).level() == High), "also those behind the mute one");
        assert!(machine.now().as_nanos() < 1_500_000_000, "the mute line held up nobody for longer than itself");
    });
}

/// Whoever looks for answers looks for deadlines, too, however long the others' answers keep him there.
#[test]
fn a_batch_that_is_polled_for_ends_by_its_deadline() {
    let [machine, _] = machines();
    let mut plan = plan();
    (plan.options.timeout, plan.options.poll_limit) = (ms(10), ms(4));
    with_plan(&machine, &plan, |chip| {
        let mut pins = outputs(chip, 4);
        machine.mute(LineId(3), true);
        machine.tamper(0, [3, 6, 9].map(|after| Tamper::Delay(ms(after))));
        let mut requests: Vec<_> = pins.iter_mut().map(|pin| pin.request_set(High)).collect();
        let start = machine.now();
        assert_eq!(run_all(&mut requests), Err(SomeFailed { count: 1, first: 3, error: Error::Timeout }));
        let took = machine.now().since(start);
        assert!(took < ms(11), "{took:?}");
    });
}

/// A chip without room, because the application sits on its results.
#[test]
fn a_batch_that_finds_no_slot_ends_all_the_same() {
    let [machine, _] = machines();
    with_plan(&machine, &Plan { requests: 3, ..plan() }, |chip| {
        let mut pins = outputs(chip, 4);
        let (mut held, mut pins) = {
            let rest = pins.split_off(2);
            (pins, rest)
        };
        let pending: Vec<_> = held.iter_mut().map(|pin| pin.start_set(High).unwrap()).collect();
        let mut requests: Vec<_> = pins.iter_mut().map(|pin| pin.request_set(High)).collect();
        let start = machine.now();
        assert_eq!(run_all(&mut requests), Err(SomeFailed { count: 2, first: 0, error: Error::Busy }));
        let took = machine.now().since(start);
        assert!(took < ms(1100), "{took:?}");
        for pending in pending {
            assert_eq!(pending.wait(), Ok(()));
        }
    });
}

#[test]
fn answers_are_collected_in_any_order() {
    for machine in machines() {
        with_plan(&machine, &plan(), |chip| {
            let pins: Vec<_> = (0..8).map(|line| input(chip, line)).collect();
            machine.drive(LineId(5), Some(High));
            let mut levels: Vec<_> = pins.iter().map(|pin| pin.queue_level().unwrap()).collect();
            let direction = pins[0].start_direction().unwrap();
            let last = levels.pop().unwrap();
            assert_eq!(last.wait(), Ok(Low));
            assert_eq!(direction.wait(), Ok(Direction::Input));
            for (line, pending) in levels.into_iter().enumerate().rev() {
                assert_eq!(pending.wait(), Ok(Level::from(line == 5)));
            }
        });
    }
}

/// The device answers the last one first.
#[test]
fn answers_may_come_in_any_order() {
    let [machine, _] = machines();
    with_plan(&machine, &plan(), |chip| {
        let mut pins = outputs(chip, 8);
        machine.tamper(0, vec![Tamper::Hold; 8]);
        let other = machine.clone();
        machine.at(machine.now().after(ms(1)), move || other.release_held(true));
        let mut requests: Vec<_> = pins.iter_mut().map(|pin| pin.request_set(High)).collect();
        assert_eq!(run_all(&mut requests), Ok(()));
        assert!(machine.now().as_nanos() < 10_000_000);
    });
}

#[test]
fn pins_of_several_chips_make_one_batch() {
    let [first, second] = machines();
    with_plan(&first, &plan(), |one| {
        with_plan(&second, &plan(), |two| {
            let (mut a, mut b, mut c) = (output(one, 0, Low), output(two, 0, Low), output(one, 1, Low));
            run_all(&mut [a.request_set(High), b.request_set(High), c.request_set(High)]).unwrap();
            assert_eq!([&first, &second].map(|machine| machine.line(LineId(0)).level()), [High, High]);
        });
    });
}

#[test]
fn a_port_writes_what_its_mask_says() {
    for machine in machines() {
        with_plan(&machine, &plan(), |chip| {
            let mut pins = outputs(chip, 64);
            let mut port = Port::new(&mut pins).unwrap();
            port.write(u64::MAX, 0xa5a5_0000_ffff_0001).unwrap();
            assert_eq!(port.read(), Ok(0xa5a5_0000_ffff_0001));
            port.write(0x8000_0000_0000_0003, 0x0000_0000_0000_0002).unwrap();
            assert_eq!(port.read(), Ok(0x25a5_0000_ffff_0002));
            assert_eq!(machine.line(LineId(63)).level(), Low);
            port.write(0, u64::MAX).unwrap();
            assert_eq!(port.read(), Ok(0x25a5_0000_ffff_0002));
        });
    }
}

#[test]
fn a_port_names_the_pins_that_fail() {
    let [machine, _] = machines();
    with_plan(&machine, &plan(), |chip| {
        let mut pins: Vec<_> = (0..8).map(|line| input(chip, line)).collect();
        let port = Port::new(&mut pins).unwrap();
        machine.drive(LineId(0), Some(High));
        machine.drive(LineId(7), Some(High));
        machine.tamper(0, [Tamper::Nothing, Tamper::Nothing, Tamper::Bytes(vec![1, 0])]);
        assert_eq!(port.read(), Err(PortError { failed: 0b100, error: Error::Refused, levels: 0b1000_0001 }));
    });
    let mut none: [Output<'_>; 0] = [];
    assert_eq!(Port::new(&mut none).unwrap().read(), Ok(0));
}

#[test]
fn a_port_has_64_pins_at_most() {
    let [machine, _] = machines();
    with_chip(&machine, |chip| {
        let mut pins = outputs(chip, 8);
        assert!(Port::new(&mut pins).is_ok());
    });
    with_plan(&machine, &plan(), |chip| {
        let mut pins = outputs(chip, 65);
        assert_eq!(Port::new(&mut pins).err(), Some(Error::TooManyLines { limit: 64 }));
    });
}

/// Somebody else is always quicker.
#[test]
#[cfg_attr(miri, ignore = "leaks its chip on purpose")]
fn a_batch_that_never_gets_its_turn_ends_by_its_deadline() {
    let [machine, _] = machines();
    let bench = Box::leak(Box::new(Bench::new()));
    let mut plan = Plan { requests: 2, ..Plan::default() };
    plan.options.timeout = ms(100);
    let chip = &*Box::leak(Box::new(bench.chip(&machine, &plan).unwrap()));
    let mut pin = output(chip, 0, Low);
    // An interrupt's handler that sends the next request as soon as one is answered.
    let mut quick = output(chip, 1, Low);
    machine.set_latency(ms(10));
    let first = quick.start_set(High).unwrap();
    let busy: Mutex<(Output<'_>, Option<Pending<'_>>)> = Mutex::new((quick, Some(first)));
    let other = machine.clone();
    machine.set_handler(move || {
        chip.handle_interrupt();
        let mut busy = busy.lock().unwrap();
        let (pin, pending) = &mut *busy;
        if pending.as_mut().is_some_and(|pending| pending.outcome().is_some()) {
            *pending = (other.now().as_nanos() < 2_000_000_000).then(|| pin.start_set(High).unwrap());
        }
    });
    let start = machine.now();
    let result = run_all(&mut [pin.request_set(High)]);
    let took = machine.now().since(start);
    assert_eq!(result, Err(SomeFailed { count: 1, first: 0, error: Error::Busy }), "{took:?}");
    assert!(took < ms(120), "{took:?}");
}

/// While a batch waits for one chip, whoever sleeps for an answer of another is interrupted for it.
#[test]
fn a_batch_that_waits_for_one_chip_leaves_interrupts_of_others_on() {
    let ([first, _], [second, _]) = (machines(), machines());
    with_plan(&first, &plan(), |one| {
        with_plan(&second, &Plan { requests: 3, ..plan() }, |two| {
            let (mut led, mut pin) = (output(one, 0, Low), output(one, 1, Low));
            let mut others = outputs(two, 3);
            let mut other = others.pop().unwrap();
            // Somebody keeps the slots of the second chip.
            let pending: Vec<_> = others.iter_mut().map(|pin| pin.start_set(High).unwrap()).collect();
            first.tamper(0, [Tamper::Hold]);
            let waiting = led.start_set(High).unwrap();
            first.run();
            one.poll();
            let raised = Arc::new(AtomicU64::new(u64::MAX));
            let (device, result) = (first.clone(), Arc::clone(&raised));
            second.at(second.now().after(ms(50)), move || {
                device.run();
                device.release_held(false);
                result.store(device.interrupt_raised().into(), Ordering::Relaxed);
            });
            let error = SomeFailed { count: 1, first: 1, error: Error::Busy };
            assert_eq!(run_all(&mut [pin.request_set(High), other.request_set(High)]), Err(error));
            assert_eq!(raised.load(Ordering::Relaxed), 1);
            assert_eq!(waiting.wait(), Ok(()));
            drop(pending);
        });
    });
}
