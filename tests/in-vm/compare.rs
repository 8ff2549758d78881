//! This project's device beside another one, in the same machine, behind the same front end, on lines of the same chip.

use std::time::{Duration, Instant};

use hil::bridge::{REACTION, RESULT};

use crate::device::Device;
use crate::driver::{BOTH, INTERRUPTS, OK, get, listen, output, set};
use crate::front_end::{Buffer, DriverQueue, FrontEnd};
use crate::measure::{at, milliseconds};
use crate::sim::Sim;

/// How often each is measured, in turn; the median counts.
const TURNS: usize = 3;
const ROUNDS: u16 = 500;
/// Lines of the chip; a queue of the front end has room for an event buffer of each.
const LINES: u8 = 8;
const OUT: u8 = 0;
const IN: u8 = 1;
/// How long an edge takes that is not lost. Reached only when one is.
const LONG: Duration = Duration::from_secs(5);
/// When the device has nothing to do any more, however slow the machine.
const QUIET: Duration = Duration::from_millis(200);
/// The rates between which the one is searched for that a driver just hears, a second.
const RATES: [f64; 2] = [50.0, 50_000.0];
/// For how long the edges of one rate come.
const BURST: Duration = Duration::from_millis(400);
/// How often the range is halved.
const HALVINGS: u32 = 8;
/// Edges that may be missing of a rate that counts as heard: the machine itself has pauses.
const LOSS: f64 = 0.02;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    Vgpio,
    Peer,
}

impl Who {
    fn start(self, sim: &Sim) -> Device {
        match self {
            Self::Vgpio => Device::start(&["--chip", "a"]),
            Self::Peer => Device::peer(&sim.number()),
        }
    }
}

/// Prints a table: a row for each figure, and a column for each device.
pub(crate) fn compare(sim: &Sim) {
    let columns: &[_] = if Device::has_peer() { &[Who::Vgpio, Who::Peer] } else { &[Who::Vgpio] };
    let mut table: Vec<(&str, Vec<Vec<f64>>)> = Vec::new();
    for _ in 0..TURNS {
        for (column, who) in columns.iter().enumerate() {
            for (row, (name, figure)) in figures(*who, sim).into_iter().enumerate() {
                if row == table.len() {
                    table.push((name, vec![Vec::new(); columns.len()]));
                }
                table[row].1[column].push(figure);
            }
        }
    }
    println!("{RESULT}| | {} |", ["vgpio", "vhost-device-gpio"][..columns.len()].join(" | "));
    println!("{RESULT}| --- |{}", " ---: |".repeat(columns.len()));
    for (row, cells) in &mut table {
        let cells: Vec<_> = cells.iter_mut().map(|cells| format!("{:.*}", decimals(cells), at(cells, 50))).collect();
        println!("{RESULT}| {row} | {} |", cells.join(" | "));
    }
}

fn decimals(cells: &[f64]) -> usize {
    if cells.iter().all(|cell| cell.fract() == 0.0 || *cell >= 100.0) { 0 } else { 2 }
}

fn figures(who: Who, sim: &Sim) -> Vec<(&'static str, f64)> {
    let device = who.start(sim);
    let mut front_end = device.connect(INTERRUPTS);
    let mut figures = requests(&mut front_end);
    figures.extend(edges(sim, &mut front_end));
    drop((front_end, device));
    figures.extend(armed(&who.start(sim)));
    figures
}

/// Requests that wait for their answer.
fn requests(front_end: &mut FrontEnd) -> Vec<(&'static str, f64)> {
    let requests = &mut front_end.queues[0];
    output(requests, OUT, 0);
    let begin = Instant::now();
    for round in 0..ROUNDS {
        assert_eq!(set(requests, OUT, u8::from(round % 2 == 0)), OK);
    }
    let sets = rate(ROUNDS.into(), begin);
    let mut wrong = 0;
    let begin = Instant::now();
    for _ in 0..ROUNDS {
        let [status, level] = get(requests, OUT);
        assert_eq!(status, 0);
        wrong += u32::from(level != 0);
    }
    vec![
        ("set: requests a second", sets),
        ("get: requests a second", rate(ROUNDS.into(), begin)),
        ("get: answers with the wrong level, of 500", wrong.into()),
    ]
}

