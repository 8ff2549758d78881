//! Arguments that say what is around a device: wires, and what the outside does to lines.

use std::fmt;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use vgpio::duration;
use vgpio::world::{Bounce, Button, Stimulus, Wire, World};

/// How often a contact changes where nothing else is said.
const CHANGES: u32 = 7;
const SEED: u64 = 1;

/// What is around a device. A line is a name or a number.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Surroundings {
    /// Connect two lines: while the guest drives FROM, that drives TO; with "!" to the opposite level (in quotes: shells
    /// like "!", too), with a delay so much later: led0=loop0, '!led0=loop0,5ms'
    #[arg(long = "wire", value_name = "[!]FROM=TO[,DELAY]", value_parser = WireArgument::parse)]
    pub(crate) wires: Vec<WireArgument>,
    /// Press and release a button on a line, again and again, with that full period (500ms, 2s, 250us)
    #[arg(long = "button", value_name = "LINE=PERIOD", value_parser = Periodic::parse)]
    pub(crate) buttons: Vec<Periodic>,
    /// Let the contact of the --button on that line bounce for so long at each press and release, with so many changes
    /// [7]; the same seed [1] gives the same times
    #[arg(long = "bounce", value_name = "LINE=TIME[,CHANGES[,SEED]]", value_parser = BounceArgument::parse)]
    bounces: Vec<BounceArgument>,
    /// Drive a line with a square wave of that period
    #[arg(long = "clock", value_name = "LINE=PERIOD", value_parser = Periodic::parse)]
    clocks: Vec<Periodic>,
    /// Drive a line with pulses of that period: high for a time, or for a part of the period: 10ms,2ms or 10ms,20%
    #[arg(long = "pwm", value_name = "LINE=PERIOD,HIGH", value_parser = PwmArgument::parse)]
    pwms: Vec<PwmArgument>,
}

/// A wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WireArgument {
    from: String,
    to: String,
    inverted: bool,
    delay: Duration,
}

/// A line, and a period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Periodic {
    line: String,
    period: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct PwmArgument {
    line: String,
    period: Duration,
    high: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct BounceArgument {
    line: String,
    bounce: Bounce,
}

impl WireArgument {
    pub(crate) fn new(from: &str, to: &str) -> Self {
        Self { from: from.to_owned(), to: to.to_owned(), inverted: false, delay: Duration::ZERO }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let (from, to) = pair(text, "FROM=TO, and !FROM=TO for the opposite level")?;
        let (to, delay) = match to.split_once(',') {
            Some((to, delay)) => (to, duration::parse(delay)?),
            None => (to, Duration::ZERO),
        };
        let (from, inverted) = from.strip_prefix('!').map_or((from, false), |from| (from, true));
        Ok(Self { inverted, delay, ..Self::new(from, to) })
    }

    fn lay(&self, world: &mut World) -> anyhow::Result<()> {
        let Self { from, to, inverted, delay } = self;
        let (from, to) = (world.find(from)?, world.find(to)?);
        Ok(world.wire(Wire { inverted: *inverted, delay: *delay, ..Wire::new(from, to) })?)
    }
}

impl fmt::Display for WireArgument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, inverted, delay } = self;
        write!(f, "{}{from}={to}", if *inverted { "!" } else { "" })?;
        if delay.is_zero() { Ok(()) } else { write!(f, ",{}", shown(*delay)) }
    }
}

impl Periodic {
    pub(crate) fn new(line: &str, period: Duration) -> Self {
        Self { line: line.to_owned(), period }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let (line, period) = pair(text, "LINE=PERIOD")?;
        Ok(Self::new(line, duration::parse(period)?))
    }
}

impl fmt::Display for Periodic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.line, shown(self.period))
    }
}

impl PwmArgument {
    fn parse(text: &str) -> Result<Self, String> {
        const EXPECTED: &str = "LINE=PERIOD,HIGH";
        let (line, wave) = pair(text, EXPECTED)?;
        let (period, high) = wave.split_once(',').ok_or_else(|| format!("expected {EXPECTED}"))?;
        let period = duration::parse(period)?;
        let high = match high.strip_suffix('%') {
            Some(percent) => {
                let percent: u32 = number(percent)?;
                if percent > 100 {
                    return Err("more than 100 % of a period cannot be high".to_owned());
                }
                period.saturating_mul(percent).checked_div(100).unwrap_or_default()
            }
            None => duration::parse(high)?,
        };
        Ok(Self { line: line.to_owned(), period, high })
    }
}

impl fmt::Display for PwmArgument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={},{}", self.line, shown(self.period), shown(self.high))
    }
}

impl BounceArgument {
    fn parse(text: &str) -> Result<Self, String> {
        let (line, bounce) = pair(text, "LINE=TIME[,CHANGES[,SEED]]")?;
        let mut parts = bounce.splitn(3, ',');
        let over = duration::parse(parts.next().unwrap_or_default())?;
        let changes = parts.next().map_or(Ok(CHANGES), number)?;
        let seed = parts.next().map_or(Ok(SEED), number)?;
        Ok(Self { line: line.to_owned(), bounce: Bounce { over, changes, seed } })
    }
}

