//! What the tests share: machines as they are usually wanted, and words for what they show.
#![allow(dead_code, reason = "each test file uses its own part")]

use core::time::Duration;

use gpio_loopback::{Bench, Loopback, Machine, Plan, Settings};
use gpio_model::bank::Bank;
use gpio_model::names::Names;
use gpio_model::observe::Activity;
use gpio_model::{draft, ratified};
use virtio_gpio::messages::ratified::Request;
use virtio_gpio::{Chip, Event, Input, InterruptType, Level, LineId, Notice, Output, Trigger};

pub(crate) use Level::{High, Low};

/// The IDs of the two protocols' devices.
pub(crate) const RATIFIED: u32 = 41;
pub(crate) const DRAFT: u32 = 30;

/// Lines of the machines here.
pub(crate) const LINES: u16 = 8;

/// So many rounds of a loop; fewer where the interpreter Miri goes through them.
pub(crate) fn rounds(count: u32) -> u32 {
    if cfg!(miri) { count.min(10) } else { count }
}

pub(crate) fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// A modern device of the ratified protocol that follows every rule.
pub(crate) fn ratified() -> Machine {
    ratified_with(Settings::new(RATIFIED), ratified::Options::default())
}

pub(crate) fn ratified_with(settings: Settings, options: ratified::Options) -> Machine {
    Machine::ratified(Bank::new(LINES), options, settings)
}

/// A device of the draft that follows every rule.
pub(crate) fn draft() -> Machine {
    draft_with(draft::Options::default())
}

pub(crate) fn draft_with(options: draft::Options) -> Machine {
    Machine::draft(Bank::new(LINES), options, Settings::new(DRAFT))
}

pub(crate) fn names(names: &[&str]) -> Names {
    Names::new(names).unwrap()
}

/// Runs `test` with a chip on the machine's device, and looks at the end whether the driver kept the rules and gave
/// its memory back.
pub(crate) fn with_plan(machine: &Machine, plan: &Plan, test: impl FnOnce(&Chip<'_, Loopback>)) {
    let mut bench = Bench::new();
    let chip = bench.chip(machine, plan).expect("the device is set up");
    test(&chip);
    drop(chip);
    assert_eq!(machine.violations(), Vec::<String>::new(), "the driver keeps the rules");
    assert!(machine.memory_released(), "the memory is given back after the reset");
}

pub(crate) fn with_chip(machine: &Machine, test: impl FnOnce(&Chip<'_, Loopback>)) {
    with_plan(machine, &Plan::default(), test);
}

pub(crate) fn input<'c>(chip: &'c Chip<'_, Loopback>, line: u16) -> Input<'c> {
    chip.line(LineId(line)).unwrap().into_input().unwrap()
}

pub(crate) fn output<'c>(chip: &'c Chip<'_, Loopback>, line: u16, level: Level) -> Output<'c> {
    chip.line(LineId(line)).unwrap().into_output(level).unwrap()
}

pub(crate) fn watched<'c>(chip: &'c Chip<'_, Loopback>, line: u16, kind: InterruptType) -> Input<'c> {
    let mut input = input(chip, line);
    input.watch(kind).unwrap();
    input
}

/// Drives a line from outside and lets driver and device do what follows from it.
pub(crate) fn drive(machine: &Machine, chip: &Chip<'_, Loopback>, line: u16, level: Level) {
    machine.drive(LineId(line), Some(level));
    machine.pump(chip);
}

pub(crate) fn events(chip: &Chip<'_, Loopback>) -> Vec<Event> {
    std::iter::from_fn(|| chip.next_event()).collect()
}

/// Line and trigger of the events that wait.
pub(crate) fn triggers(chip: &Chip<'_, Loopback>) -> Vec<(u16, Trigger)> {
    events(chip).iter().map(|event| (event.line.0, event.trigger)).collect()
}

pub(crate) fn notices(chip: &Chip<'_, Loopback>) -> Vec<Notice> {
    std::iter::from_fn(|| chip.next_notice()).collect()
}

/// The requests of the ratified protocol that the device saw since it was last asked.
pub(crate) fn requests(machine: &Machine) -> Vec<Request> {
    let request = |activity: &Activity| match activity {
        Activity::Request { request, .. } => Some(request.expect("the request is valid")),
        _ => None,
    };
    machine.take_activities().iter().filter_map(request).collect()
}

/// The messages of the draft that the device saw since it was last asked: type, line, value.
pub(crate) fn messages(machine: &Machine) -> Vec<(u16, u16, i32)> {
    let message = |activity: &Activity| match activity {
        Activity::Message { request, .. } => Some((request.kind, request.line.0, request.value)),
        _ => None,
    };
    machine.take_activities().iter().filter_map(message).collect()
}
