//! What is wrong with a scenario file, and where.

use std::error::Error;
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet};

use super::suggest::nearest;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What.
    pub message: String,
    /// Where: bytes of the file.
    pub span: Option<Range<usize>>,
    /// What to do about it.
    pub help: Option<String>,
}

impl Problem {
    /// A problem at a place.
    pub fn new(span: Range<usize>, message: impl Into<String>, help: impl Into<String>) -> Self {
        let help = help.into();
        Self { message: message.into(), span: Some(span), help: Some(help).filter(|help| !help.is_empty()) }
    }

    /// A file that is no TOML, or whose values are of the wrong types.
    pub(super) fn of_toml(error: &toml::de::Error) -> Self {
        let (message, help) = explain(error.message());
        Self { message, span: error.span(), help }
    }
}

/// Puts the reader's words into ours, with a near miss where it lists what there is.
fn explain(message: &str) -> (String, Option<String>) {
    // Steps and faults are tables with one key.
    if message.starts_with("wanted exactly 1 element") || message.contains("unit variant, expected ") {
        let help = "it is a table with one key and its value, such as { delay = \"20ms\" }";
        return ("a name and its value are expected here".to_owned(), Some(help.to_owned()));
    }
    let Some((what, expected)) = message.split_once(", expected ") else {
        return match message.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
            Some(field) => (format!("{field:?} is missing"), Some(format!("add {field} = …"))),
            None => (message.trim_end().to_owned(), None),
        };
    };
    let expected = match expected {
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "i32" | "u32" | "u64" => "a whole number",
        other => other,
    };
    let quoted = |text: &str| text.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let unknown =
        what.strip_prefix("unknown field").map(|_| "key").or(what.strip_prefix("unknown variant").map(|_| "word"));
    let (words, known) = (quoted(what), quoted(expected));
    let (Some(kind), [word]) = (unknown, words.as_slice()) else {
        let what = what.trim_end_matches('.');
        let found = what.strip_prefix("invalid type: ").or_else(|| what.strip_prefix("invalid value: "));
        return match found {
            Some(found) => (format!("found {}, expected {expected}", found.replace('`', "")), None),
            None => (message.to_owned(), None),
        };
    };
    let help = match nearest(word, known.iter().map(String::as_str)) {
        Some(near) => format!("did you mean {near:?}?"),
        None => format!("expected one of: {}", known.join(", ")),
    };
    (format!("unknown {kind} {word:?}"), Some(help))
}

/// Everything that is wrong with a file.
#[derive(Debug, Clone)]
pub struct Problems {
    /// The file.
    pub path: PathBuf,
    /// Its text; empty where it cannot be read.
    pub text: String,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

impl Problems {
    pub(super) fn unreadable(path: &Path, error: &io::Error) -> Self {
        let problem = Problem { message: format!("this file cannot be read: {error}"), span: None, help: None };
        Self { path: path.to_owned(), text: String::new(), problems: vec![problem] }
    }

    /// The problems as text, each with its line and a marker below what is wrong.
    pub fn render(&self, colour: bool) -> String {
        let path = self.path.display().to_string();
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let render = |problem: &Problem| {
            let mut group = Level::ERROR
                .primary_title(problem.message.as_str())
                .elements(std::iter::empty::<annotate_snippets::Element<'_>>());
            group = match &problem.span {
                Some(span) => {
                    let annotation = AnnotationKind::Primary.span(span.clone());
                    group.element(Snippet::source(self.text.as_str()).path(path.as_str()).annotation(annotation))
                }
                None => group.element(Origin::path(path.as_str())),
            };
            if let Some(help) = &problem.help {
                group = group.element(Level::HELP.message(help.as_str()));
            }
            renderer.render(&[group])
        };
        self.problems.iter().map(render).collect::<Vec<_>>().join("\n\n")
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl Error for Problems {}

/// The line and the column of a byte of a text, from 1.
pub(super) fn place(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte).unwrap_or(text);
    let line = before.matches('\n').count().saturating_add(1);
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count().saturating_add(1);
    (line, column)
}
