//! What a scenario says must make sense: names stand for something, numbers are possible, and something can fail.

use std::collections::HashSet;
use std::ops::Range;

use super::fault::{Fault, OfChip};
use super::layout::{self, Layout, Unknown};
use super::problem::Problem;
use super::step::{ExpectCount, RequestFilter, RequestName, Step, Until};
use super::suggest::nearest;
use super::value::At;
use super::{Chip, Protocol, Scenario};
use crate::qemu::board::Board;
use crate::request::{Kind, Requests};

/// Everything that is wrong.
pub fn check(scenario: &Scenario) -> Vec<Problem> {
    let mut check = Check { scenario, layout: Layout::default(), problems: Vec::new() };
    check.head();
    check.chips();
    check.real_lines();
    match Layout::new(scenario) {
        Ok(layout) => check.layout = layout,
        // Without lines every step would be wrong.
        Err(_) if !check.problems.is_empty() => return check.problems,
        Err(error) => return vec![Problem { message: error.to_string(), span: None, help: None }],
    }
    for wire in &scenario.wires {
        check.line(&wire.from);
        check.driven(&wire.to);
    }
    for step in &scenario.setup {
        if step.is_setup() {
            check.step(step);
        } else {
            check.add(
                step.span(),
                format!("{:?} cannot be done before the guest boots", step.name()),
                "\"setup\" is for what the world does; move this to \"steps\"",
            );
        }
    }
    for step in &scenario.steps {
        check.step(step);
    }
    check.has_a_check();
    check.problems
}

struct Check<'a> {
    scenario: &'a Scenario,
    layout: Layout,
    problems: Vec<Problem>,
}

