//! Real lines behind a device, on chips that are simulated in this process: scripts/test --bridge does it with the kernel's.

use std::time::Duration;

use gpio_model::observe::Activity;
use gpio_model::{draft, ratified};
use vgpio::bridge::Bridge;
use vgpio::bridge::host::{Mode, Problem};
use vgpio::bridge::spec::{Assembly, Spec};
use vgpio::chip::Chip;
use vgpio::record::Record;
use vgpio::world::{Wire, World};
use virtio_gpio::messages::{Level, LineId};

use crate::driver::{
    BOTH, CLAIM, FALLING, GET, HIGH_LEVEL, INPUT, INTERRUPTS, NONE, OK, OUTPUT, REFUSED, TO_INPUT, TO_OUTPUT,
    direction, get, get_direction, interrupt, interrupt_type, listen, message, output, set, told, unmask,
};
use crate::fake_chip::{FakeHost, clock};
use crate::front_end::{FrontEnd, LONG, MODERN};
use crate::server::{Bench, REQUESTS, line, names, serve, serve_world};

/// A host with one chip of four lines.
fn host() -> FakeHost {
    let host = FakeHost::new();
    host.plug("c", &["LED", "BUTTON", "", "RELAY"]);
    host
}

/// A chip with simulated lines of those names, and real ones.
fn assemble(host: &FakeHost, simulated: &[&str], real: &[&str]) -> anyhow::Result<(Vec<String>, Bridge)> {
    let mut assembly = Assembly::new(names(simulated));
    for spec in real {
        assembly.add(&spec.parse::<Spec>().unwrap(), &mut host.clone())?;
    }
    let Assembly { names, real, .. } = assembly;
    let bridge = Bridge::new(host.clone(), real, &names)?;
    Ok((names, bridge))
}

fn chip(host: &FakeHost, simulated: &[&str], real: &[&str]) -> Chip {
    let (names, bridge) = assemble(host, simulated, real).unwrap();
    Chip::ratified(names, ratified::Options::default()).unwrap().bridged(bridge)
}

fn connect(bench: &Bench) -> FrontEnd {
    FrontEnd::connect(&bench.socket, MODERN | INTERRUPTS)
}

/// Waits until the world has seen a line at a level that the outside drives, or that nobody does.
fn wait_for_drive(bench: &Bench, wanted: u16, drive: Option<Level>) {
    let is_so = |record: &Record| matches!(record.activity, Activity::Changed(change) if change.line == LineId(wanted) && change.after.drive == drive);
    bench.trace.wait_for(LONG, |records| records.iter().rev().any(is_so).then_some(())).unwrap();
}

#[test]
fn output_is_taken_set_and_given_back_as_an_input() {
    let host = host();
    let bench = serve(chip(&host, &[], &["c:0"]));
    let mut front_end = connect(&bench);
    let requests = &mut front_end.queues[REQUESTS];
    assert_eq!(set(requests, 0, 1), OK);
    assert_eq!(host.done(), [""; 0], "nobody has taken it yet");
    assert_eq!(direction(requests, 0, OUTPUT), OK);
    assert_eq!(get(requests, 0), [0, 1]);
    assert_eq!(set(requests, 0, 0), OK);
    assert_eq!(set(requests, 0, 0), OK);
    assert_eq!(get(requests, 0), [0, 0]);
    assert_eq!(direction(requests, 0, NONE), OK);
    assert_eq!(host.done(), ["c:0 taken as high", "c:0 set low", "c:0 made input", "c:0 given back"]);
}

#[test]
fn names_and_numbers_of_the_guest_are_those_that_were_asked_for() {
    let host = host();
    let chip = chip(&host, &["sim", "", "led"], &["c:0=led,1=1,2-3/pull-up"]);
    assert_eq!(chip.names(), ["sim", "", "led", "", "RELAY"]);
    let real = |line| chip.real(LineId(line)).map(ToString::to_string);
    assert_eq!(
        [0, 1, 2, 3, 4].map(real),
        [None, Some("c:1"), Some("c:0"), Some("c:2"), Some("c:3")].map(|l| l.map(str::to_owned))
    );
}

#[test]
fn lines_that_cannot_be_are_refused_at_once() {
    let host = host();
    for (specs, message) in [
        (&["d:0"][..], "There is no GPIO chip \"d\" on this host; there are: c"),
        (&["c:4"], "c has 4 lines, counted from 0: there is no line 4"),
        (&["c:LAMP"], "c has no line of the name \"LAMP\""),
        (&["c:1,0-1"], "The line 1 of c is given twice"),
        (&["c:1=a", "c:2=a"], "The guest's line 0 cannot be both c:1 and c:2"),
    ] {
        let error = assemble(&host, &[], specs).unwrap_err().to_string();
        assert!(error.contains(message), "{specs:?}: {error}");
    }
    host.refuse("c", 3, Some(Problem::Busy(Some("heating".into()))));
    let error = assemble(&host, &[], &["c:3/hold"]).unwrap_err().to_string();
    assert_eq!(error, "RELAY (c:3): it is in use by \"heating\": end that, and let the guest try again");
}

