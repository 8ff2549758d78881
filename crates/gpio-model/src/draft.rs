//! A device of the 2020 draft: "Virtio-GPIO protocol specification, version 1.0".

use alloc::collections::{BTreeSet, VecDeque};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use virtio_gpio::messages::draft::{
    Config, DEVICE_NAME_OFFSET, DEVICE_NAME_SIZE, HOST_LEVEL, LINE_NAMES_OFFSET, Marking, Message, RequestType, VERSION,
};
use virtio_gpio::messages::{Direction, InterruptType, Level, LineId};

use crate::bank::{Bank, Change, Line, UnknownLine};
use crate::hardware::{self, Hardware, Unavailable};
use crate::names::Names;
use crate::observe::{Activity, Observer};

/// Linux's error number for a line that another uses already.
pub const EBUSY: i32 = 16;
/// Linux's error number for a request that makes no sense.
pub const EINVAL: i32 = 22;

/// Messages that wait for a receive buffer at most. Level messages beyond it are lost, and so are the replies to a
/// driver that sends on although it posts no buffers.
pub const WAITING_LIMIT: usize = 1024;

/// A request that the device refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// The type of the request.
    pub request: RequestType,
    /// The line; `None` for all.
    pub line: Option<LineId>,
    /// The error number, without a sign.
    pub error: i32,
}

/// What can be chosen about a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The name of the device; 31 bytes of it count.
    pub device_name: String,
    /// The names of the lines; as many of them count as fit into the configuration space.
    pub names: Names,
    /// Bytes of the configuration space: at least 8. Stock QEMU has 256 at most.
    pub config_size: usize,
    /// The version in the configuration space.
    pub version: u8,
    /// How replies are marked.
    pub marking: Marking,
    /// The requests that fail.
    pub refusals: Vec<Refusal>,
    /// Whether `SET_VALUE` is accepted for a line that is no output; the level is remembered then.
    pub accept_value_on_input: bool,
    /// Whether a message is lost for good when there is no receive buffer for it, as in the original device. Otherwise
    /// it waits for one.
    pub lose_without_buffer: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            device_name: String::new(),
            names: Names::default(),
            config_size: 256,
            version: VERSION,
            marking: Marking::HighBit,
            refusals: Vec::new(),
            accept_value_on_input: false,
            lose_without_buffer: false,
        }
    }
}

/// A device.
///
/// A transport hands each chain of the transmit queue to [`Device::transmit`], and puts each message that
/// [`Device::next_message`] shows into a buffer of the receive queue, one to a buffer. It does so after
/// [`Device::drive`], too. While a message waits for a receive buffer, it leaves further transmit chains in their ring:
/// a device that does not answer does not take more questions.
#[derive(Debug)]
pub struct Device<O = (), H = ()> {
    bank: Bank,
    config_space: Vec<u8>,
    waiting: VecDeque<Message>,
    /// The lines whose replies are lost.
    mute: BTreeSet<LineId>,
    driver_ready: bool,
    options: Options,
    observer: O,
    hardware: H,
}

impl Device {
    /// A device that nobody observes.
    pub fn new(bank: Bank, options: Options) -> Self {
        Self::with_observer(bank, options, ())
    }
}

impl<O: Observer> Device<O> {
    /// A device whose observer hears of everything that happens.
    pub fn with_observer(bank: Bank, options: Options, observer: O) -> Self {
        Self::with_hardware(bank, options, observer, ())
    }
}

impl<O: Observer, H: Hardware> Device<O, H> {
    /// A device that has something behind its lines.
    pub fn with_hardware(bank: Bank, options: Options, observer: O, hardware: H) -> Self {
        Self {
            config_space: config_space(bank.count(), &options),
            waiting: VecDeque::with_capacity(WAITING_LIMIT),
            mute: BTreeSet::new(),
            driver_ready: false,
            bank,
            options,
            observer,
            hardware,
        }
    }

    /// The observer.
    pub fn observer_mut(&mut self) -> &mut O {
        &mut self.observer
    }

    /// What is behind the lines.
    pub fn hardware(&self) -> &H {
        &self.hardware
    }

    /// The same, to be changed.
    pub fn hardware_mut(&mut self) -> &mut H {
        &mut self.hardware
    }

    /// The lines.
    pub fn bank(&self) -> &Bank {
        &self.bank
    }

    /// The configuration space.
    pub fn config_space(&self) -> &[u8] {
        &self.config_space
    }

    /// Says whether the driver has said `DRIVER_OK`. Before that, nobody is told of levels.
    pub fn set_driver_ready(&mut self, ready: bool) {
        self.driver_ready = ready;
    }

    /// Makes the device carry out the requests for a line without a reply, or reply again: to imitate a faulty device.
    pub fn set_mute(&mut self, line: LineId, mute: bool) {
        if mute {
            self.mute.insert(line);
        } else {
            self.mute.remove(&line);
        }
    }

    /// Forgets the driver: its lines, and the messages that wait for it.
    pub fn reset(&mut self) {
        self.observer.observe(Activity::Reset);
        self.driver_ready = false;
        self.waiting.clear();
        for line in (0..self.bank.count()).map(LineId) {
            if let Ok(state) = self.bank.line(line) {
                let after = hardware::left(&mut self.hardware, line, *state);
                self.displace(line, after);
            }
        }
    }

    /// Puts a line into a state that neither its driver nor the outside has brought about: nobody but the observer is told.
    pub fn displace(&mut self, line: LineId, after: Line) {
        if let Ok(Some(change)) = self.bank.set(line, after) {
            self.observer.observe(Activity::Changed(change));
        }
    }

