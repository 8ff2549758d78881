//! A stage: the devices of a case, and the guest in front of them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use anyhow::Context;
use gpio_model::{draft, ratified};
use tempfile::TempDir;

use super::action;
use super::matrix::Case;
use crate::bridge::Bridge;
use crate::bridge::kernel::Kernel;
use crate::bridge::spec::Assembly;
use crate::chip::Chip;
use crate::qemu::command::{Presentation, QemuCommand};
use crate::qemu::guest::Guest;
use crate::record::log::Log;
use crate::record::vcd::Waveform;
use crate::scenario::layout::{self, Layout};
use crate::scenario::{self, Marking, Protocol, Transport};
use crate::server::{self, Handle};
use crate::world::{Wire, World};

/// Everything that runs for one case.
#[derive(Debug)]
pub(super) struct Stage {
    /// Before the devices, so that it ends first.
    pub(super) guest: Guest,
    pub(super) devices: Handle,
    pub(super) log: Log,
    /// Where the waveform is written.
    pub(super) waveform: PathBuf,
    /// What QEMU itself has to say.
    pub(super) messages: PathBuf,
    /// Everything in it goes when this is dropped.
    pub(super) folder: TempDir,
}

/// The command that a case starts QEMU with, whose sockets are in that folder.
pub(super) fn command(case: &Case, folder: &Path) -> anyhow::Result<QemuCommand> {
    let scenario = case.scenario();
    let mut command = QemuCommand::new(case.rig.program.clone(), case.rig.board.clone()).append(&scenario.append);
    command.image.clone_from(&case.image);
    command.modern = case.transport == Transport::Modern;
    command.memory = scenario.memory;
    // QEMU gives the first device the highest address, and guests count from the lowest.
    for (number, chip) in scenario.chips.iter().enumerate().rev() {
        let presentation = match chip.protocol.or(case.protocol) {
            Some(Protocol::Draft) => case.rig.draft.context("Nobody asked how this QEMU shows the draft")?,
            Some(Protocol::Ratified) | None => Presentation::Gpio,
        };
        command = command.device(&socket(folder, number), presentation);
    }
    Ok(command)
}

fn socket(folder: &Path, number: usize) -> PathBuf {
    folder.join(format!("{number}.sock"))
}

/// The world of a case as it is before the guest boots.
fn world(case: &Case, layout: &Layout) -> anyhow::Result<World> {
    let scenario = case.scenario();
    let chips = scenario.chips.iter().map(|chip| {
        let names = layout::names(chip);
        let bridge = bridge(chip, &names)?;
        let built = match chip.protocol.or(case.protocol) {
            Some(Protocol::Draft) => Chip::draft(
                names,
                draft::Options {
                    device_name: chip.name.clone(),
                    config_size: case.rig.draft.map_or(256, Presentation::config_size).into(),
                    marking: chip.marking.map_or(draft::Options::default().marking, Into::into),
                    ..draft::Options::default()
                },
            ),
            Some(Protocol::Ratified) | None => {
                let quirks = if chip.strict { ratified::Quirks::VHOST_DEVICE } else { ratified::Quirks::default() };
                let interrupts = chip.interrupts;
                Chip::ratified(names, ratified::Options { interrupts, quirks, ..ratified::Options::default() })
            }
        }?;
        Ok(match bridge {
            Some(bridge) => built.bridged(bridge),
            None => built,
        })
    });
    let mut world = World::new(chips.collect::<anyhow::Result<_>>()?);
    for wire in &scenario.wires {
        let place = |line: &str| layout.line(line).map_err(|unknown| anyhow::Error::msg(unknown.message));
        world.wire(Wire {
            from: place(&wire.from)?,
            to: place(&wire.to)?,
            inverted: wire.inverted,
            delay: wire.delay.map_or(Duration::ZERO, |time| time.0),
        })?;
    }
    Ok(world)
}

