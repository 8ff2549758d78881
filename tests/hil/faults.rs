//! Devices that misbehave, inside a process that lives on.

use std::time::Duration;

use anyhow::{Context, ensure};
use gpio_model::ratified::{Options, Quirks};
use hil::scene::{Running, Scene, Setting};
use vgpio::chip::Chip;
use vgpio::qemu::command::Presentation;
use vgpio::world::Wire;

use crate::{Entry, Transports};

pub(crate) const CASES: &[Entry] = &[
    ("f4_a_device_that_stalls_is_reset_and_recovers", Transports::Both, stall),
    ("f4_a_device_that_stalls_from_the_start_still_gets_its_names_read", Transports::Modern, slow_start),
    ("f4_a_device_that_never_answers_again_is_given_up_and_the_other_goes_on", Transports::Modern, dead),
    ("a_strict_device_has_nothing_to_object_to", Transports::Modern, strict),
];

fn chip(led: &str, button: &str, quirks: Quirks) -> anyhow::Result<(Chip, Presentation)> {
    let options = Options { quirks, ..Options::default() };
    Ok((Chip::ratified(vec![led.into(), button.into()], options)?, Presentation::Gpio))
}

fn set_stalled(running: &Running, chip: usize, stalled: bool) -> anyhow::Result<()> {
    let devices = running.devices.as_ref().context("no devices")?;
    devices.with(move |world, _| {
        if let Some(chip) = world.chip_mut(chip) {
            chip.set_stalled(stalled);
        }
    })?;
    Ok(())
}

fn stall(setting: Setting) -> anyhow::Result<()> {
    let mut running = Scene::new(setting, vec![chip("led0", "button0", Quirks::default())?])?
        .append("period=100ms timeout=300ms for=6s log=debug")
        .start()?;
    running.expect_line("blink gpio0:0 led0 level=1")?;
    set_stalled(&running, 0, true)?;
    running.expect_line("WARN  gpio0: the device does not answer; resetting it")?;
    // Long enough for more than one try.
    std::thread::sleep(Duration::from_secs(1));
    set_stalled(&running, 0, false)?;
    running.expect_line("gpio0: recovered, every line is as it was")?;
    running.expect_exit(0)?;
    let summary = running.expect_line("summary ")?;
    ensure!(!summary.contains("errors=0") && !summary.contains("resets=0"), "{summary}");
    let after = running.console.lines().iter().rev().take_while(|line| !line.contains("recovered")).count();
    ensure!(after > 10, "it does not blink after the reset:\n{}", running.text());
    Ok(())
}

fn slow_start(setting: Setting) -> anyhow::Result<()> {
    let mut running = Scene::new(setting, vec![chip("led0", "button0", Quirks::default())?])?
        .with_world(|world| {
            world.chip_mut(0).context("no device")?.set_stalled(true);
            Ok(())
        })?
        .append("blink=led0 count=2 period=100ms timeout=800ms")
        .start()?;
    running.expect_line("GPIO (id 41, ratified)")?;
    // Longer than one request may take.
    std::thread::sleep(Duration::from_secs(3));
    set_stalled(&running, 0, false)?;
    running.expect_line("gpio0: \"\" 2 lines: led0 button0")?;
    running.expect_exit(0)?;
    running.expect_line("summary blinks=2 edges=0 errors=0 resets=")?;
    Ok(())
}

fn dead(setting: Setting) -> anyhow::Result<()> {
    let devices = vec![chip("led0", "b0", Quirks::default())?, chip("led1", "b1", Quirks::default())?];
    let mut running = Scene::new(setting, devices)?.append("period=200ms timeout=500ms for=45s log=debug").start()?;
    running.expect_line("blink gpio1:0 led0 level=1")?;
    set_stalled(&running, 0, true)?;
    running.expect_line("gpio1: the device does not answer; resetting it")?;
    running.expect_line("gpio1: given up: the device does not recover; its lines are lost")?;
    let before = running.console.lines().len();
    running.expect_exit(1)?;
    let lines = running.console.lines();
    let goes_on = lines.iter().skip(before).any(|line| line.contains("blink gpio0:0 led1"));
    ensure!(goes_on, "the other device does not go on:\n{}", running.text());
    Ok(())
}

fn strict(setting: Setting) -> anyhow::Result<()> {
    let mut running = Scene::new(setting, vec![chip("led0", "loop0", Quirks::VHOST_DEVICE)?])?
        .with_world(|world| Ok(world.wire(Wire::new(world.find("led0")?, world.find("loop0")?))?))?
        .append("count=3 period=100ms")
        .start()?;
    running.expect_exit(0)?;
    running.expect_line("summary blinks=3 edges=6 errors=0 resets=0")?;
    Ok(())
}
