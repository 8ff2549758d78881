//! Devices that send anything: whatever comes, every call ends, no rule is broken by the driver, and a device that
//! behaves again can be used again or was given up. `PROPTEST_CASES=20000 cargo test …` looks harder.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

mod common;

use common::{High, LINES, Low, RATIFIED, draft_with, events, ms, notices, ratified_with, with_chip};
use gpio_loopback::{Bench, Loopback, Machine, Plan, Settings, Tamper};
use gpio_model::names::Names;
use gpio_model::{draft, ratified};
use proptest::prelude::*;
use virtio_gpio::messages::draft::{Marking, Message};
use virtio_gpio::{Chip, Error, InterruptType, LineId};

/// What happens next: the device does something wrong, the world something, or the application something.
#[derive(Debug, Clone)]
enum Step {
    Tamper(u16, Tamper),
    Send(Message),
    Drive(u16, bool),
    Set(bool),
    Get,
    Wait(u64),
}

/// Wrong contents, and nothing at all.
fn wrong_answer() -> impl Strategy<Value = Tamper> {
    prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..12).prop_map(Tamper::Bytes),
        2 => any::<u32>().prop_map(Tamper::Length),
        1 => Just(Tamper::Drop),
        1 => Just(Tamper::NoInterrupt),
    ]
}

/// Lies about which chain comes back.
fn wrong_ring() -> impl Strategy<Value = Tamper> {
    prop_oneof![
        (0u32..130).prop_map(Tamper::Id),
        any::<u16>().prop_map(Tamper::JumpIndex),
        Just(Tamper::Duplicate),
        Just(Tamper::IdWithHighBit),
        Just(Tamper::IdOfLastDescriptor),
    ]
}

/// Types near the ones that mean something, and any other.
fn message() -> impl Strategy<Value = Message> {
    let kind = prop_oneof![0u16..0x20, 0x8000u16..0x8010, 0xf000u16..0xf010, any::<u16>()];
    let value = prop_oneof![-100i32..4, any::<i32>()];
    let line = prop_oneof![0..LINES + 1, any::<u16>()];
    (kind, line, value).prop_map(|(kind, line, value)| Message { kind, line: LineId(line), value })
}

fn steps(tamper: impl Strategy<Value = Tamper>) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0u16..2, tamper).prop_map(|(queue, tamper)| Step::Tamper(queue, tamper)),
        2 => message().prop_map(Step::Send),
        2 => (0..LINES, any::<bool>()).prop_map(|(line, high)| Step::Drive(line, high)),
        3 => any::<bool>().prop_map(Step::Set),
        2 => Just(Step::Get),
        2 => (0u64..3000).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 0..40)
}

fn live_through(machine: &Machine, chip: &Chip<'_, Loopback>, steps: Vec<Step>, draft: bool) {
    let mut led = chip.line(LineId(0)).unwrap().into_output(Low).unwrap();
    let mut button = chip.line(LineId(1)).unwrap().into_input().unwrap();
    button.watch(InterruptType::BothEdges).unwrap();
    for step in steps {
        match step {
            Step::Tamper(queue, tamper) => machine.tamper(queue, [tamper]),
            Step::Send(message) if draft => machine.send(message),
            Step::Send(_) => (),
            Step::Drive(line, high) => machine.drive(LineId(line), Some(high.into())),
            Step::Set(high) => drop(led.set(high.into())),
            Step::Get => drop(button.level()),
            Step::Wait(time) => machine.advance(chip, ms(time)),
        }
        machine.pump(chip);
        events(chip);
        notices(chip);
    }
    // What is left of the script is used up by and by; from then on the device behaves.
    for _ in 0..100 {
        machine.advance(chip, ms(10_000));
        match led.set(High) {
            Ok(()) | Err(Error::LineLost | Error::ChipFailed) => return,
            Err(_) => (),
        }
    }
    panic!("neither usable nor given up: {:?}", led.set(High));
}

proptest! {
    #[test]
    fn a_ratified_device_can_answer_anything(steps in steps(wrong_answer())) {
        let machine = ratified_with(Settings::new(RATIFIED), ratified::Options::default());
        with_chip(&machine, |chip| live_through(&machine, chip, steps, false));
    }

    #[test]
    fn a_draft_device_can_answer_anything(steps in steps(wrong_answer()), marking in 0usize..4) {
        let machine = draft_with(draft::Options { marking: Marking::ALL[marking], ..draft::Options::default() });
        with_chip(&machine, |chip| live_through(&machine, chip, steps, true));
    }

    // A driver that was told that a chain is back may use it again, so what the device sees then is its own doing:
    // nobody looks whether the driver keeps the rules.

    #[test]
    fn a_ratified_device_can_return_any_chain(steps in steps(wrong_ring())) {
        let machine = ratified_with(Settings::new(RATIFIED), ratified::Options::default());
        let plan = Plan::default();
        let mut bench = Bench::new();
        live_through(&machine, &bench.chip(&machine, &plan).unwrap(), steps, false);
    }

    #[test]
    fn a_draft_device_can_return_any_chain(steps in steps(wrong_ring())) {
        let machine = draft_with(draft::Options::default());
        let plan = Plan::default();
        let mut bench = Bench::new();
        live_through(&machine, &bench.chip(&machine, &plan).unwrap(), steps, true);
    }

    #[test]
    fn names_can_be_any_bytes(block in prop::collection::vec(any::<u8>(), 0..200), of_draft in any::<bool>()) {
        let names = Names::from_raw(block.clone());
        let machine = if of_draft {
            draft_with(draft::Options { names, ..draft::Options::default() })
        } else {
            ratified_with(Settings::new(RATIFIED), ratified::Options { names, ..ratified::Options::default() })
        };
        with_chip(&machine, |chip| {
            assert!(chip.names().count() <= usize::from(LINES));
            for line in 0..LINES {
                if let Some(name) = chip.name(LineId(line)) {
                    assert!(!name.as_bytes().contains(&0));
                    assert!(name.to_string().bytes().all(|byte| (b' '..=b'~').contains(&byte)));
                }
            }
        });
    }
}
