//! Soaking: a guest that does random things to its lines (`examples/soak.rs`), and devices that behave and misbehave in
//! turns. Between two turns everything stands still, and both sides' accounts are compared, also behind a reset that the
//! guest asks for then: no descriptor is missing, no edge was lost while the devices behaved, and every line is what the
//! guest takes it for.
#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing, reason = "an overflow is a failed run")]

mod account;
mod blow;
mod ledger;

use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use fastrand::Rng;
use gpio_model::{draft, ratified};
use vgpio::chip::Chip;
use vgpio::fault::{AnswerFault, QueueFault};
use vgpio::qemu::command::QemuCommand;
use vgpio::request::Requests;
use vgpio::world::{Place, World};
use virtio_gpio::messages::draft::{HOST_LEVEL, Message};
use virtio_gpio::messages::ratified::{REQUEST_QUEUE, Status};
use virtio_gpio::{Direction, InterruptType, Level, LineId, Protocol};

use crate::scene::{self, Running, Scene, Setting};
use account::{Account, GuestLine};
pub use blow::Blow;
use ledger::{ChipLedger, Ledger};

/// How long the guest may take to settle: its own limits, and a slow machine.
const PATIENCE: Duration = Duration::from_mins(3);
/// How long a device behaves: longer than what makes the driver forget earlier failures.
const HEALTHY: Duration = Duration::from_secs(6);
/// How long it misbehaves, at least and at most. Much less than the half minute after which it would be given up.
const FAULTY: std::ops::Range<u64> = 2000..5000;
/// Between two faults of one device, at most.
const BETWEEN_FAULTS: u64 = 200;
/// Between two looks of those who drive the lines.
const HAND: Duration = Duration::from_millis(1);
/// Levels that a draft device reports before two requests have shown that the guest has taken them.
const BURST: u64 = 16;
/// The first lines change their use all the time; the others are watched.
const BUSY_LINES: u16 = 6;
const EDGE_LINES: u16 = 6;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What all chance comes from.
    pub seed: u64,
    /// How long, at least. It ends with a turn in which the devices behave.
    pub duration: Duration,
    /// What the devices speak: one device for each.
    pub protocols: Vec<Protocol>,
}

/// How it went so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Turns in which the devices behaved.
    pub turns: u64,
    /// Operations of the guest.
    pub operations: u64,
    /// Requests that the devices saw.
    pub requests: u64,
    /// Edges that the guest had to report, counted while the devices behaved.
    pub edges: u64,
    /// Faults.
    pub faults: u64,
    /// Requests that timed out.
    pub timeouts: u64,
    /// Resets by which the driver recovered.
    pub resets: u64,
    /// Lines that the driver gave up, and that were taken again.
    pub given_up: u64,
    /// What the guest called an error while the devices behaved, and calls that took too long.
    pub errors: u64,
    /// Descriptors and request slots that were missing.
    pub leaked: u64,
    /// Edges that were lost while the devices behaved.
    pub lost: u64,
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { turns, operations, requests, edges, faults, timeouts, resets, given_up, errors, leaked, lost } =
            self;
        write!(
            f,
            "turns {turns}, operations {operations}, requests {requests}, edges {edges}, faults {faults}, \
             timeouts {timeouts}, resets {resets}, lines given up {given_up}, errors {errors}, \
             leaked descriptors {leaked}, lost edges {lost}"
        )
    }
}

/// Boots a guest and soaks it. `tell` hears how it goes after each turn, and for the last time when it has gone wrong.
///
/// # Errors
///
/// When a check failed, and why; or when it could not start.
pub fn run(setting: Setting, plan: &Plan, tell: impl FnMut(&Progress)) -> anyhow::Result<Progress> {
    let mut soak = Soak::start(setting, plan, tell)?;
    let result = soak.all_turns(plan.duration);
    (soak.tell)(&soak.progress);
    result.with_context(|| format!("The last of the console:\n{}", soak.end_of_console()))?;
    Ok(soak.progress)
}

