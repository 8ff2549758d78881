//! Ratified devices whose answers are wrong, late or missing: the request concerned fails, and all else works.

use anyhow::{Context, ensure};
use gpio_model::observe::Activity;
use gpio_model::ratified::Options;
use hil::scene::{Running, Scene, Setting};
use vgpio::chip::Chip;
use vgpio::fault::AnswerFault;
use vgpio::qemu::command::Presentation;
use virtio_gpio::messages::ratified::Request;
use virtio_gpio::{Direction, InterruptType, Level, LineId};

use crate::{Entry, Transports};

pub(crate) const CASES: &[Entry] = &[
    ("a9_a10_e1_e2_a_wrong_answer_fails_its_request_only", Transports::Modern, wrong_answers),
    ("a9_a10_e1_e2_a_line_that_cannot_be_taken_into_use_leaves_the_others", Transports::Modern, unusable_line),
    ("e1_a_line_that_cannot_be_released_does_not_keep_the_others", Transports::Modern, no_release),
    ("d7_without_names_lines_have_their_numbers", Transports::Modern, no_names),
    ("e3_a_level_that_cannot_be_read_loses_no_edge", Transports::Modern, unreadable_level),
    ("b1_a_mute_line_is_given_up_without_a_reset", Transports::Modern, mute_line),
    ("b1_a_line_that_never_answers_does_not_stop_the_others", Transports::Modern, mute_from_the_start),
    ("f4_a_device_that_never_answers_does_not_stop_the_others", Transports::Modern, silent_device),
    ("b2_b9_a_late_answer_is_nobody_elses", Transports::Modern, late_answer),
    ("e5_e6_event_buffers_that_come_back_empty_are_queued_again", Transports::Modern, empty_events),
];

const OUTPUT: LineId = LineId(0);
const INPUT: LineId = LineId(2);

/// A scene with two outputs and an input, whose device spoils the next answer to requests of a kind.
fn scene(setting: Setting, fault: Option<(AnswerFault, Request)>) -> anyhow::Result<Scene> {
    let mut chip = Chip::ratified(vec!["led0".into(), "led1".into(), "button0".into()], Options::default())?;
    if let Some((fault, requests)) = fault {
        chip.spoil_answers(fault, 1, requests)?;
    }
    Scene::new(setting, vec![(chip, Presentation::Gpio)])
}

/// How often a line was told to go high.
fn beats(running: &Running, line: u16) -> usize {
    let beat = Request::SetValue(LineId(line), Level::High);
    let is_beat = |activity: &&Activity| matches!(activity, Activity::Request { request, .. } if *request == Ok(beat));
    running.activities(0).iter().filter(is_beat).count()
}

fn wrong_answers(setting: Setting) -> anyhow::Result<()> {
    for (fault, message) in [
        (AnswerFault::Status(1), "The device refused the request"),
        (AnswerFault::Status(2), "The response has the invalid status 2"),
        (AnswerFault::Status(255), "The device returned the response without writing its status"),
        (AnswerFault::Length(0), "The response is too short: 0 bytes"),
        (AnswerFault::Length(1), "The response is too short: 1 bytes"),
        (AnswerFault::Length(3), "The response claims 3 bytes, more than its buffer has"),
        (AnswerFault::Length(u32::MAX), "The response claims 4294967295 bytes, more than its buffer has"),
    ] {
        let requests = Request::SetValue(OUTPUT, Level::High);
        let mut running = scene(setting, Some((fault, requests)))?.append("watch=none count=3 period=40ms").start()?;
        running.expect_exit(0).with_context(|| format!("{fault:?}"))?;
        running.expect_line(&format!("ERROR gpio0:0 led0: {message}"))?;
        running.expect_line("summary blinks=6 edges=0 errors=1 resets=0").with_context(|| format!("{fault:?}"))?;
        // The failed change is tried once more.
        ensure!((beats(&running, 0), beats(&running, 1)) == (4, 3), "{fault:?}:\n{}", running.text());
    }
    Ok(())
}

