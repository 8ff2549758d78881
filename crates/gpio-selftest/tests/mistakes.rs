//! The self-test passes on seams that are in order, and finds each mistake: by the check that is named after it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test fails")]

use gpio_selftest::sabotage::{Broken, Machinery, Mistake, TestClock};
use gpio_selftest::{Report, run};

/// The report and what was printed.
fn test(mistake: Option<Mistake>, machinery: Option<Machinery>) -> (Report, String) {
    let mut kernel = Broken::new(TestClock::new(), mistake);
    if let Some(machinery) = machinery {
        kernel = kernel.on(machinery);
    }
    let mut out = String::new();
    let report = run(&kernel, &mut out).unwrap();
    (report, out)
}

#[test]
fn all_is_well_where_the_seams_are_in_order() {
    for (machinery, skipped) in [(Machinery::Coherent, 8), (Machinery::Cached, 5), (Machinery::Weak, 3)] {
        let (report, out) = test(None, Some(machinery));
        assert!(report.has_passed(), "{machinery:?}\n{out}");
        assert_eq!(report.skipped, skipped, "{machinery:?}\n{out}");
    }
}

#[test]
fn each_mistake_is_found_by_the_check_that_names_it() {
    for mistake in Mistake::ALL {
        let (report, out) = test(Some(mistake), None);
        assert!(!report.has_passed(), "{mistake} is not found");
        let first = out.lines().find(|line| line.starts_with("not ok")).unwrap();
        assert!(first.ends_with(mistake.found_by()), "{mistake} is found by\n{first}");
    }
}
