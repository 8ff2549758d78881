//! The simulated world around the devices: wires between lines, and what the outside does to lines. Time comes from
//! outside, so that the same world runs in real time behind a socket and in no time in a test.
//!
//! # Order
//!
//! There is one order of everything that happens. What is planned comes by its time; what is planned for the same instant
//! comes in the order in which it was planned. A change, and what wires without a delay make of it, comes as a whole
//! before the next one; several wires from one line change their targets in the order in which they were laid.
//! Everything is recorded at the time at which it happens: a world that is late does all that it missed, in order, and
//! records it at the time that it is then.
//!
//! # Who drives a line
//!
//! From outside there is one level at a time: that of whoever acted last, a hand ([`World::drive`]), a stimulus
//! ([`World::stimulate`]) or a wire. A hand or a new stimulus ends the stimulus that the line had.

mod place;
mod plan;
mod stimulus;
mod wire;

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::BorrowedFd;
use std::time::Duration;

use gpio_model::bank::Line;
use gpio_model::observe::Activity;
use virtio_gpio::messages::Level;

pub use self::place::{Place, PlaceError};
pub use self::stimulus::Stimulus;
pub use self::wire::Wire;

use self::plan::{Action, Appointment, Plan};
use self::stimulus::Course;
use self::wire::Laid;
use crate::chip::Chip;
use crate::record::{Record, Sink};

/// A button that is pressed and released again and again. A press drives the line high, a release drives it low; each is
/// a [`Stimulus::Bounce`] if its contact bounces. A hand on the line counts until the next press or release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Button {
    /// The line.
    pub place: Place,
    /// When it is pressed first.
    pub first: Duration,
    /// For how long it stays pressed; at least 1 µs.
    pub pressed: Duration,
    /// For how long it stays released; at least 1 µs.
    pub released: Duration,
    /// How its contact bounces; `None` for a clean one.
    pub bounce: Option<Bounce>,
}

/// How a contact bounces, see [`Stimulus::Bounce`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounce {
    /// From the first change to the last one.
    pub over: Duration,
    /// The number of changes.
    pub changes: u32,
    /// The seed of the first press; each press and release after that has the next one.
    pub seed: u64,
}

const SHORTEST_PRESS: Duration = Duration::from_micros(1);

/// A stimulus that goes on.
#[derive(Debug)]
struct Running {
    course: Course,
    next: Appointment,
}

/// The devices, what surrounds them, and who watches.
#[derive(Debug, Default)]
pub struct World {
    chips: Vec<Chip>,
    wires: Vec<Laid>,
    stimuli: BTreeMap<Place, Running>,
    plan: Plan,
    /// What happened and is not recorded yet, in order.
    news: VecDeque<(usize, Activity)>,
    sinks: Vec<Box<dyn Sink>>,
    /// When the last record was made.
    recorded: Duration,
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

    /// The line that somebody means: by its name (`led0`), by the device and its name (`gpio1:led0`), or by its number
    /// (`gpio1:3`; `3` where only one device has such a line). `gpioN` is the device at the position N of this world.
    ///
    /// # Errors
    ///
    /// [`PlaceError`] when there is no such line, or more than one; then it says how to name the one that is meant.
    pub fn find(&self, name: &str) -> Result<Place, PlaceError> {
        place::find(&self.chips, name)
    }

    /// The level of a line.
    ///
    /// # Errors
    ///
    /// [`PlaceError`].
    pub fn level(&self, place: Place) -> Result<Level, PlaceError> {
        Ok(self.line(place)?.level())
    }

    /// Adds somebody who keeps records.
    pub fn watch(&mut self, sink: impl Sink + 'static) {
        self.sinks.push(Box::new(sink));
    }

    /// Lays a wire. What its beginning is by now comes in at the next [`World::advance`].
    ///
    /// # Errors
    ///
    /// [`PlaceError`].
    pub fn wire(&mut self, wire: Wire) -> Result<(), PlaceError> {
        self.line(wire.from)?;
        self.drivable(wire.to)?;
        self.plan.add(Duration::ZERO, Action::Look { wire: self.wires.len() });
        self.wires.push(Laid::new(wire));
        Ok(())
    }

