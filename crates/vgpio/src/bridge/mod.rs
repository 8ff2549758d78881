//! Real lines: some lines of a device are not simulated but are lines of the host's own GPIO chips.
//!
//! What the guest wants of such a line is done to the host's line before the device takes note of it, and what the host
//! refuses is an error in the answer to the guest. The levels of inputs come back as edges, with the kernel's timestamps,
//! over one descriptor for all lines: the server's thread waits for it beside everything else.
//!
//! A line is taken from the host when the guest begins to use it, and given back, in its safe state, when the guest leaves
//! it, is reset, paused or gone. Only lines that were named can be reached.

pub mod host;
pub mod kernel;
mod line;
mod poller;
pub mod spec;

use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use gpio_model::hardware::{Hardware, Unavailable, Usage};
use virtio_gpio::messages::{Direction, Level, LineId};

use self::host::{Host, HostError, Problem, Setup};
use self::line::Line;
use self::poller::Poller;

/// How often a line that was lost is asked for again.
const RETRY: Duration = Duration::from_secs(1);

/// A line of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// Its chip, as somebody named it.
    pub chip: String,
    /// Its number there.
    pub line: u32,
    /// How it is set up.
    pub setup: Setup,
}

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.chip, self.line)
    }
}

/// What became of a line without the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct News {
    pub(crate) line: LineId,
    /// When, by the clock `CLOCK_MONOTONIC`; `None` for now.
    pub(crate) at: Option<Duration>,
    /// The level that the outside drives; `None` when nobody knows.
    pub(crate) level: Option<Level>,
}

/// The real lines of one device.
#[derive(Debug)]
pub struct Bridge {
    host: Box<dyn Host>,
    lines: BTreeMap<LineId, Line>,
    poller: Poller,
    /// No guest is there, or it is paused.
    suspended: bool,
    news: Vec<News>,
    /// When the lines that were lost are asked for again.
    retry: Option<Instant>,
}

impl Bridge {
    /// A bridge to lines of that host. The lines that are held without a guest, too, are taken.
    ///
    /// # Errors
    ///
    /// When one of those cannot be had; the message says what to do.
    pub fn new(
        host: impl Host + 'static,
        lines: impl IntoIterator<Item = (LineId, Binding)>,
        names: &[String],
    ) -> anyhow::Result<Self> {
        let name = |id: LineId| names.get(usize::from(id.0)).filter(|name| !name.is_empty()).cloned();
        let mut bridge = Self {
            host: Box::new(host),
            lines: lines.into_iter().map(|(id, binding)| (id, Line::new(name(id), id, binding))).collect(),
            poller: Poller::new()?,
            suspended: true,
            news: Vec::new(),
            retry: None,
        };
        for id in bridge.ids() {
            if let Err(error) = bridge.settle(id) {
                let line = bridge.lines.get(&id).map(Line::label).unwrap_or_default();
                anyhow::bail!("{line}: {error}");
            }
        }
        Ok(bridge)
    }

    /// What is behind a line; `None` for a simulated one.
    pub fn binding(&self, line: LineId) -> Option<&Binding> {
        self.lines.get(&line).map(|line| &line.binding)
    }

