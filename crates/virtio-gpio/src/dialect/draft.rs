//! The 2020 draft on its queues: messages to the device on the transmit queue, everything from it on the receive
//! queue. A reply is known by its type and line alone, and how its type is marked differs from device to device.

use super::{Arrival, Interrupts, Oddity, Operation, Value};
use crate::chip::layout::DmaLayout;
use crate::chip::requests::{RequestSlot, RequestTable};
use crate::error::Error;
use crate::fence::Fence;
use crate::memory::DmaMemory;
use crate::messages::LineId;
use crate::messages::draft::{self, HOST_LEVEL, Marking, Message, RequestType};
use crate::queue::{Buffer, Bus, DescriptorSlot, Queue, RingViolation};

const MARK_BITS: u16 = 0xf000;

#[derive(Debug)]
pub(crate) struct Link<'a> {
    layout: DmaLayout,
    receive: Queue<'a>,
    transmit: Queue<'a>,
    /// How this device marks replies, once a reply has shown it beyond doubt.
    marking: Option<Marking>,
    /// How many requests may be under way at once.
    in_flight: u16,
}

/// The message for an operation. Interrupt types are the driver's own business here: the device reports every level.
pub(super) fn request(operation: Operation, line: LineId) -> Option<Message> {
    let (kind, value) = match operation {
        Operation::Acquire => (RequestType::Request, 0),
        // There is no message for the end of use; as an input the line disturbs nobody.
        Operation::Release | Operation::SetInput => (RequestType::DirectionInput, 0),
        Operation::SetOutput(level) => (RequestType::DirectionOutput, level.bit()),
        Operation::GetDirection => (RequestType::GetDirection, 0),
        Operation::GetValue => (RequestType::GetValue, 0),
        Operation::SetValue(level) => (RequestType::SetValue, level.bit()),
        Operation::Names | Operation::SetInterruptType(_) => return None,
    };
    Some(Message::request(kind, line, value.into()))
}

/// What a message from the device can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A reply; the marking that it shows.
    Reply(Marking),
    /// `HOST_LEVEL`: an event, or the reply to `REQUEST` of a device that marks by OR'ing that very code.
    Level,
    Unknown,
}

fn classify(kind: u16) -> Kind {
    match kind & MARK_BITS {
        0x8000 => Kind::Reply(Marking::HighBit),
        MARK_BITS => Kind::Reply(Marking::HighNibble),
        0 => match kind {
            HOST_LEVEL => Kind::Level,
            0x13 | 0x15 | 0x17 => Kind::Reply(Marking::HostLevel),
            0x01..=0x06 => Kind::Reply(Marking::Echo),
            _ => Kind::Unknown,
        },
        _ => Kind::Unknown,
    }
}

impl<'a> Link<'a> {
    pub(super) fn new(
        layout: DmaLayout,
        receive_slots: &'a mut [DescriptorSlot],
        transmit_slots: &'a mut [DescriptorSlot],
        in_flight: u16,
    ) -> Self {
        // A draft device always has both queues; without the second one the chip is not set up.
        let second = layout.second.unwrap_or(layout.first);
        Self {
            layout,
            receive: Queue::new(draft::RECEIVE_QUEUE, layout.first.size, layout.first_base, receive_slots),
            transmit: Queue::new(draft::TRANSMIT_QUEUE, second.size, layout.second_base, transmit_slots),
            marking: None,
            in_flight,
        }
    }

    pub(super) fn queues(&mut self) -> [Option<&mut Queue<'a>>; 2] {
        [Some(&mut self.receive), Some(&mut self.transmit)]
    }

    /// Buffers that lie with the device all the time.
    pub(super) fn receive_buffers(&self) -> u16 {
        self.receive.size()
    }

    /// Fills the receive queue: a device that finds no buffer drops its message for good. How replies are marked is
    /// learnt anew: behind a reset may stand another device process.
    pub(super) fn restart<M: DmaMemory, F: Fence>(&mut self, bus: Bus<'_, M, F>) {
        self.marking = None;
        for buffer in 0..self.receive.size() {
            self.post(bus, buffer);
        }
    }

    fn post<M: DmaMemory, F: Fence>(&mut self, bus: Bus<'_, M, F>, buffer: u16) {
        let offset = self.layout.receive(buffer);
        bus.shared.write_bytes8(offset, [0; Message::SIZE]);
        bus.shared.sync_for_device(offset..offset.wrapping_add(Message::SIZE));
        let chain = [Buffer::writable(offset, Message::SIZE)];
        self.receive.add(bus, &chain, buffer);
    }

    pub(super) fn send<M: DmaMemory, F: Fence>(
        &mut self,
        bus: Bus<'_, M, F>,
        slot: u16,
        requests: &RequestTable<'_>,
    ) -> bool {
        let Some(flying) = requests.get(slot) else { return false };
        let Some(message) = request(flying.asked.operation, flying.asked.target.line) else { return false };
        // While the marking may be the prose's, a reply to REQUEST can be told from an event only where nothing else
        // is under way. Later messages never overtake: replies to the same type and line are told apart by order.
        let limit = match self.marking {
            None | Some(Marking::HostLevel) => 1,
            Some(_) => self.in_flight.max(1),
        };
        if requests.waiting_for_answer() >= limit || self.transmit.free_descriptors() == 0 {
            return false;
        }
        let offset = self.layout.request(slot);
        bus.shared.write_bytes8(offset, message.encode());
        bus.shared.sync_for_device(offset..offset.wrapping_add(Message::SIZE));
        let chain = [Buffer::readable(offset, Message::SIZE)];
        self.transmit.add(bus, &chain, slot)
    }

