//! The ratified protocol: VIRTIO 1.2 and later, section 5.18. Little endian throughout.

use super::{Direction, InterruptType, Level, LineId};

/// The device ID (5.18.1).
pub const DEVICE_ID: u32 = 41;
/// `VIRTIO_GPIO_F_IRQ`, as a mask of the feature word (5.18.3).
pub const FEATURE_IRQ: u64 = 1 << 0;
/// The index of `requestq` (5.18.2).
pub const REQUEST_QUEUE: u16 = 0;
/// The index of `eventq`; it exists only after [`FEATURE_IRQ`] was negotiated (5.18.2).
pub const EVENT_QUEUE: u16 = 1;
/// Bytes of the device's answer to everything but the names: status, value (5.18.6).
pub const RESPONSE_SIZE: usize = 2;

/// The configuration space (5.18.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Number of lines.
    pub lines: u16,
    /// Written as zero by a device; kept because it tells this protocol from the draft.
    pub padding: [u8; 2],
    /// Bytes of the names block; 0 when the device has no names.
    pub names_size: u32,
}

impl Config {
    /// Bytes of the configuration space.
    pub const SIZE: usize = 8;

    /// Splits the raw bytes.
    pub const fn from_bytes(bytes: [u8; Self::SIZE]) -> Self {
        let [l0, l1, p0, p1, n0, n1, n2, n3] = bytes;
        Self {
            lines: u16::from_le_bytes([l0, l1]),
            padding: [p0, p1],
            names_size: u32::from_le_bytes([n0, n1, n2, n3]),
        }
    }

    /// The raw bytes.
    pub const fn to_bytes(self) -> [u8; Self::SIZE] {
        let [l0, l1] = self.lines.to_le_bytes();
        let [p0, p1] = self.padding;
        let [n0, n1, n2, n3] = self.names_size.to_le_bytes();
        [l0, l1, p0, p1, n0, n1, n2, n3]
    }
}

const TYPE_LINE_NAMES: u16 = 1;
const TYPE_GET_DIRECTION: u16 = 2;
const TYPE_SET_DIRECTION: u16 = 3;
const TYPE_GET_VALUE: u16 = 4;
const TYPE_SET_VALUE: u16 = 5;
const TYPE_SET_IRQ_TYPE: u16 = 6;

/// A request on `requestq` (5.18.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Request {
    /// `GET_LINE_NAMES`: the names block.
    LineNames,
    /// `GET_DIRECTION`.
    GetDirection(LineId),
    /// `SET_DIRECTION`; [`Direction::None`] makes the device forget all about the line.
    SetDirection(LineId, Direction),
    /// `GET_VALUE`.
    GetValue(LineId),
    /// `SET_VALUE`; remembered by the device until the line becomes an output.
    SetValue(LineId, Level),
    /// `SET_IRQ_TYPE`.
    SetInterruptType(LineId, InterruptType),
}

/// A request whose bytes mean nothing in this protocol. A device answers [`Status::Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidRequest {
    /// No such message type.
    Type(u16),
    /// The type exists, but the value is none of its own.
    Value {
        /// The message type.
        kind: u16,
        /// The value found.
        value: u32,
    },
}

impl Request {
    /// Bytes of every request.
    pub const SIZE: usize = 8;

    /// The raw bytes: le16 type, le16 line, le32 value.
    pub const fn encode(self) -> [u8; Self::SIZE] {
        let (kind, line, value) = match self {
            Self::LineNames => (TYPE_LINE_NAMES, LineId(0), 0),
            Self::GetDirection(line) => (TYPE_GET_DIRECTION, line, 0),
            Self::SetDirection(line, direction) => (TYPE_SET_DIRECTION, line, direction_code(direction)),
            Self::GetValue(line) => (TYPE_GET_VALUE, line, 0),
            Self::SetValue(line, level) => (TYPE_SET_VALUE, line, level.bit()),
            Self::SetInterruptType(line, kind) => (TYPE_SET_IRQ_TYPE, line, interrupt_code(kind)),
        };
        let [k0, k1] = kind.to_le_bytes();
        let [l0, l1] = line.0.to_le_bytes();
        [k0, k1, l0, l1, value, 0, 0, 0]
    }

