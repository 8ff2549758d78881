//! The line that is being typed: bytes in, text out. It knows no terminal and no command.
//!
//! Printable ASCII is text; everything else edits or is dropped. Nothing grows: a line has an end, and so has the history.

use heapless::{Deque, String};

/// The longest line.
pub(super) const LINE: usize = 128;
/// Lines that can be had back.
const HISTORY: usize = 8;
/// What a terminal shows of the line at most, so that it stays in one row.
const SHOWN: usize = 76;
const PROMPT: &str = "> ";
/// The prompt of a line whose beginning is not shown.
const PROMPT_OF_REST: &str = "< ";

/// A typed line.
pub(super) type Line = String<LINE>;
/// A prompt and what is shown of the line.
pub(super) type Row = String<{ SHOWN + PROMPT.len() }>;

/// What a byte has led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Typed {
    /// Nothing, or the text has changed.
    Edited,
    /// It has no effect, and the one who types should know.
    Refused,
    /// The line is complete: [`Editor::take`].
    Enter,
    /// The word is to be completed.
    Tab,
    /// The line is given up; it is empty now.
    Interrupt,
}

/// Where an escape sequence stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Escape {
    None,
    /// After ESC.
    Begun,
    /// After ESC [ or ESC O: ends with the first byte that is no parameter.
    Control,
}

/// A line that is being typed.
#[derive(Debug)]
pub(super) struct Editor {
    line: Line,
    escape: Escape,
    /// A carriage return was the last byte; a line feed behind it is the same key.
    after_return: bool,
    /// The newest line comes first.
    history: Deque<Line, HISTORY>,
    /// Which line of the history is shown: 1 for the newest, 0 for none.
    recalled: usize,
}

impl Editor {
    pub(super) const fn new() -> Self {
        Self { line: String::new(), escape: Escape::None, after_return: false, history: Deque::new(), recalled: 0 }
    }

    /// The text so far.
    pub(super) fn text(&self) -> &str {
        &self.line
    }

    /// Prompt and text as a row of a terminal; of a long line, its end.
    pub(super) fn row(&self) -> Row {
        let hidden = self.line.len().saturating_sub(SHOWN);
        let mut row = Row::new();
        // Both fit.
        let _ = row.push_str(if hidden > 0 { PROMPT_OF_REST } else { PROMPT });
        let _ = row.push_str(self.line.get(hidden..).unwrap_or_default());
        row
    }

    /// Takes a byte.
    pub(super) fn accept(&mut self, byte: u8) -> Typed {
        let after_return = core::mem::replace(&mut self.after_return, byte == b'\r');
        match (self.escape, byte) {
            (_, 0x1b) => self.escape = Escape::Begun,
            (Escape::Begun, b'[' | b'O') => self.escape = Escape::Control,
            (Escape::Begun, _) => self.escape = Escape::None,
            (Escape::Control, 0x20..=0x3f) => (),
            (Escape::Control, _) => {
                self.escape = Escape::None;
                return match byte {
                    b'A' => self.recall(self.recalled.saturating_add(1)),
                    b'B' => self.recall_later(),
                    _ => Typed::Edited,
                };
            }
            (Escape::None, b'\n') if after_return => (),
            (Escape::None, b'\r' | b'\n') => return Typed::Enter,
            (Escape::None, b'\t') => return Typed::Tab,
            (Escape::None, CTRL_C) => {
                self.clear();
                return Typed::Interrupt;
            }
            (Escape::None, CTRL_U) => self.clear(),
            (Escape::None, CTRL_P) => return self.recall(self.recalled.saturating_add(1)),
            (Escape::None, CTRL_N) => return self.recall_later(),
            (Escape::None, BACKSPACE | DELETE) => {
                if self.line.pop().is_none() {
                    return Typed::Refused;
                }
            }
            (Escape::None, b' '..=b'~') => return self.insert(char::from(byte).encode_utf8(&mut [0])),
            (Escape::None, _) => (),
        }
        Typed::Edited
    }

    /// Adds text at the end, all or nothing.
    pub(super) fn insert(&mut self, text: &str) -> Typed {
        match self.line.push_str(text) {
            Ok(()) => Typed::Edited,
            Err(_) => Typed::Refused,
        }
    }

    /// The complete line. The next one begins.
    pub(super) fn take(&mut self) -> Line {
        let line = core::mem::take(&mut self.line);
        self.recalled = 0;
        if !line.trim_ascii().is_empty() && self.history.front() != Some(&line) {
            if self.history.is_full() {
                self.history.pop_back();
            }
            // There is room now.
            let _ = self.history.push_front(line.clone());
        }
        line
    }

