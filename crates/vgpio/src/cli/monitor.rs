//! `vgpio monitor`: edges as they come, in the manner of `gpiomon`.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::lines::{Selection, chip_name, listed, parse_period, place};
use super::output::{print, say};
use vgpio::control::message::{Edge, Edges, Happening, LineState, Request, Stamp, Topic};

/// Show the edges of lines of a running simulation as they come
///
/// The format is that of libgpiod's gpiomon; times are seconds since the simulation began. It ends with the simulation.
/// Exit status: 0 it ended as it should; 1 the simulation ended before --num-events; 2 it could not be done.
#[derive(Debug, Args)]
pub(crate) struct MonitorArguments {
    #[command(flatten)]
    selection: Selection,
    /// Say when the monitor is ready
    #[arg(long)]
    banner: bool,
    /// Which edges
    #[arg(short, long, value_enum, default_value_t = EdgesArgument::Both)]
    edges: EdgesArgument,
    /// End after so many edges
    #[arg(short, long, value_name = "NUMBER")]
    num_events: Option<u64>,
    /// End when there was no edge for that long (500ms, 2s; a number alone is milliseconds)
    #[arg(long, value_name = "PERIOD", value_parser = parse_period)]
    idle_timeout: Option<Duration>,
    /// How an edge is shown: %o number of the line, %l its name, %c its chip, %e 1 for rising and 2 for falling, %E the
    /// edge in words, %S the time
    #[arg(short = 'F', long, value_name = "FORMAT", verbatim_doc_comment)]
    format: Option<String>,
    /// Show nothing; wait only
    #[arg(short, long)]
    quiet: bool,
    /// The lines, by name or number; gpio1:led0 is one of the second chip [default: all]
    #[arg(value_name = "LINE")]
    lines: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum EdgesArgument {
    Rising,
    Falling,
    Both,
}

impl From<EdgesArgument> for Edges {
    fn from(edges: EdgesArgument) -> Self {
        match edges {
            EdgesArgument::Rising => Self::Rising,
            EdgesArgument::Falling => Self::Falling,
            EdgesArgument::Both => Self::Both,
        }
    }
}

pub(crate) fn monitor(arguments: &MonitorArguments) -> anyhow::Result<ExitCode> {
    let selection = &arguments.selection;
    let mut client = selection.connect()?;
    let lines = arguments.lines.iter().map(|line| selection.line(line)).collect::<Vec<_>>();
    let lines = Some(lines).filter(|lines| !lines.is_empty());
    client.ask(Request::Subscribe { events: vec![Topic::Change], lines, since: None })?;
    if arguments.banner {
        let names: Vec<_> = arguments.lines.iter().map(String::as_str).collect();
        print(format_args!("Monitoring {}...", listed(&names)))?;
    }
    let mut seen = 0u64;
    while arguments.num_events.is_none_or(|wanted| seen < wanted) {
        let Some((stamp, happening)) = client.event(arguments.idle_timeout)? else { break };
        match happening {
            Happening::Change { edge: Some(edge), line } if is_wanted(arguments, edge, &line) => {
                seen = seen.saturating_add(1);
                if !arguments.quiet {
                    print(shown(arguments, stamp, edge, &line))?;
                }
            }
            Happening::Lost { count } => {
                say(format_args!("too slow: {count} edges or other changes were left out here"));
            }
            Happening::End {} => {
                let wanted = arguments.num_events.unwrap_or_default();
                if seen < wanted {
                    say(format_args!("the simulation ended after {seen} of {wanted} edges"));
                    return Ok(ExitCode::from(1));
                }
                break;
            }
            _ => {}
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn is_wanted(arguments: &MonitorArguments, edge: Edge, line: &LineState) -> bool {
    let is_of_chip = arguments.selection.chip.is_none_or(|chip| chip == line.chip);
    is_of_chip && Edges::from(arguments.edges).include(edge)
}

fn shown(arguments: &MonitorArguments, stamp: Stamp, edge: Edge, line: &LineState) -> String {
    let time = seconds(stamp);
    match &arguments.format {
        None => format!("{time}\t{}\t{}", in_words(edge), place(&arguments.selection, line)),
        Some(format) => formatted(format, &time, edge, line),
    }
}

fn formatted(format: &str, time: &str, edge: Edge, line: &LineState) -> String {
    let mut text = String::new();
    let mut rest = format.chars();
    while let Some(character) = rest.next() {
        if character != '%' {
            text.push(character);
            continue;
        }
        match rest.next() {
            Some('o') => text.push_str(&line.line.to_string()),
            Some('l') if line.name.is_empty() => text.push_str("unnamed"),
            Some('l') => text.push_str(&line.name),
            Some('c') => text.push_str(&chip_name(line.chip)),
            Some('e') => text.push(if edge == Edge::Rising { '1' } else { '2' }),
            Some('E') => text.push_str(in_words(edge)),
            Some('S') => text.push_str(time),
            Some('%') | None => text.push('%'),
            Some(other) => text.extend(['%', other]),
        }
    }
    text
}

fn in_words(edge: Edge) -> &'static str {
    match edge {
        Edge::Rising => "rising",
        Edge::Falling => "falling",
    }
}

fn seconds(stamp: Stamp) -> String {
    let time = Duration::from_nanos(stamp.at_ns);
    format!("{}.{:09}", time.as_secs(), time.subsec_nanos())
}