    /// Reads a request's bytes. The value of a `GET_…` and the line of `GET_LINE_NAMES` are not looked at.
    ///
    /// # Errors
    ///
    /// [`InvalidRequest`] for an unknown type or a value outside the type's enumeration.
    pub const fn decode(bytes: [u8; Self::SIZE]) -> Result<Self, InvalidRequest> {
        let [k0, k1, l0, l1, v0, v1, v2, v3] = bytes;
        let kind = u16::from_le_bytes([k0, k1]);
        let line = LineId(u16::from_le_bytes([l0, l1]));
        let value = u32::from_le_bytes([v0, v1, v2, v3]);
        Ok(match (kind, value) {
            (TYPE_LINE_NAMES, _) => Self::LineNames,
            (TYPE_GET_DIRECTION, _) => Self::GetDirection(line),
            (TYPE_SET_DIRECTION, 0) => Self::SetDirection(line, Direction::None),
            (TYPE_SET_DIRECTION, 1) => Self::SetDirection(line, Direction::Output),
            (TYPE_SET_DIRECTION, 2) => Self::SetDirection(line, Direction::Input),
            (TYPE_GET_VALUE, _) => Self::GetValue(line),
            (TYPE_SET_VALUE, 0) => Self::SetValue(line, Level::Low),
            (TYPE_SET_VALUE, 1) => Self::SetValue(line, Level::High),
            (TYPE_SET_IRQ_TYPE, 0x00) => Self::SetInterruptType(line, InterruptType::None),
            (TYPE_SET_IRQ_TYPE, 0x01) => Self::SetInterruptType(line, InterruptType::RisingEdge),
            (TYPE_SET_IRQ_TYPE, 0x02) => Self::SetInterruptType(line, InterruptType::FallingEdge),
            (TYPE_SET_IRQ_TYPE, 0x03) => Self::SetInterruptType(line, InterruptType::BothEdges),
            (TYPE_SET_IRQ_TYPE, 0x04) => Self::SetInterruptType(line, InterruptType::HighLevel),
            (TYPE_SET_IRQ_TYPE, 0x08) => Self::SetInterruptType(line, InterruptType::LowLevel),
            (TYPE_SET_DIRECTION | TYPE_SET_VALUE | TYPE_SET_IRQ_TYPE, _) => {
                return Err(InvalidRequest::Value { kind, value });
            }
            _ => return Err(InvalidRequest::Type(kind)),
        })
    }

    /// The line that the request is about; `None` for the names.
    pub const fn line(self) -> Option<LineId> {
        match self {
            Self::LineNames => None,
            Self::GetDirection(line)
            | Self::SetDirection(line, _)
            | Self::GetValue(line)
            | Self::SetValue(line, _)
            | Self::SetInterruptType(line, _) => Some(line),
        }
    }
}

/// The wire value of a direction (5.18.6.3).
pub const fn direction_code(direction: Direction) -> u8 {
    match direction {
        Direction::None => 0,
        Direction::Output => 1,
        Direction::Input => 2,
    }
}

const fn interrupt_code(kind: InterruptType) -> u8 {
    match kind {
        InterruptType::None => 0x00,
        InterruptType::RisingEdge => 0x01,
        InterruptType::FallingEdge => 0x02,
        InterruptType::BothEdges => 0x03,
        InterruptType::HighLevel => 0x04,
        InterruptType::LowLevel => 0x08,
    }
}

/// The first byte of every response (5.18.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// `VIRTIO_GPIO_STATUS_OK`.
    Ok,
    /// `VIRTIO_GPIO_STATUS_ERR`: the one error of the protocol, without a reason.
    Error,
}

impl Status {
    /// The wire value.
    pub const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Error => 1,
        }
    }
}

/// Why a response is no success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseError {
    /// The device answered [`Status::Error`].
    Refused,
    /// The status byte is neither OK nor ERR.
    InvalidStatus(u8),
    /// The status is OK, but the value is none that this request can have.
    InvalidValue(u8),
}