#[test]
fn slips_of_the_pen_are_answered_with_what_was_expected() {
    for (spec, message) in [
        (":3", "the chip is missing"),
        ("c:", "a line is missing"),
        ("c:3=", "a line is missing"),
        ("c:7-3", "there is no line in 7-3"),
        ("c:3-4=led", "one name cannot be that of the lines 3-4"),
        ("c:3/pullup", "\"pullup\" is no option of a real line; they are pull-up"),
        ("c:3/debounce=5", "a unit"),
        ("c:3/input-only/safe=low", "driven by nobody"),
        ("c:3/hold/hotplug", "leave out hold or hotplug"),
        ("c:LED/hotplug", "by their numbers"),
        ("c/safe=low", ""),
    ] {
        match spec.parse::<Spec>() {
            Err(error) => assert!(!message.is_empty() && error.contains(message), "{spec}: {error}"),
            // What stands before the first colon is the chip, and a path may have slashes in it.
            Ok(_) => assert_eq!(message, "", "{spec}"),
        }
    }
}

#[test]
fn edges_come_with_the_kernels_time() {
    let host = host();
    let bench = serve(chip(&host, &[], &["c:1"]));
    let mut front_end = connect(&bench);
    let [requests, events] = &mut front_end.queues;
    host.drive("c", 1, true);
    assert_eq!(direction(requests, 0, INPUT), OK);
    assert_eq!(get(requests, 0), [0, 1]);
    assert_eq!(interrupt_type(requests, 0, FALLING), OK);
    for _ in 0..2 {
        unmask(events, 0);
        host.drive("c", 1, false);
        assert!(interrupt(events));
        host.drive("c", 1, true);
        wait_for_drive(&bench, 0, Some(Level::High));
    }
    // Nothing is recorded before what was recorded already.
    let last = clock();
    std::thread::sleep(Duration::from_millis(30));
    let [first, second] = [5, 12].map(|later| last.saturating_add(Duration::from_millis(later)));
    host.drive_at("c", 1, false, first);
    host.drive_at("c", 1, true, second);
    let edges = bench.trace.wait_for(LONG, |records| {
        let edges = records
            .iter()
            .filter(|record| matches!(record.activity, Activity::Changed(change) if change.new_level().is_some()));
        let times: Vec<_> = edges.map(|record| record.at).collect();
        (times.len() == 7).then_some(times)
    });
    let edges = edges.unwrap();
    assert!(edges.is_sorted(), "{edges:?}");
    assert_eq!(edges[6].saturating_sub(edges[5]), Duration::from_millis(7), "{edges:?}");
}

#[test]
fn a_level_interrupts_again_as_long_as_it_holds() {
    let host = host();
    let bench = serve(chip(&host, &[], &["c:1"]));
    let mut front_end = connect(&bench);
    let [requests, events] = &mut front_end.queues;
    listen(requests, 0, HIGH_LEVEL);
    unmask(events, 0);
    assert_eq!(get(requests, 0), [0, 0]);
    assert_eq!(events.try_used(), None, "the level is not there");
    host.drive("c", 1, true);
    assert!(interrupt(events));
    for _ in 0..3 {
        unmask(events, 0);
        assert!(interrupt(events), "it holds");
    }
    host.drive("c", 1, false);
    unmask(events, 0);
    assert_eq!(get(requests, 0), [0, 0]);
    assert_eq!(events.try_used(), None, "it does not hold any more");
    assert_eq!(interrupt_type(requests, 0, 0), OK);
    assert!(!interrupt(events));
}

#[test]
fn interrupt_without_a_direction_listens_too() {
    let host = host();
    let bench = serve(chip(&host, &[], &["c:1"]));
    let mut front_end = connect(&bench);
    let [requests, events] = &mut front_end.queues;
    host.drive("c", 1, true);
    assert_eq!(interrupt_type(requests, 0, BOTH), OK);
    unmask(events, 0);
    assert_eq!(get(requests, 0), [0, 1]);
    assert_eq!(events.try_used(), None, "that it was high before is no edge");
    host.drive("c", 1, false);
    assert!(interrupt(events));
    assert_eq!(interrupt_type(requests, 0, 0), OK);
    assert_eq!(host.mode("c", 1), None);
}

