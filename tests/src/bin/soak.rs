//! Soaks the image on the boards: `scripts/soak`.

#![allow(clippy::arithmetic_side_effects, reason = "times, none of them large")]

use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use clap::{Parser, ValueEnum};
use hil::boards::Board;
use hil::scene::{self, Setting};
use hil::soak::{self, Plan, Progress};
use virtio_gpio::Protocol;

/// How often each board's progress is told.
const TELL: Duration = Duration::from_mins(1);

/// Random operations of the guest, random faults of its devices; between them both sides' accounts are compared.
#[derive(Debug, Parser)]
#[command(name = "scripts/soak", after_help = "Exit status: 0 passed; 1 a check failed; 2 it could not start.")]
struct Arguments {
    /// How long: 90s, 15m, 1h
    #[arg(long = "for", value_name = "DURATION", default_value = "1m", value_parser = duration)]
    duration: Duration,
    /// The boards, side by side; repeat it for each. All of them if it is not given
    #[arg(long = "board", value_enum)]
    boards: Vec<Board>,
    /// What the devices speak
    #[arg(long, value_enum, default_value_t = Spoken::Both)]
    protocol: Spoken,
    /// What all chance comes from; any if it is not given
    #[arg(long)]
    seed: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Spoken {
    /// One device of each
    Both,
    /// VIRTIO 1.2 and later, section 5.18
    Ratified,
    /// The draft of 2020
    Draft,
}

impl Spoken {
    fn protocols(self) -> Vec<Protocol> {
        match self {
            Self::Both => vec![Protocol::Ratified, Protocol::Draft],
            Self::Ratified => vec![Protocol::Ratified],
            Self::Draft => vec![Protocol::Draft],
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Both => "both",
            Self::Ratified => "ratified",
            Self::Draft => "draft",
        }
    }
}

/// A whole number with a unit.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err("expected a whole number with a unit, such as 90s, 15m or 1h".to_owned()),
    };
    let seconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| format!("'{number}' is no number of {unit}"))
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// How a board went.
struct Soaked {
    board: Board,
    /// The command that does the same.
    command: String,
    progress: Progress,
    failure: Option<String>,
}

impl Soaked {
    fn tell_failure(&self) {
        if let Some(failure) = &self.failure {
            println!("FAILED on {}: {failure}\nTo repeat it: {}", self.board.name(), self.command);
        }
    }
}

/// `false` if a check failed.
fn run(mut arguments: Arguments) -> anyhow::Result<bool> {
    if arguments.boards.is_empty() {
        arguments.boards = Board::value_variants().to_vec();
    }
    let any = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let seed = arguments.seed.unwrap_or_else(any);
    let plan = Plan { seed, duration: arguments.duration, protocols: arguments.protocol.protocols() };
    for board in &arguments.boards {
        scene::command(Setting { board: board.name(), modern: true }).with_context(|| board.name())?;
    }
    println!("seed {seed}, {}", shown(arguments.duration));
    let (sender, results) = mpsc::channel();
    for board in arguments.boards.iter().copied() {
        let (plan, sender) = (plan.clone(), sender.clone());
        let command = format!(
            "scripts/soak --seed {seed} --board {} --protocol {} --for {}s",
            board.name(),
            arguments.protocol.name(),
            arguments.duration.as_secs()
        );
        thread::spawn(move || {
            // Nobody is there to hear it only if the main thread has ended, and the process with it.
            let _ = sender.send(soak(board, &plan, command));
        });
    }
    drop(sender);
    let mut results: Vec<Soaked> = results.iter().inspect(Soaked::tell_failure).collect();
    results.sort_by_key(|result| result.board.name());
    println!();
    table(&results);
    Ok(results.len() == arguments.boards.len() && results.iter().all(|result| result.failure.is_none()))
}

fn soak(board: Board, plan: &Plan, command: String) -> Soaked {
    let begin = Instant::now();
    let mut told = begin;
    let mut progress = Progress::default();
    let outcome = soak::run(Setting { board: board.name(), modern: true }, plan, |now| {
        progress = *now;
        if told.elapsed() >= TELL {
            told = Instant::now();
            println!("{} {}: {now}", shown(begin.elapsed()), board.name());
        }
    });
    Soaked { board, command, progress, failure: outcome.err().map(|error| format!("{error:#}")) }
}

fn shown(time: Duration) -> String {
    let seconds = time.as_secs();
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// A row of the table: what it counts, and how it is counted.
type Row = (&'static str, fn(&Progress) -> u64);

const ROWS: [Row; 11] = [
    ("healthy turns", |progress| progress.turns),
    ("operations of the guest", |progress| progress.operations),
    ("requests", |progress| progress.requests),
    ("edges", |progress| progress.edges),
    ("faults injected", |progress| progress.faults),
    ("time-outs", |progress| progress.timeouts),
    ("resets", |progress| progress.resets),
    ("lines given up", |progress| progress.given_up),
    ("errors", |progress| progress.errors),
    ("leaked descriptors", |progress| progress.leaked),
    ("lost edges", |progress| progress.lost),
];

fn table(results: &[Soaked]) {
    let print = |name: &str, cell: &dyn Fn(&Soaked) -> String| {
        print!("{name:<24}");
        for result in results {
            print!("{:>20}", cell(result));
        }
        println!();
    };
    print("", &|result| result.board.name().to_owned());
    for (name, value) in ROWS {
        print(name, &|result| value(&result.progress).to_string());
    }
    print("", &|result| if result.failure.is_none() { "passed" } else { "FAILED" }.to_owned());
}