/// Checks the status byte alone.
///
/// # Errors
///
/// [`ResponseError::Refused`] or [`ResponseError::InvalidStatus`].
pub const fn decode_status(status: u8) -> Result<(), ResponseError> {
    match status {
        0 => Ok(()),
        1 => Err(ResponseError::Refused),
        other => Err(ResponseError::InvalidStatus(other)),
    }
}

/// Reads the response to `GET_VALUE`.
///
/// # Errors
///
/// As [`decode_status`], and [`ResponseError::InvalidValue`] for a level that is neither 0 nor 1.
pub const fn decode_level(response: [u8; RESPONSE_SIZE]) -> Result<Level, ResponseError> {
    let [status, value] = response;
    match (decode_status(status), value) {
        (Err(error), _) => Err(error),
        (Ok(()), 0) => Ok(Level::Low),
        (Ok(()), 1) => Ok(Level::High),
        (Ok(()), other) => Err(ResponseError::InvalidValue(other)),
    }
}

/// Reads the response to `GET_DIRECTION`.
///
/// # Errors
///
/// As [`decode_status`], and [`ResponseError::InvalidValue`] for a direction above 2.
pub const fn decode_direction(response: [u8; RESPONSE_SIZE]) -> Result<Direction, ResponseError> {
    let [status, value] = response;
    match (decode_status(status), value) {
        (Err(error), _) => Err(error),
        (Ok(()), 0) => Ok(Direction::None),
        (Ok(()), 1) => Ok(Direction::Output),
        (Ok(()), 2) => Ok(Direction::Input),
        (Ok(()), other) => Err(ResponseError::InvalidValue(other)),
    }
}

/// The device-readable half of an event buffer pair: le16 line (5.18.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventRequest(pub LineId);

impl EventRequest {
    /// Bytes of the readable half.
    pub const SIZE: usize = 2;

    /// The raw bytes.
    pub const fn encode(self) -> [u8; Self::SIZE] {
        self.0.0.to_le_bytes()
    }

    /// Reads the raw bytes; every value is a line number.
    pub const fn decode(bytes: [u8; Self::SIZE]) -> Self {
        Self(LineId(u16::from_le_bytes(bytes)))
    }
}

/// The device-writable half of an event buffer pair: one status byte (5.18.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventStatus {
    /// The buffer comes back without an interrupt.
    Invalid,
    /// The interrupt happened.
    Valid,
}

impl EventStatus {
    /// Bytes of the writable half.
    pub const SIZE: usize = 1;

    /// The wire value.
    pub const fn code(self) -> u8 {
        match self {
            Self::Invalid => 0,
            Self::Valid => 1,
        }
    }

