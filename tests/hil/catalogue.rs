//! Rows of the fault catalogue that the other files do not show; `docs/faults.md` has the whole table. Names carry the row.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context, ensure};
use gpio_model::names::Names;
use gpio_model::observe::Activity;
use gpio_model::ratified::Options;
use hil::scene::{PATIENCE, Running, Scene, Setting};
use vgpio::chip::Chip;
use vgpio::fault::{AnswerFault, QueueFault};
use vgpio::qemu::command::Presentation;
use vgpio::record::Record;
use virtio_gpio::messages::ratified::Request;
use virtio_gpio::{Level, LineId};

use crate::{Entry, Transports};

pub(crate) const CASES: &[Entry] = &[
    ("a6_b9_answers_in_another_order_reach_their_owners", Transports::Modern, other_order),
    ("a11_a12_a_queue_that_the_device_scribbles_on_works", Transports::Both, scribbled),
    ("a13_an_answer_that_is_rewritten_is_one_or_the_other", Transports::Modern, rewritten),
    ("a14_no_notification_is_lost_across_the_wrap", Transports::Modern, wrap),
    ("a15_a_full_ring_is_served_and_an_edge_with_it", Transports::Modern, full_ring),
    ("d1_a_device_without_lines_is_refused", Transports::Both, no_lines),
    ("d4_names_that_are_too_many_bytes_are_left_out", Transports::Modern, long_names),
    ("d5_d6_a_names_block_that_makes_no_sense_is_made_harmless", Transports::Modern, odd_names),
    ("e4_an_event_that_was_not_asked_for_breaks_the_queue", Transports::Modern, stray_event),
    ("e7_a_burst_of_edges_leaves_the_right_level_behind", Transports::Modern, burst),
    ("f5_a_machine_that_is_reset_finds_its_device_again", Transports::Both, warm_reset),
];

const FIRST: LineId = LineId(0);
const INPUT: LineId = LineId(2);

fn scene_of(setting: Setting, chip: Chip) -> anyhow::Result<Scene> {
    Scene::new(setting, vec![(chip, Presentation::Gpio)])
}

/// Two outputs and an input.
fn scene(setting: Setting) -> anyhow::Result<Scene> {
    let lines = ["led0", "led1", "button0"].map(str::to_owned).to_vec();
    scene_of(setting, Chip::ratified(lines, Options::default())?)
}

/// How often a line was told to take a level.
fn told(records: &[Record], line: u16, level: Level) -> usize {
    let request = Request::SetValue(LineId(line), level);
    let is_it =
        |record: &&Record| matches!(record.activity, Activity::Request { request: seen, .. } if seen == Ok(request));
    records.iter().filter(is_it).count()
}

fn unmasked(running: &Running, times: usize) -> anyhow::Result<()> {
    running.expect("the line to be unmasked", |records| {
        let seen = records.iter().filter(|record| matches!(record.activity, Activity::Unmasked(_))).count();
        (seen >= times).then_some(())
    })
}

/// The answer for the first line comes behind several of the second line's, and in time.
fn other_order(setting: Setting) -> anyhow::Result<()> {
    let mut running = scene(setting)?.append("watch=none count=6 period=100ms timeout=50s log=debug").start()?;
    running.expect_line("blink gpio0:0 led0 level=1")?;
    running.with_chip(0, |chip| chip.set_mute(FIRST, true))?;
    let before = told(&running.trace.records(), 1, Level::High);
    running
        .expect("the second line to go on", |records| (told(records, 1, Level::High) >= before + 2).then_some(()))?;
    running.with_chip(0, |chip| chip.set_mute(FIRST, false))?;
    running.expect_exit(0)?;
    running.expect_line("summary blinks=12 edges=0 errors=0 resets=0")?;
    Ok(())
}

fn scribbled(setting: Setting) -> anyhow::Result<()> {
    let mut running = scene(setting)?.append("watch=button0 count=30 period=100ms log=debug").start()?;
    unmasked(&running, 1)?;
    for (level, count) in [(Level::High, 1), (Level::Low, 2), (Level::High, 3), (Level::Low, 4)] {
        running.with_chip(0, |chip| [0, 1].map(|queue| chip.spoil_queue(queue, QueueFault::Scribble)))?;
        let before = told(&running.trace.records(), 1, Level::High);
        running.expect("a beat behind it", |records| (told(records, 1, Level::High) > before).then_some(()))?;
        running.drive(0, INPUT.0, level)?;
        running.expect_line(&format!("level={level} count={count}"))?;
        unmasked(&running, count + 1)?;
    }
    running.expect_exit(0)?;
    running.expect_line("summary blinks=60 edges=4 errors=0 resets=0")?;
    Ok(())
}

