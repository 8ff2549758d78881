//! The command line of `vgpio`.
#![forbid(unsafe_code)]
#![deny(clippy::print_stdout, clippy::print_stderr, reason = "they panic when nobody reads; see cli::output")]

mod cli;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use cli::output::{NobodyReads, say};

/// Simulated virtio GPIO devices for stock QEMU.
#[derive(Debug, Parser)]
#[command(version, about)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve a simulated device on a vhost-user socket
    Device(cli::device::DeviceArguments),
    Run(cli::run::RunArguments),
    Wave(cli::wave::WaveArguments),
    /// Run scenarios, and say which passed
    Test(cli::test::TestArguments),
    /// Show the chips and lines of a running simulation
    Info(cli::info::InfoArguments),
    /// Show the levels of lines of a running simulation
    Get(cli::get::GetArguments),
    /// Drive lines of a running simulation from outside
    Set(cli::set::SetArguments),
    /// Show the edges of lines of a running simulation as they come
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
