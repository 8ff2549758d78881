//! What a line from a client asks for.

use serde_json::Value;

use super::message::{Id, Request};

/// A request, or what is wrong with it.
pub(crate) type Asked = (Option<Id>, Result<Request, String>);

/// Reads a line: one request, or a list of requests that belong together.
pub(crate) fn read(line: &str) -> Vec<Asked> {
    match serde_json::from_str(line) {
        Ok(Value::Array(requests)) if requests.is_empty() => vec![(None, Err("an empty list of requests".to_owned()))],
        Ok(Value::Array(requests)) => requests.into_iter().map(read_one).collect(),
        Ok(request) => vec![read_one(request)],
        Err(error) => vec![(None, Err(format!("not JSON: {error}")))],
    }
}

fn read_one(request: Value) -> Asked {
    let Value::Object(mut fields) = request else {
        return (None, Err("a request is an object, such as {\"request\": \"info\"}".to_owned()));
    };
    let id = match fields.remove("id") {
        None | Some(Value::Null) => None,
        Some(id) => match id.as_u64() {
            Some(id) => Some(id),
            None => return (None, Err(format!("an id is a whole number, not {id}"))),
        },
    };
    (id, serde_json::from_value(Value::Object(fields)).map_err(|error| error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::message::Bit;
    use virtio_gpio::messages::Level;

    fn mistake(line: &str) -> String {
        let (_, request) = read(line).pop().unwrap();
        request.unwrap_err()
    }

    #[test]
    fn request_is_read_with_its_number() {
        assert_eq!(
            read(r#"{"request":"set","id":7,"line":"gpio1:3","level":1}"#),
            [(Some(7), Ok(Request::Set { line: "gpio1:3".to_owned(), level: Bit(Level::High) }))]
        );
        assert_eq!(read(r#"{"request":"info"}"#), [(None, Ok(Request::Info {}))]);
    }

    #[test]
    fn several_requests_can_stand_on_one_line() {
        let requests = read(r#"[{"request":"info","id":1}, 5, {"request":"get","line":"led0","id":2}]"#);
        assert_eq!(requests[0], (Some(1), Ok(Request::Info {})));
        assert!(requests[1].1.as_ref().is_err_and(|error| error.contains("object")));
        assert_eq!(requests[2], (Some(2), Ok(Request::Get { line: "led0".to_owned() })));
    }

    #[test]
    fn mistakes_are_named() {
        for (line, named) in [
            ("", "not JSON"),
            ("{", "not JSON"),
            ("[]", "empty list"),
            ("7", "an object"),
            (r#"{"request":"fly"}"#, "unknown variant `fly`"),
            (r#"{"line":"led0"}"#, "missing field `request`"),
            (r#"{"request":"get"}"#, "missing field `line`"),
            (r#"{"request":"get","line":true}"#, "expected a string"),
            (r#"{"request":"get","line":"a","id":-1}"#, "an id is a whole number"),
            (r#"{"request":"info","lines":[]}"#, "unknown field `lines`"),
            (r#"{"request":"set","line":"a","level":2}"#, "a level is 0 or 1"),
            (r#"{"request":"wait","line":"a","edges":"both"}"#, "unknown field `edges`"),
        ] {
            assert!(mistake(line).contains(named), "{line} should name {named}: {}", mistake(line));
        }
        assert!(mistake(&"[".repeat(10_000)).contains("recursion limit"));
    }
}
