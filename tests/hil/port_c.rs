//! The port to C: a small kernel in C (`ports/c/demo`) in front of the device that the image has, with the same outcome.

use std::path::PathBuf;

use anyhow::ensure;
use gpio_model::{draft, ratified};
use hil::scene::{Running, Scene, Setting, command, presentation};
use vgpio::chip::Chip;
use vgpio::fault::{AnswerFault, QueueFault};
use vgpio::qemu::board::Board;
use vgpio::qemu::command::{Presentation, QemuCommand};
use virtio_gpio::messages::ratified::Request;
use virtio_gpio::{Direction, InterruptType, Level, LineId, Protocol};

use crate::{Entry, Transports};

pub(crate) const CASES: &[Entry] = &[
    ("it_blinks_reports_edges_and_ends", Transports::Both, blinks_and_edges),
    ("it_speaks_the_draft", Transports::Modern, speaks_the_draft),
    ("it_goes_on_after_a_broken_queue", Transports::Modern, recovers),
    ("without_a_gpio_device_it_says_so_and_fails", Transports::Modern, no_device),
    ("without_interrupts_it_says_so_and_fails", Transports::Modern, no_interrupts),
    ("refused_requests_are_said_and_fail", Transports::Modern, refused),
];

const LED: LineId = LineId(1);
const BUTTON: LineId = LineId(2);
/// Not the numbers that the program takes where it does not find its names.
const NAMES: [&str; 3] = ["x", "led0", "button0"];

fn image(board: &Board) -> PathBuf {
    board.image().with_file_name("port-c.elf")
}

/// Whether the kernel was built for that board.
pub(crate) fn is_there(board: &str) -> bool {
    Board::load(board).is_ok_and(|board| image(&board).is_file())
}

fn start(setting: Setting, devices: Vec<(Chip, Presentation)>) -> anyhow::Result<Running> {
    let image = image(&Board::load(setting.board)?);
    ensure!(image.is_file(), "There is no image at {}: run ports/c/build", image.display());
    Scene::new(setting, devices)?.with_command(|command| QemuCommand { image, ..command }).start()
}

fn ratified_chip(options: ratified::Options) -> anyhow::Result<Vec<(Chip, Presentation)>> {
    let chip = Chip::ratified(NAMES.map(String::from).to_vec(), options)?;
    Ok(vec![(chip, Presentation::Gpio)])
}

/// Drives the button up, down and up, each time when the last edge was told.
fn press(running: &Running) -> anyhow::Result<()> {
    running.expect_line("INFO  watching gpio0:2")?;
    for (count, (level, edge)) in
        [(Level::High, "rising"), (Level::Low, "falling"), (Level::High, "rising")].iter().enumerate()
    {
        running.drive(0, BUTTON.0, *level)?;
        running.expect_line(&format!("INFO  edge gpio0:2 {edge} level={level} count={}", count + 1))?;
    }
    Ok(())
}

fn ends_well(running: &mut Running) -> anyhow::Result<()> {
    running.expect_exit(0)?;
    let summary = running.expect_line("INFO  summary blinks=3 edges=3 interrupts=")?;
    ensure!(!summary.contains("interrupts=0"), "It polls: {summary}");
    running.expect_no_line("ERROR")
}

fn blinks_and_edges(setting: Setting) -> anyhow::Result<()> {
    let mut running = start(setting, ratified_chip(ratified::Options::default())?)?;
    press(&running)?;
    ends_well(&mut running)?;
    running.expect_no_line("WARN")?;
    let transport = if setting.modern { "modern" } else { "legacy" };
    running.expect_line(&format!("INFO  gpio0: 3 lines, ratified, {transport}"))?;
    // What the image sends as well: tests/hil/ratified.rs.
    let set = |level| Request::SetValue(LED, level);
    let mut expected = vec![set(Level::Low), Request::SetDirection(LED, Direction::Output)];
    for _ in 0..3 {
        expected.extend([set(Level::High), set(Level::Low)]);
    }
    expected.push(Request::SetDirection(LED, Direction::None));
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

fn speaks_the_draft(setting: Setting) -> anyhow::Result<()> {
    let presentation = presentation(&command(setting)?, Protocol::Draft)?;
    let options = draft::Options { config_size: presentation.config_size().into(), ..draft::Options::default() };
    let chip = Chip::draft(NAMES.map(String::from).to_vec(), options)?;
    let mut running = start(setting, vec![(chip, presentation)])?;
    press(&running)?;
    ends_well(&mut running)?;
    running.expect_no_line("WARN")?;
    running.expect_line("INFO  gpio0: 3 lines, draft, modern")?;
    Ok(())
}

fn recovers(setting: Setting) -> anyhow::Result<()> {
    let mut running = start(setting, ratified_chip(ratified::Options::default())?)?;
    running.expect_line("INFO  watching gpio0:2")?;
    running.with_chip(0, |chip| chip.spoil_queue(1, QueueFault::Jump(1000)))?;
    running.expect_line("WARN  gpio0: recovered")?;
    press(&running)?;
    ends_well(&mut running)
}

fn no_device(setting: Setting) -> anyhow::Result<()> {
    let mut running = start(setting, Vec::new())?;
    running.expect_exit(1)?;
    running.expect_line("ERROR no GPIO device")?;
    Ok(())
}

fn no_interrupts(setting: Setting) -> anyhow::Result<()> {
    let options = ratified::Options { interrupts: false, ..ratified::Options::default() };
    let mut running = start(setting, ratified_chip(options)?)?;
    running.expect_exit(1)?;
    running.expect_line("INFO  blink gpio0:1 level=0")?;
    running.expect_line("ERROR watch: the device cannot interrupt")?;
    Ok(())
}

fn refused(setting: Setting) -> anyhow::Result<()> {
    let mut devices = ratified_chip(ratified::Options::default())?;
    for (chip, _) in &mut devices {
        chip.spoil_answers(AnswerFault::Status(1), 1, Request::SetValue(LED, Level::High))?;
    }
    let mut running = start(setting, devices)?;
    running.expect_exit(1)?;
    running.expect_line("ERROR blink: the device refused the request")?;
    Ok(())
}
