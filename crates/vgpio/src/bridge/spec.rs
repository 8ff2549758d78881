//! How real lines are written: `CHIP[:LINES[/OPTION...]]`, for instance `gpiochip0:17=led0,5-8/pull-up/debounce=5ms`.

use std::collections::HashSet;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use anyhow::{Context, bail, ensure};
use virtio_gpio::messages::{Level, LineId};

use super::Binding;
use super::host::{Bias, Drive, Host, HostError, Problem, Safe, Setup};
use crate::duration;

/// What is expected where somebody writes real lines.
pub const EXPECTED: &str = "CHIP[:LINE[=NAME][,...][/OPTION...]]";

/// Some lines of one chip of the host, and how they are set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    text: String,
    chip: String,
    /// `None` for all lines.
    items: Option<Vec<Item>>,
    setup: Setup,
    /// The chip may come later.
    hotplug: bool,
}

/// Some of the lines of a chip.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Item {
    on_host: OnHost,
    /// The guest's line, by its name or its number.
    in_guest: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum OnHost {
    Numbers(RangeInclusive<u32>),
    Name(String),
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Spec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (chip, rest) = text.split_once(':').map_or((text, None), |(chip, rest)| (chip, Some(rest)));
        if chip.is_empty() {
            return Err(format!("expected {EXPECTED}, and the chip is missing"));
        }
        let mut parts = rest.unwrap_or("*").split('/');
        let items = match parts.next().unwrap_or_default() {
            "*" => None,
            lines => Some(lines.split(',').map(str::parse).collect::<Result<_, _>>()?),
        };
        let mut spec =
            Self { text: text.to_owned(), chip: chip.to_owned(), items, setup: Setup::default(), hotplug: false };
        for option in parts {
            spec.set(option)?;
        }
        spec.check()?;
        Ok(spec)
    }
}

impl FromStr for Item {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (line, in_guest) = match text.split_once('=') {
            Some((line, name)) => (line, Some(name.to_owned())),
            None => (text, None),
        };
        if line.is_empty() || in_guest.as_ref().is_some_and(String::is_empty) {
            return Err(format!("expected {EXPECTED}, and a line is missing in {text:?}"));
        }
        let number = |text: &str| text.parse::<u32>().ok();
        let range = line.split_once('-').and_then(|(first, last)| Some(number(first)?..=number(last)?));
        let on_host = match (number(line), range) {
            (Some(number), _) => OnHost::Numbers(number..=number),
            (None, Some(range)) if range.is_empty() => return Err(format!("there is no line in {line}")),
            (None, Some(_)) if in_guest.is_some() => {
                return Err(format!("one name cannot be that of the lines {line}"));
            }
            (None, Some(range)) => OnHost::Numbers(range),
            (None, None) => OnHost::Name(line.to_owned()),
        };
        Ok(Self { on_host, in_guest })
    }
}

impl Spec {
    /// The one line of the host that is meant, for a guest's line that somebody named already.
    ///
    /// # Errors
    ///
    /// When it is not one line, or one with a name for the guest.
    pub fn one(text: &str) -> Result<Self, String> {
        let spec: Self = text.parse()?;
        match spec.items.as_deref() {
            Some([Item { on_host: OnHost::Name(_), in_guest: None }]) => Ok(spec),
            Some([Item { on_host: OnHost::Numbers(range), in_guest: None }]) if range.start() == range.end() => {
                Ok(spec)
            }
            _ => Err("expected one line of the host, CHIP:LINE[/OPTION...]".to_owned()),
        }
    }

