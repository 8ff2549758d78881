//! A waveform as text: one row for each line, under an axis of time.
//!
//! ```text
//!                   0.0 s           0.5 s           1.0 s
//!                   ┬───────────────┬───────────────┬──────
//! led0     guest    ╱▔▔▔▔▔▔▔╲▁▁▁▁▁▁▁╱▔▔▔▔▔▔▔╲▁▁▁▁▁▁▁╱▔▔▔▔▔  3↑ 2↓
//! ```

use std::fmt::{self, Display, Write};

use anstyle::{AnsiColor, Style};

use super::signal::{Column, Value, column_of};
use super::{Driver, Line, NO_LINES, Wave, Window, axis};

/// How a waveform is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Columns of the whole drawing. A drawing is never so narrow that nothing can be seen of the waveform.
    pub width: usize,
    /// Whether nothing but ASCII is used.
    pub ascii: bool,
    /// Whether colours tell who drives a line, as terminals have them.
    pub colour: bool,
}

impl Default for Look {
    fn default() -> Self {
        Self { width: 100, ascii: false, colour: false }
    }
}

/// What the drawing is made of.
struct Glyphs {
    low: char,
    high: char,
    rising: char,
    falling: char,
    unknown: char,
    /// Up and down again, or to or from an unknown level.
    narrow: char,
    /// More changes than can be shown.
    busy: char,
    mark: char,
    ruler: char,
    up: &'static str,
    down: &'static str,
    more: char,
}

const UNICODE: Glyphs = Glyphs {
    low: '▁',
    high: '▔',
    rising: '╱',
    falling: '╲',
    unknown: '·',
    narrow: '│',
    busy: '▒',
    mark: '┬',
    ruler: '─',
    up: "↑",
    down: "↓",
    more: '…',
};

const ASCII: Glyphs = Glyphs {
    low: '_',
    high: '-',
    rising: '/',
    falling: '\\',
    unknown: '.',
    narrow: '|',
    busy: '#',
    mark: '+',
    ruler: '-',
    up: "+",
    down: "-",
    more: '~',
};

/// Longer names are cut.
const LONGEST_NAME: usize = 24;
/// The least columns for the waveform itself.
const NARROWEST: usize = 16;
/// With fewer columns the rhythm of a line is left out.
const ROOMY: usize = 48;
/// Between two things beside each other.
const GAP: usize = 2;
/// Columns for each mark of the axis.
const MARK_EVERY: usize = 14;

/// Draws a part of a waveform, 100 columns wide, without colours.
pub fn draw(wave: &Wave, window: &Window) -> String {
    draw_with(wave, window, Look::default())
}

/// Draws a part of a waveform.
pub fn draw_with(wave: &Wave, window: &Window, look: Look) -> String {
    let glyphs = if look.ascii { ASCII } else { UNICODE };
    let rows: Vec<_> = wave.shown(window).map(|line| Row::new(line, window, &glyphs)).collect();
    let widest = |text: &dyn Fn(&Row<'_>) -> usize| rows.iter().map(text).max().unwrap_or_default();
    let names = widest(&|row| length(&row.name));
    let drivers = widest(&|row| length(row.driver));
    let margin: usize =
        [names, drivers].iter().filter(|width| **width > 0).map(|width| width.saturating_add(GAP)).sum();
    let [without_rhythm, with_rhythm] = [false, true].map(|rhythm| {
        let notes = widest(&|row| length(&row.note(rhythm)));
        look.width.saturating_sub(margin).saturating_sub(notes).saturating_sub(GAP)
    });
    let rhythm = with_rhythm >= ROOMY;
    let columns = if rhythm { with_rhythm } else { without_rhythm.max(NARROWEST) };

    let mut out = String::new();
    for row in axis(window, columns, &glyphs) {
        put(&mut out, format_args!("{:margin$}{row}", ""));
    }
    for row in &rows {
        let mut text = format!("{:names$}  ", row.name);
        if drivers > 0 {
            put_in(&mut text, format_args!("{:drivers$}  ", row.driver));
        }
        row.draw(&mut text, window, columns, &glyphs, look.colour);
        put(&mut out, format_args!("{text}  {}", row.note(rhythm)));
    }
    if rows.is_empty() {
        put(&mut out, format_args!("({NO_LINES})"));
    }
    out
}

/// Adds a line without blanks at its end.
fn put(out: &mut String, line: fmt::Arguments<'_>) {
    out.push_str(line.to_string().trim_end());
    out.push('\n');
}

fn length(text: &str) -> usize {
    text.chars().count()
}

fn put_in(text: &mut String, part: impl Display) {
    // A string takes everything.
    let _ = write!(text, "{part}");
}

/// The labels of the axis and, below, its marks.
fn axis(window: &Window, columns: usize, glyphs: &Glyphs) -> [String; 2] {
    let most = columns.checked_div(MARK_EVERY).unwrap_or_default();
    let mut labels = String::new();
    let mut ruler = vec![glyphs.ruler; columns];
    let span = window.to.saturating_sub(window.from);
    let mut free = 0;
    for mark in axis::marks(window.from, window.to, most) {
        let column = column_of(mark.at.saturating_sub(window.from), span, columns);
        if let Some(place) = ruler.get_mut(column) {
            *place = glyphs.mark;
        }
        // "µ" is the only character of a label that ASCII does not have.
        let label = if glyphs.mark.is_ascii() { mark.label.replace('µ', "u") } else { mark.label };
        let width = length(&label);
        // A label begins at its mark; the last one ends at the edge.
        let place = column.min(columns.saturating_sub(width));
        if place >= free {
            let gap = place.saturating_sub(length(&labels));
            put_in(&mut labels, format_args!("{:gap$}{label}", ""));
            free = place.saturating_add(width).saturating_add(1);
        }
    }
    [labels, ruler.into_iter().collect()]
}

/// One line, and what is written beside its waveform.
struct Row<'a> {
    line: &'a Line,
    name: String,
    driver: &'static str,
    edges: String,
    rhythm: Option<String>,
}

