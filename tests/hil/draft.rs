//! The 2020 draft, as the device sees it, on stock QEMU.

use anyhow::{Context, ensure};
use gpio_model::draft::{Options, Refusal};
use gpio_model::observe::Activity;
use gpio_model::ratified;
use hil::scene::{Running, Scene, Setting, command, presentation};
use vgpio::chip::Chip;
use vgpio::qemu::command::Presentation;
use vgpio::record::Record;
use vgpio::world::Wire;
use virtio_gpio::messages::draft::{Marking, Message, RequestType};
use virtio_gpio::{Level, LineId, Protocol};

use crate::{Entry, Transports};

pub(crate) const CASES: &[Entry] = &[
    ("blink_and_edges_with_names_under_both_ids", Transports::Both, blink_and_edges),
    ("every_marking_is_understood", Transports::Modern, markings),
    ("without_names_in_a_short_configuration", Transports::Both, short_configuration),
    ("levels_are_emulated", Transports::Modern, levels),
    ("both_protocols_at_once", Transports::Modern, both_protocols),
    ("wires_lead_from_one_protocol_to_the_other", Transports::Both, wired_across),
    ("what_the_device_refuses_is_named_and_the_rest_works", Transports::Modern, refusals),
    ("a_version_that_is_not_known_is_refused", Transports::Modern, version),
    ("a_lost_marking_of_the_original_device_is_survived", Transports::Modern, loses_without_buffer),
];

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

/// A scene with a draft device under the given ID, or the draft's own.
fn scene(setting: Setting, id: Option<u16>, lines: &[&str], options: Options) -> anyhow::Result<Scene> {
    let presentation = command(setting)?.program.presentation_of_draft(id, 256)?;
    let config_size = presentation.config_size().into();
    let chip = Chip::draft(names(lines), Options { config_size, ..options })?;
    Scene::new(setting, vec![(chip, presentation)])
}

/// The requests about a line, by type and value, in order.
fn requests(running: &Running, chip: usize, line: u16) -> Vec<(u16, i32)> {
    let of_line = |activity| match activity {
        Activity::Message { request, .. } if request.line == LineId(line) => Some((request.kind, request.value)),
        _ => None,
    };
    running.activities(chip).into_iter().filter_map(of_line).collect()
}

fn blink_and_edges(setting: Setting) -> anyhow::Result<()> {
    for id in [30, 41] {
        let options = Options { device_name: "bench".into(), ..Options::default() };
        let mut running = scene(setting, Some(id), &["led0", "button0", ""], options)?
            .append("count=3 period=200ms log=debug")
            .start()?;
        running.expect_line(&format!("GPIO (id {id}, draft), "))?;
        running.expect_line("gpio0: \"bench\" 3 lines: led0 button0 -")?;
        running.expect_line("DEBUG blink gpio0:0 led0 level=1")?;
        running.drive(0, 1, Level::High)?;
        running.expect_line("edge gpio0:1 button0 rising level=1 count=1")?;
        running.drive(0, 1, Level::Low)?;
        running.expect_line("edge gpio0:1 button0 falling level=0 count=2")?;
        running.expect_exit(0)?;
        running.expect_line("summary blinks=3 edges=2 errors=0 resets=0")?;
        // Acquired first, an output by one message with its level, given back as an input.
        let mut expected = vec![(RequestType::Request.code(), 0), (RequestType::DirectionOutput.code(), 0)];
        for _ in 0..3 {
            expected.extend([(RequestType::SetValue.code(), 1), (RequestType::SetValue.code(), 0)]);
        }
        expected.extend([(RequestType::SetValue.code(), 0), (RequestType::DirectionInput.code(), 0)]);
        let seen = requests(&running, 0, 0);
        ensure!(seen == expected, "expected {expected:?}, saw {seen:?}");
        let lost = running.activities(0).into_iter().any(|activity| matches!(activity, Activity::Lost(_)));
        ensure!(!lost, "a message found no receive buffer");
    }
    Ok(())
}

