//! Whether `docs/faults.md` tells the truth: every row is there, and every test that it names exists.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The rows of each letter.
const ROWS: [(char, usize); 6] = [('A', 15), ('B', 10), ('C', 9), ('D', 7), ('E', 8), ('F', 5)];

/// A row: its name, and the tests in-process and under QEMU, or why there are none.
struct Row {
    name: String,
    cells: [String; 2],
}

fn project() -> PathBuf {
    vgpio::qemu::board::project()
}

fn rows() -> Vec<Row> {
    let table = fs::read_to_string(project().join("docs/faults.md")).unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| ")).map(|line| {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let [_, name, _, _, in_process, hil, _] = cells.as_slice() else { panic!("no row of five cells: {line}") };
        Row { name: (*name).to_owned(), cells: [(*in_process).to_owned(), (*hil).to_owned()] }
    });
    // The first two are the head, whose name is empty, and the line below.
    rows.filter(|row| row.name.starts_with(|c: char| c.is_ascii_uppercase())).collect()
}

fn tests_in(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// All Rust sources below a folder.
fn sources(folder: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && path.file_name().is_none_or(|name| name != "target") {
            text += &sources(&path);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text += &fs::read_to_string(&path).unwrap();
        }
    }
    text
}

#[test]
fn every_row_is_there_once() {
    let expected = ROWS.iter().flat_map(|(letter, count)| (1..=*count).map(move |number| format!("{letter}{number}")));
    let seen: Vec<_> = rows().into_iter().map(|row| row.name).collect();
    assert_eq!(seen, expected.collect::<Vec<_>>());
}

#[test]
fn every_test_that_is_named_exists() {
    let in_process = ["crates/virtio-gpio", "src"].map(|folder| sources(&project().join(folder))).concat();
    let hil = sources(&project().join("tests/hil"));
    let mut missing = BTreeSet::new();
    for Row { name, cells: [inside, outside] } in rows() {
        let by_function = tests_in(&inside).into_iter().filter(|test| !in_process.contains(&format!("fn {test}()")));
        let by_case = tests_in(&outside).into_iter().filter(|test| !hil.contains(&format!("(\"{test}\", ")));
        missing.extend(by_function.chain(by_case).map(|test| format!("{name}: {test}")));
    }
    assert!(missing.is_empty(), "docs/faults.md names tests that do not exist: {missing:#?}");
}

/// The name of a test says which row it shows, so that it can be found from the table and back.
#[test]
fn names_carry_their_row_and_reasons_are_given() {
    let mut shown = 0;
    for Row { name, cells } in rows() {
        let row = name.to_lowercase();
        assert!(!tests_in(&cells[0]).is_empty(), "{name} has no test in-process");
        for cell in &cells {
            let tests = tests_in(cell);
            assert!(!tests.is_empty() || cell.starts_with('–'), "{name}: neither a test nor a reason: {cell}");
            if cell.starts_with('–') {
                continue;
            }
            for test in tests {
                assert!(test.split('_').any(|word| word == row), "{name}: {test} does not carry its row");
            }
        }
        shown += usize::from(!cells[1].starts_with('–'));
    }
    // Those that QEMU does not own.
    assert!(shown >= 40, "only {shown} rows under QEMU");
}
