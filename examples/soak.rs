//! Random operations on all lines of all GPIO devices, for `scripts/soak`, which sits on the other side: it tells the
//! image by single characters on the console what to do, makes the devices misbehave meanwhile, and compares what is
//! reported here with what the devices saw.
//!
//! `f`: work while the devices misbehave. `h`: work while they do not, when every error is one. `s`: finish what is under
//! way, put right what misbehaviour has left behind, and report. `r`: behind that, reset the devices and report. `q`: end.
//! Boot argument: `seed=NUMBER`. Lines whose name starts with `edge` are watched while the devices behave; all others change
//! their use all the time.
//!
//! Reports are lines that start with `soak `, with words of the form `key=value`.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use alloc::vec::Vec;
use core::time::Duration;

use fastrand::Rng;
use guest::app::chips::{self, StaticChip, Wishes};
use guest::platform::time::{Clock, SystemClock, idle_until};
use guest::platform::{ExitCode, Machine, console};
use log::{error, info};
use virtio_gpio::{
    Direction, Error, Event, Fault, Input, InterruptType, Level, Line, LineId, Notice, Output, Pending, Rejected,
    Trigger,
};

guest::entry!(run);

/// Deadline of one request. A device that behaves, on a busy host, must not need it.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The longest that one call of the driver may take: a wait for a request slot and a few requests, and what the host takes
/// from the machine meanwhile.
const CALL_LIMIT: Duration = Duration::from_secs(16);
/// How long it may take until nothing is under way any more: the longest pause of a recovery, several times.
const SETTLE_LIMIT: Duration = Duration::from_secs(40);
/// Between two looks at whether that is so.
const LOOK: Duration = Duration::from_millis(10);
/// How often a line that is not as it should be is set up anew, and the pause between.
const REPAIRS: u32 = 50;
const REPAIR_PAUSE: Duration = Duration::from_millis(100);
/// Requests whose outcome is looked at later, for all chips together. Less than a chip has request slots: nobody else would
/// free them while an operation waits for one.
const PENDING_LIMIT: usize = 20;

const KINDS: [InterruptType; 5] = [
    InterruptType::RisingEdge,
    InterruptType::FallingEdge,
    InterruptType::BothEdges,
    InterruptType::HighLevel,
    InterruptType::LowLevel,
];

fn run(machine: &'static Machine) -> ExitCode {
    let seed = machine.bootargs().split_ascii_whitespace().find_map(|word| word.strip_prefix("seed="));
    let seed = seed.and_then(|seed| seed.parse().ok()).unwrap_or(0);
    let found = chips::find(machine, Wishes { timeout: TIMEOUT, protocol: None });
    if found.chips.is_empty() || found.refused > 0 {
        error!("soak needs GPIO devices, all of them usable; found {}, refused {}", found.chips.len(), found.refused);
        return ExitCode::Failure;
    }
    let mut soak = Soak::new(found.chips, seed);
    info!("soak ready chips={} seed={seed}", found.chips.len());
    let mut command = b's';
    loop {
        match command {
            b'f' | b'h' => {
                soak.healthy = command == b'h';
                info!("soak works healthy={}", u8::from(soak.healthy));
                command = soak.work();
            }
            b's' => {
                soak.settle();
                command = soak.rest_until_told();
            }
            b'r' => {
                soak.reset();
                command = soak.rest_until_told();
            }
            b'q' => break,
            _ => command = soak.rest_until_told(),
        }
    }
    let passed = soak.errors == 0 && soak.late == 0;
    info!("soak end operations={} errors={} late={}", soak.operations, soak.errors, soak.late);
    if passed { ExitCode::Success } else { ExitCode::Failure }
}

