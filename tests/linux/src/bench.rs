//! Figures: how many calls a second, and how long they take; edges that are counted or answered.

use core::fmt;
use core::time::Duration;

use crate::commands::EVENTS;
use crate::gpio::{Event, Lines};
use crate::linux::{Errno, now, ticks};

/// Calls whose time is kept.
const SAMPLES: usize = 20_000;

/// What was measured.
pub(crate) struct Figure {
    calls: u32,
    all: Duration,
    half: u32,
    most: u32,
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { calls, all, half, most } = self;
        write!(f, "calls={calls} nanoseconds={} p50={half} p99={most}", all.as_nanos())
    }
}

/// Makes as many calls, each with its number.
///
/// The time of a single call is taken from the processor's counter, because a system call for it would be a part of
/// what is measured. What a tick is comes out of the time that all calls took.
pub(crate) fn measure(calls: u32, mut call: impl FnMut(u32) -> Result<(), Errno>) -> Result<Figure, Errno> {
    #[expect(clippy::large_stack_arrays, reason = "the kernel gives programs a stack of several MiB")]
    let mut samples = [0_u32; SAMPLES];
    let (begin, first) = (now(), ticks());
    let mut before = first;
    for number in 0..calls {
        call(number)?;
        let after = ticks();
        if let Some(sample) = samples.get_mut(number as usize) {
            *sample = after.wrapping_sub(before) as u32;
        }
        before = after;
    }
    let (all, all_ticks) = (now().saturating_sub(begin), before.wrapping_sub(first).max(1));
    let samples = &mut samples[..SAMPLES.min(calls as usize)];
    samples.sort_unstable();
    let at = |percent: usize| {
        let ticks = samples.get(samples.len() * percent / 100).copied().unwrap_or(0);
        (u128::from(ticks) * all.as_nanos() / u128::from(all_ticks)) as u32
    };
    Ok(Figure { calls, all, half: at(50), most: at(99) })
}

/// Sets the outputs to the level after each edge of the inputs, so many times.
pub(crate) fn react(inputs: &Lines, outputs: &Lines, edges: u32) -> Result<(), Errno> {
    let mut events = [Event::default(); EVENTS];
    let mut left = edges as usize;
    while left > 0 {
        let seen = inputs.next_edges(&mut events)?;
        if let Some(last) = seen.last() {
            outputs.set(if last.is_rising() { u64::MAX } else { 0 })?;
        }
        left = left.saturating_sub(seen.len());
    }
    Ok(())
}

/// Counts edges, from the first one until none comes for that time. Returns the time between the first and the last one, too.
pub(crate) fn count(lines: &Lines, quiet: Duration) -> Result<(u64, Duration), Errno> {
    let mut events = [Event::default(); EVENTS];
    let mut edges = 0;
    let mut seen = lines.next_edges(&mut events)?;
    let first = seen.first().map_or(0, |event| event.at);
    let mut last = first;
    while let Some(event) = seen.last() {
        edges += seen.len() as u64;
        last = event.at;
        seen = lines.edges(quiet, &mut events)?;
    }
    Ok((edges, Duration::from_nanos(last - first)))
}
