//! The decoders of both protocols: any bytes are decoded or refused, and what is decoded says the same when it is
//! encoded again.

use virtio_gpio::messages::draft::{self, Marking, Message, RequestType};
use virtio_gpio::messages::ratified::{self, EventRequest, EventStatus, InvalidRequest, Request, ResponseError};
use virtio_gpio::messages::{Direction, Level, LineId};

/// Decodes the bytes as each thing that they can be.
pub fn run(data: &[u8]) {
    for bytes in data.as_chunks::<8>().0 {
        request(*bytes);
        message(*bytes);
        assert_eq!(ratified::Config::from_bytes(*bytes).to_bytes(), *bytes);
        assert_eq!(draft::Config::from_bytes(*bytes).to_bytes(), *bytes);
    }
    for bytes in data.as_chunks::<2>().0 {
        response(*bytes);
        assert_eq!(EventRequest::decode(*bytes).encode(), *bytes);
    }
    for byte in data {
        match EventStatus::decode(*byte) {
            Ok(status) => assert_eq!(status.code(), *byte),
            Err(other) => assert!(other == *byte && other > 1),
        }
    }
}

fn request(bytes: [u8; 8]) {
    let [k0, k1, l0, l1, v0, v1, v2, v3] = bytes;
    let kind = u16::from_le_bytes([k0, k1]);
    let line = LineId(u16::from_le_bytes([l0, l1]));
    let value = u32::from_le_bytes([v0, v1, v2, v3]);
    match Request::decode(bytes) {
        Ok(request) => {
            let encoded = request.encode();
            assert_eq!(Request::decode(encoded), Ok(request));
            assert_eq!(encoded[..2], bytes[..2], "{request:?}");
            assert!(request.line().is_none_or(|found| found == line), "{request:?}");
            // What the type does not use is not looked at, and not sent.
            if matches!(request, Request::SetDirection(..) | Request::SetValue(..) | Request::SetInterruptType(..)) {
                assert_eq!(encoded, bytes);
            }
        }
        Err(InvalidRequest::Type(found)) => assert!(found == kind && !(1..=6).contains(&kind)),
        Err(InvalidRequest::Value { kind: found_kind, value: found_value }) => {
            assert!((found_kind, found_value) == (kind, value) && [3, 5, 6].contains(&kind));
        }
    }
}

fn response(bytes: [u8; 2]) {
    let [status, value] = bytes;
    let level = ratified::decode_level(bytes);
    let direction = ratified::decode_direction(bytes);
    match status {
        0 => {
            assert_eq!(level.ok().map(Level::bit), Some(value).filter(|value| *value < 2));
            assert_eq!(direction.ok().map(ratified::direction_code), Some(value).filter(|value| *value < 3));
        }
        1 => assert_eq!((level, direction), (Err(ResponseError::Refused), Err(ResponseError::Refused))),
        _ => {
            let invalid = ResponseError::InvalidStatus(status);
            assert_eq!((level, direction), (Err(invalid), Err(invalid)));
        }
    }
}

fn message(bytes: [u8; 8]) {
    let message = Message::decode(bytes);
    assert_eq!(message.encode(), bytes);
    if let Some(kind) = RequestType::from_code(message.kind) {
        assert_eq!(Message::request(kind, message.line, message.value), message);
    }
    for marking in Marking::ALL {
        // A marking only sets bits, and setting them again changes nothing.
        let marked = marking.apply(message.kind);
        assert_eq!((marked & message.kind, marking.apply(marked)), (message.kind, marked));
    }
    let (level, odd) = draft::decode_level(message.value);
    assert_eq!(i32::from(level.bit()) == message.value, !odd);
    let direction = draft::decode_direction(message.value);
    assert_eq!(direction.is_some(), (0..2).contains(&message.value));
    assert_ne!(direction, Some(Direction::None));
}
