//! A short soak; `scripts/soak` is the long one.

use std::time::Duration;

use anyhow::Context;
use hil::scene::Setting;
use hil::soak::{self, Plan};
use virtio_gpio::Protocol;

use crate::{Entry, Transports};

pub(crate) const CASES: &[Entry] = &[
    ("b8_e8_nothing_is_lost_between_faults", Transports::Modern, short),
    ("lines_given_up_while_nobody_asks_are_set_up_again", Transports::Modern, soak::give_lines_up),
];

fn short(setting: Setting) -> anyhow::Result<()> {
    const SEED: u64 = 1;
    let protocols = vec![Protocol::Ratified, Protocol::Draft];
    // Two turns in which the devices behave, and one between them in which they do not.
    let plan = Plan { seed: SEED, duration: Duration::from_secs(12), protocols };
    let repeat = || format!("to repeat it: scripts/soak --seed {SEED} --for 12s --board {}", setting.board);
    soak::run(setting, &plan, |_| ()).map(|_| ()).with_context(repeat)
}
