//! Reading a value change dump (IEEE 1364).

use std::collections::HashMap;
use std::fmt;
use std::io::{self, BufRead};
use std::time::Duration;

use vcd::{Command, IdCode, ParseError, Parser, TimescaleUnit};

use super::signal::{Signal, Value};
use super::{Line, Wave};
use crate::record::vcd::SUFFIXES;

/// What cannot be understood, or read.
#[derive(Debug)]
pub struct ReadError {
    line: u64,
    reason: Reason,
}

#[derive(Debug)]
enum Reason {
    /// What the parser says.
    Syntax(String),
    NoTimescale,
    Backwards {
        from: u64,
        to: u64,
    },
    Undeclared,
    NoDefinitions,
    Unreadable(io::Error),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.line;
        match &self.reason {
            Reason::Syntax(reason) => write!(f, "line {line}: {reason}"),
            Reason::NoTimescale => write!(f, "line {line}: there is no $timescale before $enddefinitions"),
            Reason::Backwards { from, to } => write!(f, "line {line}: time goes backwards, from #{from} to #{to}"),
            Reason::Undeclared => write!(f, "line {line}: a variable changes that was not declared"),
            Reason::NoDefinitions => f.write_str("it ends before $enddefinitions: it is no value change dump"),
            Reason::Unreadable(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ReadError {}

impl ReadError {
    fn from_parser(error: io::Error, line: u64) -> Self {
        if let Some(parse) = error.get_ref().and_then(|inner| inner.downcast_ref::<ParseError>()) {
            return Self { line: parse.line(), reason: Reason::Syntax(parse.kind().to_string()) };
        }
        let reason = match error.kind() {
            io::ErrorKind::UnexpectedEof => Reason::Syntax("the file ends in the middle of something".to_owned()),
            _ => Reason::Unreadable(error),
        };
        Self { line, reason }
    }
}

/// A variable of one bit.
struct Variable {
    name: String,
    signal: Signal,
}

/// What was read so far.
#[derive(Default)]
struct Reading {
    scopes: Vec<String>,
    variables: Vec<Variable>,
    /// Several variables may be one and the same signal; `None` is one that is not shown.
    codes: HashMap<IdCode, Option<Vec<usize>>>,
    left_out: usize,
    /// Femtoseconds of one step of time.
    scale: Option<u128>,
    defined: bool,
    time: u64,
    begin: Option<Duration>,
}

impl Wave {
    /// Reads a value change dump, ours or that of another tool.
    ///
    /// Variables of one bit are lines; `NAME_out` and `NAME_ext` tell of the line `NAME` who drives it. Times are rounded
    /// down to whole nanoseconds.
    ///
    /// # Errors
    ///
    /// [`ReadError`]; its message has the line.
    pub fn read(input: impl BufRead) -> Result<Self, ReadError> {
        // The last thing in a file ends with it, as it would with a line.
        let mut parser = Parser::new(input.chain(&b"\n"[..]));
        let mut reading = Reading::default();
        while let Some(command) = parser.next() {
            let line = parser.line();
            let command = command.map_err(|error| ReadError::from_parser(error, line))?;
            reading.take(command).map_err(|reason| ReadError { line, reason })?;
        }
        if !reading.defined {
            return Err(ReadError { line: parser.line(), reason: Reason::NoDefinitions });
        }
        Ok(reading.finish())
    }
}

impl Reading {
    fn take(&mut self, command: Command) -> Result<(), Reason> {
        match command {
            Command::Timescale(count, unit) => {
                self.scale = Some(u128::from(count).saturating_mul(femtoseconds(unit)));
            }
            Command::ScopeDef(_, name) => self.scopes.push(name),
            Command::Upscope => _ = self.scopes.pop(),
            Command::VarDef(_, size, code, name, index) => {
                let index = index.map(|index| index.to_string()).unwrap_or_default();
                self.declare(size, code, &format!("{name}{index}"));
            }
            Command::Enddefinitions => {
                self.scale.ok_or(Reason::NoTimescale)?;
                self.defined = true;
            }
            Command::Timestamp(time) => {
                if time < self.time {
                    return Err(Reason::Backwards { from: self.time, to: time });
                }
                self.time = time;
                let now = self.now();
                self.begin.get_or_insert(now);
            }
            Command::ChangeScalar(code, value) => return self.change(code, value),
            Command::ChangeVector(code, bits) => {
                return self.change(code, bits.iter().last().unwrap_or(vcd::Value::X));
            }
            Command::ChangeReal(code, _) | Command::ChangeString(code, _) => {
                return self.change(code, vcd::Value::X);
            }
            _ => {}
        }
        Ok(())
    }

    fn declare(&mut self, size: u32, code: IdCode, name: &str) {
        if size != 1 {
            self.left_out = self.left_out.saturating_add(1);
            self.codes.entry(code).or_default();
            return;
        }
        // The outermost scope is the whole file's in most files, and says nothing.
        let path = self.scopes.iter().skip(1).map(String::as_str).chain([name]);
        let name = path.collect::<Vec<_>>().join(".");
        let here = self.variables.len();
        self.codes.entry(code).or_default().get_or_insert_default().push(here);
        self.variables.push(Variable { name, signal: Signal::default() });
    }

    fn change(&mut self, code: IdCode, value: vcd::Value) -> Result<(), Reason> {
        let now = self.now();
        let value = match value {
            vcd::Value::V0 => Value::Low,
            vcd::Value::V1 => Value::High,
            vcd::Value::X | vcd::Value::Z => Value::Unknown,
        };
        for number in self.codes.get(&code).ok_or(Reason::Undeclared)?.iter().flatten() {
            if let Some(variable) = self.variables.get_mut(*number) {
                variable.signal.push(now, value);
            }
        }
        Ok(())
    }

    fn now(&self) -> Duration {
        const FEMTOSECONDS_OF_A_NANOSECOND: u128 = 1_000_000;
        let femtoseconds = u128::from(self.time).saturating_mul(self.scale.unwrap_or_default());
        let nanoseconds = femtoseconds.checked_div(FEMTOSECONDS_OF_A_NANOSECOND).unwrap_or_default();
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }

    /// Makes lines of the variables: each one, but those that tell of another who drives it.
    fn finish(self) -> Wave {
        let [_, output, external] = SUFFIXES;
        let end = self.now();
        let names: HashMap<_, _> =
            self.variables.iter().enumerate().map(|(number, variable)| (variable.name.clone(), number)).collect();
        let mut signals: Vec<_> = self.variables.into_iter().map(Some).collect();
        let mut lines = Vec::new();
        for number in 0..signals.len() {
            let Some(Variable { name, signal }) = signals.get_mut(number).and_then(Option::take) else { continue };
            let mut companion = |suffix: &str| {
                let number = names.get(&format!("{name}{suffix}"))?;
                signals.get_mut(*number)?.take().map(|variable| variable.signal)
            };
            let (output, external) = (companion(output), companion(external));
            lines.push(Line { name, level: signal, output, external });
        }
        Wave { lines, begin: self.begin.unwrap_or_default(), end, left_out: self.left_out }
    }
}

fn femtoseconds(unit: TimescaleUnit) -> u128 {
    match unit {
        TimescaleUnit::S => 1_000_000_000_000_000,
        TimescaleUnit::MS => 1_000_000_000_000,
        TimescaleUnit::US => 1_000_000_000,
        TimescaleUnit::NS => 1_000_000,
        TimescaleUnit::PS => 1_000,
        TimescaleUnit::FS => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "$timescale 1 us $end $scope module top $end $var wire 1 ! a $end $upscope $end\n";

    fn read(text: &str) -> Result<Wave, ReadError> {
        Wave::read(text.as_bytes())
    }

    fn us(microseconds: u64) -> Duration {
        Duration::from_micros(microseconds)
    }

    #[test]
    fn dumps_of_other_tools_are_understood() {
        let text = "$date today $end $version x $end $timescale 10ns $end\n\
            $scope module top $end $var wire 1 ! clk $end $scope module sub $end\n\
            $var reg 8 # bus [7:0] $end $var wire 1 $ bit [3] $end $var wire 1 ! same $end $var real 64 % r $end\n\
            $upscope $end $upscope $end $enddefinitions $end\n\
            $comment hello $end #100 $dumpvars 0! bxx # z$ r1.5 % $end\n#200\n1!\nb101 #\nb1 $\n#300\n#350";
        let wave = read(text).unwrap();
        let names: Vec<_> = wave.lines.iter().map(|line| line.name.as_str()).collect();
        assert_eq!(names, ["clk", "sub.bit[3]", "sub.same"]);
        assert_eq!((wave.begin, wave.end, wave.left_out), (us(1), Duration::from_nanos(3500), 2));
        let at = |line: usize, time| wave.lines[line].level.at(us(time));
        assert_eq!([at(0, 0), at(0, 1), at(0, 2)], [Value::Unknown, Value::Low, Value::High]);
        assert_eq!([at(1, 1), at(1, 2), at(2, 2)], [Value::Unknown, Value::High, Value::High]);
    }

    #[test]
    fn companions_tell_who_drives() {
        let text = "$timescale 1 us $end $var wire 1 ! a $end $var wire 1 # a_out $end $var wire 1 $ a_ext $end\n\
            $var wire 1 % b_out $end $enddefinitions $end\n#0 x! x# 0$ 0% #1 1! 1$ #2 0! 1#";
        let wave = read(text).unwrap();
        assert_eq!(wave.lines.iter().map(|line| line.name.as_str()).collect::<Vec<_>>(), ["a", "b_out"]);
        let drivers = [0, 1, 2].map(|time| wave.lines[0].driver(us(time)));
        assert_eq!(drivers, [super::super::Driver::Nobody, super::super::Driver::Outside, super::super::Driver::Guest]);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let body = |body: &str| format!("{HEADER}$enddefinitions $end\n{body}");
        for (text, expected) in [
            (String::new(), "it ends before $enddefinitions: it is no value change dump"),
            ("hello".to_owned(), "line 1: unexpected character at start of command"),
            (HEADER.to_owned(), "it ends before $enddefinitions: it is no value change dump"),
            ("$enddefinitions $end".to_owned(), "line 1: there is no $timescale before $enddefinitions"),
            (body("#0\n0!\n#5\n#4\n"), "line 6: time goes backwards, from #5 to #4"),
            (body("#0\n0\"\n"), "line 4: a variable changes that was not declared"),
            (body("#0\n$dumpvars 0! $end $end"), "line 4: unmatched `$end`"),
            (body("#0\n$comment no end"), "line 5: the file ends in the middle of something"),
            (body("#99999999999999999999\n"), "line 3: number too large to fit in target type"),
            (body("#0\nb2 !\n"), "line 4: invalid VCD logic value"),
        ] {
            assert_eq!(read(&text).unwrap_err().to_string(), expected, "{text}");
        }
        let error = Wave::read([0xff, 0xfe, 0].as_slice()).unwrap_err().to_string();
        assert!(error.starts_with("line 1: "), "{error}");
    }

    #[test]
    fn deep_scopes_and_far_times_do_no_harm() {
        let scopes = "$scope module s $end ".repeat(100_000);
        let text = format!("$timescale 100 s $end {scopes} $var wire 1 ! a $end $enddefinitions $end #{} 1!", u64::MAX);
        let wave = read(&text).unwrap();
        assert_eq!((wave.lines.len(), wave.end), (1, Duration::from_nanos(u64::MAX)));
    }
}
