//! The default application: blinks outputs, logs the edges of inputs, and says at the end how it went.
//!
//! [`arguments`] reads the boot arguments, [`chips`] finds the devices, [`selection`] looks up the lines; then the
//! main loop here waits for whichever comes first: a beat, an event, a deadline.

mod arguments;
mod blink;
pub mod chips;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod selection;
mod tally;
mod watch;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use log::{LevelFilter, debug, error, info, warn};
use virtio_gpio::clock::{Clock, Instant};
use virtio_gpio::{Error, InterruptType, Notice, Oddity};

use crate::platform::{ExitCode, Machine};

use crate::platform::time::{SystemClock, idle_until};
use arguments::Arguments;
use blink::Blinker;
use chips::{StaticChip, Wishes};
use selection::{ChipLine, Selection};
use tally::{Tally, is_passing};
use watch::Watcher;

/// The longest sleep.
const LONG: Duration = Duration::from_hours(1);
/// Events taken from one chip before the beat is looked at again.
const EVENTS_AT_ONCE: usize = 64;
/// The pause before a line whose device did not answer is tried again; it doubles so often.
const RETRY_PAUSE: Duration = Duration::from_millis(250);
const RETRY_DOUBLINGS: u32 = 4;
/// How long the end waits for edges whose level was asked for.
const PATIENCE_WITH_EDGES: Duration = Duration::from_millis(250);
/// How long the end waits for a device that is being reset.
const PATIENCE_AT_END: Duration = Duration::from_secs(5);

/// The application's start.
pub fn main(machine: &'static Machine) -> ExitCode {
    match run(machine) {
        Ok(true) => ExitCode::Success,
        Ok(false) => ExitCode::Failure,
        Err(message) => {
            error!("{message}");
            ExitCode::Failure
        }
    }
}

/// Runs to a regular end; `false` if something was lost on the way.
fn run(machine: &Machine) -> Result<bool, String> {
    let arguments = Arguments::parse(machine.bootargs()).map_err(|error| format!("{error}"))?;
    log::set_max_level(arguments.log);
    for word in &arguments.unknown {
        warn!("unknown boot argument \"{word}\" is ignored");
    }
    let found = chips::find(machine, Wishes { timeout: arguments.timeout, protocol: arguments.protocol });
    if found.chips.is_empty() {
        let hint = "start QEMU with one, for example: -chardev socket,id=gpio,path=SOCKET -device vhost-user-gpio-device,chardev=gpio";
        return Err(match found.refused {
            0 => format!("there is no GPIO device on this machine; {hint}"),
            refused => format!("there is no usable GPIO device on this machine: {refused} refused"),
        });
    }
    let selection = Selection::new(&arguments, found.chips)?;
    for warning in &selection.warnings {
        warn!("{warning}");
    }
    let mut run = Run::new(&arguments, found.chips, &selection);
    run.tally.lost = found.refused > 0;
    run.main_loop();
    run.end();
    Ok(!run.tally.lost)
}

/// A line that is to be taken into use, now or once its device answers.
struct Wanted {
    line: ChipLine,
    label: String,
    /// What to watch for; `None` for a line that blinks.
    watch: Option<InterruptType>,
    /// Named by the boot arguments, so that a refusal is a loss.
    named: bool,
    tries: u32,
    not_before: Instant,
}

struct Run<'a> {
    chips: &'a [StaticChip],
    half_period: Duration,
    count: u64,
    next_beat: Instant,
    end: Option<Instant>,
    wanted: Vec<Wanted>,
    /// Each with the number of its chip.
    blinkers: Vec<(usize, Blinker)>,
    watchers: Vec<(usize, Watcher)>,
    tally: Tally,
}

impl<'a> Run<'a> {
    fn new(arguments: &Arguments, chips: &'a [StaticChip], selection: &Selection) -> Self {
        let now = SystemClock.now();
        let wanted = |line: ChipLine, watch, named| Wanted {
            line,
            label: label(chips, line),
            watch,
            named,
            tries: 0,
            not_before: now,
        };
        let blink = selection.blink.iter().map(|line| wanted(*line, None, true));
        let watch = selection.watch.iter().map(|(line, kind)| wanted(*line, Some(*kind), selection.watch_named));
        Self {
            chips,
            half_period: arguments.period.checked_div(2).unwrap_or(arguments.period),
            count: arguments.count.unwrap_or(u64::MAX),
            next_beat: now,
            end: arguments.run_for.map(|run_for| now.after(run_for)),
            // Inputs first: an edge that the first beat causes is not missed then.
            wanted: watch.chain(blink).collect(),
            blinkers: Vec::new(),
            watchers: Vec::new(),
            tally: Tally::default(),
        }
    }

