//! The queues of a device: chains in, answers out.

use gpio_model::hardware::Hardware;
use gpio_model::observe::Observer;
use gpio_model::{Token, draft, ratified};
use virtio_gpio::messages::LineId;
use virtio_gpio::messages::draft::{Message, RECEIVE_QUEUE, TRANSMIT_QUEUE};
use virtio_gpio::messages::ratified::{EVENT_QUEUE, EventRequest, EventStatus, REQUEST_QUEUE, RESPONSE_SIZE, Request};
use virtio_queue::QueueT;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use super::buffers;
use super::frontend::Frontend;
use super::ring::{QUEUE_SIZE_MAX, Ring};
use crate::chip::{Chip, Model};
use crate::fault::{AnswerFault, Faults, QueueFault};

/// What the device keeps about buffers between two looks at the queues; also the memory to work in.
#[derive(Debug)]
pub(crate) struct Queues {
    /// For each descriptor: where the status of an event buffer pair goes that starts with it.
    event_status: Vec<Option<GuestAddress>>,
    /// Answered requests whose line is mute.
    withheld: Vec<Withheld>,
    readable: Vec<u8>,
    writable: Vec<u8>,
}

/// A chain of `requestq` that is not returned yet.
#[derive(Debug)]
struct Withheld {
    line: LineId,
    head: u16,
    written: usize,
}

impl Queues {
    pub(crate) fn new() -> Self {
        let event_status = vec![None; usize::from(QUEUE_SIZE_MAX)];
        Self { event_status, withheld: Vec::new(), readable: Vec::new(), writable: Vec::new() }
    }

    /// Forgets all buffers.
    pub(crate) fn clear(&mut self) {
        self.event_status.fill(None);
        self.withheld.clear();
    }

    /// Takes one chain from the driver and answers it, if there is one. One, so that what it changes can run along the
    /// wires before the next is looked at.
    pub(crate) fn step(&mut self, frontend: &mut Frontend, chip: &mut Chip) -> bool {
        match &mut chip.model {
            Model::Ratified(device) => self.step_ratified(frontend, device, &mut chip.faults),
            Model::Draft(device) => self.step_draft(frontend, device),
        }
    }

    /// Hands what the device has for the driver into the buffers that are there.
    pub(crate) fn deliver(&mut self, frontend: &mut Frontend, chip: &mut Chip) {
        match &mut chip.model {
            Model::Ratified(device) => self.return_events(frontend, device),
            Model::Draft(device) => while deliver_message(frontend, device) {},
        }
        let Frontend { memory, rings, .. } = frontend;
        chip.faults.queues.retain(|(queue, fault)| {
            let Some(ring) = rings.get_mut(*queue).filter(|ring| ring.is_running()) else { return true };
            match fault {
                QueueFault::Jump(by) => ring.move_used_index(memory, *by),
                QueueFault::Interrupt => ring.interrupt(),
                QueueFault::Element(id) => ring.push_anything(memory, *id, 1),
                QueueFault::Scribble => return !ring.scribble(memory),
            }
            false
        });
    }

    fn step_ratified<O: Observer, H: Hardware>(
        &mut self,
        frontend: &mut Frontend,
        device: &mut ratified::Device<O, H>,
        faults: &mut Faults,
    ) -> bool {
        let Frontend { memory, rings: [requests, events], .. } = frontend;
        if requests.is_running()
            && let Some(late) = self.withheld.extract_if(.., |withheld| !faults.is_mute(withheld.line)).next()
        {
            requests.push(memory, late.head, late.written);
            return true;
        }
        if let Some(chain) = requests.pop(memory) {
            // One byte more than a request has, so that a longer one is noticed.
            buffers::read(memory, &chain, &mut self.readable, Request::SIZE.saturating_add(1));
            let largest = device.names_size().saturating_add(1).max(RESPONSE_SIZE);
            self.writable.resize(buffers::room(&chain).min(largest), 0);
            let answered = device.request(&self.readable, &mut self.writable);
            let request = self.readable.as_slice().try_into().ok().and_then(|bytes| Request::decode(bytes).ok());
            let fault = faults.next_for(request);
            let answer = self.writable.get_mut(..answered).unwrap_or_default();
            if let Some(fault) = fault {
                fault.spoil(answer);
            }
            let written = buffers::write(memory, &chain, answer);
            let head = chain.head_index();
            let status = buffers::first_writable(&chain);
            match request.and_then(Request::line).filter(|line| faults.is_mute(*line)) {
                Some(_) if self.withheld.len() >= usize::from(requests.queue.size()) => {
                    requests.ignore("The driver lends more chains than its queue has descriptors");
                }
                Some(line) => self.withheld.push(Withheld { line, head, written }),
                None => push_answer(requests, memory, head, written, fault),
            }
            if let (Some(AnswerFault::Rewritten(byte)), Some(status)) = (fault, status)
                && let Err(error) = memory.write_obj(byte, status)
            {
                log::warn!("The driver's buffer is not in its memory: {error}");
            }
            return true;
        }
        if let Some(chain) = events.pop(memory) {
            buffers::read(memory, &chain, &mut self.readable, EventRequest::SIZE.saturating_add(1));
            let head = chain.head_index();
            if faults.returns_event() {
                let written = buffers::write(memory, &chain, &[EventStatus::Invalid.code()]);
                events.push(memory, head, written);
            } else if let Some(status) = self.event_status.get_mut(usize::from(head)) {
                *status = buffers::first_writable(&chain);
                device.queue_event(Token(head), &self.readable, buffers::room(&chain));
            }
            return true;
        }
        false
    }