impl Check<'_> {
    fn add(&mut self, span: Range<usize>, message: impl Into<String>, help: impl Into<String>) {
        self.problems.push(Problem::new(span, message, help));
    }

    fn add_unplaced(&mut self, message: &str, help: &str) {
        self.problems.push(Problem { message: message.to_owned(), span: None, help: Some(help.to_owned()) });
    }

    fn head(&mut self) {
        let scenario = self.scenario;
        if let Some(name) = &scenario.name
            && (name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)))
        {
            self.add(name.span(), format!("bad name {:?}", **name), "use letters, digits, \"-\", \"_\" and \".\"");
        }
        let known = Board::names();
        for board in scenario.boards.iter().flatten() {
            if !known.contains(board) {
                let help = match nearest(board, known.iter().map(String::as_str)) {
                    Some(near) => format!("did you mean {near:?}?"),
                    None => format!("the boards are: {}", known.join(", ")),
                };
                self.add(board.span(), format!("there is no board {:?}", **board), help);
            }
        }
        let empty = [
            (scenario.boards.as_ref().is_some_and(Vec::is_empty), "boards"),
            (scenario.protocols.is_empty(), "protocols"),
            (scenario.transports.is_empty(), "transports"),
        ];
        for (_, key) in empty.into_iter().filter(|(is_empty, _)| *is_empty) {
            self.add_unplaced(&format!("{key:?} is empty: the scenario runs on nothing"), "leave it out for all");
        }
        if scenario.timeout.0.is_zero() {
            self.add_unplaced("\"timeout\" is zero: nothing can pass", "leave it out for a minute");
        }
    }

    fn chips(&mut self) {
        for chip in &self.scenario.chips {
            let mut lines = HashSet::new();
            for name in chip.lines.iter().filter(|name| name.as_str() != "-") {
                if name.is_empty() || name.contains([':', '\0']) {
                    let help = "a name has no colon in it; write \"-\" for a line without a name";
                    self.add(name.span(), format!("bad line name {:?}", **name), help);
                } else if !lines.insert(name.as_str()) {
                    self.add(name.span(), format!("two lines are called {:?}", **name), "give them different names");
                }
            }
            match &chip.count {
                Some(count) if usize::from(**count) < chip.lines.len() => {
                    let message = format!("the chip has {} lines, but names for {}", **count, chip.lines.len());
                    self.add(count.span(), message, "leave \"count\" out, or make it larger");
                }
                None if chip.lines.is_empty() => {
                    self.add_unplaced(
                        "a chip has no lines",
                        "add lines = [\"led0\"], or count = 8 for lines without names",
                    );
                }
                _ => {}
            }
        }
    }

    /// The lines of the host are lines of the chip, and no one is two.
    fn real_lines(&mut self) {
        for chip in &self.scenario.chips {
            let mut bound = HashSet::new();
            for (name, real) in &chip.host {
                match layout::real_line(chip, name) {
                    None => {
                        let help = "\"host\" is for lines that are among the chip's \"lines\"";
                        self.add(real.span(), format!("the chip has no line {name:?}"), help);
                    }
                    Some(line) if !bound.insert(line) => {
                        let message = format!("line {line} is two lines of the host");
                        self.add(real.span(), message, "leave out its name or its number");
                    }
                    Some(_) => {}
                }
            }
        }
    }

    /// Something that drives a line; one of the host has to allow that.
    fn driven(&mut self, name: &At<String>) {
        let Ok(place) = self.layout.line(name) else {
            self.line(name);
            return;
        };
        let Some(chip) = self.scenario.chips.get(place.chip) else { return };
        let mut real = chip.host.iter().filter(|(name, _)| layout::real_line(chip, name) == Some(place.line));
        if real.any(|(_, real)| !real.0.setup().control) {
            let message = format!("{:?} is a line of the host, which may not be driven", **name);
            self.add(name.span(), message, "add the option \"/control\" to it, under \"host\"");
        }
    }

    /// A scenario that cannot fail shows nothing.
    fn has_a_check(&mut self) {
        let Scenario { steps, exit, fail_serial, .. } = self.scenario;
        if exit.is_none() && fail_serial.is_empty() && !steps.iter().any(|step| step.is_check()) {
            self.add_unplaced(
                "the scenario cannot fail: it expects nothing",
                "add a step such as { wait-serial = \"…\" }, or exit = 0",
            );
        }
    }

    fn line(&mut self, name: &At<String>) -> Option<usize> {
        match self.layout.line(name) {
            Ok(place) => Some(place.chip),
            Err(Unknown { message, help }) => {
                self.add(name.span(), message, help);
                None
            }
        }
    }

    /// A chip that is named, or the first one.
    fn chip(&mut self, name: Option<&At<String>>, span: Range<usize>) -> Option<usize> {
        let (found, span) = match name {
            Some(name) => (self.layout.chip(name), name.span()),
            None => (self.layout.chip("gpio0"), span),
        };
        found.map_err(|Unknown { message, help }| self.add(span, message, help)).ok()
    }

    /// A chip must be of one protocol wherever the scenario runs.
    fn must_be(&mut self, chip: Option<usize>, protocol: Protocol, span: Range<usize>, what: &str) {
        let Some(Chip { protocol: own, .. }) = chip.and_then(|chip| self.scenario.chips.get(chip)) else { return };
        let spoken = own.as_ref().map_or(self.scenario.protocols.as_slice(), std::slice::from_ref);
        if spoken.iter().any(|spoken| *spoken != protocol) {
            let (name, other) = match protocol {
                Protocol::Ratified => ("ratified", "draft"),
                Protocol::Draft => ("draft", "ratified"),
            };
            self.add(
                span,
                format!("{what} of the {name} protocol, but the chip speaks the {other} one, too"),
                format!("set protocols = [\"{name}\"], or the chip's own protocol = \"{name}\""),
            );
        }
    }

    fn text(&mut self, text: &str, span: Range<usize>) {
        if text.is_empty() {
            self.add(span, "the text is empty: every line has it", "write what the line has in it");
        }
    }

    fn until(&mut self, until: &Until, span: Range<usize>) {
        match until {
            Until::Serial(text) => self.text(text, span),
            Until::Time(time) if time.0.is_zero() => self.add(span, "a span of no time", "give a time above zero"),
            Until::Time(_) | Until::Exit => {}
        }
    }

    fn step(&mut self, step: &At<Step>) {
        let span = step.span();
        match &**step {
            Step::Delay(_) | Step::WriteSerial(_) | Step::ExpectExit(_) => {}
            Step::SetControl(control) => self.driven(&control.line),
            Step::Release(line) => self.driven(line),
            Step::Pulse(pulse) => self.driven(&pulse.line),
            Step::Clock(clock) => {
                self.driven(&clock.line);
                if clock.period.0.is_zero() {
                    self.add(clock.period.span(), "a period of zero", "give a time above zero");
                }
            }
            Step::Pwm(pwm) => {
                self.driven(&pwm.line);
                if pwm.period.0.is_zero() || pwm.high.0 > pwm.period.0 {
                    let help = "\"high\" is a part of \"period\", which is above zero";
                    self.add(pwm.high.span(), "the pulses do not fit into the period", help);
                }
            }
            Step::Bounce(bounce) => self.driven(&bounce.line),
            Step::Fault(fault) => self.fault(fault, span),
            Step::WaitSerial(wait) => self.text(&wait.text, span),
            Step::FailSerial(text) => self.text(text, span),
            Step::ExpectSerial(expect) => {
                if expect.lines.is_empty() {
                    self.add(span.clone(), "no lines are expected", "list at least one text");
                }
                for text in &expect.lines {
                    self.text(text, span.clone());
                }
            }
            Step::ExpectPin(pin) => _ = self.line(&pin.line),
            Step::ExpectEdges(expect) => {
                if expect.edges.is_empty() {
                    self.add(span, "no edges are expected", "list at least one; { expect-silence = … } is for none");
                }
                for edge in &expect.edges {
                    if let Err(Unknown { message, help }) = self.layout.line(&edge.line) {
                        self.add(edge.span(), message, help);
                    }
                }
                for line in &expect.quiet {
                    self.line(line);
                }
            }
            Step::ExpectCount(expect) => {
                self.line(&expect.line);
                self.until(&expect.until, span.clone());
                self.bounds(expect, span);
            }
            Step::ExpectFrequency(expect) => {
                self.line(&expect.line);
                if !(expect.hz.is_finite() && *expect.hz > 0.0) {
                    self.add(expect.hz.span(), "a frequency that no line has", "give a number above zero");
                }
                self.periods(expect.periods, span);
            }
            Step::ExpectDuty(expect) => {
                self.line(&expect.line);
                self.periods(expect.periods, span);
            }
            Step::ExpectSilence(expect) => {
                if expect.lines.is_empty() {
                    self.add(span.clone(), "no lines are named", "list at least one line");
                }
                for line in &expect.lines {
                    self.line(line);
                }
                self.until(&expect.until, span);
            }
            Step::ExpectRequest(filter) => {
                let chip = self.requests(filter, span.clone());
                if let Some((protocol, what)) = protocol_of(filter) {
                    self.must_be(chip, protocol, span, what);
                }
            }
        }
    }

    fn periods(&mut self, periods: u16, span: Range<usize>) {
        if periods == 0 {
            self.add(span, "no periods are looked at", "\"periods\" is at least 1");
        }
    }

    fn bounds(&mut self, expect: &ExpectCount, span: Range<usize>) {
        match (expect.exactly, expect.min, expect.max) {
            (None, None | Some(0), None) => {
                self.add(span, "any number is right", "give \"exactly\", \"min\" above 0, or \"max\"");
            }
            (Some(_), Some(_), _) | (Some(_), _, Some(_)) => {
                self.add(span, "\"exactly\" leaves nothing to \"min\" and \"max\"", "give either");
            }
            (_, Some(min), Some(max)) if min > max => {
                self.add(span, format!("no number is at least {min} and at most {max}"), "swap \"min\" and \"max\"");
            }
            _ => {}
        }
    }

    /// Returns the chip that is meant.
    fn requests(&mut self, filter: &RequestFilter, span: Range<usize>) -> Option<usize> {
        let chip = match &filter.line {
            Some(line) => self.line(line),
            None => self.chip(None, span.clone()),
        };
        if let Err(message) = requests(filter, None) {
            self.add(span, message, "give one kind of request, and what fits to it");
        }
        chip
    }

    fn fault(&mut self, fault: &Fault, span: Range<usize>) {
        match fault {
            Fault::Answer(answer) => {
                let of_line = self.requests(&answer.to, answer.to.span());
                let chip = match &answer.chip {
                    Some(name) => self.chip(Some(name), span.clone()),
                    None => of_line,
                };
                self.must_be(chip, Protocol::Ratified, span, "spoiled answers are");
            }
            Fault::Mute(line) | Fault::Unmute(line) => _ = self.line(line),
            Fault::Stall(OfChip { chip }) | Fault::Resume(OfChip { chip }) => _ = self.chip(chip.as_ref(), span),
            Fault::Jump(jump) => _ = self.chip(jump.chip.as_ref(), span),
            Fault::Interrupt(interrupt) => _ = self.chip(interrupt.chip.as_ref(), span),
            Fault::ReturnEvents(events) => {
                let chip = self.chip(events.chip.as_ref(), span.clone());
                self.must_be(chip, Protocol::Ratified, span, "event buffers are");
            }
            Fault::Message(message) => {
                let chip = self.chip(message.chip.as_ref(), span.clone());
                self.must_be(chip, Protocol::Draft, span, "such messages are");
            }
        }
    }
}

