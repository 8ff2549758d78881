//! The world in its own time: wires, buttons, and the records that they leave.
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gpio_model::observe::Activity;
use gpio_model::ratified;
use vgpio::chip::Chip;
use vgpio::record::tally::{Edges, Tally};
use vgpio::record::trace::Trace;
use vgpio::record::vcd::Waveform;
use vgpio::world::{Button, Place, World};
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

fn button(place: Place) -> Button {
    Button { place, first: ms(10), pressed: ms(2), released: ms(3) }
}

#[test]
fn buttons_are_pressed_and_released_in_their_rhythm() {
    let mut world = World::new(vec![chip(&["a", "b"])]);
    let trace = Trace::default();
    world.watch(trace.clone());
    world.button(button(world.find("b").unwrap())).unwrap();
    while let Some(due) = world.next_due().filter(|due| *due <= ms(17)) {
        world.advance(due);
    }
    let (high, low) = (Level::High, Level::Low);
    assert_eq!(levels(&trace), [(ms(10), 1, high), (ms(12), 1, low), (ms(15), 1, high), (ms(17), 1, low)]);
}

#[test]
fn a_button_without_a_period_does_not_stop_time() {
    let mut world = World::new(vec![chip(&["a"])]);
    let place = world.find("a").unwrap();
    world.button(Button { place, first: ms(0), pressed: ms(0), released: ms(0) }).unwrap();
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

#[test]
fn lines_are_found_by_their_names_over_all_devices() {
    let mut world = World::new(vec![chip(&["a", ""]), chip(&["b", "a"])]);
    assert_eq!(world.find("a").unwrap(), Place { chip: 0, line: LineId(0) });
    assert_eq!(world.find("b").unwrap(), Place { chip: 1, line: LineId(0) });
    assert!(world.find("").is_err());
    let nowhere = Place { chip: 2, line: LineId(0) };
    let message = world.drive(ms(0), nowhere, None).unwrap_err().to_string();
    assert!(message.contains("line 0 of device 2"), "{message}");
    assert!(world.wire(nowhere, nowhere).is_err());
    assert!(world.button(button(nowhere)).is_err());
    assert!(world.drive_at(ms(0), nowhere, None).is_err());
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
    for part in ["$timescale 1 us $end", "$scope module vgpio $end", " led_0 $end", " led_0_out $end", " line1 $end"] {
        assert!(header.contains(part), "{part:?} is missing in:\n{header}");
    }
    // IEEE 1364: the identifiers are given out in the order of the variables: ! " # $
    assert_eq!(changes, "#0\n$dumpvars\nx!\nx\"\nx#\nx$\n$end\n#3000\n1!\n0!\n#4000\nx!\n#5000\n");
}

#[test]
fn waveform_names_are_unique() {
    let world = World::new(vec![chip(&["a b", "a_b", "line3", ""]), chip(&["a b"])]);
    let file = File::default();
    Waveform::begin(file.clone(), world.chips()).unwrap();
    let text = String::from_utf8(file.0.lock().unwrap().clone()).unwrap();
    let variables = text.lines().filter(|line| line.starts_with("$var"));
    let mut names: Vec<_> = variables.map(|line| line.split(' ').nth(4).unwrap()).collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!((names.len(), all), (10, 10), "{names:?}");
}