impl fmt::Display for BounceArgument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Bounce { over, changes, seed } = self.bounce;
        write!(f, "{}={},{changes},{seed}", self.line, shown(over))
    }
}

impl Surroundings {
    /// Puts all of it into a world, from its beginning.
    pub(crate) fn furnish(&self, world: &mut World) -> anyhow::Result<()> {
        for wire in &self.wires {
            wire.lay(world)?;
        }
        let mut buttons = Vec::new();
        for Periodic { line, period } in &self.buttons {
            let (place, pressed) = (world.find(line)?, period.checked_div(2).unwrap_or_default());
            let released = period.saturating_sub(pressed);
            buttons.push(Button { place, first: *period, pressed, released, bounce: None });
        }
        for BounceArgument { line, bounce } in &self.bounces {
            let place = world.find(line)?;
            let button = buttons.iter_mut().find(|button| button.place == place);
            button
                .with_context(|| format!("There is no --button {line}=PERIOD that --bounce {line}=… is about"))?
                .bounce = Some(*bounce);
        }
        for button in buttons {
            world.button(button)?;
        }
        for Periodic { line, period } in &self.clocks {
            world.stimulate_at(Duration::ZERO, world.find(line)?, Stimulus::Clock { period: *period, cycles: None })?;
        }
        for PwmArgument { line, period, high } in &self.pwms {
            let pwm = Stimulus::Pwm { period: *period, high: *high, cycles: None };
            world.stimulate_at(Duration::ZERO, world.find(line)?, pwm)?;
        }
        Ok(())
    }

    /// The same as options and their values, to be typed in.
    pub(crate) fn shown(&self) -> Vec<[String; 2]> {
        fn all<'a, T: ToString>(option: &'a str, values: &'a [T]) -> impl Iterator<Item = [String; 2]> + 'a {
            values.iter().map(move |value| [option.to_owned(), value.to_string()])
        }
        let Self { wires, buttons, bounces, clocks, pwms } = self;
        let drives = all("--wire", wires).chain(all("--button", buttons)).chain(all("--bounce", bounces));
        drives.chain(all("--clock", clocks)).chain(all("--pwm", pwms)).collect()
    }
}

fn pair<'a>(text: &'a str, expected: &str) -> Result<(&'a str, &'a str), String> {
    text.split_once('=').ok_or_else(|| format!("expected {expected}"))
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("expected a whole number, not {text:?}"))
}

fn shown(time: Duration) -> String {
    format!("{}us", time.as_micros())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct CommandLine {
        #[command(flatten)]
        surroundings: Surroundings,
    }

    fn parse(arguments: &[&str]) -> Result<Surroundings, clap::Error> {
        let words = std::iter::once("vgpio").chain(arguments.iter().copied());
        CommandLine::try_parse_from(words).map(|line| line.surroundings)
    }

    #[test]
    fn what_is_shown_can_be_typed_in() {
        for (typed, shown) in [
            (["--wire", "led0=gpio1:loop0"], "led0=gpio1:loop0"),
            (["--wire", "!led0=loop0,5ms"], "!led0=loop0,5000us"),
            (["--button", "b=2s"], "b=2000000us"),
            (["--bounce", "b=5ms"], "b=5000us,7,1"),
            (["--bounce", "b=5ms,9,42"], "b=5000us,9,42"),
            (["--clock", "c=10ms"], "c=10000us"),
            (["--pwm", "p=10ms,2ms"], "p=10000us,2000us"),
            (["--pwm", "p=10ms,25%"], "p=10000us,2500us"),
        ] {
            let once = parse(&typed).unwrap().shown();
            assert_eq!(once, [[typed[0], shown].map(str::to_owned)]);
            let again: Vec<_> = once.iter().flatten().map(String::as_str).collect();
            assert_eq!(parse(&again).unwrap().shown(), once);
        }
    }

    #[test]
    fn mistakes_say_what_was_expected() {
        for (option, value, expected) in [
            ("--wire", "led0", "FROM=TO"),
            ("--wire", "led0=loop0,5", "a unit"),
            ("--clock", "c", "LINE=PERIOD"),
            ("--pwm", "p=10ms", "LINE=PERIOD,HIGH"),
            ("--pwm", "p=10ms,x%", "a whole number, not \"x\""),
            ("--pwm", "p=10ms,101%", "more than 100 %"),
            ("--bounce", "b=5ms,many", "a whole number, not \"many\""),
            ("--bounce", "b=5ms,7,1,2", "a whole number, not \"1,2\""),
        ] {
            let message = parse(&[option, value]).unwrap_err().to_string();
            assert!(message.contains(expected), "{option} {value}: {message}");
        }
    }
}
