//! The commands: their words and what they mean. Pure text work; lines are looked up later.

use alloc::format;
use alloc::string::String;
use core::fmt;
use core::time::Duration;

use virtio_gpio::{Direction, InterruptType, Level};

use crate::app::arguments::{EXPECTED_DURATION, LineReference, duration, line, number, trigger};

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    /// Shows all lines.
    Lines,
    /// Reads a line.
    Get(LineReference),
    /// Drives a line.
    Set(LineReference, Level),
    /// Asks for the direction, or changes it.
    Direction(LineReference, Option<Direction>),
    /// Watches a line, or ends that.
    Watch(LineReference, InterruptType),
    /// Changes the level so many times, with that full period if one is given.
    Toggle(LineReference, u32, Option<Duration>),
    /// Shows the counters.
    Statistics,
    /// Resets one device, or all.
    Reset(Option<usize>),
    /// Explains all commands, or one.
    Help(Option<&'static Description>),
    /// Ends the application.
    Exit,
}

/// What a word behind a command can be, for completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// A line.
    Line,
    /// A device.
    Chip,
    /// A command.
    Command,
    /// One of these.
    OneOf(&'static [&'static str]),
}

/// A command, for those who type.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Description {
    pub(super) name: &'static str,
    /// The words behind the name.
    arguments: &'static str,
    text: &'static str,
    /// What these words can be.
    pub(super) words: &'static [Word],
}

const LEVELS: &[&str] = &["0", "1", "low", "high", "off", "on"];
const DIRECTIONS: &[&str] = &["in", "out", "none"];
const KINDS: &[&str] = &["rising", "falling", "both", "high", "low", "none"];

/// All commands.
pub(super) const COMMANDS: &[Description] = &[
    Description { name: "lines", arguments: "", text: "show all lines", words: &[] },
    Description {
        name: "get",
        arguments: " LINE",
        text: "read a line; one that is not in use becomes an input",
        words: &[Word::Line],
    },
    Description {
        name: "set",
        arguments: " LINE 0|1|low|high|off|on",
        text: "drive a line; it becomes an output",
        words: &[Word::Line, Word::OneOf(LEVELS)],
    },
    Description {
        name: "dir",
        arguments: " LINE [in|out|none]",
        text: "ask the device for the direction, or change it; none gives the line back",
        words: &[Word::Line, Word::OneOf(DIRECTIONS)],
    },
    Description {
        name: "watch",
        arguments: " LINE [rising|falling|both|high|low|none]",
        text: "log the edges of a line, both by default; it becomes an input",
        words: &[Word::Line, Word::OneOf(KINDS)],
    },
    Description {
        name: "toggle",
        arguments: " LINE [TIMES [PERIOD]]",
        text: "change the level of an output, TIMES in a row, twice in a PERIOD such as 500ms; Ctrl-C stops",
        words: &[Word::Line],
    },
    Description { name: "stats", arguments: "", text: "show the counters", words: &[] },
    Description {
        name: "reset",
        arguments: " [gpioN]",
        text: "reset a device, or all; every line is restored",
        words: &[Word::Chip],
    },
    Description { name: "help", arguments: " [COMMAND]", text: "explain the commands", words: &[Word::Command] },
    Description { name: "exit", arguments: "", text: "end as at for=: outputs low, lines released", words: &[] },
];

/// `exit` by another name.
const QUIT: &str = "quit";

impl Description {
    /// The command with that name.
    pub(super) fn find(name: &str) -> Option<&'static Self> {
        let name = if name == QUIT { "exit" } else { name };
        COMMANDS.iter().find(|description| description.name == name)
    }

    /// How it is typed.
    pub(super) fn usage(&self) -> Usage<'_> {
        Usage(self)
    }
}

/// The form of a command: `get LINE`.
#[derive(Debug)]
pub(super) struct Usage<'a>(&'a Description);

