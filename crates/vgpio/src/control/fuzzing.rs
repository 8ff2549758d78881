//! What the fuzz targets reach.

use super::message::{Id, Request};

/// Reads a line from a client: the number of each request, and the request or what is wrong with it.
pub fn read_requests(line: &str) -> Vec<(Option<Id>, Result<Request, String>)> {
    super::request::read(line)
}
