//! `vgpio test`: scenarios, and the verdict on them.

use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use signal_hook::consts::{SIGHUP, SIGINT, SIGPIPE, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

use super::output::{print, say, tell};
use vgpio::report::{Told, Totals, json, junit, text};
use vgpio::runner::case::{Report, Verdict, command_line};
use vgpio::runner::matrix::{self, Case, Selection, Shard};
use vgpio::runner::{self, Interruption, Listener};
use vgpio::scenario::{self, problem::Problems};

/// Guests that run at once, for each processor: they mostly wait.
const GUESTS_FOR_EACH_PROCESSOR: usize = 2;

/// Run scenarios, and say which passed
///
/// A scenario is a TOML file that says what the world does to a guest, and what the guest must do. docs/scenarios.md
/// describes it, and --schema prints its schema. Each runs on every board, protocol and transport that it names. People
/// are told on standard error; --list, --schema, --print-command and --json - write to standard output.
///
/// Exit status: 0 all passed; 1 a check failed; 2 something could not be run (a bad file, no QEMU, no image, no case
/// that matches); 130 Ctrl-C, 143 SIGTERM, and 141 when nobody reads what is told any more (a pipe to head), after
/// everything was stopped and the reports were written.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct TestArguments {
    /// Scenarios, or folders with scenarios
    #[arg(value_name = "PATH", default_value = "tests/scenarios")]
    paths: Vec<PathBuf>,
    /// Only cases whose name (as --list shows it) has TEXT in it; repeat it, and all texts must be in it
    #[arg(long = "filter", value_name = "TEXT")]
    filters: Vec<String>,
    /// Show the names of the cases, and run none
    #[arg(long)]
    list: bool,
    /// The seed of everything random, in place of the scenarios' own
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Run each case so often, each time with the next seed
    #[arg(long, value_name = "TIMES", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,
    /// Run so many cases at once [default: 2 for each processor]
    #[arg(short, long, value_name = "NUMBER")]
    jobs: Option<NonZero<usize>>,
    /// Run only the I-th of N parts
    #[arg(long, value_name = "I/N", value_parser = parse_shard)]
    shard: Option<Shard>,
    /// Write a report as JUnit does
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write a JSON object for each case, and one for all; "-" is standard output
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Keep the console, the waveform and the QEMU command of each case there
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,
    /// QEMU's program, or the folder that has it [default: search PATH, then .tools/bin]
    #[arg(long, value_name = "PATH")]
    qemu: Option<PathBuf>,
    /// The image to boot, in place of the scenarios' own; {board} stands for the board
    #[arg(long, value_name = "FILE")]
    image: Option<String>,
    /// Skip the scenarios that need WORD of their guest, and say so; repeat it for more. What they need is in their heads:
    /// "needs", and "boot-arguments" where they have "append"
    #[arg(long, value_name = "WORD")]
    without: Vec<String>,
    /// Show QEMU's command line for each case, and run none
    #[arg(long)]
    print_command: bool,
    /// Show the schema of scenario files (JSON Schema, draft 7)
    #[arg(long)]
    schema: bool,
}

