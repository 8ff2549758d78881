//! The last row of a terminal, where someone types, kept whole below the lines that are written meanwhile.

use heapless::String;

/// The longest row that is kept. Whoever shows a row keeps it shorter than the terminal is wide.
const ROW: usize = 128;
/// Empties the row. What follows the last carriage return of a line is the line, for programs that read along.
const ERASE: &str = "\x1b[2K\r";
/// Takes the last character away.
const RUB_OUT: &str = "\x08 \x08";
/// Up to so many characters are taken away singly; more, with the whole row.
const RUB_OUTS: usize = 4;

/// What the last row shows.
#[derive(Debug)]
pub(super) struct Screen {
    row: String<ROW>,
}

impl Screen {
    pub(super) const fn new() -> Self {
        Self { row: String::new() }
    }

    /// Makes the row show `text`, of printable ASCII. What does not fit is cut.
    pub(super) fn show(&mut self, text: &str, write: &mut dyn FnMut(&str)) {
        let text = text.get(..ROW).unwrap_or(text);
        if let Some(more) = text.strip_prefix(self.row.as_str()) {
            write(more);
        } else if let Some(less) = self.row.strip_prefix(text).filter(|less| less.len() <= RUB_OUTS) {
            (0..less.len()).for_each(|_| write(RUB_OUT));
        } else {
            write(ERASE);
            write(text);
        }
        self.row.clear();
        // It was cut to fit.
        let _ = self.row.push_str(text);
    }

    /// Leaves the row as it is; the next one is empty. `end` is what ends a row.
    pub(super) fn enter(&mut self, end: &str, write: &mut dyn FnMut(&str)) {
        self.row.clear();
        write(end);
    }

    /// Empties the row for a line that is to be written; [`reveal`](Self::reveal) shows it again behind the line.
    pub(super) fn hide(&self, write: &mut dyn FnMut(&str)) {
        if !self.row.is_empty() {
            write(ERASE);
        }
    }

    /// Shows what was hidden.
    pub(super) fn reveal(&self, write: &mut dyn FnMut(&str)) {
        write(&self.row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(screen: &mut Screen, text: &str) -> std::string::String {
        let mut written = std::string::String::new();
        screen.show(text, &mut |text| written.push_str(text));
        written
    }

    #[test]
    fn only_what_changes_is_written() {
        let mut screen = Screen::new();
        assert_eq!(written(&mut screen, "> "), "> ");
        assert_eq!(written(&mut screen, "> g"), "g");
        assert_eq!(written(&mut screen, "> get led0"), "et led0");
        assert_eq!(written(&mut screen, "> get led"), "\x08 \x08");
        assert_eq!(written(&mut screen, "> get led"), "");
        assert_eq!(written(&mut screen, "> "), "\x1b[2K\r> ");
        assert_eq!(written(&mut screen, ""), "\x08 \x08\x08 \x08");
    }

    #[test]
    fn a_line_comes_before_the_row() {
        let mut screen = Screen::new();
        written(&mut screen, "> get");
        let mut seen = std::string::String::new();
        screen.hide(&mut |text| seen.push_str(text));
        seen.push_str("line\n");
        screen.reveal(&mut |text| seen.push_str(text));
        assert_eq!(seen, "\x1b[2K\rline\n> get");
        seen.clear();
        screen.enter("\n", &mut |text| seen.push_str(text));
        screen.hide(&mut |text| seen.push_str(text));
        screen.reveal(&mut |text| seen.push_str(text));
        assert_eq!(seen, "\n");
    }

    #[test]
    fn rows_have_an_end() {
        let mut screen = Screen::new();
        assert_eq!(written(&mut screen, &"x".repeat(1000)).len(), ROW);
        assert_eq!(written(&mut screen, "x").len(), ERASE.len() + 1);
    }
}