/// Has a device refuse to have its lines restored while the guest waits for something else: the driver gives them up, and
/// nobody asks for them until the guest settles. Both sides' accounts must fit all the same.
///
/// # Errors
///
/// When a check failed, and why; or when it could not start.
pub fn give_lines_up(setting: Setting) -> anyhow::Result<()> {
    /// What is under way, every line, and some of what sets them up again.
    const REFUSALS: u32 = 40;
    const JUMP: u16 = 1000;
    let plan = Plan { seed: 1, duration: Duration::ZERO, protocols: vec![Protocol::Ratified] };
    let mut soak = Soak::start(setting, &plan, |_| ())?;
    soak.next_account()?;
    soak.running.with_chip(0, |chip| chip.set_stalled(true))?;
    soak.set_to_work("f")?;
    soak.running.guest.type_in("s")?;
    soak.running.with_chip(0, |chip| {
        chip.spoil_answers(AnswerFault::Status(Status::Error.code()), REFUSALS, Requests::ANY)?;
        chip.spoil_queue(REQUEST_QUEUE.into(), QueueFault::Jump(JUMP));
        chip.set_stalled(false);
        anyhow::Ok(())
    })??;
    let account = soak.next_account()?;
    ensure!(account.given_up > 0, "No line was given up");
    soak.end()
}

struct Soak<F> {
    running: Running,
    protocols: Vec<Protocol>,
    ledger: Ledger,
    rng: Rng,
    progress: Progress,
    tell: F,
    /// Lines of the console that were read.
    read: usize,
}

/// The devices, the last one first in the guest's count.
fn devices(
    setting: Setting,
    protocols: &[Protocol],
) -> anyhow::Result<Vec<(Chip, vgpio::qemu::command::Presentation)>> {
    let command = scene::command(setting)?;
    let names = || {
        let busy = (0..BUSY_LINES).map(|line| format!("busy{line}"));
        busy.chain((0..EDGE_LINES).map(|line| format!("edge{line}"))).collect()
    };
    let device = |protocol: &Protocol| {
        let shown = scene::presentation(&command, *protocol)?;
        let chip = match protocol {
            Protocol::Ratified => Chip::ratified(names(), ratified::Options::default())?,
            Protocol::Draft => {
                let config_size = shown.config_size().into();
                Chip::draft(names(), draft::Options { config_size, ..draft::Options::default() })?
            }
        };
        Ok((chip, shown))
    };
    protocols.iter().map(device).collect()
}

impl<F: FnMut(&Progress)> Soak<F> {
    fn start(setting: Setting, plan: &Plan, tell: F) -> anyhow::Result<Self> {
        let devices = devices(setting, &plan.protocols)?;
        ensure!(!devices.is_empty(), "There is no protocol to speak");
        let image = scene::command(setting)?.image.with_file_name("examples").join("soak.elf");
        ensure!(image.is_file(), "There is no image at {}: run scripts/build --examples", image.display());
        let ledger = Ledger::new(devices.len());
        let sink = ledger.clone();
        let running = Scene::new(setting, devices)?
            .with_world(|world| {
                world.watch(sink);
                Ok(())
            })?
            .with_command(|command| QemuCommand { image, ..command })
            .append(&format!("seed={}", plan.seed))
            .without_trace()
            .start()?;
        let rng = Rng::with_seed(plan.seed);
        let protocols = plan.protocols.clone();
        Ok(Self { running, protocols, ledger, rng, progress: Progress::default(), tell, read: 0 })
    }

    fn all_turns(&mut self, duration: Duration) -> anyhow::Result<()> {
        let begin = Instant::now();
        let mut account = self.next_account()?;
        loop {
            account = self.reset_turn(&account)?;
            self.wait_until_armed(&account)?;
            // An edge from before may have waited for that.
            account = self.settled()?;
            self.healthy_turn(&account)?;
            (self.tell)(&self.progress);
            if begin.elapsed() >= duration {
                break;
            }
            self.faulty_turn()?;
            account = self.settled()?;
        }
        self.end()
    }

    fn end(&mut self) -> anyhow::Result<()> {
        self.running.guest.type_in("q")?;
        let status = self.running.guest.wait(PATIENCE)?;
        ensure!(status.success(), "The guest ended with {status}");
        Ok(())
    }

    /// The position of a guest's chip in the world: the guest finds the last one first.
    fn chip_of(&self, guest_chip: usize) -> Option<usize> {
        self.protocols.len().checked_sub(guest_chip + 1)
    }

