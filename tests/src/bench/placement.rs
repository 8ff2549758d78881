//! Where the processes run. It changes most figures several times over, so each figure belongs to one.

use std::io;

use clap::ValueEnum;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Where QEMU and the device run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Placement {
    /// Wherever the system likes, as long as the caller of this program allows it.
    None,
    /// All on one processor.
    One,
}

impl Placement {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::One => "one",
        }
    }

    /// Holds for this thread, and for the threads and processes that it starts from now on.
    pub(crate) fn apply(self) -> io::Result<()> {
        let allowed = allowed()?;
        let mut chosen = CpuSet::new();
        let processors = (0..CpuSet::MAX_CPU).filter(|&processor| allowed.is_set(processor));
        let processors = processors.take(if self == Self::One { 1 } else { CpuSet::MAX_CPU });
        processors.for_each(|processor| chosen.set(processor));
        Ok(sched_setaffinity(None, &chosen)?)
    }
}

/// The processors that this program was given, whatever it has made of them since.
fn allowed() -> io::Result<CpuSet> {
    use std::sync::OnceLock;
    static GIVEN: OnceLock<CpuSet> = OnceLock::new();
    let now = sched_getaffinity(None)?;
    Ok(*GIVEN.get_or_init(|| now))
}