    /// Lets the outside drive a line, or let go of it.
    ///
    /// # Errors
    ///
    /// [`UnknownLine`].
    pub fn drive(&mut self, line: LineId, drive: Option<Level>) -> Result<(), UnknownLine> {
        let change = self.bank.drive(line, drive)?;
        self.after_change(change);
        Ok(())
    }

    /// Executes the messages of one chain of the transmit queue, one after the other. Bytes behind the last whole
    /// message mean nothing.
    pub fn transmit(&mut self, readable: &[u8]) {
        let (messages, _) = readable.as_chunks::<{ Message::SIZE }>();
        for bytes in messages {
            self.message(*bytes);
        }
    }

    /// Executes one message.
    pub fn message(&mut self, bytes: [u8; Message::SIZE]) {
        let request = Message::decode(bytes);
        let (value, change) = match self.execute(request) {
            Ok((value, change)) => (value, change),
            Err(Refused(error)) => (error.saturating_neg(), None),
        };
        let reply = Message { kind: self.options.marking.apply(request.kind), line: request.line, value };
        self.observer.observe(Activity::Message { request, reply });
        if self.mute.contains(&reply.line) {
            self.observer.observe(Activity::Lost(reply));
        } else {
            self.enqueue(reply);
        }
        self.after_change(change);
    }

    /// Sends any message, whether it makes sense or not: to imitate a faulty device.
    pub fn send(&mut self, message: Message) {
        self.observer.observe(Activity::Notice(message));
        self.enqueue(message);
    }

    /// The message that goes into the next receive buffer.
    pub fn next_message(&self) -> Option<Message> {
        self.waiting.front().copied()
    }

    /// The transport has put [`Device::next_message`] into a receive buffer.
    pub fn message_sent(&mut self) {
        self.waiting.pop_front();
    }

    /// The transport has no receive buffer for [`Device::next_message`]: the messages wait, or they are lost.
    pub fn no_receive_buffer(&mut self) {
        if self.options.lose_without_buffer {
            while let Some(message) = self.waiting.pop_front() {
                self.observer.observe(Activity::Lost(message));
            }
        }
    }

    fn execute(&mut self, Message { kind, line, value }: Message) -> Result<(i32, Option<Change>), Refused> {
        let kind = RequestType::from_code(kind).ok_or(Refused(EINVAL))?;
        let state = *self.bank.line(line)?;
        let is_refused = |refusal: &&Refusal| refusal.request == kind && refusal.line.is_none_or(|only| only == line);
        if let Some(refusal) = self.options.refusals.iter().find(is_refused) {
            return Err(Refused(refusal.error));
        }
        Ok(match kind {
            RequestType::Request => {
                self.hardware.claim(line)?;
                (0, None)
            }
            RequestType::DirectionInput => (0, self.put(line, state.in_direction(Direction::Input))?),
            RequestType::DirectionOutput => {
                (0, self.put(line, state.in_direction(Direction::Output).with_latch(level(value)?))?)
            }
            RequestType::GetDirection => (i32::from(state.direction != Direction::Output), None),
            RequestType::GetValue => (self.hardware.sense(line)?.unwrap_or(state.level()).bit().into(), None),
            RequestType::SetValue => {
                if state.direction != Direction::Output && !self.options.accept_value_on_input {
                    return Err(Refused(EINVAL));
                }
                let level = level(value)?;
                (level.bit().into(), self.put(line, state.with_latch(level))?)
            }
        })
    }

    /// Puts a line into a state that its driver wants, if what is behind it agrees.
    fn put(&mut self, line: LineId, after: Line) -> Result<Option<Change>, Refused> {
        let after = hardware::agreed(&mut self.hardware, line, after, InterruptType::None)?;
        Ok(self.bank.set(line, after)?)
    }

    /// Every change of a level is told, except of outputs: their levels are the driver's own.
    fn after_change(&mut self, change: Option<Change>) {
        let Some(change) = change else { return };
        self.observer.observe(Activity::Changed(change));
        let Change { line, after: Line { direction, .. }, .. } = change;
        if let (Some(level), true, true) = (change.new_level(), self.driver_ready, direction != Direction::Output) {
            self.send(Message { kind: HOST_LEVEL, line, value: level.bit().into() });
        }
    }

    fn enqueue(&mut self, message: Message) {
        if self.waiting.len() < WAITING_LIMIT {
            self.waiting.push_back(message);
        } else {
            self.observer.observe(Activity::Lost(message));
        }
    }
}

/// The request fails with that error number, which has no sign yet.
struct Refused(i32);

impl From<UnknownLine> for Refused {
    fn from(_: UnknownLine) -> Self {
        Self(EINVAL)
    }
}

impl From<Unavailable> for Refused {
    fn from(Unavailable { error }: Unavailable) -> Self {
        Self(error)
    }
}

fn level(value: i32) -> Result<Level, Refused> {
    match value {
        0 => Ok(Level::Low),
        1 => Ok(Level::High),
        _ => Err(Refused(EINVAL)),
    }
}

fn config_space(lines: u16, options: &Options) -> Vec<u8> {
    let size = options.config_size.max(Config::SIZE);
    let names_offset = usize::from(LINE_NAMES_OFFSET);
    let names = options.names.whole_names_within(size.saturating_sub(names_offset));
    let names_size = u32::try_from(names.len()).unwrap_or(0);
    let name = options.device_name.as_bytes();
    let name = name.get(..DEVICE_NAME_SIZE.saturating_sub(1)).unwrap_or(name);

    let mut space = vec![0; size];
    let head = Config { version: options.version, reserved: 0, lines, names_size }.to_bytes();
    for (offset, bytes) in [(0, head.as_slice()), (usize::from(DEVICE_NAME_OFFSET), name), (names_offset, names)] {
        for (to, from) in space.iter_mut().skip(offset).zip(bytes) {
            *to = *from;
        }
    }
    space
}
