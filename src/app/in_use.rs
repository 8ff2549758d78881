//! The lines in use: those that are still to be taken, those that blink, those that are watched, and those that a command
//! took.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use log::{LevelFilter, debug, error, info, warn};
use virtio_gpio::clock::{Clock, Instant};
use virtio_gpio::{Error, InterruptType, Name, Notice, Oddity};

use super::blink::Blinker;
use super::chips::StaticChip;
use super::handover::Held;
use super::selection::{ChipLine, Selection};
use super::tally::{Tally, is_passing};
use super::watch::Watcher;
use crate::platform::time::{SystemClock, idle_until};

/// Events taken from one chip before the beat is looked at again.
const EVENTS_AT_ONCE: usize = 64;
/// The pause before a line whose device did not answer is tried again; it doubles so often.
const RETRY_PAUSE: Duration = Duration::from_millis(250);
const RETRY_DOUBLINGS: u32 = 4;
/// How long the end waits for edges whose level was asked for.
const PATIENCE_WITH_EDGES: Duration = Duration::from_millis(250);
/// How long the end waits for a device that is being reset.
const PATIENCE_AT_END: Duration = Duration::from_secs(5);

/// A line that is to be taken into use, now or once its device answers.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) line: ChipLine,
    label: String,
    /// What to watch for; `None` for a line that blinks.
    watch: Option<InterruptType>,
    /// Named by the boot arguments, so that a refusal is a loss.
    named: bool,
    tries: u32,
    not_before: Instant,
}

/// The lines in use and their devices.
#[derive(Debug)]
pub(super) struct InUse {
    pub(super) chips: &'static [StaticChip],
    pub(super) wanted: Vec<Wanted>,
    /// Each with the number of its chip.
    pub(super) blinkers: Vec<(usize, Blinker)>,
    pub(super) watchers: Vec<(usize, Watcher)>,
    /// Taken by commands.
    pub(super) held: Vec<Held>,
    pub(super) tally: Tally,
}

impl InUse {
    pub(super) fn new(chips: &'static [StaticChip], selection: &Selection) -> Self {
        let now = SystemClock.now();
        let wanted = |line: ChipLine, watch, named| Wanted {
            line,
            label: label(chips, line).to_string(),
            watch,
            named,
            tries: 0,
            not_before: now,
        };
        let blink = selection.blink.iter().map(|line| wanted(*line, None, true));
        let watch = selection.watch.iter().map(|(line, kind)| wanted(*line, Some(*kind), selection.watch_named));
        Self {
            chips,
            // Inputs first: an edge that the first beat causes is not missed then.
            wanted: watch.chain(blink).collect(),
            blinkers: Vec::new(),
            watchers: Vec::new(),
            held: Vec::new(),
            tally: Tally::default(),
        }
    }

    /// Whether a line blinks, or is to, that has not done so `count` times.
    pub(super) fn has_blinking_to_do(&self, count: u64) -> bool {
        self.wanted.iter().any(|wanted| wanted.watch.is_none())
            || self.blinkers.iter().any(|(_, blinker)| !blinker.is_done(count))
    }

    /// Takes what the devices have brought.
    pub(super) fn serve_chips(&mut self) {
        for (number, chip) in self.chips.iter().enumerate() {
            chip.poll();
            while let Some(notice) = chip.next_notice() {
                self.tell(number, notice);
            }
            for event in core::iter::from_fn(|| chip.next_event()).take(EVENTS_AT_ONCE) {
                self.tally.edges = self.tally.edges.saturating_add(1);
                let watcher =
                    self.watchers.iter_mut().find(|(chip, watcher)| *chip == number && watcher.line() == event.line);
                if let Some((_, watcher)) = watcher {
                    watcher.log(&event, SystemClock.now());
                }
            }
        }
        let now = SystemClock.now();
        for (_, watcher) in &mut self.watchers {
            watcher.pace(now);
        }
        for (_, blinker) in &mut self.blinkers {
            blinker.collect(&mut self.tally);
        }
        self.change(Blinker::is_late);
    }

    fn tell(&mut self, number: usize, notice: Notice) {
        match notice {
            Notice::Resetting(fault) => warn!("gpio{number}: {fault}; resetting it"),
            Notice::Recovered => info!("gpio{number}: recovered, every line is as it was"),
            Notice::Failed => {
                self.tally.lost = true;
                error!("gpio{number}: given up: the device does not recover; its lines are lost");
            }
            Notice::LineLost { line, error } => {
                self.tally.lost = true;
                self.tally
                    .failed(format_args!("{}: given up", label(self.chips, ChipLine { chip: number, line })), error);
            }
            // A draft device reports every line; an interrupt that is switched off may have been on its way.
            Notice::Odd { oddity: oddity @ (Oddity::UnwatchedLevel(line) | Oddity::StaleEvent(line)), count }
                if self.chips.get(number).is_some_and(|chip| line.0 < chip.lines()) =>
            {
                debug!("gpio{number}: {oddity} (seen {count} times)");
            }
            Notice::Odd { oddity, count } => warn!("gpio{number}: odd device: {oddity} (seen {count} times)"),
            _ => warn!("gpio{number}: {notice:?}"),
        }
    }

