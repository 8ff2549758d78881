//! The guest's account of itself, as its lines on the console say it.

use anyhow::Context;
use virtio_gpio::{Direction, InterruptType, Level};

/// What the guest uses a line for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GuestLine {
    pub(super) chip: usize,
    pub(super) line: u16,
    /// `None` where the guest does not hold the line as a pin of a direction.
    pub(super) direction: Option<Direction>,
    pub(super) watch: InterruptType,
    pub(super) level: Option<Level>,
    pub(super) events: u64,
    /// Not as it should be, though the guest has tried.
    pub(super) unsure: bool,
}

/// What the guest knows of a chip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GuestChip {
    pub(super) chip: usize,
    pub(super) dropped: u64,
    pub(super) timeouts: u64,
    pub(super) resets: u64,
    pub(super) descriptors: u64,
    pub(super) free: u64,
    pub(super) standing: u64,
    pub(super) requests: u64,
    pub(super) failed: bool,
}

impl GuestChip {
    /// Descriptors and request slots that are nowhere.
    pub(super) fn leaked(&self) -> u64 {
        self.descriptors.abs_diff(self.free + self.standing) + self.requests
    }
}

/// Everything that the guest reports when it has settled.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) lines: Vec<GuestLine>,
    pub(super) chips: Vec<GuestChip>,
    pub(super) operations: u64,
    pub(super) errors: u64,
    pub(super) late: u64,
    /// Lines that the driver has given up so far; they were taken again.
    pub(super) given_up: u64,
}

impl Account {
    /// Reads the reports among lines of the console.
    pub(super) fn parse(console: &[String]) -> anyhow::Result<Self> {
        let mut account = Self::default();
        for line in console {
            let words = |start| line.split_once(start).map(|(_, words)| Words(words));
            let parsed = if let Some(words) = words("soak line ") {
                words.line().map(|line| account.lines.push(line))
            } else if let Some(words) = words("soak chip ") {
                words.chip().map(|chip| account.chips.push(chip))
            } else if let Some(words) = words("soak settled ") {
                words.totals(&mut account)
            } else {
                Ok(())
            };
            parsed.with_context(|| format!("The guest's line cannot be read: {line}"))?;
        }
        Ok(account)
    }
}

/// Words of the form `key=value`.
#[derive(Debug, Clone, Copy)]
struct Words<'a>(&'a str);

impl<'a> Words<'a> {
    fn text(self, key: &str) -> anyhow::Result<&'a str> {
        let values = self.0.split_ascii_whitespace().filter_map(|word| word.split_once('='));
        let found = values.into_iter().find(|(name, _)| *name == key);
        found.map(|(_, value)| value).with_context(|| format!("There is no {key}"))
    }

    fn number<T: std::str::FromStr>(self, key: &str) -> anyhow::Result<T> {
        self.text(key)?.parse().ok().with_context(|| format!("{key} is no number"))
    }

    fn line(self) -> anyhow::Result<GuestLine> {
        Ok(GuestLine {
            chip: self.number("chip")?,
            line: self.number("line")?,
            direction: match self.text("use")? {
                "input" => Some(Direction::Input),
                "output" => Some(Direction::Output),
                _ => None,
            },
            watch: match self.text("watch")? {
                "rising" => InterruptType::RisingEdge,
                "falling" => InterruptType::FallingEdge,
                "both" => InterruptType::BothEdges,
                "high" => InterruptType::HighLevel,
                "low" => InterruptType::LowLevel,
                _ => InterruptType::None,
            },
            level: match self.text("level")? {
                "0" => Some(Level::Low),
                "1" => Some(Level::High),
                _ => None,
            },
            events: self.number("events")?,
            unsure: self.text("unsure")? != "0",
        })
    }

    fn chip(self) -> anyhow::Result<GuestChip> {
        Ok(GuestChip {
            chip: self.number("chip")?,
            dropped: self.number("dropped")?,
            timeouts: self.number("timeouts")?,
            resets: self.number("resets")?,
            descriptors: self.number("descriptors")?,
            free: self.number("free")?,
            standing: self.number("standing")?,
            requests: self.number("requests")?,
            failed: self.text("failed")? != "0",
        })
    }

    fn totals(self, account: &mut Account) -> anyhow::Result<()> {
        account.operations = self.number("operations")?;
        account.errors = self.number("errors")?;
        account.late = self.number("late")?;
        account.given_up = self.number("given_up")?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read() {
        let console = [
            "[    0.1] INFO  soak line chip=1 line=3 use=output watch=none level=1 events=7 unsure=0",
            "[    0.1] INFO  soak chip chip=1 messages=9 interrupts=8 dropped=0 timeouts=2 resets=1 oddities=3 \
             descriptors=128 free=126 standing=2 requests=0 failed=0",
            "[    0.1] INFO  something else",
            "[    0.1] INFO  soak settled number=2 operations=40 errors=0 late=0 given_up=1",
        ];
        let account = Account::parse(&console.map(str::to_owned)).unwrap();
        assert_eq!(account.lines[0].direction, Some(Direction::Output));
        assert_eq!((account.lines[0].level, account.lines[0].events), (Some(Level::High), 7));
        assert_eq!((account.chips[0].leaked(), account.chips[0].timeouts), (0, 2));
        assert_eq!((account.operations, account.given_up), (40, 1));
        assert!(Account::parse(&["soak line chip=1".to_owned()]).is_err());
    }

    #[test]
    fn what_is_nowhere_has_leaked() {
        let text = "soak chip chip=0 messages=9 interrupts=8 dropped=0 timeouts=2 resets=1 oddities=3 descriptors=128 \
                    free=120 standing=2 requests=1 failed=0";
        let account = Account::parse(&[text.to_owned()]).unwrap();
        assert_eq!(account.chips[0].leaked(), 7);
    }
}
