//! One real line: what it has to be, and what it is.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use gpio_model::hardware::{Unavailable, Usage};
use virtio_gpio::messages::{Direction, InterruptType, Level, LineId};

use super::Binding;
use super::host::{Host, HostEdge, HostError, HostLine, Mode, Problem, Safe};

/// A line.
#[derive(Debug)]
pub(super) struct Line {
    label: String,
    pub(super) binding: Binding,
    wish: Wish,
    /// What the outside drives, which counts while the guest does not.
    hand: Option<Level>,
    held: Option<Held>,
    /// Its chip cannot report edges.
    deaf: bool,
    /// What was last complained about.
    problem: Option<Problem>,
    /// Edges that the burst of the moment has cost.
    lost: u64,
}

/// What the guest wants of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish {
    usage: Usage,
    /// For itself, it does not say yet what for.
    claimed: bool,
}

impl Wish {
    const NONE: Self = Self { usage: Usage::NONE, claimed: false };
}

/// A line that was taken from the host.
#[derive(Debug)]
struct Held {
    line: Box<dyn HostLine>,
    mode: Mode,
    input: Input,
}

/// What is known of an input's level.
#[derive(Debug, Clone, Copy)]
struct Input {
    level: Level,
    /// The level was looked at, and no edge has come since then.
    is_new: bool,
}

/// A level that was looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sensed {
    pub(super) level: Level,
    /// It is another one than was known, and no edge tells of it.
    pub(super) is_news: bool,
}

impl Line {
    pub(super) fn new(name: Option<String>, id: LineId, binding: Binding) -> Self {
        let label = format!("{} ({binding})", name.unwrap_or_else(|| format!("line {id}")));
        Self { label, binding, wish: Wish::NONE, hand: None, held: None, deaf: false, problem: None, lost: 0 }
    }

    /// What it is called in messages.
    pub(super) fn label(&self) -> String {
        self.label.clone()
    }

    pub(super) fn usage(&self) -> Usage {
        self.wish.usage
    }

    pub(super) fn hand(&self) -> Option<Level> {
        self.hand
    }

    pub(super) fn replace_hand(&mut self, level: Option<Level>) -> Option<Level> {
        std::mem::replace(&mut self.hand, level)
    }

    pub(super) fn replace_usage(&mut self, usage: Usage) -> Wish {
        let claimed = self.wish.claimed && usage != Usage::NONE;
        std::mem::replace(&mut self.wish, Wish { usage, claimed })
    }

    pub(super) fn claim(&mut self) -> Wish {
        let before = self.wish;
        self.wish.claimed = true;
        before
    }

    pub(super) fn restore(&mut self, wish: Wish) {
        self.wish = wish;
    }

    /// The guest has never been there.
    pub(super) fn forget(&mut self) {
        self.wish = Wish::NONE;
    }

    /// What the host's line has to be; `None` when nobody needs it.
    fn wanted(&self, suspended: bool) -> Option<Mode> {
        let Wish { usage, claimed } = if suspended { Wish::NONE } else { self.wish };
        match (usage.direction, self.hand) {
            (Direction::Output, _) => Some(Mode::Output(usage.latch.unwrap_or(Level::Low))),
            (_, Some(level)) => Some(Mode::Output(level)),
            (Direction::Input, None) => Some(Mode::Input { edges: true }),
            (Direction::None, None) if usage.interrupt != InterruptType::None => Some(Mode::Input { edges: true }),
            (Direction::None, None) => claimed.then_some(Mode::AsIs),
        }
    }

    /// What it is while nobody needs it.
    fn safe(&self) -> Mode {
        match self.binding.setup.safe {
            Safe::Input => Mode::Input { edges: false },
            Safe::Output(level) => Mode::Output(level),
            Safe::Keep => Mode::AsIs,
        }
    }

    /// Whether it has to be ours, and is not.
    pub(super) fn is_lost(&self, suspended: bool) -> bool {
        self.held.is_none() && (self.binding.setup.hold || self.wanted(suspended).is_some())
    }