    /// Takes lines into use that are not yet, where the device can be asked.
    pub(super) fn take_wanted(&mut self) {
        for mut wanted in core::mem::take(&mut self.wanted) {
            let Some(chip) = self.chips.get(wanted.line.chip).copied() else { continue };
            if SystemClock.now() < wanted.not_before && !chip.has_failed() {
                self.wanted.push(wanted);
                continue;
            }
            let label = wanted.label.clone();
            let taken = match wanted.watch {
                Some(kind) => Watcher::new(chip, wanted.line.line, kind, label)
                    .map(|watcher| self.watchers.push((wanted.line.chip, watcher))),
                None => Blinker::new(chip, wanted.line.line, label)
                    .map(|blinker| self.blinkers.push((wanted.line.chip, blinker))),
            };
            match taken {
                Ok(()) => (),
                Err(error) if is_passing(error) => {
                    let pause = RETRY_PAUSE.saturating_mul(1 << wanted.tries.min(RETRY_DOUBLINGS));
                    if error != Error::Recovering {
                        self.tally.errors = self.tally.errors.saturating_add(1);
                        warn!("{}: {error}; trying again", wanted.label);
                        wanted.tries = wanted.tries.saturating_add(1);
                    }
                    wanted.not_before = SystemClock.now().after(pause);
                    self.wanted.push(wanted);
                }
                Err(error) => {
                    let purpose = if wanted.watch.is_some() { "cannot be watched" } else { "cannot blink" };
                    self.tally.failed(format_args!("{} {purpose}", wanted.label), error);
                    self.tally.lost |= wanted.named || error == Error::ChipFailed;
                }
            }
        }
    }

    /// Changes every line that blinks and has not done so `count` times.
    pub(super) fn beat(&mut self, count: u64) {
        self.change(|blinker| !blinker.is_done(count));
    }

    /// Changes those lines that blink which `chosen` likes.
    fn change(&mut self, chosen: impl Fn(&Blinker) -> bool) {
        let mut changes = false;
        for (_, blinker) in self.blinkers.iter_mut().filter(|(_, blinker)| chosen(blinker)) {
            blinker.beat(&mut self.tally);
            changes = true;
        }
        if changes {
            // All lines of a chip change with one notification.
            for chip in self.chips {
                chip.notify();
            }
        }
    }

    /// When there is something to do, though no device does anything.
    pub(super) fn deadlines(&self) -> impl Iterator<Item = Instant> {
        (self.wanted.iter().map(|wanted| wanted.not_before))
            .chain(self.watchers.iter().filter_map(|(_, watcher)| watcher.next_deadline()))
            .chain(self.chips.iter().filter_map(|chip| chip.next_deadline()))
    }

    /// Whether there is nothing to do.
    pub(super) fn is_idle(&self) -> bool {
        self.are_chips_idle() && !self.blinkers.iter().any(|(_, blinker)| blinker.has_outcome())
    }

    fn are_chips_idle(&self) -> bool {
        self.chips.iter().all(|chip| chip.is_idle())
    }

    /// Outputs low, interrupts off, lines given back, and the summary.
    pub(super) fn end(&mut self) {
        self.wait_for_recovery();
        for (_, blinker) in core::mem::take(&mut self.blinkers) {
            self.tally.lost |= blinker.is_failing();
            let label = String::from(blinker.label());
            self.released(&label, blinker.end());
        }
        for held in core::mem::take(&mut self.held) {
            let label = label(self.chips, held.line).to_string();
            self.released(&label, held.end());
        }
        self.wait_for_edges();
        for (_, watcher) in core::mem::take(&mut self.watchers) {
            let label = String::from(watcher.label());
            self.released(&label, watcher.end());
        }
        for wanted in core::mem::take(&mut self.wanted) {
            self.tally.lost = true;
            error!("{}: never answered for", wanted.label);
        }
        self.serve_chips();
        for (number, chip) in self.chips.iter().enumerate() {
            debug!("gpio{number}: {:?}", chip.statistics());
        }
        let resets = self.chips.iter().fold(0u64, |sum, chip| sum.saturating_add(chip.statistics().resets));
        // Whoever asked for fewer messages still gets the result.
        log::set_max_level(log::max_level().max(LevelFilter::Info));
        let Tally { blinks, edges, errors, .. } = self.tally;
        info!("summary blinks={blinks} edges={edges} errors={errors} resets={resets}");
    }

    fn released(&mut self, label: &str, result: Result<(), Error>) {
        if let Err(error) = result {
            self.tally.failed(format_args!("{label} cannot be released"), error);
            self.tally.lost = true;
        }
    }

    /// Edges that have happened, the last outputs' own among them, are still logged, as far as that does not take long.
    fn wait_for_edges(&mut self) {
        let deadline = SystemClock.now().after(PATIENCE_WITH_EDGES);
        self.serve_chips();
        while self.chips.iter().any(|chip| chip.has_event_under_way()) && SystemClock.now() < deadline {
            idle_until(deadline, &|| self.are_chips_idle());
            self.serve_chips();
        }
    }

    /// A device that is just being reset gets the chance to end in order.
    fn wait_for_recovery(&mut self) {
        let deadline = SystemClock.now().after(PATIENCE_AT_END);
        self.serve_chips();
        while self.chips.iter().any(|chip| chip.is_recovering()) && SystemClock.now() < deadline {
            let wake = self.chips.iter().filter_map(|chip| chip.next_deadline()).chain([deadline]).min();
            idle_until(wake.unwrap_or(deadline), &|| self.are_chips_idle());
            self.serve_chips();
        }
    }
}

/// A line in messages: `gpio0:4 button0`, with `-` for one without a name.
#[derive(Debug)]
pub(super) struct Label<'a> {
    pub(super) line: ChipLine,
    pub(super) name: Option<Name<'a>>,
}

impl fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ChipLine { chip, line } = self.line;
        match self.name {
            Some(name) => write!(f, "gpio{chip}:{line} {name}"),
            None => write!(f, "gpio{chip}:{line} -"),
        }
    }
}

/// The label of a line.
pub(super) fn label(chips: &'static [StaticChip], line: ChipLine) -> Label<'static> {
    Label { line, name: chips.get(line.chip).and_then(|chip| chip.name(line.line)) }
}