/// The bridge to the lines of the host that a chip has, if it has any.
fn bridge(chip: &scenario::Chip, names: &[String]) -> anyhow::Result<Option<Bridge>> {
    let mut assembly = Assembly::new(names.to_vec());
    for (name, real) in &chip.host {
        let line = layout::real_line(chip, name).with_context(|| format!("There is no line {name:?}"))?;
        assembly.bind_to(line, &real.0, &mut Kernel)?;
    }
    let real = assembly.real;
    (!real.is_empty()).then(|| Bridge::new(Kernel, real, names)).transpose()
}

impl From<Marking> for virtio_gpio::messages::draft::Marking {
    fn from(marking: Marking) -> Self {
        match marking {
            Marking::HighBit => Self::HighBit,
            Marking::HighNibble => Self::HighNibble,
            Marking::HostLevel => Self::HostLevel,
            Marking::Echo => Self::Echo,
        }
    }
}

impl Stage {
    /// Starts the devices, does what the scenario does before the boot, and boots the guest.
    pub(super) fn start(case: &Case, layout: &Layout) -> anyhow::Result<Self> {
        // The path of a socket has to be short, so it is not in the project's folder.
        let folder =
            tempfile::Builder::new().prefix("vgpio").tempdir().context("Cannot make a folder for the sockets")?;
        let mut command = command(case, folder.path())?;
        let messages = folder.path().join("qemu.log");
        command.messages = Some(messages.clone());
        let mut world = world(case, layout)?;
        let log = Log::default();
        world.watch(log.clone());
        let waveform = folder.path().join("wave.vcd");
        let cannot = || format!("Cannot write the waveform {}", waveform.display());
        let file = std::io::BufWriter::new(std::fs::File::create(&waveform).with_context(cannot)?);
        world.watch(Waveform::begin(file, world.chips()).with_context(cannot)?);
        for (number, step) in case.scenario().setup.iter().enumerate() {
            if let Some(action) = action::of_step(step, layout, seed_of_step(case.seed, number))? {
                action(&mut world, Duration::ZERO)?;
            }
        }
        let sockets = (0..case.scenario().chips.len()).map(|number| socket(folder.path(), number)).collect();
        // It stays until the last console line was heard.
        let devices =
            server::start(world, &server::Options { sockets, persistent: true, ..server::Options::default() })?;
        let guest = Guest::start_heard(&command, devices.console())?;
        Ok(Self { guest, devices, log, waveform, messages, folder })
    }

    /// Does something to the world; before that, the world does all that is due. Returns the position in the log before it
    /// and after it, and the time.
    pub(super) fn act(&self, action: action::Action) -> anyhow::Result<(usize, usize, Duration)> {
        let log = self.log.clone();
        self.devices.with(move |world, now| {
            world.advance(now);
            world.settle(now);
            let before = log.position();
            action(world, now)?;
            world.settle(now);
            Ok((before, log.position(), now))
        })?
    }

    /// The world's time. All that happened until then is in the log.
    pub(super) fn now(&self) -> anyhow::Result<Duration> {
        let (_, _, now) = self.act(Box::new(|_, _| Ok(())))?;
        Ok(now)
    }
}

/// The seed of one step, so that no two of them are alike. `step` counts those of the set-up first, from 0.
pub fn seed_of_step(seed: u64, step: usize) -> u64 {
    seed.wrapping_mul(1_000_003).wrapping_add(u64::try_from(step).unwrap_or(u64::MAX))
}

/// What stops a run early: the number of a signal, or 0.
#[derive(Debug, Clone, Default)]
pub struct Interruption(Arc<AtomicI32>);

impl Interruption {
    /// Stops all that runs. The first signal counts.
    pub fn interrupt(&self, signal: i32) {
        let _ = self.0.compare_exchange(0, signal, Ordering::SeqCst, Ordering::SeqCst);
    }

    /// The signal that stopped the run.
    pub fn signal(&self) -> Option<i32> {
        Some(self.0.load(Ordering::SeqCst)).filter(|signal| *signal != 0)
    }
}
