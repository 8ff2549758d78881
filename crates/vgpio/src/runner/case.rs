//! One case: its steps, one after the other.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use gpio_model::observe::Activity;

use super::action;
use super::expect::{self, Expectation, Outcome, change_in};
use super::matrix::Case;
use super::stage::{Interruption, Stage, command, seed_of_step};
use super::story::{Story, Violation};
use crate::duration::shown;
use crate::record::log::{Event, Occurrence};
use crate::scenario::layout::Layout;
use crate::scenario::step::Step;
use crate::scenario::value::Time;

use crate::wave::{Wave, text};

/// Between two looks at whether the guest has ended, or somebody wants to stop.
const TICK: Duration = Duration::from_millis(20);
/// Console lines in a report.
const CONSOLE_LINES: usize = 20;

/// How a case went.
#[derive(Debug)]
pub struct Report {
    /// Its name.
    pub name: String,
    /// The scenario's file.
    pub path: PathBuf,
    /// The seed that it ran with.
    pub seed: u64,
    /// How long it took.
    pub took: Duration,
    /// The verdict.
    pub verdict: Verdict,
    /// QEMU's command line.
    pub qemu: String,
    /// Everything on the guest's console.
    pub console: Vec<String>,
    /// What QEMU itself had to say.
    pub messages: Vec<String>,
}

/// The verdict on a case.
#[derive(Debug)]
pub enum Verdict {
    /// Every step went as expected.
    Passed,
    /// A step did not.
    Failed(Box<Failure>),
    /// It could not be run.
    Broken(String),
    /// It needs what its guest lacks.
    Skipped(String),
    /// Somebody stopped it.
    Interrupted,
}

/// A step that did not go as expected.
#[derive(Debug, Clone)]
pub struct Failure {
    /// What failed: `step 3 of 7, expect-edges`.
    pub what: String,
    /// Where it stands in the file: bytes; `None` for what the whole scenario expects.
    pub span: Option<Range<usize>>,
    /// What was expected.
    pub expected: String,
    /// What was seen.
    pub seen: String,
    /// When the step began, and when it failed, by the world's clock.
    pub when: Range<Duration>,
    /// The last console lines.
    pub console: Vec<String>,
    /// The waveform of that time.
    pub waveform: String,
}

/// Why a case ends before its last step.
enum Stop {
    Failed(Box<Failure>),
    Broken(anyhow::Error),
    Interrupted,
}

impl From<anyhow::Error> for Stop {
    fn from(error: anyhow::Error) -> Self {
        Self::Broken(error)
    }
}

/// Runs a case.
pub fn run(case: &Case, interruption: &Interruption, keep: Option<&Path>) -> Report {
    let begin = Instant::now();
    let mut report = Report {
        name: case.name(),
        path: case.file.path.clone(),
        seed: case.seed,
        took: Duration::ZERO,
        verdict: Verdict::Interrupted,
        qemu: command_line(case).unwrap_or_default(),
        console: Vec::new(),
        messages: Vec::new(),
    };
    if let Some(need) = &case.lacking {
        report.verdict = Verdict::Skipped(format!("needs {need}"));
        return report;
    }
    report.verdict = match try_run(case, interruption, begin, keep, &mut report) {
        Ok(()) => Verdict::Passed,
        Err(Stop::Failed(failure)) => Verdict::Failed(failure),
        Err(Stop::Broken(error)) => Verdict::Broken(format!("{error:#}")),
        Err(Stop::Interrupted) => Verdict::Interrupted,
    };
    report.took = begin.elapsed();
    report
}

/// QEMU's command line as one types it, with sockets in the present folder.
///
/// # Errors
///
/// When there is none.
pub fn command_line(case: &Case) -> anyhow::Result<String> {
    Ok(command(case, Path::new(""))?.shown())
}

