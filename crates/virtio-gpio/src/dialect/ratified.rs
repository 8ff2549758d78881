//! The ratified protocol on its queues: requests with their responses on `requestq`, event buffer pairs on `eventq`
//! (VIRTIO 1.2, 5.18.6 and 5.18.7).

use super::{Arrival, Interrupts, Operation, Value};
use crate::chip::layout::DmaLayout;
use crate::chip::requests::RequestTable;
use crate::error::Error;
use crate::fence::Fence;
use crate::memory::DmaMemory;
use crate::messages::ratified::{self, EventRequest, EventStatus, Request, ResponseError};
use crate::messages::{Direction, InterruptType, LineId};
use crate::queue::{Buffer, Bus, DescriptorSlot, Queue, RingViolation};
use crate::shared::Shared;

/// What the driver writes where the device is to write: neither a status nor a value.
const NOT_WRITTEN: u8 = 0xff;

#[derive(Debug)]
pub(crate) struct Link<'a> {
    layout: DmaLayout,
    requests: Queue<'a>,
    /// Bytes of the names block that the device has written.
    names_written: u32,
    /// Absent where the device cannot interrupt.
    events: Option<Queue<'a>>,
}

/// The message for a step of an operation. A line becomes an output with its level set first: the other way round it
/// could show another level for a moment (5.18.6.4).
pub(super) fn request(operation: Operation, line: LineId, step: u8) -> Option<Request> {
    Some(match (operation, step) {
        (Operation::Names, 0) => Request::LineNames,
        (Operation::Release, 0) => Request::SetDirection(line, Direction::None),
        (Operation::SetInput, 0) => Request::SetDirection(line, Direction::Input),
        (Operation::SetOutput(level) | Operation::SetValue(level), 0) => Request::SetValue(line, level),
        (Operation::SetOutput(_), 1) => Request::SetDirection(line, Direction::Output),
        (Operation::GetDirection, 0) => Request::GetDirection(line),
        (Operation::GetValue, 0) => Request::GetValue(line),
        (Operation::SetInterruptType(kind), 0) => Request::SetInterruptType(line, kind),
        _ => return None,
    })
}

impl<'a> Link<'a> {
    pub(super) fn new(
        layout: DmaLayout,
        request_slots: &'a mut [DescriptorSlot],
        event_slots: &'a mut [DescriptorSlot],
    ) -> Self {
        let requests = Queue::new(ratified::REQUEST_QUEUE, layout.first.size, layout.first_base, request_slots);
        let events =
            layout.second.map(|second| Queue::new(ratified::EVENT_QUEUE, second.size, layout.second_base, event_slots));
        Self { layout, requests, names_written: 0, events }
    }

    pub(super) fn queues(&mut self) -> [Option<&mut Queue<'a>>; 2] {
        [Some(&mut self.requests), self.events.as_mut()]
    }

    pub(super) fn names_written(&self) -> u32 {
        self.names_written
    }

    pub(super) fn watch_limit(&self) -> u16 {
        // Two descriptors for each line.
        self.events.as_ref().map_or(0, |events| events.size() / 2)
    }

    pub(super) fn send<M: DmaMemory, F: Fence>(
        &mut self,
        bus: Bus<'_, M, F>,
        slot: u16,
        requests: &RequestTable<'_>,
    ) -> bool {
        let Some(flying) = requests.get(slot) else { return false };
        let Some(request) = request(flying.asked.operation, flying.asked.target.line, flying.asked.step) else {
            return false;
        };
        if self.requests.free_descriptors() < 2 {
            return false;
        }
        let readable = self.layout.request(slot);
        bus.shared.write_bytes8(readable, request.encode());
        bus.shared.sync_for_device(readable..readable.wrapping_add(Request::SIZE));
        let (writable, length) = if request == Request::LineNames {
            bus.shared.write_u8(self.layout.names, NOT_WRITTEN);
            (self.layout.names, self.layout.names_length as usize)
        } else {
            let response = self.layout.response(slot);
            bus.shared.write_u16(response, u16::from_le_bytes([NOT_WRITTEN; 2]));
            (response, ratified::RESPONSE_SIZE)
        };
        bus.shared.sync_for_device(writable..writable.wrapping_add(length));
        let chain = [Buffer::readable(readable, Request::SIZE), Buffer::writable(writable, length)];
        self.requests.add(bus, &chain, slot)
    }

