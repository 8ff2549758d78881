//! The table.

use std::collections::BTreeSet;

use crate::figures::{Figures, Key, Spread};
use crate::peers::Peer;
use crate::placement::Placement;
use crate::rows::{Goal, Row};

/// Prints a table for each board and placement, in the manner of Markdown.
pub(crate) fn print(figures: &Figures) {
    let machine = &figures.machine;
    println!("{}, {} processors, {}, QEMU {}", machine.processor, machine.processors, machine.system, machine.qemu);
    println!("Each figure: minimum / median / maximum of its runs. Ratios are of runs that followed each other.");
    let parts: BTreeSet<_> = figures.all.keys().map(|key| (key.board, key.placement)).collect();
    for (board, placement) in parts {
        println!("\n{board}, placement {}\n", placement.name());
        println!("| | Linux | ours | ours to Linux | goal | virtio-drivers | ours, draft |");
        println!("| --- | --- | --- | --- | --- | --- | --- |");
        let rows: BTreeSet<_> = figures.all.keys().filter(|key| key.board == board).map(|key| key.row).collect();
        for row in rows {
            let key = |peer| Key::new(board, placement, peer, row);
            let cell = |peer| figures.spread(key(peer)).map_or_else(|| "–".to_owned(), shown);
            if figures.spread(key(Peer::Ours)).is_none() {
                continue;
            }
            let ratio = linux_ratio(figures, key(Peer::Ours));
            let goal = row.goal(placement == Placement::One);
            println!(
                "| {} | {} | {} | {} | {} | {} | {} |",
                row.label(),
                cell(Peer::Linux),
                cell(Peer::Ours),
                ratio.map_or_else(|| "–".to_owned(), times),
                verdict(goal, ratio),
                cell(Peer::VirtioDrivers),
                cell(Peer::OursDraft),
            );
        }
    }
}

/// The ratio to Linux. Linux cannot stream: there it is compared with what it does instead, one call after the other.
fn linux_ratio(figures: &Figures, key: Key) -> Option<Spread> {
    if key.row != Row::Stream {
        return figures.ratio(key, Peer::Linux);
    }
    let own = figures.all.get(&key)?;
    let single = figures.all.get(&Key { peer: Peer::Linux, row: Row::SetRate, ..key })?;
    Spread::of(own.iter().zip(single).map(|(own, single)| own / single))
}

fn verdict(goal: Option<Goal>, ratio: Option<Spread>) -> String {
    let Some(goal) = goal else { return String::new() };
    let wanted = match goal {
        Goal::AtLeast(wanted) => format!("≥ {wanted:.0}"),
        Goal::AtMost(wanted) => format!("≤ {wanted:.2}"),
    };
    match ratio {
        Some(ratio) if goal.is_reached(ratio.median) => format!("{wanted}: reached"),
        Some(_) => format!("{wanted}: not reached"),
        None => wanted,
    }
}

fn shown(spread: Spread) -> String {
    let Spread { least, median, most } = spread;
    if least.total_cmp(&most).is_eq() {
        return figure(median);
    }
    format!("{} / **{}** / {}", figure(least), figure(median), figure(most))
}

/// Three digits that mean something.
fn figure(figure: f64) -> String {
    match figure {
        10_000_000.0.. => format!("{:.1}M", figure / 1e6),
        1_000_000.0.. => format!("{:.2}M", figure / 1e6),
        10_000.0.. => format!("{:.0}k", figure / 1e3),
        100.0.. => format!("{figure:.0}"),
        10.0.. => format!("{figure:.1}"),
        _ => format!("{figure:.2}"),
    }
}

fn times(ratio: Spread) -> String {
    let Spread { least, median, most } = ratio;
    if least.total_cmp(&most).is_eq() {
        return format!("{median:.2}");
    }
    format!("{least:.2} / **{median:.2}** / {most:.2}")
}

/// Prints how the driver's figures, as ratios to Linux's where there are some, have changed since a saved run.
pub(crate) fn compare(saved: &Figures, now: &Figures) {
    if saved.machine != now.machine {
        println!("\nThe saved run is of another machine or QEMU: {:?}", saved.machine);
    }
    println!("\n| | saved | now | change |\n| --- | --- | --- | --- |");
    for key in now.all.keys().filter(|key| matches!(key.peer, Peer::Ours | Peer::OursDraft)) {
        let median = |figures: &Figures| match linux_ratio(figures, *key) {
            Some(ratio) if key.peer == Peer::Ours => Some((ratio.median, "to Linux")),
            _ => figures.spread(*key).map(|spread| (spread.median, "")),
        };
        if let (Some((before, of)), Some((after, same))) = (median(saved), median(now))
            && of == same
            && before > 0.0
        {
            println!(
                "| {} {} {} {} {of} | {} | {} | {:+.0} % |",
                key.board,
                key.placement.name(),
                key.peer.name(),
                key.row.label(),
                figure(before),
                figure(after),
                (after / before - 1.0) * 100.0
            );
        }
    }
}
