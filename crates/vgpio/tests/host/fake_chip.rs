//! GPIO chips in this process, in place of the kernel's: what was done to their lines can be looked at, and they can be
//! busy, forbidden, deaf and gone.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};
use rustix::time::{ClockId, clock_gettime};
use vgpio::bridge::host::{ChipInfo, Host, HostEdge, HostError, HostLine, Mode, Problem, Setup};
use virtio_gpio::messages::Level;

/// A host. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub(crate) struct FakeHost(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    chips: BTreeMap<String, Vec<FakeLine>>,
    done: Vec<String>,
}

#[derive(Debug, Default)]
struct FakeLine {
    name: String,
    problem: Option<Problem>,
    deaf: bool,
    /// What somebody outside drives it to.
    outside: bool,
    mode: Option<Mode>,
    edges: VecDeque<HostEdge>,
    wake: Option<Arc<OwnedFd>>,
}

impl FakeHost {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Plugs a chip in.
    pub(crate) fn plug(&self, chip: &str, names: &[&str]) {
        let line = |name: &&str| FakeLine { name: (*name).to_owned(), ..FakeLine::default() };
        self.state().chips.insert(chip.to_owned(), names.iter().map(line).collect());
    }

    /// Pulls it out. Whoever has a line of it finds it gone.
    pub(crate) fn unplug(&self, chip: &str) {
        let lines = self.state().chips.remove(chip).unwrap();
        lines.iter().filter_map(|line| line.wake.as_ref()).for_each(|wake| kick(wake));
    }

    /// Lets requests of a line fail, or succeed again.
    pub(crate) fn refuse(&self, chip: &str, line: u32, problem: Option<Problem>) {
        self.state().line(chip, line).unwrap().problem = problem;
    }

    /// The chip cannot report edges.
    pub(crate) fn make_deaf(&self, chip: &str, line: u32) {
        self.state().line(chip, line).unwrap().deaf = true;
    }

    /// Drives a line from outside.
    pub(crate) fn drive(&self, chip: &str, line: u32, high: bool) {
        self.drive_at(chip, line, high, clock());
    }

    /// The same, as something that the kernel saw at that time.
    pub(crate) fn drive_at(&self, chip: &str, line: u32, high: bool, at: Duration) {
        let mut state = self.state();
        let line = state.line(chip, line).unwrap();
        if std::mem::replace(&mut line.outside, high) != high && line.mode == Some(Mode::Input { edges: true }) {
            line.edges.push_back(HostEdge { at, level: Level::from(high), lost: 0 });
            kick(line.wake.as_ref().unwrap());
        }
    }

    /// What a line is at present; `None` when nobody has it.
    pub(crate) fn mode(&self, chip: &str, line: u32) -> Option<Mode> {
        self.state().line(chip, line).unwrap().mode
    }

    /// What was done to the lines since the last time that was asked.
    pub(crate) fn done(&self) -> Vec<String> {
        std::mem::take(&mut self.state().done)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

/// The clock of the kernel's timestamps.
pub(crate) fn clock() -> Duration {
    Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap()
}

fn kick(fd: &OwnedFd) {
    rustix::io::write(fd, &1u64.to_ne_bytes()).unwrap();
}

impl State {
    fn line(&mut self, chip: &str, line: u32) -> Result<&mut FakeLine, HostError> {
        let lines = self.chips.get_mut(chip).ok_or_else(|| HostError::new(Problem::NoChip))?;
        lines.get_mut(line as usize).ok_or_else(|| HostError::new(Problem::NoLine))
    }
}

impl Host for FakeHost {
    fn chip(&mut self, chip: &str) -> Result<ChipInfo, HostError> {
        let state = self.state();
        let lines = state.chips.get(chip).ok_or_else(|| HostError::new(Problem::NoChip))?;
        Ok(ChipInfo { names: lines.iter().map(|line| line.name.clone()).collect() })
    }

    fn chips(&mut self) -> Vec<String> {
        self.state().chips.keys().cloned().collect()
    }

    fn request(&mut self, chip: &str, line: u32, _: &Setup, mode: Mode) -> Result<Box<dyn HostLine>, HostError> {
        let mut state = self.state();
        let found = state.line(chip, line)?;
        if let Some(problem) = &found.problem {
            return Err(HostError::new(problem.clone()));
        }
        if found.deaf && mode == (Mode::Input { edges: true }) {
            return Err(HostError::new(Problem::NoEdges));
        }
        assert_eq!(found.mode, None, "{chip}:{line} is taken twice");
        let wake = Arc::new(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).unwrap());
        found.mode = Some(mode);
        found.wake = Some(Arc::clone(&wake));
        state.done.push(format!("{chip}:{line} taken as {}", in_words(mode)));
        let held = Held { host: self.clone(), chip: chip.to_owned(), line, wake };
        Ok(Box::new(held))
    }
}

fn in_words(mode: Mode) -> &'static str {
    match mode {
        Mode::AsIs => "it is",
        Mode::Input { edges: true } => "input with edges",
        Mode::Input { edges: false } => "input",
        Mode::Output(Level::Low) => "low",
        Mode::Output(Level::High) => "high",
    }
}

#[derive(Debug)]
struct Held {
    host: FakeHost,
    chip: String,
    line: u32,
    wake: Arc<OwnedFd>,
}

impl HostLine for Held {
    fn reconfigure(&mut self, _: &Setup, mode: Mode) -> Result<(), HostError> {
        let mut state = self.host.state();
        let line = state.line(&self.chip, self.line)?;
        if line.deaf && mode == (Mode::Input { edges: true }) {
            return Err(HostError::new(Problem::NoEdges));
        }
        line.mode = Some(mode);
        state.done.push(format!("{}:{} made {}", self.chip, self.line, in_words(mode)));
        Ok(())
    }

    fn set(&mut self, level: Level) -> Result<(), HostError> {
        let mut state = self.host.state();
        state.line(&self.chip, self.line)?.mode = Some(Mode::Output(level));
        state.done.push(format!("{}:{} set {}", self.chip, self.line, in_words(Mode::Output(level))));
        Ok(())
    }

    fn sense(&mut self) -> Result<Level, HostError> {
        let mut state = self.host.state();
        let line = state.line(&self.chip, self.line)?;
        Ok(match line.mode {
            Some(Mode::Output(level)) => level,
            _ => Level::from(line.outside),
        })
    }

    fn edges(&mut self) -> Result<Vec<HostEdge>, HostError> {
        let mut state = self.host.state();
        let line = state.line(&self.chip, self.line)?;
        // There may be nothing to read.
        let _ = rustix::io::read(&self.wake, &mut [0; 8]);
        Ok(line.edges.drain(..).collect())
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.host.state();
        state.done.push(format!("{}:{} given back", self.chip, self.line));
        // The chip may be gone.
        if let Ok(line) = state.line(&self.chip, self.line) {
            line.mode = None;
        }
    }
}
