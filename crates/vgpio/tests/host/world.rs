//! The world in its own time: wires, buttons, and the records that they leave.
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gpio_model::observe::Activity;
use gpio_model::ratified;
use vgpio::chip::Chip;
use vgpio::record::log::{Event, Log, Occurrence};
use vgpio::record::tally::{Edges, Tally};
use vgpio::record::trace::Trace;
use vgpio::record::vcd::Waveform;
use vgpio::world::{Bounce, Button, Place, Stimulus, Wire, World};
use virtio_gpio::messages::{Level, LineId};

fn chip(names: &[&str]) -> Chip {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    Chip::ratified(names, ratified::Options::default()).unwrap()
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// When which line went to which level.
fn levels(trace: &Trace) -> Vec<(Duration, u16, Level)> {
    let level = |record: &vgpio::record::Record| match record.activity {
        Activity::Changed(change) => Some((record.at, change.line.0, change.new_level()?)),
        _ => None,
    };
    trace.records().iter().filter_map(level).collect()
}

const PULSE: Stimulus = Stimulus::Pulse { level: Level::High, width: Duration::from_millis(2) };

fn button(place: Place) -> Button {
    Button { place, first: ms(10), pressed: ms(2), released: ms(3), bounce: None }
}

#[test]
fn buttons_are_pressed_and_released_in_their_rhythm() {
    let mut world = World::new(vec![chip(&["a", "b"])]);
    let trace = Trace::default();
    world.watch(trace.clone());
    world.button(button(world.find("b").unwrap())).unwrap();
    world.run_until(ms(17));
    let (high, low) = (Level::High, Level::Low);
    assert_eq!(levels(&trace), [(ms(10), 1, high), (ms(12), 1, low), (ms(15), 1, high), (ms(17), 1, low)]);
}

#[test]
fn buttons_bounce_differently_each_time_and_the_same_with_the_same_seed() {
    let bounce = Some(Bounce { over: ms(1), changes: 5, seed: 3 });
    let played = || {
        let mut world = World::new(vec![chip(&["a"])]);
        let trace = Trace::default();
        world.watch(trace.clone());
        world.button(Button { bounce, ..button(world.find("a").unwrap()) }).unwrap();
        world.run_until(ms(18));
        levels(&trace)
    };
    let seen = played();
    assert_eq!(seen, played());
    let presses: Vec<Vec<_>> = [10, 12, 15, 17]
        .iter()
        .zip(seen.chunks(5))
        .map(|(at, press)| press.iter().map(|(t, ..)| t.saturating_sub(ms(*at))).collect())
        .collect();
    assert_eq!(seen.len(), 20);
    assert!(presses.iter().all(|press| press[0] == ms(0) && press[4] == ms(1)), "{presses:?}");
    assert!(presses.windows(2).all(|pair| pair[0] != pair[1]), "{presses:?}");
    assert_eq!(seen[19].2, Level::Low);
}

#[test]
fn a_button_without_a_period_does_not_stop_time() {
    let mut world = World::new(vec![chip(&["a"])]);
    let place = world.find("a").unwrap();
    world.button(Button { place, first: ms(0), pressed: ms(0), released: ms(0), bounce: None }).unwrap();
    world.advance(ms(1));
    assert!(world.next_due().unwrap() > ms(1));
}

#[test]
fn planned_levels_come_in_the_order_of_time_and_then_of_planning() {
    let mut world = World::new(vec![chip(&["a", "b"])]);
    let trace = Trace::default();
    world.watch(trace.clone());
    let [a, b] = ["a", "b"].map(|name| world.find(name).unwrap());
    world.drive_at(ms(2), b, Some(Level::High)).unwrap();
    world.drive_at(ms(1), a, Some(Level::High)).unwrap();
    world.drive_at(ms(2), b, None).unwrap();
    world.advance(ms(2));
    assert_eq!(levels(&trace), [(ms(2), 0, Level::High), (ms(2), 1, Level::High), (ms(2), 1, Level::Low)]);
}

/// A world of one line `a` and one line `b`, and what happens to them.
fn two_lines() -> (World, Trace, [Place; 2]) {
    let mut world = World::new(vec![chip(&["a", "b"])]);
    let trace = Trace::default();
    world.watch(trace.clone());
    let places = ["a", "b"].map(|name| world.find(name).unwrap());
    (world, trace, places)
}

#[test]
fn stimuli_have_their_edges_at_exact_times() {
    let (high, low) = (Level::High, Level::Low);
    let cases = [
        (PULSE, vec![(ms(5), high), (ms(7), low)]),
        (Stimulus::Pulse { level: low, width: ms(1) }, vec![(ms(6), high)]),
        (
            Stimulus::Clock { period: ms(4), cycles: Some(2) },
            vec![(ms(5), high), (ms(7), low), (ms(9), high), (ms(11), low)],
        ),
        (
            Stimulus::Pwm { period: ms(4), high: ms(1), cycles: Some(2) },
            vec![(ms(5), high), (ms(6), low), (ms(9), high), (ms(10), low)],
        ),
        (Stimulus::Pwm { period: ms(4), high: ms(4), cycles: Some(2) }, vec![(ms(5), high), (ms(13), low)]),
        (Stimulus::Pwm { period: ms(4), high: ms(0), cycles: Some(2) }, vec![]),
        (Stimulus::Bounce { to: high, over: ms(3), changes: 1, seed: 0 }, vec![(ms(5), high)]),
    ];
    for (stimulus, expected) in cases {
        let (mut world, trace, [_, b]) = two_lines();
        world.stimulate(ms(5), b, stimulus).unwrap();
        world.run_until(ms(1000));
        let expected: Vec<_> = expected.into_iter().map(|(at, level)| (at, 1, level)).collect();
        assert_eq!(levels(&trace), expected, "{stimulus:?}");
        assert_eq!(world.next_due(), None, "{stimulus:?} is over");
        let (mut world, trace, [_, b]) = two_lines();
        world.stimulate_at(ms(5), b, stimulus).unwrap();
        world.run_until(ms(1000));
        assert_eq!(levels(&trace), expected, "{stimulus:?}, planned");
    }
}

#[test]
fn late_world_makes_all_edges_and_does_not_drift() {
    let (mut world, trace, [a, _]) = two_lines();
    world.stimulate(ms(0), a, Stimulus::Clock { period: ms(2), cycles: None }).unwrap();
    world.advance(Duration::from_micros(4500));
    assert_eq!(levels(&trace).len(), 5, "at 0, 1, 2, 3 and 4 ms");
    assert!(levels(&trace)[1..].iter().all(|(at, ..)| *at == Duration::from_micros(4500)));
    assert_eq!(world.next_due(), Some(ms(5)));
}

#[test]
fn stimulus_ends_when_a_hand_or_another_one_comes() {
    let clock = Stimulus::Clock { period: ms(2), cycles: None };
    let (mut world, trace, [a, b]) = two_lines();
    world.stimulate(ms(0), a, clock).unwrap();
    world.stimulate(ms(0), b, clock).unwrap();
    world.still(a).unwrap();
    world.drive(ms(0), b, None).unwrap();
    world.run_until(ms(9));
    let (high, low) = (Level::High, Level::Low);
    assert_eq!(levels(&trace), [(ms(0), 0, high), (ms(0), 1, high), (ms(0), 1, low)]);
    assert_eq!(world.next_due(), None);

    let (mut world, trace, [a, _]) = two_lines();
    world.stimulate(ms(0), a, clock).unwrap();
    world.run_until(ms(1));
    world.stimulate(ms(1), a, Stimulus::Pulse { level: high, width: ms(10) }).unwrap();
    world.run_until(ms(20));
    assert_eq!(levels(&trace), [(ms(0), 0, high), (ms(1), 0, low), (ms(1), 0, high), (ms(11), 0, low)]);
}

#[test]
fn changes_of_one_instant_come_in_the_order_of_planning() {
    let clock = Stimulus::Clock { period: ms(2), cycles: Some(2) };
    for order in [[0, 1], [1, 0]] {
        let (mut world, trace, places) = two_lines();
        for line in order {
            world.stimulate_at(ms(1), places[line], clock).unwrap();
        }
        world.run_until(ms(10));
        let seen: Vec<_> = levels(&trace).iter().map(|(_, line, _)| usize::from(*line)).collect();
        assert_eq!(seen, order.repeat(4));
    }
}

/// A world that rings a bell and dims a lamp, as a waveform.
fn played(seed: u64) -> Vec<u8> {
    let (mut world, _, [a, b]) = two_lines();
    let file = File::default();
    world.watch(Waveform::begin(file.clone(), world.chips()).unwrap());
    world.stimulate(ms(0), a, Stimulus::Pwm { period: ms(3), high: ms(1), cycles: None }).unwrap();
    for (at, to) in [(10, Level::High), (30, Level::Low)] {
        world.stimulate_at(ms(at), b, Stimulus::Bounce { to, over: ms(5), changes: 9, seed }).unwrap();
    }
    world.run_until(ms(50));
    world.finish(ms(50));
    file.0.lock().unwrap().clone()
}

#[test]
fn same_seed_gives_the_same_waveform() {
    assert_eq!(played(7), played(7));
    assert_ne!(played(7), played(8));
}

#[test]
fn log_has_devices_and_console_in_one_order_and_shows_nothing_twice() {
    let (mut world, _, [a, _]) = two_lines();
    let log = Log::default();
    world.watch(log.clone());
    world.drive(ms(1), a, Some(Level::High)).unwrap();
    world.console(ms(2), "hello");
    world.drive(ms(3), a, Some(Level::Low)).unwrap();
    let level = |event: &Event| match event.what {
        Occurrence::Device { activity: Activity::Changed(change), .. } => change.new_level(),
        _ => None,
    };
    let events = log.events_from(0);
    assert_eq!(events.iter().map(|event| event.at).collect::<Vec<_>>(), [ms(1), ms(2), ms(3)]);
    assert_eq!((level(&events[0]), level(&events[2])), (Some(Level::High), Some(Level::Low)));
    assert_eq!(events[1].what, Occurrence::Console("hello".into()));

    let found = log.wait_from(1, ms(0), |position, event| level(event).map(|level| (position, level)));
    assert_eq!(found, Ok((2, Level::Low)));
    let mut shown = Vec::new();
    let waiting = log.clone();
    let waiter = std::thread::spawn(move || {
        let found = waiting.wait_from(1, Duration::from_mins(1), |position, event| {
            shown.push(position);
            (event.what == Occurrence::Console("end".into())).then_some(())
        });
        (found, shown)
    });
    for (at, line) in [(4, "on"), (5, "end")] {
        world.console(ms(at), line);
    }
    assert_eq!(waiter.join().unwrap(), (Ok(()), vec![1, 2, 3, 4]));
    world.finish(ms(6));
    let error = log.wait_from(log.position(), Duration::from_mins(1), |_, _| Some(())).unwrap_err();
    assert!(error.ended);
}

#[test]
fn lines_are_found_by_their_names_over_all_devices() {
    let mut world = World::new(vec![chip(&["a", "", "7"]), chip(&["b", "a", "gpio0:1", "c"])]);
    let at = |chip, line| Place { chip, line: LineId(line) };
    let lines = [
        ("b", at(1, 0)),
        ("gpio0:a", at(0, 0)),
        ("gpio1:a", at(1, 1)),
        ("gpio0:0", at(0, 0)),
        ("gpio0:7", at(0, 2)),
        ("gpio1:3", at(1, 3)),
        ("gpio0:1", at(1, 2)),
        ("3", at(1, 3)),
        ("7", at(0, 2)),
    ];
    for (name, place) in lines {
        assert_eq!(world.find(name), Ok(place), "{name}");
    }
    for name in ["", "gpio2:a", "gpio0:b", "gpio0:3", "gpio0:", ":a", "gpiox:a", "5", "-1", "65536"] {
        let message = world.find(name).unwrap_err().to_string();
        assert!(message.contains(&format!("no line {name:?}")), "{message}");
    }
    for (name, choice) in [("a", "gpio0:a or gpio1:a"), ("1", "gpio0:1 or gpio1:1")] {
        let message = world.find(name).unwrap_err().to_string();
        assert!(message.ends_with(&format!("say {choice}")), "{message}");
    }
    let nowhere = at(2, 0);
    let message = world.drive(ms(0), nowhere, None).unwrap_err().to_string();
    assert!(message.contains("line 0 of device 2"), "{message}");
    assert!(world.wire(Wire::new(nowhere, at(0, 0))).is_err());
    assert!(world.wire(Wire::new(at(0, 0), nowhere)).is_err());
    assert!(world.button(button(nowhere)).is_err());
    assert!(world.drive_at(ms(0), nowhere, None).is_err());
    assert!(world.stimulate(ms(0), nowhere, PULSE).is_err());
    assert!(world.stimulate_at(ms(0), nowhere, PULSE).is_err());
    assert!(world.still(nowhere).is_err());
    assert_eq!(world.next_due(), None);
}

#[test]
fn edges_are_counted_by_line_and_polarity() {
    let mut world = World::new(vec![chip(&["a", "b"])]);
    let tally = Tally::default();
    world.watch(tally.clone());
    let b = world.find("b").unwrap();
    for level in [Level::High, Level::High, Level::Low, Level::High] {
        world.drive(ms(0), b, Some(level)).unwrap();
    }
    let edges = Edges { rising: 2, falling: 1, by_guest: false };
    assert_eq!(tally.edges(), [[Edges::default(), edges]]);
    assert_eq!(tally.requests(), 0);
}

/// A file that can be looked at while somebody else writes it.
#[derive(Clone, Default)]
struct File(Arc<Mutex<Vec<u8>>>);

impl Write for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn waveform_shows_every_line_from_the_beginning_to_the_end() {
    let mut world = World::new(vec![chip(&["led 0", ""])]);
    let file = File::default();
    world.watch(Waveform::begin(file.clone(), world.chips()).unwrap());
    let led = Place { chip: 0, line: LineId(0) };
    world.drive(ms(3), led, Some(Level::High)).unwrap();
    world.drive(ms(3), led, Some(Level::Low)).unwrap();
    world.drive(ms(4), led, None).unwrap();
    world.finish(ms(5));
    let text = String::from_utf8(file.0.lock().unwrap().clone()).unwrap();
    let (header, changes) = text.split_once("$enddefinitions $end\n").unwrap();
    for part in [
        "$timescale 1 us $end",
        "$scope module vgpio $end",
        " led_0 $end",
        " led_0_out $end",
        " led_0_ext $end",
        " line1 $end",
    ] {
        assert!(header.contains(part), "{part:?} is missing in:\n{header}");
    }
    // IEEE 1364: the identifiers are given out in the order of the variables: ! " # $ % &
    let begin = "#0\n$dumpvars\nx!\nx\"\n0#\nx$\nx%\n0&\n$end\n";
    assert_eq!(changes, format!("{begin}#3000\n1!\n1#\n0!\n#4000\nx!\n0#\n#5000\n"));
}

#[test]
fn waveform_names_are_unique() {
    let world = World::new(vec![chip(&["a b", "a_b", "line4", "a_b_out", ""]), chip(&["a b"])]);
    let file = File::default();
    Waveform::begin(file.clone(), world.chips()).unwrap();
    let text = String::from_utf8(file.0.lock().unwrap().clone()).unwrap();
    let variables = text.lines().filter(|line| line.starts_with("$var"));
    let mut names: Vec<_> = variables.map(|line| line.split(' ').nth(4).unwrap()).collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!((names.len(), all), (18, 18), "{names:?}");
}