    /// Reads the status byte.
    ///
    /// # Errors
    ///
    /// The byte itself, where it is neither 0 nor 1.
    pub const fn decode(byte: u8) -> Result<Self, u8> {
        match byte {
            0 => Ok(Self::Invalid),
            1 => Ok(Self::Valid),
            other => Err(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: LineId = LineId(0x0203);

    /// Bytes typed from 5.18.6's tables, not computed.
    const VECTORS: [(Request, [u8; 8]); 15] = [
        (Request::LineNames, [1, 0, 0, 0, 0, 0, 0, 0]),
        (Request::GetDirection(LINE), [2, 0, 3, 2, 0, 0, 0, 0]),
        (Request::SetDirection(LINE, Direction::None), [3, 0, 3, 2, 0, 0, 0, 0]),
        (Request::SetDirection(LINE, Direction::Output), [3, 0, 3, 2, 1, 0, 0, 0]),
        (Request::SetDirection(LINE, Direction::Input), [3, 0, 3, 2, 2, 0, 0, 0]),
        (Request::GetValue(LINE), [4, 0, 3, 2, 0, 0, 0, 0]),
        (Request::SetValue(LINE, Level::Low), [5, 0, 3, 2, 0, 0, 0, 0]),
        (Request::SetValue(LINE, Level::High), [5, 0, 3, 2, 1, 0, 0, 0]),
        (Request::SetInterruptType(LINE, InterruptType::None), [6, 0, 3, 2, 0, 0, 0, 0]),
        (Request::SetInterruptType(LINE, InterruptType::RisingEdge), [6, 0, 3, 2, 1, 0, 0, 0]),
        (Request::SetInterruptType(LINE, InterruptType::FallingEdge), [6, 0, 3, 2, 2, 0, 0, 0]),
        (Request::SetInterruptType(LINE, InterruptType::BothEdges), [6, 0, 3, 2, 3, 0, 0, 0]),
        (Request::SetInterruptType(LINE, InterruptType::HighLevel), [6, 0, 3, 2, 4, 0, 0, 0]),
        (Request::SetInterruptType(LINE, InterruptType::LowLevel), [6, 0, 3, 2, 8, 0, 0, 0]),
        (Request::GetValue(LineId(0xffff)), [4, 0, 0xff, 0xff, 0, 0, 0, 0]),
    ];

    #[test]
    fn requests_have_the_bytes_of_the_specification() {
        for (request, bytes) in VECTORS {
            assert_eq!(request.encode(), bytes, "{request:?}");
            assert_eq!(Request::decode(bytes), Ok(request));
        }
    }

    #[test]
    fn requests_outside_the_enumerations_are_named() {
        assert_eq!(Request::decode([0, 0, 0, 0, 0, 0, 0, 0]), Err(InvalidRequest::Type(0)));
        assert_eq!(Request::decode([7, 0, 0, 0, 0, 0, 0, 0]), Err(InvalidRequest::Type(7)));
        assert_eq!(Request::decode([1, 0x80, 0, 0, 0, 0, 0, 0]), Err(InvalidRequest::Type(0x8001)));
        for (kind, value) in [(3, 3), (5, 2), (6, 5), (6, 6), (6, 7), (6, 9), (6, 12)] {
            assert_eq!(
                Request::decode([kind, 0, 0, 0, value, 0, 0, 0]),
                Err(InvalidRequest::Value { kind: kind.into(), value: value.into() }),
            );
        }
        assert_eq!(
            Request::decode([5, 0, 0, 0, 1, 0, 0, 1]),
            Err(InvalidRequest::Value { kind: 5, value: 0x0100_0001 }),
        );
    }

    #[test]
    fn configuration_has_the_layout_of_the_specification() {
        let bytes = [0x2c, 0x01, 0, 0, 0x78, 0x56, 0x34, 0x12];
        let config = Config { lines: 300, padding: [0, 0], names_size: 0x1234_5678 };
        assert_eq!(Config::from_bytes(bytes), config);
        assert_eq!(config.to_bytes(), bytes);
    }

    #[test]
    fn responses_decode_only_to_what_the_request_can_have() {
        assert_eq!(decode_level([0, 0]), Ok(Level::Low));
        assert_eq!(decode_level([0, 1]), Ok(Level::High));
        assert_eq!(decode_level([0, 2]), Err(ResponseError::InvalidValue(2)));
        assert_eq!(decode_level([1, 1]), Err(ResponseError::Refused));
        assert_eq!(decode_level([2, 1]), Err(ResponseError::InvalidStatus(2)));
        assert_eq!(decode_direction([0, 0]), Ok(Direction::None));
        assert_eq!(decode_direction([0, 1]), Ok(Direction::Output));
        assert_eq!(decode_direction([0, 2]), Ok(Direction::Input));
        assert_eq!(decode_direction([0, 3]), Err(ResponseError::InvalidValue(3)));
        assert_eq!(decode_direction([0xff, 0xff]), Err(ResponseError::InvalidStatus(0xff)));
    }

    #[test]
    fn events_have_the_bytes_of_the_specification() {
        assert_eq!(EventRequest(LINE).encode(), [3, 2]);
        assert_eq!(EventRequest::decode([3, 2]), EventRequest(LINE));
        assert_eq!(EventStatus::decode(0), Ok(EventStatus::Invalid));
        assert_eq!(EventStatus::decode(1), Ok(EventStatus::Valid));
        assert_eq!(EventStatus::decode(0xff), Err(0xff));
    }
}
