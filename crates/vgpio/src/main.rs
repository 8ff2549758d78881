//! The command line of `vgpio`.
#![forbid(unsafe_code)]
#![deny(clippy::print_stdout, clippy::print_stderr, reason = "they panic when nobody reads; see cli::output")]

mod cli;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use cli::output::{NobodyReads, say};

/// Simulated virtio GPIO devices for stock QEMU: boot a guest, do things to its pins, and prove what it does
#[derive(Debug, Parser)]
#[command(version, after_help = BEGIN)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

const BEGIN: &str = "\
To begin with:
  vgpio run --for 10                       boot the project's image (scripts/build), and see it blink
  vgpio run --control gpio.control         and let the commands info, get, set and monitor at it
  vgpio test                               run the project's scenarios; docs/scenarios.md has how to write yours

Exit status: 0 passed, 1 a check failed, 2 it could not be run. `vgpio COMMAND --help` has more.";

/// What each does is said at its arguments: what stood here would hide that.
#[derive(Debug, Subcommand)]
enum Command {
    Run(cli::run::RunArguments),
    Test(cli::test::TestArguments),
    Wave(cli::wave::WaveArguments),
    Device(cli::device::DeviceArguments),
    Info(cli::info::InfoArguments),
    Get(cli::get::GetArguments),
    Set(cli::set::SetArguments),
    Monitor(cli::monitor::MonitorArguments),
}

fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).init();
    let result = match CommandLine::parse().command {
        Command::Device(arguments) => cli::device::device(arguments),
        Command::Run(arguments) => cli::run::run(arguments),
        Command::Wave(arguments) => cli::wave::wave(&arguments),
        Command::Test(arguments) => cli::test::test(&arguments),
        Command::Info(arguments) => cli::info::info(&arguments),
        Command::Get(arguments) => cli::get::get(&arguments),
        Command::Set(arguments) => cli::set::set(arguments),
        Command::Monitor(arguments) => cli::monitor::monitor(&arguments),
    };
    result.unwrap_or_else(|error| {
        if error.is::<NobodyReads>() {
            return ExitCode::SUCCESS;
        }
        say(format_args!("{error:#}"));
        ExitCode::from(2)
    })
}