    /// Becomes readable when there are edges.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.poller.as_fd()
    }

    /// After how long [`Bridge::attend`] has something to do, whatever the descriptor says.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        if !self.news.is_empty() {
            return Some(Duration::ZERO);
        }
        self.retry.map(|retry| retry.saturating_duration_since(Instant::now()))
    }

    /// Gives everything that happened on the host, in the order of the kernel's timestamps, and asks again for lines that
    /// were lost.
    pub(crate) fn attend(&mut self) -> Vec<News> {
        let mut news = std::mem::take(&mut self.news);
        for id in self.poller.ready() {
            let Some(line) = self.lines.get_mut(&id) else { continue };
            match line.edges() {
                Ok(edges) => {
                    news.extend(edges.into_iter().map(|(at, level)| News {
                        line: id,
                        at: Some(at),
                        level: Some(level),
                    }));
                }
                Err(error) => {
                    line.lose(&error);
                    news.push(News { line: id, at: None, level: line.hand() });
                }
            }
        }
        // What has no time happened now.
        news.sort_by_key(|news| news.at.unwrap_or(Duration::MAX));
        if self.retry.is_some_and(|retry| retry <= Instant::now()) {
            self.recover(&mut news);
        }
        self.plan_retry();
        news
    }

    fn recover(&mut self, news: &mut Vec<News>) {
        self.retry = None;
        let lost: Vec<_> = self.lost().collect();
        for id in lost {
            if let Ok(level) = self.settle(id) {
                news.push(News { line: id, at: None, level });
            }
        }
    }

    fn lost(&self) -> impl Iterator<Item = LineId> {
        self.lines.iter().filter(|(_, line)| line.is_lost(self.suspended)).map(|(id, _)| *id)
    }

    fn plan_retry(&mut self) {
        let any = self.lost().next().is_some();
        self.retry = self.retry.or_else(|| Instant::now().checked_add(RETRY)).filter(|_| any);
    }

    /// Lets the outside drive a line, or let go of it, if that is allowed. Gives what the outside drives then.
    pub(crate) fn set_hand(&mut self, id: LineId, level: Option<Level>) -> Result<Option<Level>, HostError> {
        let Some(line) = self.lines.get_mut(&id) else { return Ok(level) };
        if !line.binding.setup.control {
            return Err(HostError::new(Problem::NoControl));
        }
        let before = line.replace_hand(level);
        self.settle(id).inspect_err(|_| {
            if let Some(line) = self.lines.get_mut(&id) {
                line.replace_hand(before);
            }
        })
    }

    /// The guest is gone or paused: its lines are given back. What it used them for is remembered until [`Bridge::begin`].
    /// Returns the lines, or nothing if that is so already.
    pub(crate) fn suspend(&mut self) -> Vec<(LineId, Option<Level>)> {
        if std::mem::replace(&mut self.suspended, true) {
            return Vec::new();
        }
        self.settle_all()
    }

    /// The guest goes on. Returns the lines, and what it used them for.
    pub(crate) fn resume(&mut self) -> Vec<(LineId, Option<Level>, Usage)> {
        if !std::mem::replace(&mut self.suspended, false) {
            return Vec::new();
        }
        let settled = self.settle_all();
        let usage = |id| self.lines.get(&id).map_or(Usage::NONE, Line::usage);
        settled.into_iter().map(|(id, drive)| (id, drive, usage(id))).collect()
    }

    /// Another guest begins.
    pub(crate) fn begin(&mut self) {
        for line in self.lines.values_mut() {
            line.forget();
        }
        self.suspended = false;
        self.settle_all();
    }

    fn ids(&self) -> Vec<LineId> {
        self.lines.keys().copied().collect()
    }

    fn settle_all(&mut self) -> Vec<(LineId, Option<Level>)> {
        let settled = self.ids().into_iter().map(|id| (id, self.settle(id).unwrap_or(None))).collect();
        self.plan_retry();
        settled
    }

    /// Makes the host's line what it has to be. Gives what the outside drives then.
    fn settle(&mut self, id: LineId) -> Result<Option<Level>, HostError> {
        let Some(line) = self.lines.get_mut(&id) else { return Ok(None) };
        let settled = line.settle(&mut *self.host, self.suspended, |fd| self.poller.add(id, fd));
        self.plan_retry();
        settled
    }
}

impl Hardware for Bridge {
    fn apply(&mut self, id: LineId, usage: Usage, drive: Option<Level>) -> Result<Option<Level>, Unavailable> {
        let Some(line) = self.lines.get_mut(&id) else { return Ok(drive) };
        if usage.direction == Direction::Output && line.binding.setup.input_only {
            return Err(line.refuse(&HostError::new(Problem::InputOnly)));
        }
        let before = line.replace_usage(usage);
        self.settle(id).or_else(|error| {
            let Some(line) = self.lines.get_mut(&id) else { return Ok(drive) };
            if usage == Usage::NONE {
                return Ok(line.hand());
            }
            line.restore(before);
            self.plan_retry();
            Err(Unavailable { error: error.errno() })
        })
    }

    fn claim(&mut self, id: LineId) -> Result<(), Unavailable> {
        let Some(line) = self.lines.get_mut(&id) else { return Ok(()) };
        let before = line.claim();
        self.settle(id).map(|_| ()).map_err(|error| {
            if let Some(line) = self.lines.get_mut(&id) {
                line.restore(before);
            }
            Unavailable { error: error.errno() }
        })
    }

    fn sense(&mut self, id: LineId) -> Result<Option<Level>, Unavailable> {
        if self.lines.get(&id).is_some_and(|line| line.is_lost(self.suspended)) {
            self.settle(id).map_err(|error| Unavailable { error: error.errno() })?;
        }
        let Some(line) = self.lines.get_mut(&id) else { return Ok(None) };
        match line.sense() {
            Ok(Some(sensed)) => {
                if sensed.is_news {
                    self.news.push(News { line: id, at: None, level: Some(sensed.level) });
                }
                Ok(Some(sensed.level))
            }
            Ok(None) => Ok(None),
            Err(error) => {
                let unavailable = line.refuse(&error);
                if line.is_lost(self.suspended) {
                    self.news.push(News { line: id, at: None, level: line.hand() });
                }
                self.plan_retry();
                Err(unavailable)
            }
        }
    }
}

impl Drop for Bridge {
    /// Nobody is left to hold a line, but its safe state stays where the chip keeps it.
    fn drop(&mut self) {
        self.suspended = true;
        for line in self.lines.values_mut() {
            line.replace_hand(None);
        }
        self.settle_all();
    }
}