    /// Adds a button. It is released until its first press.
    ///
    /// # Errors
    ///
    /// [`PlaceError`].
    pub fn button(&mut self, button: Button) -> Result<(), PlaceError> {
        self.drive_at(Duration::ZERO, button.place, Some(Level::Low))?;
        let Button { first, pressed, released, .. } = button;
        let button = Button { pressed: pressed.max(SHORTEST_PRESS), released: released.max(SHORTEST_PRESS), ..button };
        self.plan.add(first, Action::Press { button, level: Level::High });
        Ok(())
    }

    /// Plans to drive a line, or to let go of it, at a time.
    ///
    /// # Errors
    ///
    /// [`PlaceError`].
    pub fn drive_at(&mut self, at: Duration, place: Place, level: Option<Level>) -> Result<(), PlaceError> {
        self.drivable(place)?;
        self.plan.add(at, Action::Drive { place, level });
        Ok(())
    }

    /// Drives a line, or lets go of it. A stimulus that it has ends.
    ///
    /// # Errors
    ///
    /// [`PlaceError`].
    pub fn drive(&mut self, now: Duration, place: Place, level: Option<Level>) -> Result<(), PlaceError> {
        self.drivable(place)?;
        self.still(place)?;
        self.set(now, place, level)
    }

    /// Plans to apply a stimulus at a time.
    ///
    /// # Errors
    ///
    /// [`PlaceError`].
    pub fn stimulate_at(&mut self, at: Duration, place: Place, stimulus: Stimulus) -> Result<(), PlaceError> {
        self.drivable(place)?;
        self.plan.add(at, Action::Stimulate { place, stimulus });
        Ok(())
    }

    /// Applies a stimulus to a line; its first level comes before this returns. Another one that the line has ends.
    ///
    /// # Errors
    ///
    /// [`PlaceError`].
    pub fn stimulate(&mut self, now: Duration, place: Place, stimulus: Stimulus) -> Result<(), PlaceError> {
        self.begin(now, now, place, stimulus)
    }

    /// Ends the stimulus of a line, which keeps its level. A line without one is left alone.
    ///
    /// # Errors
    ///
    /// [`PlaceError`].
    pub fn still(&mut self, place: Place) -> Result<(), PlaceError> {
        self.line(place)?;
        if let Some(running) = self.stimuli.remove(&place) {
            self.plan.cancel(running.next);
        }
        Ok(())
    }

    /// When the world is going to do something next.
    pub fn next_due(&self) -> Option<Duration> {
        self.plan.next_due()
    }

    /// The devices that have real lines, each with what becomes readable when something happens on one of them.
    pub(crate) fn bridges(&self) -> impl Iterator<Item = (usize, BorrowedFd<'_>)> {
        let chips = self.chips.iter().enumerate();
        chips.filter_map(|(number, chip)| Some((number, chip.behind().as_ref()?.as_fd())))
    }

    /// After how long real lines need attention without being readable.
    pub(crate) fn attention(&self) -> Option<Duration> {
        self.chips.iter().filter_map(|chip| chip.behind().as_ref()?.timeout()).min()
    }

    /// Takes what happened on the real lines of a device. `epoch` is when this world began by the kernel's clock, so that
    /// edges are recorded at the time at which the kernel saw them; but nothing is recorded before what was recorded already.
    /// Returns whether there was anything.
    pub(crate) fn attend(&mut self, epoch: Duration, now: Duration, number: usize) -> bool {
        let Some(chip) = self.chips.get_mut(number) else { return false };
        let news = chip.behind_mut().as_mut().map(|bridge| bridge.attend()).unwrap_or_default();
        let any = !news.is_empty();
        for news in news {
            let at = news.at.map_or(now, |at| at.saturating_sub(epoch)).clamp(self.recorded.min(now), now);
            if let Some(chip) = self.chips.get_mut(number) {
                chip.hear(news);
            }
            self.settle(at);
        }
        any
    }

