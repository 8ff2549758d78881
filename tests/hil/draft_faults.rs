//! Devices of the draft that misbehave: the guest says how, and the other lines work.

use anyhow::{Context, ensure};
use gpio_model::draft::Options;
use gpio_model::observe::Activity;
use gpio_model::ratified;
use hil::scene::{Running, Scene, Setting, command, presentation};
use vgpio::chip::Chip;
use vgpio::fault::QueueFault;
use vgpio::qemu::command::Presentation;
use virtio_gpio::messages::draft::{HOST_LEVEL, Message, RequestType};
use virtio_gpio::{LineId, Protocol};

use crate::bad_answers::mute_line_is_tried_again;
use crate::{Entry, Transports};

pub(crate) const CASES: &[Entry] = &[
    ("a_level_of_line_65535_is_ignored", Transports::Modern, level_of_no_line),
    ("a_reply_for_the_wrong_line_is_taken_for_the_only_request", Transports::Modern, wrong_line),
    ("a_line_that_falls_mute_is_given_up", Transports::Modern, mute_line),
    ("a_line_that_never_answers_does_not_stop_the_others", Transports::Modern, mute_from_the_start),
    ("a_device_that_falls_mute_is_given_up", Transports::Modern, mute_device),
    ("devices_without_lines_or_of_another_version_are_refused", Transports::Modern, refused),
    ("a_queue_that_breaks_is_reset", Transports::Modern, broken_queue),
];

/// A draft device, as this QEMU can show it.
fn device(setting: Setting, lines: &[&str], options: Options) -> anyhow::Result<(Chip, Presentation)> {
    let shown = presentation(&command(setting)?, Protocol::Draft)?;
    let names = lines.iter().map(ToString::to_string).collect();
    let chip = Chip::draft(names, Options { config_size: shown.config_size().into(), ..options })?;
    Ok((chip, shown))
}

/// A scene with one draft device that has two outputs.
fn scene(setting: Setting) -> anyhow::Result<Scene> {
    Scene::new(setting, vec![device(setting, &["led0", "led1"], Options::default())?])
}

/// How often a line was told to go high.
fn beats(running: &Running, chip: usize, line: u16) -> usize {
    let beat = |activity: &Activity| match activity {
        Activity::Message { request, .. } => {
            (request.kind, request.line, request.value) == (RequestType::SetValue.code(), LineId(line), 1)
        }
        _ => false,
    };
    running.activities(chip).iter().filter(|activity| beat(activity)).count()
}

fn level_of_no_line(setting: Setting) -> anyhow::Result<()> {
    let mut running = scene(setting)?.append("count=10 period=400ms log=debug").start()?;
    running.expect_line("blink gpio0:1 led1 level=1")?;
    running.with_chip(0, |chip| chip.send(Message { kind: HOST_LEVEL, line: LineId(0xffff), value: 1 }))??;
    running.expect_line("WARN  gpio0: odd device: a level of line 65535, which is not watched (seen 1 times)")?;
    running.expect_exit(0)?;
    running.expect_line("summary blinks=20 edges=0 errors=0 resets=0")?;
    ensure!((beats(&running, 0, 0), beats(&running, 0, 1)) == (10, 10), "both lines blink");
    Ok(())
}

fn wrong_line(setting: Setting) -> anyhow::Result<()> {
    let mut running = scene(setting)?
        .with_world(|world| {
            world.chip_mut(0).context("no device")?.set_mute(LineId(0), true);
            Ok(())
        })?
        .append("count=3 period=40ms timeout=50s")
        .start()?;
    let reply = running.expect("a reply to be lost", |records| {
        records.iter().find_map(|record| match record.activity {
            Activity::Lost(reply) => Some(reply),
            _ => None,
        })
    })?;
    running.with_chip(0, move |chip| {
        chip.set_mute(LineId(0), false);
        chip.send(Message { line: LineId(1), ..reply })
    })??;
    running.expect_exit(0)?;
    running
        .expect_line("WARN  gpio0: odd device: a reply for line 1 to the request for line 0, taken for its answer")?;
    running.expect_line("summary blinks=6 edges=0 errors=0 resets=0")?;
    ensure!((beats(&running, 0, 0), beats(&running, 0, 1)) == (3, 3), "both lines blink");
    Ok(())
}

