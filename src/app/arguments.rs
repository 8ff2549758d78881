//! The boot arguments: words of the form `key=value`. Pure text work; lines are looked up later ([`super::selection`]).

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use log::LevelFilter;
use virtio_gpio::{InterruptType, Protocol};

/// What the boot arguments ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Arguments {
    /// Lines to blink.
    pub(super) blink: Lines<LineReference>,
    /// A full on-off period.
    pub(super) period: Duration,
    /// Lines to watch.
    pub(super) watch: Lines<WatchReference>,
    /// End after so many blinks of each line.
    pub(super) count: Option<u64>,
    /// End after so long.
    pub(super) run_for: Option<Duration>,
    /// Deadline of one request.
    pub(super) timeout: Duration,
    /// The most talkative level that is logged.
    pub(super) log: LevelFilter,
    /// The protocol, where it is not to be found out.
    pub(super) protocol: Option<Protocol>,
    /// Whether commands can be typed.
    pub(super) shell: bool,
    /// Words with a key that does not exist.
    pub(super) unknown: Vec<String>,
}

impl Default for Arguments {
    fn default() -> Self {
        Self {
            blink: Lines::Default,
            period: Duration::from_secs(1),
            watch: Lines::Default,
            count: None,
            run_for: None,
            timeout: Duration::from_secs(1),
            log: LevelFilter::Info,
            protocol: None,
            shell: false,
            unknown: Vec::new(),
        }
    }
}

/// A list of lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Lines<T> {
    /// Not given: the application chooses.
    Default,
    /// Given; empty for `none`.
    Named(Vec<T>),
}

/// A line as it is written: `4`, `button0`, `gpio1:4`, `gpio1:button0`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LineReference {
    /// The word as written, for messages.
    pub(super) word: String,
    /// The chip's number, if it is given.
    pub(super) chip: Option<usize>,
    /// The line's number or name.
    pub(super) line: NumberOrName,
}

/// How a line is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NumberOrName {
    /// By its number.
    Number(u32),
    /// By its name.
    Name(String),
}

/// A line to watch and what for: `button0:rising`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WatchReference {
    /// The line.
    pub(super) line: LineReference,
    /// What is watched for; both edges if nothing is written.
    pub(super) kind: InterruptType,
}

/// A value that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ArgumentError {
    /// The word of the boot arguments, or the part of it that is wrong.
    pub(super) word: String,
    /// What was expected.
    pub(super) expected: &'static str,
}

impl fmt::Display for ArgumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bad boot argument \"{}\": expected {}", self.word, self.expected)
    }
}

pub(super) const EXPECTED_DURATION: &str = "a duration above 0 such as 500ms, 2s or 250us";
const EXPECTED_LINES: &str = "lines as numbers or names, separated by commas, or none";
const EXPECTED_TRIGGER: &str = "a line as number or name, with :rising, :falling, :both, :high or :low behind it";

