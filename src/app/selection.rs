//! From the lines that the boot arguments name to the lines that there are, before any of them is touched.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use virtio_gpio::{InterruptType, LineId};

use super::arguments::{Arguments, LineReference, Lines, NumberOrName, WatchReference};

/// How many lines of one chip can be in use at once.
pub(super) const LINES_IN_USE: u16 = 1024;

/// What a selection needs to know of a chip.
pub(super) trait ChipFacts {
    /// The number of lines.
    fn lines(&self) -> u16;
    /// The line with that name.
    fn find(&self, name: &str) -> Option<LineId>;
    /// The lines whose name starts with `prefix`.
    fn starting_with(&self, prefix: &str) -> Vec<LineId>;
    /// How many lines can be watched at once; 0 if the chip cannot interrupt.
    fn watch_limit(&self) -> u16;
}

/// A line of a chip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ChipLine {
    /// The chip's number.
    pub(super) chip: usize,
    /// The line's number.
    pub(super) line: LineId,
}

/// What to do with which lines.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Selection {
    /// The lines to blink.
    pub(super) blink: Vec<ChipLine>,
    /// The lines to watch, and what for.
    pub(super) watch: Vec<(ChipLine, InterruptType)>,
    /// The watched lines were named by the boot arguments.
    pub(super) watch_named: bool,
    /// What the user should know.
    pub(super) warnings: Vec<String>,
}

impl Selection {
    /// Looks up what the boot arguments name, and chooses where they name nothing: lines whose name starts with `led`
    /// blink, or line 0 of the first chip; every other line is watched.
    ///
    /// # Errors
    ///
    /// A message that names the word and what was expected.
    pub(super) fn new(arguments: &Arguments, chips: &[impl ChipFacts]) -> Result<Self, String> {
        let mut selection = Self::default();
        if let Lines::Named(references) = &arguments.blink {
            for reference in references {
                let line = look_up(reference, chips)?;
                selection.refuse_twice(line, reference)?;
                selection.blink.push(line);
            }
        }
        if let Lines::Named(references) = &arguments.watch {
            selection.watch_named = true;
            for WatchReference { line: reference, kind } in references {
                let line = look_up(reference, chips)?;
                selection.refuse_twice(line, reference)?;
                selection.watch.push((line, *kind));
            }
            selection.refuse_unwatchable(references, chips)?;
        }
        if arguments.blink == Lines::Default {
            selection.choose_blink(chips)?;
        }
        if arguments.watch == Lines::Default {
            selection.choose_watch(chips);
        }
        selection.refuse_too_many(chips)?;
        Ok(selection)
    }

    fn contains(&self, line: ChipLine) -> bool {
        self.blink.contains(&line) || self.watch.iter().any(|(watched, _)| *watched == line)
    }

    fn refuse_twice(&self, line: ChipLine, reference: &LineReference) -> Result<(), String> {
        if self.contains(line) {
            return Err(format!(
                "bad boot argument \"{}\": gpio{}:{} is named twice; expected each line once, in blink or in watch",
                reference.word, line.chip, line.line
            ));
        }
        Ok(())
    }

    fn refuse_unwatchable(&self, references: &[WatchReference], chips: &[impl ChipFacts]) -> Result<(), String> {
        for (number, chip) in chips.iter().enumerate() {
            let limit = chip.watch_limit();
            let mut named = references.iter().zip(&self.watch).filter(|(_, (line, _))| line.chip == number);
            if let Some((reference, _)) = named.nth(limit.into()) {
                let word = &reference.line.word;
                return Err(if limit == 0 {
                    format!(
                        "cannot watch \"{word}\": gpio{number} cannot interrupt; expected a line of a device that can"
                    )
                } else {
                    format!(
                        "cannot watch \"{word}\": the event queue of gpio{number} holds {limit} lines; expected no more"
                    )
                });
            }
        }
        Ok(())
    }

    fn refuse_too_many(&self, chips: &[impl ChipFacts]) -> Result<(), String> {
        for number in 0..chips.len() {
            let count = self.blink.iter().chain(self.watch.iter().map(|(line, _)| line));
            let count = count.filter(|line| line.chip == number).count();
            refuse_more(count, number)?;
        }
        Ok(())
    }

