//! For people.

use std::fmt::Write as _;
use std::time::Duration;

use super::{Told, Totals};
use crate::runner::case::{Failure, Verdict};

/// One line for a case.
pub fn line(told: &Told) -> String {
    let word = match &told.report.verdict {
        Verdict::Passed => "PASS",
        Verdict::Failed(_) => "FAIL",
        Verdict::Broken(_) => "BROKEN",
        Verdict::Skipped(reason) => return format!("SKIP {}: {reason}", told.report.name),
        Verdict::Interrupted => "STOPPED",
    };
    let report = &told.report;
    format!("{word} {} ({:.1} s, seed {})", report.name, report.took.as_secs_f64(), report.seed)
}

/// Everything about a case that did not pass; nothing about one that did.
pub fn details(told: &Told) -> String {
    match &told.report.verdict {
        Verdict::Passed | Verdict::Skipped(_) | Verdict::Interrupted => String::new(),
        Verdict::Broken(reason) => {
            format!("  it could not be run: {reason}\n  QEMU:      {}\n  again:     {}\n", told.report.qemu, told.again)
        }
        Verdict::Failed(failure) => failed(told, failure),
    }
}

fn failed(told: &Told, failure: &Failure) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "  {}: {}", told.place(failure), failure.what);
    if let Some(source) = told.source(failure) {
        let _ = writeln!(text, "    {source}");
    }
    let _ = writeln!(text, "  expected:  {}", failure.expected);
    let _ = writeln!(text, "  seen:      {}", failure.seen);
    let _ = writeln!(text, "  the last console lines:");
    if failure.console.is_empty() {
        let _ = writeln!(text, "    (none)");
    }
    for line in &failure.console {
        let _ = writeln!(text, "    | {line}");
    }
    if !failure.waveform.is_empty() {
        let (from, to) = (failure.when.start.as_secs_f64(), failure.when.end.as_secs_f64());
        let _ = writeln!(text, "  the lines from {from:.6} s to {to:.6} s:");
        for line in failure.waveform.lines() {
            let _ = writeln!(text, "    {line}");
        }
    }
    for line in &told.report.messages {
        let _ = writeln!(text, "  QEMU says: {line}");
    }
    let _ = writeln!(text, "  seed:      {}", told.report.seed);
    let _ = writeln!(text, "  QEMU:      {}", told.report.qemu);
    let _ = writeln!(text, "  again:     {}", told.again);
    text
}

/// The last line.
pub fn summary(totals: &Totals, took: Duration) -> String {
    let Totals { passed, failed, broken, skipped, interrupted } = totals;
    let mut text = format!("{passed} passed, {failed} failed");
    for (count, what) in [(broken, "could not be run"), (skipped, "skipped"), (interrupted, "stopped or never begun")] {
        if *count > 0 {
            let _ = write!(text, ", {count} {what}");
        }
    }
    let _ = write!(text, " ({:.1} s)", took.as_secs_f64());
    text
}
