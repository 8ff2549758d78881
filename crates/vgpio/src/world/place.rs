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
pub struct UnknownPlace(String);

impl UnknownPlace {
    pub(super) fn new(place: Place) -> Self {
        Self(format!("There is no line {} of device {} in the simulated world", place.line, place.chip))
    }
}

impl fmt::Display for UnknownPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
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
        [] => Err(UnknownPlace(format!("There is no line {name:?} in the simulated world"))),
        [place] => Ok(*place),
        several => {
            let choice: Vec<_> = several.iter().map(|place| format!("gpio{}:{name}", place.chip)).collect();
            Err(UnknownPlace(format!("There are several lines {name:?}: say {}", choice.join(" or "))))
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
