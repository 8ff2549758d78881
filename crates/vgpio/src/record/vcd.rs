//! Waveforms: a value change dump (IEEE 1364), which `GTKWave`, `PulseView` and Surfer read.
//!
//! One flat scope; for each line its level (`led0`; `x` while nobody cares about the line) and whether the guest drives it
//! (`led0_out`). Microseconds, because some viewers become slow with a finer scale.

use std::collections::HashSet;
use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

use gpio_model::bank::Line;
use gpio_model::observe::Activity;
use vcd::{IdCode, SimulationCommand, TimescaleUnit, Value};
use virtio_gpio::messages::{Direction, Level};

use super::{Record, Sink};
use crate::chip::Chip;

/// Writes a dump while the world goes on.
pub struct Waveform<W: Write> {
    writer: vcd::Writer<W>,
    signals: Vec<Vec<Signals>>,
    time: u64,
    failure: Option<io::Error>,
}

#[derive(Clone, Copy)]
struct Signals {
    level: IdCode,
    output: IdCode,
    shown: (Value, Value),
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
                let level = writer.add_wire(1, &name)?;
                let output = writer.add_wire(1, &format!("{name}_out"))?;
                of_chip.push(Signals { level, output, shown: values(*state) });
            }
            signals.push(of_chip);
        }
        writer.upscope()?;
        writer.enddefinitions()?;
        writer.timestamp(0)?;
        writer.begin(SimulationCommand::Dumpvars)?;
        for signals in signals.iter().flatten() {
            writer.change_scalar(signals.level, signals.shown.0)?;
            writer.change_scalar(signals.output, signals.shown.1)?;
        }
        writer.end()?;
        Ok(Self { writer, signals, time: 0, failure: None })
    }

    fn change(&mut self, record: &Record) -> io::Result<()> {
        let Activity::Changed(change) = record.activity else { return Ok(()) };
        let lines = self.signals.get_mut(record.chip);
        let Some(signals) = lines.and_then(|lines| lines.get_mut(usize::from(change.line.0))) else { return Ok(()) };
        let (old, new) = (signals.shown, values(change.after));
        signals.shown = new;
        let Signals { level, output, .. } = *signals;
        if old == new {
            return Ok(());
        }
        self.advance(record.at)?;
        if old.0 != new.0 {
            self.writer.change_scalar(level, new.0)?;
        }
        if old.1 != new.1 {
            self.writer.change_scalar(output, new.1)?;
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

/// The level of a line and whether the guest drives it.
fn values(line: Line) -> (Value, Value) {
    let level = match (line.is_defined(), line.level()) {
        (false, _) => Value::X,
        (true, Level::Low) => Value::V0,
        (true, Level::High) => Value::V1,
    };
    let output = match line.direction {
        Direction::None => Value::X,
        Direction::Input => Value::V0,
        Direction::Output => Value::V1,
    };
    (level, output)
}

/// A name without characters that some viewer would stumble over.
fn identifier(name: &str, line: u16) -> String {
    if name.is_empty() {
        return format!("line{line}");
    }
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

fn unique(taken: &mut HashSet<String>, name: &str) -> String {
    let mut candidate = name.to_owned();
    while !taken.insert(candidate.clone()) {
        candidate.push('_');
    }
    candidate
}
