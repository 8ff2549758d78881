//! Which lines and chips a scenario has, and how steps name them.

use virtio_gpio::messages::LineId;

use super::Scenario;
use super::suggest::nearest;
use crate::chip::{Chip, ChipError};
use crate::world::{Place, World};

/// The chips of a scenario and the names of their lines.
#[derive(Debug, Default)]
pub struct Layout(World);

/// A name that stands for nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: String,
}

/// The names of a chip's lines; an unnamed line has an empty one.
pub(crate) fn names(chip: &super::Chip) -> Vec<String> {
    let name = |name: &str| if name == "-" { String::new() } else { name.to_owned() };
    let mut names: Vec<String> = chip.lines.iter().map(|line| name(line)).collect();
    if let Some(count) = &chip.count {
        names.resize(usize::from(**count).max(names.len()), String::new());
    }
    names
}

/// The number of the line that `host` of a chip means.
pub(crate) fn real_line(chip: &super::Chip, name: &str) -> Option<LineId> {
    let names = names(chip);
    let position = names.iter().position(|known| known == name);
    let position = position.or_else(|| name.parse().ok()).filter(|position| *position < names.len())?;
    u16::try_from(position).ok().map(LineId)
}

impl Layout {
    /// The layout of a scenario.
    ///
    /// # Errors
    ///
    /// When there can be no such chip.
    pub fn new(scenario: &Scenario) -> Result<Self, ChipError> {
        // Lines have the same names in both protocols.
        let chips =
            scenario.chips.iter().map(|chip| Chip::ratified(names(chip), gpio_model::ratified::Options::default()));
        Ok(Self(World::new(chips.collect::<Result<_, _>>()?)))
    }

    /// The position of a chip: `gpio0` is the first one.
    ///
    /// # Errors
    ///
    /// [`Unknown`].
    pub fn chip(&self, name: &str) -> Result<usize, Unknown> {
        let count = self.0.chips().len();
        let position = name.strip_prefix("gpio").and_then(|position| position.parse().ok());
        position.filter(|position| *position < count).ok_or_else(|| {
            let names: Vec<_> = (0..count).map(|position| format!("gpio{position}")).collect();
            let help = match names.as_slice() {
                [] => ADD_CHIPS.to_owned(),
                names => format!("the chips are, in the order of the file: {}", names.join(", ")),
            };
            Unknown { message: format!("there is no chip {name:?}"), help }
        })
    }

    /// A line, as [`World::find`] finds it.
    ///
    /// # Errors
    ///
    /// [`Unknown`].
    pub fn line(&self, name: &str) -> Result<Place, Unknown> {
        self.0.find(name).map_err(|error| {
            let names =
                || self.0.chips().iter().flat_map(Chip::names).map(String::as_str).filter(|name| !name.is_empty());
            let line = name.rsplit(':').next().unwrap_or(name);
            let help = match nearest(line, names().filter(|known| *known != line)) {
                _ if error.is_ambiguous() => "write the chip before it, in the order of the file".to_owned(),
                Some(near) => format!("did you mean {near:?}?"),
                None if self.0.chips().is_empty() => ADD_CHIPS.to_owned(),
                None => format!("the lines are: {}; a number counts from 0", listed(&names().collect::<Vec<_>>())),
            };
            let message = error.to_string();
            let message = message.strip_suffix(" in the simulated world").unwrap_or(&message);
            Unknown { message: message.replacen("There", "there", 1), help }
        })
    }

    /// How to call a line: in a way that [`Layout::line`] understands.
    pub fn label(&self, place: Place) -> String {
        let names = self.0.chips().get(place.chip).map(Chip::names).unwrap_or_default();
        let name = names.get(usize::from(place.line.0)).filter(|name| !name.is_empty());
        let name = name.cloned().unwrap_or_else(|| place.line.to_string());
        match self.0.find(&name) {
            Ok(found) if found == place => name,
            _ => format!("gpio{}:{name}", place.chip),
        }
    }
}

const ADD_CHIPS: &str = "add [[chips]] with a list of lines";

fn listed(names: &[&str]) -> String {
    /// More of them would bury the message.
    const SHOWN: usize = 12;
    let more = names.len().saturating_sub(SHOWN);
    match names {
        [] => "none has a name".to_owned(),
        names if more == 0 => names.join(", "),
        names => format!("{}, and {more} more", names.get(..SHOWN).unwrap_or_default().join(", ")),
    }
}