    /// Makes the host's line what it has to be. Gives what the outside drives then.
    pub(super) fn settle(
        &mut self,
        host: &mut dyn Host,
        suspended: bool,
        watch: impl Fn(BorrowedFd<'_>) -> io::Result<()>,
    ) -> Result<Option<Level>, HostError> {
        let settled = match self.wanted(suspended) {
            None => self.leave(host, &watch),
            Some(mode) => self.become_mode(mode, host, &watch),
        };
        match settled {
            Ok(()) => {
                if self.problem.take().is_some() {
                    log::warn!("{}: it works again", self.label);
                }
                Ok(self.outside())
            }
            Err(error) => {
                self.complain(&error);
                Err(error)
            }
        }
    }

    /// What the outside drives: a hand, or whoever drives an input.
    fn outside(&self) -> Option<Level> {
        let input = self.held.as_ref().filter(|held| matches!(held.mode, Mode::Input { .. }) && self.is_listening());
        self.hand.or_else(|| input.map(|held| held.input.level))
    }

    /// Whether the guest wants to know the level; a line that is held without it says nothing.
    fn is_listening(&self) -> bool {
        self.wish.usage.direction == Direction::Input || self.wish.usage.interrupt != InterruptType::None
    }

    fn become_mode(
        &mut self,
        mode: Mode,
        host: &mut dyn Host,
        watch: &impl Fn(BorrowedFd<'_>) -> io::Result<()>,
    ) -> Result<(), HostError> {
        let mode = match mode {
            Mode::Input { edges: true } if self.deaf && self.wish.usage.interrupt == InterruptType::None => {
                Mode::Input { edges: false }
            }
            mode => mode,
        };
        if self.held.as_ref().is_some_and(|held| held.mode == mode || mode == Mode::AsIs) {
            return Ok(());
        }
        match self.try_mode(mode, host, watch) {
            Err(error) if error.problem == Problem::NoEdges && self.wish.usage.interrupt == InterruptType::None => {
                log::info!("{}: {error}", self.label);
                self.deaf = true;
                self.try_mode(Mode::Input { edges: false }, host, watch)
            }
            done => done,
        }
    }

    fn try_mode(
        &mut self,
        mode: Mode,
        host: &mut dyn Host,
        watch: &impl Fn(BorrowedFd<'_>) -> io::Result<()>,
    ) -> Result<(), HostError> {
        let Binding { chip, line: number, setup } = &self.binding;
        if self.held.is_none() {
            let line = host.request(chip, *number, setup, mode)?;
            watch(line.as_fd()).map_err(|error| HostError::new(Problem::Other(error.to_string())))?;
            let input = Input { level: Level::Low, is_new: true };
            self.held = Some(Held { line, mode, input });
        } else if let Some(held) = &mut self.held {
            let changed = match (held.mode, mode) {
                (Mode::Output(_), Mode::Output(level)) => held.line.set(level),
                _ => held.line.reconfigure(setup, mode),
            };
            self.done(changed)?;
        }
        let Some(held) = &mut self.held else { return Ok(()) };
        held.mode = mode;
        if let Mode::Input { .. } = mode {
            // Edges from the last time that it was an input say nothing any more.
            let sensed = held.line.edges().and_then(|_| held.line.sense());
            let level = self.done(sensed)?;
            if let Some(held) = &mut self.held {
                held.input = Input { level, is_new: true };
            }
        }
        Ok(())
    }

    /// Nobody needs the line: it goes to its safe state, and back to the host.
    fn leave(
        &mut self,
        host: &mut dyn Host,
        watch: &impl Fn(BorrowedFd<'_>) -> io::Result<()>,
    ) -> Result<(), HostError> {
        let (hold, safe) = (self.binding.setup.hold, self.safe());
        if self.held.is_none() && !hold {
            return Ok(());
        }
        let is_safe = self.held.as_ref().is_some_and(|held| match (held.mode, safe) {
            (_, Mode::AsIs) => true,
            // That it reports edges matters no more when it is given back.
            (Mode::Input { .. }, Mode::Input { .. }) if !hold => true,
            (mode, safe) => mode == safe,
        });
        let done = if is_safe { Ok(()) } else { self.try_mode(safe, host, watch) };
        if !hold {
            self.held = None;
        }
        done
    }

    /// Looks at the level; `None` when nobody has taken the line.
    pub(super) fn sense(&mut self) -> Result<Option<Sensed>, HostError> {
        let Some(held) = &mut self.held else { return Ok(None) };
        let sensed = held.line.sense();
        let level = self.done(sensed)?;
        let Some(held) = &mut self.held else { return Ok(None) };
        let is_news = held.mode == Mode::Input { edges: false } && held.input.level != level;
        if is_news {
            held.input.level = level;
        }
        Ok(Some(Sensed { level, is_news }))
    }

    /// The edges that have happened: when, and to what level.
    pub(super) fn edges(&mut self) -> Result<Vec<(Duration, Level)>, HostError> {
        let Some(held) = &mut self.held else { return Ok(Vec::new()) };
        let edges = held.line.edges()?;
        if held.mode != (Mode::Input { edges: true }) {
            return Ok(Vec::new());
        }
        let changes = held.input.follow(&edges);
        self.count_lost(&edges);
        Ok(changes)
    }

    /// Tells of lost edges, once for a burst: while it lasts, each look finds that there are more.
    fn count_lost(&mut self, edges: &[HostEdge]) {
        let lost: u64 = edges.iter().map(|edge| u64::from(edge.lost)).sum();
        if lost > 0 {
            self.lost = self.lost.saturating_add(lost);
        } else if self.lost > 0 {
            log::warn!("{}: {} edges are lost: they came faster than they could be read", self.label, self.lost);
            self.lost = 0;
        }
    }

    /// The host took the line away.
    pub(super) fn lose(&mut self, error: &HostError) {
        self.held = None;
        self.complain(error);
    }

    /// What the guest is told of an error.
    pub(super) fn refuse(&mut self, error: &HostError) -> Unavailable {
        self.complain(error);
        Unavailable { error: error.errno() }
    }

    /// A line of a chip that is gone is nobody's.
    fn done<T>(&mut self, result: Result<T, HostError>) -> Result<T, HostError> {
        if result.as_ref().is_err_and(|error| error.problem == Problem::NoChip) {
            self.held = None;
        }
        result
    }

    /// Once for each problem: a guest may try again and again.
    fn complain(&mut self, error: &HostError) {
        if self.problem.as_ref() != Some(&error.problem) {
            log::warn!("{}: {error}", self.label);
            self.problem = Some(error.problem.clone());
        }
    }
}

impl Input {
    /// What the level did. Each edge of the kernel is one change, but the level that it comes with was looked at a little
    /// later: of a pulse that was over by then, both edges come with the level after it. So the level changes with each edge,
    /// and at last it is what the last edge came with. Behind a gap the first edge tells what the level is.
    fn follow(&mut self, edges: &[HostEdge]) -> Vec<(Duration, Level)> {
        let mut changes = Vec::new();
        for edge in edges {
            // The level was looked at after this one.
            if std::mem::replace(&mut self.is_new, false) && edge.level == self.level {
                continue;
            }
            if edge.lost > 0 && edge.level == self.level {
                self.level = self.level.toggled();
                changes.push((edge.at, self.level));
            }
            self.level = self.level.toggled();
            changes.push((edge.at, self.level));
        }
        if let Some(last) = edges.last().filter(|last| last.level != self.level) {
            self.level = last.level;
            changes.push((last.at, self.level));
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOW: Level = Level::Low;
    const HIGH: Level = Level::High;

    /// What an input that was low makes of edges that come with those levels.
    fn followed(is_new: bool, levels: &[Level]) -> Vec<Level> {
        let edges: Vec<_> =
            levels.iter().map(|level| HostEdge { at: Duration::ZERO, level: *level, lost: 0 }).collect();
        followed_edges(is_new, &edges)
    }

    fn followed_edges(is_new: bool, edges: &[HostEdge]) -> Vec<Level> {
        let mut input = Input { level: LOW, is_new };
        let changes = input.follow(edges).into_iter().map(|(_, level)| level).collect();
        if let Some(last) = edges.last() {
            assert_eq!(input.level, last.level, "{edges:?}");
        }
        changes
    }

    #[test]
    fn edges_of_slow_changes_are_what_they_say() {
        assert_eq!(followed(false, &[HIGH, LOW, HIGH]), [HIGH, LOW, HIGH]);
        assert_eq!(followed(true, &[HIGH, LOW]), [HIGH, LOW]);
    }

    #[test]
    fn pulse_that_was_over_when_it_was_looked_at_is_two_edges() {
        assert_eq!(followed(false, &[LOW, LOW]), [HIGH, LOW]);
        assert_eq!(followed(false, &[LOW]), [HIGH, LOW], "one of its interrupts was lost");
        assert_eq!(followed(false, &[HIGH, HIGH]), [HIGH, LOW, HIGH]);
    }

    #[test]
    fn edges_behind_lost_ones_are_what_they_say() {
        for (lost, first, changes) in
            [(1, LOW, &[HIGH, LOW, HIGH, LOW][..]), (2, HIGH, &[HIGH, LOW, HIGH]), (0, HIGH, &[HIGH, LOW, HIGH])]
        {
            let levels = [first, first.toggled(), first];
            let mut edges = levels.map(|level| HostEdge { at: Duration::ZERO, level, lost: 0 });
            edges[0].lost = lost;
            assert_eq!(followed_edges(false, &edges), changes, "{lost} lost");
        }
    }

    #[test]
    fn edge_that_the_first_look_has_seen_does_not_count_again() {
        assert_eq!(followed(true, &[LOW]), []);
        assert_eq!(followed(true, &[LOW, HIGH]), [HIGH]);
    }
}
