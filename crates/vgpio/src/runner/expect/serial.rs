//! Console lines.

use super::{Expectation, Outcome, Stream, console_in};
use crate::record::log::Event;
use crate::scenario::step::ExpectSerial;

/// A line comes, whatever comes before.
#[derive(Debug)]
pub(super) struct Wait {
    text: String,
    lines: usize,
}

impl Wait {
    pub(super) fn new(text: &str) -> Self {
        Self { text: text.to_owned(), lines: 0 }
    }
}

impl Expectation for Wait {
    fn stream(&self) -> Stream {
        Stream::Console
    }

    fn expected(&self) -> String {
        format!("a console line with {:?}", self.text)
    }

    fn event(&mut self, _: usize, event: &Event) -> Outcome {
        let Some(line) = console_in(event) else { return Outcome::Open };
        self.lines = self.lines.saturating_add(1);
        if line.contains(&self.text) { Outcome::Met } else { Outcome::Open }
    }

    fn seen(&self) -> String {
        match self.lines {
            0 => "no console line".to_owned(),
            1 => "one console line, without it".to_owned(),
            lines => format!("{lines} console lines, none with it"),
        }
    }
}

/// The next lines.
#[derive(Debug)]
pub(super) struct Next {
    lines: Vec<String>,
    among: Option<String>,
    come: usize,
}

impl Next {
    pub(super) fn new(expect: &ExpectSerial) -> Self {
        Self { lines: expect.lines.clone(), among: expect.among.clone(), come: 0 }
    }
}

impl Expectation for Next {
    fn stream(&self) -> Stream {
        Stream::Console
    }

    fn expected(&self) -> String {
        let texts: Vec<_> = self.lines.iter().map(|text| format!("{text:?}")).collect();
        let lines = match &self.among {
            Some(among) => format!("the next console lines with {among:?}"),
            None => "the next console lines".to_owned(),
        };
        format!("{lines} to have: {}", texts.join(", then "))
    }

    fn event(&mut self, _: usize, event: &Event) -> Outcome {
        let Some(line) = console_in(event) else { return Outcome::Open };
        if self.among.as_ref().is_some_and(|among| !line.contains(among)) {
            return Outcome::Open;
        }
        match self.lines.get(self.come) {
            Some(text) if line.contains(text) => self.come = self.come.saturating_add(1),
            Some(text) => return Outcome::Failed(format!("in place of {text:?}: {line:?}")),
            None => {}
        }
        if self.come >= self.lines.len() { Outcome::Met } else { Outcome::Open }
    }

    fn seen(&self) -> String {
        match self.come {
            0 => "none of them".to_owned(),
            come => format!("the first {come} of {}", self.lines.len()),
        }
    }
}
