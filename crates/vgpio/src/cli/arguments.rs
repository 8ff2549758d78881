//! Arguments that describe a device and the world around it.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};
use gpio_model::{draft, ratified};
use vgpio::bridge::Bridge;
use vgpio::bridge::kernel::Kernel;
use vgpio::bridge::spec::{Assembly, Spec};
use vgpio::chip::Chip;
use vgpio::record::vcd::Waveform;
use vgpio::world::World;
use virtio_gpio::messages::draft::Marking;

use super::surroundings::Surroundings;

/// A device and the world around it.
#[derive(Debug, Clone, Args)]
pub(crate) struct WorldArguments {
    /// What the device speaks
    #[arg(long, value_enum, default_value_t = Protocol::Ratified)]
    pub(crate) protocol: Protocol,
    /// The number of lines; those beyond the names have none
    #[arg(long, value_name = "NUMBER")]
    pub(crate) lines: Option<u16>,
    /// The name of the next line, from 0; repeat it for each line; "-" for a line without a name
    #[arg(long = "line", value_name = "NAME", allow_hyphen_values = true)]
    pub(crate) names: Vec<String>,
    /// Real lines of this host's GPIO chips; repeat it for more
    ///
    /// CHIP is a number, a name (gpiochip0), a path or a label; LINE a number, a range (8-11) or a name; without lines it is all
    /// of the chip's. NAME is the guest's line: one of --line, or the number of one; otherwise a line is added, with that name
    /// or that of the host. Nothing that is not named can be reached.
    /// Options: pull-up, pull-down, no-pull; open-drain, open-source; active-low; debounce=TIME; safe=input|low|high|keep: what
    /// the line is left as when the guest leaves it, is reset or gone [input]; hold: do not give it back meanwhile; input-only:
    /// the guest may not drive it; control: the control socket, wires and buttons may; hotplug: the chip may come later
    #[arg(long = "chip", value_name = "CHIP[:LINE[=NAME][,...][/OPTION...]]", verbatim_doc_comment)]
    pub(crate) real: Vec<Spec>,
    #[command(flatten)]
    pub(crate) surroundings: Surroundings,
    /// Offer no interrupts (ratified protocol)
    #[arg(long)]
    no_irq: bool,
    /// Be as strict as rust-vmm's vhost-device-gpio (ratified protocol)
    #[arg(long)]
    strict: bool,
    /// The name of the device (draft)
    #[arg(long, value_name = "NAME", default_value = "vgpio")]
    name: String,
    /// How replies are marked (draft)
    #[arg(long, value_enum, default_value_t = MarkingArgument::HighBit)]
    marking: MarkingArgument,
    /// Bytes of the configuration space (draft)
    #[arg(long, value_name = "BYTES", default_value_t = 256, value_parser = clap::value_parser!(u16).range(8..=256))]
    pub(crate) config_size: u16,
    /// Lose messages for which there is no receive buffer, as the original device did (draft)
    #[arg(long)]
    lose_messages: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Protocol {
    /// VIRTIO 1.2 and later, section 5.18
    Ratified,
    /// "Virtio-GPIO protocol specification, version 1.0", of 2020
    Draft,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum MarkingArgument {
    /// Bit 15
    HighBit,
    /// Bits 12 to 15
    HighNibble,
    /// OR'ed with `HOST_LEVEL`, as the draft's prose says
    HostLevel,
    /// Not at all
    Echo,
}

impl From<MarkingArgument> for Marking {
    fn from(marking: MarkingArgument) -> Self {
        match marking {
            MarkingArgument::HighBit => Self::HighBit,
            MarkingArgument::HighNibble => Self::HighNibble,
            MarkingArgument::HostLevel => Self::HostLevel,
            MarkingArgument::Echo => Self::Echo,
        }
    }
}

impl WorldArguments {
    /// The world that was described.
    pub(crate) fn world(&self) -> anyhow::Result<World> {
        let names: Vec<String> =
            self.names.iter().map(|name| if name == "-" { String::new() } else { name.clone() }).collect();
        let default = if names.is_empty() && self.real.is_empty() { 8 } else { names.len() };
        let count = self.lines.map_or(default, usize::from);
        ensure!(count >= names.len(), "{} lines have names, but there are {count} lines", names.len());
        let mut names = names;
        names.resize(count, String::new());
        let mut assembly = Assembly::new(names);
        for spec in &self.real {
            assembly.add(spec, &mut Kernel)?;
        }
        let Assembly { names, real, .. } = assembly;
        let bridge = (!real.is_empty()).then(|| Bridge::new(Kernel, real, &names)).transpose()?;

        let chip = match self.protocol {
            Protocol::Ratified => {
                let quirks = if self.strict { ratified::Quirks::VHOST_DEVICE } else { ratified::Quirks::default() };
                Chip::ratified(
                    names,
                    ratified::Options { interrupts: !self.no_irq, quirks, ..ratified::Options::default() },
                )
            }
            Protocol::Draft => Chip::draft(
                names,
                draft::Options {
                    device_name: self.name.clone(),
                    config_size: self.config_size.into(),
                    marking: self.marking.into(),
                    lose_without_buffer: self.lose_messages,
                    ..draft::Options::default()
                },
            ),
        }?;
        let chip = match bridge {
            Some(bridge) => chip.bridged(bridge),
            None => chip,
        };
        let mut world = World::new(vec![chip]);
        self.surroundings.furnish(&mut world)?;
        Ok(world)
    }

    /// The same description as arguments, to be typed in.
    pub(crate) fn shown(&self) -> Vec<String> {
        let mut words = Vec::new();
        let mut add = |option: &str, value: String| words.extend([option.to_owned(), value]);
        let value = |value: &dyn Fn() -> Option<clap::builder::PossibleValue>| {
            value().map(|value| value.get_name().to_owned()).unwrap_or_default()
        };
        add("--protocol", value(&|| self.protocol.to_possible_value()));
        if let Some(lines) = self.lines {
            add("--lines", lines.to_string());
        }
        for name in &self.names {
            add("--line", name.clone());
        }
        for spec in &self.real {
            add("--chip", spec.to_string());
        }
        for [option, value] in self.surroundings.shown() {
            add(&option, value);
        }
        match self.protocol {
            Protocol::Ratified => {
                let flags = [(self.no_irq, "--no-irq"), (self.strict, "--strict")];
                words.extend(flags.into_iter().filter(|(set, _)| *set).map(|(_, flag)| flag.to_owned()));
            }
            Protocol::Draft => {
                add("--name", self.name.clone());
                add("--marking", value(&|| self.marking.to_possible_value()));
                add("--config-size", self.config_size.to_string());
                words.extend(self.lose_messages.then(|| "--lose-messages".to_owned()));
            }
        }
        words
    }
}

/// Records a waveform of the world into a file, whose folder is made if needed.
pub(crate) fn record_waveform(world: &mut World, path: &Path) -> anyhow::Result<()> {
    let cannot = || format!("Cannot write the waveform {}", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(cannot)?;
    }
    let file = BufWriter::new(File::create(path).with_context(cannot)?);
    let waveform = Waveform::begin(file, world.chips()).with_context(cannot)?;
    world.watch(waveform);
    Ok(())
}

/// A path as one types it in the present folder.
pub(crate) fn from_here(path: &Path) -> PathBuf {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(here).unwrap_or(path).to_owned()
}
