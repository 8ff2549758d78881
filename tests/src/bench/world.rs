//! The benchmark's device and the world around it, in which reactions are timed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use gpio_model::observe::Activity;
use gpio_model::{draft, ratified};
use vgpio::chip::Chip;
use vgpio::record::{Record, Sink};
use vgpio::world::{Place, Wire, World};
use virtio_gpio::{LineId, Protocol};

/// The world changes this one, and the guest answers with the other. The lines before it are outputs.
pub(crate) const INPUT: u16 = 256;
pub(crate) const ANSWER: u16 = 257;
/// The line whose edges are counted.
pub(crate) const EDGES: u16 = 258;

/// How long after an answer the world makes the next edge: the guest rests by then.
const PAUSE: Duration = Duration::from_millis(1);

pub(crate) fn chip(protocol: Protocol) -> anyhow::Result<Chip> {
    let names = (0..=EDGES).map(|line| format!("line{line}")).collect();
    Ok(match protocol {
        Protocol::Ratified => Chip::ratified(names, ratified::Options::default())?,
        Protocol::Draft => Chip::draft(names, draft::Options::default())?,
    })
}

pub(crate) fn place(line: u16) -> Place {
    Place { chip: 0, line: LineId(line) }
}

/// Wires the answer back to the input, inverted: each answer leads to the next edge.
pub(crate) fn wire(world: &mut World) -> anyhow::Result<()> {
    let wire = Wire { inverted: true, delay: PAUSE, ..Wire::new(place(ANSWER), place(INPUT)) };
    Ok(world.wire(wire)?)
}

/// Times what the guest does. Clones show the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stopwatch(Arc<Mutex<Times>>);

#[derive(Debug, Default)]
struct Times {
    first_request: Option<Instant>,
    /// When the input changed last.
    edge: Option<Instant>,
    /// The guest has sent something since.
    awake: bool,
    wakings: Vec<Duration>,
    reactions: Vec<Duration>,
}

impl Stopwatch {
    pub(crate) fn first_request(&self) -> Option<Instant> {
        self.with(|times| times.first_request)
    }

    /// The times from an edge to its answer.
    pub(crate) fn reactions(&self) -> Vec<Duration> {
        self.with(|times| times.reactions.clone())
    }

    /// The times from an edge to the first request after it.
    pub(crate) fn wakings(&self) -> Vec<Duration> {
        self.with(|times| times.wakings.clone())
    }

    fn with<T>(&self, f: impl FnOnce(&mut Times) -> T) -> T {
        // Every step leaves them whole.
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Sink for Stopwatch {
    fn record(&mut self, record: &Record) {
        match record.activity {
            Activity::Request { .. } | Activity::Message { .. } => {
                self.with(|times| {
                    times.first_request.get_or_insert_with(Instant::now);
                    if let Some(edge) = times.edge.filter(|_| !times.awake) {
                        times.awake = true;
                        times.wakings.push(edge.elapsed());
                    }
                });
            }
            Activity::Changed(change) if change.new_level().is_some() => match change.line.0 {
                INPUT => self.with(|times| (times.edge, times.awake) = (Some(Instant::now()), false)),
                ANSWER => self.with(|times| {
                    if let Some(edge) = times.edge.take() {
                        times.reactions.push(edge.elapsed());
                    }
                }),
                _ => {}
            },
            _ => {}
        }
    }
}