    fn return_events<O: Observer, H: Hardware>(
        &mut self,
        frontend: &mut Frontend,
        device: &mut ratified::Device<O, H>,
    ) {
        let Frontend { memory, rings: [_, events], .. } = frontend;
        while events.is_running()
            && let Some((Token(head), status)) = device.pop_event()
        {
            let address = self.event_status.get_mut(usize::from(head)).and_then(Option::take);
            let written = address.is_some_and(|address| memory.write_obj(status.code(), address).is_ok());
            events.push(memory, head, if written { EventStatus::SIZE } else { 0 });
        }
    }

    fn step_draft<O: Observer, H: Hardware>(
        &mut self,
        frontend: &mut Frontend,
        device: &mut draft::Device<O, H>,
    ) -> bool {
        if deliver_message(frontend, device) {
            return true;
        }
        if device.next_message().is_some() {
            // Nobody can be answered before the driver posts a receive buffer.
            return false;
        }
        let Frontend { memory, rings: [_, transmit], .. } = frontend;
        let Some(chain) = transmit.pop(memory) else { return false };
        buffers::read(memory, &chain, &mut self.readable, draft::WAITING_LIMIT.saturating_mul(Message::SIZE));
        device.transmit(&self.readable);
        transmit.push(memory, chain.head_index(), 0);
        true
    }
}

/// Returns the chain of an answered request, with what is wrong about that.
fn push_answer(ring: &mut Ring, memory: &GuestMemoryMmap, head: u16, written: usize, fault: Option<AnswerFault>) {
    let length = u32::try_from(written).unwrap_or(u32::MAX);
    match fault {
        None | Some(AnswerFault::Status(_) | AnswerFault::Value(_) | AnswerFault::Rewritten(_)) => {
            ring.push(memory, head, written);
        }
        Some(AnswerFault::Length(length)) => ring.push_anything(memory, head.into(), length),
        Some(AnswerFault::Id(id)) => ring.push_anything(memory, id, length),
        Some(AnswerFault::IdPlus(more)) => ring.push_anything(memory, u32::from(head).wrapping_add(more), length),
        Some(AnswerFault::Twice) => {
            ring.push(memory, head, written);
            ring.push(memory, head, written);
        }
        Some(AnswerFault::Silent) => {
            ring.push(memory, head, written);
            ring.keep_silent();
        }
    }
}

/// Puts the draft device's next message into a receive buffer, or tells the device that there is none. Returns whether
/// the device has a message less.
fn deliver_message<O: Observer, H: Hardware>(frontend: &mut Frontend, device: &mut draft::Device<O, H>) -> bool {
    let Frontend { memory, rings: [receive, _], .. } = frontend;
    let Some(message) = device.next_message() else { return false };
    let Some(chain) = receive.pop_listening(memory) else {
        device.no_receive_buffer();
        return device.next_message().is_none();
    };
    let written = buffers::write(memory, &chain, &message.encode());
    receive.push(memory, chain.head_index(), written);
    device.message_sent();
    true
}

// The patterns above name the rings in the order of the queues' numbers.
const _: () = assert!(REQUEST_QUEUE == 0 && EVENT_QUEUE == 1 && RECEIVE_QUEUE == 0 && TRANSMIT_QUEUE == 1);
