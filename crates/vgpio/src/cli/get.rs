//! `vgpio get`: levels of lines, in the manner of `gpioget`.

use std::process::ExitCode;

use anyhow::bail;
use clap::Args;

use super::lines::Selection;
use super::output::print;
use vgpio::control::message::{Answer, Request};
use virtio_gpio::messages::Level;

/// Show the levels of lines of a running simulation, all at the same instant
///
/// The format is that of libgpiod's gpioget: "led0"=active "button0"=inactive
#[derive(Debug, Args)]
pub(crate) struct GetArguments {
    #[command(flatten)]
    selection: Selection,
    /// Show 0 and 1, and no names
    #[arg(long)]
    numeric: bool,
    /// The lines, by name or number; gpio1:led0 is one of the second chip
    #[arg(value_name = "LINE", required = true)]
    lines: Vec<String>,
}

pub(crate) fn get(arguments: &GetArguments) -> anyhow::Result<ExitCode> {
    let selection = &arguments.selection;
    let mut client = selection.connect()?;
    let requests = arguments.lines.iter().map(|line| Request::Get { line: selection.line(line) }).collect();
    let mut shown = Vec::new();
    for (word, answer) in arguments.lines.iter().zip(client.ask_together(requests)?) {
        let Answer::Get(line) = answer else { bail!("Not the answer to the question") };
        shown.push(match line.level.0 {
            level if arguments.numeric => level.to_string(),
            Level::High => format!("{}=active", selection.quoted(word)),
            Level::Low => format!("{}=inactive", selection.quoted(word)),
        });
    }
    print(shown.join(" "))?;
    Ok(ExitCode::SUCCESS)
}