#[test]
fn refused_line_is_an_error_and_the_others_work() {
    let host = host();
    let bench = serve(chip(&host, &[], &["c"]));
    let mut front_end = connect(&bench);
    let requests = &mut front_end.queues[REQUESTS];
    for problem in [Problem::Busy(None), Problem::NotPermitted, Problem::Other("no".into())] {
        host.refuse("c", 0, Some(problem));
        assert_eq!(direction(requests, 0, OUTPUT), REFUSED);
        assert_eq!(get_direction(requests, 0), [0, NONE], "the direction is what it was");
    }
    assert_eq!(direction(requests, 3, OUTPUT), OK);
    host.refuse("c", 0, None);
    assert_eq!(direction(requests, 0, OUTPUT), OK, "when the guest tries again");
}

#[test]
fn line_that_may_only_be_listened_to_is_never_an_output() {
    let host = host();
    let bench = serve(chip(&host, &[], &["c:1/input-only"]));
    let mut front_end = connect(&bench);
    let requests = &mut front_end.queues[REQUESTS];
    assert_eq!(direction(requests, 0, OUTPUT), REFUSED);
    assert_eq!(host.done(), [""; 0]);
    assert_eq!(direction(requests, 0, INPUT), OK);
}

#[test]
fn chip_that_cannot_interrupt_can_be_asked() {
    let host = host();
    host.make_deaf("c", 1);
    let bench = serve(chip(&host, &[], &["c:1"]));
    let mut front_end = connect(&bench);
    let requests = &mut front_end.queues[REQUESTS];
    assert_eq!(direction(requests, 0, INPUT), OK);
    assert_eq!(interrupt_type(requests, 0, BOTH), REFUSED);
    host.drive("c", 1, true);
    assert_eq!(get(requests, 0), [0, 1]);
    wait_for_drive(&bench, 0, Some(Level::High));
}

#[test]
fn lines_of_a_removed_chip_fail_and_work_again_when_it_is_back() {
    let host = host();
    let bench = serve(chip(&host, &["sim"], &["c:0=led,1=button"]));
    let mut front_end = connect(&bench);
    let [requests, events] = &mut front_end.queues;
    assert_eq!(direction(requests, 1, OUTPUT), OK);
    listen(requests, 2, BOTH);
    host.drive("c", 1, true);
    wait_for_drive(&bench, 2, Some(Level::High));
    host.unplug("c");
    wait_for_drive(&bench, 2, None);
    assert_eq!(get(requests, 2), REFUSED);
    assert_eq!(set(requests, 1, 1), REFUSED);
    assert_eq!(direction(requests, 0, OUTPUT), OK, "the others work");
    host.done();
    host.plug("c", &["LED", "BUTTON", "", "RELAY"]);
    // The guest does nothing: the lines come back by themselves.
    unmask(events, 2);
    let is_back = || host.mode("c", 1).is_some() && host.mode("c", 0).is_some();
    while !is_back() {
        bench.server.settle().unwrap();
    }
    host.drive("c", 1, true);
    // What was latched meanwhile, the lost level, may have come before; the line is high by the end.
    assert!(interrupt(events));
    assert_eq!(get(requests, 2), [0, 1]);
    assert_eq!(get(requests, 1), [0, 0], "the output is what the guest had set last");
}

#[test]
fn chip_may_come_later() {
    let host = FakeHost::new();
    let bench = serve(chip(&host, &[], &["c:1=button,0=led/hotplug"]));
    let mut front_end = connect(&bench);
    let requests = &mut front_end.queues[REQUESTS];
    assert_eq!(direction(requests, 0, INPUT), REFUSED);
    host.plug("c", &["LED", "BUTTON"]);
    assert_eq!(direction(requests, 0, INPUT), OK);
    assert_eq!(direction(requests, 1, OUTPUT), OK);
}

#[test]
fn guest_that_goes_leaves_its_lines_in_their_safe_state() {
    let host = host();
    let real = ["c:0=led/safe=low", "c:1=button", "c:2=x/safe=keep", "c:3=relay/safe=high/hold"];
    let bench = serve_world(World::new(vec![chip(&host, &[], &real)]), true);
    assert_eq!(host.done(), ["c:3 taken as high"]);
    let mut front_end = connect(&bench);
    let requests = &mut front_end.queues[REQUESTS];
    for led in [0, 2, 3] {
        output(requests, led, u8::from(led != 3));
    }
    assert_eq!(direction(requests, 1, INPUT), OK);
    assert_eq!(host.done(), ["c:0 taken as high", "c:2 taken as high", "c:3 set low", "c:1 taken as input with edges"]);
    let safe = ["c:0 set low", "c:0 given back", "c:1 given back", "c:2 given back", "c:3 set high"];
    drop(front_end);
    let mut done = Vec::new();
    while done.len() < safe.len() {
        bench.server.settle().unwrap();
        done.extend(host.done());
    }
    assert_eq!(done, safe);
    bench.server.stop();
    assert_eq!(host.done(), ["c:3 given back"]);
}

