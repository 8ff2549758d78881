//! How fast it is, in this machine.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hil::bridge::RESULT;
use vgpio::bridge::host::Mode;

use crate::compare::compare;
use crate::device::Device;
use crate::driver::{BOTH, INTERRUPTS, listen};
use crate::sim::Sim;

const ROUNDS: u16 = 2000;

pub(crate) fn measure() {
    let sim = Sim::new("a", 8, &[]);
    let mut times = Vec::with_capacity(ROUNDS.into());
    for round in 0..ROUNDS {
        let begin = Instant::now();
        sim.pull(2, round % 2 == 0);
        times.push(milliseconds(begin.elapsed()));
    }
    println!("{RESULT}To pull a line that nobody has takes {:.3} ms (median)", at(&mut times, 50));
    compare(&sim);
    bursts(&sim);
}

/// What is recorded of edges that nobody waits for.
fn bursts(sim: &Sim) {
    let device = Device::start(&["--chip", "a:1=in"]);
    let mut front_end = device.connect(INTERRUPTS);
    listen(&mut front_end.queues[0], 0, BOTH);
    sim.pull(1, false);
    let (rate, reported) = alone(sim);
    println!(
        "{RESULT}{ROUNDS} edges as fast as possible, {rate:.0} a second: the kernel reports {reported} to a program"
    );
    let rate = storm(sim, 1);
    // What is still on its way when the process ends is not recorded.
    std::thread::sleep(Duration::from_secs(1));
    let folder = device.folder().to_owned();
    assert!(device.terminate().success());
    let recorded = edges(&fs::read_to_string(folder.join("wave.vcd")).unwrap(), "in");
    println!("{RESULT}{ROUNDS} edges as fast as possible, {rate:.0} a second: vgpio records {recorded}");
}

/// Changes a line as fast as possible; gives the changes in a second.
fn storm(sim: &Sim, line: u32) -> f64 {
    let begin = Instant::now();
    for round in 0..ROUNDS {
        sim.pull(line, round % 2 == 0);
    }
    f64::from(ROUNDS) / begin.elapsed().as_secs_f64()
}

/// The same, on a line that a program has which does nothing but count.
fn alone(sim: &Sim) -> (f64, usize) {
    let mut line = sim.take(3, Mode::Input { edges: true });
    let done = Arc::new(AtomicBool::new(false));
    let is_done = Arc::clone(&done);
    let counter = std::thread::spawn(move || {
        let mut count = 0;
        loop {
            let was_done = is_done.load(Ordering::Acquire);
            let edges = line.edges().unwrap().len();
            count += edges;
            if edges == 0 {
                if was_done {
                    return count;
                }
                std::thread::yield_now();
            }
        }
    });
    let rate = storm(sim, 3);
    std::thread::sleep(Duration::from_secs(1));
    done.store(true, Ordering::Release);
    (rate, counter.join().unwrap())
}

/// The figure that so many in a hundred do not exceed.
pub(crate) fn at(figures: &mut [f64], percent: usize) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    figures[(figures.len() - 1) * percent / 100]
}

pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// How often a line of a waveform went to a level.
pub(crate) fn edges(vcd: &str, name: &str) -> usize {
    let declaration = vcd.lines().find(|line| line.starts_with("$var") && line.split_whitespace().nth(4) == Some(name));
    let code = declaration.unwrap().split_whitespace().nth(3).unwrap();
    let changes = vcd.lines().filter(|line| line.strip_prefix(['0', '1']) == Some(code));
    // The first is the level that the line had when it became an input, or the one that it is left with.
    changes.count().saturating_sub(1)
}