fn mute_line(setting: Setting) -> anyhow::Result<()> {
    let mut running = scene(setting)?.append("count=30 period=200ms timeout=400ms log=debug").start()?;
    running.expect_line("blink gpio0:0 led0 level=1")?;
    running.with_chip(0, |chip| chip.set_mute(LineId(0), true))?;
    running.expect_line("WARN  gpio0: the device does not answer; resetting it")?;
    running.expect_line("ERROR gpio0:0 led0: given up: The device did not answer in time")?;
    let before = running.console.lines().len();
    running.expect_exit(1)?;
    ensure!(beats(&running, 0, 1) >= 30, "the other line has blinked to the end:\n{}", running.text());
    let goes_on = running.console.lines().iter().skip(before).any(|line| line.contains("blink gpio0:1 led1 level=1"));
    ensure!(goes_on, "the other line does not go on:\n{}", running.text());
    Ok(())
}

fn mute_from_the_start(setting: Setting) -> anyhow::Result<()> {
    mute_line_is_tried_again(scene(setting)?)
}

fn mute_device(setting: Setting) -> anyhow::Result<()> {
    let draft = device(setting, &["led0", "led1"], Options::default())?;
    let other = (Chip::ratified(vec!["led2".into()], ratified::Options::default())?, Presentation::Gpio);
    // The second device has the lower address, and is gpio0.
    let mut running =
        Scene::new(setting, vec![draft, other])?.append("count=40 period=200ms timeout=500ms log=debug").start()?;
    running.expect_line("blink gpio1:0 led0 level=1")?;
    running.with_chip(0, |chip| [0, 1].map(|line| chip.set_mute(LineId(line), true)))?;
    running.expect_line("WARN  gpio1: the device does not answer; resetting it")?;
    let before = running.console.lines().len();
    running.expect_line("ERROR gpio1: given up: the device does not recover; its lines are lost")?;
    running.expect_exit(1)?;
    let lines = running.console.lines();
    let goes_on = lines.iter().skip(before).any(|line| line.contains("blink gpio0:0 led2 level=1"));
    ensure!(goes_on, "the other device does not go on:\n{}", running.text());
    let blinks = lines.iter().filter(|line| line.contains("blink gpio0:0 led2 level=0")).count();
    ensure!(blinks == 40, "the other device has blinked {blinks} times, not 40:\n{}", running.text());
    Ok(())
}

fn refused(setting: Setting) -> anyhow::Result<()> {
    let devices = vec![
        device(setting, &["led0"], Options { version: 2, ..Options::default() })?,
        device(setting, &[], Options::default())?,
        device(setting, &["led1", "led2"], Options::default())?,
    ];
    let mut running = Scene::new(setting, devices)?.append("count=3 period=40ms").start()?;
    running.expect_exit(1)?;
    running.expect_line("refused: The draft's configuration has version 2; only 1 is known")?;
    running.expect_line("refused: The device has no lines")?;
    running.expect_line("summary blinks=6 edges=0 errors=0 resets=0")?;
    ensure!((beats(&running, 2, 0), beats(&running, 2, 1)) == (3, 3), "the third device blinks");
    Ok(())
}

fn broken_queue(setting: Setting) -> anyhow::Result<()> {
    let mut running = scene(setting)?.append("count=20 period=200ms log=debug").start()?;
    running.expect_line("blink gpio0:1 led1 level=1")?;
    running.with_chip(0, |chip| chip.spoil_queue(0, QueueFault::Jump(1000)))?;
    running.expect_line("WARN  gpio0: queue 0 broken: used index jumped from ")?;
    running.expect_line("gpio0: recovered, every line is as it was")?;
    running.expect_exit(0)?;
    let summary = running.expect_line("summary blinks=40 ")?;
    ensure!(summary.contains("resets=1"), "{summary}");
    Ok(())
}
