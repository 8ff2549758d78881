//! Whether each kind of step is used by a scenario, and each that expects something has one that fails.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is how a test fails")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use vgpio::scenario::schema;

/// The names of the steps, from the schema.
fn kinds() -> BTreeSet<String> {
    let schema: serde_json::Value = serde_json::from_str(&schema().unwrap()).unwrap();
    let steps = schema["definitions"]["Step"]["oneOf"].as_array().unwrap();
    steps.iter().flat_map(|step| step["properties"].as_object().unwrap().keys().cloned()).collect()
}

fn texts(folder: &Path) -> String {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { texts(&path) } else { fs::read_to_string(path).unwrap() }).collect()
}

fn missing(kinds: impl Iterator<Item = String>, text: &str) -> Vec<String> {
    kinds.filter(|kind| !text.contains(&format!("{{ {kind} = "))).collect()
}

#[test]
fn every_kind_of_step_is_used_by_a_scenario() {
    let kinds = kinds();
    assert!(kinds.contains("expect-duty") && kinds.len() > 15, "{kinds:?}");
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    assert_eq!(missing(kinds.into_iter(), &texts(&here.join("scenarios"))), Vec::<String>::new());
}

#[test]
fn every_kind_of_expectation_has_one_that_fails() {
    let expects = |kind: &String| ["wait-", "expect-", "fail-"].iter().any(|prefix| kind.starts_with(prefix));
    let verdicts = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("hil/verdicts.rs")).unwrap();
    assert_eq!(missing(kinds().into_iter().filter(expects), &verdicts), Vec::<String>::new());
}
