//! The step `fault`: everything that a simulated device can do wrong.

use schemars::JsonSchema;
use serde::Deserialize;

use super::step::{LineName, RequestFilter};
use super::value::At;
use crate::fault::AnswerFault;

/// A chip: `gpio0` is the first one of the file, and the guest's `gpio0`.
pub type ChipName = At<String>;

/// Something that a device does wrong, or does right again.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// Spoils the next answers to some requests (ratified protocol). They are carried out all the same.
    Answer(Answer),
    /// Carries out the requests for a line, and does not answer them.
    Mute(LineName),
    /// Answers the requests for a line again. The ratified device gives the late answers, too; the draft's has lost them.
    Unmute(LineName),
    /// Stops to look at the queues. What the driver sends meanwhile is answered when it goes on.
    Stall(OfChip),
    /// Goes on.
    Resume(OfChip),
    /// Moves the used index of a queue, with nothing behind it.
    Jump(Jump),
    /// Interrupts the driver without a reason.
    Interrupt(SpuriousInterrupt),
    /// Gives the next event buffers back at once, without an interrupt (ratified protocol).
    ReturnEvents(ReturnEvents),
    /// Sends a message that nobody asked for (draft).
    Message(Message),
}

/// Which chip.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct OfChip {
    /// The chip; the first one without it.
    pub chip: Option<ChipName>,
}

/// Spoiled answers.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Answer {
    /// The chip; without it that of the line in `to`, or the first one.
    pub chip: Option<ChipName>,
    /// The requests.
    pub to: At<RequestFilter>,
    /// What is wrong.
    pub with: AnswerForm,
    /// How many answers.
    #[serde(default = "once")]
    pub times: u32,
}

fn once() -> u32 {
    1
}

/// What is wrong with an answer.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AnswerForm {
    /// The status byte: 0 is OK, 1 an error, any other means nothing.
    Status(u8),
    /// The byte behind the status.
    Value(u8),
    /// The used length, whatever was written.
    Length(u32),
    /// The used element names this chain.
    Id(u32),
    /// The used element names the chain plus this.
    IdPlus(u32),
    /// The chain is returned twice.
    Twice,
    /// The driver is not interrupted.
    Silent,
}

impl From<AnswerForm> for AnswerFault {
    fn from(form: AnswerForm) -> Self {
        match form {
            AnswerForm::Status(status) => Self::Status(status),
            AnswerForm::Value(value) => Self::Value(value),
            AnswerForm::Length(length) => Self::Length(length),
            AnswerForm::Id(id) => Self::Id(id),
            AnswerForm::IdPlus(more) => Self::IdPlus(more),
            AnswerForm::Twice => Self::Twice,
            AnswerForm::Silent => Self::Silent,
        }
    }
}

/// A queue of a device.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Queue {
    /// The first one: requests; in the draft what the device sends.
    First,
    /// The second one: events; in the draft what the driver sends.
    Second,
}

impl Queue {
    /// Its number.
    pub fn number(self) -> usize {
        match self {
            Self::First => 0,
            Self::Second => 1,
        }
    }
}

/// A used index that moves.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Jump {
    /// The chip; the first one without it.
    pub chip: Option<ChipName>,
    /// The queue.
    pub queue: Queue,
    /// By how much; 65535 is one back.
    pub by: u16,
}

/// An interrupt without a reason.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SpuriousInterrupt {
    /// The chip; the first one without it.
    pub chip: Option<ChipName>,
    /// The queue.
    pub queue: Queue,
    /// How many.
    #[serde(default = "once")]
    pub times: u32,
}

/// Event buffers that come back.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ReturnEvents {
    /// The chip; the first one without it.
    pub chip: Option<ChipName>,
    /// How many.
    pub times: u32,
}

/// A message of the draft.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Message {
    /// The chip; the first one without it.
    pub chip: Option<ChipName>,
    /// The type; 17 (0x11) tells the level of a line.
    #[serde(rename = "type")]
    pub kind: u16,
    /// The line, whether there is one or not.
    pub line: u16,
    /// The value.
    pub value: i32,
}