    /// How the lines are set up.
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    fn set(&mut self, option: &str) -> Result<(), String> {
        let setup = &mut self.setup;
        match option.split_once('=').unwrap_or((option, "")) {
            ("pull-up", "") => setup.bias = Some(Bias::Up),
            ("pull-down", "") => setup.bias = Some(Bias::Down),
            ("no-pull", "") => setup.bias = Some(Bias::None),
            ("open-drain", "") => setup.drive = Drive::OpenDrain,
            ("open-source", "") => setup.drive = Drive::OpenSource,
            ("active-low", "") => setup.active_low = true,
            ("input-only", "") => setup.input_only = true,
            ("control", "") => setup.control = true,
            ("hold", "") => setup.hold = true,
            ("hotplug", "") => self.hotplug = true,
            ("debounce", time) => setup.debounce = duration::parse(time)?,
            ("safe", "input") => setup.safe = Safe::Input,
            ("safe", "low") => setup.safe = Safe::Output(Level::Low),
            ("safe", "high") => setup.safe = Safe::Output(Level::High),
            ("safe", "keep") => setup.safe = Safe::Keep,
            _ => {
                return Err(format!(
                    "{option:?} is no option of a real line; they are pull-up, pull-down, no-pull, open-drain, open-source, \
                     active-low, debounce=TIME, safe=input|low|high|keep, hold, input-only, control, hotplug"
                ));
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<(), String> {
        let Setup { safe, hold, input_only, control, .. } = self.setup;
        if input_only && (control || matches!(safe, Safe::Output(_))) {
            return Err(
                "a line that is input-only is driven by nobody: leave out safe=low, safe=high and control".to_owned()
            );
        }
        if hold && self.hotplug {
            return Err("a chip that comes later cannot be held from the start: leave out hold or hotplug".to_owned());
        }
        let is_number = |item: &Item| matches!(item.on_host, OnHost::Numbers(_));
        if self.hotplug && !self.items.as_ref().is_some_and(|items| items.iter().all(is_number)) {
            return Err("of a chip that comes later the lines have to be given by their numbers".to_owned());
        }
        Ok(())
    }

    /// The host's lines that are meant: the name for the guest, the host's own name, and the number.
    fn resolve(&self, host: &mut dyn Host) -> anyhow::Result<Vec<(Option<String>, String, u32)>> {
        let names = match host.chip(&self.chip) {
            Ok(info) => Some(info.names),
            Err(HostError { problem: Problem::NoChip, .. }) if self.hotplug => {
                log::warn!("{}: the chip is not there yet; its lines work as soon as it is", self.text);
                None
            }
            Err(HostError { problem: Problem::NoChip, .. }) => {
                let chips = host.chips();
                let chips = if chips.is_empty() { "none".to_owned() } else { chips.join(", ") };
                bail!("There is no GPIO chip {:?} on this host; there are: {chips}", self.chip)
            }
            Err(error) => return Err(error).with_context(|| format!("Cannot use the lines {}", self.text)),
        };
        let count = names.as_ref().map(|names| u32::try_from(names.len()).unwrap_or(u32::MAX));
        let name = |line: u32| {
            let names = names.as_ref()?;
            names.get(usize::try_from(line).ok()?).cloned()
        };
        let mut lines = Vec::new();
        let all = Item { on_host: OnHost::Numbers(0..=count.unwrap_or(0).saturating_sub(1)), in_guest: None };
        for Item { on_host, in_guest } in self.items.as_deref().unwrap_or(&[all]) {
            let numbers = match on_host {
                OnHost::Numbers(range) => range.clone(),
                OnHost::Name(wanted) => {
                    let position = names.iter().flatten().position(|name| name == wanted);
                    let line = position.and_then(|position| u32::try_from(position).ok());
                    let line = line.with_context(|| format!("{} has no line of the name {wanted:?}", self.chip))?;
                    line..=line
                }
            };
            if let Some(count) = count.filter(|count| numbers.end() >= count) {
                bail!("{} has {count} lines, counted from 0: there is no line {}", self.chip, numbers.end());
            }
            ensure!(u16::try_from(*numbers.end()).is_ok(), "{}: that are more lines than a device can have", self.text);
            lines.extend(numbers.map(|line| (in_guest.clone(), name(line).unwrap_or_default(), line)));
        }
        Ok(lines)
    }
}

/// The lines of a device, some of which are real.
#[derive(Debug, Clone, Default)]
pub struct Assembly {
    /// The names of all lines; empty for a line without one.
    pub names: Vec<String>,
    /// Those that are real.
    pub real: Vec<(LineId, Binding)>,
    taken: HashSet<(String, u32)>,
}

impl Assembly {
    /// Simulated lines of those names.
    pub fn new(names: Vec<String>) -> Self {
        Self { names, ..Self::default() }
    }

    /// Makes lines real, and adds those that are not there yet.
    ///
    /// # Errors
    ///
    /// When the host has no such lines, or one of them is real already; the message says what to do.
    pub fn add(&mut self, spec: &Spec, host: &mut dyn Host) -> anyhow::Result<()> {
        for (in_guest, own_name, line) in spec.resolve(host)? {
            let guest_line = self.place(spec, in_guest, own_name)?;
            self.bind(spec, guest_line, line)?;
        }
        Ok(())
    }

    /// Makes one line real, which is there.
    ///
    /// # Errors
    ///
    /// As [`Assembly::add`].
    pub fn bind_to(&mut self, guest_line: LineId, spec: &Spec, host: &mut dyn Host) -> anyhow::Result<()> {
        for (_, _, line) in spec.resolve(host)? {
            self.bind(spec, guest_line, line)?;
        }
        Ok(())
    }

    fn bind(&mut self, spec: &Spec, guest_line: LineId, line: u32) -> anyhow::Result<()> {
        let chip = spec.chip.clone();
        ensure!(
            self.taken.insert((chip.clone(), line)),
            "The line {line} of {chip} is given twice: one line of the guest can have it"
        );
        if let Some((_, other)) = self.real.iter().find(|(taken, _)| *taken == guest_line) {
            bail!("The guest's line {guest_line} cannot be both {other} and {chip}:{line}");
        }
        self.real.push((guest_line, Binding { chip, line, setup: spec.setup }));
        Ok(())
    }

    /// The guest's line for a line of the host.
    fn place(&mut self, spec: &Spec, in_guest: Option<String>, own_name: String) -> anyhow::Result<LineId> {
        let known = |name: &str| self.names.iter().position(|known| known == name);
        let number = |name: &str| name.parse().ok().filter(|number: &usize| *number < self.names.len());
        let position = if let Some(name) = in_guest {
            known(&name).or_else(|| number(&name)).unwrap_or_else(|| self.push(name))
        } else {
            let is_plain = own_name.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
            let is_new = known(&own_name).is_none();
            self.push(if is_plain && is_new { own_name } else { String::new() })
        };
        let line = u16::try_from(position).ok().map(LineId);
        line.with_context(|| format!("{}: that are more lines than a device can have", spec.text))
    }

    fn push(&mut self, name: String) -> usize {
        self.names.push(name);
        self.names.len().saturating_sub(1)
    }
}
