//! All figures, and the file that they are saved in.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread;

use anyhow::Context;
use hil::boards::Board;
use hil::scene::Setting;
use serde::{Deserialize, Serialize};

use crate::peers::Peer;
use crate::placement::Placement;
use crate::rows::Row;

/// What a figure is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) board: &'static str,
    pub(crate) placement: Placement,
    pub(crate) row: Row,
    pub(crate) peer: Peer,
}

impl Key {
    pub(crate) fn new(board: &'static str, placement: Placement, peer: Peer, row: Row) -> Self {
        Self { board, placement, row, peer }
    }
}

/// Where they were taken.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) processors: usize,
    pub(crate) system: String,
    pub(crate) qemu: String,
}

/// The figures of a run of this program; each a list with one for each run of a guest.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) machine: Machine,
    pub(crate) all: BTreeMap<Key, Vec<f64>>,
}

/// The file.
#[derive(Serialize, Deserialize)]
struct Saved {
    machine: Machine,
    figures: Vec<SavedFigure>,
}

#[derive(Serialize, Deserialize)]
struct SavedFigure {
    board: String,
    placement: String,
    row: Row,
    peer: Peer,
    /// One for each run.
    figures: Vec<f64>,
}

/// The least, the median and the largest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) least: f64,
    pub(crate) median: f64,
    pub(crate) most: f64,
}

impl Spread {
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut figures: Vec<f64> = figures.into_iter().collect();
        figures.sort_by(f64::total_cmp);
        let (least, most) = (*figures.first()?, *figures.last()?);
        let [below, above] = [figures.len().saturating_sub(1) / 2, figures.len() / 2];
        let median = (figures.get(below)? + figures.get(above)?) / 2.0;
        Some(Self { least, median, most })
    }
}

impl Figures {
    /// No figures yet.
    pub(crate) fn of_this_machine(board: &'static str) -> anyhow::Result<Self> {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let model = |line: &str| Some(line.strip_prefix("model name")?.split_once(": ")?.1.to_owned());
        let processor = read("/proc/cpuinfo").lines().find_map(model);
        let qemu = hil::scene::command(Setting { board, modern: true })?.program.version()?.to_string();
        let machine = Machine {
            processor: processor.unwrap_or_else(|| "unknown".to_owned()),
            processors: thread::available_parallelism().map_or(1, std::num::NonZero::get),
            system: format!("Linux {}", read("/proc/sys/kernel/osrelease").trim()),
            qemu,
        };
        Ok(Self { machine, all: BTreeMap::new() })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(crate) fn add(&mut self, key: Key, figure: f64) {
        self.all.entry(key).or_default().push(figure);
    }

    pub(crate) fn spread(&self, key: Key) -> Option<Spread> {
        Spread::of(self.all.get(&key)?.iter().copied())
    }

    /// How one peer compares to another, run by run.
    pub(crate) fn ratio(&self, key: Key, to: Peer) -> Option<Spread> {
        let (own, other) = (self.all.get(&key)?, self.all.get(&Key { peer: to, ..key })?);
        Spread::of(own.iter().zip(other).filter(|(_, other)| **other > 0.0).map(|(own, other)| own / other))
    }

    pub(crate) fn save(&self, path: &Path) -> anyhow::Result<()> {
        let figures = self.all.iter().map(|(key, figures)| SavedFigure {
            board: key.board.to_owned(),
            placement: key.placement.name().to_owned(),
            row: key.row,
            peer: key.peer,
            figures: figures.clone(),
        });
        let saved = Saved { machine: self.machine.clone(), figures: figures.collect() };
        let text = serde_json::to_string_pretty(&saved)?;
        fs::write(path, text + "\n").with_context(|| format!("Cannot write {}", path.display()))
    }

    pub(crate) fn load(path: &Path) -> anyhow::Result<Self> {
        let cannot = || format!("Cannot use {} as a saved run", path.display());
        let text = fs::read_to_string(path).with_context(cannot)?;
        let saved: Saved = serde_json::from_str(&text).with_context(cannot)?;
        let mut all = BTreeMap::new();
        for SavedFigure { board, placement, row, peer, figures } in saved.figures {
            let placement = [Placement::None, Placement::One].into_iter().find(|known| known.name() == placement);
            let board = Board::ALL.into_iter().map(Board::name).find(|known| *known == board);
            if let (Some(board), Some(placement)) = (board, placement) {
                all.insert(Key::new(board, placement, peer, row), figures);
            }
        }
        Ok(Self { machine: saved.machine, all })
    }
}