    fn protocol_of(&self, guest_chip: usize) -> anyhow::Result<Protocol> {
        let chip = self.chip_of(guest_chip).context("The guest has more chips than there are")?;
        self.protocols.get(chip).copied().context("The guest has more chips than there are")
    }

    fn with_world<T: Send + 'static>(
        &self,
        errand: impl FnOnce(&mut World, Duration) -> T + Send + 'static,
    ) -> anyhow::Result<T> {
        let devices = self.running.devices.as_ref().context("There are no devices")?;
        Ok(devices.with(errand)?)
    }

    // --- what the guest says ------------------------------------------------------------------------------------

    /// Has the guest finish everything, and compares both sides.
    fn settled(&mut self) -> anyhow::Result<Account> {
        self.running.guest.type_in("s")?;
        self.next_account()?;
        // What the devices have for the guest, also in answer to its last doing, must be in its hands before it counts.
        let delivered = |world: &mut World, _| !world.chips().iter().any(Chip::has_undelivered);
        let end = Instant::now() + PATIENCE;
        loop {
            self.running.devices.as_ref().context("There are no devices")?.settle()?;
            if self.with_world(delivered)? {
                break;
            }
            ensure!(Instant::now() < end, "The guest does not take what the devices have for it");
            thread::sleep(HAND);
        }
        self.running.guest.type_in("s")?;
        self.next_account()
    }

    fn next_account(&mut self) -> anyhow::Result<Account> {
        let lines = self.running.console.wait_for_from(self.read, PATIENCE, "soak settled ");
        let Ok(lines) = lines else { bail!("The guest does not settle") };
        self.read += lines.len();
        let account = Account::parse(&lines)?;
        self.progress.operations = account.operations;
        self.progress.errors = account.errors + account.late;
        self.progress.timeouts = account.chips.iter().map(|chip| chip.timeouts).sum();
        self.progress.resets = account.chips.iter().map(|chip| chip.resets).sum();
        self.progress.given_up = account.given_up;
        self.progress.leaked += account.chips.iter().map(account::GuestChip::leaked).sum::<u64>();
        self.progress.requests = self.ledger.chips().iter().map(|chip| chip.requests).sum();
        self.check(&account)?;
        Ok(account)
    }

    fn check(&self, account: &Account) -> anyhow::Result<()> {
        ensure!(account.chips.len() == self.protocols.len(), "The guest does not have all chips");
        ensure!(account.errors == 0, "The guest saw errors of devices that behaved");
        ensure!(account.late == 0, "The driver did not keep its time");
        for chip in &account.chips {
            ensure!(!chip.failed, "gpio{} was given up", chip.chip);
            ensure!(chip.leaked() == 0, "gpio{} misses descriptors or request slots: {chip:?}", chip.chip);
        }
        for line in &account.lines {
            ensure!(!line.unsure, "gpio{}:{} cannot be set up again: {line:?}", line.chip, line.line);
            self.compare(line)?;
        }
        Ok(())
    }

    /// Whether a line is what the guest takes it for.
    fn compare(&self, guest: &GuestLine) -> anyhow::Result<()> {
        let protocol = self.protocol_of(guest.chip)?;
        let (chip, line) = (self.chip_of(guest.chip).context("no such chip")?, LineId(guest.line));
        let (state, kind) = self
            .with_world(move |world, _| {
                let chip = world.chips().get(chip)?;
                Some((*chip.bank().line(line).ok()?, chip.interrupt_type(line)))
            })?
            .context("The guest has more lines than there are")?;
        let same = match (guest.direction, protocol) {
            (Some(Direction::Output), _) => state.direction == Direction::Output && guest.level == Some(state.level()),
            (Some(Direction::Input), _) => state.direction == Direction::Input,
            // Nothing in the draft ends the use of a line but its being an input.
            (_, Protocol::Draft) => state.direction != Direction::Output,
            (_, Protocol::Ratified) => state.direction == Direction::None,
        };
        let same_kind = kind.is_none_or(|kind| kind == guest.watch);
        ensure!(
            same && same_kind,
            "The guest takes a line for {guest:?}; it is {state:?}, and interrupts for {kind:?}"
        );
        Ok(())
    }

    // --- turns --------------------------------------------------------------------------------------------------

    /// Has the guest work, and waits until it knows in which manner: what happens before would be judged by the other one.
    fn set_to_work(&mut self, command: &str) -> anyhow::Result<()> {
        self.running.guest.type_in(command)?;
        let lines = self.running.console.wait_for_from(self.read, PATIENCE, "soak works ");
        let Ok(lines) = lines else { bail!("The guest does not hear") };
        self.read += lines.len();
        Ok(())
    }

    /// Waits until the devices have the event buffer of every line that is watched for edges.
    fn wait_until_armed(&self, account: &Account) -> anyhow::Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            let ledger = self.ledger.chips();
            let masked = self.watched(account)?.into_iter().find(|watched| {
                let is_edge = watched.kind != InterruptType::None && !watched.kind.is_level();
                watched.protocol == Protocol::Ratified && is_edge && !watched.ledger(&ledger).armed
            });
            let Some(masked) = masked else { return Ok(()) };
            ensure!(Instant::now() < end, "A line is watched but never armed: {masked:?}");
            thread::sleep(HAND);
        }
    }

    fn watched(&self, account: &Account) -> anyhow::Result<Vec<Watched>> {
        let watched = |line: &GuestLine| {
            Ok(Watched {
                place: Place { chip: self.chip_of(line.chip).context("no such chip")?, line: LineId(line.line) },
                protocol: self.protocol_of(line.chip)?,
                kind: line.watch,
                events: line.events,
            })
        };
        account.lines.iter().filter(|line| line.line >= BUSY_LINES).map(watched).collect()
    }

    /// The guest has the devices reset, as after a fault. That every line is as it was is seen here, where nothing else
    /// happens to the lines: behind a fault, most have been set anew before the devices are looked at.
    fn reset_turn(&mut self, before: &Account) -> anyhow::Result<Account> {
        self.running.guest.type_in("r")?;
        let after = self.next_account()?;
        for (before, after) in before.chips.iter().zip(&after.chips) {
            ensure!(after.resets == before.resets + 1, "gpio{} was not reset once: {after:?}", after.chip);
        }
        Ok(after)
    }

    /// The devices behave; lines are driven no faster than each edge is an event of its own; none may be missing at the end.
    fn healthy_turn(&mut self, account: &Account) -> anyhow::Result<()> {
        let before = self.ledger.chips();
        let watched = self.watched(account)?;
        self.set_to_work("h")?;
        let mut bursts: Vec<Burst> = before.iter().map(|chip| Burst { edges: 0, since: chip.requests }).collect();
        let end = Instant::now() + HEALTHY;
        while Instant::now() < end {
            let (seed, lines, ledger) = (self.rng.u64(..), watched.clone(), self.ledger.clone());
            bursts = self.with_world(move |world, now| {
                drive_in_step(&mut Rng::with_seed(seed), world, now, &lines, &ledger, &mut bursts)?;
                anyhow::Ok(bursts)
            })??;
            thread::sleep(HAND);
        }
        let account = self.settled()?;
        let after = self.ledger.chips();
        for (was, is) in watched.iter().zip(self.watched(&account)?) {
            let Some(expected) = was.expected(&before, &after) else { continue };
            let got = is.events - was.events;
            self.progress.edges += expected;
            self.progress.lost += expected.saturating_sub(got);
            ensure!(got == expected, "The guest saw {got} events, not {expected}, of {is:?}");
        }
        for (before, after) in before.iter().zip(&after) {
            ensure!(after.refused == before.refused, "A device that behaves has refused something");
            ensure!(after.malformed == before.malformed, "A device has seen buffers that hold no message");
        }
        self.progress.turns += 1;
        Ok(())
    }

    /// The devices misbehave, and the world does not care whether anybody listens.
    fn faulty_turn(&mut self) -> anyhow::Result<()> {
        self.set_to_work("f")?;
        let end = Instant::now() + Duration::from_millis(self.rng.u64(FAULTY));
        while Instant::now() < end {
            for (number, protocol) in self.protocols.clone().into_iter().enumerate() {
                if self.rng.u8(..4) == 0 {
                    let blow = Blow::draw(&mut self.rng, protocol, BUSY_LINES + EDGE_LINES);
                    self.running.with_chip(number, move |chip| blow.strike(chip))??;
                    self.progress.faults += 1;
                }
                let (line, level) = (BUSY_LINES + self.rng.u16(..EDGE_LINES), Level::from(self.rng.bool()));
                self.running.drive(number, line, level)?;
            }
            thread::sleep(Duration::from_millis(self.rng.u64(1..BETWEEN_FAULTS / 4)));
        }
        for number in 0..self.protocols.len() {
            self.running.with_chip(number, heal)??;
        }
        Ok(())
    }

    fn end_of_console(&self) -> String {
        const SHOWN: usize = 60;
        let lines = self.running.console.lines();
        lines[lines.len().saturating_sub(SHOWN)..].join("\n")
    }
}