impl Arguments {
    /// Reads the boot arguments. Where a key is given twice, the last one counts.
    ///
    /// # Errors
    ///
    /// The first word with a value that its key cannot have.
    pub(super) fn parse(text: &str) -> Result<Self, ArgumentError> {
        let mut arguments = Self::default();
        for word in text.split_ascii_whitespace() {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            let bad = |expected| ArgumentError { word: word.to_string(), expected };
            match key {
                "blink" => arguments.blink = lines(value, line).ok_or_else(|| bad(EXPECTED_LINES))?,
                "watch" => arguments.watch = lines(value, watch).ok_or_else(|| bad(EXPECTED_TRIGGER))?,
                "period" => arguments.period = duration(value).ok_or_else(|| bad(EXPECTED_DURATION))?,
                "for" => arguments.run_for = Some(duration(value).ok_or_else(|| bad(EXPECTED_DURATION))?),
                "timeout" => arguments.timeout = duration(value).ok_or_else(|| bad(EXPECTED_DURATION))?,
                "count" => {
                    let count = number(value).filter(|&count| count > 0).ok_or_else(|| bad("a number from 1"))?;
                    arguments.count = Some(count);
                }
                "log" => {
                    arguments.log = match value {
                        "error" => LevelFilter::Error,
                        "warn" => LevelFilter::Warn,
                        "info" => LevelFilter::Info,
                        "debug" => LevelFilter::Debug,
                        "trace" => LevelFilter::Trace,
                        _ => return Err(bad("error, warn, info, debug or trace")),
                    };
                }
                "protocol" => {
                    arguments.protocol = match value {
                        "auto" => None,
                        "ratified" => Some(Protocol::Ratified),
                        "draft" => Some(Protocol::Draft),
                        _ => return Err(bad("auto, ratified or draft")),
                    };
                }
                "shell" => {
                    arguments.shell = match value {
                        "on" => true,
                        "off" => false,
                        _ => return Err(bad("on or off")),
                    };
                }
                _ => arguments.unknown.push(word.to_string()),
            }
        }
        Ok(arguments)
    }
}

/// Digits and nothing else: no sign, no space.
pub(super) fn number<T: core::str::FromStr>(text: &str) -> Option<T> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// A whole number with a unit; above 0.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, unit) = text.split_at_checked(digits)?;
    let digits: u64 = number(digits)?;
    let nanoseconds: u64 = match unit {
        "s" => 1_000_000_000,
        "ms" => 1_000_000,
        "us" => 1_000,
        _ => return None,
    };
    let nanoseconds = digits.checked_mul(nanoseconds)?;
    (nanoseconds > 0).then(|| Duration::from_nanos(nanoseconds))
}

fn lines<T>(text: &str, one: fn(&str) -> Option<T>) -> Option<Lines<T>> {
    if text == "none" {
        return Some(Lines::Named(Vec::new()));
    }
    text.split(',').map(one).collect::<Option<Vec<_>>>().map(Lines::Named)
}

/// A line, with or without its chip.
pub(super) fn line(word: &str) -> Option<LineReference> {
    let chip_and_line = word.strip_prefix("gpio").and_then(|rest| rest.split_once(':'));
    let prefixed = chip_and_line.and_then(|(chip, line)| Some((number::<usize>(chip)?, line)));
    let (chip, name) = prefixed.map_or((None, word), |(chip, name)| (Some(chip), name));
    if name.is_empty() {
        return None;
    }
    let all_digits = name.bytes().all(|byte| byte.is_ascii_digit());
    let line = if all_digits { NumberOrName::Number(number(name)?) } else { NumberOrName::Name(name.to_string()) };
    Some(LineReference { word: word.to_string(), chip, line })
}

/// What a line can be watched for.
const TRIGGERS: [(&str, InterruptType); 5] = [
    ("rising", InterruptType::RisingEdge),
    ("falling", InterruptType::FallingEdge),
    ("both", InterruptType::BothEdges),
    ("high", InterruptType::HighLevel),
    ("low", InterruptType::LowLevel),
];

/// What a line is to be watched for.
pub(super) fn trigger(word: &str) -> Option<InterruptType> {
    TRIGGERS.iter().find(|(name, _)| *name == word).map(|&(_, kind)| kind)
}

/// The word for what a line is watched for.
pub(super) fn trigger_name(kind: InterruptType) -> &'static str {
    TRIGGERS.iter().find(|&&(_, known)| known == kind).map_or("none", |&(name, _)| name)
}