    fn main_loop(&mut self) {
        self.take_wanted();
        self.next_beat = SystemClock.now();
        while !self.is_over() {
            self.serve_chips();
            self.take_wanted();
            self.beat();
            self.rest();
        }
    }

    fn is_over(&self) -> bool {
        let time_is_up = self.end.is_some_and(|end| SystemClock.now() >= end);
        let blinking = self.wanted.iter().any(|wanted| wanted.watch.is_none())
            || self.blinkers.iter().any(|(_, blinker)| !blinker.is_done(self.count));
        let all_lost = self.chips.iter().all(|chip| chip.has_failed());
        time_is_up || (self.count != u64::MAX && !blinking) || all_lost
    }

    /// Takes what the devices have brought.
    fn serve_chips(&mut self) {
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
    fn take_wanted(&mut self) {
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

    /// The common beat. It follows the clock, so that it does not drift; beats that were missed are left out.
    fn beat(&mut self) {
        let now = SystemClock.now();
        if now < self.next_beat {
            return;
        }
        for (_, blinker) in &mut self.blinkers {
            if !blinker.is_done(self.count) {
                blinker.beat(&mut self.tally);
            }
        }
        // All lines of a chip change with one notification.
        for chip in self.chips {
            chip.notify();
        }
        while self.next_beat <= now {
            let missed = now.since(self.next_beat).as_nanos().checked_div(self.half_period.as_nanos()).unwrap_or(0);
            let beats = u32::try_from(missed).unwrap_or(u32::MAX).saturating_add(1);
            self.next_beat = self.next_beat.after(self.half_period.saturating_mul(beats));
        }
    }

    /// Sleeps until there is something to do.
    fn rest(&self) {
        let deadline = (self.wanted.iter().map(|wanted| wanted.not_before))
            .chain(self.watchers.iter().filter_map(|(_, watcher)| watcher.next_deadline()))
            .chain(self.chips.iter().filter_map(|chip| chip.next_deadline()))
            .chain(self.end)
            .chain([self.next_beat, SystemClock.now().after(LONG)])
            .min();
        let Some(deadline) = deadline else { return };
        idle_until(deadline, &|| {
            self.chips.iter().all(|chip| chip.is_idle())
                && !self.blinkers.iter().any(|(_, blinker)| blinker.has_outcome())
        });
    }

    /// Outputs low, interrupts off, lines given back, and the summary.
    fn end(&mut self) {
        self.wait_for_recovery();
        for (_, blinker) in core::mem::take(&mut self.blinkers) {
            self.tally.lost |= blinker.is_failing();
            let label = String::from(blinker.label());
            if let Err(error) = blinker.end() {
                self.tally.failed(format_args!("{label} cannot be released"), error);
                self.tally.lost = true;
            }
        }
        self.wait_for_edges();
        for (_, watcher) in core::mem::take(&mut self.watchers) {
            let label = String::from(watcher.label());
            if let Err(error) = watcher.end() {
                self.tally.failed(format_args!("{label} cannot be released"), error);
                self.tally.lost = true;
            }
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

    /// Edges that have happened, the last outputs' own among them, are still logged, as far as that does not take long.
    fn wait_for_edges(&mut self) {
        let deadline = SystemClock.now().after(PATIENCE_WITH_EDGES);
        self.serve_chips();
        while self.chips.iter().any(|chip| chip.has_event_under_way()) && SystemClock.now() < deadline {
            idle_until(deadline, &|| self.chips.iter().all(|chip| chip.is_idle()));
            self.serve_chips();
        }
    }

    /// A device that is just being reset gets the chance to end in order.
    fn wait_for_recovery(&mut self) {
        let deadline = SystemClock.now().after(PATIENCE_AT_END);
        self.serve_chips();
        while self.chips.iter().any(|chip| chip.is_recovering()) && SystemClock.now() < deadline {
            let wake = self.chips.iter().filter_map(|chip| chip.next_deadline()).chain([deadline]).min();
            idle_until(wake.unwrap_or(deadline), &|| self.chips.iter().all(|chip| chip.is_idle()));
            self.serve_chips();
        }
    }
}

/// `gpio0:4 button0`, with `-` for a line without a name.
fn label(chips: &[StaticChip], line: ChipLine) -> String {
    let name = chips.get(line.chip).and_then(|chip| chip.name(line.line));
    match name {
        Some(name) => format!("gpio{}:{} {name}", line.chip, line.line),
        None => format!("gpio{}:{} -", line.chip, line.line),
    }
}