    pub(super) fn next<M: DmaMemory, F: Fence>(
        &mut self,
        bus: Bus<'_, M, F>,
        requests: &RequestTable<'_>,
        interrupts: Interrupts,
    ) -> Result<Option<Arrival>, (u16, RingViolation)> {
        // Twice at most: a queue that has been asked for its interrupt says nothing new to that.
        loop {
            if let Some(completion) = self.transmit.pop(bus).map_err(|error| (draft::TRANSMIT_QUEUE, error))? {
                return Ok(Some(Arrival::Returned { slot: completion.token }));
            }
            if let Some(completion) = self.receive.pop(bus).map_err(|error| (draft::RECEIVE_QUEUE, error))? {
                let offset = self.layout.receive(completion.token);
                bus.shared.sync_for_driver(offset..offset.wrapping_add(Message::SIZE));
                let message = Message::decode(bus.shared.read_bytes8(offset));
                self.post(bus, completion.token);
                return Ok(Some(self.receive(message, completion.length, requests)));
            }
            let more = self.receive.rearm_interrupt(bus);
            let more_room = interrupts == Interrupts::Wanted && self.transmit.rearm_interrupt(bus);
            if !more && !more_room {
                return Ok(None);
            }
        }
    }

    pub(super) fn suppress_interrupts<M: DmaMemory, F: Fence>(&mut self, bus: Bus<'_, M, F>) {
        self.transmit.suppress_interrupts(bus);
    }

    pub(super) fn has_news<M: DmaMemory, F: Fence>(&self, bus: Bus<'_, M, F>) -> bool {
        self.receive.has_used(bus) || self.transmit.has_used(bus)
    }

    /// What a message means, given what was asked.
    fn receive(&mut self, message: Message, length: u32, requests: &RequestTable<'_>) -> Arrival {
        let unexpected = Arrival::Odd(Oddity::UnexpectedMessage { kind: message.kind, line: message.line });
        if length as usize != Message::SIZE {
            // Too short to mean anything, or a claim of more than there was room for.
            return unexpected;
        }
        match classify(message.kind) {
            Kind::Level => {
                if let Some(slot) = self.request_behind_level(message, requests) {
                    return Arrival::Answer { slot, result: answer(Operation::Acquire, message.value), oddity: None };
                }
                let (level, wide) = draft::decode_level(message.value);
                let oddity = wide.then_some(Oddity::WideLevel(message.line));
                Arrival::LevelChange { line: message.line, level, oddity }
            }
            Kind::Reply(marking) if self.marking.is_none_or(|known| known == marking) => {
                let Some((slot, request)) = find(marking, message, requests) else { return unexpected };
                self.marking = Some(marking);
                let oddity = if request.asked.target.line == message.line {
                    let wide = request.asked.operation == Operation::GetValue && draft::decode_level(message.value).1;
                    (wide && message.value >= 0).then_some(Oddity::WideLevel(message.line))
                } else {
                    Some(Oddity::WrongLine { asked: request.asked.target.line, answered: message.line })
                };
                Arrival::Answer { slot, result: answer(request.asked.operation, message.value), oddity }
            }
            Kind::Reply(_) | Kind::Unknown => unexpected,
        }
    }

    /// The request that a `HOST_LEVEL` message answers, if it is a reply to REQUEST in the prose's marking: the same
    /// line, no positive value, nothing else under way, and no other marking seen.
    fn request_behind_level(&self, message: Message, requests: &RequestTable<'_>) -> Option<u16> {
        if self.marking.is_some_and(|known| known != Marking::HostLevel) || message.value > 0 {
            return None;
        }
        let mut waiting = requests.unanswered();
        let (slot, request) = waiting.next()?;
        let sole = waiting.next().is_none();
        (sole && request.asked.operation == Operation::Acquire && request.asked.target.line == message.line)
            .then_some(slot)
    }
}

/// The request that a reply belongs to: the oldest of its type and line; failing that, the only one under way if the
/// type fits, because there are devices that do not fill in the line.
fn find<'r>(marking: Marking, message: Message, requests: &'r RequestTable<'_>) -> Option<(u16, &'r RequestSlot)> {
    let fits = |request: &RequestSlot| {
        self::request(request.asked.operation, request.asked.target.line)
            .is_some_and(|sent| marking.apply(sent.kind) == message.kind)
    };
    let exact = requests
        .unanswered()
        .filter(|(_, request)| request.asked.target.line == message.line && fits(request))
        .min_by_key(|(_, request)| requests.order_of(request));
    if exact.is_some() {
        return exact;
    }
    let mut waiting = requests.unanswered();
    let only = waiting.next()?;
    (waiting.next().is_none() && fits(only.1)).then_some(only)
}

/// Error numbers by which a device says that it does not know REQUEST: EINVAL, ENOSYS, and the later text's own INVAL.
/// Its lines can be used all the same.
const NO_ARBITRATION: [i32; 3] = [-22, -38, -4];

/// Reads a reply's value. Negative is an error before anything else is looked at.
fn answer(operation: Operation, value: i32) -> Result<Value, Error> {
    if operation == Operation::Acquire && NO_ARBITRATION.contains(&value) {
        return Ok(Value::None);
    }
    if value < 0 {
        return Err(Error::Errno(value.unsigned_abs()));
    }
    match operation {
        Operation::GetValue => Ok(Value::Level(draft::decode_level(value).0)),
        Operation::GetDirection => {
            draft::decode_direction(value).map(Value::Direction).ok_or(Error::InvalidValue(value))
        }
        _ => Ok(Value::None),
    }
}
