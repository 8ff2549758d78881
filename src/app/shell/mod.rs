//! The shell: commands that someone types while the application runs.
//!
//! It has no loop of its own. The main loop calls [`Shell::serve`], which takes what was typed and lets every command
//! take a step; nothing here waits for a key.

mod commands;
mod complete;
mod job;
mod line_editor;
mod terminal;

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::mem::take;
use core::time::Duration;

use heapless::Deque;
use log::{info, warn};
use virtio_gpio::LineId;
use virtio_gpio::clock::Instant;

use super::arguments::LineReference;
use super::in_use::InUse;
use super::selection::{ChipLine, look_up};
use crate::platform::VirtioMmio;
use crate::platform::virtio_console::VirtioConsole;
use commands::{COMMANDS, Command};
use complete::{Completion, Names, complete};
use job::{Goal, Job, Progress};
use line_editor::{CTRL_C, Editor, Typed};
use terminal::{Console, Terminal};

/// Bytes that can be typed ahead of a command that is not over. More are dropped.
const AHEAD: usize = 256;

/// Commands from every terminal that there is.
#[derive(Debug)]
pub(super) struct Shell {
    sessions: Vec<Session>,
    ended: bool,
}

impl Shell {
    /// A shell on the console, and on the first virtio console where there is one. `toggle` changes a level every
    /// `half_period` unless it is told otherwise.
    pub(super) fn new(virtio_console: Option<&VirtioMmio>, half_period: Duration) -> Self {
        let mut sessions = vec![Session::new(Box::new(Console), half_period)];
        if let Some(place) = virtio_console {
            match VirtioConsole::start(place) {
                Ok((terminal, no_interrupt)) => {
                    info!("shell: virtio-mmio {:x} is a second terminal", place.base);
                    if let Some(error) = no_interrupt {
                        warn!("virtio-mmio {:x}: {error}; what is typed there is found late", place.base);
                    }
                    sessions.push(Session::new(Box::new(terminal), half_period));
                }
                Err(error) => warn!("virtio-mmio {:x} cannot be a terminal: {error}", place.base),
            }
        }
        Self { sessions, ended: false }
    }

    /// Takes what was typed, and lets commands take a step each.
    pub(super) fn serve(&mut self, in_use: &mut InUse) {
        for session in &mut self.sessions {
            session.read(in_use);
            self.ended |= session.serve(in_use);
        }
    }

    /// Whether a command asks for the end.
    pub(super) fn wants_end(&self) -> bool {
        self.ended
    }

    /// When a command has something to do.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let at = |session: &Session| match session.progress {
            Progress::Wait(at) if session.terminal.has_room() => at,
            Progress::Wait(_) | Progress::Again | Progress::Done => None,
        };
        self.sessions.iter().filter_map(at).min()
    }

    /// Whether there is nothing to do.
    pub(super) fn is_idle(&self) -> bool {
        self.sessions.iter().all(Session::is_idle)
    }

    /// Takes the prompts away. Nothing is read any more.
    pub(super) fn close(&mut self) {
        for session in &mut self.sessions {
            session.terminal.show_row("");
            session.terminal.flush();
        }
    }
}

/// A terminal and what goes on there.
#[derive(Debug)]
struct Session {
    terminal: Box<dyn Terminal>,
    editor: Editor,
    ahead: Deque<u8, AHEAD>,
    job: Option<Job>,
    progress: Progress,
    half_period: Duration,
    /// Whether a key had no effect, and the bell has not rung yet.
    refused: bool,
}

impl Session {
    fn new(terminal: Box<dyn Terminal>, half_period: Duration) -> Self {
        let (editor, ahead) = (Editor::new(), Deque::new());
        Self { terminal, editor, ahead, job: None, progress: Progress::Done, half_period, refused: false }
    }

    fn is_idle(&self) -> bool {
        let waits = match &self.job {
            // Its interrupt says when there is.
            _ if !self.terminal.has_room() => true,
            None => self.ahead.is_empty(),
            Some(job) => self.progress != Progress::Again && !job.has_outcome(),
        };
        waits && !self.terminal.has_input()
    }

