//! Who wants to know what happens inside a device.

use virtio_gpio::messages::ratified::{EventStatus, InvalidRequest, Request};
use virtio_gpio::messages::{LineId, draft};

use crate::bank::Change;

/// Something that happened. What a driver causes comes in the order: what it asked for, then what changed by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// The device forgot its driver; the changes of the lines follow.
    Reset,
    /// A line changed.
    Changed(Change),
    /// A request of the ratified protocol was answered.
    Request {
        /// What was asked for.
        request: Result<Request, InvalidRequest>,
        /// Whether the answer was OK.
        accepted: bool,
    },
    /// A chain on one of the ratified protocol's queues was too small or too large for any message.
    Malformed {
        /// Bytes of the device-readable part.
        readable: usize,
        /// Bytes of the device-writable part.
        writable: usize,
    },
    /// The driver queued an event buffer pair: it unmasked the line.
    Unmasked(LineId),
    /// An event buffer pair went back to the driver.
    Event {
        /// The line that the pair was queued for.
        line: LineId,
        /// Whether there was an interrupt.
        status: EventStatus,
    },
    /// A message of the draft was executed.
    Message {
        /// What was asked for.
        request: draft::Message,
        /// The answer.
        reply: draft::Message,
    },
    /// A message of the draft that no one asked for was queued for the driver.
    Notice(draft::Message),
    /// A message of the draft was dropped: there was no room for it, or the line is mute.
    Lost(draft::Message),
}

/// Hears of everything that happens inside a device, in order.
pub trait Observer {
    /// Takes note.
    fn observe(&mut self, activity: Activity);
}

/// Nobody listens.
impl Observer for () {
    fn observe(&mut self, _: Activity) {}
}

impl<F: FnMut(Activity)> Observer for F {
    fn observe(&mut self, activity: Activity) {
        self(activity);
    }
}
