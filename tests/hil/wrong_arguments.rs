//! Boot arguments that cannot be followed: the message names the word, and no line is touched.

use anyhow::ensure;
use gpio_model::observe::Activity;
use gpio_model::ratified;
use hil::scene::{Scene, Setting};
use vgpio::chip::Chip;
use vgpio::qemu::command::Presentation;

use crate::{Entry, Transports};

pub(crate) const CASES: &[Entry] = &[
    ("each_is_named_before_a_line_is_touched", Transports::Modern, each_is_named),
    ("unknown_keys_are_a_warning", Transports::Modern, unknown_keys),
];

fn scene(setting: Setting, append: &str) -> anyhow::Result<Scene> {
    let chip = Chip::ratified(vec!["led0".into(), "button0".into()], ratified::Options::default())?;
    Ok(Scene::new(setting, vec![(chip, Presentation::Gpio)])?.append(append))
}

fn each_is_named(setting: Setting) -> anyhow::Result<()> {
    for (append, message) in [
        ("period=abc", "bad boot argument \"period=abc\": expected a duration"),
        ("blink=nosuch", "unknown line \"nosuch\": expected"),
        ("blink=0,0", "named twice"),
        ("blink=led0 watch=0:rising", "named twice"),
        ("watch=2", "from 0 to 1"),
        ("watch=gpio1:0", "unknown line \"gpio1:0\""),
        ("log=loud", "bad boot argument \"log=loud\""),
    ] {
        let mut running = scene(setting, append)?.start()?;
        running.expect_exit(1)?;
        running.expect_line(message)?;
        let touched = running.activities(0).into_iter().any(|activity| match activity {
            Activity::Request { request, .. } => request.is_ok_and(|request| request.line().is_some()),
            _ => false,
        });
        ensure!(!touched, "{append}: a line was touched");
    }
    Ok(())
}

fn unknown_keys(setting: Setting) -> anyhow::Result<()> {
    let mut running = scene(setting, "quiet root=/dev/vda count=1 period=20ms")?.start()?;
    running.expect_exit(0)?;
    running.expect_line("WARN  unknown boot argument \"quiet\"")?;
    running.expect_line("WARN  unknown boot argument \"root=/dev/vda\"")?;
    Ok(())
}