fn markings(setting: Setting) -> anyhow::Result<()> {
    for marking in Marking::ALL {
        let options = Options { marking, ..Options::default() };
        let mut running =
            scene(setting, None, &["led0", "button0"], options)?.append("count=2 period=200ms").start()?;
        let step = || -> anyhow::Result<()> {
            running.expect("the line to be watched", |records| {
                let get = |m: &Message| m.kind == RequestType::GetValue.code() && m.line == LineId(1);
                records
                    .iter()
                    .any(|r| matches!(&r.activity, Activity::Message { request, .. } if get(request)))
                    .then_some(())
            })?;
            running.expect_line("gpio0:")?;
            Ok(())
        };
        step().with_context(|| format!("{marking:?}"))?;
        // The answer to the question for the level is on its way; only then is the line watched.
        running.expect("the first beat", |records| {
            let set = |m: &Message| m.kind == RequestType::SetValue.code();
            records
                .iter()
                .any(|r| matches!(&r.activity, Activity::Message { request, .. } if set(request)))
                .then_some(())
        })?;
        running.drive(0, 1, Level::High)?;
        running.expect_line("edge gpio0:1 button0 rising level=1 count=1").with_context(|| format!("{marking:?}"))?;
        running.expect_exit(0).with_context(|| format!("{marking:?}"))?;
        running.expect_line("summary blinks=2 edges=1 errors=0 resets=0").with_context(|| format!("{marking:?}"))?;
    }
    Ok(())
}

/// What QEMU 9.0 to 10.1 shows: ID 41 and eight bytes of configuration, behind which all is ones.
fn short_configuration(setting: Setting) -> anyhow::Result<()> {
    let chip = Chip::draft(names(&["led0", "button0"]), Options { config_size: 8, ..Options::default() })?;
    let mut running = Scene::new(setting, vec![(chip, Presentation::Gpio)])?.append("count=2 period=40ms").start()?;
    running.expect_exit(0)?;
    running.expect_line("GPIO (id 41, draft), ")?;
    running.expect_line("gpio0: \"\" 2 lines: - -")?;
    running.expect_line("summary blinks=2 edges=0 errors=0 resets=0")?;
    Ok(())
}

fn levels(setting: Setting) -> anyhow::Result<()> {
    let mut running =
        scene(setting, None, &["led0", "button0"], Options::default())?.append("watch=1:high for=3s").start()?;
    running.expect_line("gpio0:")?;
    running.expect("the first beat", |records| {
        let set = |m: &Message| m.kind == RequestType::SetValue.code();
        records.iter().any(|r| matches!(&r.activity, Activity::Message { request, .. } if set(request))).then_some(())
    })?;
    running.drive(0, 1, Level::High)?;
    running.expect_line("edge gpio0:1 button0 high level=1 count=1")?;
    // Still high: the driver asks, since the device has nothing new to report.
    running.expect_line("edge gpio0:1 button0 high level=1 count=2")?;
    running.drive(0, 1, Level::Low)?;
    running.expect_exit(0)?;
    running.expect_no_line("level=0")
}

fn both_protocols(setting: Setting) -> anyhow::Result<()> {
    let shown = presentation(&command(setting)?, Protocol::Draft)?;
    let draft =
        Chip::draft(names(&["led0", "b0"]), Options { config_size: shown.config_size().into(), ..Options::default() })?;
    let ratified = Chip::ratified(names(&["led1", "b1"]), ratified::Options::default())?;
    let mut running = Scene::new(setting, vec![(draft, shown), (ratified, Presentation::Gpio)])?
        .append("count=5 period=400ms")
        .start()?;
    running.expect_line("(id 41, ratified)")?;
    running.expect_line("(id 30, draft)")?;
    for chip in [0, 1] {
        running.expect("the first beat on each", move |records| {
            let high = |activity: &Activity| match activity {
                Activity::Changed(change) => change.new_level() == Some(Level::High),
                _ => false,
            };
            records.iter().any(|r| r.chip == chip && high(&r.activity)).then_some(())
        })?;
        running.drive(chip, 1, Level::High)?;
    }
    running.expect_line("edge gpio1:1 b0 rising level=1 count=1")?;
    running.expect_line("edge gpio0:1 b1 rising level=1 count=1")?;
    running.expect_exit(0)?;
    running.expect_line("summary blinks=10 edges=2 errors=0 resets=0")?;
    Ok(())
}

