//! The little HTTP (RFC 9112) that one page and one WebSocket need.

use std::io::{self, Read, Write};

use tungstenite::handshake::server::{Request, create_response, write_response};
use tungstenite::http::{Method, header};

/// Bytes of the longest head of a request.
const LONGEST: usize = 16 * 1024;
/// The most header fields in it.
const FIELDS: usize = 100;
/// Where the page's WebSocket is.
const SOCKET: &str = "/control";
const PAGE: &str = include_str!("page.html");
/// The page needs nothing from anywhere else, and nobody else may show it inside of theirs.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A refusal: the status, and what it means here.
type Refusal = (&'static str, &'static str);

/// There are too many pages open.
const FULL: Refusal = ("503 Service Unavailable", "Too many pages are open: close one\n");
const NOT_UNDERSTOOD: Refusal = ("400 Bad Request", "This is not understood\n");
const NOT_FROM_THERE: Refusal =
    ("403 Forbidden", "This page is for browsers on this machine, by the address that vgpio says\n");
const NOT_HERE: Refusal = ("404 Not Found", "There is nothing here: the page is at /\n");
const NOT_THAT_WAY: Refusal = ("405 Method Not Allowed", "There is nothing to do here but GET\n");

/// What a connection wants.
#[derive(Debug, PartialEq, Eq)]
enum Wish {
    /// The page.
    Page,
    /// The page's WebSocket.
    Talk,
    /// Something that it does not get.
    Nothing(Refusal),
}

/// The head of a request; `None` if it cannot be understood.
#[derive(Debug)]
struct Visitor(Option<Request>);

impl Visitor {
    /// Reads the head of a request. `None` if the other side has gone without one.
    fn read(stream: &mut impl Read) -> io::Result<Option<Self>> {
        let mut head = Vec::new();
        let mut bytes = [0; 2048];
        while !head.windows(4).any(|end| end == b"\r\n\r\n") {
            let length = stream.read(&mut bytes)?;
            head.extend_from_slice(bytes.get(..length).unwrap_or_default());
            if length == 0 && head.is_empty() {
                return Ok(None);
            }
            if length == 0 || head.len() > LONGEST {
                return Ok(Some(Self(None)));
            }
        }
        Ok(Some(Self(parse(&head))))
    }

    /// What it wants, and whether it gets it. A page of somebody else may send a browser here, by a name of its own that it
    /// lets point to this machine (then `Host` is that name) or across (then `Origin` is that page).
    fn wish(&self, port: u16) -> Wish {
        let Some(request) = &self.0 else { return Wish::Nothing(NOT_UNDERSTOOD) };
        let ours = [format!("127.0.0.1:{port}"), format!("localhost:{port}")];
        let field = |name| request.headers().get(name).map(header::HeaderValue::as_bytes);
        let is_host_ours = field(header::HOST).is_some_and(|host| ours.iter().any(|name| name.as_bytes() == host));
        let is_origin_ours = field(header::ORIGIN)
            .is_none_or(|origin| ours.iter().any(|name| format!("http://{name}").as_bytes() == origin));
        let is_upgrade = request.headers().contains_key(header::UPGRADE);
        if !is_host_ours || !is_origin_ours {
            return Wish::Nothing(NOT_FROM_THERE);
        }
        if request.method() != Method::GET {
            return Wish::Nothing(NOT_THAT_WAY);
        }
        match (request.uri().path(), is_upgrade) {
            ("/", false) => Wish::Page,
            (SOCKET, true) => Wish::Talk,
            _ => Wish::Nothing(NOT_HERE),
        }
    }

    /// Makes the connection a WebSocket (RFC 6455, section 4.2.2).
    fn upgrade(&self, stream: &mut impl Write) -> Result<(), Refusal> {
        let response = self.0.as_ref().and_then(|request| create_response(request).ok()).ok_or(NOT_UNDERSTOOD)?;
        // If it cannot be written, the first message cannot either.
        write_response(stream, &response).map_err(|_| NOT_UNDERSTOOD)
    }
}

fn parse(head: &[u8]) -> Option<Request> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut parsed = httparse::Request::new(&mut fields);
    // What comes behind the head belongs to nobody: a browser waits for our answer.
    parsed.parse(head).ok()?.is_complete().then_some(())?;
    let mut request = Request::builder().method(parsed.method?).uri(parsed.path?);
    for field in parsed.headers {
        request = request.header(field.name, field.value);
    }
    request.version(tungstenite::http::Version::HTTP_11).body(()).ok()
}

