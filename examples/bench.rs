//! Measures the driver, for `scripts/bench`, which has the simulated device and prints the table. The boot arguments say
//! what, in order; lines are counted from 0.
//!
//! | word | what is measured |
//! | --- | --- |
//! | `set:LINES:CALLS` | setting the first `LINES` lines, waiting for all answers; so often |
//! | `get:CALLS` | reading line 0 |
//! | `direction:CALLS` | turning line 0 from output to input and back, each a call |
//! | `stream:CALLS` | setting line 0 without waiting for one answer before the next request |
//! | `react:IN:OUT:N` | setting line `OUT` to the level of line `IN` after each of `N` edges |
//! | `count:LINE:QUIET:TIMES` | counting the edges of a line, so many times, each until there is none for `QUIET` ms |
//!
//! It prints what the Linux program of `tests/linux` prints: `bench NAME lines=N calls=N nanoseconds=N p50=N p99=N`.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![allow(clippy::arithmetic_side_effects, reason = "times and counts of a benchmark, none of them large")]

extern crate alloc;

use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::str::{FromStr, Split};
use core::time::Duration;

use guest::app::chips::{self, StaticChip, Wishes};
use guest::platform::time::{Clock, Instant, SystemClock, idle_until};
use guest::platform::{ExitCode, Machine};
use log::{error, info};
use virtio_gpio::{Error, Event, Input, InterruptType, Level, LineId, Output, Pending, Port, Trigger, run_all};

guest::entry!(run);

const TIMEOUT: Duration = Duration::from_secs(1);
/// Calls whose time is kept.
const SAMPLES: usize = 20_000;
/// The longest sleep.
const LONG: Duration = Duration::from_hours(1);

fn run(machine: &'static Machine) -> ExitCode {
    let chips = chips::find(machine, Wishes { timeout: TIMEOUT, protocol: None }).chips;
    let Some(chip) = chips.first() else {
        error!("bench needs a GPIO device");
        return ExitCode::Failure;
    };
    for word in machine.bootargs().split_ascii_whitespace() {
        if let Err(error) = measure(chip, word) {
            error!("{word}: {error}");
            return ExitCode::Failure;
        }
    }
    ExitCode::Success
}

/// Carries out a word.
fn measure(chip: StaticChip, word: &str) -> Result<(), String> {
    let mut arguments = word.split(':');
    let failed = |error: Error| format!("{error}");
    match arguments.next().unwrap_or_default() {
        "set" => {
            let (lines, calls) = (number(&mut arguments)?, number(&mut arguments)?);
            set(chip, lines, calls).map_err(failed)
        }
        "get" => get(chip, number(&mut arguments)?).map_err(failed),
        "direction" => direction(chip, number(&mut arguments)?).map_err(failed),
        "stream" => stream(chip, number(&mut arguments)?).map_err(failed),
        "react" => {
            let (from, to) = (number(&mut arguments)?, number(&mut arguments)?);
            react(chip, LineId(from), LineId(to), number(&mut arguments)?).map_err(failed)
        }
        "count" => {
            let (line, quiet) = (number(&mut arguments)?, number(&mut arguments)?);
            count(chip, LineId(line), Duration::from_millis(quiet), number(&mut arguments)?).map_err(failed)
        }
        _ => Err(String::from("expected a word that is explained at the top of examples/bench.rs")),
    }
}

fn number<T: FromStr>(arguments: &mut Split<'_, char>) -> Result<T, String> {
    arguments.next().and_then(|word| word.parse().ok()).ok_or_else(|| String::from("expected a number"))
}

/// The times of calls.
struct Figure {
    samples: Vec<u64>,
    calls: u32,
    begin: Instant,
    last: Instant,
}

impl Figure {
    fn begin(calls: u32) -> Self {
        let samples = Vec::with_capacity(SAMPLES.min(usize::try_from(calls).unwrap_or(SAMPLES)));
        let begin = SystemClock.now();
        Self { samples, calls, begin, last: begin }
    }

    /// A call has ended.
    fn note(&mut self) {
        let now = SystemClock.now();
        if self.samples.len() < self.samples.capacity() {
            self.samples.push(now.as_nanos().saturating_sub(self.last.as_nanos()));
        }
        self.last = now;
    }

    fn print(mut self, what: &str, lines: usize) {
        let nanoseconds = self.last.as_nanos().saturating_sub(self.begin.as_nanos());
        self.samples.sort_unstable();
        let at = |percent: usize| self.samples.get(self.samples.len() * percent / 100).copied().unwrap_or(0);
        let (half, most, calls) = (at(50), at(99), self.calls);
        info!("bench {what} lines={lines} calls={calls} nanoseconds={nanoseconds} p50={half} p99={most}");
    }
}