/// The protocol that alone has such requests.
fn protocol_of(filter: &RequestFilter) -> Option<(Protocol, &'static str)> {
    match filter.request {
        Some(RequestName::LineNames) => Some((Protocol::Ratified, "requests for names are")),
        Some(RequestName::Unmask) => Some((Protocol::Ratified, "event buffers are")),
        Some(RequestName::SetInterrupt) => Some((Protocol::Ratified, "kinds of interrupts are")),
        None if filter.interrupt.is_some() => Some((Protocol::Ratified, "kinds of interrupts are")),
        Some(RequestName::Claim) => Some((Protocol::Draft, "requests to claim a line are")),
        _ => None,
    }
}

/// The requests that a filter lets through, for the line that it names.
///
/// # Errors
///
/// What does not fit together.
pub(crate) fn requests(
    filter: &RequestFilter,
    line: Option<virtio_gpio::messages::LineId>,
) -> Result<Requests, &'static str> {
    let RequestFilter { request, value, direction, interrupt, .. } = filter;
    let value = value.map(|value| value.0);
    let (direction, interrupt) = (direction.map(Into::into), interrupt.map(Into::into));
    let kind = match (request, value, direction, interrupt) {
        (None, None, None, None) => None,
        (Some(RequestName::LineNames), None, None, None) => Some(Kind::LineNames),
        (Some(RequestName::Claim), None, None, None) => Some(Kind::Claim),
        (Some(RequestName::GetDirection), None, None, None) => Some(Kind::GetDirection),
        (Some(RequestName::GetValue), None, None, None) => Some(Kind::GetValue),
        (Some(RequestName::Unmask), None, None, None) => Some(Kind::Unmask),
        (Some(RequestName::SetDirection), None, direction, None) | (None, None, direction @ Some(_), None) => {
            Some(Kind::SetDirection(direction))
        }
        (Some(RequestName::SetValue), value, None, None) | (None, value @ Some(_), None, None) => {
            Some(Kind::SetValue(value))
        }
        (Some(RequestName::SetInterrupt), None, None, interrupt) | (None, None, None, interrupt @ Some(_)) => {
            Some(Kind::SetInterrupt(interrupt))
        }
        _ => return Err("the parts of this request do not fit together"),
    };
    if kind == Some(Kind::LineNames) && filter.line.is_some() {
        return Err("the request for the names is of no line");
    }
    Ok(Requests { kind, line })
}
