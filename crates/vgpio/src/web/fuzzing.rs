//! What the fuzz targets reach.

use std::io::{self, Read, Write};

/// Receives a connection to the page that is at this port. Returns whether it is a WebSocket now.
///
/// # Errors
///
/// Those of the connection.
pub fn receive(stream: &mut (impl Read + Write), port: u16) -> io::Result<bool> {
    super::http::receive(stream, port, || true)
}