    fn clear(&mut self) {
        self.line.clear();
        self.recalled = 0;
    }

    fn recall_later(&mut self) -> Typed {
        match self.recalled {
            0 => Typed::Refused,
            number => self.recall(number.saturating_sub(1)),
        }
    }

    fn recall(&mut self, number: usize) -> Typed {
        let line = match number.checked_sub(1) {
            None => Line::new(),
            Some(index) => match self.history.iter().nth(index) {
                Some(line) => line.clone(),
                None => return Typed::Refused,
            },
        };
        self.line = line;
        self.recalled = number;
        Typed::Edited
    }
}

pub(super) const CTRL_C: u8 = 0x03;
const BACKSPACE: u8 = 0x08;
const CTRL_N: u8 = 0x0e;
const CTRL_P: u8 = 0x10;
const CTRL_U: u8 = 0x15;
const DELETE: u8 = 0x7f;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn type_in(editor: &mut Editor, bytes: &[u8]) -> Typed {
        bytes.iter().map(|&byte| editor.accept(byte)).last().unwrap()
    }

    fn typed(bytes: &[u8]) -> (std::string::String, Typed) {
        let mut editor = Editor::new();
        let last = type_in(&mut editor, bytes);
        (editor.text().into(), last)
    }

    #[test]
    fn text_is_edited() {
        for (bytes, text, last) in [
            (&b"get led0"[..], "get led0", Typed::Edited),
            (b"get\x7f\x08t", "gt", Typed::Edited),
            (b"\x7f", "", Typed::Refused),
            (b"get led0\x15set", "set", Typed::Edited),
            (b"get\x03", "", Typed::Interrupt),
            (b"ge\t", "ge", Typed::Tab),
            (b"g\xc3\xa4\0\x01\x9be", "ge", Typed::Edited),
            // Keys that mean nothing here: left, delete, F5, Alt-x.
            (b"a\x1b[D\x1b[3~\x1b[15;2~\x1bOPb\x1bxc", "abc", Typed::Edited),
        ] {
            assert_eq!(typed(bytes), (text.into(), last), "{bytes:?}");
        }
    }

    #[test]
    fn every_key_that_ends_a_line_ends_it_once() {
        for end in [&b"\r"[..], b"\n", b"\r\n"] {
            let mut editor = Editor::new();
            let mut lines = Vec::new();
            for &byte in &[b"a", end, b"b", end, end].concat() {
                if editor.accept(byte) == Typed::Enter {
                    lines.push(editor.take());
                }
            }
            assert_eq!(lines, ["a", "b", ""], "{end:?}");
        }
    }

    #[test]
    fn lines_can_be_had_back() {
        let mut editor = Editor::new();
        for line in ["one", "two", "two", "  ", "three"] {
            type_in(&mut editor, line.as_bytes());
            editor.take();
        }
        let mut key = |key: &[u8]| {
            let last = type_in(&mut editor, key);
            (std::string::String::from(editor.text()), last)
        };
        let edited = |text: &str| (text.into(), Typed::Edited);
        assert_eq!(key(b"\x1b[B"), (std::string::String::new(), Typed::Refused));
        assert_eq!(key(b"\x1b[A"), edited("three"));
        assert_eq!(key(b"\x1bOA"), edited("two"));
        assert_eq!(key(b"\x10"), edited("one"));
        assert_eq!(key(b"\x1b[A"), ("one".into(), Typed::Refused));
        assert_eq!(key(b"\x0e"), edited("two"));
        assert_eq!(key(b"!"), edited("two!"));
        assert_eq!(key(b"\x1b[B\x1b[B"), edited(""));
    }

    #[test]
    fn lines_have_an_end() {
        let mut editor = Editor::new();
        for _ in 0..1000 {
            editor.accept(b'x');
        }
        assert_eq!((editor.text().len(), editor.accept(b'x')), (LINE, Typed::Refused));
        let row = editor.row();
        assert!(row.starts_with("< xx") && row.len() == SHOWN + 2, "{row}");
        for number in 0..100 {
            editor.accept(CTRL_U);
            editor.insert(&number.to_string());
            editor.take();
        }
        let recalled = (0..100).take_while(|_| editor.accept(CTRL_P) == Typed::Edited).count();
        assert_eq!((recalled, editor.text()), (HISTORY, "92"));
    }

    proptest! {
        #[test]
        fn any_bytes_leave_printable_text_of_bounded_length(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            let mut editor = Editor::new();
            for byte in bytes {
                if editor.accept(byte) == Typed::Enter {
                    editor.take();
                }
                let row = editor.row();
                prop_assert!(row.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
                prop_assert!(editor.text().len() <= LINE && row.len() <= row.capacity());
            }
        }
    }
}
