//! What drivers ask for, in the same words for both protocols.

use std::fmt;

use gpio_model::observe::Activity;
use virtio_gpio::messages::draft::{Message, RequestType};
use virtio_gpio::messages::ratified::Request;
use virtio_gpio::messages::{Direction, InterruptType, Level, LineId};

/// What a driver asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// The names of all lines.
    LineNames,
    /// That the line is going to be used (draft).
    Claim(LineId),
    /// The direction of a line.
    GetDirection(LineId),
    /// To change the direction of a line.
    SetDirection(LineId, Direction),
    /// The level of a line.
    GetValue(LineId),
    /// To change the level of a line.
    SetValue(LineId, Level),
    /// To change what makes a line interrupt.
    SetInterrupt(LineId, InterruptType),
    /// That a line may interrupt again.
    Unmask(LineId),
}

impl From<Request> for Asked {
    fn from(request: Request) -> Self {
        match request {
            Request::LineNames => Self::LineNames,
            Request::GetDirection(line) => Self::GetDirection(line),
            Request::SetDirection(line, direction) => Self::SetDirection(line, direction),
            Request::GetValue(line) => Self::GetValue(line),
            Request::SetValue(line, level) => Self::SetValue(line, level),
            Request::SetInterruptType(line, kind) => Self::SetInterrupt(line, kind),
        }
    }
}

impl Asked {
    /// What a message of the draft asks for; `None` where it means nothing.
    pub fn of_message(Message { kind, line, value }: Message) -> Option<Self> {
        Some(match RequestType::from_code(kind)? {
            RequestType::Request => Self::Claim(line),
            RequestType::DirectionInput => Self::SetDirection(line, Direction::Input),
            RequestType::DirectionOutput => Self::SetDirection(line, Direction::Output),
            RequestType::GetDirection => Self::GetDirection(line),
            RequestType::GetValue => Self::GetValue(line),
            RequestType::SetValue => Self::SetValue(line, Level::from(value != 0)),
        })
    }

    /// What an activity in a device says about the driver's wishes.
    pub fn of(activity: &Activity) -> Option<Self> {
        match *activity {
            Activity::Request { request, .. } => request.ok().map(Self::from),
            Activity::Message { request, .. } => Self::of_message(request),
            Activity::Unmasked(line) => Some(Self::Unmask(line)),
            _ => None,
        }
    }

    /// The line; `None` for the names.
    pub fn line(self) -> Option<LineId> {
        match self {
            Self::LineNames => None,
            Self::Claim(line)
            | Self::GetDirection(line)
            | Self::SetDirection(line, _)
            | Self::GetValue(line)
            | Self::SetValue(line, _)
            | Self::SetInterrupt(line, _)
            | Self::Unmask(line) => Some(line),
        }
    }

    /// The kind, with what is set.
    fn kind(self) -> Kind {
        match self {
            Self::LineNames => Kind::LineNames,
            Self::Claim(_) => Kind::Claim,
            Self::GetDirection(_) => Kind::GetDirection,
            Self::SetDirection(_, direction) => Kind::SetDirection(Some(direction)),
            Self::GetValue(_) => Kind::GetValue,
            Self::SetValue(_, level) => Kind::SetValue(Some(level)),
            Self::SetInterrupt(_, kind) => Kind::SetInterrupt(Some(kind)),
            Self::Unmask(_) => Kind::Unmask,
        }
    }
}

/// A kind of requests, and what is set by them if that matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// See [`Asked::LineNames`].
    LineNames,
    /// See [`Asked::Claim`].
    Claim,
    /// See [`Asked::GetDirection`].
    GetDirection,
    /// See [`Asked::SetDirection`].
    SetDirection(Option<Direction>),
    /// See [`Asked::GetValue`].
    GetValue,
    /// See [`Asked::SetValue`].
    SetValue(Option<Level>),
    /// See [`Asked::SetInterrupt`].
    SetInterrupt(Option<InterruptType>),
    /// See [`Asked::Unmask`].
    Unmask,
}

