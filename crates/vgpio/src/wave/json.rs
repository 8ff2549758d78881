//! A waveform as JSON, one object on each line: what programs ask about a recording. Every object has a `schema`:
//! [`SCHEMA`], which changes when a field changes its meaning.

use serde::Serialize;

use super::axis::nanoseconds;
use super::{Driver, Line, Value, Wave, Window};

/// The version of these objects.
pub const SCHEMA: &str = "vgpio.wave/1";

/// A line in a window.
#[derive(Serialize)]
struct Object<'a> {
    schema: &'a str,
    line: &'a str,
    from_ns: u64,
    to_ns: u64,
    /// As it is at the beginning.
    #[serde(flatten)]
    state: State,
    changes: Vec<Change>,
}

/// What a line is.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
struct State {
    /// `null` while nobody uses or drives the line.
    level: Option<u8>,
    driver: &'static str,
}

/// A line becomes something else.
#[derive(Serialize)]
struct Change {
    at_ns: u64,
    #[serde(flatten)]
    state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    edge: Option<&'static str>,
}

/// Writes a part of a waveform.
///
/// # Errors
///
/// When it cannot be written as JSON.
pub fn write(wave: &Wave, window: &Window) -> serde_json::Result<String> {
    let mut text = String::new();
    for line in wave.shown(window) {
        text.push_str(&serde_json::to_string(&object(line, window))?);
        text.push('\n');
    }
    Ok(text)
}

fn object<'a>(line: &'a Line, window: &Window) -> Object<'a> {
    let Window { from, to, .. } = *window;
    let state = |at, level| State { level: number(level), driver: name(line.driver(at)) };
    let first = state(from, line.level.at(from));
    let mut levels: Vec<_> = line.level.between(from, to).map(|change| (change.at, change.value)).collect();
    levels.extend(line.handovers(window).into_iter().map(|at| (at, line.level.at(at))));
    // A handover comes behind the levels of its time, the last of which is its own.
    levels.sort_by_key(|(at, _)| *at);
    let mut before = first;
    let mut changes = Vec::new();
    for (at, level) in levels {
        let state = state(at, level);
        if state != before {
            changes.push(Change { at_ns: nanoseconds(at), state, edge: edge(before.level, state.level) });
            before = state;
        }
    }
    let (from_ns, to_ns) = (nanoseconds(from), nanoseconds(to));
    Object { schema: SCHEMA, line: &line.name, from_ns, to_ns, state: first, changes }
}

fn number(level: Value) -> Option<u8> {
    match level {
        Value::Low => Some(0),
        Value::High => Some(1),
        Value::Unknown => None,
    }
}

fn name(driver: Driver) -> &'static str {
    match driver {
        Driver::Guest => "guest",
        Driver::Outside => "outside",
        Driver::Nobody => "nobody",
    }
}

fn edge(before: Option<u8>, after: Option<u8>) -> Option<&'static str> {
    match (before, after) {
        (Some(0), Some(1)) => Some("rising"),
        (Some(1), Some(0)) => Some("falling"),
        _ => None,
    }
}
