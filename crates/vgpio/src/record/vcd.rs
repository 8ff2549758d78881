//! Waveforms: a value change dump (IEEE 1364), which `GTKWave`, `PulseView` and Surfer read.
//!
//! One flat scope of wires of one bit, because that is what every viewer shows. For each line there are its level (`led0`;
//! `x` while nobody cares about the line), whether the guest drives it (`led0_out`; `x` while the guest does not use the
//! line), and whether the outside drives it (`led0_ext`). Microseconds, because some viewers become slow with a finer scale.

use std::collections::HashSet;
use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

use gpio_model::bank::Line;
use gpio_model::observe::Activity;
use vcd::{IdCode, SimulationCommand, TimescaleUnit, Value};
use virtio_gpio::messages::Direction;

use super::{Record, Sink};
use crate::chip::Chip;

/// Writes a dump while the world goes on.
pub struct Waveform<W: Write> {
    writer: vcd::Writer<W>,
    signals: Vec<Vec<Signals>>,
    time: u64,
    failure: Option<io::Error>,
}

/// What the names of a line's wires end with: its level, who drives it.
pub(crate) const SUFFIXES: [&str; 3] = ["", "_out", "_ext"];

/// The wires of one line.
#[derive(Clone, Copy)]
struct Signals {
    codes: [IdCode; SUFFIXES.len()],
    shown: [Value; SUFFIXES.len()],
}

impl<W: Write> fmt::Debug for Waveform<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waveform").field("time", &self.time).field("failure", &self.failure).finish_non_exhaustive()
    }
}

impl<W: Write> Waveform<W> {
    /// Writes the header and the values that all lines have now.
    ///
    /// # Errors
    ///
    /// Those of the writer.
    pub fn begin(writer: W, chips: &[Chip]) -> io::Result<Self> {
        let mut writer = vcd::Writer::new(writer);
        writer.version(concat!("vgpio ", env!("CARGO_PKG_VERSION")))?;
        writer.timescale(1, TimescaleUnit::US)?;
        writer.add_module("vgpio")?;
        let mut taken = HashSet::new();
        let mut signals = Vec::new();
        for (number, chip) in chips.iter().enumerate() {
            let prefix = if chips.len() > 1 { format!("gpio{number}_") } else { String::new() };
            let mut of_chip = Vec::new();
            for ((line, state), name) in chip.bank().lines().zip(chip.names()) {
                let name = unique(&mut taken, &format!("{prefix}{}", identifier(name, line.0)));
                let mut codes = [IdCode::FIRST; SUFFIXES.len()];
                for (code, suffix) in codes.iter_mut().zip(SUFFIXES) {
                    *code = writer.add_wire(1, &format!("{name}{suffix}"))?;
                }
                of_chip.push(Signals { codes, shown: values(*state) });
            }
            signals.push(of_chip);
        }
        writer.upscope()?;
        writer.enddefinitions()?;
        writer.timestamp(0)?;
        writer.begin(SimulationCommand::Dumpvars)?;
        for signals in signals.iter().flatten() {
            for (code, value) in signals.codes.into_iter().zip(signals.shown) {
                writer.change_scalar(code, value)?;
            }
        }
        writer.end()?;
        Ok(Self { writer, signals, time: 0, failure: None })
    }

    fn change(&mut self, record: &Record) -> io::Result<()> {
        let Activity::Changed(change) = record.activity else { return Ok(()) };
        let lines = self.signals.get_mut(record.chip);
        let Some(signals) = lines.and_then(|lines| lines.get_mut(usize::from(change.line.0))) else { return Ok(()) };
        let new = values(change.after);
        let old = std::mem::replace(&mut signals.shown, new);
        let codes = signals.codes;
        if old == new {
            return Ok(());
        }
        self.advance(record.at)?;
        for (code, (old, new)) in codes.into_iter().zip(old.into_iter().zip(new)) {
            if old != new {
                self.writer.change_scalar(code, new)?;
            }
        }
        Ok(())
    }

    fn advance(&mut self, at: Duration) -> io::Result<()> {
        let time = u64::try_from(at.as_micros()).unwrap_or(u64::MAX);
        if time > self.time {
            self.time = time;
            self.writer.timestamp(time)?;
        }
        Ok(())
    }

    /// Keeps the first failure, says so once, and writes nothing from then on: the world goes on without a waveform.
    fn attempt(&mut self, write: impl FnOnce(&mut Self) -> io::Result<()>) {
        if self.failure.is_none()
            && let Err(error) = write(self)
        {
            log::error!("Cannot write the waveform, it ends here: {error}");
            self.failure = Some(error);
        }
    }
}

impl<W: Write + Send> Sink for Waveform<W> {
    fn record(&mut self, record: &Record) {
        self.attempt(|waveform| waveform.change(record));
    }

    fn finish(&mut self, at: Duration) {
        self.attempt(|waveform| {
            waveform.advance(at)?;
            waveform.writer.flush()
        });
    }
}

/// What the wires of a line show.
fn values(line: Line) -> [Value; SUFFIXES.len()] {
    let level = if line.is_defined() { Value::from(bool::from(line.level())) } else { Value::X };
    let output = match line.direction {
        Direction::None => Value::X,
        Direction::Input => Value::V0,
        Direction::Output => Value::V1,
    };
    [level, output, Value::from(line.drive.is_some())]
}

/// What a line is called in a waveform.
fn identifier(name: &str, line: u16) -> String {
    if name.is_empty() { format!("line{line}") } else { plain(name) }
}

/// A name without characters that some viewer would stumble over.
pub(crate) fn plain(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

/// A name that is not taken, and whose names with suffixes are not either.
fn unique(taken: &mut HashSet<String>, name: &str) -> String {
    let mut candidate = name.to_owned();
    let all = |name: &str| SUFFIXES.map(|suffix| format!("{name}{suffix}"));
    while all(&candidate).iter().any(|name| taken.contains(name)) {
        candidate.push('_');
    }
    taken.extend(all(&candidate));
    candidate
}
