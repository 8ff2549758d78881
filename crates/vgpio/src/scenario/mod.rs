//! Scenarios: files that say what the world does to a guest, and what the guest must do.
//!
//! [`Scenario`] is what a file has in it, and [`File::read`] reads and checks one; what is wrong with it is a
//! [`problem::Problem`] with its place. How a scenario is run is the business of [`crate::runner`].

pub mod check;
pub mod fault;
pub mod layout;
pub mod problem;
pub mod step;
mod suggest;
pub mod value;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Deserialize;

use problem::{Problem, Problems};
use step::{LineName, Step};
use value::{At, RealLine, Time};

/// What a scenario with `append` needs.
const BOOT_ARGUMENTS: &str = "boot-arguments";

/// A scenario for a guest behind simulated GPIO devices.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(title = "Scenario of vgpio test")]
pub struct Scenario {
    /// The name; without it that of the file.
    pub name: Option<At<String>>,
    /// What it shows, in a sentence.
    #[serde(default)]
    pub description: String,
    /// The boards that it runs on; without it all.
    pub boards: Option<Vec<At<String>>>,
    /// The protocols that chips without one of their own speak in turn.
    #[serde(default = "both_protocols")]
    pub protocols: Vec<Protocol>,
    /// The versions of virtio-mmio that it runs on in turn.
    #[serde(default = "both_transports")]
    pub transports: Vec<Transport>,
    /// The guest's boot arguments.
    #[serde(default)]
    pub append: String,
    /// What not every guest has and this one must have, in words of your own; `--without WORD` skips the scenario. With
    /// `append` it needs `boot-arguments` anyway.
    #[serde(default)]
    pub needs: Vec<String>,
    /// The image to boot, from this file's folder; `{board}` stands for the board. Without it the project's own.
    pub image: Option<String>,
    /// The guest's memory in MiB.
    #[serde(default = "memory")]
    pub memory: u32,
    /// When the whole scenario has failed. It only ends a hang.
    #[serde(default = "timeout")]
    pub timeout: Time,
    /// What everything random comes from; `--seed` overrides it.
    #[serde(default = "seed")]
    pub seed: u64,
    /// The exit status that the guest must end with after the last step.
    pub exit: Option<At<i32>>,
    /// Texts that no console line may have in it.
    #[serde(default)]
    pub fail_serial: Vec<String>,
    /// The simulated devices. The guest finds them in this order.
    #[serde(default)]
    pub chips: Vec<Chip>,
    /// The wires between their lines.
    #[serde(default)]
    pub wires: Vec<Wire>,
    /// What the world does before the guest boots.
    #[serde(default)]
    pub setup: Vec<At<Step>>,
    /// What is done and expected, one after the other.
    #[serde(default)]
    pub steps: Vec<At<Step>>,
}

impl Scenario {
    /// Everything that it needs of its guest.
    pub fn all_needs(&self) -> impl Iterator<Item = &str> {
        let takes_arguments = (!self.append.is_empty()).then_some(BOOT_ARGUMENTS);
        self.needs.iter().map(String::as_str).chain(takes_arguments)
    }
}

fn both_protocols() -> Vec<Protocol> {
    vec![Protocol::Ratified, Protocol::Draft]
}

fn both_transports() -> Vec<Transport> {
    vec![Transport::Modern, Transport::Legacy]
}

fn memory() -> u32 {
    128
}

fn timeout() -> Time {
    Time(std::time::Duration::from_mins(1))
}

fn seed() -> u64 {
    1
}

/// What a chip speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// VIRTIO 1.2 and later, section 5.18.
    Ratified,
    /// The draft of 2020.
    Draft,
}

/// A version of virtio-mmio.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// Version 2.
    Modern,
    /// Version 1.
    Legacy,
}

/// How a draft device marks its replies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Marking {
    /// Bit 15.
    HighBit,
    /// Bits 12 to 15.
    HighNibble,
    /// OR'ed with `HOST_LEVEL`, as the draft's prose says.
    HostLevel,
    /// Not at all.
    Echo,
}

/// A simulated device.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Chip {
    /// The name that a draft device shows to the guest.
    #[serde(default)]
    pub name: String,
    /// What it speaks; without it each of the scenario's protocols in turn.
    pub protocol: Option<Protocol>,
    /// The names of the lines, from 0; `"-"` for a line without one.
    #[serde(default)]
    pub lines: Vec<At<String>>,
    /// The number of lines; those beyond the names have none.
    pub count: Option<At<u16>>,
    /// The lines that are not simulated but lines of the host, by their names or numbers: `led0 = "gpiochip0:17"`.
    #[serde(default)]
    pub host: BTreeMap<String, At<RealLine>>,
    /// Whether a ratified device can interrupt.
    #[serde(default = "yes")]
    pub interrupts: bool,
    /// Whether a ratified device is as strict as rust-vmm's vhost-device-gpio.
    #[serde(default)]
    pub strict: bool,
    /// How a draft device marks its replies.
    pub marking: Option<Marking>,
}

fn yes() -> bool {
    true
}

/// A wire: while the guest drives one line, that drives another.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Wire {
    /// The line that drives.
    pub from: LineName,
    /// The line that is driven.
    pub to: LineName,
    /// Whether the other end has the opposite level.
    #[serde(default)]
    pub inverted: bool,
    /// How much later a change arrives.
    pub delay: Option<Time>,
}

/// A scenario and where it comes from.
#[derive(Debug, Clone)]
pub struct File {
    /// The file.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
    /// What it says.
    pub scenario: Scenario,
}

impl File {
    /// Reads and checks a file.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it.
    pub fn read(path: &Path) -> Result<Self, Problems> {
        let read = std::fs::read_to_string(path);
        let text = read.map_err(|error| Problems::unreadable(path, &error))?;
        Self::parse(path, text)
    }

    /// Reads and checks the text of a file.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it.
    pub fn parse(path: &Path, text: String) -> Result<Self, Problems> {
        let (scenario, problems) = match toml::from_str(&text) {
            Ok(scenario) => {
                let problems = check::check(&scenario);
                (Some(scenario), problems)
            }
            Err(error) => (None, vec![Problem::of_toml(&error)]),
        };
        match scenario {
            Some(scenario) if problems.is_empty() => Ok(Self { path: path.to_owned(), text, scenario }),
            _ => Err(Problems { path: path.to_owned(), text, problems }),
        }
    }

    /// The scenario's name.
    pub fn name(&self) -> String {
        let stem = || self.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        self.scenario.name.as_ref().map_or_else(stem, ToString::to_string)
    }

    /// The line and the column of a byte, from 1.
    pub fn place(&self, byte: usize) -> (usize, usize) {
        problem::place(&self.text, byte)
    }
}

/// The schema of scenario files, for editors: JSON Schema, draft 7.
///
/// # Errors
///
/// When it cannot be written as JSON.
pub fn schema() -> serde_json::Result<String> {
    let schema = SchemaSettings::draft07().into_generator().into_root_schema_for::<Scenario>();
    serde_json::to_string_pretty(&schema)
}
