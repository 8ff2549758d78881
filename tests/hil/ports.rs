//! The ports of `ports/`: other kernels on the driver than the image.

use anyhow::ensure;
use gpio_model::bank::Change;
use gpio_model::observe::Activity;
use gpio_model::{draft, ratified};
use hil::scene::{Scene, Setting, command, presentation};
use vgpio::chip::Chip;
use vgpio::qemu::command::{Presentation, QemuCommand};
use vgpio::record::Record;
use virtio_gpio::{Level, LineId, Protocol};

use crate::{Entry, Transports};

pub(crate) const CASES: &[Entry] = &[("the_guides_port_blinks_and_is_interrupted_by_edges", Transports::Both, tiny)];

const LED: u16 = 0;
const BUTTON: u16 = 1;

/// Whether there are ports for a board.
pub(crate) fn are_for(board: &str) -> bool {
    board == "qemu-virt-riscv64"
}

/// The port of docs/porting.md, which is one for RISC-V, in front of a device of each protocol.
fn tiny(setting: Setting) -> anyhow::Result<()> {
    let image = command(setting)?.image.with_file_name("examples").join("port_tiny.elf");
    ensure!(image.is_file(), "There is no image at {}: run scripts/build --examples", image.display());
    let names = || vec!["led0".to_owned(), "button0".to_owned()];
    let draft_presentation = presentation(&command(setting)?, Protocol::Draft)?;
    let config_size = draft_presentation.config_size().into();
    let draft_options = draft::Options { config_size, ..draft::Options::default() };
    for (name, chip, presentation) in [
        ("ratified", Chip::ratified(names(), ratified::Options::default())?, Presentation::Gpio),
        ("draft", Chip::draft(names(), draft_options)?, draft_presentation),
    ] {
        let image = image.clone();
        let scene = Scene::new(setting, vec![(chip, presentation)])?;
        let mut running = scene.with_command(|command| QemuCommand { image, ..command }).start()?;
        running.expect_line(&format!("a {name} device with 2 lines"))?;
        let on = |change: Change| change.line == LineId(LED) && change.new_level() == Some(Level::High);
        let goes_on = |record: &&Record| matches!(record.activity, Activity::Changed(change) if on(change));
        let three_times = |records: &[Record]| (records.iter().filter(goes_on).count() >= 3).then_some(());
        running.expect("the LED to blink", three_times)?;
        for (level, line) in [
            (Level::High, "edge gpio0:1 - rising level=1 count=1"),
            (Level::Low, "edge gpio0:1 - falling level=0 count=2"),
        ] {
            running.drive(0, BUTTON, level)?;
            running.expect_line(line)?;
        }
        let done = running.expect_line("done, ")?;
        ensure!(!done.contains(" 0 interrupts"), "It polls: {done}");
        running.expect_exit(0)?;
    }
    Ok(())
}
