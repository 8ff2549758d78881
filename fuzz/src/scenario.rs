//! Scenario files: any text is a scenario, or everything that is wrong with it can be shown at its place.

use std::path::Path;

use vgpio::scenario::File;

/// Reads one file.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match File::parse(Path::new("any.toml"), text.to_owned()) {
        Ok(file) => {
            assert_eq!(file.text, text);
            for step in file.scenario.setup.iter().chain(&file.scenario.steps) {
                let (line, column) = file.place(step.span().start);
                assert!(line >= 1 && column >= 1);
            }
        }
        Err(problems) => {
            assert!(!problems.problems.is_empty());
            for problem in &problems.problems {
                assert!(!problem.message.is_empty());
                if let Some(span) = &problem.span {
                    assert!(text.get(span.clone()).is_some(), "{span:?} is no part of the file");
                }
            }
            for colour in [false, true] {
                assert!(problems.render(colour).contains("any.toml"));
            }
        }
    }
}
