//! The part of the `libgpiod` crate's interface that `vhost-device-gpio` uses, on simulated lines.
//!
//! The chip `/dev/gpiochipN` has N lines, named `line0`, `line1`, … Lines are wired in pairs: what line 0 drives, line 1
//! sees, and so on (2 and 3, 4 and 5). A line that nobody drives is low.

mod lines;

pub use lines::Error;

/// Result of all calls.
pub type Result<T> = std::result::Result<T, Error>;

/// The chip: where lines are looked up and requested.
pub mod chip {
    use std::sync::Arc;

    use crate::lines::{Error, Lines};
    use crate::{Result, line, request};

    /// An open chip.
    #[derive(Debug)]
    pub struct Chip {
        lines: Arc<Lines>,
    }

    /// What a chip tells about itself.
    #[derive(Debug)]
    pub struct Info {
        lines: usize,
    }

    impl Info {
        /// Number of lines.
        pub fn num_lines(&self) -> u32 {
            self.lines as u32
        }
    }

    impl Chip {
        /// Opens a chip. The number at the end of its path says how many lines it has.
        pub fn open(path: &str) -> Result<Self> {
            let digits = path.trim_start_matches(|c: char| !c.is_ascii_digit());
            let count = digits.parse().map_err(|_| Error::NoSuchChip)?;
            Ok(Self { lines: Arc::new(Lines::new(count)) })
        }

        /// Describes the chip.
        pub fn info(&self) -> Result<Info> {
            Ok(Info { lines: self.lines.count() })
        }

        /// Describes a line.
        pub fn line_info(&self, offset: u32) -> Result<line::Info> {
            self.lines.info(offset)
        }

        /// Takes the lines of `config`; its settings hold from now on.
        pub fn request_lines(
            &self,
            _consumer: Option<&request::Config>,
            config: &line::Config,
        ) -> Result<request::Request> {
            request::Request::new(Arc::clone(&self.lines), config)
        }
    }
}

/// Lines: their description and their settings.
pub mod line {
    use crate::Result;
    use crate::lines::Error;

    /// Direction of a line.
    #[derive(Clone, Copy, Debug, PartialEq)]
    pub enum Direction {
        /// Not decided.
        AsIs,
        /// Input.
        Input,
        /// Output.
        Output,
    }

    /// Which edges are events.
    #[derive(Clone, Copy, Debug, PartialEq)]
    pub enum Edge {
        /// Low to high.
        Rising,
        /// High to low.
        Falling,
        /// Either.
        Both,
    }

    /// Level of a line.
    #[derive(Clone, Copy, Debug, PartialEq)]
    pub enum Value {
        /// Low.
        InActive = 0,
        /// High.
        Active = 1,
    }

    impl Value {
        /// From 0 or 1.
        pub fn new(value: i32) -> Result<Self> {
            match value {
                0 => Ok(Self::InActive),
                1 => Ok(Self::Active),
                _ => Err(Error::InvalidValue),
            }
        }
    }

    /// What a line tells about itself.
    #[derive(Debug)]
    pub struct Info {
        pub(crate) name: String,
        pub(crate) direction: Direction,
    }

    impl Info {
        /// Its name.
        pub fn name(&self) -> Result<&str> {
            Ok(&self.name)
        }

        /// Its direction.
        pub fn direction(&self) -> Result<Direction> {
            Ok(self.direction)
        }
    }

    /// What is wanted of a line; what is not mentioned stays.
    #[derive(Clone, Debug)]
    pub struct Settings {
        pub(crate) direction: Option<Direction>,
        pub(crate) output: Value,
        pub(crate) edge: Option<Edge>,
    }

    impl Settings {
        /// Nothing wanted yet.
        pub fn new() -> Result<Self> {
            Ok(Self { direction: None, output: Value::InActive, edge: None })
        }

        /// Direction.
        pub fn set_direction(&mut self, direction: Direction) -> Result<&mut Self> {
            self.direction = Some(direction);
            Ok(self)
        }

        /// Level, if it becomes an output.
        pub fn set_output_value(&mut self, value: Value) -> Result<&mut Self> {
            self.output = value;
            Ok(self)
        }

        /// Edges to be told about.
        pub fn set_edge_detection(&mut self, edge: Option<Edge>) -> Result<&mut Self> {
            self.edge = edge;
            Ok(self)
        }
    }

    /// Settings for lines.
    #[derive(Debug)]
    pub struct Config {
        pub(crate) settings: Vec<(u32, Settings)>,
    }

    impl Config {
        /// No line yet.
        pub fn new() -> Result<Self> {
            Ok(Self { settings: Vec::new() })
        }

        /// The same settings for all these lines.
        pub fn add_line_settings(&mut self, offsets: &[u32], settings: Settings) -> Result<()> {
            self.settings.extend(offsets.iter().map(|&offset| (offset, settings.clone())));
            Ok(())
        }
    }
}

/// Requests: taken lines.
pub mod request {
    use std::sync::Arc;
    use std::time::Duration;

    use crate::lines::{Error, Lines};
    use crate::{Result, line};

    /// Who takes the lines.
    #[derive(Debug)]
    pub struct Config;

    impl Config {
        /// Nobody in particular.
        pub fn new() -> Result<Self> {
            Ok(Self)
        }

        /// Says who; nothing depends on it here.
        pub fn set_consumer(&mut self, _name: &str) -> Result<&mut Self> {
            Ok(self)
        }
    }

    /// Where events are read to.
    #[derive(Debug)]
    pub struct Buffer;

    impl Buffer {
        /// Room for `capacity` events; here always one.
        pub fn new(_capacity: usize) -> Result<Self> {
            Ok(Self)
        }
    }

    /// A taken line. Dropping it gives the line back.
    #[derive(Debug)]
    pub struct Request {
        lines: Arc<Lines>,
        offset: u32,
    }

    impl Request {
        pub(crate) fn new(lines: Arc<Lines>, config: &line::Config) -> Result<Self> {
            let &(offset, _) = config.settings.first().ok_or(Error::NoSuchLine)?;
            let request = Self { lines, offset };
            request.reconfigure_lines(config)?;
            Ok(request)
        }

        /// New settings for the line.
        pub fn reconfigure_lines(&self, config: &line::Config) -> Result<()> {
            config.settings.iter().try_for_each(|(offset, settings)| self.lines.configure(*offset, settings))
        }

        /// Level of the line.
        pub fn value(&self, offset: u32) -> Result<line::Value> {
            self.lines.value(offset)
        }

        /// Drives the line.
        pub fn set_value(&self, offset: u32, value: line::Value) -> Result<()> {
            self.lines.drive(offset, value)
        }

        /// Waits for an event of the line; `false` if none came in time.
        pub fn wait_edge_events(&self, timeout: Option<Duration>) -> Result<bool> {
            self.lines.wait(self.offset, timeout.unwrap_or(Duration::MAX))
        }

        /// Takes the oldest event.
        pub fn read_edge_events(&self, _buffer: &mut Buffer) -> Result<u32> {
            self.lines.take_event(self.offset)
        }
    }

    impl Drop for Request {
        fn drop(&mut self) {
            self.lines.release(self.offset);
        }
    }
}
