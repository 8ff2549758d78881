//! Connections to the page of `vgpio run --web`: whatever bytes a browser sends, and in whatever pieces, it gets the page, a
//! WebSocket or a refusal; and nothing but a refusal where it was led here by somebody else's page.

use std::io::{self, Read, Write};

use vgpio::fuzzing::receive;

const PORT: u16 = 8080;
/// What may stand in `Host`.
const HERE: [&[u8]; 2] = [b"127.0.0.1:8080", b"localhost:8080"];
/// Bytes of a request that are read at most: the longest head, and what came with its end.
const MOST: usize = 16 * 1024 + 2048;

/// A connection whose other side sends so many bytes at a time.
struct Connection<'a> {
    comes: &'a [u8],
    piece: usize,
    heard: usize,
    said: Vec<u8>,
}

impl Read for Connection<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (now, later) = self.comes.split_at(self.comes.len().min(self.piece).min(buffer.len()));
        buffer[..now.len()].copy_from_slice(now);
        self.comes = later;
        self.heard += now.len();
        Ok(now.len())
    }
}

impl Write for Connection<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.said.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Receives one connection. The first byte says in what pieces the others come.
pub fn run(data: &[u8]) {
    let Some((&piece, request)) = data.split_first() else { return };
    let piece = if piece == 0 { 4096 } else { piece.into() };
    let mut connection = Connection { comes: request, piece, heard: 0, said: Vec::new() };
    let is_socket = receive(&mut connection, PORT).expect("reading and writing succeed");
    assert!(connection.heard <= MOST, "{} bytes were read", connection.heard);
    let said = &connection.said;
    if request.is_empty() {
        assert!(said.is_empty() && !is_socket, "nobody is there to be answered");
        return;
    }
    let end = said.windows(4).position(|end| end == b"\r\n\r\n").expect("an answer has a head");
    let (head, body) = said.split_at(end + 4);
    let head = std::str::from_utf8(head).expect("the head of an answer is text");
    if !is_socket {
        let length = format!("\r\nContent-Length: {}\r\n", body.len());
        assert!(head.contains(&length), "{head}");
    }
    let status = head.split(' ').nth(1);
    match status {
        Some("101") => assert!(is_socket && body.is_empty()),
        Some("200") => assert!(!is_socket && body.starts_with(b"<!")),
        Some("400" | "403" | "404" | "405") => assert!(!is_socket),
        _ => panic!("an answer that there is not: {head}"),
    }
    if matches!(status, Some("101" | "200")) {
        assert!(
            HERE.iter().any(|here| request.windows(here.len()).any(|part| part == *here)),
            "led here by somebody else"
        );
    }
}
