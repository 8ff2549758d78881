//! A waveform as a picture: a self-contained SVG file, which is light or dark as its reader likes it.

use std::fmt::Write;
use std::time::Duration;

use super::signal::{Column, Value, column_of};
use super::{Driver, Line, NO_LINES, Wave, Window, axis};

/// Pixels of the waveform itself, which are also the columns in which many changes become one block.
const PLOT: u16 = 760;
const ROW: f64 = 34.0;
/// From the baseline of a row to its high level.
const SWING: f64 = 18.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 34.0;
const PADDING: f64 = 16.0;
/// The width of a character of the fixed font that labels are in.
const CHARACTER: f64 = 7.3;
/// Longer names are cut.
const LONGEST_NAME: usize = 32;
/// Pixels for each mark of the axis.
const MARKS: usize = 9;
/// More changes than that in one pixel are a block.
const DISTINCT: usize = 2;

/// Plain rules, because not every viewer knows variables.
const STYLE: &str = "\
text{font:12px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;fill:#1f2328}
.faint{fill:#59636e}
.card{fill:#ffffff;stroke:#d0d7de}
.grid{stroke:#e6eaef}
.guest,.outside,.idle,.unknown{fill:none;stroke-width:1.6;stroke-linejoin:round}
.guest{stroke:#0969da}
.outside{stroke:#bc4c00}
.idle{stroke:#818b98}
.unknown{stroke:#818b98;stroke-width:1.2;stroke-dasharray:2 4}
.block{stroke:none;opacity:.55}
.block.guest{fill:#0969da}
.block.outside{fill:#bc4c00}
.block.idle{fill:#818b98}
@media (prefers-color-scheme:dark){
text{fill:#e6edf3}
.faint{fill:#9198a1}
.card{fill:#0d1117;stroke:#3d444d}
.grid{stroke:#21262d}
.guest{stroke:#4493f8}
.outside{stroke:#f0883e}
.block.guest{fill:#4493f8}
.block.outside{fill:#f0883e}
}";

/// Draws a part of a waveform.
pub fn draw(wave: &Wave, window: &Window) -> String {
    let lines: Vec<_> = wave.shown(window).collect();
    let longest = lines.iter().map(|line| short(&line.name).chars().count()).max().unwrap_or_default();
    let notes: Vec<_> = lines.iter().map(|line| note(line, window)).collect();
    let widest = notes.iter().map(|note| note.chars().count()).max().unwrap_or_default();
    let plot = Plot { left: PADDING * 2.0 + pixels(longest), window };
    let width = plot.left + f64::from(PLOT) + PADDING * 2.0 + pixels(widest);
    let height = TOP + ROW * pixels_of(lines.len().max(1)) + BOTTOM;

    let mut out = Drawing::default();
    out.put(format_args!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" aria-label=\"Waveform\">\n<style>\n{STYLE}\n</style>\n\
         <rect class=\"card\" x=\".5\" y=\".5\" width=\"{:.0}\" height=\"{:.0}\" rx=\"8\"/>",
        width - 1.0,
        height - 1.0
    ));
    let bottom = height - BOTTOM;
    plot.axis(&mut out, bottom);
    if lines.iter().any(|line| line.output.is_some() || line.external.is_some()) {
        plot.legend(&mut out);
    }
    for (number, (line, note)) in lines.iter().zip(&notes).enumerate() {
        let base = TOP + ROW * (pixels_of(number) + 1.0) - (ROW - SWING) / 2.0;
        let (name, right) = (short(&line.name), plot.left + f64::from(PLOT) + PADDING);
        let middle = base - SWING / 2.0 + 4.0;
        out.put(format_args!("<g><title>{}: {}</title>", escaped(&line.name), escaped(note)));
        out.put(format_args!("<text x=\"{PADDING:.0}\" y=\"{middle:.1}\">{}</text>", escaped(&name)));
        plot.line(&mut out, line, base);
        out.put(format_args!("<text class=\"faint\" x=\"{right:.1}\" y=\"{middle:.1}\">{}</text></g>", escaped(note)));
    }
    if lines.is_empty() {
        out.put(format_args!(
            "<text class=\"faint\" x=\"{PADDING:.0}\" y=\"{:.1}\">{NO_LINES}</text>",
            TOP + ROW / 2.0
        ));
    }
    out.put(format_args!("</svg>"));
    out.0
}

/// A file that grows by lines.
#[derive(Default)]
struct Drawing(String);

impl Drawing {
    fn put(&mut self, line: std::fmt::Arguments<'_>) {
        // A string takes everything.
        let _ = writeln!(self.0, "{line}");
    }
}

/// Where time lies on the picture.
struct Plot<'a> {
    left: f64,
    window: &'a Window,
}

impl Plot<'_> {
    fn x(&self, at: Duration) -> f64 {
        let span = self.window.to.saturating_sub(self.window.from).as_secs_f64();
        let part = at.saturating_sub(self.window.from).as_secs_f64();
        self.left + if span > 0.0 { f64::from(PLOT) * part / span } else { 0.0 }
    }

    fn axis(&self, out: &mut Drawing, bottom: f64) {
        for mark in axis::marks(self.window.from, self.window.to, MARKS) {
            let x = self.x(mark.at);
            out.put(format_args!("<path class=\"grid\" d=\"M{x:.1} {TOP:.0}V{bottom:.1}\"/>"));
            let y = bottom + 18.0;
            out.put(format_args!(
                "<text class=\"faint\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{}</text>",
                mark.label
            ));
        }
    }

    fn legend(&self, out: &mut Drawing) {
        let mut x = self.left;
        for (class, text) in
            [("guest", "the guest drives"), ("outside", "the outside drives"), ("idle", "nobody drives")]
        {
            out.put(format_args!("<path class=\"{class}\" d=\"M{x:.1} 20h18\"/>"));
            out.put(format_args!("<text class=\"faint\" x=\"{:.1}\" y=\"24\">{text}</text>", x + 24.0));
            x += 24.0 + pixels(text.len()) + 24.0;
        }
    }

    /// Draws a line: exactly where its changes are apart, as a block where they are not.
    fn line(&self, out: &mut Drawing, line: &Line, base: f64) {
        let Window { from, to, .. } = *self.window;
        let columns = line.level.columns(from, to, PLOT.into());
        let mut times: Vec<_> = line.level.between(from, to).map(|change| (change.at, Some(change.value))).collect();
        times.extend(line.handovers(self.window).into_iter().map(|at| (at, None)));
        times.sort_by_key(|(at, _)| *at);

        let mut pen = Pen {
            out,
            base,
            x: self.left,
            value: line.level.at(from),
            driver: line.driver(from),
            path: None,
            block: None,
        };
        for (at, value) in times {
            let number = column_of(at.saturating_sub(from), to.saturating_sub(from), PLOT.into());
            let Some(column) = columns.get(number).filter(|column| column.changes > DISTINCT) else {
                pen.change(self.x(at), value.unwrap_or(pen.value), line.driver(at));
                continue;
            };
            let x = self.left + pixels_of(number);
            pen.block(x, column, line.driver(at));
        }
        pen.change(self.left + f64::from(PLOT), pen.value, pen.driver);
        pen.finish();
    }
}

/// Draws one line from left to right.
struct Pen<'a> {
    out: &'a mut Drawing,
    base: f64,
    x: f64,
    value: Value,
    driver: Driver,
    /// What is drawn in the same style: the style, and the path.
    path: Option<(&'static str, String)>,
    /// Pixels full of changes, one beside the other: the style, where they begin and end.
    block: Option<(&'static str, f64, f64)>,
}

impl Pen<'_> {
    fn y(&self, value: Value) -> f64 {
        match value {
            Value::Low => self.base,
            Value::High => self.base - SWING,
            Value::Unknown => self.base - SWING / 2.0,
        }
    }

    /// Goes on to `x`, where the line becomes another.
    fn change(&mut self, x: f64, value: Value, driver: Driver) {
        if x > self.x {
            self.draw(format_args!("H{x:.1}"));
        }
        self.x = x;
        if value != self.value {
            // The edge belongs to whoever made it.
            self.driver = driver;
            if value == Value::Unknown || self.value == Value::Unknown {
                self.lift();
            } else {
                let y = self.y(value);
                self.draw(format_args!("V{y:.1}"));
            }
        }
        (self.value, self.driver) = (value, driver);
    }

    /// Draws one pixel full of changes, once.
    fn block(&mut self, x: f64, column: &Column, driver: Driver) {
        let (class, end) = (class(Value::High, driver), x + 1.0);
        if end > self.x {
            if x > self.x {
                self.draw(format_args!("H{x:.1}"));
            }
            self.lift();
            let begin = match self.block.take() {
                Some((style, begin, until)) if style == class && until >= x => begin,
                other => {
                    self.block = other;
                    self.finish();
                    x
                }
            };
            self.block = Some((class, begin, end));
            (self.x, self.value) = (end, column.after);
        }
        self.driver = driver;
    }

    /// Adds to the path, and begins another one where the style is another.
    fn draw(&mut self, part: std::fmt::Arguments<'_>) {
        let class = class(self.value, self.driver);
        if self.path.as_ref().is_none_or(|(style, _)| *style != class) {
            self.lift();
            self.path = Some((class, format!("M{:.1} {:.1}", self.x, self.y(self.value))));
        }
        if let Some((_, path)) = &mut self.path {
            // A string takes everything.
            let _ = path.write_fmt(part);
        }
    }

    fn lift(&mut self) {
        if let Some((class, path)) = self.path.take() {
            self.out.put(format_args!("<path class=\"{class}\" d=\"{path}\"/>"));
        }
    }

    /// Puts down all that is not there yet.
    fn finish(&mut self) {
        self.lift();
        if let Some((class, begin, end)) = self.block.take() {
            // A single pixel is hard to see.
            let (top, width) = (self.base - SWING, (end - begin).max(2.0));
            self.out.put(format_args!(
                "<rect class=\"block {class}\" x=\"{begin:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{SWING:.0}\"/>"
            ));
        }
    }
}

fn class(value: Value, driver: Driver) -> &'static str {
    match (value, driver) {
        (Value::Unknown, _) => "unknown",
        (_, Driver::Guest) => "guest",
        (_, Driver::Outside) => "outside",
        (_, Driver::Nobody) => "idle",
    }
}

/// What is written beside a line.
fn note(line: &Line, window: &Window) -> String {
    let (edges, rhythm) = axis::note(&line.level.measure(window.from, window.to), "↑", "↓");
    [Some(edges), rhythm].into_iter().flatten().collect::<Vec<_>>().join(" · ")
}

fn pixels(characters: usize) -> f64 {
    CHARACTER * pixels_of(characters)
}

fn pixels_of(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

fn short(name: &str) -> String {
    if name.chars().count() <= LONGEST_NAME {
        return name.to_owned();
    }
    name.chars().take(LONGEST_NAME.saturating_sub(1)).chain(['…']).collect()
}

/// Text as XML has it.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c if c.is_control() => escaped.push('?'),
            c => escaped.push(c),
        }
    }
    escaped
}