    /// The driver of a device has gone.
    pub(crate) fn leave(&mut self, now: Duration, number: usize) {
        if let Some(chip) = self.chips.get_mut(number) {
            chip.suspend();
        }
        self.settle(now);
    }

    /// Does everything that is due by now, and records it as of now.
    pub fn advance(&mut self, now: Duration) {
        while self.step(now) {}
    }

    /// Does the first thing that is due by now. Returns false when there is none.
    pub fn step(&mut self, now: Duration) -> bool {
        let Some((appointment, action)) = self.plan.take_due(now) else { return false };
        let done = match action {
            Action::Drive { place, level } => self.drive(now, place, level),
            Action::Stimulate { place, stimulus } => self.begin(now, appointment.at, place, stimulus),
            Action::Press { button, level } => self.press(now, appointment.at, button, level),
            Action::Step { place, level } => {
                let done = self.set(now, place, Some(level));
                if let Some(running) = self.stimuli.remove(&place) {
                    self.go_on(appointment.at, place, running.course);
                }
                done
            }
            Action::Look { wire } => {
                self.look(now, wire);
                Ok(())
            }
            Action::Arrive { wire, level } => {
                self.arrive(wire, level);
                self.settle(now);
                Ok(())
            }
        };
        // What the host refuses is in the log already, and once.
        if let Err(error) = done
            && !error.is_refused()
        {
            log::error!("{error}");
        }
        true
    }

    /// Lets simulated time run: does everything that is due until then, each at its own time.
    pub fn run_until(&mut self, end: Duration) {
        while let Some(due) = self.next_due().filter(|due| *due <= end) {
            self.step(due);
        }
    }

    /// Records what happened in the devices, and lets it run along the wires until all is quiet.
    pub fn settle(&mut self, now: Duration) {
        self.collect_news();
        while let Some((chip, activity)) = self.news.pop_front() {
            self.recorded = now;
            let record = Record { at: now, chip, activity };
            for sink in &mut self.sinks {
                sink.record(&record);
            }
            if let Activity::Changed(change) = activity {
                let from = Place { chip, line: change.line };
                for wire in 0..self.wires.len() {
                    if self.wires.get(wire).is_some_and(|laid| laid.wire.from == from) {
                        self.follow(now, wire, change.after);
                    }
                }
            }
        }
    }

    /// Takes a line that a guest printed. What happened in the devices before is recorded before it.
    pub fn console(&mut self, now: Duration, line: &str) {
        self.settle(now);
        for sink in &mut self.sinks {
            sink.console(now, line);
        }
    }

    /// The world ends. Real lines are given back before that.
    pub fn finish(&mut self, now: Duration) {
        for number in 0..self.chips.len() {
            self.leave(now, number);
        }
        for sink in &mut self.sinks {
            sink.finish(now);
        }
    }

    fn line(&self, place: Place) -> Result<Line, PlaceError> {
        let line = self.chips.get(place.chip).and_then(|chip| chip.bank().line(place.line).ok());
        line.copied().ok_or_else(|| PlaceError::new(place))
    }

    /// Nothing, for a line that the outside may drive.
    fn drivable(&self, place: Place) -> Result<(), PlaceError> {
        self.line(place)?;
        let may = self.chips.get(place.chip).is_some_and(|chip| chip.may_be_driven(place.line));
        may.then_some(()).ok_or_else(|| PlaceError::forbidden(place))
    }

    /// Begins a stimulus whose time counts from `since`.
    fn begin(&mut self, now: Duration, since: Duration, place: Place, stimulus: Stimulus) -> Result<(), PlaceError> {
        let (level, course) = stimulus.begin();
        self.drive(now, place, Some(level))?;
        self.go_on(since, place, course);
        Ok(())
    }

