//! What goes wrong, and when: a script that the test writes.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

/// What happens to one completion on its way into the used ring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tamper {
    /// Nothing: it is left as it is.
    Nothing,
    /// It is never reported, and nothing is written.
    Drop,
    /// It is reported later.
    Delay(Duration),
    /// It is reported when [`Machine::release_held`](crate::Machine::release_held) says so.
    Hold,
    /// It is reported twice.
    Duplicate,
    /// It is reported under another id.
    Id(u32),
    /// It is reported under its own id with a bit above the low 16 set.
    IdWithHighBit,
    /// It is reported under the id of the last descriptor of its chain.
    IdOfLastDescriptor,
    /// It is reported with another length.
    Length(u32),
    /// The bytes are these, and the length is theirs.
    Bytes(Vec<u8>),
    /// Nothing is written, though the length says so.
    Unwritten,
    /// The index of the used ring moves on by so much more, modulo 65536.
    JumpIndex(u16),
    /// The device-writable part is overwritten with these bytes after the completion was reported.
    RewriteAfterwards(Vec<u8>),
    /// No interrupt is raised for it.
    NoInterrupt,
}

/// Everything about a machine that is not as it should be.
#[derive(Debug, Default)]
pub(crate) struct Script {
    /// For the next completions of each queue.
    pub(crate) completions: [VecDeque<Tamper>; 2],
    /// For every completion of each queue that the list above says nothing about.
    pub(crate) every: [Option<Tamper>; 2],
    /// Lines whose requests are carried out and never answered.
    pub(crate) mute: Vec<u16>,
    /// Until when the device does not look at its queues.
    pub(crate) stalled_until: u64,
    /// How long each completion takes.
    pub(crate) latency: u64,
    /// Notifications that get lost.
    pub(crate) lost_notifications: u32,
    /// The device looks at its queues by itself and wants no notifications.
    pub(crate) polls: bool,
    /// `FEATURES_OK` does not stay set.
    pub(crate) refuses_features: bool,
    /// How long a reset takes; `None` if it never ends.
    pub(crate) reset_time: Option<u64>,
    /// The configuration generation changes at so many of its next reads.
    pub(crate) unsettled_reads: u32,
    /// The status has `DEVICE_NEEDS_RESET` as soon as the driver is ready.
    pub(crate) needs_reset_again: bool,
}

impl Script {
    pub(crate) fn new() -> Self {
        Self { reset_time: Some(0), ..Self::default() }
    }

    /// What happens to the next completion of a queue.
    pub(crate) fn next(&mut self, queue: u16) -> Tamper {
        let queue = usize::from(queue);
        let scripted = self.completions.get_mut(queue).and_then(VecDeque::pop_front);
        scripted.or_else(|| self.every.get(queue).cloned().flatten()).unwrap_or(Tamper::Nothing)
    }
}