impl Kind {
    fn includes(self, other: Self) -> bool {
        match (self, other) {
            (Self::SetDirection(None), Self::SetDirection(_))
            | (Self::SetValue(None), Self::SetValue(_))
            | (Self::SetInterrupt(None), Self::SetInterrupt(_)) => true,
            _ => self == other,
        }
    }
}

impl fmt::Display for Kind {
    /// For a reader, in the words of scenario files.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = |direction| match direction {
            Direction::None => "none",
            Direction::Output => "output",
            Direction::Input => "input",
        };
        let interrupt = |interrupt| match interrupt {
            InterruptType::None => "none",
            InterruptType::RisingEdge => "rising",
            InterruptType::FallingEdge => "falling",
            InterruptType::BothEdges => "both",
            InterruptType::HighLevel => "high",
            InterruptType::LowLevel => "low",
        };
        match *self {
            Self::LineNames => f.write_str("line-names"),
            Self::Claim => f.write_str("claim"),
            Self::GetDirection => f.write_str("get-direction"),
            Self::GetValue => f.write_str("get-value"),
            Self::Unmask => f.write_str("unmask"),
            Self::SetDirection(None) => f.write_str("set-direction"),
            Self::SetValue(None) => f.write_str("set-value"),
            Self::SetInterrupt(None) => f.write_str("set-interrupt"),
            Self::SetDirection(Some(wanted)) => write!(f, "set-direction to {}", direction(wanted)),
            Self::SetValue(Some(level)) => write!(f, "set-value to {level}"),
            Self::SetInterrupt(Some(wanted)) => write!(f, "set-interrupt to {}", interrupt(wanted)),
        }
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line() {
            Some(line) => write!(f, "{} of line {line}", self.kind()),
            None => self.kind().fmt(f),
        }
    }
}

/// Some of the requests of one device; each part that is given must fit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Requests {
    /// The kind.
    pub kind: Option<Kind>,
    /// The line.
    pub line: Option<LineId>,
}

impl Requests {
    /// All requests.
    pub const ANY: Self = Self { kind: None, line: None };

    /// All requests of one kind.
    pub const fn of_kind(kind: Kind) -> Self {
        Self { kind: Some(kind), line: None }
    }

    /// All requests for one line.
    pub const fn of_line(line: LineId) -> Self {
        Self { kind: None, line: Some(line) }
    }

    /// Whether a request is one of them.
    pub fn include(&self, asked: impl Into<Asked>) -> bool {
        let asked = asked.into();
        self.kind.is_none_or(|kind| kind.includes(asked.kind()))
            && self.line.is_none_or(|line| Some(line) == asked.line())
    }
}

impl From<Request> for Requests {
    /// This very request.
    fn from(request: Request) -> Self {
        let asked = Asked::from(request);
        Self { kind: Some(asked.kind()), line: asked.line() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: LineId = LineId(3);

    #[test]
    fn each_part_of_a_filter_must_fit() {
        let request = Request::SetValue(LINE, Level::High);
        for fits in [
            Requests::ANY,
            Requests::of_line(LINE),
            Requests::of_kind(Kind::SetValue(None)),
            Requests::of_kind(Kind::SetValue(Some(Level::High))),
            Requests::from(request),
        ] {
            assert!(fits.include(request), "{fits:?}");
        }
        for other in [
            Requests::of_line(LineId(4)),
            Requests::of_kind(Kind::SetValue(Some(Level::Low))),
            Requests::of_kind(Kind::GetValue),
            Requests::from(Request::SetValue(LINE, Level::Low)),
            Requests::from(Request::LineNames),
        ] {
            assert!(!other.include(request), "{other:?}");
        }
        assert!(!Requests::of_line(LINE).include(Request::LineNames), "the names are of no line");
    }

    #[test]
    fn messages_of_the_draft_say_the_same() {
        let asked = |kind, value| Asked::of_message(Message::request(kind, LINE, value));
        assert_eq!(asked(RequestType::DirectionOutput, 1), Some(Asked::SetDirection(LINE, Direction::Output)));
        assert_eq!(asked(RequestType::SetValue, 1), Some(Asked::SetValue(LINE, Level::High)));
        assert_eq!(Asked::of_message(Message { kind: 0x77, line: LINE, value: 0 }), None);
    }
}
