//! Tests of the host tool as a whole: over its socket, in its own time, and from a shell.
#![expect(clippy::unwrap_used, clippy::arithmetic_side_effects, reason = "helpers of tests fail like tests")]

mod bridge;
mod command_line;
mod commands;
mod control;
mod driver;
mod fake_chip;
mod faults;
mod front_end;
mod pipes;
mod scenario_files;
mod scenario_runs;
mod server;
mod wave;
#[cfg(feature = "web")]
mod web;
mod world;