/// Every request that takes a line into use, with every kind of wrong answer.
fn unusable_line(setting: Setting) -> anyhow::Result<()> {
    let steps: [(Request, &str); 4] = [
        (Request::SetValue(OUTPUT, Level::Low), "gpio0:0 led0 cannot blink"),
        (Request::SetDirection(OUTPUT, Direction::Output), "gpio0:0 led0 cannot blink"),
        (Request::SetDirection(INPUT, Direction::Input), "gpio0:2 button0 cannot be watched"),
        (Request::SetInterruptType(INPUT, InterruptType::BothEdges), "gpio0:2 button0 cannot be watched"),
    ];
    let faults = [
        (AnswerFault::Status(1), "The device refused the request"),
        (AnswerFault::Status(2), "The response has the invalid status 2"),
        (AnswerFault::Length(1), "The response is too short: 1 bytes"),
        (AnswerFault::Length(9), "The response claims 9 bytes, more than its buffer has"),
    ];
    for (step, (requests, what)) in steps.into_iter().enumerate() {
        for (fault, why) in faults {
            let case = || format!("step {step}, {fault:?}");
            let mut running =
                scene(setting, Some((fault, requests)))?.append("watch=button0 count=3 period=40ms").start()?;
            running.expect_exit(1).with_context(case)?;
            running.expect_line(&format!("ERROR {what}: {why}")).with_context(case)?;
            let blinks = if what.contains("led0") { 3 } else { 6 };
            let summary = format!("summary blinks={blinks} edges=0 errors=1 resets=0");
            running.expect_line(&summary).with_context(case)?;
            ensure!(beats(&running, 1) == 3, "{}: the other line does not blink", case());
        }
    }
    Ok(())
}

fn no_release(setting: Setting) -> anyhow::Result<()> {
    let requests = Request::SetDirection(OUTPUT, Direction::None);
    let mut running =
        scene(setting, Some((AnswerFault::Status(1), requests)))?.append("count=3 period=40ms").start()?;
    running.expect_exit(1)?;
    running.expect_line("ERROR gpio0:0 led0 cannot be released: The device refused the request")?;
    running.expect_line("summary blinks=6 edges=0 errors=1 resets=0")?;
    let released = running.activities(0).iter().any(|activity| {
        matches!(activity, Activity::Request { request, .. }
            if *request == Ok(Request::SetDirection(LineId(1), Direction::None)))
    });
    ensure!(released, "the other line is not released");
    Ok(())
}

fn no_names(setting: Setting) -> anyhow::Result<()> {
    for (fault, why) in [
        (AnswerFault::Status(1), "The device refused the request; its lines can be used by number"),
        (AnswerFault::Status(2), "The response has the invalid status 2; its lines can be used by number"),
        (AnswerFault::Length(0), "The response is too short: 0 bytes; its lines can be used by number"),
        (AnswerFault::Length(u32::MAX), "more than its buffer has; its lines can be used by number"),
        // An answer without any name in it.
        (AnswerFault::Length(1), "3 lines: - - -"),
    ] {
        let requests = Request::LineNames;
        let mut running = scene(setting, Some((fault, requests)))?.append("blink=0,1 count=3 period=40ms").start()?;
        running.expect_exit(0).with_context(|| format!("{fault:?}"))?;
        running.expect_line("3 lines: - - -").with_context(|| format!("{fault:?}"))?;
        running.expect_line(why)?;
        running.expect_line("summary blinks=6 edges=0 errors=0 resets=0")?;
    }
    Ok(())
}

fn unreadable_level(setting: Setting) -> anyhow::Result<()> {
    let mut running = scene(setting, None)?.append("watch=button0 count=20 period=400ms").start()?;
    let unmasked = |times| {
        running.expect("the line to be unmasked", move |records| {
            let seen = records.iter().filter(|record| record.activity == Activity::Unmasked(INPUT)).count();
            (seen >= times).then_some(())
        })
    };
    unmasked(1)?;
    running.with_chip(0, |chip| chip.spoil_answers(AnswerFault::Value(7), 1, Request::GetValue(INPUT)))??;
    running.drive(0, INPUT.0, Level::High)?;
    running.expect_line("edge gpio0:2 button0 rising level=1 count=1")?;
    unmasked(2)?;
    running.drive(0, INPUT.0, Level::Low)?;
    running.expect_line("edge gpio0:2 button0 falling level=0 count=2")?;
    running.expect_exit(0)?;
    running.expect_line("summary blinks=40 edges=2 errors=0 resets=0")?;
    Ok(())
}

fn mute_line(setting: Setting) -> anyhow::Result<()> {
    let mut running =
        scene(setting, None)?.append("watch=button0 count=30 period=200ms timeout=400ms log=debug").start()?;
    running.expect_line("blink gpio0:0 led0 level=1")?;
    running.with_chip(0, |chip| chip.set_mute(OUTPUT, true))?;
    running.expect_line("ERROR gpio0:0 led0: given up: The device did not answer in time")?;
    let before = running.console.lines().len();
    running.drive(0, INPUT.0, Level::High)?;
    running.expect_line("edge gpio0:2 button0 rising level=1 count=1")?;
    running.expect_exit(1)?;
    let goes_on = running.console.lines().iter().skip(before).any(|line| line.contains("blink gpio0:1 led1 level=1"));
    ensure!(goes_on, "the other line does not go on:\n{}", running.text());
    ensure!(beats(&running, 1) == 30, "the other line has blinked {} times, not 30", beats(&running, 1));
    let summary = running.expect_line("summary ")?;
    ensure!(summary.contains("resets=0"), "the device was reset for one line: {summary}");
    Ok(())
}