fn watch(word: &str) -> Option<WatchReference> {
    let named = word.rsplit_once(':').and_then(|(name, kind)| Some((name, trigger(kind)?)));
    let (name, kind) = named.unwrap_or((word, InterruptType::BothEdges));
    line(name).map(|line| WatchReference { line, kind })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bad(text: &str) -> ArgumentError {
        Arguments::parse(text).unwrap_err()
    }

    fn named(word: &str) -> LineReference {
        LineReference { word: word.to_string(), chip: None, line: NumberOrName::Name(word.to_string()) }
    }

    #[test]
    fn nothing_given_is_the_default() {
        assert_eq!(Arguments::parse(""), Ok(Arguments::default()));
        assert_eq!(Arguments::parse("  \t "), Ok(Arguments::default()));
    }

    #[test]
    fn every_key_is_read() {
        let arguments = Arguments::parse(
            "blink=led0,1,gpio1:2,gpio1:x period=250us watch=button0,3:rising,gpio2:y:low count=7 for=2s timeout=800ms \
             log=trace protocol=draft shell=on",
        )
        .unwrap();
        assert_eq!(
            arguments.blink,
            Lines::Named(alloc::vec![
                named("led0"),
                LineReference { word: "1".to_string(), chip: None, line: NumberOrName::Number(1) },
                LineReference { word: "gpio1:2".to_string(), chip: Some(1), line: NumberOrName::Number(2) },
                LineReference { word: "gpio1:x".to_string(), chip: Some(1), line: NumberOrName::Name("x".to_string()) },
            ])
        );
        assert_eq!(arguments.period, Duration::from_micros(250));
        let Lines::Named(watch) = arguments.watch else { panic!() };
        let kinds: Vec<_> = watch.iter().map(|watch| watch.kind).collect();
        assert_eq!(kinds, [InterruptType::BothEdges, InterruptType::RisingEdge, InterruptType::LowLevel]);
        assert_eq!(watch[2].line.chip, Some(2));
        assert_eq!(watch[2].line.line, NumberOrName::Name("y".to_string()));
        assert_eq!(arguments.count, Some(7));
        assert_eq!(arguments.run_for, Some(Duration::from_secs(2)));
        assert_eq!(arguments.timeout, Duration::from_millis(800));
        assert_eq!(arguments.log, LevelFilter::Trace);
        assert_eq!(arguments.protocol, Some(Protocol::Draft));
        assert!(arguments.shell);
    }

    #[test]
    fn none_is_an_empty_list() {
        let arguments = Arguments::parse("blink=none watch=none").unwrap();
        assert_eq!((arguments.blink, arguments.watch), (Lines::Named(Vec::new()), Lines::Named(Vec::new())));
    }

    #[test]
    fn a_colon_in_a_name_is_not_a_trigger() {
        let Lines::Named(watch) = Arguments::parse("watch=a:b").unwrap().watch else { panic!() };
        assert_eq!(watch[0].line, named("a:b"));
        assert_eq!(watch[0].kind, InterruptType::BothEdges);
    }

    #[test]
    fn unknown_words_are_kept_for_a_warning() {
        let arguments = Arguments::parse("console=ttyAMA0 quiet period=2s").unwrap();
        assert_eq!(arguments.unknown, ["console=ttyAMA0", "quiet"]);
        assert_eq!(arguments.period, Duration::from_secs(2));
    }

    #[test]
    fn bad_values_are_named() {
        for text in [
            "period=abc",
            "period=",
            "period=0s",
            "period=5",
            "period=-1s",
            "period=1.5s",
            "period=1m",
            "period",
            "period=99999999999999999999s",
            "for=x",
            "timeout=0ms",
            "count=0",
            "count=-1",
            "count=+1",
            "count=",
            "log=loud",
            "protocol=v3",
            "shell=yes",
            "shell=",
            "shell",
            "blink=",
            "blink=led0,,led1",
            "blink=gpio0:",
            "watch=",
            "watch=:rising",
            "blink=99999999999",
        ] {
            let error = bad(text);
            assert_eq!(error.word, text);
            assert!(!error.expected.is_empty());
        }
        assert_eq!(
            bad("blink=led0 period=abc").to_string(),
            "bad boot argument \"period=abc\": expected a duration above 0 such as 500ms, 2s or 250us"
        );
    }
}
