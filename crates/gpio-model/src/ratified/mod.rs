//! A device of the ratified protocol: VIRTIO 1.2 and later, section 5.18.

mod interrupt;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec;

use virtio_gpio::messages::ratified::{
    Config, EventRequest, EventStatus, FEATURE_IRQ, RESPONSE_SIZE, Request, Status, direction_code,
};
use virtio_gpio::messages::{Direction, InterruptType, Level, LineId};

use crate::Token;
use crate::bank::{Bank, Change, Line, UnknownLine};
use crate::hardware::{self, Hardware, Unavailable};
use crate::names::Names;
use crate::observe::{Activity, Observer};
use interrupt::Interrupt;

/// Where a device is stricter than the specification asks for. The default is as lenient as it allows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a rule of its own, to be switched alone")]
pub struct Quirks {
    /// `SET_DIRECTION` to output is an error before the first `SET_VALUE`.
    pub output_needs_value: bool,
    /// `SET_IRQ_TYPE` with the type that the line already has is an error; so is NONE on a line without a type.
    pub same_type_is_error: bool,
    /// `GET_VALUE` and `SET_IRQ_TYPE` are errors for a line without a direction.
    pub needs_direction: bool,
    /// `SET_IRQ_TYPE` with a level type is an error.
    pub edges_only: bool,
}

impl Quirks {
    /// As strict as rust-vmm's `vhost-device-gpio`.
    pub const VHOST_DEVICE: Self =
        Self { output_needs_value: true, same_type_is_error: true, needs_direction: true, edges_only: true };
}

/// What can be chosen about a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The names of the lines.
    pub names: Names,
    /// Whether the device offers interrupts.
    pub interrupts: bool,
    /// Where the device is stricter than it has to be.
    pub quirks: Quirks,
}

impl Default for Options {
    fn default() -> Self {
        Self { names: Names::default(), interrupts: true, quirks: Quirks::default() }
    }
}

/// The request cannot be fulfilled. The protocol has one error and carries no reason.
struct Refused;

impl From<UnknownLine> for Refused {
    fn from(_: UnknownLine) -> Self {
        Self
    }
}

impl From<Unavailable> for Refused {
    fn from(_: Unavailable) -> Self {
        Self
    }
}

/// What a request led to.
#[derive(Default)]
struct Done {
    /// The second byte of the response.
    value: u8,
    /// The pair that goes back because the line's interrupt was disabled.
    disabled: Option<Token>,
    /// What the line interrupts for from now on. The change that comes with it is no interrupt yet.
    enabled: Option<InterruptType>,
    /// What became of the line.
    change: Option<Change>,
}

