//! One simulated device: a model of either protocol, the names of its lines, and the list of what happened in it.

use std::collections::VecDeque;

use gpio_model::bank::{Bank, Line};
use gpio_model::names::{Names, NamesError};
use gpio_model::observe::{Activity, Observer};
use gpio_model::{draft, ratified};
use virtio_gpio::messages::draft::Message;
use virtio_gpio::messages::{Direction, InterruptType, Level, LineId};

use crate::bridge::host::HostError;
use crate::bridge::{Binding, Bridge, News};
use crate::fault::{AnswerFault, Faults, QueueFault, Rule};
use crate::request::Requests;

/// What happened in a model and was not looked at yet.
#[derive(Debug, Default)]
pub(crate) struct Journal(VecDeque<Activity>);

impl Observer for Journal {
    fn observe(&mut self, activity: Activity) {
        self.0.push_back(activity);
    }
}

/// What may be behind some of the lines.
type Behind = Option<Box<Bridge>>;

/// The behaviour behind the queues.
#[derive(Debug)]
pub(crate) enum Model {
    /// VIRTIO 1.2 and later.
    Ratified(ratified::Device<Journal, Behind>),
    /// The 2020 draft.
    Draft(draft::Device<Journal, Behind>),
}

/// One simulated device.
#[derive(Debug)]
pub struct Chip {
    /// An unnamed line has an empty name.
    names: Vec<String>,
    pub(crate) model: Model,
    pub(crate) faults: Faults,
    stalled: bool,
}

/// The device speaks the other protocol, which has no such thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrongProtocol;

impl std::fmt::Display for WrongProtocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("The device speaks the other protocol, which has no such thing")
    }
}

impl std::error::Error for WrongProtocol {}

/// More lines than a protocol can count, or names that it cannot carry.
#[derive(Debug)]
pub enum ChipError {
    /// There are more than 65,535 lines.
    TooManyLines(usize),
    /// A name is not allowed.
    Names(NamesError),
}

