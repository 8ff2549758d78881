//! What a run of scenarios is told as: text for people, `JUnit`'s XML, and JSON.

pub mod json;
pub mod junit;
pub mod text;

use std::sync::Arc;

use crate::qemu::command::quoted;
use crate::runner::case::{Failure, Report, Verdict};
use crate::runner::matrix::Case;
use crate::scenario;

/// A case that has ended, and all that is told of it.
#[derive(Debug)]
pub struct Told {
    /// How it went.
    pub report: Report,
    /// The scenario.
    pub file: Arc<scenario::File>,
    /// The command that runs it again.
    pub again: String,
}

impl Told {
    /// What there is to tell. `more` are the arguments that it takes beyond the case's own to run it again.
    pub fn new(case: &Case, report: Report, more: &[String]) -> Self {
        let (path, seed) = (report.path.display().to_string(), report.seed.to_string());
        let words = ["vgpio", "test", &path, "--filter", &report.name, "--seed", &seed];
        let words = words.into_iter().chain(more.iter().map(String::as_str));
        let again = words.map(quoted).collect::<Vec<_>>().join(" ");
        Self { report, file: Arc::clone(&case.file), again }
    }

    /// The verdict in a word.
    pub fn word(&self) -> &'static str {
        match self.report.verdict {
            Verdict::Passed => "passed",
            Verdict::Failed(_) => "failed",
            Verdict::Broken(_) => "broken",
            Verdict::Skipped(_) => "skipped",
            Verdict::Interrupted => "interrupted",
        }
    }

    /// Where a failing expectation stands: file, line and column.
    pub fn place(&self, failure: &Failure) -> String {
        let path = self.report.path.display();
        match &failure.span {
            Some(span) => {
                let (line, column) = self.file.place(span.start);
                format!("{path}:{line}:{column}")
            }
            None => path.to_string(),
        }
    }

    /// What a failing expectation is called in the file: its first line.
    fn source(&self, failure: &Failure) -> Option<&str> {
        let text = self.file.text.get(failure.span.clone()?)?;
        text.lines().next()
    }
}

/// How many cases ended how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// As expected.
    pub passed: usize,
    /// Not as expected.
    pub failed: usize,
    /// They could not be run.
    pub broken: usize,
    /// They need what the guest lacks.
    pub skipped: usize,
    /// Stopped, or never begun.
    pub interrupted: usize,
}

impl Totals {
    /// Counts one more.
    pub fn add(&mut self, verdict: &Verdict) {
        let count = match verdict {
            Verdict::Passed => &mut self.passed,
            Verdict::Failed(_) => &mut self.failed,
            Verdict::Broken(_) => &mut self.broken,
            Verdict::Skipped(_) => &mut self.skipped,
            Verdict::Interrupted => &mut self.interrupted,
        };
        *count = count.saturating_add(1);
    }
}