/// A device.
///
/// A transport calls [`Device::request`] for each chain of `requestq` and [`Device::queue_event`] for each chain of
/// `eventq`, in the order of their arrival, and then returns the pairs that [`Device::pop_event`] gives. It asks for
/// those after [`Device::drive`], too.
#[derive(Debug)]
pub struct Device<O = (), H = ()> {
    bank: Bank,
    interrupts: Box<[Interrupt]>,
    /// Pairs on their way back. It grows to the number of buffers that the driver's queue can hold, not further.
    returned: VecDeque<(Token, EventStatus)>,
    options: Options,
    features: u64,
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
        let lines = usize::from(bank.count());
        Self {
            interrupts: vec![Interrupt::DISABLED; lines].into_boxed_slice(),
            returned: VecDeque::with_capacity(lines),
            bank,
            options,
            features: 0,
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

    /// The interrupt type of a line.
    ///
    /// # Errors
    ///
    /// [`UnknownLine`].
    pub fn interrupt_type(&self, line: LineId) -> Result<InterruptType, UnknownLine> {
        let unknown = UnknownLine { line, lines: self.bank.count() };
        self.interrupts.get(usize::from(line.0)).map(|interrupt| interrupt.kind()).ok_or(unknown)
    }

    /// Bytes of the names block.
    pub fn names_size(&self) -> usize {
        self.options.names.as_bytes().len()
    }

    /// The device-specific features on offer.
    pub fn offered_features(&self) -> u64 {
        if self.options.interrupts { FEATURE_IRQ } else { 0 }
    }

    /// Takes the features that the driver accepted.
    pub fn set_features(&mut self, accepted: u64) {
        self.features = accepted & self.offered_features();
    }

    /// The configuration space (5.18.4).
    pub fn config_space(&self) -> [u8; Config::SIZE] {
        let names_size = u32::try_from(self.names_size()).unwrap_or(0);
        Config { lines: self.bank.count(), padding: [0, 0], names_size }.to_bytes()
    }

    /// Forgets the driver: its features, its lines and its pairs, which are not returned.
    pub fn reset(&mut self) {
        self.observer.observe(Activity::Reset);
        self.features = 0;
        self.returned.clear();
        self.interrupts.fill(Interrupt::DISABLED);
        for line in (0..self.bank.count()).map(LineId) {
            if let Ok(state) = self.bank.line(line) {
                let after = hardware::left(&mut self.hardware, line, *state);
                self.displace(line, after);
            }
        }
    }

    /// Puts a line into a state that neither its driver nor an edge has brought about: nobody but the observer is told.
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

    /// Answers one chain of `requestq`: the device-readable bytes, and where the device-writable bytes go. Returns the
    /// number of bytes written, which is the chain's used length.
    ///
    /// A request that has no room for its answer is not executed.
    pub fn request(&mut self, readable: &[u8], writable: &mut [u8]) -> usize {
        let Ok(bytes) = <[u8; Request::SIZE]>::try_from(readable) else {
            self.observer.observe(Activity::Malformed { readable: readable.len(), writable: writable.len() });
            return write_response(writable, Status::Error, &[0]);
        };
        let request = Request::decode(bytes);
        let room = writable.len();
        let done = match request {
            Ok(Request::LineNames) => {
                let names = self.options.names.as_bytes();
                let accepted = !names.is_empty() && room > names.len();
                self.observer.observe(Activity::Request { request, accepted });
                let (status, rest) = if accepted { (Status::Ok, names) } else { (Status::Error, [0].as_slice()) };
                return write_response(writable, status, rest);
            }
            Ok(request) if room >= RESPONSE_SIZE => self.execute(request),
            Ok(_) | Err(_) => Err(Refused),
        };
        self.observer.observe(Activity::Request { request, accepted: done.is_ok() });
        let Ok(Done { value, disabled, enabled, change }) = done else {
            return write_response(writable, Status::Error, &[0]);
        };
        if let (Some(pair), Some(line)) = (disabled, request.ok().and_then(Request::line)) {
            self.give_back(line, pair, EventStatus::Invalid);
        }
        self.after_change(change);
        if let (Some(kind), Some(line)) = (enabled, request.ok().and_then(Request::line))
            && let Some(interrupt) = self.interrupts.get_mut(usize::from(line.0))
        {
            interrupt.enable(kind);
        }
        write_response(writable, Status::Ok, &[value])
    }

    fn execute(&mut self, request: Request) -> Result<Done, Refused> {
        let quirks = self.options.quirks;
        let line = request.line().ok_or(Refused)?;
        let state = *self.bank.line(line)?;
        let interrupt = self.interrupts.get_mut(usize::from(line.0)).ok_or(Refused)?;
        let mut done = Done::default();
        match request {
            Request::LineNames => return Err(Refused),
            Request::GetDirection(_) => done.value = direction_code(state.direction),
            Request::SetDirection(_, direction) => {
                let mut kind = interrupt.kind();
                match direction {
                    Direction::None => kind = InterruptType::None,
                    // Interrupt messages are not for outputs (5.18.6.8), so an output with a type could never lose it.
                    Direction::Output if kind != InterruptType::None => return Err(Refused),
                    Direction::Output if quirks.output_needs_value && state.latch.is_none() => return Err(Refused),
                    Direction::Output | Direction::Input => {}
                }
                done.change = put(&mut self.bank, &mut self.hardware, line, state.in_direction(direction), kind)?;
                if direction == Direction::None {
                    done.disabled = interrupt.disable();
                }
            }
            Request::GetValue(_) | Request::SetInterruptType(..)
                if quirks.needs_direction && state.direction == Direction::None =>
            {
                return Err(Refused);
            }
            Request::SetInterruptType(_, kind) if quirks.edges_only && kind.is_level() => return Err(Refused),
            Request::GetValue(_) => done.value = self.hardware.sense(line)?.unwrap_or(state.level()).bit(),
            Request::SetValue(_, level) => {
                let kind = interrupt.kind();
                done.change = put(&mut self.bank, &mut self.hardware, line, state.with_latch(level), kind)?;
            }
            Request::SetInterruptType(_, kind) => {
                if self.features & FEATURE_IRQ == 0 || state.direction == Direction::Output {
                    return Err(Refused);
                }
                match (interrupt.kind(), kind) {
                    (old, new) if old == new && quirks.same_type_is_error => return Err(Refused),
                    (old, new) if old == new => {}
                    (_, InterruptType::None) => {
                        done.change = put(&mut self.bank, &mut self.hardware, line, state, kind)?;
                        done.disabled = interrupt.disable();
                    }
                    (InterruptType::None, _) => {
                        done.change = put(&mut self.bank, &mut self.hardware, line, state, kind)?;
                        done.enabled = Some(kind);
                    }
                    // Another type only by way of NONE (5.18.6.8).
                    _ => return Err(Refused),
                }
            }
        }
        Ok(done)
    }

    fn after_change(&mut self, change: Option<Change>) {
        let Some(change) = change else { return };
        self.observer.observe(Activity::Changed(change));
        let Some(level) = change.new_level() else { return };
        let interrupt = self.interrupts.get_mut(usize::from(change.line.0));
        if let Some(pair) = interrupt.and_then(|interrupt| interrupt.level_changed(level)) {
            self.give_back(change.line, pair, EventStatus::Valid);
        }
    }

    /// Takes one chain of `eventq`: its name, the device-readable bytes, and the room for the device's byte. A pair that
    /// makes no sense goes straight back, with [`EventStatus::Invalid`].
    pub fn queue_event(&mut self, pair: Token, readable: &[u8], writable: usize) {
        let bytes = <[u8; EventRequest::SIZE]>::try_from(readable);
        let (Ok(bytes), EventStatus::SIZE..) = (bytes, writable) else {
            self.observer.observe(Activity::Malformed { readable: readable.len(), writable });
            self.returned.push_back((pair, EventStatus::Invalid));
            return;
        };
        let EventRequest(line) = EventRequest::decode(bytes);
        self.observer.observe(Activity::Unmasked(line));
        let state = self.bank.line(line);
        let interrupt = self.interrupts.get_mut(usize::from(line.0));
        let status = match (state, interrupt) {
            (Ok(state), Some(interrupt)) => {
                // A level that holds interrupts again, so it has to be the level of this instant.
                let sensed = if interrupt.kind().is_level() { self.hardware.sense(line) } else { Ok(None) };
                interrupt.unmask(pair, sensed.unwrap_or(None).unwrap_or(state.level()))
            }
            _ => Some(EventStatus::Invalid),
        };
        if let Some(status) = status {
            self.give_back(line, pair, status);
        }
    }

    fn give_back(&mut self, line: LineId, pair: Token, status: EventStatus) {
        self.observer.observe(Activity::Event { line, status });
        self.returned.push_back((pair, status));
    }

    /// Whether an event buffer pair is on its way back to the driver.
    pub fn has_event(&self) -> bool {
        !self.returned.is_empty()
    }

    /// The next event buffer pair that goes back to the driver. Its used length is 1, or 0 where the chain has no room.
    pub fn pop_event(&mut self) -> Option<(Token, EventStatus)> {
        self.returned.pop_front()
    }
}

/// Puts a line into a state that its driver wants, if what is behind it agrees.
fn put(
    bank: &mut Bank,
    hardware: &mut impl Hardware,
    line: LineId,
    after: Line,
    interrupt: InterruptType,
) -> Result<Option<Change>, Refused> {
    Ok(bank.set(line, hardware::agreed(hardware, line, after, interrupt)?)?)
}

/// Writes the status and as much of the rest as there is room for; returns the number of bytes written.
fn write_response(writable: &mut [u8], status: Status, rest: &[u8]) -> usize {
    let mut written = 0usize;
    for (to, from) in writable.iter_mut().zip(core::iter::once(&status.code()).chain(rest)) {
        *to = *from;
        written = written.saturating_add(1);
    }
    written
}