/// What a line is used for.
#[derive(Debug)]
enum Pin {
    Free,
    Idle(Line<'static>),
    Input(Input<'static>, InterruptType),
    /// With the level that was sent last.
    Output(Output<'static>, Level),
}

/// One line and what is known of it.
#[derive(Debug)]
struct Place {
    /// The number of its chip.
    chip: usize,
    line: LineId,
    /// Watched while the devices behave.
    edges: bool,
    pin: Pin,
    /// Something about it failed, or its outcome was not looked at: the device may see the line otherwise.
    unsure: bool,
    events: u64,
    last: Option<Trigger>,
    /// A level has fired and was not unmasked.
    fired: bool,
}

struct Soak {
    chips: &'static [StaticChip],
    places: Vec<Place>,
    /// Each with the index of its place.
    pending: Vec<(usize, Pending<'static>)>,
    rng: Rng,
    /// Whether the devices behave.
    healthy: bool,
    operations: u64,
    errors: u64,
    late: u64,
    /// Lines that the driver has given up.
    given_up: u64,
    settled: u64,
}

impl Soak {
    fn new(chips: &'static [StaticChip], seed: u64) -> Self {
        let mut places = Vec::new();
        for (number, chip) in chips.iter().enumerate() {
            for line in (0..chip.lines()).map(LineId) {
                let edges = chip.name(line).is_some_and(|name| name.as_bytes().starts_with(b"edge"));
                let (pin, unsure) = (Pin::Free, true);
                places.push(Place { chip: number, line, edges, pin, unsure, events: 0, last: None, fired: false });
            }
        }
        Self {
            chips,
            places,
            pending: Vec::new(),
            rng: Rng::with_seed(seed),
            healthy: false,
            operations: 0,
            errors: 0,
            late: 0,
            given_up: 0,
            settled: 0,
        }
    }

    /// Works until the console says something else, and returns that.
    fn work(&mut self) -> u8 {
        loop {
            if let Some(command) = console::read() {
                return command;
            }
            self.serve();
            self.unmask();
            match self.rng.u8(..64) {
                0..4 => self.set_many(),
                4..6 => {
                    let nap = Duration::from_micros(self.rng.u64(1..3000));
                    self.rest(nap);
                }
                _ => {
                    let index = self.rng.usize(..self.places.len());
                    self.operate(index);
                }
            }
        }
    }

    fn rest_until_told(&mut self) -> u8 {
        loop {
            if let Some(command) = console::read() {
                return command;
            }
            self.serve();
            self.rest(TIMEOUT);
        }
    }

    /// Sleeps until something happens, at most so long.
    fn rest(&self, longest: Duration) {
        let end = SystemClock.now().after(longest);
        let deadline = self.chips.iter().filter_map(|chip| chip.next_deadline()).chain([end]).min().unwrap_or(end);
        idle_until(deadline, &|| !console::has_input() && self.chips.iter().all(|chip| chip.is_idle()));
    }

    /// Takes what the devices have brought, and what was waited for.
    fn serve(&mut self) {
        let chips = self.chips;
        for (number, chip) in chips.iter().enumerate() {
            chip.poll();
            while let Some(notice) = chip.next_notice() {
                let grave = match notice {
                    Notice::Resetting(fault) => fault != Fault::Requested,
                    notice => matches!(notice, Notice::LineLost { .. } | Notice::Failed),
                };
                if notice == Notice::Failed || (grave && self.healthy) {
                    self.fail(format_args!("gpio{number}: {notice:?}"));
                }
            }
            while let Some(event) = chip.next_event() {
                self.take_event(number, &event);
            }
        }
        for (index, mut pending) in core::mem::take(&mut self.pending) {
            match pending.outcome() {
                Some(result) => self.note(index, "a request under way", result),
                None => self.pending.push((index, pending)),
            }
        }
    }

    /// Lets levels that have fired fire again, sooner or later.
    fn unmask(&mut self) {
        for place in &mut self.places {
            if place.fired
                && self.rng.u8(..4) == 0
                && let Pin::Input(pin, _) = &mut place.pin
            {
                place.fired = false;
                pin.unmask();
            }
        }
    }

    fn take_event(&mut self, chip: usize, event: &Event) {
        let place = self.places.iter_mut().find(|place| (place.chip, place.line) == (chip, event.line));
        let Some(place) = place else {
            self.fail(format_args!("gpio{chip}: an event of line {}, which there is not", event.line));
            return;
        };
        place.events = place.events.saturating_add(1);
        let before = place.last.replace(event.trigger);
        let kind = if let Pin::Input(_, kind) = place.pin { kind } else { InterruptType::None };
        place.fired |= kind.is_level();
        // An event of another line may be older than what the line is watched for by now.
        if !self.healthy || !place.edges {
            return;
        }
        let fits = match kind {
            InterruptType::None => false,
            InterruptType::RisingEdge => event.trigger == Trigger::Rising,
            InterruptType::FallingEdge => event.trigger == Trigger::Falling,
            InterruptType::BothEdges => before != Some(event.trigger),
            InterruptType::HighLevel => event.trigger == Trigger::High,
            InterruptType::LowLevel => event.trigger == Trigger::Low,
        };
        if !fits || event.assumed || event.after_reset {
            self.fail(format_args!("gpio{chip}:{} watched for {kind:?}: {event:?} behind {before:?}", event.line));
        }
    }

    fn fail(&mut self, what: core::fmt::Arguments<'_>) {
        self.errors = self.errors.saturating_add(1);
        error!("soak error {what}");
    }

    /// Takes note of how an operation on a line ended.
    fn note(&mut self, index: usize, what: &str, result: Result<(), Error>) {
        let Err(error) = result else { return };
        let Some(place) = self.places.get_mut(index) else { return };
        place.unsure = true;
        if error == Error::LineLost {
            place.pin = Pin::Free;
            self.given_up = self.given_up.saturating_add(1);
        }
        let (chip, line) = (place.chip, place.line);
        if self.healthy {
            self.fail(format_args!("gpio{chip}:{line} {what}: {error}"));
        }
    }

    fn expect(&mut self, index: usize, what: &str, holds: bool) {
        if self.healthy && !holds {
            let (chip, line) = self.places.get(index).map_or((0, LineId(0)), |place| (place.chip, place.line));
            self.fail(format_args!("gpio{chip}:{line} {what}"));
        }
    }

    /// Does something with a line.
    fn operate(&mut self, index: usize) {
        let begin = SystemClock.now();
        self.operations = self.operations.saturating_add(1);
        let Some(place) = self.places.get_mut(index) else { return };
        if self.healthy && place.edges {
            // It stays watched; its level can be asked for.
            if let Pin::Input(pin, _) = &place.pin {
                let result = pin.level().map(|_| ());
                self.note(index, "level", result);
            }
        } else {
            let pin = core::mem::replace(&mut place.pin, Pin::Free);
            let (pin, what, result) = match pin {
                Pin::Free => self.take(index),
                Pin::Idle(line) => self.use_line(line),
                Pin::Input(input, kind) => self.use_input(index, input, kind),
                Pin::Output(output, level) => self.use_output(index, output, level),
            };
            if let Some(place) = self.places.get_mut(index) {
                place.pin = pin;
            }
            self.note(index, what, result);
        }
        if SystemClock.now().since(begin) > CALL_LIMIT {
            self.late = self.late.saturating_add(1);
            error!("soak error line {index} took {:?}", SystemClock.now().since(begin));
        }
    }

    fn take(&mut self, index: usize) -> Outcome {
        let place = self.places.get(index);
        let Some((place, chip)) = place.and_then(|place| Some((place, self.chips.get(place.chip)?))) else {
            return (Pin::Free, "take", Ok(()));
        };
        match chip.line(place.line) {
            Ok(line) => (Pin::Idle(line), "take", Ok(())),
            Err(error) => (Pin::Free, "take", Err(error)),
        }
    }

    fn level(&mut self) -> Level {
        Level::from(self.rng.bool())
    }

    fn use_line(&mut self, line: Line<'static>) -> Outcome {
        match self.rng.u8(..8) {
            0..3 => {
                converted("idle to input", line.into_input(), |pin| Pin::Input(pin, InterruptType::None), Pin::Idle)
            }
            3..6 => {
                let level = self.level();
                converted("idle to output", line.into_output(level), |pin| Pin::Output(pin, level), Pin::Idle)
            }
            6 => (Pin::Free, "release", line.release()),
            _ => {
                let direction = line.direction();
                (Pin::Idle(line), "direction", direction.map(|_| ()))
            }
        }
    }

    fn use_input(&mut self, index: usize, mut input: Input<'static>, kind: InterruptType) -> Outcome {
        match self.rng.u8(..16) {
            0..3 => {
                let level = input.level();
                (Pin::Input(input, kind), "level", level.map(|_| ()))
            }
            3..5 => {
                let direction = input.direction();
                self.expect(index, "is no input", !matches!(direction, Ok(other) if other != Direction::Input));
                (Pin::Input(input, kind), "direction", direction.map(|_| ()))
            }
            5..9 => {
                let wanted = self.rng.choice(KINDS).unwrap_or(InterruptType::None);
                watched(input, kind, wanted)
            }
            9 => watched(input, kind, InterruptType::None),
            10 => {
                input.unmask();
                (Pin::Input(input, kind), "unmask", Ok(()))
            }
            11..14 => {
                let level = self.level();
                // A rejected pin may have stopped to be watched; it is unsure then.
                let output = input.into_output(level);
                converted("input to output", output, |pin| Pin::Output(pin, level), |pin| Pin::Input(pin, kind))
            }
            14 => (Pin::Free, "release", input.release()),
            _ => {
                drop(input);
                (Pin::Free, "drop", Ok(()))
            }
        }
    }

    fn use_output(&mut self, index: usize, mut output: Output<'static>, before: Level) -> Outcome {
        let level = self.level();
        match self.rng.u8(..32) {
            0..10 => {
                let result = output.set(level);
                (Pin::Output(output, level), "set", result)
            }
            10..14 => {
                let started = output.start_set(level);
                let sent = if started.is_ok() { level } else { before };
                let result = self.keep(index, started);
                (Pin::Output(output, sent), "start_set", result)
            }
            14..18 => {
                // Its outcome is nobody's.
                if let Some(place) = self.places.get_mut(index) {
                    place.unsure |= !self.healthy;
                }
                let result = output.start_set(level).map(drop);
                let sent = if result.is_ok() { level } else { before };
                (Pin::Output(output, sent), "start_set", not_busy(result))
            }
            18..22 => {
                // Behind all that was sent before.
                let read = output.level();
                self.expect(index, "has another level than was set", !matches!(read, Ok(other) if other != before));
                (Pin::Output(output, before), "level", read.map(|_| ()))
            }
            22..24 => {
                let direction = output.direction();
                self.expect(index, "is no output", !matches!(direction, Ok(other) if other != Direction::Output));
                (Pin::Output(output, before), "direction", direction.map(|_| ()))
            }
            24..28 => converted(
                "output to input",
                output.into_input(),
                |pin| Pin::Input(pin, InterruptType::None),
                |pin| Pin::Output(pin, before),
            ),
            28..30 => (Pin::Free, "release", output.release()),
            30 => {
                drop(output);
                (Pin::Free, "drop", Ok(()))
            }
            _ => {
                let started = output.start_set(level);
                let sent = if started.is_ok() { level } else { before };
                (Pin::Output(output, sent), "start_set and wait", not_busy(started.and_then(Pending::wait)))
            }
        }
    }

    /// Keeps a request that was started, to look at its outcome later.
    fn keep(&mut self, index: usize, started: Result<Pending<'static>, Error>) -> Result<(), Error> {
        match started {
            Ok(pending) if self.pending.len() < PENDING_LIMIT => self.pending.push((index, pending)),
            Ok(pending) => return pending.wait(),
            Err(error) => return not_busy(Err(error)),
        }
        Ok(())
    }

    /// Changes many outputs of one chip with one notification.
    fn set_many(&mut self) {
        let number = self.rng.usize(..self.chips.len());
        for index in 0..self.places.len() {
            let level = self.level();
            let queued = match self.places.get_mut(index) {
                Some(Place { chip, pin: Pin::Output(output, sent), .. }) if *chip == number => {
                    let queued = output.queue_set(level);
                    if queued.is_ok() {
                        *sent = level;
                    }
                    queued
                }
                _ => continue,
            };
            self.operations = self.operations.saturating_add(1);
            let result = self.keep(index, queued);
            self.note(index, "queue_set", result);
        }
        if let Some(chip) = self.chips.get(number) {
            chip.notify();
        }
    }

    /// Finishes everything. Behind devices that misbehaved, lines that failed are set up anew, and the lines for edges
    /// are watched. Then it reports.
    fn settle(&mut self) {
        for (index, pending) in core::mem::take(&mut self.pending) {
            let result = pending.wait();
            self.note(index, "a request under way", result);
        }
        self.wait_for_rest();
        if !self.healthy {
            for index in 0..self.places.len() {
                self.ask_whether_lost(index);
                self.repair(index);
            }
            self.wait_for_rest();
            for place in &mut self.places {
                place.last = None;
            }
            // Until further notice.
            self.healthy = true;
        }
        self.report();
    }

    /// Resets all devices, as after a fault, and reports: every line must be as it was.
    fn reset(&mut self) {
        for (number, chip) in self.chips.iter().enumerate() {
            if let Err(error) = chip.reset() {
                self.fail(format_args!("gpio{number} cannot be reset: {error}"));
            }
        }
        self.wait_for_rest();
        self.report();
    }

    /// Waits until nothing is under way.
    fn wait_for_rest(&mut self) {
        let end = SystemClock.now().after(SETTLE_LIMIT);
        loop {
            self.serve();
            let resting = self.chips.iter().all(|chip| {
                chip.has_failed()
                    || (!chip.is_recovering() && !chip.has_event_under_way() && chip.resources().is_at_rest())
            });
            if resting || SystemClock.now() >= end {
                return;
            }
            self.rest(LOOK);
        }
    }

    /// The driver may have given a line up since its last operation, while a device that misbehaved was reset. Its holder
    /// hears of that with the next request; a notice says it too, but those of a device that misbehaves are many, and the
    /// oldest are forgotten.
    fn ask_whether_lost(&mut self, index: usize) {
        let asked = match self.places.get(index).map(|place| &place.pin) {
            Some(Pin::Idle(line)) => line.direction(),
            Some(Pin::Input(input, _)) => input.direction(),
            Some(Pin::Output(output, _)) => output.direction(),
            Some(Pin::Free) | None => return,
        };
        self.note(index, "direction", asked.map(|_| ()));
    }

    /// Brings a line into a known state, unless it is in one.
    fn repair(&mut self, index: usize) {
        let keep = self.rng.bool();
        for _ in 0..REPAIRS {
            let Some(place) = self.places.get_mut(index) else { return };
            let is_watched = matches!(place.pin, Pin::Input(_, kind) if kind != InterruptType::None);
            if !place.unsure && (!place.edges || (is_watched && keep)) {
                return;
            }
            let (edges, chip, line) = (place.edges, place.chip, place.line);
            place.pin = Pin::Free;
            place.fired = false;
            let Some(chip) = self.chips.get(chip).copied() else { return };
            let level = self.level();
            let kind = self.rng.choice(KINDS).unwrap_or(InterruptType::BothEdges);
            let set_up = || -> Result<Pin, Error> {
                let line = chip.line(line)?;
                if !edges {
                    return Ok(Pin::Output(line.into_output(level).map_err(|rejected| rejected.error)?, level));
                }
                let mut input = line.into_input().map_err(|rejected| rejected.error)?;
                input.watch(kind)?;
                Ok(Pin::Input(input, kind))
            };
            let pin = set_up();
            let Some(place) = self.places.get_mut(index) else { return };
            if let Ok(pin) = pin {
                place.pin = pin;
                place.unsure = false;
                return;
            }
            place.unsure = true;
            if chip.has_failed() {
                return;
            }
            self.serve();
            self.rest(REPAIR_PAUSE);
        }
    }

    fn report(&mut self) {
        self.settled = self.settled.saturating_add(1);
        for Place { chip, line, pin, unsure, events, .. } in &self.places {
            let (usage, watch, level) = match pin {
                Pin::Free => ("free", InterruptType::None, None),
                Pin::Idle(_) => ("idle", InterruptType::None, None),
                Pin::Input(_, kind) => ("input", *kind, None),
                // None where the driver takes the line for something else.
                Pin::Output(output, level) => {
                    ("output", InterruptType::None, Some(*level).filter(|_| output.level_set() == Some(*level)))
                }
            };
            let watch = match watch {
                InterruptType::None => "none",
                InterruptType::RisingEdge => "rising",
                InterruptType::FallingEdge => "falling",
                InterruptType::BothEdges => "both",
                InterruptType::HighLevel => "high",
                InterruptType::LowLevel => "low",
            };
            let level = level.map_or('-', |level| if level == Level::High { '1' } else { '0' });
            info!(
                "soak line chip={chip} line={line} use={usage} watch={watch} level={level} events={events} unsure={}",
                u8::from(*unsure)
            );
        }
        for (number, chip) in self.chips.iter().enumerate() {
            let (is, has) = (chip.resources(), chip.statistics());
            info!(
                "soak chip chip={number} messages={} interrupts={} dropped={} timeouts={} resets={} oddities={} \
                 descriptors={} free={} standing={} requests={} failed={}",
                has.messages,
                has.interrupts,
                has.dropped_events,
                has.timeouts,
                has.resets,
                has.oddities,
                is.descriptors,
                is.free,
                is.standing,
                is.requests,
                u8::from(chip.has_failed())
            );
        }
        info!(
            "soak settled number={} operations={} errors={} late={} given_up={}",
            self.settled, self.operations, self.errors, self.late, self.given_up
        );
    }
}

/// What became of a pin, what was done with it, and how that ended.
type Outcome = (Pin, &'static str, Result<(), Error>);

fn converted<F, T>(
    what: &'static str,
    result: Result<T, Rejected<F>>,
    then: impl FnOnce(T) -> Pin,
    otherwise: impl FnOnce(F) -> Pin,
) -> Outcome {
    match result {
        Ok(pin) => (then(pin), what, Ok(())),
        Err(rejected) => (otherwise(rejected.pin), what, Err(rejected.error)),
    }
}

/// Watches an input for something else. If that fails, what it is watched for is unsure.
fn watched(mut input: Input<'static>, kind: InterruptType, wanted: InterruptType) -> Outcome {
    match input.watch(wanted) {
        Ok(()) => (Pin::Input(input, wanted), "watch", Ok(())),
        Err(error) => (Pin::Input(input, kind), "watch", Err(error)),
    }
}

/// That all request slots are taken is no error of anybody's.
fn not_busy(result: Result<(), Error>) -> Result<(), Error> {
    if result == Err(Error::Busy) { Ok(()) } else { result }
}