impl fmt::Display for Usage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.0.name, self.0.arguments)
    }
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.usage(), self.text)
    }
}

impl Command {
    /// Reads a line. `None` if there is nothing on it.
    ///
    /// # Errors
    ///
    /// A message that says what was expected.
    pub(super) fn parse(text: &str) -> Result<Option<Self>, String> {
        let mut words = text.split_ascii_whitespace();
        let Some(name) = words.next() else { return Ok(None) };
        let description = find(name)?;
        let usage = description.usage();
        let missing = || format!("expected {usage}");
        let mut line = || {
            let word = words.next().ok_or_else(missing)?;
            line(word)
                .ok_or_else(|| format!("bad line \"{word}\": expected its name or number, or gpioN: and one of them"))
        };
        let command = match description.name {
            "lines" => Self::Lines,
            "get" => Self::Get(line()?),
            "set" => Self::Set(line()?, level(words.next().ok_or_else(missing)?)?),
            "dir" => Self::Direction(line()?, words.next().map(direction).transpose()?),
            "watch" => Self::Watch(line()?, words.next().map_or(Ok(InterruptType::BothEdges), kind)?),
            "toggle" => {
                Self::Toggle(line()?, words.next().map_or(Ok(1), times)?, words.next().map(period).transpose()?)
            }
            "stats" => Self::Statistics,
            "reset" => Self::Reset(words.next().map(chip).transpose()?),
            "help" => Self::Help(words.next().map(find).transpose()?),
            _ => Self::Exit,
        };
        match words.next() {
            Some(word) => Err(format!("unexpected \"{word}\": expected {usage}")),
            None => Ok(Some(command)),
        }
    }
}

fn find(name: &str) -> Result<&'static Description, String> {
    Description::find(name).ok_or_else(|| {
        let mut message = format!("unknown command \"{name}\": expected ");
        for (index, description) in COMMANDS.iter().enumerate() {
            message.push_str(if index == 0 { "" } else { ", " });
            message.push_str(description.name);
        }
        message
    })
}

fn level(word: &str) -> Result<Level, String> {
    match word {
        "0" | "low" | "off" => Ok(Level::Low),
        "1" | "high" | "on" => Ok(Level::High),
        _ => Err(format!("bad level \"{word}\": expected 0, 1, low, high, off or on")),
    }
}

fn direction(word: &str) -> Result<Direction, String> {
    match word {
        "in" => Ok(Direction::Input),
        "out" => Ok(Direction::Output),
        "none" => Ok(Direction::None),
        _ => Err(format!("bad direction \"{word}\": expected in, out or none")),
    }
}

fn kind(word: &str) -> Result<InterruptType, String> {
    match word {
        "none" => Ok(InterruptType::None),
        _ => trigger(word)
            .ok_or_else(|| format!("bad trigger \"{word}\": expected rising, falling, both, high, low or none")),
    }
}

fn times(word: &str) -> Result<u32, String> {
    number(word).filter(|&times| times > 0).ok_or_else(|| format!("bad count \"{word}\": expected a number from 1"))
}

fn period(word: &str) -> Result<Duration, String> {
    duration(word).ok_or_else(|| format!("bad period \"{word}\": expected {EXPECTED_DURATION}"))
}

