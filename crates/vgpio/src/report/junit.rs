//! `JUnit`'s XML, for CI.

use std::io;
use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::{Told, text};
use crate::runner::case::Verdict;

/// Writes what there is to tell, one test suite for each scenario.
///
/// # Errors
///
/// Those of the writer.
pub fn write(told: &[Told], took: Duration, writer: impl io::Write) -> io::Result<()> {
    let mut report = Report::new("vgpio test");
    report.set_time(took);
    let mut suites: Vec<TestSuite> = Vec::new();
    for told in told {
        let name = told.file.name();
        let case = case(told, &name);
        if let Some(suite) = suites.iter_mut().find(|suite| suite.name.as_str() == name) {
            suite.add_test_case(case);
        } else {
            let mut suite = TestSuite::new(name);
            suite.add_test_case(case);
            suites.push(suite);
        }
    }
    report.add_test_suites(suites);
    report.serialize(writer).map_err(io::Error::other)
}

fn case(told: &Told, scenario: &str) -> TestCase {
    let unsuccessful = |kind, message: &str| {
        let mut status = TestCaseStatus::non_success(kind);
        status.set_message(message).set_type(told.word()).set_description(text::details(told));
        status
    };
    let status = match &told.report.verdict {
        Verdict::Passed => TestCaseStatus::success(),
        Verdict::Skipped(reason) => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(reason.as_str());
            status
        }
        Verdict::Failed(failure) => {
            let message = format!("{}: expected {}, seen {}", failure.what, failure.expected, failure.seen);
            unsuccessful(NonSuccessKind::Failure, &message)
        }
        Verdict::Broken(reason) => unsuccessful(NonSuccessKind::Error, reason),
        Verdict::Interrupted => unsuccessful(NonSuccessKind::Error, "stopped"),
    };
    let mut case = TestCase::new(format!("{} seed {}", told.report.name, told.report.seed), status);
    case.set_classname(scenario).set_time(told.report.took);
    case.set_system_out(told.report.console.join("\n"));
    case
}
