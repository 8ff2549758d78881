//! What is said on the control socket. `docs/control.md` has an example of each message.

use serde::{Deserialize, Serialize};
use virtio_gpio::messages::{Direction, Level};

use crate::chip::Chip;
use crate::world::Place;

/// The version of the messages. It grows when a client of an older version could misunderstand something.
pub const VERSION: u32 = 1;

/// The number that a client gives to a request, to find the reply.
pub type Id = u64;

/// 0 or 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Bit(pub Level);

impl TryFrom<u8> for Bit {
    type Error = String;

    fn try_from(bit: u8) -> Result<Self, String> {
        match bit {
            0 => Ok(Self(Level::Low)),
            1 => Ok(Self(Level::High)),
            other => Err(format!("a level is 0 or 1, not {other}")),
        }
    }
}

impl From<Bit> for u8 {
    fn from(bit: Bit) -> Self {
        bit.0.bit()
    }
}

/// A change from one level to the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Edge {
    /// From 0 to 1.
    Rising,
    /// From 1 to 0.
    Falling,
}

impl From<Level> for Edge {
    fn from(new: Level) -> Self {
        match new {
            Level::High => Self::Rising,
            Level::Low => Self::Falling,
        }
    }
}

/// Which edges somebody is interested in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Edges {
    /// From 0 to 1.
    Rising,
    /// From 1 to 0.
    Falling,
    /// Either.
    #[default]
    Both,
}

impl Edges {
    /// Whether that edge is one of them.
    pub fn include(self, edge: Edge) -> bool {
        match self {
            Self::Rising => edge == Edge::Rising,
            Self::Falling => edge == Edge::Falling,
            Self::Both => true,
        }
    }
}

/// A kind of event that one can subscribe to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Topic {
    /// [`Happening::Change`].
    Change,
    /// [`Happening::Request`] and [`Happening::Reset`].
    Request,
    /// [`Happening::Console`].
    Console,
}

/// What a client asks for. A line is named as [`crate::world::World::find`] takes it: `led0`, `gpio1:led0`, `gpio1:3`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Who is there, and does it speak this version?
    Hello {
        /// The version that the client speaks.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<u32>,
    },
    /// All chips and lines.
    Info {},
    /// One line.
    Get {
        /// The line.
        line: String,
    },
    /// Drives a line from outside, until it is released.
    Set {
        /// The line.
        line: String,
        /// To what level.
        level: Bit,
    },
    /// Lets go of a line.
    Release {
        /// The line.
        line: String,
    },
    /// A level for some time, and the opposite level then. A stimulus ends what was done to the line before, and ends
    /// with the next one.
    Pulse {
        /// The line.
        line: String,
        /// The level at first.
        #[serde(default = "high")]
        level: Bit,
        /// For how long, for instance `20ms`.
        width: String,
    },
    /// A square wave.
    Clock {
        /// The line.
        line: String,
        /// From one rising edge to the next.
        period: String,
        /// How many of them; no end without it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cycles: Option<u64>,
    },
    /// High for a part of each period.
    Pwm {
        /// The line.
        line: String,
        /// From one rising edge to the next.
        period: String,
        /// From a rising edge to the falling edge.
        high: String,
        /// How many periods; no end without it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cycles: Option<u64>,
    },
    /// A contact that chatters before it comes to rest.
    Bounce {
        /// The line.
        line: String,
        /// The level in the end.
        level: Bit,
        /// From the first change to the last.
        over: String,
        /// The number of changes.
        changes: u32,
        /// The same seed gives the same times.
        #[serde(default)]
        seed: u64,
    },
    /// The next edge of a line.
    Wait {
        /// The line.
        line: String,
        /// What edge.
        #[serde(default)]
        edge: Edges,
        /// For how long at most, for instance `500ms`; for ever without it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timeout: Option<String>,
    },
    /// From now on these events, and no others.
    Subscribe {
        /// What kinds of events.
        #[serde(default = "all_topics")]
        events: Vec<Topic>,
        /// Only what concerns these lines, and what concerns none in particular.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lines: Option<Vec<String>>,
        /// First what is remembered of the events after that number.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<u64>,
    },
    /// From now on no events.
    Unsubscribe {},
    /// Types something into the guest's console.
    WriteSerial {
        /// What.
        text: String,
    },
    /// A fault: a device does not look at its queues.
    Stall {
        /// The chip, by its position.
        #[serde(default)]
        chip: usize,
        /// Whether it is to be so from now on.
        on: bool,
    },
    /// A fault: requests for a line are carried out, but not answered.
    Mute {
        /// The line.
        line: String,
        /// Whether it is to be so from now on.
        on: bool,
    },
    /// Ends the simulation, and a guest that `vgpio run` started.
    Quit {},
}

fn high() -> Bit {
    Bit(Level::High)
}

fn all_topics() -> Vec<Topic> {
    vec![Topic::Change, Topic::Request, Topic::Console]
}

/// What a line is like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineState {
    /// The chip, by its position.
    pub chip: usize,
    /// The line of that chip.
    pub line: u16,
    /// Its name; empty if it has none.
    pub name: String,
    /// What the guest uses it for.
    pub direction: Use,
    /// The level that can be sensed.
    pub level: Bit,
    /// Who determines it.
    pub driver: Driver,
    /// What the outside drives it to; `None` when it lets go. It has no effect on an output.
    pub outside: Option<Bit>,
    /// The line of the host that it is, such as `gpiochip0:17`; `None` for a simulated one, and in events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}

/// What the guest uses a line for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Use {
    /// For nothing.
    None,
    /// As an input.
    Input,
    /// As an output.
    Output,
}