/// Hears what a new connection wants, and gives it what it gets. Returns whether it is a WebSocket now, which it can be
/// only while `has_room` says so.
pub(super) fn receive(
    stream: &mut (impl Read + Write),
    port: u16,
    has_room: impl FnOnce() -> bool,
) -> io::Result<bool> {
    let Some(visitor) = Visitor::read(stream)? else { return Ok(false) };
    let refusal = match visitor.wish(port) {
        Wish::Page => return send(stream, "200 OK", "text/html; charset=utf-8", PAGE).map(|()| false),
        Wish::Nothing(refusal) => refusal,
        Wish::Talk if !has_room() => FULL,
        Wish::Talk => match visitor.upgrade(stream) {
            Ok(()) => return Ok(true),
            Err(refusal) => refusal,
        },
    };
    refuse(stream, refusal).map(|()| false)
}

fn refuse(stream: &mut impl Write, (status, text): Refusal) -> io::Result<()> {
    send(stream, status, "text/plain; charset=utf-8", text)
}

fn send(stream: &mut impl Write, status: &str, kind: &str, text: &str) -> io::Result<()> {
    let length = text.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\
         Cache-Control: no-store\r\nContent-Security-Policy: {POLICY}\r\nX-Content-Type-Options: nosniff\r\n\
         Referrer-Policy: no-referrer\r\nCross-Origin-Resource-Policy: same-origin\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(text.as_bytes())?;
    stream.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visitor(head: &str) -> Visitor {
        Visitor::read(&mut head.as_bytes()).unwrap().unwrap()
    }

    fn wish(head: &str) -> Wish {
        visitor(head).wish(8080)
    }

    #[test]
    fn page_and_socket_are_for_this_machine() {
        assert_eq!(wish("GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n"), Wish::Page);
        assert_eq!(wish("GET /?x HTTP/1.1\r\nhost: localhost:8080\r\n\r\n"), Wish::Page);
        let socket = "GET /control HTTP/1.1\r\nHost: localhost:8080\r\nUpgrade: websocket\r\n";
        assert_eq!(wish(&format!("{socket}\r\n")), Wish::Talk);
        assert_eq!(wish(&format!("{socket}Origin: http://localhost:8080\r\n\r\n")), Wish::Talk);
        for origin in ["http://evil.example", "http://localhost:8081", "null", "https://localhost:8080"] {
            assert_eq!(wish(&format!("{socket}Origin: {origin}\r\n\r\n")), Wish::Nothing(NOT_FROM_THERE), "{origin}");
        }
        for host in ["evil.example", "evil.example:8080", "127.0.0.1", "127.0.0.1:80", "localhost:8080.evil.example"] {
            let head = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
            assert_eq!(wish(&head), Wish::Nothing(NOT_FROM_THERE), "{host}");
        }
        assert_eq!(wish("GET / HTTP/1.1\r\n\r\n"), Wish::Nothing(NOT_FROM_THERE), "no host");
    }

    #[test]
    fn there_is_nothing_else() {
        let host = "Host: localhost:8080\r\n\r\n";
        assert_eq!(wish(&format!("GET /etc/passwd HTTP/1.1\r\n{host}")), Wish::Nothing(NOT_HERE));
        assert_eq!(wish(&format!("GET /control HTTP/1.1\r\n{host}")), Wish::Nothing(NOT_HERE));
        assert_eq!(wish(&format!("POST / HTTP/1.1\r\n{host}")), Wish::Nothing(NOT_THAT_WAY));
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for head in ["hello\r\n\r\n", "GET / HTTP/9\r\n\r\n", "GET\0/ HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nHost", "x"]
        {
            assert_eq!(wish(head), Wish::Nothing(NOT_UNDERSTOOD), "{head:?}");
        }
        assert_eq!(wish(&"x".repeat(20_000)), Wish::Nothing(NOT_UNDERSTOOD));
        let fields = "a: b\r\n".repeat(200);
        assert_eq!(wish(&format!("GET / HTTP/1.1\r\n{fields}\r\n")), Wish::Nothing(NOT_UNDERSTOOD));
        assert!(Visitor::read(&mut "".as_bytes()).unwrap().is_none(), "gone at once");
        let upgrade = visitor("GET /control HTTP/1.1\r\nHost: localhost:8080\r\nUpgrade: websocket\r\n\r\n");
        assert!(upgrade.upgrade(&mut Vec::new()).is_err(), "an upgrade without a key");
    }
}
