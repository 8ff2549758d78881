//! Lines from clients of the control socket: whatever text, each request in it is understood as it was meant, or refused
//! with a message.

use vgpio::control::message::{Call, Request};
use vgpio::duration;
use vgpio::fuzzing::read_requests;

/// Reads one line.
pub fn run(data: &[u8]) {
    let Ok(line) = std::str::from_utf8(data) else { return };
    let requests = read_requests(line);
    assert!(!requests.is_empty(), "every line has an answer");
    for (id, request) in requests {
        match request {
            Ok(request) => {
                check_times(&request);
                let again =
                    serde_json::to_string(&Call { id, request: request.clone() }).expect("a request can be written");
                assert_eq!(read_requests(&again), [(id, Ok(request))], "{again}");
            }
            Err(message) => assert!(!message.is_empty()),
        }
    }
}

/// A time is refused with a message, or is what is shown of it.
fn check_times(request: &Request) {
    let times = match request {
        Request::Pulse { width, .. } => [Some(width), None],
        Request::Clock { period, .. } => [Some(period), None],
        Request::Pwm { period, high, .. } => [Some(period), Some(high)],
        Request::Bounce { over, .. } => [Some(over), None],
        Request::Wait { timeout, .. } => [timeout.as_ref(), None],
        _ => [None, None],
    };
    for text in times.into_iter().flatten() {
        match duration::parse(text) {
            Ok(time) => assert_eq!(duration::parse(&duration::shown(time)), Ok(time), "{text}"),
            Err(message) => assert!(!message.is_empty()),
        }
    }
}
