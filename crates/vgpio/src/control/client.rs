//! A client of the control socket, for other programs and for the commands of this one.

use std::collections::VecDeque;
use std::fmt;
use std::io::{BufRead, BufReader, ErrorKind as IoErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::hub::line;
use super::message::{Answer, Call, ErrorKind, Happening, Id, Request, Said, Stamp, VERSION};

/// A connection to a simulation.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
    /// What is there of a line that has not ended yet.
    begun: Vec<u8>,
    last: Id,
    /// Events that came before a reply that was waited for.
    events: VecDeque<(Stamp, Happening)>,
}

/// The simulation did not carry out a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Why, for a program.
    pub kind: ErrorKind,
    /// Why, for a person.
    pub message: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refused {}

impl Client {
    /// Connects to a simulation, and makes sure that it speaks this version.
    ///
    /// # Errors
    ///
    /// When nobody listens there, or somebody who speaks something else.
    pub fn connect(path: &Path) -> anyhow::Result<Self> {
        let stream = UnixStream::connect(path).with_context(|| {
            format!("Cannot connect to {}: is there a `vgpio run` or `vgpio device` with --control?", path.display())
        })?;
        let stream = BufReader::new(stream);
        let mut client = Self { stream, begun: Vec::new(), last: 0, events: VecDeque::new() };
        client.ask(Request::Hello { version: Some(VERSION) })?;
        Ok(client)
    }

    /// Asks for something, and waits for the answer.
    ///
    /// # Errors
    ///
    /// [`Refused`], or the end of the connection.
    pub fn ask(&mut self, request: Request) -> anyhow::Result<(Stamp, Answer)> {
        let id = self.send(request)?;
        self.answer(id)
    }

    /// Asks for several things that are to be done at one instant, and waits for the answers.
    ///
    /// # Errors
    ///
    /// The first [`Refused`], or the end of the connection.
    pub fn ask_together(&mut self, requests: Vec<Request>) -> anyhow::Result<Vec<Answer>> {
        let calls: Vec<_> = requests.into_iter().map(|request| self.call(request)).collect();
        self.write(&line(&calls))?;
        let answers = calls.iter().map(|call| Ok(self.answer(call.id.unwrap_or_default())?.1));
        answers.collect()
    }

    /// Asks for something, and does not wait for the answer.
    ///
    /// # Errors
    ///
    /// When the connection has ended.
    pub fn send(&mut self, request: Request) -> anyhow::Result<Id> {
        let call = self.call(request);
        self.write(&line(&call))?;
        Ok(self.last)
    }

    /// Waits for the answer to a request. Answers to other requests before it are dropped.
    ///
    /// # Errors
    ///
    /// [`Refused`], or the end of the connection.
    pub fn answer(&mut self, expected: Id) -> anyhow::Result<(Stamp, Answer)> {
        loop {
            match self.read(None)? {
                Some(Said::Reply { id, stamp, answer }) if id == Some(expected) || id.is_none() => {
                    return match answer {
                        Answer::Error { kind, message } => Err(Refused { kind, message }.into()),
                        answer => Ok((stamp, answer)),
                    };
                }
                Some(Said::Event { stamp, happening }) => self.events.push_back((stamp, happening)),
                Some(Said::Reply { .. }) | None => {}
            }
        }
    }

    /// Waits for the next event; `None` when there is none within `patience`.
    ///
    /// # Errors
    ///
    /// The end of the connection.
    pub fn event(&mut self, patience: Option<Duration>) -> anyhow::Result<Option<(Stamp, Happening)>> {
        let deadline = patience.and_then(|patience| Instant::now().checked_add(patience));
        if let Some(event) = self.events.pop_front() {
            return Ok(Some(event));
        }
        loop {
            match self.read(deadline)? {
                Some(Said::Event { stamp, happening }) => return Ok(Some((stamp, happening))),
                Some(Said::Reply { .. }) => {}
                None => return Ok(None),
            }
        }
    }

    fn call(&mut self, request: Request) -> Call {
        self.last = self.last.saturating_add(1);
        Call { id: Some(self.last), request }
    }

    fn write(&mut self, line: &str) -> anyhow::Result<()> {
        self.stream.get_mut().write_all(format!("{line}\n").as_bytes()).context(GONE)
    }

    /// The next line; `None` when there is none before the deadline.
    fn read(&mut self, deadline: Option<Instant>) -> anyhow::Result<Option<Said>> {
        loop {
            let rest = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            // There is no way to wait for no time.
            let rest = rest.map(|rest| rest.max(Duration::from_micros(1)));
            self.stream.get_ref().set_read_timeout(rest).context("Cannot use the control socket")?;
            match self.stream.read_until(b'\n', &mut self.begun) {
                Ok(_) if self.begun.ends_with(b"\n") => {
                    let line = std::mem::take(&mut self.begun);
                    let said = serde_json::from_slice(&line);
                    return said
                        .map(Some)
                        .with_context(|| format!("Not understood: {}", String::from_utf8_lossy(&line)));
                }
                Ok(_) => bail!(GONE),
                Err(error) if matches!(error.kind(), IoErrorKind::WouldBlock | IoErrorKind::TimedOut) => {
                    if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                        return Ok(None);
                    }
                }
                Err(error) if error.kind() == IoErrorKind::Interrupted => {}
                Err(error) => return Err(error).context(GONE),
            }
        }
    }
}

/// What the end of the connection means.
const GONE: &str = "The simulation has ended";