    fn choose_blink(&mut self, chips: &[impl ChipFacts]) -> Result<(), String> {
        let mut found = false;
        for (number, chip) in chips.iter().enumerate() {
            let mut lines = chip.starting_with("led");
            found |= !lines.is_empty();
            lines.retain(|&line| !self.watch.iter().any(|(watched, _)| *watched == ChipLine { chip: number, line }));
            // Before the list grows by as many lines as the device likes.
            refuse_more(lines.len(), number)?;
            self.blink.extend(lines.into_iter().map(|line| ChipLine { chip: number, line }));
        }
        let first = ChipLine { chip: 0, line: LineId(0) };
        if !found && !chips.is_empty() && !self.contains(first) {
            self.blink.push(first);
        }
        Ok(())
    }

    fn choose_watch(&mut self, chips: &[impl ChipFacts]) {
        let mut blink = self.blink.clone();
        blink.sort_unstable();
        for (number, chip) in chips.iter().enumerate() {
            let free = || {
                (0..chip.lines())
                    .map(|line| ChipLine { chip: number, line: LineId(line) })
                    .filter(|line| blink.binary_search(line).is_err())
            };
            let count = free().count();
            let used = usize::from(chip.lines()).saturating_sub(count);
            let limit = usize::from(chip.watch_limit()).min(usize::from(LINES_IN_USE).saturating_sub(used));
            if chip.watch_limit() == 0 {
                self.warnings.push(format!("gpio{number} cannot interrupt: none of its lines is watched"));
            } else if count > limit {
                self.warnings.push(format!(
                    "gpio{number}: watching the first {limit} of {count} lines, as many as can be watched at once"
                ));
            }
            self.watch.extend(free().take(limit).map(|line| (line, InterruptType::BothEdges)));
        }
    }
}

fn refuse_more(count: usize, chip: usize) -> Result<(), String> {
    if count > LINES_IN_USE.into() {
        return Err(format!(
            "{count} lines of gpio{chip} are to be used; expected at most {LINES_IN_USE}: name fewer with blink= and watch="
        ));
    }
    Ok(())
}

