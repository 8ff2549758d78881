//! The simulated world around the devices: wires between lines, and hands that press buttons. Time comes from outside, so
//! that the same world runs in real time behind a socket and in no time in a test.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::time::Duration;

use gpio_model::bank::Change;
use gpio_model::observe::Activity;
use virtio_gpio::messages::{Direction, Level, LineId};

use crate::chip::Chip;
use crate::record::{Record, Sink};

/// One line of one device of a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The device, by its position in the world.
    pub chip: usize,
    /// The line.
    pub line: LineId,
}

/// There is no such line in the world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownPlace(String);

impl fmt::Display for UnknownPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "There is no line {} in the simulated world", self.0)
    }
}

impl std::error::Error for UnknownPlace {}

/// A button that is pressed and released again and again. A press drives the line high, a release drives it low.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Button {
    /// The line.
    pub place: Place,
    /// When it is pressed first.
    pub first: Duration,
    /// For how long it stays pressed.
    pub pressed: Duration,
    /// For how long it stays released.
    pub released: Duration,
}

/// Something that the world is going to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Action {
    Drive { place: Place, level: Option<Drive> },
    Press { button: usize },
    Release { button: usize },
}

/// A level that can be ordered, for the queue of actions.
type Drive = bool;

/// The devices, what surrounds them, and who watches.
#[derive(Debug, Default)]
pub struct World {
    chips: Vec<Chip>,
    wires: Vec<(Place, Place)>,
    buttons: Vec<Button>,
    /// By time; actions of the same time in the order in which they were planned.
    plan: BinaryHeap<Reverse<(Duration, u64, Action)>>,
    planned: u64,
    sinks: Vec<Box<dyn Sink>>,
}

impl World {
    /// A world of those devices, with nothing around them.
    pub fn new(chips: Vec<Chip>) -> Self {
        Self { chips, ..Self::default() }
    }

    /// The devices.
    pub fn chips(&self) -> &[Chip] {
        &self.chips
    }

    /// One device, to change what it does.
    pub fn chip_mut(&mut self, chip: usize) -> Option<&mut Chip> {
        self.chips.get_mut(chip)
    }

    /// The line of that name; the first one if several devices have it.
    ///
    /// # Errors
    ///
    /// [`UnknownPlace`].
    pub fn find(&self, name: &str) -> Result<Place, UnknownPlace> {
        let find = |(chip, candidate): (usize, &Chip)| candidate.find(name).map(|line| Place { chip, line });
        self.chips.iter().enumerate().find_map(find).ok_or_else(|| UnknownPlace(format!("{name:?}")))
    }

    /// The level of a line.
    ///
    /// # Errors
    ///
    /// [`UnknownPlace`].
    pub fn level(&self, place: Place) -> Result<Level, UnknownPlace> {
        let line = self.chips.get(place.chip).and_then(|chip| chip.bank().line(place.line).ok());
        Ok(line.ok_or_else(|| unknown(place))?.level())
    }

    /// Adds somebody who keeps records.
    pub fn watch(&mut self, sink: impl Sink + 'static) {
        self.sinks.push(Box::new(sink));
    }

    /// Lays a wire: while `from` is an output, it drives `to`.
    ///
    /// # Errors
    ///
    /// [`UnknownPlace`].
    pub fn wire(&mut self, from: Place, to: Place) -> Result<(), UnknownPlace> {
        self.level(from)?;
        self.level(to)?;
        self.wires.push((from, to));
        Ok(())
    }

    /// Adds a button. It is released until its first press.
    ///
    /// # Errors
    ///
    /// [`UnknownPlace`].
    pub fn button(&mut self, button: Button) -> Result<(), UnknownPlace> {
        /// A button without any period would keep the world busy for ever at one point in time.
        const SHORTEST: Duration = Duration::from_micros(1);
        self.level(button.place)?;
        let number = self.buttons.len();
        self.buttons.push(Button { pressed: button.pressed.max(SHORTEST), ..button });
        self.plan(Duration::ZERO, Action::Drive { place: button.place, level: Some(false) });
        self.plan(button.first, Action::Press { button: number });
        Ok(())
    }

    /// Plans to drive a line, or to let go of it, at a time.
    ///
    /// # Errors
    ///
    /// [`UnknownPlace`].
    pub fn drive_at(&mut self, at: Duration, place: Place, level: Option<Level>) -> Result<(), UnknownPlace> {
        self.level(place)?;
        self.plan(at, Action::Drive { place, level: level.map(Drive::from) });
        Ok(())
    }

    /// Drives a line, or lets go of it.
    ///
    /// # Errors
    ///
    /// [`UnknownPlace`].
    pub fn drive(&mut self, now: Duration, place: Place, level: Option<Level>) -> Result<(), UnknownPlace> {
        let chip = self.chips.get_mut(place.chip).ok_or_else(|| unknown(place))?;
        chip.drive(place.line, level).map_err(|_| unknown(place))?;
        self.settle(now);
        Ok(())
    }

    /// When the world is going to do something next.
    pub fn next_due(&self) -> Option<Duration> {
        self.plan.peek().map(|Reverse((at, _, _))| *at)
    }

    /// Does what is due by now.
    pub fn advance(&mut self, now: Duration) {
        while self.next_due().is_some_and(|due| due <= now) {
            let Some(Reverse((due, _, action))) = self.plan.pop() else { return };
            let (place, level) = match action {
                Action::Drive { place, level } => (place, level.map(Level::from)),
                Action::Press { button: number } => {
                    let Some(button) = self.buttons.get(number).copied() else { continue };
                    self.plan(due.saturating_add(button.pressed), Action::Release { button: number });
                    (button.place, Some(Level::High))
                }
                Action::Release { button: number } => {
                    let Some(button) = self.buttons.get(number).copied() else { continue };
                    self.plan(due.saturating_add(button.released), Action::Press { button: number });
                    (button.place, Some(Level::Low))
                }
            };
            if let Err(error) = self.drive(now, place, level) {
                log::error!("{error}");
            }
        }
    }

    /// Records what happened in the devices, and lets it run along the wires until all is quiet.
    pub fn settle(&mut self, now: Duration) {
        while let Some((chip, activity)) = self.next_activity() {
            let record = Record { at: now, chip, activity };
            for sink in &mut self.sinks {
                sink.record(&record);
            }
            if let Activity::Changed(change) = activity {
                self.follow_wires(chip, change);
            }
        }
    }

    /// The world ends.
    pub fn finish(&mut self, now: Duration) {
        for sink in &mut self.sinks {
            sink.finish(now);
        }
    }

    fn follow_wires(&mut self, chip: usize, change: Change) {
        let from = Place { chip, line: change.line };
        let level = (change.after.direction == Direction::Output).then(|| change.after.level());
        for to in self.wires.iter().filter(|(source, _)| *source == from).map(|(_, to)| *to) {
            let Some(chip) = self.chips.get_mut(to.chip) else { continue };
            if let Err(error) = chip.drive(to.line, level) {
                log::error!("{error}");
            }
        }
    }

    fn next_activity(&mut self) -> Option<(usize, Activity)> {
        self.chips.iter_mut().enumerate().find_map(|(number, chip)| Some((number, chip.next_activity()?)))
    }

    fn plan(&mut self, at: Duration, action: Action) {
        self.plan.push(Reverse((at, self.planned, action)));
        self.planned = self.planned.saturating_add(1);
    }
}

fn unknown(place: Place) -> UnknownPlace {
    UnknownPlace(format!("{} of device {}", place.line, place.chip))
}
