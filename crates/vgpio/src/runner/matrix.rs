//! The cases of a run: each scenario on each board, with each protocol and each transport that it names.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, ensure};

use crate::qemu::board::Board;
use crate::qemu::command::Presentation;
use crate::qemu::program::Program;
use crate::scenario::{self, Protocol, Transport};

/// What is said when no case is wanted.
pub const NONE: &str = "No case matches. They are named SCENARIO/BOARD/PROTOCOL/TRANSPORT, without folders; vgpio test --list without a \
                        filter shows all";

/// A board, and the QEMU for it.
#[derive(Debug)]
pub struct Rig {
    /// The board.
    pub board: Board,
    /// QEMU's program for it.
    pub program: Program,
    /// As what this QEMU shows a device of the draft; `None` where no case needs to know.
    pub draft: Option<Presentation>,
}

/// One scenario on one board, with one protocol and one transport.
#[derive(Debug, Clone)]
pub struct Case {
    /// The scenario.
    pub file: Arc<scenario::File>,
    /// Where it runs.
    pub rig: Arc<Rig>,
    /// What chips without a protocol of their own speak; `None` where there are none.
    pub protocol: Option<Protocol>,
    /// The version of virtio-mmio.
    pub transport: Transport,
    /// What is booted.
    pub image: PathBuf,
    /// What everything random comes from.
    pub seed: u64,
    /// What it needs of the guest, and the guest lacks: it is skipped.
    pub lacking: Option<String>,
}

impl Case {
    /// The name of the case: scenario, board, protocol and transport, with slashes between.
    pub fn name(&self) -> String {
        name(&self.file.name(), &self.rig.board.name, self.protocol, self.transport)
    }

    /// The scenario.
    pub fn scenario(&self) -> &scenario::Scenario {
        &self.file.scenario
    }
}

fn name(scenario: &str, board: &str, protocol: Option<Protocol>, transport: Transport) -> String {
    let protocol = match protocol {
        Some(Protocol::Ratified) => "ratified",
        Some(Protocol::Draft) => "draft",
        None => "fixed",
    };
    let transport = match transport {
        Transport::Modern => "modern",
        Transport::Legacy => "legacy",
    };
    format!("{scenario}/{board}/{protocol}/{transport}")
}

/// Which cases are wanted, and where what they need is.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Texts that the name of a case must have in it, all of them.
    pub filters: Vec<String>,
    /// Only each `of`-th case, beginning with the `number`-th, from 1.
    pub shard: Option<Shard>,
    /// The seed, in place of the scenarios' own.
    pub seed: Option<u64>,
    /// How often each case is run; each time with the next seed.
    pub repeat: u32,
    /// QEMU's program, or the folder that has it.
    pub qemu: Option<PathBuf>,
    /// The image to boot, in place of the scenarios' own; `{board}` stands for the board.
    pub image: Option<String>,
    /// What the guest lacks. Scenarios that need one of these are skipped.
    pub without: Vec<String>,
}

/// A part of all cases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// Which part, from 1.
    pub number: usize,
    /// Of how many.
    pub of: usize,
}

impl Shard {
    fn has(self, case: usize) -> bool {
        case.checked_rem(self.of).is_some_and(|rest| rest.checked_add(1) == Some(self.number))
    }
}

/// A case before it is known whether it can run.
#[derive(Debug, Clone)]
struct Draft {
    file: Arc<scenario::File>,
    board: String,
    protocol: Option<Protocol>,
    transport: Transport,
}

impl Draft {
    fn name(&self) -> String {
        name(&self.file.name(), &self.board, self.protocol, self.transport)
    }
}

/// The names of the cases that are wanted, in the order in which they run.
pub fn names(files: &[Arc<scenario::File>], selection: &Selection) -> Vec<String> {
    wanted(files, selection).iter().map(Draft::name).collect()
}

