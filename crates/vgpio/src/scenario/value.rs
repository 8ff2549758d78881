//! The values in a scenario file: each is read from its text, and says what was expected where it cannot be.

use std::borrow::Cow;
use std::fmt;
use std::ops::{Deref, Range};
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use virtio_gpio::messages::{Direction, InterruptType, Level};

use crate::bridge::spec::Spec;
use crate::duration;

/// A value and the bytes of the file that it stands in.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub struct At<T>(toml::Spanned<T>);

impl<T> At<T> {
    /// The bytes of the file.
    pub fn span(&self) -> Range<usize> {
        self.0.span()
    }
}

impl<T> Deref for At<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.get_ref()
    }
}

impl<T: fmt::Display> fmt::Display for At<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: JsonSchema> JsonSchema for At<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// Reads a value from a string.
struct FromText<T> {
    expected: &'static str,
    parse: fn(&str) -> Result<T, String>,
}

impl<T> Visitor<'_> for FromText<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.parse)(text).map_err(E::custom)
    }
}

/// A duration: `"500ms"`, `"2s"`, `"250us"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time(pub Duration);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let parse = |text: &str| duration::parse(text).map(Self).map_err(|error| format!("bad duration: {error}"));
        deserializer.deserialize_any(FromText { expected: "a duration such as \"500ms\"", parse })
    }
}

impl JsonSchema for Time {
    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string", "pattern": "^[0-9]+(us|ms|s)$", "description": "A duration: \"500ms\", \"2s\", \"250us\""
        })
    }
}

/// A part of a hundred: `"50%"`. Kept as a fraction of 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Percent(pub f64);

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        fn parse(text: &str) -> Result<Percent, String> {
            let number = text.strip_suffix('%').and_then(|number| number.trim_end().parse::<f64>().ok());
            let number = number.filter(|number| (0.0..=100.0).contains(number));
            Ok(Percent(number.ok_or("bad percentage: expected a number from 0 to 100 and %: \"12.5%\"")? / 100.0))
        }
        deserializer.deserialize_any(FromText { expected: "a percentage such as \"50%\"", parse })
    }
}

impl JsonSchema for Percent {
    fn schema_name() -> Cow<'static, str> {
        "Percent".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9.]+ *%$", "description": "A percentage: \"12.5%\"" })
    }
}

/// A line of the host: `"gpiochip0:17/pull-up"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RealLine(pub Spec);

impl<'de> Deserialize<'de> for RealLine {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let parse = |text: &str| Spec::one(text).map(Self).map_err(|error| format!("bad line of the host: {error}"));
        deserializer.deserialize_any(FromText { expected: "a line of the host such as \"gpiochip0:17\"", parse })
    }
}

impl JsonSchema for RealLine {
    fn schema_name() -> Cow<'static, str> {
        "RealLine".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string", "pattern": "^[^:]+:[^,=*]+$",
            "description": "A line of the host, and options: \"gpiochip0:17\", \"gpiochip0:17/pull-up/debounce=5ms\""
        })
    }
}

/// A level: 0, 1, `"low"` or `"high"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value(pub Level);

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Levels;

        impl Visitor<'_> for Levels {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a level: 0, 1, \"low\" or \"high\"")
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
                match number {
                    0 => Ok(Value(Level::Low)),
                    1 => Ok(Value(Level::High)),
                    _ => Err(E::custom(format!("bad level {number}: expected 0, 1, \"low\" or \"high\""))),
                }
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
                match text {
                    "low" => Ok(Value(Level::Low)),
                    "high" => Ok(Value(Level::High)),
                    _ => Err(E::unknown_variant(text, &["low", "high"])),
                }
            }
        }

        deserializer.deserialize_any(Levels)
    }
}

impl JsonSchema for Value {
    fn schema_name() -> Cow<'static, str> {
        "Value".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "enum": [0, 1, "low", "high"], "description": "A level" })
    }
}

/// Which changes of a line count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Edges {
    /// From low to high.
    Rising,
    /// From high to low.
    Falling,
    /// Either.
    #[default]
    Both,
}

impl Edges {
    /// Whether a change to that level counts.
    pub fn includes(self, level: Level) -> bool {
        match self {
            Self::Rising => level == Level::High,
            Self::Falling => level == Level::Low,
            Self::Both => true,
        }
    }
}

impl fmt::Display for Edges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rising => "rising",
            Self::Falling => "falling",
            Self::Both => "both",
        })
    }
}

