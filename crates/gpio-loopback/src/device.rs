//! The device model behind the queues: chains in, completions out.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use gpio_model::Token;
use gpio_model::bank::{Bank, UnknownLine};
use gpio_model::observe::{Activity, Observer};
use gpio_model::{draft, ratified};
use virtio_gpio::messages::draft::{Message, RECEIVE_QUEUE, TRANSMIT_QUEUE};
use virtio_gpio::messages::ratified::{EVENT_QUEUE, REQUEST_QUEUE};
use virtio_gpio::messages::{Level, LineId};

use crate::ring::Chain;

/// Keeps what happened, in order.
#[derive(Debug, Default)]
pub struct Recorder(pub(crate) Vec<Activity>);

impl Observer for Recorder {
    fn observe(&mut self, activity: Activity) {
        self.0.push(activity);
    }
}

/// The behaviour of the device.
#[derive(Debug)]
pub enum Model {
    /// VIRTIO 1.2, 5.18.
    Ratified(ratified::Device<Recorder>),
    /// The 2020 draft.
    Draft(draft::Device<Recorder>),
}

/// A chain that goes back to the driver.
#[derive(Debug, Clone)]
pub(crate) struct Completion {
    pub(crate) chain: Chain,
    /// What the device writes; its length is the used length.
    pub(crate) bytes: Vec<u8>,
    /// The line that a request was about.
    pub(crate) line: Option<LineId>,
}

/// The model with the chains that wait in it.
#[derive(Debug)]
pub(crate) struct Device {
    model: Model,
    /// Event buffer pairs of the ratified protocol, by head.
    pairs: BTreeMap<u16, Chain>,
}

impl Device {
    pub(crate) fn new(model: Model) -> Self {
        Self { model, pairs: BTreeMap::new() }
    }

    pub(crate) fn bank(&self) -> &Bank {
        match &self.model {
            Model::Ratified(device) => device.bank(),
            Model::Draft(device) => device.bank(),
        }
    }

    pub(crate) fn take_activities(&mut self) -> Vec<Activity> {
        let recorder = match &mut self.model {
            Model::Ratified(device) => device.observer_mut(),
            Model::Draft(device) => device.observer_mut(),
        };
        core::mem::take(&mut recorder.0)
    }

    /// The device-specific features on offer.
    pub(crate) fn features(&self) -> u64 {
        match &self.model {
            Model::Ratified(device) => device.offered_features(),
            Model::Draft(_) => 0,
        }
    }

    pub(crate) fn config_space(&self) -> Vec<u8> {
        match &self.model {
            Model::Ratified(device) => device.config_space().to_vec(),
            Model::Draft(device) => device.config_space().to_vec(),
        }
    }

    /// The driver is ready, with these features.
    pub(crate) fn start(&mut self, features: u64) {
        match &mut self.model {
            Model::Ratified(device) => device.set_features(features),
            Model::Draft(device) => device.set_driver_ready(true),
        }
    }

    pub(crate) fn reset(&mut self) {
        self.pairs.clear();
        match &mut self.model {
            Model::Ratified(device) => device.reset(),
            Model::Draft(device) => device.reset(),
        }
    }

    pub(crate) fn drive(&mut self, line: LineId, drive: Option<Level>) -> Result<(), UnknownLine> {
        match &mut self.model {
            Model::Ratified(device) => device.drive(line, drive),
            Model::Draft(device) => device.drive(line, drive),
        }
    }

    /// Has a draft device send any message.
    pub(crate) fn send(&mut self, message: Message) {
        if let Model::Draft(device) = &mut self.model {
            device.send(message);
        }
    }

    /// Whether the device takes chains of a queue when it finds them, rather than when it needs one.
    pub(crate) fn takes(&self, queue: u16) -> bool {
        !(matches!(self.model, Model::Draft(_)) && queue == RECEIVE_QUEUE)
    }

    /// Executes a chain. What comes of it at once is returned.
    pub(crate) fn execute(&mut self, chain: Chain) -> Option<Completion> {
        match (&mut self.model, chain.queue) {
            (Model::Ratified(device), REQUEST_QUEUE) => {
                let mut bytes = vec![0; chain.room()];
                let written = device.request(&chain.readable, &mut bytes);
                bytes.truncate(written);
                let line = line_of(&chain.readable);
                Some(Completion { chain, bytes, line })
            }
            (Model::Ratified(device), EVENT_QUEUE) => {
                device.queue_event(Token(chain.head()), &chain.readable, chain.room());
                self.pairs.insert(chain.head(), chain);
                None
            }
            (Model::Draft(device), TRANSMIT_QUEUE) => {
                device.transmit(&chain.readable);
                Some(Completion { chain, bytes: Vec::new(), line: None })
            }
            _ => None,
        }
    }

    /// Something that the device has to say by itself: an event of the ratified protocol, any message of the draft,
    /// for which `buffer` gives a receive buffer.
    pub(crate) fn speak(&mut self, mut buffer: impl FnMut() -> Option<Chain>) -> Option<Completion> {
        match &mut self.model {
            Model::Ratified(device) => {
                let (Token(head), status) = device.pop_event()?;
                let chain = self.pairs.remove(&head)?;
                let bytes = if chain.room() == 0 { Vec::new() } else { vec![status.code()] };
                Some(Completion { chain, bytes, line: None })
            }
            Model::Draft(device) => {
                let message = device.next_message()?;
                let Some(chain) = buffer() else {
                    device.no_receive_buffer();
                    return None;
                };
                device.message_sent();
                let mut bytes = message.encode().to_vec();
                bytes.truncate(chain.room());
                Some(Completion { chain, bytes, line: None })
            }
        }
    }

    /// Drops the replies to a mute line that are the next to be said.
    pub(crate) fn swallow_replies(&mut self, mute: &[u16]) {
        if let Model::Draft(device) = &mut self.model {
            let is_event = |message: &Message| message.kind == virtio_gpio::messages::draft::HOST_LEVEL;
            while device.next_message().is_some_and(|next| mute.contains(&next.line.0) && !is_event(&next)) {
                device.message_sent();
            }
        }
    }
}

/// The line that a request's bytes name; none for the names.
fn line_of(readable: &[u8]) -> Option<LineId> {
    match readable {
        [1, 0, ..] => None,
        [_, _, low, high, ..] => Some(LineId(u16::from_le_bytes([*low, *high]))),
        _ => None,
    }
}
