//! What can be wrong with a simulated device. The model behind it stays healthy: faults are put on what leaves it, the
//! answers and the used rings, so that each one can be combined with everything that the model does.

use std::collections::BTreeSet;

use virtio_gpio::messages::LineId;
use virtio_gpio::messages::ratified::Request;

use crate::request::Requests;

/// What is wrong with an answer of the ratified protocol. The request is carried out all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerFault {
    /// The status is this byte.
    Status(u8),
    /// The byte behind the status is this one.
    Value(u8),
    /// The used element has this length, whatever was written.
    Length(u32),
    /// The used element names this chain.
    Id(u32),
    /// The used element names the chain plus this.
    IdPlus(u32),
    /// The chain is returned twice.
    Twice,
    /// The driver is not interrupted.
    Silent,
    /// The status becomes this byte, after the chain was returned.
    Rewritten(u8),
}

/// What is wrong with a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueFault {
    /// The used index moves by so much, with no elements behind it.
    Jump(u16),
    /// The driver is interrupted without a reason.
    Interrupt,
    /// A used element names this chain.
    Element(u32),
    /// Descriptor table and available ring are overwritten with nonsense, all but the available index, as soon as the
    /// device has taken everything from them. Whether that matters is up to the driver: the device looks at what comes
    /// after it.
    Scribble,
}

/// A fault in the answers to some requests.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rule {
    pub(crate) fault: AnswerFault,
    /// Answers that are still to be spoiled.
    pub(crate) times: u32,
    pub(crate) requests: Requests,
}

/// Everything that is wrong with a device at present.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    pub(crate) rules: Vec<Rule>,
    pub(crate) mute: BTreeSet<LineId>,
    /// Event buffers that are still to be returned at once, without an interrupt.
    pub(crate) returned_events: u32,
    /// By the number of the queue.
    pub(crate) queues: Vec<(usize, QueueFault)>,
}

impl Faults {
    /// The fault that the answer to a request is to have.
    pub(crate) fn next_for(&mut self, request: Option<Request>) -> Option<AnswerFault> {
        let request = request?;
        let rule = self.rules.iter_mut().find(|rule| rule.times > 0 && rule.requests.include(request))?;
        rule.times = rule.times.saturating_sub(1);
        Some(rule.fault)
    }

    /// Whether requests for that line are never answered.
    pub(crate) fn is_mute(&self, line: LineId) -> bool {
        self.mute.contains(&line)
    }

    /// Whether the next event buffer is to be returned at once.
    pub(crate) fn returns_event(&mut self) -> bool {
        let returns = self.returned_events > 0;
        self.returned_events = self.returned_events.saturating_sub(1);
        returns
    }
}

impl AnswerFault {
    /// Spoils the bytes of an answer, where that is the fault.
    pub(crate) fn spoil(self, answer: &mut [u8]) {
        let (place, byte) = match self {
            Self::Status(status) => (0, status),
            Self::Value(value) => (1, value),
            Self::Length(_) | Self::Id(_) | Self::IdPlus(_) | Self::Twice | Self::Silent | Self::Rewritten(_) => return,
        };
        if let Some(place) = answer.get_mut(place) {
            *place = byte;
        }
    }
}
