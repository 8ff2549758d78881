//! The 2020 draft: "Virtio-GPIO protocol specification, version 1.0", as posted with the third revision of the guest
//! driver's patch. Messages travel over two one-way queues; every one has the same eight bytes. Little endian.

use super::{Direction, Level, LineId};

/// The device ID that the draft asked for. Officially it belongs to the video encoder.
pub const DEVICE_ID: u32 = 30;
/// The queue from the device to the driver ("Queue #0: transmission from device to cpu").
pub const RECEIVE_QUEUE: u16 = 0;
/// The queue from the driver to the device ("Queue #1: transmission from cpu to device").
pub const TRANSMIT_QUEUE: u16 = 1;
/// The only version of the configuration space.
pub const VERSION: u8 = 1;
/// Where the device's name starts in the configuration space, and how long it can be.
pub const DEVICE_NAME_OFFSET: u16 = 0x20;
/// Bytes of the device's name, the closing NUL included.
pub const DEVICE_NAME_SIZE: usize = 32;
/// Where the block of line names starts in the configuration space.
pub const LINE_NAMES_OFFSET: u16 = 0x40;

/// The first eight bytes of the configuration space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Version of the layout; [`VERSION`].
    pub version: u8,
    /// Written as zero by a device, not looked at.
    pub reserved: u8,
    /// Number of lines.
    pub lines: u16,
    /// Bytes of the names block.
    pub names_size: u32,
}

impl Config {
    /// Bytes of this part.
    pub const SIZE: usize = 8;

    /// Splits the raw bytes.
    pub const fn from_bytes(bytes: [u8; Self::SIZE]) -> Self {
        let [version, reserved, l0, l1, n0, n1, n2, n3] = bytes;
        Self {
            version,
            reserved,
            lines: u16::from_le_bytes([l0, l1]),
            names_size: u32::from_le_bytes([n0, n1, n2, n3]),
        }
    }

    /// The raw bytes.
    pub const fn to_bytes(self) -> [u8; Self::SIZE] {
        let [l0, l1] = self.lines.to_le_bytes();
        let [n0, n1, n2, n3] = self.names_size.to_le_bytes();
        [self.version, self.reserved, l0, l1, n0, n1, n2, n3]
    }
}

/// What a guest asks for (`VIRTIO_GPIO_MSG_GUEST_…`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RequestType {
    /// `REQUEST`: the line is going to be used.
    Request,
    /// `DIRECTION_INPUT`.
    DirectionInput,
    /// `DIRECTION_OUTPUT`; the value is the initial level.
    DirectionOutput,
    /// `GET_DIRECTION`.
    GetDirection,
    /// `GET_VALUE`.
    GetValue,
    /// `SET_VALUE`; outputs only.
    SetValue,
}

impl RequestType {
    /// The wire value.
    pub const fn code(self) -> u16 {
        match self {
            Self::Request => 0x01,
            Self::DirectionInput => 0x02,
            Self::DirectionOutput => 0x03,
            Self::GetDirection => 0x04,
            Self::GetValue => 0x05,
            Self::SetValue => 0x06,
        }
    }

    /// The type with that wire value.
    pub const fn from_code(code: u16) -> Option<Self> {
        Some(match code {
            0x01 => Self::Request,
            0x02 => Self::DirectionInput,
            0x03 => Self::DirectionOutput,
            0x04 => Self::GetDirection,
            0x05 => Self::GetValue,
            0x06 => Self::SetValue,
            _ => return None,
        })
    }
}

/// `VIRTIO_GPIO_MSG_HOST_LEVEL`: the only message that a device sends unasked.
pub const HOST_LEVEL: u16 = 0x11;

/// The eight bytes of every message, in both directions: le16 type, le16 line, le32 value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    /// The type, with or without a reply's marking.
    pub kind: u16,
    /// The line.
    pub line: LineId,
    /// The value; negative in a reply is a Unix error number.
    pub value: i32,
}

impl Message {
    /// Bytes of a message.
    pub const SIZE: usize = 8;

    /// A request; `value` is a level for [`RequestType::DirectionOutput`] and [`RequestType::SetValue`], 0 otherwise.
    pub const fn request(kind: RequestType, line: LineId, value: i32) -> Self {
        Self { kind: kind.code(), line, value }
    }

    /// The raw bytes.
    pub const fn encode(self) -> [u8; Self::SIZE] {
        let [k0, k1] = self.kind.to_le_bytes();
        let [l0, l1] = self.line.0.to_le_bytes();
        let [v0, v1, v2, v3] = self.value.to_le_bytes();
        [k0, k1, l0, l1, v0, v1, v2, v3]
    }

