//! Lines of a world, and how they are named.

use std::fmt;

use virtio_gpio::messages::LineId;

use crate::chip::Chip;

/// One line of one device of a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The device, by its position in the world.
    pub chip: usize,
    /// The line.
    pub line: LineId,
}

/// There is no such line in the world, or more than one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownPlace {
    message: String,
    is_ambiguous: bool,
}

impl UnknownPlace {
    pub(super) fn new(place: Place) -> Self {
        Self::none(format!("There is no line {} of device {} in the simulated world", place.line, place.chip))
    }

    fn none(message: String) -> Self {
        Self { message, is_ambiguous: false }
    }

    /// Whether there is more than one such line.
    pub fn is_ambiguous(&self) -> bool {
        self.is_ambiguous
    }
}

impl fmt::Display for UnknownPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for UnknownPlace {}

/// Finds a line by what a person calls it, see [`super::World::find`].
pub(super) fn find(chips: &[Chip], name: &str) -> Result<Place, UnknownPlace> {
    let everywhere = |find: fn(usize, &Chip, &str) -> Option<Place>| -> Vec<Place> {
        chips.iter().enumerate().filter_map(|(chip, candidate)| find(chip, candidate, name)).collect()
    };
    let mut found = everywhere(named);
    if found.is_empty() {
        found.extend(in_device(chips, name));
    }
    if found.is_empty() {
        found = everywhere(numbered);
    }
    match found.as_slice() {
        [] => Err(UnknownPlace::none(format!("There is no line {name:?} in the simulated world"))),
        [place] => Ok(*place),
        several => {
            let choice: Vec<_> = several.iter().map(|place| format!("gpio{}:{name}", place.chip)).collect();
            let message = format!("There are several lines {name:?}: say {}", choice.join(" or "));
            Err(UnknownPlace { message, is_ambiguous: true })
        }
    }
}

/// A name that begins with a device.
fn in_device(chips: &[Chip], name: &str) -> Option<Place> {
    let (device, line) = name.split_once(':')?;
    let chip = device.strip_prefix("gpio")?.parse().ok()?;
    let candidate = chips.get(chip)?;
    named(chip, candidate, line).or_else(|| numbered(chip, candidate, line))
}

fn named(chip: usize, candidate: &Chip, name: &str) -> Option<Place> {
    candidate.find(name).map(|line| Place { chip, line })
}

fn numbered(chip: usize, candidate: &Chip, number: &str) -> Option<Place> {
    let line = LineId(number.parse().ok()?);
    candidate.bank().line(line).is_ok().then_some(Place { chip, line })
}