/// A device behaves again. One of the draft, which may have lied about levels, tells the truth.
fn heal(chip: &mut Chip) -> anyhow::Result<()> {
    chip.heal();
    if chip.interrupt_type(LineId(0)).is_none() {
        let inputs: Vec<_> = chip
            .bank()
            .lines()
            .filter(|(_, state)| state.direction != Direction::Output)
            .map(|(line, state)| Message { kind: HOST_LEVEL, line, value: state.level().bit().into() })
            .collect();
        for message in inputs {
            chip.send(message)?;
        }
    }
    Ok(())
}

/// A line for edges, as the guest has it.
#[derive(Debug, Clone, Copy)]
struct Watched {
    place: Place,
    protocol: Protocol,
    kind: InterruptType,
    /// Events that the guest has counted.
    events: u64,
}

impl Watched {
    fn ledger(&self, ledger: &[ChipLedger]) -> ledger::LineLedger {
        ledger.get(self.place.chip).map(|chip| chip.line(self.place.line.0)).unwrap_or_default()
    }

    /// The events that must have come between; `None` where that is the guest's own pace.
    fn expected(&self, before: &[ChipLedger], after: &[ChipLedger]) -> Option<u64> {
        let (before, after) = (self.ledger(before), self.ledger(after));
        let (rising, falling) = (after.rising - before.rising, after.falling - before.falling);
        match (self.kind, self.protocol) {
            (InterruptType::RisingEdge, _) => Some(rising),
            (InterruptType::FallingEdge, _) => Some(falling),
            (InterruptType::BothEdges, _) => Some(rising + falling),
            (InterruptType::HighLevel | InterruptType::LowLevel, Protocol::Ratified) => {
                Some(after.fired - before.fired)
            }
            (InterruptType::HighLevel | InterruptType::LowLevel, Protocol::Draft) | (InterruptType::None, _) => None,
        }
    }