fn mute_from_the_start(setting: Setting) -> anyhow::Result<()> {
    mute_line_is_tried_again(scene(setting, None)?)
}

/// `led0` of a device with two lines is never answered for: it is tried again and again, and `led1` blinks between the
/// tries, not only before them.
pub(crate) fn mute_line_is_tried_again(scene: Scene) -> anyhow::Result<()> {
    let mut running = scene
        .with_world(|world| {
            world.chip_mut(0).context("no device")?.set_mute(LineId(0), true);
            Ok(())
        })?
        .append("watch=none for=12s period=100ms timeout=200ms log=debug")
        .start()?;
    running.expect_line("WARN  gpio0:0 led0: The device did not answer in time; trying again")?;
    running.expect_line("blink gpio0:1 led1 level=1")?;
    running.expect_exit(1)?;
    running.expect_line("ERROR gpio0:0 led0: never answered for")?;
    let tried = |line: &String| line.contains("gpio0:0 led0: The device did not answer in time; trying again");
    let lines = running.console.lines();
    let after_two = lines.iter().skip_while(|line| !tried(line)).skip(1).skip_while(|line| !tried(line));
    let blinks = after_two.filter(|line| line.contains("blink gpio0:1 led1 level=1")).count();
    ensure!(blinks > 0, "the other line does not blink between the tries:\n{}", running.text());
    Ok(())
}

fn silent_device(setting: Setting) -> anyhow::Result<()> {
    let chip = |name: &str| Chip::ratified(vec![name.into()], Options::default());
    let devices = vec![(chip("led0")?, Presentation::Gpio), (chip("led1")?, Presentation::Gpio)];
    // The second device has the lower address, and is gpio0.
    let mut running = Scene::new(setting, devices)?
        .with_world(|world| {
            world.chip_mut(0).context("no device")?.set_stalled(true);
            Ok(())
        })?
        .append("blink=gpio0:0,gpio1:0 count=5 period=200ms timeout=500ms log=debug")
        .start()?;
    running.expect_line("gpio1: \"\" 1 lines: -")?;
    running.expect_line("blink gpio0:0 led1 level=1")?;
    running.expect_line("ERROR gpio1: given up: the device does not recover; its lines are lost")?;
    running.expect_exit(1)?;
    ensure!(running.text().matches("blink gpio0:0 led1 level=0").count() == 5, "{}", running.text());
    Ok(())
}

fn late_answer(setting: Setting) -> anyhow::Result<()> {
    let mut running = scene(setting, None)?.append("watch=none count=40 period=200ms timeout=2s log=debug").start()?;
    running.expect_line("blink gpio0:0 led0 level=1")?;
    running.with_chip(0, |chip| chip.set_mute(OUTPUT, true))?;
    running.expect_line("ERROR gpio0:0 led0: The device did not answer in time")?;
    running.with_chip(0, |chip| chip.set_mute(OUTPUT, false))?;
    running.expect_line("WARN  gpio0: odd device: an answer for line 0 came after its deadline (seen 1 times)")?;
    running.expect_exit(0)?;
    let summary = running.expect_line("summary blinks=80 ")?;
    ensure!(summary.contains("resets=0"), "{summary}");
    Ok(())
}

fn empty_events(setting: Setting) -> anyhow::Result<()> {
    let mut running = scene(setting, None)?
        .with_world(|world| Ok(world.chip_mut(0).context("no device")?.return_events(8)?))?
        .append("watch=button0 count=20 period=400ms")
        .start()?;
    running.expect("a buffer to stay with the device", |records| {
        records.iter().any(|record| record.activity == Activity::Unmasked(INPUT)).then_some(())
    })?;
    running.drive(0, INPUT.0, Level::High)?;
    running.expect_line("edge gpio0:2 button0 rising level=1 count=1")?;
    running.expect_exit(0)?;
    for count in [1, 2, 4, 8] {
        let message = "WARN  gpio0: odd device: an event buffer of line 2 came back without an interrupt";
        running.expect_line(&format!("{message} (seen {count} times)"))?;
    }
    running.expect_line("summary blinks=40 edges=1 errors=0 resets=0")?;
    Ok(())
}
