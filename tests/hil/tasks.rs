//! The image of tasks: the default application's work on an executor.

use anyhow::ensure;
use gpio_model::bank::Change;
use gpio_model::observe::Activity;
use gpio_model::{draft, ratified};
use hil::scene::{Running, Scene, Setting, command, presentation};
use vgpio::chip::Chip;
use vgpio::qemu::command::{Presentation, QemuCommand};
use vgpio::record::Record;
use virtio_gpio::messages::ratified::Request;
use virtio_gpio::{Direction, InterruptType, Level, LineId, Protocol};

use crate::{Entry, Transports};

pub(crate) const CASES: &[Entry] = &[
    ("blink_and_edges_and_an_end_of_a_ratified_device", Transports::Both, ratified),
    ("blink_and_edges_and_an_end_of_a_draft_device", Transports::Modern, draft),
    ("two_chips_have_tasks_of_their_own", Transports::Modern, both),
    ("tasks_go_on_after_a_reset", Transports::Modern, reset),
];

const NAMES: [&str; 3] = ["led0", "button0", "end"];
const LED: u16 = 0;
const BUTTON: u16 = 1;
const END: u16 = 2;

fn names() -> Vec<String> {
    NAMES.map(str::to_string).into()
}

fn ratified_chip() -> anyhow::Result<(Chip, Presentation)> {
    Ok((Chip::ratified(names(), ratified::Options::default())?, Presentation::Gpio))
}

fn draft_chip(setting: Setting) -> anyhow::Result<(Chip, Presentation)> {
    let presentation = presentation(&command(setting)?, Protocol::Draft)?;
    let config_size = presentation.config_size().into();
    Ok((Chip::draft(names(), draft::Options { config_size, ..draft::Options::default() })?, presentation))
}

/// Boots the example in front of devices with the lines that it looks for.
fn start(setting: Setting, devices: Vec<(Chip, Presentation)>) -> anyhow::Result<Running> {
    let image = command(setting)?.image.with_file_name("examples").join("async_blink.elf");
    ensure!(image.is_file(), "There is no image at {}: run scripts/build --examples", image.display());
    Scene::new(setting, devices)?.with_command(|command| QemuCommand { image, ..command }).start()
}

/// A device's place in the world, and its number in the guest.
#[derive(Clone, Copy)]
struct Both {
    chip: usize,
    gpio: usize,
}

const ONLY: Both = Both { chip: 0, gpio: 0 };

/// Presses the button three times while the LED blinks, and waits until the guest has told of each edge.
fn press(running: &Running, Both { chip, gpio }: Both, before: u32) -> anyhow::Result<()> {
    let edges = [(Level::High, "rising"), (Level::Low, "falling")].into_iter().cycle().take(6);
    for ((level, edge), count) in edges.zip(before + 1..) {
        running.drive(chip, BUTTON, level)?;
        running.expect_line(&format!("edge gpio{gpio}:{BUTTON} button0 {edge} level={level} count={count}"))?;
    }
    Ok(())
}

/// Waits until the LED has gone on as many times more.
fn blinks(running: &Running, Both { chip, .. }: Both, times: usize) -> anyhow::Result<()> {
    let goes_on = |record: &&Record| {
        let on = |change: Change| change.line == LineId(LED) && change.new_level() == Some(Level::High);
        record.chip == chip && matches!(record.activity, Activity::Changed(change) if on(change))
    };
    let count = |records: &[Record]| records.iter().filter(goes_on).count();
    let before = count(&running.trace.records());
    running.expect("the LED to blink", |records| (count(records) >= before + times).then_some(()))
}

fn end(running: &mut Running, devices: &[Both]) -> anyhow::Result<()> {
    for &Both { chip, gpio } in devices {
        running.drive(chip, END, Level::High)?;
        running.expect_line(&format!("gpio{gpio}: summary blinks="))?;
    }
    running.expect_exit(0)?;
    running.expect_no_line("ERROR")
}

fn ratified(setting: Setting) -> anyhow::Result<()> {
    let mut running = start(setting, vec![ratified_chip()?])?;
    blinks(&running, ONLY, 2)?;
    press(&running, ONLY, 0)?;
    blinks(&running, ONLY, 2)?;
    end(&mut running, &[ONLY])?;
    // The button is watched once, for both edges. What was dropped was released: first its interrupt, then its use.
    let button = LineId(BUTTON);
    let seen = running.accepted_requests(BUTTON)?;
    let kinds: Vec<_> = seen.iter().filter(|request| matches!(request, Request::SetInterruptType(..))).collect();
    let both = Request::SetInterruptType(button, InterruptType::BothEdges);
    let none = Request::SetInterruptType(button, InterruptType::None);
    ensure!(kinds == [&both, &none], "{kinds:?}");
    for line in [LED, BUTTON, END] {
        let last = running.accepted_requests(line)?.pop();
        ensure!(last == Some(Request::SetDirection(LineId(line), Direction::None)), "{line}: {last:?}");
    }
    Ok(())
}

fn draft(setting: Setting) -> anyhow::Result<()> {
    let mut running = start(setting, vec![draft_chip(setting)?])?;
    running.expect_line(", draft), ")?;
    blinks(&running, ONLY, 2)?;
    press(&running, ONLY, 0)?;
    blinks(&running, ONLY, 2)?;
    end(&mut running, &[ONLY])
}

fn both(setting: Setting) -> anyhow::Result<()> {
    // QEMU gives the first device the highest address, so that it is the guest's last.
    let devices = [Both { chip: 0, gpio: 1 }, Both { chip: 1, gpio: 0 }];
    let mut running = start(setting, vec![ratified_chip()?, draft_chip(setting)?])?;
    for device in devices {
        blinks(&running, device, 2)?;
        press(&running, device, 0)?;
    }
    end(&mut running, &devices)
}

/// A device that does not answer is reset, under requests and waits.
fn reset(setting: Setting) -> anyhow::Result<()> {
    let mut running = start(setting, vec![ratified_chip()?])?;
    blinks(&running, ONLY, 2)?;
    press(&running, ONLY, 0)?;
    running.with_chip(0, |chip| chip.set_stalled(true))?;
    running.expect_line("Resetting(Unresponsive)")?;
    running.with_chip(0, |chip| chip.set_stalled(false))?;
    running.expect_line("Recovered")?;
    blinks(&running, ONLY, 2)?;
    press(&running, ONLY, 6)?;
    end(&mut running, &[ONLY])
}