fn outputs(chip: StaticChip, lines: u16) -> Result<Vec<Output<'static>>, Error> {
    (0..lines).map(|line| output(chip, LineId(line))).collect()
}

fn output(chip: StaticChip, line: LineId) -> Result<Output<'static>, Error> {
    chip.line(line)?.into_output(Level::Low).map_err(|rejected| rejected.error)
}

fn watched(chip: StaticChip, line: LineId) -> Result<Input<'static>, Error> {
    let mut input = chip.line(line)?.into_input().map_err(|rejected| rejected.error)?;
    input.watch(InterruptType::BothEdges)?;
    Ok(input)
}

fn level(call: u32) -> Level {
    Level::from(call.is_multiple_of(2))
}

fn set(chip: StaticChip, lines: u16, calls: u32) -> Result<(), Error> {
    let mut outputs = outputs(chip, lines)?;
    let mut figure = Figure::begin(calls);
    for call in 0..calls {
        match outputs.as_mut_slice() {
            [output] => output.set(level(call))?,
            outputs => set_all(outputs, level(call))?,
        }
        figure.note();
    }
    figure.print("set", outputs.len());
    outputs.into_iter().try_for_each(Output::release)
}

/// Sets lines together: with one notification, or with a few where there are more lines than request slots.
fn set_all(outputs: &mut [Output<'static>], level: Level) -> Result<(), Error> {
    if let Ok(mut port) = Port::new(outputs) {
        let levels = if level == Level::High { u64::MAX } else { 0 };
        return port.write(u64::MAX, levels).map_err(|failed| failed.error);
    }
    let mut requests: Vec<_> = outputs.iter_mut().map(|output| output.request_set(level)).collect();
    run_all(&mut requests).map_err(|failed| failed.error)
}

fn wait_for_first(chip: StaticChip, pending: &mut VecDeque<Pending<'static>>) -> Result<(), Error> {
    chip.notify();
    pending.pop_front().ok_or(Error::Busy)?.wait()
}

fn get(chip: StaticChip, calls: u32) -> Result<(), Error> {
    let output = output(chip, LineId(0))?;
    let mut figure = Figure::begin(calls);
    for _ in 0..calls {
        output.level()?;
        figure.note();
    }
    figure.print("get", 1);
    output.release()
}

fn direction(chip: StaticChip, calls: u32) -> Result<(), Error> {
    let mut output = output(chip, LineId(0))?;
    let mut figure = Figure::begin(calls);
    for _ in 0..calls / 2 {
        let input = output.into_input().map_err(|rejected| rejected.error)?;
        figure.note();
        output = input.into_output(Level::Low).map_err(|rejected| rejected.error)?;
        figure.note();
    }
    figure.print("direction", 1);
    output.release()
}

fn stream(chip: StaticChip, calls: u32) -> Result<(), Error> {
    let mut output = output(chip, LineId(0))?;
    let mut pending = VecDeque::new();
    let mut figure = Figure::begin(calls);
    for call in 0..calls {
        let next = loop {
            match output.start_set(level(call)) {
                Err(Error::Busy) => wait_for_first(chip, &mut pending)?,
                other => break other?,
            }
        };
        pending.push_back(next);
        figure.note();
    }
    pending.drain(..).try_for_each(Pending::wait)?;
    figure.last = SystemClock.now();
    figure.print("stream", 1);
    output.release()
}

/// The next event of a chip, unless there is none before the deadline.
fn next_event(chip: StaticChip, deadline: Instant) -> Option<Event> {
    loop {
        chip.poll();
        if let Some(event) = chip.next_event() {
            return Some(event);
        }
        if SystemClock.now() >= deadline {
            return None;
        }
        idle_until(chip.next_deadline().map_or(deadline, |due| due.min(deadline)), &|| chip.is_idle());
    }
}

fn react(chip: StaticChip, from: LineId, to: LineId, edges: u32) -> Result<(), Error> {
    let input = watched(chip, from)?;
    let mut output = output(chip, to)?;
    for _ in 0..edges {
        let Some(event) = next_event(chip, SystemClock.now().after(LONG)) else { break };
        output.set(Level::from(event.trigger == Trigger::Rising))?;
    }
    info!("react done");
    output.release().and(input.release())
}

fn count(chip: StaticChip, line: LineId, quiet: Duration, times: u32) -> Result<(), Error> {
    let input = watched(chip, line)?;
    info!("count ready");
    for round in 0..times {
        let mut last = next_event(chip, SystemClock.now().after(LONG));
        let first = last.map_or(0, |event| event.at.as_nanos());
        let mut time = 0;
        let mut edges = 0_u64;
        while let Some(event) = last {
            edges += 1;
            time = event.at.as_nanos().saturating_sub(first);
            last = next_event(chip, SystemClock.now().after(quiet));
        }
        info!("count round={round} edges={edges} nanoseconds={time}");
    }
    input.release()
}
