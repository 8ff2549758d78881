//! The steps of a scenario. Each is a table with one key, its name; names that Wokwi's scenarios have mean the same here.

use schemars::JsonSchema;
use serde::Deserialize;

use super::fault::Fault;
use super::value::{At, Edge, Edges, Interrupt, LineDirection, Percent, Short, Shorthand, Time, Value};

/// A line: its name, its number, or either behind its chip and a colon: `led0`, `3`, `gpio1:led0`.
pub type LineName = At<String>;

/// One step: something to do, or something to wait for. A step looks only at what came after the one before it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Lets time pass.
    Delay(Time),
    /// Drives a line from outside.
    SetControl(SetControl),
    /// Lets go of a line.
    Release(LineName),
    /// Drives a line to a level for a time, and then to the other one.
    Pulse(Pulse),
    /// Drives a line as a clock with equal halves.
    Clock(Clock),
    /// Drives a line with pulses of a given width.
    Pwm(Pwm),
    /// Drives a line to a level as a contact does that bounces.
    Bounce(Bounce),
    /// Types a text into the guest's console.
    WriteSerial(String),
    /// Makes a device misbehave, or behave again.
    Fault(Fault),
    /// Waits for a console line with a text in it, whatever comes before.
    WaitSerial(Short<WaitSerial>),
    /// The next console lines must have these texts in them.
    ExpectSerial(Short<ExpectSerial>),
    /// From here on no console line may have that text in it.
    FailSerial(String),
    /// A line must have a level, or get it in time.
    ExpectPin(ExpectPin),
    /// Some lines must change in this order, and in no other way.
    ExpectEdges(Short<ExpectEdges>),
    /// A line must change so often.
    ExpectCount(ExpectCount),
    /// A line must change with a frequency.
    ExpectFrequency(ExpectFrequency),
    /// A line must be high for a part of the time.
    ExpectDuty(ExpectDuty),
    /// Some lines must not change.
    ExpectSilence(ExpectSilence),
    /// The driver must ask for something.
    ExpectRequest(RequestFilter),
    /// The guest must end with this exit status.
    ExpectExit(i32),
}

impl Step {
    /// The step's name in the file.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Delay(_) => "delay",
            Self::SetControl(_) => "set-control",
            Self::Release(_) => "release",
            Self::Pulse(_) => "pulse",
            Self::Clock(_) => "clock",
            Self::Pwm(_) => "pwm",
            Self::Bounce(_) => "bounce",
            Self::WriteSerial(_) => "write-serial",
            Self::Fault(_) => "fault",
            Self::WaitSerial(_) => "wait-serial",
            Self::ExpectSerial(_) => "expect-serial",
            Self::FailSerial(_) => "fail-serial",
            Self::ExpectPin(_) => "expect-pin",
            Self::ExpectEdges(_) => "expect-edges",
            Self::ExpectCount(_) => "expect-count",
            Self::ExpectFrequency(_) => "expect-frequency",
            Self::ExpectDuty(_) => "expect-duty",
            Self::ExpectSilence(_) => "expect-silence",
            Self::ExpectRequest(_) => "expect-request",
            Self::ExpectExit(_) => "expect-exit",
        }
    }

    /// Whether the step can be taken before the guest boots: it does something to the world, and waits for nothing.
    pub fn is_setup(&self) -> bool {
        matches!(
            self,
            Self::SetControl(_)
                | Self::Release(_)
                | Self::Pulse(_)
                | Self::Clock(_)
                | Self::Pwm(_)
                | Self::Bounce(_)
                | Self::Fault(_)
        )
    }

    /// Whether the step can fail because of what the guest does.
    pub fn is_check(&self) -> bool {
        !self.is_setup() && !matches!(self, Self::Delay(_) | Self::WriteSerial(_))
    }
}

/// Drives a line from outside.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SetControl {
    /// The line.
    pub line: LineName,
    /// The level.
    pub value: Value,
}

/// Drives a line to a level for a time, and then to the other one.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Pulse {
    /// The line.
    pub line: LineName,
    /// The level of the pulse.
    #[serde(default = "high")]
    pub value: Value,
    /// How long it lasts.
    pub width: Time,
}

fn high() -> Value {
    Value(virtio_gpio::messages::Level::High)
}

/// Drives a line as a clock with equal halves, the high one first.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Clock {
    /// The line.
    pub line: LineName,
    /// The time of a whole cycle.
    pub period: At<Time>,
    /// How many cycles; without it the clock runs until something else drives the line.
    pub cycles: Option<u32>,
}

/// Drives a line with pulses of a given width.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Pwm {
    /// The line.
    pub line: LineName,
    /// The time of a whole cycle.
    pub period: At<Time>,
    /// The high part of it.
    pub high: At<Time>,
    /// How many cycles; without it the pulses come until something else drives the line.
    pub cycles: Option<u32>,
}

/// Drives a line to a level as a contact does that bounces: with some changes at random times before it rests.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Bounce {
    /// The line.
    pub line: LineName,
    /// The level at which it comes to rest.
    pub to: Value,
    /// How long it bounces.
    pub over: Time,
    /// How many changes there are, the last one included.
    pub changes: u32,
    /// What the random times come from; without it from the seed of the run.
    pub seed: Option<u64>,
}