pub(crate) fn test(arguments: &TestArguments) -> anyhow::Result<ExitCode> {
    if arguments.schema {
        print(scenario::schema()?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let Some(files) = read_all(&arguments.paths)? else { return Ok(ExitCode::from(2)) };
    let selection = Selection {
        filters: arguments.filters.clone(),
        shard: arguments.shard,
        seed: arguments.seed,
        repeat: arguments.repeat,
        qemu: arguments.qemu.clone(),
        image: arguments.image.clone(),
        without: arguments.without.clone(),
    };
    if arguments.list {
        let names = matrix::names(&files, &selection);
        ensure!(!names.is_empty(), matrix::NONE);
        for name in names {
            print(name)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let cases = matrix::cases(&files, &selection)?;
    if arguments.print_command {
        for case in &cases {
            print(format_args!("# {}\n{}", case.name(), command_line(case)?))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let interruption = Interruption::default();
    listen_to_signals(interruption.clone())?;
    let begin = Instant::now();
    let mut teller = Teller::new(arguments, cases.len(), interruption.clone())?;
    let jobs = arguments.jobs.map_or_else(default_jobs, NonZero::get);
    runner::run(&cases, jobs, arguments.keep.as_deref(), &interruption, &mut teller);
    let totals = teller.finish(arguments, cases.len(), begin.elapsed())?;
    Ok(ExitCode::from(match (interruption.signal(), totals) {
        (Some(signal), _) => u8::try_from(signal).unwrap_or(0).saturating_add(128),
        (None, Totals { failed: 1.., .. }) => 1,
        (None, Totals { broken: 1.., .. }) => 2,
        (None, _) => 0,
    }))
}

fn default_jobs() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get).saturating_mul(GUESTS_FOR_EACH_PROCESSOR)
}

fn parse_shard(text: &str) -> Result<Shard, String> {
    let numbers = text.split_once('/').and_then(|(number, of)| Some((number.parse().ok()?, of.parse().ok()?)));
    let (number, of) = numbers.ok_or("expected a part and a number of parts: 1/4")?;
    if number == 0 || number > of {
        return Err(format!("the parts are counted from 1 to {of}"));
    }
    Ok(Shard { number, of })
}

/// All scenarios; `None` where some are bad, after that was said.
fn read_all(paths: &[PathBuf]) -> anyhow::Result<Option<Vec<Arc<scenario::File>>>> {
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() {
            let before = found.len();
            find_in(path, &mut found)?;
            ensure!(found.len() > before, "There are no scenarios (files named *.toml) in {}", path.display());
        } else {
            ensure!(path.exists(), "There is no scenario {}: give a file or a folder", path.display());
            found.push(path.clone());
        }
    }
    let mut files: Vec<Arc<scenario::File>> = Vec::new();
    let mut bad = 0usize;
    for path in &found {
        match scenario::File::read(path) {
            Ok(file) => files.push(Arc::new(file)),
            Err(problems) => {
                bad = bad.saturating_add(1);
                tell_problems(&problems);
            }
        }
    }
    for (position, file) in files.iter().enumerate() {
        let earlier = files.iter().take(position).find(|other| other.name() == file.name());
        if let Some(other) = earlier {
            let (one, other) = (file.path.display(), other.path.display());
            bail!("Two scenarios are called {:?}: {other} and {one}; give one of them another name", file.name());
        }
    }
    if bad > 0 {
        say(format_args!("{bad} of {} scenarios cannot be used", found.len()));
        return Ok(None);
    }
    Ok(Some(files))
}

fn tell_problems(problems: &Problems) {
    // There is nobody else to tell that this cannot be said.
    let _ = tell(&format!("{}\n\n", problems.render(true)));
}

/// All scenarios in a folder and the folders in it, by name.
fn find_in(folder: &Path, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let cannot = || format!("Cannot read the folder {}", folder.display());
    let entries = std::fs::read_dir(folder).with_context(cannot)?;
    let mut paths =
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>().with_context(cannot)?;
    paths.sort_unstable();
    for path in paths {
        if path.is_dir() {
            find_in(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            found.push(path);
        }
    }
    Ok(())
}

fn listen_to_signals(interruption: Interruption) -> anyhow::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGQUIT]).context("Cannot listen to signals")?;
    let listen = move || {
        for signal in signals.forever() {
            if interruption.signal().is_some() {
                // Whoever asks twice does not want to wait. The guests are bound to our threads, and end with them.
                std::process::exit(signal.saturating_add(128));
            }
            interruption.interrupt(signal);
        }
    };
    thread::Builder::new().name("vgpio-signals".to_owned()).spawn(listen).context("Cannot start a thread")?;
    Ok(())
}

/// Tells people and files how a run goes.
struct Teller {
    progress: ProgressBar,
    json: Option<Box<dyn Write + Send>>,
    /// Why it could not be written, the first time.
    failure: Option<io::Error>,
    /// Nobody who reads no more wants the rest to run.
    interruption: Interruption,
    /// What it takes beyond a case's name and seed to run it again.
    more: Vec<String>,
    told: Vec<Told>,
    totals: Totals,
    running: Vec<String>,
}

impl Teller {
    fn new(arguments: &TestArguments, cases: usize, interruption: Interruption) -> anyhow::Result<Self> {
        let is_quiet = !io::stderr().is_terminal() || std::env::var_os("CI").is_some();
        let target = if is_quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let progress = ProgressBar::with_draw_target(u64::try_from(cases).ok(), target);
        progress.set_style(ProgressStyle::with_template("{elapsed} [{bar:30}] {pos}/{len} {wide_msg}")?);
        progress.enable_steady_tick(Duration::from_millis(200));
        let create = |path: &PathBuf| -> anyhow::Result<Box<dyn Write + Send>> {
            if path == Path::new("-") {
                return Ok(Box::new(io::stdout()));
            }
            Ok(Box::new(File::create(path).with_context(|| format!("Cannot write {}", path.display()))?))
        };
        let mut more = Vec::new();
        let mut add = |option: &str, value: Option<String>| {
            more.extend(value.into_iter().flat_map(|value| [option.to_owned(), value]));
        };
        add("--qemu", arguments.qemu.as_ref().map(|path| path.display().to_string()));
        add("--image", arguments.image.clone());
        let json = arguments.json.as_ref().map(create).transpose()?;
        let (told, totals, running) = (Vec::new(), Totals::default(), Vec::new());
        Ok(Self { progress, json, failure: None, interruption, more, told, totals, running })
    }

    fn write_json(&mut self, object: &str) {
        if let Some(json) = &mut self.json
            && let Err(error) = writeln!(json, "{object}").and_then(|()| json.flush())
        {
            if error.kind() == ErrorKind::BrokenPipe {
                self.interruption.interrupt(SIGPIPE);
            } else {
                self.failure.get_or_insert(error);
            }
        }
    }

    /// Says how it went, and writes what is written in the end.
    fn finish(mut self, arguments: &TestArguments, cases: usize, took: Duration) -> anyhow::Result<Totals> {
        self.progress.finish_and_clear();
        self.totals.interrupted = self.totals.interrupted.saturating_add(cases.saturating_sub(self.told.len()));
        if let Some(path) = &arguments.junit {
            let cannot = || format!("Cannot write {}", path.display());
            let file = File::create(path).with_context(cannot)?;
            junit::write(&self.told, took, io::BufWriter::new(file)).with_context(cannot)?;
        }
        let summary = json::summary(&self.totals, took)?;
        self.write_json(&summary);
        say(text::summary(&self.totals, took));
        self.failure.map_or(Ok(self.totals), |error| Err(error).context("Cannot write JSON"))
    }
}

impl Listener for Teller {
    fn begins(&mut self, case: &Case) {
        self.running.push(case.name());
        self.progress.set_message(self.running.join(" "));
    }

    fn ended(&mut self, case: &Case, report: Report) {
        let told = Told::new(case, report, &self.more);
        if let Some(position) = self.running.iter().position(|name| *name == told.report.name) {
            self.running.remove(position);
        }
        self.progress.inc(1);
        self.progress.set_message(self.running.join(" "));
        self.totals.add(&told.report.verdict);
        let colour = match told.report.verdict {
            Verdict::Passed => anstyle::AnsiColor::Green,
            Verdict::Failed(_) | Verdict::Broken(_) => anstyle::AnsiColor::Red,
            Verdict::Skipped(_) | Verdict::Interrupted => anstyle::AnsiColor::Yellow,
        };
        let style = anstyle::Style::new().fg_color(Some(colour.into()));
        let text = format!("{style}{}{style:#}\n{}", text::line(&told), text::details(&told));
        if self.progress.suspend(|| tell(&text)).is_err_and(|error| error.kind() == ErrorKind::BrokenPipe) {
            self.interruption.interrupt(SIGPIPE);
        }
        match json::case(&told) {
            Ok(object) => self.write_json(&object),
            Err(error) => log::error!("Cannot write JSON: {error}"),
        }
        self.told.push(told);
    }
}