impl<'a> Row<'a> {
    fn new(line: &'a Line, window: &Window, glyphs: &Glyphs) -> Self {
        let printable = |c: char| if c.is_control() || (glyphs.mark.is_ascii() && !c.is_ascii()) { '?' } else { c };
        let mut name: String = line.name.chars().map(printable).collect();
        if length(&name) > LONGEST_NAME {
            name = name.chars().take(LONGEST_NAME.saturating_sub(1)).chain([glyphs.more]).collect();
        }
        let (edges, rhythm) = axis::note(&line.level.measure(window.from, window.to), glyphs.up, glyphs.down);
        Self { line, name, driver: drivers(line, window), edges, rhythm }
    }

    /// What is written on the right.
    fn note(&self, with_rhythm: bool) -> String {
        let rhythm = self.rhythm.as_ref().filter(|_| with_rhythm);
        [Some(&self.edges), rhythm].into_iter().flatten().cloned().collect::<Vec<_>>().join("  ")
    }

    fn draw(&self, text: &mut String, window: &Window, columns: usize, glyphs: &Glyphs, colour: bool) {
        let cells = self.line.level.columns(window.from, window.to, columns);
        let drivers = driver_of_columns(self.line, window, columns);
        let mut style = Style::new();
        for (cell, driver) in cells.iter().zip(drivers) {
            let next = if colour { style_of(driver) } else { style };
            if next != style {
                put_in(text, format_args!("{style:#}{next}"));
                style = next;
            }
            text.push(glyph(cell, glyphs));
        }
        put_in(text, format_args!("{style:#}"));
    }
}

fn glyph(cell: &Column, glyphs: &Glyphs) -> char {
    match (cell.changes, cell.before, cell.after) {
        (0, _, Value::Low) => glyphs.low,
        (0, _, Value::High) => glyphs.high,
        (0, _, Value::Unknown) => glyphs.unknown,
        (1, Value::Low, Value::High) => glyphs.rising,
        (1, Value::High, Value::Low) => glyphs.falling,
        (1 | 2, ..) => glyphs.narrow,
        _ => glyphs.busy,
    }
}

/// Who drives a line in a window, in a word.
fn drivers(line: &Line, window: &Window) -> &'static str {
    let times = std::iter::once(window.from).chain(line.handovers(window));
    let mut seen = [false; 2];
    for at in times {
        let [guest, outside] = &mut seen;
        match line.driver(at) {
            Driver::Guest => *guest = true,
            Driver::Outside => *outside = true,
            Driver::Nobody => {}
        }
    }
    match seen {
        [true, true] => "both",
        [true, false] => "guest",
        [false, true] => "outside",
        [false, false] => "",
    }
}

/// Who drives a line at the end of each column.
fn driver_of_columns(line: &Line, window: &Window, columns: usize) -> Vec<Driver> {
    let span = window.to.saturating_sub(window.from);
    let mut handovers = line.handovers(window).into_iter().peekable();
    let mut driver = line.driver(window.from);
    let mut drivers = Vec::with_capacity(columns);
    for number in 0..columns {
        while let Some(at) = handovers.next_if(|at| column_of(at.saturating_sub(window.from), span, columns) <= number)
        {
            driver = line.driver(at);
        }
        drivers.push(driver);
    }
    drivers
}

fn style_of(driver: Driver) -> Style {
    match driver {
        Driver::Guest => AnsiColor::Green.on_default(),
        Driver::Outside => AnsiColor::Yellow.on_default(),
        Driver::Nobody => Style::new().dimmed(),
    }
}