/// Each answer to a change is OK first, and then a status that does not exist. Which of the two the guest sees is a race;
/// it does not mix them, and believes every other answer.
fn rewritten(setting: Setting) -> anyhow::Result<()> {
    let mut running = scene(setting)?
        .with_world(|world| {
            let is_first = Request::SetValue(FIRST, Level::High);
            Ok(world.chip_mut(0).context("no device")?.spoil_answers(AnswerFault::Rewritten(9), 20, is_first)?)
        })?
        .append("watch=none count=10 period=40ms log=debug")
        .start()?;
    running.expect_exit(0)?;
    running.expect_line("summary blinks=20 ")?;
    for line in running.console.lines().iter().filter(|line| line.contains("ERROR")) {
        ensure!(line.contains("gpio0:0 led0: The response has the invalid status 9"), "{line}");
    }
    Ok(())
}

/// More requests than the 65,536 of an index, thirty with each notification.
fn wrap(setting: Setting) -> anyhow::Result<()> {
    const LINES: u16 = 30;
    const BEATS: usize = 1100;
    let lines = (0..LINES).map(|line| format!("led{line}")).collect();
    let mut running = scene_of(setting, Chip::ratified(lines, Options::default())?)?
        .append(&format!("watch=none count={BEATS} period=2us timeout=50s"))
        .start()?;
    // Work for some seconds, or for minutes on a machine that is busy with other things.
    let status = running.guest.wait(5 * PATIENCE).with_context(|| running.text())?;
    ensure!(status.success(), "{status}:\n{}", running.text());
    running.expect_line(&format!("summary blinks={} edges=0 errors=0 resets=0", usize::from(LINES) * BEATS))?;
    running.expect_no_line("odd device")?;
    let seen = running.trace.records();
    for line in 0..LINES {
        ensure!(told(&seen, line, Level::High) == BEATS, "line {line}");
    }
    Ok(())
}

/// The device looks at nothing until all of the guest's request slots are taken.
fn full_ring(setting: Setting) -> anyhow::Result<()> {
    let mut lines: Vec<String> = (0..30).map(|line| format!("led{line}")).collect();
    lines.push("button0".to_owned());
    let button = 30;
    let mut running = scene_of(setting, Chip::ratified(lines, Options::default())?)?
        .append("watch=button0 period=100ms timeout=50s log=debug")
        .start()?;
    unmasked(&running, 1)?;
    running.expect_line("blink gpio0:29 led29 level=1")?;
    running.with_chip(0, |chip| chip.set_stalled(true))?;
    running.drive(0, button, Level::High)?;
    // As many beats as it takes to fill the slots; what happens then does not depend on it.
    std::thread::sleep(Duration::from_millis(300));
    running.with_chip(0, |chip| chip.set_stalled(false))?;
    running.expect_line("edge gpio0:30 button0 rising level=1 count=1")?;
    let before = running.trace.records().len();
    running.expect("all lines to go on", |records| {
        let after = records.get(before..)?;
        (0..30).all(|line| told(after, line, Level::High) > 0).then_some(())
    })?;
    running.expect_no_line("resetting it")?;
    running.guest.end();
    Ok(())
}

fn no_lines(setting: Setting) -> anyhow::Result<()> {
    let mut running = scene_of(setting, Chip::ratified(Vec::new(), Options::default())?)?.start()?;
    running.expect_exit(1)?;
    running.expect_line("refused: The device has no lines")?;
    Ok(())
}

/// Names of 300 bytes each, and a block of a mebibyte for one line.
fn long_names(setting: Setting) -> anyhow::Result<()> {
    for (block, lines, room) in [([[b'x'; 300], [b'y'; 300]].concat(), 2_u16, 128), (vec![b'z'; 1 << 20], 1, 64)] {
        let size = block.len();
        let options = Options { names: Names::from_raw(block), ..Options::default() };
        let mut running =
            scene_of(setting, Chip::with_names_block(lines, options))?.append("count=2 period=40ms").start()?;
        running.expect_exit(0)?;
        running.expect_line(&format!("The names block of {size} bytes is larger than the {room} bytes kept for it"))?;
        running.expect_line("its lines can be used by number")?;
        running.expect_line("summary blinks=2 edges=0 errors=0 resets=0")?;
    }
    Ok(())
}

