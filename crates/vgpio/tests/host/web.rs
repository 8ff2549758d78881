//! The page's connection, to clients that are no browser.
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use crate::front_end::LONG;
use crate::server::{Bench, ratified, serve};
use serde_json::Value;
use tungstenite::client::IntoClientRequest;
use tungstenite::http::HeaderValue;
use tungstenite::stream::MaybeTlsStream;
use tungstenite::{Error, Message, WebSocket};
use vgpio::control::switchboard::Switchboard;
use vgpio::web::WebPage;

struct Shown {
    page: WebPage,
    bench: Bench,
}

fn shown() -> Shown {
    let bench = serve(ratified());
    let board = Switchboard::install(&bench.server, None, || {}).unwrap();
    Shown { page: WebPage::listen(board, 0).unwrap(), bench }
}

impl Shown {
    /// `127.0.0.1:PORT`
    fn host(&self) -> String {
        self.page.url().trim_start_matches("http://").trim_end_matches('/').to_owned()
    }

    fn socket(&self) -> WebSocket<MaybeTlsStream<TcpStream>> {
        let (socket, _) = tungstenite::connect(format!("ws://{}/control", self.host())).unwrap();
        if let MaybeTlsStream::Plain(stream) = socket.get_ref() {
            stream.set_read_timeout(Some(LONG)).unwrap();
        }
        socket
    }

    /// The answer to bytes that need not be a request.
    fn answer(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.host()).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        // A connection that is reset has been refused as well.
        match stream.read_to_end(&mut answer) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => panic!("{error}"),
        }
        String::from_utf8(answer).unwrap()
    }
}

fn json(message: &Message) -> Value {
    serde_json::from_str(message.to_text().unwrap()).unwrap()
}

#[test]
fn page_is_one_file_that_needs_nothing_else() {
    let shown = shown();
    let text = shown.answer(format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", shown.host()).as_bytes());
    let (head, page) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK") && head.contains("default-src 'none'"), "{head}");
    assert!(head.contains(&format!("Content-Length: {}", page.len())));
    for elsewhere in ["src=\"http", "href=\"http", "@import", "url(http"] {
        assert!(!page.contains(elsewhere), "{elsewhere}");
    }
}

#[test]
fn page_talks_as_any_other_client() {
    let shown = shown();
    let mut socket = shown.socket();
    socket
        .send(Message::text(r#"[{"request":"subscribe","id":1},{"request":"set","id":2,"line":"in","level":1}]"#))
        .unwrap();
    let said: Vec<_> = (0..3).map(|_| json(&socket.read().unwrap())).collect();
    assert_eq!([&said[0]["id"], &said[1]["edge"], &said[2]["id"]], [&Value::from(1), &"rising".into(), &2.into()]);
    socket.send(Message::Ping("are you there".into())).unwrap();
    assert_eq!(socket.read().unwrap(), Message::Pong("are you there".into()));
    shown.bench.server.stop();
    assert_eq!(json(&socket.read().unwrap())["event"], "end");
}

#[test]
fn what_is_no_text_or_has_no_end_is_cut_off() {
    let shown = shown();
    for message in [Message::binary(vec![1, 2, 3]), Message::text("x".repeat(100_000))] {
        let mut socket = shown.socket();
        let _ = socket.send(message);
        assert_eq!(json(&socket.read().unwrap())["reply"], "error");
        let end = socket.read().unwrap_err();
        assert!(matches!(end, Error::Protocol(_) | Error::Io(_) | Error::ConnectionClosed), "{end}");
    }
    shown.socket();
}

#[test]
fn others_are_refused() {
    let shown = shown();
    let host = shown.host();
    for (request, status) in [
        ("GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n".to_owned(), "403"),
        (format!("GET / HTTP/1.1\r\nHost: {host}\r\nOrigin: http://evil.example\r\n\r\n"), "403"),
        (format!("GET /other HTTP/1.1\r\nHost: {host}\r\n\r\n"), "404"),
        (format!("POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n"), "405"),
        ("\r\n\r\n\r\n".to_owned(), "400"),
        (format!("GET /control HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\n\r\n"), "400"),
    ] {
        let answer = shown.answer(request.as_bytes());
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request:?}: {answer}");
    }
    let mut request = format!("ws://{host}/control").into_client_request().unwrap();
    request.headers_mut().insert("Origin", HeaderValue::from_static("http://evil.example"));
    match tungstenite::connect(request) {
        Err(Error::Http(response)) => assert_eq!(response.status(), 403),
        other => panic!("{other:?}"),
    }
    shown.socket();
}

#[test]
fn page_can_go_before_the_simulation() {
    let shown = shown();
    let mut socket = shown.socket();
    drop(shown.page);
    assert!(socket.read().is_err());
    shown.bench.server.with(|_, _| ()).unwrap();
}