    /// Presses a button, or releases it, and plans the opposite.
    fn press(&mut self, now: Duration, since: Duration, button: Button, level: Level) -> Result<(), PlaceError> {
        let lasts = if level == Level::High { button.pressed } else { button.released };
        let bounce = button.bounce.map(|bounce| Bounce { seed: bounce.seed.wrapping_add(1), ..bounce });
        let next = Action::Press { button: Button { bounce, ..button }, level: level.toggled() };
        self.plan.add(since.saturating_add(lasts), next);
        match button.bounce {
            Some(Bounce { over, changes, seed }) => {
                self.begin(now, since, button.place, Stimulus::Bounce { to: level, over, changes, seed })
            }
            None => self.drive(now, button.place, Some(level)),
        }
    }

    /// Plans the next step of a stimulus, whose last one was due at `since`.
    fn go_on(&mut self, since: Duration, place: Place, mut course: Course) {
        if let Some(step) = course.next() {
            let next = self.plan.add(since.saturating_add(step.after), Action::Step { place, level: step.level });
            self.stimuli.insert(place, Running { course, next });
        }
    }

    /// Sets what the outside drives, on a line that exists.
    fn set(&mut self, now: Duration, place: Place, level: Option<Level>) -> Result<(), PlaceError> {
        let done = self.touch(place, level);
        self.settle(now);
        done
    }

    /// The same, when the caller lets it settle.
    fn touch(&mut self, place: Place, level: Option<Level>) -> Result<(), PlaceError> {
        let chip = self.chips.get_mut(place.chip).ok_or_else(|| PlaceError::new(place))?;
        let done = chip.drive(place.line, level).map_err(|error| PlaceError::refused(place, &error));
        self.collect_news();
        done
    }

    fn look(&mut self, now: Duration, wire: usize) {
        let Some(line) = self.wires.get(wire).and_then(|laid| self.line(laid.wire.from).ok()) else { return };
        self.follow(now, wire, line);
        self.settle(now);
    }

    fn follow(&mut self, now: Duration, wire: usize, line: Line) {
        let Some(laid) = self.wires.get_mut(wire) else { return };
        if !laid.follow(line) {
            return;
        }
        let (delay, level) = (laid.wire.delay, laid.entered);
        if delay.is_zero() {
            self.arrive(wire, level);
        } else {
            self.plan.add(now.saturating_add(delay), Action::Arrive { wire, level });
        }
    }

    /// Something comes out of a wire. When it lets go of the line, another wire that drives the line has its way; of
    /// several the one that was laid last.
    fn arrive(&mut self, wire: usize, level: Option<Level>) {
        let Some(laid) = self.wires.get_mut(wire) else { return };
        laid.arrived = level;
        let to = laid.wire.to;
        let others = || self.wires.iter().filter(|other| other.wire.to == to).rev().find_map(|other| other.arrived);
        let level = level.or_else(others);
        // What the host refuses is in the log; nobody waits for it.
        let _ = self.touch(to, level);
    }

    /// After each thing that the world does, so that the order over all devices is that of the causes.
    fn collect_news(&mut self) {
        for (number, chip) in self.chips.iter_mut().enumerate() {
            self.news.extend(std::iter::from_fn(|| chip.next_activity()).map(|activity| (number, activity)));
        }
    }
}

#[cfg(test)]
mod tests {
    use gpio_model::ratified;
    use virtio_gpio::messages::ratified::Request;
    use virtio_gpio::messages::{Direction, LineId};

    use super::*;
    use crate::chip::Model;
    use crate::record::log::{Log, Occurrence};

    /// The guest may print before the device's thread has looked at what its request changed.
    #[test]
    fn what_the_guest_caused_is_recorded_before_the_line_that_it_printed_then() {
        let chip = Chip::ratified(vec![String::new()], ratified::Options::default()).unwrap();
        let mut world = World::new(vec![chip]);
        let log = Log::default();
        world.watch(log.clone());
        let Model::Ratified(device) = &mut world.chips[0].model else { unreachable!() };
        let request = Request::SetDirection(LineId(0), Direction::Output);
        assert_eq!(device.request(&request.encode(), &mut [0; 2]), 2);
        world.console(Duration::ZERO, "done");
        let is_line: Vec<_> =
            log.events_from(0).iter().map(|event| matches!(event.what, Occurrence::Console(_))).collect();
        assert_eq!(is_line, [false, false, true], "the request, the change, and then the line");
    }
}