#[test]
fn paused_guest_goes_on_with_the_lines_that_it_had() {
    let host = host();
    let bench = serve(chip(&host, &[], &["c:0=led,1=button"]));
    let mut front_end = connect(&bench);
    let requests = &mut front_end.queues[REQUESTS];
    output(requests, 0, 1);
    assert_eq!(direction(requests, 1, INPUT), OK);
    let positions = front_end.stop();
    while host.mode("c", 0).is_some() || host.mode("c", 1).is_some() {
        bench.server.settle().unwrap();
    }
    front_end.start(positions);
    let requests = &mut front_end.queues[REQUESTS];
    assert_eq!(get(requests, 0), [0, 1]);
    assert_eq!(host.mode("c", 0), Some(Mode::Output(Level::High)));
    assert_eq!(host.mode("c", 1), Some(Mode::Input { edges: true }));
}

#[test]
fn guest_that_was_reset_begins_without_lines() {
    let host = host();
    let bench = serve(chip(&host, &[], &["c:0=led,1=button"]));
    let mut front_end = connect(&bench);
    assert_eq!(direction(&mut front_end.queues[REQUESTS], 0, OUTPUT), OK);
    front_end.stop();
    front_end.forget();
    front_end.start([0, 0]);
    let requests = &mut front_end.queues[REQUESTS];
    assert_eq!(get_direction(requests, 0), [0, NONE]);
    assert_eq!(host.mode("c", 0), None);
}

#[test]
fn outside_drives_a_real_line_only_where_that_was_allowed() {
    let host = host();
    let mut world = World::new(vec![chip(&host, &["sim"], &["c:0=led,1=button", "c:3=relay/control"])]);
    let error = world.wire(Wire::new(line(0), line(2))).unwrap_err();
    assert!(error.is_forbidden() && error.to_string().contains("\"control\" allows that"), "{error}");
    world.wire(Wire::new(line(0), line(3))).unwrap();
    let bench = serve_world(world, false);
    let mut front_end = connect(&bench);
    let requests = &mut front_end.queues[REQUESTS];
    let drive = |place, level| bench.server.with(move |world, now| world.drive(now, place, level)).unwrap();
    assert!(drive(line(1), Some(Level::High)).unwrap_err().is_forbidden());
    assert_eq!(host.done(), [""; 0]);
    host.refuse("c", 3, Some(Problem::Busy(Some("heating".into()))));
    let error = drive(line(3), Some(Level::High)).unwrap_err();
    assert!(error.is_refused() && error.to_string().contains("in use by \"heating\""), "{error}");
    host.refuse("c", 3, None);
    drive(line(3), Some(Level::High)).unwrap();
    assert_eq!(host.mode("c", 3), Some(Mode::Output(Level::High)));
    assert_eq!(direction(requests, 3, INPUT), OK);
    assert_eq!(get(requests, 3), [0, 1]);
    drive(line(3), None).unwrap();
    assert_eq!(host.mode("c", 3), Some(Mode::Input { edges: true }));
    assert_eq!(get(requests, 3), [0, 0]);
    assert_eq!(direction(requests, 3, NONE), OK);
    output(requests, 0, 1);
    bench.server.settle().unwrap();
    assert_eq!(host.mode("c", 3), Some(Mode::Output(Level::High)), "the wire");
}

#[test]
fn draft_tells_the_number_of_the_error_and_every_level() {
    let host = host();
    let (names, bridge) = assemble(&host, &[], &["c:0=led,1=button"]).unwrap();
    let bench = serve(Chip::draft(names, draft::Options::default()).unwrap().bridged(bridge));
    let mut front_end = FrontEnd::connect(&bench.socket, MODERN);
    host.refuse("c", 0, Some(Problem::Busy(None)));
    assert_eq!(message(&mut front_end, CLAIM, 0, 0), -16, "EBUSY");
    host.refuse("c", 0, Some(Problem::NotPermitted));
    assert_eq!(message(&mut front_end, TO_OUTPUT, 0, 1), -1, "EPERM");
    host.refuse("c", 0, None);
    assert_eq!(message(&mut front_end, CLAIM, 0, 0), 0);
    assert_eq!(message(&mut front_end, TO_OUTPUT, 0, 1), 0);
    assert_eq!(host.done(), ["c:0 taken as it is", "c:0 made high"]);
    assert_eq!(message(&mut front_end, TO_INPUT, 1, 0), 0);
    host.drive("c", 1, true);
    assert_eq!(told(&mut front_end), (1, 1));
    assert_eq!(message(&mut front_end, GET, 1, 0), 1);
    host.unplug("c");
    wait_for_drive(&bench, 1, None);
    assert_eq!(told(&mut front_end), (1, 0), "it is not known any more: low");
    assert_eq!(message(&mut front_end, GET, 1, 0), -19, "ENODEV");
}