/// Not terminated, too few, too many, empty, not ASCII, with control characters, twice the same.
fn odd_names(setting: Setting) -> anyhow::Result<()> {
    let blocks: [(&[u8], &str); 6] = [
        (b"a\0b\0c", "3 lines: a b c"),
        (b"a\0", "3 lines: a - -"),
        (b"a\0b\0c\0d\0e\0", "3 lines: a b c"),
        (b"\0\0c\0", "3 lines: - - c"),
        (b"\x1b[2J\0\xc3\xa4\0\r\n\0", "3 lines: \\x1b[2J \\xc3\\xa4 \\x0d\\x0a"),
        (b"twin\0twin\0x\0", "3 lines: twin twin x"),
    ];
    for (block, shown) in blocks {
        let options = Options { names: Names::from_raw(block.to_vec()), ..Options::default() };
        let blink = if block.starts_with(b"twin") { "twin" } else { "0" };
        let mut running = scene_of(setting, Chip::with_names_block(3, options))?
            .append(&format!("blink={blink} watch=none count=1 period=40ms"))
            .start()?;
        running.expect_exit(0).with_context(|| shown.to_owned())?;
        running.expect_line(shown)?;
        running.expect_line("summary blinks=1 edges=0 errors=0 resets=0")?;
        ensure!(told(&running.trace.records(), 0, Level::High) == 1, "the first of two lines of a name is meant");
    }
    Ok(())
}

fn stray_event(setting: Setting) -> anyhow::Result<()> {
    let mut running = scene(setting)?.append("watch=button0 for=2s period=100ms").start()?;
    unmasked(&running, 1)?;
    running.with_chip(0, |chip| chip.spoil_queue(1, QueueFault::Element(50)))?;
    running.expect_line("WARN  gpio0: queue 1 broken: used id 50 is not in flight; resetting it")?;
    running.expect_line("gpio0: recovered, every line is as it was")?;
    unmasked(&running, 2)?;
    running.drive(0, INPUT.0, Level::High)?;
    running.expect_line("edge gpio0:2 button0 rising level=1 count=1")?;
    running.expect_exit(0)?;
    let summary = running.expect_line("summary ")?;
    ensure!(summary.contains("edges=1 ") && summary.contains("resets=1"), "{summary}");
    Ok(())
}

/// 101 edges in no time: the device merges those that come while the line is masked. The guest's edges alternate, and the
/// last one leads to the level that there is.
fn burst(setting: Setting) -> anyhow::Result<()> {
    let mut running = scene(setting)?.append("blink=none watch=button0 for=2s").start()?;
    unmasked(&running, 1)?;
    let devices = running.devices.as_ref().context("no devices")?;
    devices.with(|world, now| -> anyhow::Result<()> {
        let button = world.find("button0")?;
        for edge in 0..101 {
            world.drive(now, button, Some(Level::from(edge % 2 == 0)))?;
        }
        Ok(())
    })??;
    running.expect_line("edge gpio0:2 button0 rising level=1 count=1")?;
    running.expect_exit(0)?;
    let lines = running.console.lines();
    let rising: Vec<bool> =
        lines.iter().filter(|line| line.contains("edge gpio0:2")).map(|line| line.contains(" rising ")).collect();
    ensure!(rising.iter().enumerate().all(|(number, rising)| *rising == (number % 2 == 0)), "{}", running.text());
    ensure!(rising.len() % 2 == 1, "the line is high at the end:\n{}", running.text());
    Ok(())
}

/// The same device process, a second time.
fn warm_reset(setting: Setting) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("qmp.sock");
    let qmp = format!("unix:{},server=on,wait=off", socket.display());
    let mut running = scene(setting)?
        .with_command(|command| command.arg("-qmp").arg(qmp))
        .append("watch=none for=2s period=100ms")
        .start()?;
    running.expect("a beat", |records| (told(records, 1, Level::High) > 0).then_some(()))?;
    let mut control = UnixStream::connect(&socket)?;
    control.set_read_timeout(Some(PATIENCE))?;
    let mut answers = BufReader::new(control.try_clone()?).lines();
    for command in ["qmp_capabilities", "system_reset"] {
        writeln!(control, "{{\"execute\": \"{command}\"}}")?;
        let done = answers.by_ref().find(|line| line.as_ref().is_ok_and(|line| line.contains("\"return\"")));
        done.with_context(|| format!("QEMU does not answer to {command}"))??;
    }
    running.expect_exit(0)?;
    let boots = running.text().matches("gpio0: \"\" 3 lines: led0 led1 button0").count();
    ensure!(boots == 2, "it has booted {boots} times:\n{}", running.text());
    let summary = running.expect_line("summary ")?;
    ensure!(summary.contains("edges=0 errors=0 resets=0"), "{summary}");
    Ok(())
}