    pub(super) fn arm<M: DmaMemory, F: Fence>(&mut self, bus: Bus<'_, M, F>, line_slot: u16, line: LineId) -> bool {
        let Some(events) = &mut self.events else { return false };
        if events.free_descriptors() < 2 {
            return false;
        }
        let (readable, writable) = (self.layout.event_line(line_slot), self.layout.event_status(line_slot));
        bus.shared.write_u16(readable, u16::from_le_bytes(EventRequest(line).encode()));
        bus.shared.write_u8(writable, NOT_WRITTEN);
        bus.shared.sync_for_device(readable..readable.wrapping_add(EventRequest::SIZE));
        bus.shared.sync_for_device(writable..writable.wrapping_add(EventStatus::SIZE));
        let chain = [Buffer::readable(readable, EventRequest::SIZE), Buffer::writable(writable, EventStatus::SIZE)];
        events.add(bus, &chain, line_slot)
    }

    pub(super) fn next<M: DmaMemory, F: Fence>(
        &mut self,
        bus: Bus<'_, M, F>,
        requests: &RequestTable<'_>,
        interrupts: Interrupts,
    ) -> Result<Option<Arrival>, (u16, RingViolation)> {
        // Twice at most: a queue that has been asked for its interrupt says nothing new to that.
        loop {
            if let Some(completion) = self.requests.pop(bus).map_err(|error| (self.requests.index(), error))? {
                let slot = completion.token;
                let operation = requests.get(slot).map(|flying| flying.asked.operation);
                let result = self.response(bus.shared, slot, operation, completion.length, completion.writable);
                return Ok(Some(Arrival::Answer { slot, result, oddity: None }));
            }
            if let Some(events) = &mut self.events
                && let Some(completion) = events.pop(bus).map_err(|error| (ratified::EVENT_QUEUE, error))?
            {
                let status = self.layout.event_status(completion.token);
                bus.shared.sync_for_driver(status..status.wrapping_add(EventStatus::SIZE));
                let written = completion.length > 0;
                let status = EventStatus::decode(bus.shared.read_u8(status));
                let interrupt = written && status == Ok(EventStatus::Valid);
                return Ok(Some(Arrival::Event { line_slot: completion.token, interrupt }));
            }
            let more = interrupts == Interrupts::Wanted && self.requests.rearm_interrupt(bus);
            let more_events = self.events.as_mut().is_some_and(|events| events.rearm_interrupt(bus));
            if !more && !more_events {
                return Ok(None);
            }
        }
    }

    pub(super) fn suppress_interrupts<M: DmaMemory, F: Fence>(&mut self, bus: Bus<'_, M, F>) {
        self.requests.suppress_interrupts(bus);
    }

    pub(super) fn has_news<M: DmaMemory, F: Fence>(&self, bus: Bus<'_, M, F>) -> bool {
        self.requests.has_used(bus) || self.events.as_ref().is_some_and(|events| events.has_used(bus))
    }

    /// Believes or refuses a response. Each byte is read once.
    fn response<M: DmaMemory>(
        &mut self,
        shared: &Shared<M>,
        slot: u16,
        operation: Option<Operation>,
        length: u32,
        writable: u32,
    ) -> Result<Value, Error> {
        if length > writable {
            return Err(Error::LongResponse { length });
        }
        if length == 0 {
            return Err(Error::ShortResponse { length });
        }
        if operation == Some(Operation::Names) {
            shared.sync_for_driver(self.layout.names..self.layout.names.wrapping_add(length as usize));
            ratified::decode_status(shared.read_u8(self.layout.names)).map_err(error)?;
            self.names_written = length.saturating_sub(1);
            return Ok(Value::None);
        }
        let response = self.layout.response(slot);
        shared.sync_for_driver(response..response.wrapping_add(ratified::RESPONSE_SIZE));
        let bytes = shared.read_u16(response).to_le_bytes();
        let [status, _] = bytes;
        if (length as usize) < ratified::RESPONSE_SIZE {
            // An error may legally be the status alone; anything else is too short.
            return match ratified::decode_status(status) {
                Err(ResponseError::Refused) => Err(Error::Refused),
                _ => Err(Error::ShortResponse { length }),
            };
        }
        match operation {
            Some(Operation::GetValue) => ratified::decode_level(bytes).map(Value::Level),
            Some(Operation::GetDirection) => ratified::decode_direction(bytes).map(Value::Direction),
            // A device may refuse to switch off what is off already: what was asked for is the case.
            Some(Operation::SetInterruptType(InterruptType::None)) if status == ratified::Status::Error.code() => {
                Ok(Value::None)
            }
            _ => ratified::decode_status(status).map(|()| Value::None),
        }
        .map_err(error)
    }
}

fn error(error: ResponseError) -> Error {
    match error {
        ResponseError::Refused => Error::Refused,
        ResponseError::InvalidStatus(status) => Error::InvalidStatus(status),
        ResponseError::InvalidValue(value) => Error::InvalidValue(value.into()),
    }
}
