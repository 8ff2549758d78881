//! JSON, one object on each line. Every object has a `schema`: [`SCHEMA`], which changes when a field changes its meaning.

use std::time::Duration;

use serde::Serialize;

use super::{Told, Totals};
use crate::runner::case::Verdict;

/// The version of these objects.
pub const SCHEMA: &str = "vgpio.test/1";

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
enum Object<'a> {
    Case {
        schema: &'a str,
        name: &'a str,
        file: String,
        verdict: &'a str,
        seed: u64,
        seconds: f64,
        #[serde(skip_serializing_if = "Option::is_none")]
        failure: Option<Failure<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<&'a str>,
        qemu: &'a str,
        again: &'a str,
    },
    Summary {
        schema: &'a str,
        passed: usize,
        failed: usize,
        broken: usize,
        skipped: usize,
        interrupted: usize,
        seconds: f64,
    },
}

#[derive(Serialize)]
struct Failure<'a> {
    what: &'a str,
    place: String,
    expected: &'a str,
    seen: &'a str,
    from_seconds: f64,
    to_seconds: f64,
    console: &'a [String],
    waveform: &'a str,
}

/// The object of a case.
///
/// # Errors
///
/// When it cannot be written as JSON.
pub fn case(told: &Told) -> serde_json::Result<String> {
    let report = &told.report;
    let failure = match &report.verdict {
        Verdict::Failed(failure) => Some(Failure {
            what: &failure.what,
            place: told.place(failure),
            expected: &failure.expected,
            seen: &failure.seen,
            from_seconds: failure.when.start.as_secs_f64(),
            to_seconds: failure.when.end.as_secs_f64(),
            console: &failure.console,
            waveform: &failure.waveform,
        }),
        _ => None,
    };
    let reason = match &report.verdict {
        Verdict::Broken(reason) | Verdict::Skipped(reason) => Some(reason.as_str()),
        _ => None,
    };
    serde_json::to_string(&Object::Case {
        schema: SCHEMA,
        name: &report.name,
        file: report.path.display().to_string(),
        verdict: told.word(),
        seed: report.seed,
        seconds: report.took.as_secs_f64(),
        failure,
        reason,
        qemu: &report.qemu,
        again: &told.again,
    })
}

/// The last object.
///
/// # Errors
///
/// When it cannot be written as JSON.
pub fn summary(totals: &Totals, took: Duration) -> serde_json::Result<String> {
    let Totals { passed, failed, broken, skipped, interrupted } = *totals;
    serde_json::to_string(&Object::Summary {
        schema: SCHEMA,
        passed,
        failed,
        broken,
        skipped,
        interrupted,
        seconds: took.as_secs_f64(),
    })
}