/// The cases that are wanted, in the order in which they run. All that they need is there.
///
/// # Errors
///
/// When there are none, or when something that they need is missing; the message says what to do.
pub fn cases(files: &[Arc<scenario::File>], selection: &Selection) -> anyhow::Result<Vec<Case>> {
    let wanted = wanted(files, selection);
    ensure!(!wanted.is_empty(), NONE);
    let mut rigs: Vec<Arc<Rig>> = Vec::new();
    for draft in &wanted {
        if !rigs.iter().any(|rig| rig.board.name == draft.board) {
            let needs_draft = wanted.iter().any(|other| other.board == draft.board && speaks_draft(other));
            rigs.push(Arc::new(rig(&draft.board, needs_draft, selection)?));
        }
    }
    let mut cases = Vec::new();
    for repetition in 0..selection.repeat.max(1) {
        for Draft { file, board, protocol, transport } in wanted.iter().cloned() {
            let rig = rigs.iter().find(|rig| rig.board.name == board).context("There is no such board")?;
            let image = image(&file, &rig.board, selection)?;
            let seed = selection.seed.unwrap_or(file.scenario.seed).wrapping_add(repetition.into());
            let lacking = file.scenario.all_needs().find(|need| selection.without.iter().any(|word| word == need));
            let lacking = lacking.map(str::to_owned);
            cases.push(Case { file, rig: Arc::clone(rig), protocol, transport, image, seed, lacking });
        }
    }
    Ok(cases)
}

fn wanted(files: &[Arc<scenario::File>], selection: &Selection) -> Vec<Draft> {
    let all_boards = Board::names();
    let mut all = Vec::new();
    for file in files {
        let scenario = &file.scenario;
        let boards: Vec<_> = match &scenario.boards {
            Some(boards) => boards.iter().map(ToString::to_string).collect(),
            None => all_boards.clone(),
        };
        let is_open = scenario.chips.iter().any(|chip| chip.protocol.is_none());
        let protocols: Vec<_> =
            if is_open { scenario.protocols.iter().copied().map(Some).collect() } else { vec![None] };
        for board in boards {
            for protocol in &protocols {
                for transport in &scenario.transports {
                    let (file, board) = (Arc::clone(file), board.clone());
                    all.push(Draft { file, board, protocol: *protocol, transport: *transport });
                }
            }
        }
    }
    all.retain(|draft| selection.filters.iter().all(|filter| draft.name().contains(filter)));
    let in_shard = |number| selection.shard.is_none_or(|shard| shard.has(number));
    all.into_iter().enumerate().filter(|(number, _)| in_shard(*number)).map(|(_, draft)| draft).collect()
}

fn speaks_draft(draft: &Draft) -> bool {
    let chips = &draft.file.scenario.chips;
    chips.iter().any(|chip| chip.protocol.or(draft.protocol) == Some(Protocol::Draft))
}

fn rig(board: &str, needs_draft: bool, selection: &Selection) -> anyhow::Result<Rig> {
    let board = Board::load(board)?;
    let program = Program::find(&board.binary, selection.qemu.as_deref())?;
    let draft = needs_draft.then(|| program.presentation_of_draft(None, 256)).transpose()?;
    Ok(Rig { board, program, draft })
}

fn image(file: &scenario::File, board: &Board, selection: &Selection) -> anyhow::Result<PathBuf> {
    let named = |image: &str| PathBuf::from(image.replace("{board}", &board.name));
    let folder = file.path.parent().unwrap_or(Path::new(""));
    let image = match (&selection.image, &file.scenario.image) {
        (Some(image), _) => named(image),
        (None, Some(image)) => folder.join(named(image)),
        (None, None) => board.image(),
    };
    let hint = if image == board.image() {
        format!("build it with scripts/build {}", board.name)
    } else {
        "build it, or name another one with --image".to_owned()
    };
    ensure!(image.is_file(), "There is no image {}: {hint}", image.display());
    Ok(image)
}