fn try_run(
    case: &Case,
    interruption: &Interruption,
    begin: Instant,
    keep: Option<&Path>,
    report: &mut Report,
) -> Result<(), Stop> {
    if interruption.signal().is_some() {
        return Err(Stop::Interrupted);
    }
    let layout = Layout::new(case.scenario()).map_err(anyhow::Error::from)?;
    let stage = Stage::start(case, &layout)?;
    let deadline = begin.checked_add(case.scenario().timeout.0).context("A time-out that no clock can show")?;
    let story = Story::new(stage.log.clone());
    let mut play = Play { case, layout, stage, interruption, deadline, story, step: (String::new(), None) };
    let played = play.all();
    // Whether it ended by itself; when nobody can tell, it did not.
    let ended = play.stage.guest.try_status().ok().flatten();
    play.stage.guest.end();
    report.console = play.stage.guest.output().lines();
    let Stage { guest, devices, waveform, messages, folder, .. } = play.stage;
    drop(guest);
    devices.stop();
    let messages = std::fs::read_to_string(messages).unwrap_or_default();
    // It says so whenever we end it.
    let own = messages.lines().filter(|line| !line.contains(": terminating on signal "));
    report.messages = own.map(str::to_owned).collect();
    let played = played.map_err(|stop| match stop {
        // Nothing of the guest was ever seen.
        Stop::Failed(_)
            if report.console.is_empty()
                && !report.messages.is_empty()
                && ended.is_some_and(|status| !status.success()) =>
        {
            Stop::Broken(anyhow::Error::msg(format!("QEMU ended by itself: {}", report.messages.join("; "))))
        }
        Stop::Failed(mut failure) => {
            failure.waveform = draw(&waveform, &failure.when).unwrap_or_else(|error| format!("{error:#}"));
            Stop::Failed(failure)
        }
        other => other,
    });
    if let Some(keep) = keep {
        store(keep, &waveform, report)?;
    }
    drop(folder);
    played
}

/// The waveform around a failure.
fn draw(path: &Path, when: &Range<Duration>) -> anyhow::Result<String> {
    /// What came right before the step is of interest, too.
    const BEFORE: Duration = Duration::from_millis(20);
    let file = std::fs::File::open(path).context("There is no waveform")?;
    let wave = Wave::read(std::io::BufReader::new(file))?;
    let window = wave.between(when.start.saturating_sub(BEFORE), when.end);
    Ok(text::draw(&wave, &window))
}

/// Keeps what a case leaves behind.
fn store(keep: &Path, waveform: &Path, report: &Report) -> anyhow::Result<()> {
    let folder = keep.join(format!("{}/{}", report.name, report.seed));
    let cannot = || format!("Cannot keep anything in {}", folder.display());
    std::fs::create_dir_all(&folder).with_context(cannot)?;
    std::fs::copy(waveform, folder.join("wave.vcd")).with_context(cannot)?;
    let mut console = report.console.join("\n");
    console.push('\n');
    std::fs::write(folder.join("console.log"), console).with_context(cannot)?;
    std::fs::write(folder.join("qemu.txt"), format!("{}\n", report.qemu)).with_context(cannot)
}

/// A case that runs.
struct Play<'a> {
    case: &'a Case,
    layout: Layout,
    stage: Stage,
    interruption: &'a Interruption,
    deadline: Instant,
    story: Story,
    /// What is going on, and where that is said.
    step: (String, Option<Range<usize>>),
}