/// An edge of a line: `"led0 rising"`, `"panel:led0 falling"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    /// The line, as it is written.
    pub line: String,
    /// The level after the edge.
    pub to: Level,
}

impl<'de> Deserialize<'de> for Edge {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        fn parse(text: &str) -> Result<Edge, String> {
            let to = |word| match word {
                "rising" => Some(Level::High),
                "falling" => Some(Level::Low),
                _ => None,
            };
            let parts = text.trim().rsplit_once(char::is_whitespace);
            let edge = parts.and_then(|(line, word)| Some(Edge { line: line.trim_end().to_owned(), to: to(word)? }));
            edge.ok_or_else(|| {
                format!("bad edge {text:?}: expected a line and \"rising\" or \"falling\": \"led0 rising\"")
            })
        }
        deserializer.deserialize_any(FromText { expected: "an edge such as \"led0 rising\"", parse })
    }
}

impl JsonSchema for Edge {
    fn schema_name() -> Cow<'static, str> {
        "Edge".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string", "pattern": "^.+ (rising|falling)$", "description": "An edge of a line: \"led0 rising\""
        })
    }
}

/// Which way a line is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LineDirection {
    /// Not in use.
    None,
    /// The guest drives it.
    Output,
    /// The guest senses it.
    Input,
}

impl From<LineDirection> for Direction {
    fn from(direction: LineDirection) -> Self {
        match direction {
            LineDirection::None => Self::None,
            LineDirection::Output => Self::Output,
            LineDirection::Input => Self::Input,
        }
    }
}

/// What makes a line interrupt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Interrupt {
    /// Nothing.
    None,
    /// A change from low to high.
    Rising,
    /// A change from high to low.
    Falling,
    /// Either change.
    Both,
    /// The line being high.
    High,
    /// The line being low.
    Low,
}

impl From<Interrupt> for InterruptType {
    fn from(interrupt: Interrupt) -> Self {
        match interrupt {
            Interrupt::None => Self::None,
            Interrupt::Rising => Self::RisingEdge,
            Interrupt::Falling => Self::FallingEdge,
            Interrupt::Both => Self::BothEdges,
            Interrupt::High => Self::HighLevel,
            Interrupt::Low => Self::LowLevel,
        }
    }
}

/// Something that is written as a table, and in its simplest form as a text or a list.
pub trait Shorthand: Sized {
    /// The whole form.
    type Table: for<'de> Deserialize<'de> + JsonSchema + Into<Self>;
    /// An element of the list.
    type Item: for<'de> Deserialize<'de> + JsonSchema;
    /// What is expected.
    const EXPECTED: &'static str;

    /// From a text; `None` where a text is not enough.
    fn from_text(text: &str) -> Option<Self>;

    /// From a list; `None` where there can be none.
    fn from_list(list: Vec<Self::Item>) -> Option<Self>;
}

/// A value with a [`Shorthand`].
#[derive(Debug, Clone)]
pub struct Short<T>(pub T);

impl<T> Deref for Short<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<'de, T: Shorthand> Deserialize<'de> for Short<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Forms<T>(std::marker::PhantomData<T>);

        impl<'de, T: Shorthand> Visitor<'de> for Forms<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(T::EXPECTED)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
                T::from_text(text).ok_or_else(|| E::invalid_type(serde::de::Unexpected::Str(text), &self))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<T, A::Error> {
                let list = Vec::deserialize(SeqAccessDeserializer::new(list))?;
                T::from_list(list).ok_or_else(|| A::Error::invalid_type(serde::de::Unexpected::Seq, &self))
            }

            fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<T, A::Error> {
                T::Table::deserialize(MapAccessDeserializer::new(table)).map(Into::into)
            }
        }

        deserializer.deserialize_any(Forms(std::marker::PhantomData)).map(Self)
    }
}

impl<T: Shorthand> JsonSchema for Short<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("{}Forms", T::Table::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut forms = Vec::new();
        if T::from_text("").is_some() {
            forms.push(json_schema!({ "type": "string" }));
        }
        if T::from_list(Vec::new()).is_some() {
            let item = generator.subschema_for::<T::Item>();
            forms.push(json_schema!({ "type": "array", "items": item }));
        }
        forms.push(generator.subschema_for::<T::Table>());
        json_schema!({ "anyOf": forms })
    }
}