impl std::fmt::Display for ChipError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooManyLines(count) => {
                write!(f, "{count} lines are more than the 65535 that the protocols can count")
            }
            Self::Names(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ChipError {}

impl Chip {
    /// A device of the ratified protocol with one line for each name; `options.names` is set from them, unless none of
    /// them is a name.
    ///
    /// # Errors
    ///
    /// [`ChipError`].
    pub fn ratified(names: Vec<String>, mut options: ratified::Options) -> Result<Self, ChipError> {
        let bank = bank(&names)?;
        options.names = block(&names)?;
        let model = Model::Ratified(ratified::Device::with_hardware(bank, options, Journal::default(), None));
        Ok(Self { names, model, faults: Faults::default(), stalled: false })
    }

    /// A device of the ratified protocol with so many lines, whose names are `options.names` as they are: the block may
    /// be one that makes no sense. For the world outside the lines have no names.
    pub fn with_names_block(lines: u16, options: ratified::Options) -> Self {
        let model =
            Model::Ratified(ratified::Device::with_hardware(Bank::new(lines), options, Journal::default(), None));
        Self { names: vec![String::new(); lines.into()], model, faults: Faults::default(), stalled: false }
    }

    /// A device of the draft, in the same manner.
    ///
    /// # Errors
    ///
    /// [`ChipError`].
    pub fn draft(names: Vec<String>, mut options: draft::Options) -> Result<Self, ChipError> {
        let bank = bank(&names)?;
        options.names = block(&names)?;
        let model = Model::Draft(draft::Device::with_hardware(bank, options, Journal::default(), None));
        Ok(Self { names, model, faults: Faults::default(), stalled: false })
    }

    /// Puts real lines behind some of the device's.
    #[must_use]
    pub fn bridged(mut self, bridge: Bridge) -> Self {
        *self.behind_mut() = Some(Box::new(bridge));
        self
    }

    /// The line of the host that is behind a line; `None` for a simulated one.
    pub fn real(&self, line: LineId) -> Option<&Binding> {
        self.behind().as_ref()?.binding(line)
    }

    /// Whether the outside may drive a line: any that is simulated, and a real one if it was allowed.
    pub fn may_be_driven(&self, line: LineId) -> bool {
        self.real(line).is_none_or(|binding| binding.setup.control)
    }

    /// The names of the lines; empty for a line without one.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The line of that name.
    pub fn find(&self, name: &str) -> Option<LineId> {
        let position = self.names.iter().position(|candidate| !name.is_empty() && candidate == name)?;
        u16::try_from(position).ok().map(LineId)
    }

    /// The lines and their levels.
    pub fn bank(&self) -> &Bank {
        match &self.model {
            Model::Ratified(device) => device.bank(),
            Model::Draft(device) => device.bank(),
        }
    }

    /// The configuration space.
    pub fn config_space(&self) -> Vec<u8> {
        match &self.model {
            Model::Ratified(device) => device.config_space().to_vec(),
            Model::Draft(device) => device.config_space().to_vec(),
        }
    }

    /// The device-specific features on offer.
    pub fn offered_features(&self) -> u64 {
        match &self.model {
            Model::Ratified(device) => device.offered_features(),
            Model::Draft(_) => 0,
        }
    }

    /// Whether the device has stopped to look at its queues.
    pub fn is_stalled(&self) -> bool {
        self.stalled
    }

    /// Makes the device stop looking at its queues, or go on. What the driver sends meanwhile waits, and is answered
    /// then; whoever drives the lines goes on.
    pub fn set_stalled(&mut self, stalled: bool) {
        self.stalled = stalled;
    }

    /// Makes the device carry out the requests for a line without an answer, or answer again. A ratified device then
    /// gives the late answers too, which a draft device has lost.
    pub fn set_mute(&mut self, line: LineId, mute: bool) {
        match &mut self.model {
            Model::Ratified(_) if mute => _ = self.faults.mute.insert(line),
            Model::Ratified(_) => _ = self.faults.mute.remove(&line),
            Model::Draft(device) => device.set_mute(line, mute),
        }
    }

    /// Spoils the next answers of a ratified device to requests of that kind.
    ///
    /// # Errors
    ///
    /// [`WrongProtocol`].
    pub fn spoil_answers(
        &mut self,
        fault: AnswerFault,
        times: u32,
        requests: impl Into<Requests>,
    ) -> Result<(), WrongProtocol> {
        let requests = requests.into();
        let Model::Ratified(_) = self.model else { return Err(WrongProtocol) };
        self.faults.rules.push(Rule { fault, times, requests });
        Ok(())
    }

    /// Makes a ratified device return the next event buffers at once, without an interrupt.
    ///
    /// # Errors
    ///
    /// [`WrongProtocol`].
    pub fn return_events(&mut self, times: u32) -> Result<(), WrongProtocol> {
        let Model::Ratified(_) = self.model else { return Err(WrongProtocol) };
        self.faults.returned_events = times;
        Ok(())
    }

    /// Spoils a queue, as soon as the driver uses it.
    pub fn spoil_queue(&mut self, queue: usize, fault: QueueFault) {
        self.faults.queues.push((queue, fault));
    }

    /// Makes a draft device send any message.
    ///
    /// # Errors
    ///
    /// [`WrongProtocol`].
    pub fn send(&mut self, message: Message) -> Result<(), WrongProtocol> {
        let Model::Draft(device) = &mut self.model else { return Err(WrongProtocol) };
        device.send(message);
        Ok(())
    }

    /// Ends all that is wrong with the device. What it has withheld until now comes late; what it has lost does not come.
    pub fn heal(&mut self) {
        self.faults = Faults::default();
        self.stalled = false;
        if let Model::Draft(device) = &mut self.model {
            for line in (0..device.bank().count()).map(LineId) {
                device.set_mute(line, false);
            }
        }
    }

    /// What a line of a ratified device interrupts for; `None` where there is no such line, and in the draft.
    pub fn interrupt_type(&self, line: LineId) -> Option<InterruptType> {
        match &self.model {
            Model::Ratified(device) => device.interrupt_type(line).ok(),
            Model::Draft(_) => None,
        }
    }

    /// Whether the device has something for the driver that is not in the queues yet.
    pub fn has_undelivered(&self) -> bool {
        match &self.model {
            Model::Ratified(device) => device.has_event(),
            Model::Draft(device) => device.next_message().is_some(),
        }
    }

    /// Lets a new driver begin, with the features that it accepted.
    pub(crate) fn begin(&mut self, features: u64) {
        if let Some(bridge) = self.behind_mut() {
            bridge.begin();
        }
        match &mut self.model {
            Model::Ratified(device) => {
                device.reset();
                device.set_features(features);
            }
            Model::Draft(device) => {
                device.reset();
                device.set_driver_ready(true);
            }
        }
    }

    /// The driver is gone or paused: the real lines that it uses are given back.
    pub(crate) fn suspend(&mut self) {
        let Some(bridge) = self.behind_mut() else { return };
        for (line, drive) in bridge.suspend() {
            self.displace(line, |state| Line { drive, ..state.in_direction(Direction::None) });
        }
    }

    /// The driver goes on where it was: the real lines are taken again.
    pub(crate) fn resume(&mut self) {
        let Some(bridge) = self.behind_mut() else { return };
        for (line, drive, usage) in bridge.resume() {
            self.displace(line, |state| Line { direction: usage.direction, latch: usage.latch, drive, ..state });
        }
    }

    /// Changes a line without anybody's doing.
    fn displace(&mut self, line: LineId, change: impl FnOnce(Line) -> Line) {
        let Ok(after) = self.bank().line(line).map(|state| change(*state)) else { return };
        match &mut self.model {
            Model::Ratified(device) => device.displace(line, after),
            Model::Draft(device) => device.displace(line, after),
        }
    }

    /// Lets the outside drive a line, or let go of it; a real one does it if that is allowed, and the host's line follows.
    pub(crate) fn drive(&mut self, line: LineId, drive: Option<Level>) -> Result<(), HostError> {
        let drive = match self.behind_mut() {
            Some(bridge) => bridge.set_hand(line, drive)?,
            None => drive,
        };
        self.feel(line, drive);
        Ok(())
    }

    /// Something drives a line from outside.
    fn feel(&mut self, line: LineId, drive: Option<Level>) {
        let done = match &mut self.model {
            Model::Ratified(device) => device.drive(line, drive),
            Model::Draft(device) => device.drive(line, drive),
        };
        if let Err(error) = done {
            log::error!("{error}");
        }
    }

    /// The same, for something that happened on the host.
    pub(crate) fn hear(&mut self, news: News) {
        self.feel(news.line, news.level);
    }

    /// The real lines.
    pub(crate) fn behind(&self) -> &Behind {
        match &self.model {
            Model::Ratified(device) => device.hardware(),
            Model::Draft(device) => device.hardware(),
        }
    }

    /// The same, to be used.
    pub(crate) fn behind_mut(&mut self) -> &mut Behind {
        match &mut self.model {
            Model::Ratified(device) => device.hardware_mut(),
            Model::Draft(device) => device.hardware_mut(),
        }
    }

    /// The next thing that happened.
    pub(crate) fn next_activity(&mut self) -> Option<Activity> {
        let journal = match &mut self.model {
            Model::Ratified(device) => device.observer_mut(),
            Model::Draft(device) => device.observer_mut(),
        };
        journal.0.pop_front()
    }
}

fn bank(names: &[String]) -> Result<Bank, ChipError> {
    let count = u16::try_from(names.len()).map_err(|_| ChipError::TooManyLines(names.len()))?;
    Ok(Bank::new(count))
}

fn block(names: &[String]) -> Result<Names, ChipError> {
    if names.iter().all(String::is_empty) {
        return Ok(Names::default());
    }
    Names::new(names).map_err(ChipError::Names)
}
