//! `vgpio info`: the chips and lines of a running simulation, in the manner of `gpioinfo`.

use std::process::ExitCode;

use anyhow::bail;
use clap::Args;

use super::lines::{Selection, chip_name};
use super::output::print;
use vgpio::control::message::{Answer, ChipState, Driver, LineState, Request, Use};

/// Show the chips and lines of a running simulation
///
/// The format is that of libgpiod's gpioinfo. A line that the guest uses has consumer="guest". At the end stand the level,
/// and who drives the line: the guest, the outside, or nobody.
#[derive(Debug, Args)]
pub(crate) struct InfoArguments {
    #[command(flatten)]
    selection: Selection,
    /// The lines, by name or number; gpio1:led0 is one of the second chip [default: all]
    #[arg(value_name = "LINE")]
    lines: Vec<String>,
}

pub(crate) fn info(arguments: &InfoArguments) -> anyhow::Result<ExitCode> {
    let selection = &arguments.selection;
    let mut client = selection.connect()?;
    let mut shown = Vec::new();
    if arguments.lines.is_empty() {
        let (_, Answer::Info { chips }) = client.ask(Request::Info {})? else {
            bail!("Not the answer to the question")
        };
        let count = chips.len();
        for chip in chips.iter().filter(|chip| selection.chip.is_none_or(|number| number == chip.chip)) {
            shown.extend(table(selection, chip));
        }
        if let Some(chip) = selection.chip.filter(|chip| *chip >= count) {
            bail!("There is no chip {chip}; there are {count}, counted from 0");
        }
    } else {
        let requests = arguments.lines.iter().map(|line| Request::Get { line: selection.line(line) }).collect();
        for answer in client.ask_together(requests)? {
            let Answer::Get(line) = answer else { bail!("Not the answer to the question") };
            shown.push(format!("{} {}\t{}", chip_name(line.chip), line.line, description(selection, &line)));
        }
    }
    print(shown.join("\n"))?;
    Ok(ExitCode::SUCCESS)
}

fn table(selection: &Selection, chip: &ChipState) -> Vec<String> {
    let head = format!("{} - {} lines:", chip_name(chip.chip), chip.lines.len());
    let lines = chip.lines.iter().map(|line| format!("\tline {:>3}:\t{}", line.line, description(selection, line)));
    std::iter::once(head).chain(lines).collect()
}

fn description(selection: &Selection, line: &LineState) -> String {
    let name = if line.name.is_empty() { "unnamed".to_owned() } else { selection.quoted(&line.name) };
    let consumer = format!(" consumer={}", selection.quoted("guest"));
    let (direction, consumer) = match line.direction {
        Use::None => ("unused", ""),
        Use::Input => ("input", consumer.as_str()),
        Use::Output => ("output", consumer.as_str()),
    };
    let driver = match line.driver {
        Driver::Guest => "guest",
        Driver::Outside => "outside",
        Driver::Nobody => "nobody",
    };
    let host = line.host.as_ref().map(|host| format!(" host={host}")).unwrap_or_default();
    format!("{name:<16}\t{direction}{consumer} level={} driver={driver}{host}", u8::from(line.level))
}