    /// Takes what was typed.
    fn read(&mut self, in_use: &mut InUse) {
        // The bound is for one who types faster than this is read.
        for _ in 0..AHEAD {
            let Some(byte) = self.terminal.read() else { return };
            if byte == CTRL_C
                && let Some(job) = self.job.take()
            {
                job.cancel(in_use);
                self.ahead.clear();
                self.terminal.print(format_args!("^C"));
            } else {
                let _dropped_if_full = self.ahead.push_back(byte);
            }
        }
    }

    /// Goes on with the command under way, or reads the next one. Returns whether the application is to end.
    fn serve(&mut self, in_use: &mut InUse) -> bool {
        if !self.terminal.has_room() {
            return false;
        }
        let mut end = false;
        while self.job.is_none()
            && !end
            && let Some(byte) = self.ahead.pop_front()
        {
            end = self.accept(byte, in_use);
        }
        // Once for all that was typed at once: the terminal's room is for answers.
        if take(&mut self.refused) {
            self.terminal.ring_bell();
        }
        if let Some(job) = &mut self.job {
            self.progress = job.advance(in_use, &mut |line| self.terminal.print(line));
            if self.progress == Progress::Done {
                self.job = None;
            }
        }
        if self.job.is_none() && !end {
            self.terminal.show_row(&self.editor.row());
        }
        end
    }

    fn accept(&mut self, byte: u8, in_use: &InUse) -> bool {
        match self.editor.accept(byte) {
            Typed::Edited => (),
            Typed::Refused => self.refused = true,
            Typed::Interrupt => self.terminal.enter_row(),
            Typed::Tab => self.complete(in_use),
            Typed::Enter => {
                self.terminal.show_row(&self.editor.row());
                self.terminal.enter_row();
                let line = self.editor.take();
                return self.start(&line, in_use);
            }
        }
        false
    }

    fn complete(&mut self, in_use: &InUse) {
        match complete(self.editor.text(), in_use) {
            Completion::None => self.refused = true,
            Completion::Insert(rest) => {
                self.refused |= self.editor.insert(&rest) == Typed::Refused;
            }
            Completion::List(words, more) => {
                let rest = if more > 0 { format!(" ... ({more} more)") } else { String::new() };
                self.terminal.print(format_args!("{}{rest}", words.join(" ")));
            }
        }
    }

    /// Starts a command; returns whether the application is to end.
    fn start(&mut self, line: &str, in_use: &InUse) -> bool {
        let command = match Command::parse(line) {
            Ok(None) => return false,
            Ok(Some(command)) => command,
            Err(message) => return self.fail(&message),
        };
        let half_period = self.half_period;
        match command {
            Command::Exit => return true,
            Command::Help(Some(description)) => self.terminal.print(format_args!("{description}")),
            Command::Help(None) => {
                for description in COMMANDS {
                    self.terminal.print(format_args!("{description}"));
                }
            }
            Command::Statistics => self.statistics(in_use),
            Command::Lines => self.begin(Job::List(ChipLine { chip: 0, line: LineId(0) })),
            Command::Reset(None) => self.begin(Job::Reset { chip: 0, all: true, begun: false }),
            Command::Reset(Some(chip)) if chip < in_use.chips.len() => {
                self.begin(Job::Reset { chip, all: false, begun: false });
            }
            Command::Reset(Some(chip)) => {
                let last = in_use.chips.len().saturating_sub(1);
                return self.fail(&format!("unknown device \"gpio{chip}\": expected gpio0 to gpio{last}"));
            }
            Command::Get(line) => return self.begin_with(&line, Goal::AskLevel, in_use),
            Command::Set(line, level) => return self.begin_with(&line, Goal::Set(level), in_use),
            Command::Direction(line, None) => return self.begin_with(&line, Goal::AskDirection, in_use),
            Command::Direction(line, Some(direction)) => {
                return self.begin_with(&line, Goal::Direction(direction), in_use);
            }
            Command::Watch(line, kind) => return self.begin_with(&line, Goal::Watch(kind), in_use),
            Command::Toggle(line, left, period) => {
                let pause = period.and_then(|period| period.checked_div(2)).unwrap_or(half_period);
                return self.begin_with(&line, Goal::Toggle { left, pause, next: None }, in_use);
            }
        }
        false
    }

    fn begin(&mut self, job: Job) {
        self.job = Some(job);
        self.progress = Progress::Again;
    }

