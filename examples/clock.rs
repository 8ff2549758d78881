//! Ticks ten times a second for a second, asleep in between, and says what is typed meanwhile.
#![cfg_attr(target_os = "none", no_std, no_main)]

use core::time::Duration;

use guest::platform::time::{Clock, SystemClock, idle_until};
use guest::platform::{ExitCode, Machine, console};

guest::entry!(run);

fn run(_machine: &'static Machine) -> ExitCode {
    const TICK: Duration = Duration::from_millis(100);

    let mut next = SystemClock.now().after(TICK);
    for tick in 1..=10 {
        while SystemClock.now() < next {
            idle_until(next, &|| !console::has_input());
            while let Some(byte) = console::read() {
                log::info!("typed {:?}", char::from(byte));
            }
        }
        log::info!("tick {tick}");
        next = next.after(TICK);
    }
    ExitCode::Success
}
