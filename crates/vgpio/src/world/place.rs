//! Lines of a world, and how they are named.

use std::fmt;

use virtio_gpio::messages::LineId;

use crate::bridge::host::{HostError, Problem};
use crate::chip::Chip;

/// One line of one device of a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The device, by its position in the world.
    pub chip: usize,
    /// The line.
    pub line: LineId,
}

/// There is no such line in the world, or more than one; or it may not be driven, or cannot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaceError {
    message: String,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Unknown,
    Ambiguous,
    Forbidden,
    Refused,
}

impl PlaceError {
    pub(super) fn new(place: Place) -> Self {
        Self::none(format!("There is no line {} of device {} in the simulated world", place.line, place.chip))
    }

    fn none(message: String) -> Self {
        Self { message, kind: Kind::Unknown }
    }

    /// The line is one of the host's, and nobody has allowed to drive it.
    pub(super) fn forbidden(place: Place) -> Self {
        Self { kind: Kind::Forbidden, ..Self::refused(place, &HostError::new(Problem::NoControl)) }
    }

    /// The line is one of the host's, which does not do it.
    pub(super) fn refused(place: Place, reason: &HostError) -> Self {
        Self { message: format!("Line {} of device {}: {reason}", place.line, place.chip), kind: Kind::Refused }
    }

    /// Whether there is more than one such line.
    pub fn is_ambiguous(&self) -> bool {
        self.kind == Kind::Ambiguous
    }

    /// Whether there is one, which may not be driven.
    pub fn is_forbidden(&self) -> bool {
        self.kind == Kind::Forbidden
    }

    /// Whether there is one, which is allowed to be driven, and the host does not do it.
    pub fn is_refused(&self) -> bool {
        self.kind == Kind::Refused
    }
}

impl fmt::Display for PlaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for PlaceError {}

/// Finds a line by what a person calls it, see [`super::World::find`].
pub(super) fn find(chips: &[Chip], name: &str) -> Result<Place, PlaceError> {
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
        [] => Err(PlaceError::none(format!("There is no line {name:?} in the simulated world"))),
        [place] => Ok(*place),
        several => {
            let choice: Vec<_> = several.iter().map(|place| format!("gpio{}:{name}", place.chip)).collect();
            let message = format!("There are several lines {name:?}: say {}", choice.join(" or "));
            Err(PlaceError { message, kind: Kind::Ambiguous })
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
