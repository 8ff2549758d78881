//! What the world is going to do, and when.

use std::collections::BTreeMap;
use std::time::Duration;

use virtio_gpio::messages::Level;

use super::Button;
use super::place::Place;
use super::stimulus::Stimulus;

/// Something that the world is going to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// A hand drives a line, or lets go of it.
    Drive { place: Place, level: Option<Level> },
    /// A stimulus begins.
    Stimulate { place: Place, stimulus: Stimulus },
    /// A button is pressed or released.
    Press { button: Button, level: Level },
    /// The stimulus of a line goes to its next level.
    Step { place: Place, level: Level },
    /// A wire that has been laid looks at the line that it follows.
    Look { wire: usize },
    /// A change comes out of a wire.
    Arrive { wire: usize, level: Option<Level> },
}

/// When something is due. What is due at the same time comes in the order in which it was planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Appointment {
    pub(super) at: Duration,
    number: u64,
}

/// All that the world is going to do.
#[derive(Debug, Default)]
pub(super) struct Plan {
    actions: BTreeMap<Appointment, Action>,
    planned: u64,
}

impl Plan {
    pub(super) fn add(&mut self, at: Duration, action: Action) -> Appointment {
        let appointment = Appointment { at, number: self.planned };
        self.planned = self.planned.saturating_add(1);
        self.actions.insert(appointment, action);
        appointment
    }

    pub(super) fn cancel(&mut self, appointment: Appointment) {
        self.actions.remove(&appointment);
    }

    pub(super) fn next_due(&self) -> Option<Duration> {
        self.actions.first_key_value().map(|(appointment, _)| appointment.at)
    }

    /// Takes the next thing that is due by now.
    pub(super) fn take_due(&mut self, now: Duration) -> Option<(Appointment, Action)> {
        let first = self.actions.first_entry().filter(|entry| entry.key().at <= now)?;
        Some(first.remove_entry())
    }
}