    /// Whether a change to that level is an event.
    fn wants(&self, level: Level) -> bool {
        match self.kind {
            InterruptType::RisingEdge => level == Level::High,
            InterruptType::FallingEdge => level == Level::Low,
            InterruptType::BothEdges => true,
            InterruptType::HighLevel | InterruptType::LowLevel | InterruptType::None => false,
        }
    }
}

/// Levels that a draft device has reported since the guest's requests have shown that it took the earlier ones.
#[derive(Debug, Clone, Copy)]
struct Burst {
    edges: u64,
    since: u64,
}

/// Drives every line for edges, or does not. A ratified device latches one edge of a line whose event buffer it does not
/// have, and merges further ones; so an edge waits for the buffer. A draft device reports into receive buffers; so edges wait
/// until the guest, by a request behind the answer to another one, has shown that it emptied them.
fn drive_in_step(
    rng: &mut Rng,
    world: &mut World,
    now: Duration,
    lines: &[Watched],
    ledger: &Ledger,
    bursts: &mut [Burst],
) -> anyhow::Result<()> {
    for line in lines.iter().filter(|_| rng.bool()) {
        let account = ledger.chips();
        let burst = bursts.get_mut(line.place.chip).context("no such chip")?;
        let requests = account.get(line.place.chip).map_or(0, |chip| chip.requests);
        if requests >= burst.since + 2 {
            *burst = Burst { edges: 0, since: requests };
        }
        let level = world.level(line.place)?.toggled();
        let held = match line.protocol {
            Protocol::Ratified => line.wants(level) && !line.ledger(&account).armed,
            Protocol::Draft => burst.edges >= BURST,
        };
        if !held {
            burst.edges += 1;
            world.drive(now, line.place, Some(level))?;
        }
    }
    Ok(())
}
