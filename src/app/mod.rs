//! The default application: blinks outputs, logs the edges of inputs, takes commands, and says at the end how it went.
//!
//! [`arguments`] reads the boot arguments, [`chips`] finds the devices, [`selection`] looks up the lines; then the
//! main loop here waits for whichever comes first: a beat, an event, a command, a deadline. [`in_use`] has the lines.

mod arguments;
mod blink;
pub mod chips;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod handover;
mod in_use;
mod selection;
mod shell;
mod tally;
mod watch;

use alloc::format;
use alloc::string::String;
use core::time::Duration;

use log::{error, info, warn};
use virtio_gpio::clock::{Clock, Instant};

use crate::platform::time::{SystemClock, idle_until};
use crate::platform::{ExitCode, Machine};
use arguments::Arguments;
use chips::Wishes;
use in_use::InUse;
use selection::Selection;
use shell::Shell;

/// The longest sleep.
const LONG: Duration = Duration::from_hours(1);

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
    let shell = arguments
        .shell
        .then(|| Shell::new(found.console.as_ref(), arguments.period.checked_div(2).unwrap_or_default()));
    let mut run = Run::new(&arguments, InUse::new(found.chips, &selection), shell);
    run.in_use.tally.lost = found.refused > 0;
    run.main_loop();
    run.in_use.end();
    Ok(!run.in_use.tally.lost)
}

struct Run {
    in_use: InUse,
    half_period: Duration,
    count: u64,
    next_beat: Instant,
    end: Option<Instant>,
    shell: Option<Shell>,
}

impl Run {
    fn new(arguments: &Arguments, in_use: InUse, shell: Option<Shell>) -> Self {
        let now = SystemClock.now();
        let half_period = arguments.period.checked_div(2).unwrap_or(arguments.period);
        Self {
            in_use,
            half_period,
            count: arguments.count.unwrap_or(u64::MAX),
            next_beat: now,
            end: arguments.run_for.map(|run_for| now.after(run_for)),
            shell,
        }
    }

    fn main_loop(&mut self) {
        self.in_use.take_wanted();
        self.next_beat = SystemClock.now();
        if self.shell.is_some() {
            info!("shell: ready; \"help\" explains the commands");
        }
        while !self.is_over() {
            self.in_use.serve_chips();
            self.in_use.take_wanted();
            self.beat();
            if let Some(shell) = &mut self.shell {
                shell.serve(&mut self.in_use);
            }
            self.rest();
        }
        if let Some(shell) = &mut self.shell {
            shell.close();
        }
    }

    fn is_over(&self) -> bool {
        let time_is_up = self.end.is_some_and(|end| SystemClock.now() >= end);
        let all_lost = self.in_use.chips.iter().all(|chip| chip.has_failed());
        let asked_for = self.shell.as_ref().is_some_and(Shell::wants_end);
        // Where commands took every line from blinking, there is nothing to be counted.
        let counts = self.count != u64::MAX && (self.shell.is_none() || !self.in_use.blinkers.is_empty());
        let blinked = counts && !self.in_use.has_blinking_to_do(self.count);
        time_is_up || blinked || all_lost || asked_for
    }

    /// The common beat. It follows the clock, so that it does not drift; beats that were missed are left out.
    fn beat(&mut self) {
        let now = SystemClock.now();
        if now < self.next_beat {
            return;
        }
        self.in_use.beat(self.count);
        while self.next_beat <= now {
            let missed = now.since(self.next_beat).as_nanos().checked_div(self.half_period.as_nanos()).unwrap_or(0);
            let beats = u32::try_from(missed).unwrap_or(u32::MAX).saturating_add(1);
            self.next_beat = self.next_beat.after(self.half_period.saturating_mul(beats));
        }
    }

    /// Sleeps until there is something to do.
    fn rest(&self) {
        let shell = self.shell.as_ref();
        let deadline = (self.in_use.deadlines())
            .chain(self.end)
            .chain(shell.and_then(Shell::next_deadline))
            .chain([self.next_beat, SystemClock.now().after(LONG)])
            .min();
        let Some(deadline) = deadline else { return };
        idle_until(deadline, &|| self.in_use.is_idle() && shell.is_none_or(Shell::is_idle));
    }
}
