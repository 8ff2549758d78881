//! The Test Anything Protocol, version 14.

use core::fmt::{self, Write};

use crate::outcome::{Failure, Outcome};

/// Writes results.
pub(crate) struct Tap<'w> {
    out: &'w mut dyn Write,
    number: usize,
}

impl<'w> Tap<'w> {
    /// Begins with the number of results to come.
    pub(crate) fn begin(out: &'w mut dyn Write, plan: usize) -> Result<Self, fmt::Error> {
        writeln!(out, "TAP version 14")?;
        writeln!(out, "1..{plan}")?;
        Ok(Self { out, number: 0 })
    }

    /// A line that is no result.
    pub(crate) fn comment(&mut self, comment: fmt::Arguments<'_>) -> fmt::Result {
        writeln!(self.out, "# {comment}")
    }

    /// The next result.
    pub(crate) fn result(&mut self, name: &str, outcome: &Outcome) -> fmt::Result {
        self.number = self.number.saturating_add(1);
        let number = self.number;
        match outcome {
            Ok(()) => writeln!(self.out, "ok {number} - {name}"),
            Err(Failure::Skipped(reason)) => writeln!(self.out, "ok {number} - {name} # SKIP {reason}"),
            Err(Failure::Failed(what)) => {
                writeln!(self.out, "not ok {number} - {name}")?;
                writeln!(self.out, "  ---")?;
                writeln!(self.out, "  message: |")?;
                for line in what.lines() {
                    writeln!(self.out, "    {line}")?;
                }
                writeln!(self.out, "  ...")
            }
        }
    }
}