    fn begin_with(&mut self, line: &LineReference, goal: Goal, in_use: &InUse) -> bool {
        match look_up(line, in_use.chips) {
            Ok(line) => self.begin(Job::line(line, goal)),
            Err(message) => return self.fail(&message),
        }
        false
    }

    fn fail(&mut self, message: &str) -> bool {
        self.terminal.print(format_args!("error: {message}"));
        false
    }

    fn statistics(&mut self, in_use: &InUse) {
        for (number, chip) in in_use.chips.iter().enumerate() {
            let (counts, resources) = (chip.statistics(), chip.resources());
            self.terminal.print(format_args!(
                "gpio{number} requests={} notifications={} interrupts={} edges={} dropped={} timeouts={} odd={} \
                 resets={} free={}/{}",
                counts.messages,
                counts.notifications,
                counts.interrupts,
                counts.events,
                counts.dropped_events,
                counts.timeouts,
                counts.oddities,
                counts.resets,
                resources.free,
                resources.descriptors,
            ));
        }
        let tally = &in_use.tally;
        self.terminal.print(format_args!("all blinks={} edges={} errors={}", tally.blinks, tally.edges, tally.errors));
    }
}

impl Names for InUse {
    fn chips(&self) -> usize {
        self.chips.len()
    }

    fn visit(&self, found: &mut dyn FnMut(usize, &[u8])) {
        for (number, chip) in self.chips.iter().enumerate() {
            chip.names().flatten().for_each(|name| found(number, name.as_bytes()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::selection::Selection;
    use alloc::rc::Rc;
    use core::cell::{Cell, RefCell};
    use core::fmt;

    /// A terminal whose keys and room a test decides.
    #[derive(Debug, Clone, Default)]
    struct Paper {
        keys: Rc<RefCell<Vec<u8>>>,
        full: Rc<Cell<bool>>,
        lines: Rc<Cell<usize>>,
        bells: Rc<Cell<usize>>,
        flushes: Rc<Cell<usize>>,
    }

    fn count(counter: &Cell<usize>) {
        counter.set(counter.get().checked_add(1).unwrap());
    }

    impl Paper {
        fn type_in(&self, keys: &str) {
            self.keys.borrow_mut().extend(keys.bytes());
        }
    }

    impl Terminal for Paper {
        fn read(&mut self) -> Option<u8> {
            let mut keys = self.keys.borrow_mut();
            (!keys.is_empty()).then(|| keys.remove(0))
        }

        fn has_input(&self) -> bool {
            !self.keys.borrow().is_empty()
        }

        fn show_row(&mut self, _: &str) {}

        fn enter_row(&mut self) {}

        fn print(&mut self, _: fmt::Arguments<'_>) {
            count(&self.lines);
        }

        fn ring_bell(&mut self) {
            count(&self.bells);
        }

        fn has_room(&self) -> bool {
            !self.full.get()
        }

        fn flush(&mut self) {
            count(&self.flushes);
        }
    }

    #[test]
    fn a_terminal_without_room_is_waited_for_and_loses_no_command() {
        let paper = Paper::default();
        let mut shell = Shell { sessions: vec![Session::new(Box::new(paper.clone()), Duration::ZERO)], ended: false };
        let mut in_use = InUse::new(&[], &Selection::default());
        paper.full.set(true);
        paper.type_in("help\r");
        assert!(!shell.is_idle());
        shell.serve(&mut in_use);
        assert!(shell.is_idle());
        shell.serve(&mut in_use);
        assert_eq!(paper.lines.get(), 0);
        paper.full.set(false);
        assert!(!shell.is_idle());
        shell.serve(&mut in_use);
        assert_eq!(paper.lines.get(), COMMANDS.len());
        assert!(shell.is_idle());
        assert_eq!(paper.flushes.get(), 0);
        shell.close();
        assert_eq!(paper.flushes.get(), 1, "the end waits for the last lines");
    }

    #[test]
    fn the_bell_rings_once_for_all_that_is_read_at_once() {
        let paper = Paper::default();
        let mut session = Session::new(Box::new(paper.clone()), Duration::ZERO);
        let mut in_use = InUse::new(&[], &Selection::default());
        for times in 1..4 {
            // Nothing to be taken away.
            paper.type_in("\x7f\x7f\x7f");
            session.read(&mut in_use);
            session.serve(&mut in_use);
            assert_eq!(paper.bells.get(), times);
        }
    }
}
