//! `vgpio wave`: a recorded waveform, drawn in the terminal or as a picture, or as JSON.

use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;
use rustix::termios::tcgetwinsize;

use super::output;
use vgpio::duration;
use vgpio::wave::text::Look;
use vgpio::wave::{Wave, Window, json, svg, text};

/// Draw a recorded waveform (VCD) in the terminal or as a picture, or print it as JSON
///
/// One row for each line, with the time above and the edges beside it. Lines that nobody used are left out unless they
/// are named. What drives a line is in a word, and in colours on a terminal (not with `NO_COLOR=1`): green for the
/// guest, yellow for the outside. Files of other tools can be drawn, too: every variable of one bit is a line.
///
/// A row is made of
///   ▁▔   low, high                      ·   nobody uses or drives the line
///   ╱╲   one edge                       │   two changes in one column
///   ▒    more of them than can be shown: look closer with --from and --to
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct WaveArguments {
    /// The waveform, as vgpio run and vgpio device record it; "-" for standard input
    file: PathBuf,
    /// Begin at that time of the file (1s, 500ms, 250us)
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    from: Option<Duration>,
    /// End at that time of the file
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    to: Option<Duration>,
    /// Only these lines, in this order
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    lines: Vec<String>,
    /// Columns of the drawing [default: those of the terminal, or 100]
    #[arg(long, value_name = "COLUMNS", conflicts_with_all = ["svg", "json"])]
    width: Option<u16>,
    /// Use nothing but ASCII
    #[arg(long, conflicts_with_all = ["svg", "json"])]
    ascii: bool,
    /// Make a picture instead, in that file, or on standard output without one
    #[arg(long, value_name = "FILE")]
    #[expect(clippy::option_option, reason = "an option, and its value")]
    svg: Option<Option<PathBuf>>,
    /// Print a JSON object for each line, with its changes, see docs/testing.md
    #[arg(long, conflicts_with = "svg")]
    json: bool,
}

pub(crate) fn wave(arguments: &WaveArguments) -> anyhow::Result<ExitCode> {
    let shown = arguments.file.display();
    let wave = read(&arguments.file).with_context(|| format!("Cannot read the waveform {shown}"))?;
    let window = window(&wave, arguments)?;
    match &arguments.svg {
        Some(Some(path)) => {
            let picture = svg::draw(&wave, &window);
            fs::write(path, picture).with_context(|| format!("Cannot write the picture {}", path.display()))?;
        }
        Some(None) => output::write(&mut io::stdout(), &svg::draw(&wave, &window))?,
        None if arguments.json => output::write(&mut io::stdout(), &json::write(&wave, &window)?)?,
        None => {
            let width = arguments.width.map_or_else(terminal_width, usize::from);
            let look = Look { width, ascii: arguments.ascii, colour: true };
            // It takes the colours out where they are not wanted.
            output::write(&mut anstream::stdout(), &text::draw_with(&wave, &window, look))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn read(path: &Path) -> anyhow::Result<Wave> {
    if path == Path::new("-") {
        return Ok(Wave::read(io::stdin().lock())?);
    }
    Ok(Wave::read(BufReader::new(File::open(path)?))?)
}

fn window(wave: &Wave, arguments: &WaveArguments) -> anyhow::Result<Window> {
    let (from, to) = (arguments.from.unwrap_or(wave.begin), arguments.to.unwrap_or(wave.end));
    ensure!(from <= wave.end, "The waveform ends at {:?}: --from {from:?} is behind that", wave.end);
    ensure!(from <= to, "There is nothing between --from {from:?} and --to {to:?}");
    let mut window = wave.between(from, to);
    if !arguments.lines.is_empty() {
        window.lines = arguments.lines.iter().map(|name| wave.find(name)).collect::<Result<_, _>>()?;
    }
    Ok(window)
}

fn terminal_width() -> usize {
    let size = tcgetwinsize(io::stdout()).ok().map(|size| usize::from(size.ws_col));
    size.filter(|width| *width > 0).unwrap_or(Look::default().width)
}
