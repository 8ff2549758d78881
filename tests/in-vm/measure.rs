//! How fast it is, in this machine.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hil::bridge::RESULT;
use vgpio::bridge::host::Mode;

use crate::device::Device;
use crate::driver::{BOTH, INTERRUPTS, OK, interrupt, listen, output, set, unmask};
use crate::front_end::FrontEnd;
use crate::sim::Sim;

const ROUNDS: u16 = 2000;

pub(crate) fn measure() {
    let sim = Sim::new("a", 8, &[]);
    let mut times = Vec::with_capacity(ROUNDS.into());
    for round in 0..ROUNDS {
        let begin = Instant::now();
        sim.pull(2, round % 2 == 0);
        times.push(begin.elapsed());
    }
    report("nobody", "to change a line that nobody has", &mut times);

    let device = Device::start(&["--chip", "a:0=out,1=in"]);
    round_trips("vgpio", &sim, &mut device.connect(INTERRUPTS));
    drop(device);
    bursts(&sim);
}

/// How long a driver waits for what it wants of a device whose line 0 is an output, and 1 an input.
fn round_trips(who: &str, sim: &Sim, front_end: &mut FrontEnd) {
    let [requests, events] = &mut front_end.queues;
    output(requests, 0, 0);
    listen(requests, 1, BOTH);
    let mut times = Vec::with_capacity(ROUNDS.into());
    let begin = Instant::now();
    for round in 0..ROUNDS {
        unmask(events, 1);
        let begin = Instant::now();
        sim.pull(1, round % 2 == 0);
        assert!(interrupt(events));
        times.push(begin.elapsed());
    }
    let rate = f64::from(ROUNDS) / begin.elapsed().as_secs_f64();
    report(who, "from the change of a line to the driver's interrupt", &mut times);
    println!("{RESULT}{who}: {rate:.0} edges/s, each heard before the next");

    let mut times = Vec::with_capacity(ROUNDS.into());
    for round in 0..ROUNDS {
        let begin = Instant::now();
        assert_eq!(set(requests, 0, u8::from(round % 2 == 0)), OK);
        times.push(begin.elapsed());
    }
    report(who, "from a request to its answer, with the line set", &mut times);
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

fn report(who: &str, what: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_micros();
    println!("{RESULT}{who}: {what}: median {} us, 99 % {} us", at(50), at(99));
}

/// How often a line of a waveform went to a level.
fn edges(vcd: &str, name: &str) -> usize {
    let declaration = vcd.lines().find(|line| line.starts_with("$var") && line.split_whitespace().nth(4) == Some(name));
    let code = declaration.unwrap().split_whitespace().nth(3).unwrap();
    let changes = vcd.lines().filter(|line| line.strip_prefix(['0', '1']) == Some(code));
    // The first is the level that the line had when it became an input, or the one that it is left with.
    changes.count().saturating_sub(1)
}