/// Who determines the level of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Driver {
    /// The guest: the line is an output.
    Guest,
    /// The outside: a wire, a stimulus or a client.
    Outside,
    /// Nobody; the level is what the line is pulled to.
    Nobody,
}

impl LineState {
    /// The present state of a line; `None` if there is none.
    pub fn of(chips: &[Chip], place: Place) -> Option<Self> {
        let chip = chips.get(place.chip)?;
        let line = *chip.bank().line(place.line).ok()?;
        let name = chip.names().get(usize::from(place.line.0)).cloned().unwrap_or_default();
        let host = chip.real(place.line).map(ToString::to_string);
        Some(Self { host, ..Self::new(place, name, line) })
    }

    pub(crate) fn new(place: Place, name: String, line: gpio_model::bank::Line) -> Self {
        let (direction, driver) = match (line.direction, line.drive) {
            (Direction::Output, _) => (Use::Output, Driver::Guest),
            (Direction::Input, drive) => (Use::Input, drive.map_or(Driver::Nobody, |_| Driver::Outside)),
            (Direction::None, drive) => (Use::None, drive.map_or(Driver::Nobody, |_| Driver::Outside)),
        };
        Self {
            chip: place.chip,
            line: place.line.0,
            name,
            direction,
            level: Bit(line.level()),
            driver,
            outside: line.drive.map(Bit),
            host: None,
        }
    }
}

/// A chip and its lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChipState {
    /// Its position.
    pub chip: usize,
    /// What it speaks.
    pub protocol: Protocol,
    /// All lines, in the order of their numbers.
    pub lines: Vec<LineState>,
}

/// What a chip speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// VIRTIO 1.2 and later.
    Ratified,
    /// The 2020 draft.
    Draft,
}

/// Why a request was not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// It was no request in JSON, or not a known one.
    BadRequest,
    /// The version is another one.
    BadVersion,
    /// There is no such line.
    UnknownLine,
    /// There is no such chip.
    UnknownChip,
    /// It is a real line, which may not be driven from here.
    NotAllowed,
    /// It is a real line, and the host does not do it.
    HostRefused,
    /// It cannot be done here, for instance typing where there is no guest.
    NotHere,
    /// What was waited for did not happen in time.
    TimedOut,
    /// There is no more room, for instance for another waiting request.
    TooMany,
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum Answer {
    /// To [`Request::Hello`].
    Hello {
        /// The version of the messages.
        version: u32,
        /// The program and its version.
        program: String,
        /// Whether there is a console to read and to type into.
        console: bool,
    },
    /// To [`Request::Info`].
    Info {
        /// All chips.
        chips: Vec<ChipState>,
    },
    /// To [`Request::Get`].
    Get(LineState),
    /// To [`Request::Set`]: the line as it is now.
    Set(LineState),
    /// To [`Request::Release`]: the line as it is now.
    Release(LineState),
    /// To [`Request::Pulse`]: the line as it is now.
    Pulse(LineState),
    /// To [`Request::Clock`]: the line as it is now.
    Clock(LineState),
    /// To [`Request::Pwm`]: the line as it is now.
    Pwm(LineState),
    /// To [`Request::Bounce`]: the line as it is now.
    Bounce(LineState),
    /// To [`Request::Wait`]: the edge has come.
    Wait {
        /// Which one.
        edge: Edge,
        /// The line as it was then.
        #[serde(flatten)]
        line: LineState,
    },
    /// To [`Request::Subscribe`].
    Subscribe {},
    /// To [`Request::Unsubscribe`].
    Unsubscribe {},
    /// To [`Request::WriteSerial`].
    WriteSerial {},
    /// To [`Request::Stall`].
    Stall {},
    /// To [`Request::Mute`].
    Mute {},
    /// To [`Request::Quit`].
    Quit {},
    /// To a request that was not carried out.
    Error {
        /// For a program.
        kind: ErrorKind,
        /// For a person.
        message: String,
    },
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Happening {
    /// A line changed: its level, its direction, or what the outside does to it.
    Change {
        /// If the level changed, how.
        edge: Option<Edge>,
        /// The line as it is now.
        #[serde(flatten)]
        line: LineState,
    },
    /// A driver asked for something. The changes that it made follow.
    Request {
        /// The chip, by its position.
        chip: usize,
        /// What was asked for, for instance `set-value`.
        message: String,
        /// For what line; `None` for all of them.
        line: Option<u16>,
        /// The value in the request.
        value: Option<i64>,
        /// Whether it was carried out.
        accepted: bool,
    },
    /// A device was reset: it forgot its driver.
    Reset {
        /// The chip, by its position.
        chip: usize,
    },
    /// The guest printed a line.
    Console {
        /// Without its end.
        text: String,
    },
    /// The client was too slow: events that it wanted were left out here.
    Lost {
        /// How many.
        count: u64,
    },
    /// The simulation ends. Nothing follows.
    End {},
}

/// When something was said, in the one order of everything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Of an event, its number. Of a reply, the number of the last event before it.
    pub seq: u64,
    /// The host's monotonic time since the simulation began, in nanoseconds.
    pub at_ns: u64,
}

/// A line from a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Call {
    /// To find the reply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Id>,
    /// What is asked for.
    #[serde(flatten)]
    pub request: Request,
}

/// A line to a client: the answer to a request, or an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Said {
    /// An answer.
    Reply {
        /// The request's number, if it had one.
        id: Option<Id>,
        /// When.
        #[serde(flatten)]
        stamp: Stamp,
        /// The answer.
        #[serde(flatten)]
        answer: Answer,
    },
    /// An event.
    Event {
        /// When.
        #[serde(flatten)]
        stamp: Stamp,
        /// What happened.
        #[serde(flatten)]
        happening: Happening,
    },
}