    /// Splits the raw bytes; all combinations are messages, though not all mean something.
    pub const fn decode(bytes: [u8; Self::SIZE]) -> Self {
        let [k0, k1, l0, l1, v0, v1, v2, v3] = bytes;
        Self {
            kind: u16::from_le_bytes([k0, k1]),
            line: LineId(u16::from_le_bytes([l0, l1])),
            value: i32::from_le_bytes([v0, v1, v2, v3]),
        }
    }
}

/// How a device marks the type of a reply. The draft's prose, its header file and its later revisions disagree, so
/// every form is in the wild.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Marking {
    /// The type with bit 15 set, as in the later revisions and the public QEMU device.
    HighBit,
    /// The type with the four highest bits set, as in the third revision's header file.
    HighNibble,
    /// The type OR'ed with [`HOST_LEVEL`], as in the prose. A reply to `REQUEST` looks like an event then.
    HostLevel,
    /// The type unchanged.
    Echo,
}

impl Marking {
    /// All of them, in the order of the variants.
    pub const ALL: [Self; 4] = [Self::HighBit, Self::HighNibble, Self::HostLevel, Self::Echo];

    /// The type of a reply to a request of the type `code`.
    pub const fn apply(self, code: u16) -> u16 {
        match self {
            Self::HighBit => code | 0x8000,
            Self::HighNibble => code | 0xf000,
            Self::HostLevel => code | HOST_LEVEL,
            Self::Echo => code,
        }
    }
}

/// The wire value of a direction: 0 = output, 1 = input. There is none for [`Direction::None`].
pub const fn decode_direction(value: i32) -> Option<Direction> {
    match value {
        0 => Some(Direction::Output),
        1 => Some(Direction::Input),
        _ => None,
    }
}

/// The level in a reply or an event. Only bit 0 counts; the flag says whether other bits were set.
pub const fn decode_level(value: i32) -> (Level, bool) {
    let level = if value & 1 == 0 { Level::Low } else { Level::High };
    (level, value & !1 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes typed from the draft's tables.
    #[test]
    fn messages_have_the_bytes_of_the_draft() {
        let line = LineId(0x0203);
        for (kind, value, bytes) in [
            (RequestType::Request, 0, [1, 0, 3, 2, 0, 0, 0, 0]),
            (RequestType::DirectionInput, 0, [2, 0, 3, 2, 0, 0, 0, 0]),
            (RequestType::DirectionOutput, 1, [3, 0, 3, 2, 1, 0, 0, 0]),
            (RequestType::GetDirection, 0, [4, 0, 3, 2, 0, 0, 0, 0]),
            (RequestType::GetValue, 0, [5, 0, 3, 2, 0, 0, 0, 0]),
            (RequestType::SetValue, 1, [6, 0, 3, 2, 1, 0, 0, 0]),
        ] {
            assert_eq!(Message::request(kind, line, value).encode(), bytes, "{kind:?}");
            assert_eq!(RequestType::from_code(kind.code()), Some(kind));
        }
        let event = [0x11, 0, 4, 0, 1, 0, 0, 0];
        assert_eq!(Message::decode(event), Message { kind: HOST_LEVEL, line: LineId(4), value: 1 });
        let refused = [0x01, 0x80, 4, 0, 0xf0, 0xff, 0xff, 0xff];
        assert_eq!(Message::decode(refused), Message { kind: 0x8001, line: LineId(4), value: -16 });
        assert_eq!(RequestType::from_code(0), None);
        assert_eq!(RequestType::from_code(7), None);
    }

    #[test]
    fn replies_are_marked_as_each_source_says() {
        let codes = [1, 2, 3, 4, 5, 6];
        assert_eq!(codes.map(|c| Marking::HighBit.apply(c)), [0x8001, 0x8002, 0x8003, 0x8004, 0x8005, 0x8006]);
        assert_eq!(codes.map(|c| Marking::HighNibble.apply(c)), [0xf001, 0xf002, 0xf003, 0xf004, 0xf005, 0xf006]);
        assert_eq!(codes.map(|c| Marking::HostLevel.apply(c)), [0x11, 0x13, 0x13, 0x15, 0x15, 0x17]);
        assert_eq!(codes.map(|c| Marking::Echo.apply(c)), codes);
    }

    #[test]
    fn configuration_has_the_layout_of_the_draft() {
        let bytes = [1, 0, 8, 0, 0xc0, 0, 0, 0];
        let config = Config { version: 1, reserved: 0, lines: 8, names_size: 192 };
        assert_eq!(Config::from_bytes(bytes), config);
        assert_eq!(config.to_bytes(), bytes);
    }

    #[test]
    fn directions_are_not_those_of_the_ratified_protocol() {
        assert_eq!(decode_direction(0), Some(Direction::Output));
        assert_eq!(decode_direction(1), Some(Direction::Input));
        assert_eq!(decode_direction(2), None);
        assert_eq!(decode_level(1), (Level::High, false));
        assert_eq!(decode_level(2), (Level::Low, true));
    }
}