/// Waits for a console line.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct WaitSerial {
    /// What the line has in it.
    pub text: String,
    /// How long after the step before it may come; without it the time-out of the scenario counts.
    pub within: Option<Time>,
}

impl Shorthand for WaitSerial {
    type Table = Self;
    type Item = String;
    const EXPECTED: &'static str = "a text, or a table with \"text\"";

    fn from_text(text: &str) -> Option<Self> {
        Some(Self { text: text.to_owned(), within: None })
    }

    fn from_list(_: Vec<String>) -> Option<Self> {
        None
    }
}

/// The next console lines.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ExpectSerial {
    /// What each of the lines has in it, in their order.
    pub lines: Vec<String>,
    /// Looks only at lines that have this in them.
    pub among: Option<String>,
    /// How long after the step before the last of them may come.
    pub within: Option<Time>,
}

impl Shorthand for ExpectSerial {
    type Table = Self;
    type Item = String;
    const EXPECTED: &'static str = "a text, a list of texts, or a table with \"lines\"";

    fn from_text(text: &str) -> Option<Self> {
        Self::from_list(vec![text.to_owned()])
    }

    fn from_list(lines: Vec<String>) -> Option<Self> {
        Some(Self { lines, among: None, within: None })
    }
}

/// The level of a line.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ExpectPin {
    /// The line.
    pub line: LineName,
    /// The level that it must have.
    pub value: Value,
    /// For what the guest must use it.
    pub direction: Option<LineDirection>,
    /// How long after the step before it may take to get there. Without it the line must be so now: at the moment of what
    /// the step before waited for.
    pub within: Option<Time>,
}

/// Edges in an order.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ExpectEdges {
    /// The edges: the next ones of the lines that are named here must be these.
    pub edges: Vec<At<Edge>>,
    /// More lines that must not change before the last of the edges.
    #[serde(default)]
    pub quiet: Vec<LineName>,
    /// How long after the step before the last of them may come.
    pub within: Option<Time>,
}

impl Shorthand for ExpectEdges {
    type Table = Self;
    type Item = At<Edge>;
    const EXPECTED: &'static str = "a list of edges, or a table with \"edges\"";

    fn from_text(_: &str) -> Option<Self> {
        None
    }

    fn from_list(edges: Vec<At<Edge>>) -> Option<Self> {
        Some(Self { edges, quiet: Vec::new(), within: None })
    }
}

/// The end of the span of time that a step looks at. It begins where the step before ended.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Until {
    /// So much later.
    Time(Time),
    /// A console line with that text.
    Serial(String),
    /// The guest's end.
    Exit,
}

/// A number of edges.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ExpectCount {
    /// The line.
    pub line: LineName,
    /// Which of its changes count.
    #[serde(default)]
    pub edges: Edges,
    /// Until when they are counted.
    pub until: Until,
    /// So many, neither more nor less.
    pub exactly: Option<u64>,
    /// So many at least.
    pub min: Option<u64>,
    /// So many at most.
    pub max: Option<u64>,
}

/// A frequency: the median of some periods, from one rising edge to the next.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ExpectFrequency {
    /// The line.
    pub line: LineName,
    /// Cycles in a second.
    pub hz: At<f64>,
    /// How far it may be off, of itself.
    pub tolerance: Percent,
    /// How many periods are looked at.
    #[serde(default = "periods")]
    pub periods: u16,
}

/// How long a line is high: the median of some periods, from one rising edge to the next.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ExpectDuty {
    /// The line.
    pub line: LineName,
    /// The high part of a period.
    pub duty: Percent,
    /// How far it may be off, of the whole period.
    pub tolerance: Percent,
    /// How many periods are looked at.
    #[serde(default = "periods")]
    pub periods: u16,
}

fn periods() -> u16 {
    5
}

/// Lines that do not change.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ExpectSilence {
    /// The lines.
    pub lines: Vec<LineName>,
    /// Until when.
    pub until: Until,
}

/// The kinds of requests, in the words of the ratified protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RequestName {
    /// For the names of all lines (ratified protocol).
    LineNames,
    /// That the line is going to be used (draft).
    Claim,
    /// For the direction of a line.
    GetDirection,
    /// To change the direction of a line.
    SetDirection,
    /// For the level of a line.
    GetValue,
    /// To change the level of a line.
    SetValue,
    /// To change what makes a line interrupt (ratified protocol).
    SetInterrupt,
    /// That a line may interrupt again (ratified protocol): the driver queues its event buffer.
    Unmask,
}

/// Requests of a driver: each part that is given must fit.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RequestFilter {
    /// The kind; it can be left out where a part below tells it.
    pub request: Option<RequestName>,
    /// The line; without it any.
    pub line: Option<LineName>,
    /// The level that is set.
    pub value: Option<Value>,
    /// The direction that is set.
    pub direction: Option<LineDirection>,
    /// The kind of interrupt that is set.
    pub interrupt: Option<Interrupt>,
}
