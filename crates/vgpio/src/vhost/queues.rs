//! The queues of a device: chains in, answers out.

use gpio_model::observe::Observer;
use gpio_model::{Token, draft, ratified};
use virtio_gpio::messages::draft::{Message, RECEIVE_QUEUE, TRANSMIT_QUEUE};
use virtio_gpio::messages::ratified::{EVENT_QUEUE, EventRequest, EventStatus, REQUEST_QUEUE, RESPONSE_SIZE, Request};
use vm_memory::{Bytes, GuestAddress};

use super::buffers;
use super::frontend::Frontend;
use super::ring::QUEUE_SIZE_MAX;
use crate::chip::{Chip, Model};

/// What the device keeps about buffers between two looks at the queues; also the memory to work in.
#[derive(Debug)]
pub(crate) struct Queues {
    /// For each descriptor: where the status of an event buffer pair goes that starts with it.
    event_status: Vec<Option<GuestAddress>>,
    readable: Vec<u8>,
    writable: Vec<u8>,
}

impl Queues {
    pub(crate) fn new() -> Self {
        let event_status = vec![None; usize::from(QUEUE_SIZE_MAX)];
        Self { event_status, readable: Vec::new(), writable: Vec::new() }
    }

    /// Forgets all buffers.
    pub(crate) fn clear(&mut self) {
        self.event_status.fill(None);
    }

    /// Takes one chain from the driver and answers it, if there is one. One, so that what it changes can run along the
    /// wires before the next is looked at.
    pub(crate) fn step(&mut self, frontend: &mut Frontend, chip: &mut Chip) -> bool {
        match &mut chip.model {
            Model::Ratified(device) => self.step_ratified(frontend, device),
            Model::Draft(device) => self.step_draft(frontend, device),
        }
    }

    /// Hands what the device has for the driver into the buffers that are there.
    pub(crate) fn deliver(&mut self, frontend: &mut Frontend, chip: &mut Chip) {
        match &mut chip.model {
            Model::Ratified(device) => self.return_events(frontend, device),
            Model::Draft(device) => while deliver_message(frontend, device) {},
        }
    }

    fn step_ratified<O: Observer>(&mut self, frontend: &mut Frontend, device: &mut ratified::Device<O>) -> bool {
        let Frontend { memory, rings: [requests, events], .. } = frontend;
        if let Some(chain) = requests.pop(memory) {
            // One byte more than a request has, so that a longer one is noticed.
            buffers::read(memory, &chain, &mut self.readable, Request::SIZE.saturating_add(1));
            let largest = device.names_size().saturating_add(1).max(RESPONSE_SIZE);
            self.writable.resize(buffers::room(&chain).min(largest), 0);
            let answered = device.request(&self.readable, &mut self.writable);
            let answer = self.writable.get(..answered).unwrap_or_default();
            let written = buffers::write(memory, &chain, answer);
            requests.push(memory, chain.head_index(), written);
            return true;
        }
        if let Some(chain) = events.pop(memory) {
            buffers::read(memory, &chain, &mut self.readable, EventRequest::SIZE.saturating_add(1));
            let head = chain.head_index();
            if let Some(status) = self.event_status.get_mut(usize::from(head)) {
                *status = buffers::first_writable(&chain);
                device.queue_event(Token(head), &self.readable, buffers::room(&chain));
            }
            return true;
        }
        false
    }

    fn return_events<O: Observer>(&mut self, frontend: &mut Frontend, device: &mut ratified::Device<O>) {
        let Frontend { memory, rings: [_, events], .. } = frontend;
        while events.is_running()
            && let Some((Token(head), status)) = device.pop_event()
        {
            let address = self.event_status.get_mut(usize::from(head)).and_then(Option::take);
            let written = address.is_some_and(|address| memory.write_obj(status.code(), address).is_ok());
            events.push(memory, head, if written { EventStatus::SIZE } else { 0 });
        }
    }

    fn step_draft<O: Observer>(&mut self, frontend: &mut Frontend, device: &mut draft::Device<O>) -> bool {
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

/// Puts the draft device's next message into a receive buffer, or tells the device that there is none. Returns whether
/// the device has a message less.
fn deliver_message<O: Observer>(frontend: &mut Frontend, device: &mut draft::Device<O>) -> bool {
    let Frontend { memory, rings: [receive, _], .. } = frontend;
    let Some(message) = device.next_message() else { return false };
    let Some(chain) = receive.pop(memory) else {
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
