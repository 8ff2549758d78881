//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use hil::boards::Board;

use crate::placement::Placement;

/// Measures the driver and its peers in turn, on both boards, with the simulated device in the same process.
#[derive(Debug, Parser)]
#[command(name = "scripts/bench", after_help = "Exit status: 0 measured; 1 a guest failed; 2 it could not start.")]
pub(crate) struct Arguments {
    /// Two runs, a fifth of the calls, and no search for the least memory
    #[arg(long)]
    pub(crate) quick: bool,
    /// How many runs of each guest
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    runs: Option<u32>,
    /// Repeat it for each; without it, all
    #[arg(long = "board", value_enum)]
    boards: Vec<Board>,
    /// Where the processes run: `none`, as the system likes; `one`, guest and device on one processor. Repeat it for
    /// each; without it, both
    #[arg(long = "placement", value_enum)]
    placements: Vec<Placement>,
    /// Save all figures
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Print what has changed since a saved run
    #[arg(long, value_name = "FILE")]
    pub(crate) compare: Option<PathBuf>,
}

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    /// Runs of each guest.
    pub(crate) runs: u32,
    /// What the numbers of calls are divided by.
    pub(crate) divisor: u32,
}

impl Arguments {
    pub(crate) fn effort(&self) -> Effort {
        let (runs, divisor) = if self.quick { (2, 5) } else { (5, 1) };
        Effort { runs: self.runs.unwrap_or(runs), divisor }
    }

    pub(crate) fn boards(&self) -> Vec<&'static str> {
        let boards: &[Board] = if self.boards.is_empty() { &Board::ALL } else { &self.boards };
        boards.iter().map(|board| board.name()).collect()
    }

    pub(crate) fn placements(&self) -> Vec<Placement> {
        if self.placements.is_empty() { Placement::value_variants().to_vec() } else { self.placements.clone() }
    }
}
