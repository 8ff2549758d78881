//! The words of the command line, and what each of them does.

use core::fmt;
use core::str::Split;
use core::time::Duration;

use crate::gpio::{Chip, Event, Flags, LINES, Lines};
use crate::linux::{self, Errno};
use crate::{bench, say};

/// Requests that can be open at the same time.
const HANDLES: usize = 16;
/// Events that are read together.
pub(crate) const EVENTS: usize = 16;

/// Why a word was not carried out.
pub(crate) enum Error {
    /// It makes no sense.
    Word(&'static str),
    /// The kernel refused.
    Kernel(Errno),
}

impl From<Errno> for Error {
    fn from(error: Errno) -> Self {
        Self::Kernel(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(expected) => write!(f, "expected {expected}"),
            Self::Kernel(error) => error.fmt(f),
        }
    }
}

/// Levels of lines, the first one first.
struct Bits {
    bits: u64,
    count: u32,
}

impl fmt::Display for Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (0..self.count).try_for_each(|bit| write!(f, "{}", self.bits >> bit & 1))
    }
}

/// The arguments of a command.
struct Arguments<'w>(Split<'w, char>);

impl<'w> Arguments<'w> {
    fn text(&mut self) -> &'w str {
        self.0.next().unwrap_or("")
    }

    fn number(&mut self) -> Result<u32, Error> {
        self.text().parse().map_err(|_| Error::Word("a number"))
    }

    fn range(&mut self) -> Result<(u32, u32), Error> {
        range(self.text())
    }

    fn flags(&mut self) -> Result<Flags, Error> {
        Flags::parse(self.text()).ok_or(Error::Word("out, in, rising, falling or both"))
    }

    fn bits(&mut self) -> Result<u64, Error> {
        let mut bits = 0;
        for (bit, level) in self.text().bytes().enumerate() {
            match level {
                b'0' => {}
                b'1' if bit < LINES => bits |= 1 << bit,
                _ => return Err(Error::Word("up to 64 levels, each 0 or 1")),
            }
        }
        Ok(bits)
    }
}

/// `7` or `0-7`.
fn range(text: &str) -> Result<(u32, u32), Error> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.parse(), last.parse()) {
        (Ok(first), Ok(last)) => Ok((first, last)),
        _ => Err(Error::Word("a number or a range, for instance 0-7")),
    }
}

/// What the words so far have left.
pub(crate) struct Commands {
    chip: Option<Chip>,
    handles: [Option<Lines>; HANDLES],
    used: usize,
}

impl Commands {
    pub(crate) fn new() -> Self {
        Self { chip: None, handles: [const { None }; HANDLES], used: 0 }
    }

    /// Carries out a word.
    pub(crate) fn run(&mut self, word: &str) -> Result<(), Error> {
        let mut arguments = Arguments(word.split(':'));
        match arguments.text() {
            "info" => self.info(),
            "request" => self.request(&mut arguments),
            "configure" => {
                let (handle, lines) = self.lines(&mut arguments)?;
                lines.configure(arguments.flags()?, arguments.bits()?)?;
                say!("configure {handle}");
                Ok(())
            }
            "set" => {
                let (handle, lines) = self.lines(&mut arguments)?;
                let bits = arguments.bits()?;
                lines.set(bits)?;
                say!("set {handle} {}", Bits { bits, count: lines.count() });
                Ok(())
            }
            "get" => {
                let (handle, lines) = self.lines(&mut arguments)?;
                say!("get {handle} {}", Bits { bits: lines.get()?, count: lines.count() });
                Ok(())
            }
            "edges" => {
                let (_, lines) = self.lines(&mut arguments)?;
                edges(lines, arguments.number()?)
            }
            "quiet" => {
                let (handle, lines) = self.lines(&mut arguments)?;
                let time = Duration::from_millis(arguments.number()?.into());
                match lines.edges(time, &mut [Event::default(); EVENTS])? {
                    [] => say!("quiet {handle}"),
                    events => events.iter().for_each(print_edge),
                }
                Ok(())
            }
            "release" => {
                let handle = arguments.number()?;
                let lines = self.handles.get_mut(handle as usize).and_then(Option::take);
                drop(lines.ok_or(Error::Word("a handle"))?);
                say!("release {handle}");
                Ok(())
            }
            "memory" => {
                let (total, free) = linux::memory();
                say!("memory used={} total={total}", total - free);
                Ok(())
            }
            "bench" => self.bench(&mut arguments),
            "react" => {
                let (_, input) = self.lines(&mut arguments)?;
                let (_, output) = self.lines(&mut arguments)?;
                bench::react(input, output, arguments.number()?)?;
                say!("react done");
                Ok(())
            }
            "count" => {
                let (_, lines) = self.lines(&mut arguments)?;
                let quiet = Duration::from_millis(arguments.number()?.into());
                for round in 0..arguments.number()? {
                    let (edges, time) = bench::count(lines, quiet)?;
                    say!("count round={round} edges={edges} nanoseconds={}", time.as_nanos());
                }
                Ok(())
            }
            _ => Err(Error::Word("a command")),
        }
    }

