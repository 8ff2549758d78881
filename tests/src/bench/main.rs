//! Measures the driver against others, side by side: `scripts/bench`. docs/benchmarks.md says what each row is.
//!
//! `peers` boots a guest and has it measure, `world` looks at it from outside, `figures` keeps what came out, `table`
//! prints it.
#![forbid(unsafe_code)]
#![allow(clippy::arithmetic_side_effects, reason = "figures, none of them near a limit")]

mod arguments;
mod figures;
mod least_memory;
mod peers;
mod placement;
mod rows;
mod table;
mod world;

use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Parser;

use arguments::Arguments;
use figures::{Figures, Key};
use peers::Peer;
use rows::Row;

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let saved = arguments.compare.as_deref().map(Figures::load).transpose()?;
    let effort = arguments.effort();
    let boards = arguments.boards();
    let mut figures = Figures::of_this_machine(boards.first().context("There is no board")?)?;
    for board in boards {
        let peers = peers(board);
        for placement in arguments.placements() {
            placement.apply().with_context(|| format!("Cannot place the processes as in `{}`", placement.name()))?;
            // In turn, so that whatever else the machine does meets all of them.
            for run in 1..=effort.runs {
                for &peer in &peers {
                    eprintln!("{board}, placement {}, run {run} of {}: {}", placement.name(), effort.runs, peer.name());
                    let measured = peers::measure(peer, board, effort)
                        .with_context(|| format!("{} on {board}, run {run}", peer.name()))?;
                    for (row, figure) in measured {
                        figures.add(Key::new(board, placement, peer, row), figure);
                    }
                }
            }
        }
        if !arguments.quick {
            placement::Placement::None.apply()?;
            for &peer in &peers {
                if peer == Peer::OursDraft {
                    continue;
                }
                eprintln!("{board}: the least memory of {}", peer.name());
                let key = Key::new(board, placement::Placement::None, peer, Row::LeastMemory);
                figures.add(key, f64::from(least_memory::find(peer, board)?));
            }
        }
    }
    if let Some(path) = &arguments.json {
        figures.save(path)?;
        eprintln!("saved in {}", path.display());
    }
    table::print(&figures);
    if let Some(saved) = &saved {
        table::compare(saved, &figures);
    }
    if figures.is_empty() {
        bail!("Nothing was measured");
    }
    Ok(())
}

/// Who takes part on a board. Says who is left out, and why.
fn peers(board: &str) -> Vec<Peer> {
    let mut peers = vec![Peer::Ours, Peer::OursDraft, Peer::VirtioDrivers];
    if hil::linux::is_there(board) {
        peers.push(Peer::Linux);
    } else {
        eprintln!("{board}: Linux is left out, its kernel is not built: run scripts/linux");
    }
    peers
}
