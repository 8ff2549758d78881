//! Runs every input of the corpus through its target, without libFuzzer.

use std::fs;
use std::panic::catch_unwind;

use fuzz::TARGETS;
use fuzz::replay::{corpus, files};

/// Every target has inputs, and none of them breaks it.
#[test]
fn no_input_of_the_corpus_breaks_its_target() {
    let mut failed = Vec::new();
    for target in TARGETS {
        let folder = corpus(target.name);
        let files = files(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        assert!(!files.is_empty(), "{} is empty: nothing tests {}", folder.display(), target.name);
        for file in files {
            let input = fs::read(&file).unwrap();
            if catch_unwind(|| (target.run)(&input)).is_err() {
                failed.push(file);
            }
        }
    }
    assert!(failed.is_empty(), "these inputs break their targets: {failed:#?}");
}

/// A folder that belongs to no target is tested by nobody.
#[test]
fn every_folder_of_the_corpus_has_a_target() {
    let folder = corpus("");
    for entry in fs::read_dir(&folder).unwrap() {
        let name = entry.unwrap().file_name();
        assert!(TARGETS.iter().any(|target| *target.name == *name), "no target has the name {}", name.display());
    }
}
