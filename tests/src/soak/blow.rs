//! What a device can do wrong, drawn by lot.

use fastrand::Rng;
use vgpio::chip::{Chip, WrongProtocol};
use vgpio::fault::{AnswerFault, QueueFault};
use vgpio::request::{Kind, Requests};
use virtio_gpio::messages::draft::Message;
use virtio_gpio::{LineId, Protocol};

/// Something that goes wrong, or is well again.
#[derive(Debug, Clone, Copy)]
pub enum Blow {
    /// The next answers of a ratified device to some requests are spoilt.
    Answers(AnswerFault, u32, Requests),
    /// The next event buffers of a ratified device come back at once.
    Events(u32),
    /// A queue breaks, or there is an interrupt for nothing.
    Queue(usize, QueueFault),
    /// A line is not answered for any more, or it is again.
    Mute(LineId, bool),
    /// The device stops, or goes on.
    Stalled(bool),
    /// A draft device sends a message that nobody asked for.
    Message(Message),
}

impl Blow {
    /// One of all that can be wrong with a device of that protocol with so many lines.
    pub fn draw(rng: &mut Rng, protocol: Protocol, lines: u16) -> Self {
        let line = LineId(rng.u16(..lines.max(1)));
        match (rng.u8(..10), protocol) {
            (0, _) => Self::Stalled(true),
            (1, _) => Self::Stalled(false),
            (2, _) => Self::Mute(line, true),
            (3, _) => Self::Mute(line, false),
            (4, _) => Self::Queue(rng.usize(..2), QueueFault::Interrupt),
            (5, _) => Self::Queue(rng.usize(..2), QueueFault::Jump(rng.u16(1..))),
            (6, Protocol::Ratified) => Self::Events(rng.u32(1..6)),
            (_, Protocol::Ratified) => Self::Answers(answer_fault(rng), rng.u32(1..4), requests(rng)),
            (_, Protocol::Draft) => {
                let kind =
                    [1, 2, 3, 4, 5, 6, 0x11, 0x15, 0x8001, 0x8004, 0x8005, 0x8006, 0xf006, 0xffff][rng.usize(..14)];
                let line = if rng.u8(..8) == 0 { LineId(rng.u16(..)) } else { line };
                Self::Message(Message { kind, line, value: rng.i32(-40..4) })
            }
        }
    }

    /// Does it to a device.
    ///
    /// # Errors
    ///
    /// [`WrongProtocol`] where the device has no such fault.
    pub fn strike(self, chip: &mut Chip) -> Result<(), WrongProtocol> {
        match self {
            Self::Answers(fault, times, requests) => chip.spoil_answers(fault, times, requests)?,
            Self::Events(times) => chip.return_events(times)?,
            Self::Queue(queue, fault) => chip.spoil_queue(queue, fault),
            Self::Mute(line, mute) => chip.set_mute(line, mute),
            Self::Stalled(stalled) => chip.set_stalled(stalled),
            Self::Message(message) => chip.send(message)?,
        }
        Ok(())
    }
}

fn answer_fault(rng: &mut Rng) -> AnswerFault {
    match rng.u8(..9) {
        0 => AnswerFault::Status(1),
        1 => AnswerFault::Status(rng.u8(2..)),
        // A level that does not exist. One that is merely wrong is a lie that no driver can see through.
        2 => AnswerFault::Value(rng.u8(2..)),
        3 => AnswerFault::Length([0, 1, 3, 64, u32::MAX][rng.usize(..5)]),
        4 => AnswerFault::Id(rng.u32(..)),
        5 => AnswerFault::Id(rng.u32(..70)),
        6 => AnswerFault::IdPlus([1, 2, 0x1_0000][rng.usize(..3)]),
        7 => AnswerFault::Twice,
        _ => AnswerFault::Silent,
    }
}

fn requests(rng: &mut Rng) -> Requests {
    match rng.u8(..6) {
        0 => Requests::of_kind(Kind::GetValue),
        1 => Requests::of_kind(Kind::SetValue(None)),
        2 => Requests::of_kind(Kind::SetDirection(None)),
        3 => Requests::of_kind(Kind::SetInterrupt(None)),
        _ => Requests::ANY,
    }
}