/// What the guest drives on a device of one protocol comes in on one of the other.
fn wired_across(setting: Setting) -> anyhow::Result<()> {
    let shown = presentation(&command(setting)?, Protocol::Draft)?;
    let draft = Chip::draft(
        names(&["led0", "in0"]),
        Options { config_size: shown.config_size().into(), ..Options::default() },
    )?;
    let ratified = Chip::ratified(names(&["led0", "in0"]), ratified::Options::default())?;
    let mut running = Scene::new(setting, vec![(ratified, Presentation::Gpio), (draft, shown)])?
        .with_world(|world| {
            for (from, to) in [("gpio0:led0", "gpio1:in0"), ("gpio1:led0", "gpio0:in0")] {
                world.wire(Wire { inverted: true, ..Wire::new(world.find(from)?, world.find(to)?) })?;
            }
            Ok(())
        })?
        .append("count=5 period=100ms blink=gpio0:led0,gpio1:led0 watch=gpio0:in0,gpio1:in0")
        .start()?;
    running.expect_exit(0)?;
    let (led, input) = (LineId(0), LineId(1));
    for (from, to) in [(0, 1), (1, 0)] {
        running.expect_line(&format!("edge gpio{to}:1 in0 falling level=0"))?;
        let level = |record: Record| match record.activity {
            Activity::Changed(change) if [(from, led), (to, input)].contains(&(record.chip, change.line)) => {
                Some((change.line, change.new_level()?))
            }
            _ => None,
        };
        let changes: Vec<_> = running.trace.records().into_iter().filter_map(level).collect();
        let beat = [(led, Level::High), (input, Level::Low), (led, Level::Low), (input, Level::High)];
        let beats = changes.windows(beat.len()).filter(|window| *window == beat).count();
        ensure!(beats == 5, "expected five times {beat:?}, saw {changes:?}");
    }
    Ok(())
}

fn refusals(setting: Setting) -> anyhow::Result<()> {
    let refuse = |request, line, error| Refusal { request, line: Some(LineId(line)), error };
    let options = Options {
        refusals: vec![refuse(RequestType::Request, 0, 16), refuse(RequestType::SetValue, 1, 22)],
        ..Options::default()
    };
    let mut running =
        scene(setting, None, &["led0", "led1", "led2"], options)?.append("for=1s period=100ms").start()?;
    running.expect_exit(1)?;
    running.expect_line("gpio0:0 led0 cannot blink: The device answered with error -16 (EBUSY)")?;
    running.expect_line("gpio0:1 led1: The device answered with error -22 (EINVAL)")?;
    let beats = requests(&running, 0, 2).into_iter().filter(|&request| request == (RequestType::SetValue.code(), 1));
    ensure!(beats.count() >= 3, "the third line does not blink:\n{}", running.text());
    Ok(())
}

fn version(setting: Setting) -> anyhow::Result<()> {
    let options = Options { version: 2, ..Options::default() };
    let mut running = scene(setting, None, &["led0"], options)?.start()?;
    running.expect_exit(1)?;
    running.expect_line("refused: The draft's configuration has version 2; only 1 is known")?;
    Ok(())
}

/// The original device drops what finds no receive buffer; the driver always has one there.
fn loses_without_buffer(setting: Setting) -> anyhow::Result<()> {
    let options = Options { lose_without_buffer: true, ..Options::default() };
    let mut running = scene(setting, None, &["led0", "loop0"], options)?
        .with_world(|world| Ok(world.wire(Wire::new(world.find("led0")?, world.find("loop0")?))?))?
        .append("count=20 period=20ms")
        .start()?;
    running.expect_exit(0)?;
    running.expect_line("summary blinks=20 edges=40 errors=0 resets=0")?;
    Ok(())
}
