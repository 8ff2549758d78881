//! The port to C: a small kernel in C (`ports/c/demo`) in front of the device that the image has, with the same outcome. What
//! devices do wrong, and what boot arguments ask for, is in the scenarios, which `scripts/test` has it run as well.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use gpio_model::ratified;
use gpio_selftest::sabotage::Mistake;
use hil::scene::{Scene, Setting};
use vgpio::chip::Chip;
use vgpio::qemu::board::Board;
use vgpio::qemu::command::{Presentation, QemuCommand};
use vgpio::world::Wire;
use virtio_gpio::messages::ratified::Request;
use virtio_gpio::{Direction, InterruptType, Level, LineId};

use crate::{Entry, Transports};

pub(crate) const CASES: &[Entry] = &[
    ("it_blinks_reports_edges_and_ends", Transports::Both, blinks_and_edges),
    ("a_line_that_cannot_interrupt_is_not_watched", Transports::Modern, no_interrupts),
    ("every_check_of_the_self_test_passes", Transports::Modern, self_test),
    ("the_self_test_names_a_callback_that_is_wrong", Transports::Modern, broken_callbacks),
];

const KERNEL: &str = "port-c.elf";
const SELF_TEST: &str = "port-c-selftest.elf";

const LED: LineId = LineId(1);
const BUTTON: LineId = LineId(2);
const NAMES: [&str; 3] = ["x", "led0", "button0"];

fn image(board: &Board, name: &str) -> PathBuf {
    board.image().with_file_name(name)
}

/// Whether the kernel was built for that board.
pub(crate) fn is_there(board: &str) -> bool {
    Board::load(board).is_ok_and(|board| image(&board, KERNEL).is_file())
}

fn scene(setting: Setting, program: &str, chips: Vec<Chip>) -> anyhow::Result<Scene> {
    let image = image(&Board::load(setting.board)?, program);
    ensure!(image.is_file(), "There is no image at {}: run ports/c/build", image.display());
    let devices = chips.into_iter().map(|chip| (chip, Presentation::Gpio)).collect();
    Ok(Scene::new(setting, devices)?.with_command(|command| QemuCommand { image, ..command }))
}

/// The requests for both lines, and what is told of them: each blink is seen at the button, to which a wire leads.
fn blinks_and_edges(setting: Setting) -> anyhow::Result<()> {
    let chip = Chip::ratified(NAMES.map(String::from).to_vec(), ratified::Options::default())?;
    let mut running = scene(setting, KERNEL, vec![chip])?
        .with_world(|world| Ok(world.wire(Wire::new(world.find("led0")?, world.find("button0")?))?))?
        .append("blink=led0 watch=button0 period=40ms count=3 timeout=20s")
        .start()?;
    running.expect_exit(0)?;
    for (count, (level, edge)) in [(Level::High, "rising"), (Level::Low, "falling")].iter().cycle().take(6).enumerate()
    {
        running.expect_line(&format!("INFO  edge gpio0:2 button0 {edge} level={level} count={}", count + 1))?;
    }
    let summary = running.expect_line("INFO  summary blinks=3 edges=6 errors=0 resets=0 interrupts=")?;
    ensure!(!summary.contains("interrupts=0"), "It polls: {summary}");
    running.expect_no_line("ERROR")?;
    running.expect_no_line("WARN")?;
    let transport = if setting.modern { "modern" } else { "legacy" };
    running.expect_line(&format!("INFO  gpio0: ratified, {transport}"))?;
    // What the image sends as well: tests/hil/ratified.rs.
    let set = |level| Request::SetValue(LED, level);
    let mut expected = vec![set(Level::Low), Request::SetDirection(LED, Direction::Output)];
    for _ in 0..3 {
        expected.extend([set(Level::High), set(Level::Low)]);
    }
    expected.extend([set(Level::Low), Request::SetDirection(LED, Direction::None)]);
    let seen = running.accepted_requests(LED.0)?;
    ensure!(seen == expected, "expected {expected:#?}, saw {seen:#?}");
    // Levels are asked for between.
    let is_level = |request: &Request| matches!(request, Request::GetValue(_));
    let seen: Vec<Request> =
        running.accepted_requests(BUTTON.0)?.into_iter().filter(|request| !is_level(request)).collect();
    let direction = |direction| Request::SetDirection(BUTTON, direction);
    let watch = |kind| Request::SetInterruptType(BUTTON, kind);
    let expected = [
        direction(Direction::Input),
        watch(InterruptType::BothEdges),
        watch(InterruptType::None),
        direction(Direction::None),
    ];
    ensure!(seen == expected, "expected {expected:?}, saw {seen:?}");
    Ok(())
}

fn no_interrupts(setting: Setting) -> anyhow::Result<()> {
    let options = ratified::Options { interrupts: false, ..ratified::Options::default() };
    let chip = Chip::ratified(NAMES.map(String::from).to_vec(), options)?;
    let mut running = scene(setting, KERNEL, vec![chip])?.append("watch=button0").start()?;
    running.expect_exit(1)?;
    running.expect_line("ERROR cannot watch \"button0\": gpio0 cannot interrupt")?;
    ensure!(running.accepted_requests(BUTTON.0)?.is_empty(), "the line was touched");
    Ok(())
}

/// As on the image's seams: what a coherent machine does not show is skipped.
fn self_test(setting: Setting) -> anyhow::Result<()> {
    let mut running = scene(setting, SELF_TEST, Vec::new())?.start()?;
    running.expect_exit(0)?;
    running.expect_line("1..86")?;
    running.expect_line("# 78 passed, 0 failed, 8 skipped")?;
    running.expect_no_line("not ok")
}

fn broken_callbacks(setting: Setting) -> anyhow::Result<()> {
    for (callback, mistake) in [("clock", Mistake::ClockStandsStill), ("wait", Mistake::ClockSleepsThrough)] {
        let words = format!("selftest-break={callback}");
        let mut running = scene(setting, SELF_TEST, Vec::new())?.append(&words).start()?;
        running.expect_exit(1)?;
        let lines = running.console.lines();
        let first = lines.iter().find(|line| line.starts_with("not ok")).context("nothing failed")?;
        ensure!(first.contains(mistake.found_by()), "{callback} is found by {first:?}");
    }
    Ok(())
}