/// Edges of one line.
fn edges(sim: &Sim, front_end: &mut FrontEnd) -> Vec<(&'static str, f64)> {
    sim.pull(IN.into(), false);
    let [requests, events] = &mut front_end.queues;
    listen(requests, IN, BOTH);
    let mut ear = Ear { events, is_armed: false, refused: 0 };
    let mut times = Vec::with_capacity(ROUNDS.into());
    for round in 0..ROUNDS {
        ear.arm();
        // The device is at rest, as it mostly is.
        std::thread::sleep(Duration::from_millis(2));
        assert!(!ear.hears_within(Duration::ZERO), "there was no edge");
        let begin = Instant::now();
        sim.pull(IN.into(), round % 2 == 0);
        assert!(ear.hears_within(LONG), "an edge is lost");
        times.push(milliseconds(begin.elapsed()));
    }
    let mut figures =
        vec![(REACTION, at(&mut times, 50)), ("from an edge to the driver's interrupt: 99 %, ms", at(&mut times, 99))];
    ear.refused = 0;
    let begin = Instant::now();
    for round in 0..ROUNDS {
        ear.arm();
        sim.pull(IN.into(), round % 2 == 0);
        assert!(ear.hears_within(LONG), "an edge is lost");
    }
    figures.push(("edges a second, each heard before the next", rate(ROUNDS.into(), begin)));
    figures.push(("event buffers given back unused, of 500", ear.refused.into()));
    figures.push(("most edges a second that are all heard", most_edges(sim, &mut ear)));
    figures
}

/// The highest rate at which a driver that asks for the next interrupt at once hears each edge.
fn most_edges(sim: &Sim, ear: &mut Ear<'_>) -> f64 {
    let [mut good, mut bad] = RATES;
    for _ in 0..HALVINGS {
        let rate = (good * bad).sqrt();
        let (pulled, heard) = stream(sim, ear, rate);
        if heard >= pulled * (1.0 - LOSS) {
            good = rate;
        } else {
            bad = rate;
        }
    }
    good
}

/// Edges at a rate; gives how many were made, and heard.
fn stream(sim: &Sim, ear: &mut Ear<'_>, rate: f64) -> (f64, f64) {
    let period = Duration::from_secs_f64(1.0 / rate);
    // The line is low at the end, as it was at the beginning.
    let count = u32::try_from(BURST.as_nanos() / period.as_nanos() / 2 * 2).unwrap();
    let mut heard = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let begin = Instant::now();
            for edge in 0..count {
                std::thread::sleep((begin + period * edge).saturating_duration_since(Instant::now()));
                sim.pull(IN.into(), edge % 2 == 0);
            }
        });
        while ear.hears_within(QUIET) {
            heard += 1;
        }
    });
    (count.into(), heard.into())
}

/// Lines that wait for an edge.
fn armed(device: &Device) -> Vec<(&'static str, f64)> {
    let mut front_end = device.connect(INTERRUPTS);
    let [requests, events] = &mut front_end.queues;
    for line in 0..LINES {
        listen(requests, line, BOTH);
    }
    let before = threads(device);
    for line in 0..LINES {
        arm(events, line);
    }
    // A request is answered after that which came before it.
    let mut times: Vec<_> = (0..5)
        .map(|_| {
            let begin = Instant::now();
            assert_eq!(get(requests, IN)[0], 0);
            milliseconds(begin.elapsed())
        })
        .collect();
    vec![
        ("threads while no line waits for an edge", before),
        ("threads while 8 lines wait for an edge", threads(device)),
        ("get of a line that waits for an edge: median, ms", at(&mut times, 50)),
    ]
}

fn threads(device: &Device) -> f64 {
    u32::try_from(device.threads()).unwrap().into()
}

fn arm(events: &mut DriverQueue, line: u8) {
    events.send(u16::from(line) * 2, &[Buffer::Readable(&[line, 0]), Buffer::Writable(1)]);
}

fn rate(count: u32, begin: Instant) -> f64 {
    f64::from(count) / begin.elapsed().as_secs_f64()
}

/// A driver that listens to one line.
struct Ear<'a> {
    events: &'a mut DriverQueue,
    is_armed: bool,
    /// How often the device gave the buffer back without an edge, as if the line did not interrupt.
    refused: u32,
}

impl Ear<'_> {
    fn arm(&mut self) {
        if !std::mem::replace(&mut self.is_armed, true) {
            arm(self.events, IN);
        }
    }

    /// Whether there is an interrupt within that time.
    fn hears_within(&mut self, patience: Duration) -> bool {
        loop {
            self.arm();
            if self.events.used_within(patience).is_none() {
                return false;
            }
            self.is_armed = false;
            let [status] = self.events.read(u16::from(IN) * 2 + 1);
            if status == 1 {
                return true;
            }
            self.refused += 1;
        }
    }
}