    fn chip(&mut self) -> Result<&Chip, Error> {
        if self.chip.is_none() {
            self.chip = Some(Chip::open()?);
        }
        self.chip.as_ref().ok_or(Error::Word("a chip"))
    }

    fn info(&mut self) -> Result<(), Error> {
        let chip = self.chip()?;
        let (name, label, lines) = chip.info()?;
        say!("chip {name} {label} lines={lines}");
        for line in 0..lines {
            let (name, flags) = chip.line(line)?;
            say!("line {line} {name} {flags}");
        }
        Ok(())
    }

    fn request(&mut self, arguments: &mut Arguments<'_>) -> Result<(), Error> {
        let mut lines = [0; LINES];
        let mut count = 0;
        for text in arguments.text().split(',') {
            let (first, last) = range(text)?;
            for line in first..=last {
                *lines.get_mut(count).ok_or(Error::Word("up to 64 lines"))? = line;
                count += 1;
            }
        }
        let (flags, levels) = (arguments.flags()?, arguments.bits()?);
        let requested = self.chip()?.request(&lines[..count], flags, levels)?;
        let handle = self.used;
        *self.handles.get_mut(handle).ok_or(Error::Word("up to 16 requests"))? = Some(requested);
        self.used += 1;
        say!("request {handle}");
        Ok(())
    }

    fn lines(&self, arguments: &mut Arguments<'_>) -> Result<(u32, &Lines), Error> {
        let handle = arguments.number()?;
        let lines = self.handles.get(handle as usize).and_then(Option::as_ref);
        Ok((handle, lines.ok_or(Error::Word("a handle"))?))
    }

    fn bench(&self, arguments: &mut Arguments<'_>) -> Result<(), Error> {
        let what = arguments.text();
        let (first, last) = arguments.range()?;
        let handles = self.handles.get(first as usize..=last as usize).ok_or(Error::Word("handles"))?;
        let calls = arguments.number()?;
        let figure = bench::measure(calls, |call| {
            let even = call % 2 == 0;
            handles.iter().flatten().try_for_each(|lines| match what {
                "set" => lines.set(if even { u64::MAX } else { 0 }),
                "get" => lines.get().map(|_| ()),
                _ => lines.configure(if even { Flags::IN } else { Flags::OUT }, 0),
            })
        })?;
        let lines: u32 = handles.iter().flatten().map(Lines::count).sum();
        say!("bench {what} lines={lines} {figure}");
        Ok(())
    }
}

/// Waits for as many edges and prints them.
fn edges(lines: &Lines, count: u32) -> Result<(), Error> {
    let mut left = count as usize;
    while left > 0 {
        let mut events = [Event::default(); EVENTS];
        let wanted = left.min(EVENTS);
        let events = lines.next_edges(&mut events[..wanted])?;
        events.iter().for_each(print_edge);
        left -= events.len();
    }
    Ok(())
}

fn print_edge(event: &Event) {
    let edge = if event.is_rising() { "rising" } else { "falling" };
    say!("edge {} {edge} seqno={}", event.line, event.number);
}