impl Play<'_> {
    fn all(&mut self) -> Result<(), Stop> {
        let scenario = self.case.scenario();
        for text in &scenario.fail_serial {
            self.story.forbid(text, None);
        }
        let count = scenario.steps.len();
        for (number, step) in scenario.steps.iter().enumerate() {
            let name = format!("step {} of {count}, {}", number.saturating_add(1), step.name());
            self.step = (name, Some(step.span()));
            self.step(number, step)?;
        }
        if let Some(code) = &scenario.exit {
            self.step = ("exit".to_owned(), Some(code.span()));
            self.expect(&mut *expect::end(**code), None)?;
        }
        self.read()
    }

    fn step(&mut self, number: usize, step: &Step) -> Result<(), Stop> {
        let setup = self.case.scenario().setup.len();
        let seed = seed_of_step(self.case.seed, setup.saturating_add(number));
        if let Some(action) = action::of_step(step, &self.layout, seed)? {
            return self.act(action);
        }
        match step {
            Step::FailSerial(text) => {
                self.story.forbid(text, self.step.1.clone());
                Ok(())
            }
            Step::WriteSerial(text) => {
                self.act(Box::new(|_, _| Ok(())))?;
                let typed = self.stage.guest.type_in(text);
                typed.map_err(|error| self.failure("the guest to take what is typed".to_owned(), error.to_string()))
            }
            step => {
                let awaited = expect::of_step(step, &self.layout, &self.story)
                    .map_err(|unknown| anyhow::Error::msg(unknown.message))?;
                match awaited {
                    Some(mut awaited) => self.expect(&mut *awaited.expectation, awaited.within),
                    None => Ok(()),
                }
            }
        }
    }

    /// Does something to the world. The next step sees what comes from it, and nothing that came before.
    fn act(&mut self, action: action::Action) -> Result<(), Stop> {
        let (before, after, now) = self.stage.act(action)?;
        self.story.acted(before, after, now);
        self.read()
    }

    /// Takes what has happened; fails where the console says what it may not say.
    fn read(&mut self) -> Result<(), Stop> {
        self.story.read();
        let Some(Violation { text, span, line }) = self.story.violation() else { return Ok(()) };
        self.step = ("fail-serial".to_owned(), span);
        Err(self.failure(format!("no console line with {text:?}"), format!("{line:?}")))
    }

    /// Waits until an expectation is met.
    fn expect(&mut self, expectation: &mut dyn Expectation, within: Option<Time>) -> Result<(), Stop> {
        let stream = expectation.stream();
        let limit = within.map(|Time(within)| self.story.since.saturating_add(within));
        let mut position = self.story.begin(stream);
        match expectation.at_once() {
            Outcome::Failed(seen) => return Err(self.failure(expectation.expected(), seen)),
            Outcome::Open => {}
            Outcome::Met | Outcome::MetAt(_) => return Ok(()),
        }
        loop {
            if self.interruption.signal().is_some() {
                return Err(Stop::Interrupted);
            }
            // In this order: what is known to have ended has said all that it had to say.
            let exit = self.stage.guest.try_status().map_err(anyhow::Error::from)?;
            let end = [expectation.end(), limit].into_iter().flatten().min();
            let now = end.map(|_| self.stage.now()).transpose()?;
            self.read()?;
            while let Some(event) = self.story.events.get(position).cloned() {
                if limit.is_some_and(|limit| event.at > limit) {
                    return Err(self.too_late(expectation, within));
                }
                let outcome = expectation.event(position, &event);
                let next = position.saturating_add(1);
                match outcome {
                    Outcome::Open => position = next,
                    Outcome::Met => {
                        self.story.end(stream, next, event.at);
                        return self.include_effects(next, &event);
                    }
                    outcome => return self.conclude(expectation, outcome, position),
                }
            }
            if let (Some(now), Some(end)) = (now, expectation.end())
                && now > end
            {
                let outcome = expectation.time_is_up();
                return self.conclude(expectation, outcome, position);
            }
            if let (Some(now), Some(limit)) = (now, limit)
                && now > limit
            {
                return Err(self.too_late(expectation, within));
            }
            if let Some(status) = exit {
                match expectation.exit(status) {
                    Outcome::Open => {}
                    outcome => return self.conclude(expectation, outcome, position),
                }
            }
            if Instant::now() >= self.deadline {
                let timeout = shown(self.case.scenario().timeout.0);
                let seen = format!("{}, and the time-out of {timeout} is over", expectation.seen());
                return Err(self.failure(expectation.expected(), seen));
            }
            self.story.wait(TICK);
        }
    }

    /// Counts what a request has changed as settled: it stands behind the request in the log.
    fn include_effects(&mut self, next: usize, event: &Event) -> Result<(), Stop> {
        let Occurrence::Device { chip, activity: Activity::Request { .. } | Activity::Message { .. } } = event.what
        else {
            return Ok(());
        };
        // The changes are recorded together with the request.
        self.stage.now()?;
        self.read()?;
        let is_effect = |event: &&Event| change_in(event).is_some_and(|(place, _)| place.chip == chip);
        let effects = self.story.events.iter().skip(next).take_while(is_effect).count();
        self.story.settle(next.saturating_add(effects));
        Ok(())
    }

    /// Takes what an expectation says in the end, with the first event that it did not look at.
    fn conclude(&mut self, expectation: &dyn Expectation, outcome: Outcome, end: usize) -> Result<(), Stop> {
        let at = match outcome {
            Outcome::Failed(seen) => return Err(self.failure(expectation.expected(), seen)),
            Outcome::MetAt(at) => at,
            Outcome::Open | Outcome::Met => self.story.events.last().map_or(Duration::ZERO, |event| event.at),
        };
        self.story.end(expectation.stream(), end, at);
        Ok(())
    }

    fn too_late(&mut self, expectation: &dyn Expectation, within: Option<Time>) -> Stop {
        let within = within.map(|Time(within)| shown(within)).unwrap_or_default();
        let seen = format!("{} within {within}", expectation.seen());
        self.failure(format!("{} within {within}", expectation.expected()), seen)
    }

    fn failure(&self, expected: String, seen: String) -> Stop {
        let (what, span) = self.step.clone();
        let console = self.stage.guest.output().lines();
        let console = console.get(console.len().saturating_sub(CONSOLE_LINES)..).unwrap_or_default().to_vec();
        let now = self.stage.now().unwrap_or(self.story.since);
        let when = self.story.since.min(now)..now;
        Stop::Failed(Box::new(Failure { what, span, expected, seen, when, console, waveform: String::new() }))
    }
}