/// The line that a word names.
///
/// # Errors
///
/// A message that names the word and what was expected.
pub(super) fn look_up(reference: &LineReference, chips: &[impl ChipFacts]) -> Result<ChipLine, String> {
    let word = &reference.word;
    if let Some(number) = reference.chip
        && number >= chips.len()
    {
        return Err(format!(
            "unknown line \"{word}\": expected a chip from gpio0 to gpio{}",
            chips.len().saturating_sub(1)
        ));
    }
    match &reference.line {
        NumberOrName::Number(line) => {
            let number = reference.chip.unwrap_or(0);
            let lines = chips.get(number).map_or(0, ChipFacts::lines);
            let found = u16::try_from(*line).ok().filter(|&line| line < lines);
            found.map(|line| ChipLine { chip: number, line: LineId(line) }).ok_or_else(|| {
                format!(
                    "unknown line \"{word}\": expected a line of gpio{number} from 0 to {}",
                    lines.saturating_sub(1)
                )
            })
        }
        NumberOrName::Name(name) => chips
            .iter()
            .enumerate()
            .filter(|(number, _)| reference.chip.is_none_or(|wanted| wanted == *number))
            .find_map(|(number, chip)| chip.find(name).map(|line| ChipLine { chip: number, line }))
            .ok_or_else(|| format!("unknown line \"{word}\": expected the name or the number of a line")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    struct Fake {
        names: Vec<&'static str>,
        watch_limit: u16,
    }

    impl ChipFacts for Fake {
        fn lines(&self) -> u16 {
            u16::try_from(self.names.len()).unwrap()
        }
        fn find(&self, name: &str) -> Option<LineId> {
            (0..).zip(&self.names).find(|(_, found)| **found == name).map(|(line, _)| LineId(line))
        }
        fn starting_with(&self, prefix: &str) -> Vec<LineId> {
            (0..).zip(&self.names).filter(|(_, name)| name.starts_with(prefix)).map(|(line, _)| LineId(line)).collect()
        }
        fn watch_limit(&self) -> u16 {
            self.watch_limit
        }
    }

    fn chips() -> Vec<Fake> {
        vec![
            Fake { names: vec!["led0", "button0", "", "relay"], watch_limit: 32 },
            Fake { names: vec!["led1", "button1"], watch_limit: 32 },
        ]
    }

    fn at(chip: usize, line: u16) -> ChipLine {
        ChipLine { chip, line: LineId(line) }
    }

    fn select(text: &str, chips: &[Fake]) -> Result<Selection, String> {
        Selection::new(&Arguments::parse(text).unwrap(), chips)
    }

    #[test]
    fn without_names_leds_blink_and_the_rest_is_watched() {
        let selection = select("", &chips()).unwrap();
        assert_eq!(selection.blink, [at(0, 0), at(1, 0)]);
        let watched: Vec<_> = selection.watch.iter().map(|(line, _)| *line).collect();
        assert_eq!(watched, [at(0, 1), at(0, 2), at(0, 3), at(1, 1)]);
        assert!(selection.warnings.is_empty());
    }

    #[test]
    fn without_leds_the_first_line_blinks() {
        let selection = select("", &[Fake { names: vec!["a", "b"], watch_limit: 32 }]).unwrap();
        assert_eq!(selection.blink, [at(0, 0)]);
        assert_eq!(selection.watch, [(at(0, 1), InterruptType::BothEdges)]);
    }

    #[test]
    fn what_is_named_is_not_chosen_as_well() {
        let selection = select("watch=led0:rising", &chips()).unwrap();
        assert_eq!(selection.blink, [at(1, 0)]);
        assert_eq!(selection.watch, [(at(0, 0), InterruptType::RisingEdge)]);
        let selection = select("blink=gpio1:button1,3", &chips()).unwrap();
        assert_eq!(selection.blink, [at(1, 1), at(0, 3)]);
        assert!(!selection.watch.iter().any(|(line, _)| *line == at(1, 1)));
    }

    #[test]
    fn unknown_lines_are_named() {
        for (text, part) in [
            ("blink=nosuch", "unknown line \"nosuch\""),
            ("blink=4", "from 0 to 3"),
            ("blink=70000", "from 0 to 3"),
            ("watch=gpio1:2", "from 0 to 1"),
            ("watch=gpio2:0", "from gpio0 to gpio1"),
            ("watch=gpio0:button1", "unknown line \"gpio0:button1\""),
        ] {
            assert!(select(text, &chips()).unwrap_err().contains(part), "{text}");
        }
    }

    #[test]
    fn a_line_named_twice_is_refused() {
        for text in ["blink=0,0", "blink=led0,0", "watch=1,button0:rising", "blink=led0 watch=gpio0:led0"] {
            assert!(select(text, &chips()).unwrap_err().contains("named twice"), "{text}");
        }
    }

    #[test]
    fn a_chip_without_interrupts_is_an_error_only_for_named_lines() {
        let chips = [Fake { names: vec!["led0", "button0"], watch_limit: 0 }];
        let selection = select("", &chips).unwrap();
        assert!(selection.watch.is_empty());
        assert!(selection.warnings[0].contains("cannot interrupt"));
        assert!(select("watch=button0", &chips).unwrap_err().contains("cannot interrupt"));
        assert!(select("watch=none", &chips).unwrap().warnings.is_empty());
    }

    #[test]
    fn as_many_lines_are_watched_as_the_event_queue_holds() {
        let chips = [Fake { names: vec!["x"; 300], watch_limit: 32 }];
        let selection = select("", &chips).unwrap();
        assert_eq!(selection.watch.len(), 32);
        assert!(selection.warnings[0].contains("first 32 of 299"));
        let many: Vec<_> = (1..34).map(|line| line.to_string()).collect();
        let error = select(&format!("watch={}", many.join(",")), &chips).unwrap_err();
        assert!(error.contains("\"33\"") && error.contains("holds 32"), "{error}");
    }

    #[test]
    fn more_lines_than_can_be_in_use_are_refused() {
        let chips = [Fake { names: vec!["led"; 2000], watch_limit: 32 }];
        assert!(select("", &chips).unwrap_err().contains("at most 1024"));
    }
}