fn chip(word: &str) -> Result<usize, String> {
    let chip = word.strip_prefix("gpio").filter(|digits| !digits.is_empty()).and_then(number);
    chip.ok_or_else(|| format!("bad device \"{word}\": expected gpio and a number, such as gpio0"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn command(text: &str) -> Command {
        Command::parse(text).unwrap().unwrap()
    }

    fn led() -> LineReference {
        line("led0").unwrap()
    }

    #[test]
    fn every_command_is_read() {
        let seconds = |n| Some(Duration::from_secs(n));
        for (text, expected) in [
            ("lines", Command::Lines),
            ("  get\t led0 ", Command::Get(led())),
            ("get gpio1:4", Command::Get(line("gpio1:4").unwrap())),
            ("set led0 1", Command::Set(led(), Level::High)),
            ("set led0 off", Command::Set(led(), Level::Low)),
            ("dir led0", Command::Direction(led(), None)),
            ("dir led0 out", Command::Direction(led(), Some(Direction::Output))),
            ("watch led0", Command::Watch(led(), InterruptType::BothEdges)),
            ("watch led0 low", Command::Watch(led(), InterruptType::LowLevel)),
            ("watch led0 none", Command::Watch(led(), InterruptType::None)),
            ("toggle led0", Command::Toggle(led(), 1, None)),
            ("toggle led0 10 2s", Command::Toggle(led(), 10, seconds(2))),
            ("stats", Command::Statistics),
            ("reset", Command::Reset(None)),
            ("reset gpio3", Command::Reset(Some(3))),
            ("help", Command::Help(None)),
            ("help get", Command::Help(Description::find("get"))),
            ("help quit", Command::Help(Description::find("exit"))),
            ("exit", Command::Exit),
            ("quit", Command::Exit),
        ] {
            assert_eq!(command(text), expected, "{text}");
        }
        assert_eq!(Command::parse(" \t "), Ok(None));
    }

    #[test]
    fn errors_say_what_was_expected() {
        for (text, message) in [
            (
                "got led0",
                "unknown command \"got\": expected lines, get, set, dir, watch, toggle, stats, reset, help, exit",
            ),
            ("get", "expected get LINE"),
            ("get gpio0:", "bad line \"gpio0:\": expected its name or number, or gpioN: and one of them"),
            ("set led0", "expected set LINE 0|1|low|high|off|on"),
            ("set led0 2", "bad level \"2\": expected 0, 1, low, high, off or on"),
            ("set led0 1 2", "unexpected \"2\": expected set LINE 0|1|low|high|off|on"),
            ("dir led0 up", "bad direction \"up\": expected in, out or none"),
            ("watch led0 edge", "bad trigger \"edge\": expected rising, falling, both, high, low or none"),
            ("toggle led0 0", "bad count \"0\": expected a number from 1"),
            ("toggle led0 -1", "bad count \"-1\": expected a number from 1"),
            ("toggle led0 1 5", "bad period \"5\": expected a duration above 0 such as 500ms, 2s or 250us"),
            ("reset 0", "bad device \"0\": expected gpio and a number, such as gpio0"),
            ("reset gpio", "bad device \"gpio\": expected gpio and a number, such as gpio0"),
            ("lines 1", "unexpected \"1\": expected lines"),
        ] {
            assert_eq!(Command::parse(text), Err(message.into()), "{text}");
        }
        assert!(Command::parse("help me").unwrap_err().starts_with("unknown command \"me\": expected lines"));
    }

    /// The last one is what is left over when a line is read.
    #[test]
    fn every_description_has_a_command() {
        for description in COMMANDS {
            let words = if description.arguments.starts_with(" LINE") { " led0 0" } else { "" };
            let is_exit = Command::parse(&format!("{}{words}", description.name)) == Ok(Some(Command::Exit));
            assert_eq!(is_exit, description.name == "exit", "{description}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_command_or_an_error(text in "[ -~]{0,128}") {
            if let Err(message) = Command::parse(&text) {
                prop_assert!(message.contains("expected "), "{}", message);
                prop_assert!(message.len() < 400);
            }
        }

        #[test]
        fn any_words_behind_a_command_are_read_or_refused(
            name in prop::sample::select(vec!["lines", "get", "set", "dir", "watch", "toggle", "stats", "reset", "help"]),
            words in "( [ -~]{0,12}){0,4}",
        ) {
            if let Err(message) = Command::parse(&format!("{name}{words}")) {
                prop_assert!(message.contains("expected "), "{}", message);
            }
        }
    }
}
