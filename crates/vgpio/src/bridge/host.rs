//! What the bridge needs of a host: the kernel's GPIO chips, or those of a test.

use std::fmt;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use virtio_gpio::messages::Level;

/// What pulls a line that nobody drives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bias {
    /// Nothing.
    None,
    /// A resistor to the supply.
    Up,
    /// A resistor to ground.
    Down,
}

/// How an output drives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Drive {
    /// Both levels.
    #[default]
    PushPull,
    /// Low only.
    OpenDrain,
    /// High only.
    OpenSource,
}

/// What a line is left as when the guest has nothing to do with it any more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Safe {
    /// An input.
    #[default]
    Input,
    /// An output of that level.
    Output(Level),
    /// As the guest left it.
    Keep,
}

/// How a line of the host is set up, and what may be done to it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a permission or a property of its own")]
pub struct Setup {
    /// What pulls it; `None` leaves that as it is.
    pub bias: Option<Bias>,
    /// How it drives as an output.
    pub drive: Drive,
    /// For how long a level has to stay before it counts; zero for no time.
    pub debounce: Duration,
    /// Whether the guest sees the opposite level, and sets it.
    pub active_low: bool,
    /// What it is left as.
    pub safe: Safe,
    /// Whether it is kept from other programs, in its safe state, while the guest does not use it.
    pub hold: bool,
    /// Whether the guest may only listen to it.
    pub input_only: bool,
    /// Whether the outside (the control socket, a wire, a scenario) may drive it.
    pub control: bool,
}

/// What a line is at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// What it was before it was taken.
    AsIs,
    /// An input.
    Input {
        /// Whether edges are reported.
        edges: bool,
    },
    /// An output of that level.
    Output(Level),
}

/// Why the host does not do it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// Another has the line: its name, where it has one.
    Busy(Option<String>),
    /// This process may not use the chip.
    NotPermitted,
    /// There is no such chip, or not any more.
    NoChip,
    /// The chip has no such line.
    NoLine,
    /// The chip cannot report edges.
    NoEdges,
    /// The configuration lets the guest listen only.
    InputOnly,
    /// The configuration does not let the outside drive the line.
    NoControl,
    /// Anything else, in the kernel's words.
    Other(String),
}

/// The host does not do it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostError {
    /// Why.
    pub problem: Problem,
    errno: Option<i32>,
}

impl HostError {
    /// An error of that kind.
    pub fn new(problem: Problem) -> Self {
        Self { problem, errno: None }
    }

    /// An error that the kernel has a number for.
    pub fn of_kernel(problem: Problem, errno: i32) -> Self {
        Self { problem, errno: Some(errno) }
    }

    /// Linux's number for it, without a sign.
    pub fn errno(&self) -> i32 {
        use rustix::io::Errno;
        self.errno.unwrap_or_else(|| {
            let errno = match self.problem {
                Problem::Busy(_) => Errno::BUSY,
                Problem::NotPermitted | Problem::InputOnly | Problem::NoControl => Errno::PERM,
                Problem::NoChip => Errno::NODEV,
                Problem::NoLine => Errno::INVAL,
                Problem::NoEdges => Errno::OPNOTSUPP,
                Problem::Other(_) => Errno::IO,
            };
            errno.raw_os_error()
        })
    }
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.problem {
            Problem::Busy(Some(user)) => write!(f, "it is in use by {user:?}: end that, and let the guest try again"),
            Problem::Busy(None) => f.write_str(
                "it is in use by another program or by the kernel (gpioinfo shows by whom): end that, and let the guest \
                 try again",
            ),
            Problem::NotPermitted => f.write_str(
                "this process may not use the chip: give its user access to the chip's file in /dev (on Debian and \
                 Raspberry Pi OS: a member of the group gpio)",
            ),
            Problem::NoChip => {
                f.write_str("its chip is not there: plug it in or load its driver, and the line works from then on")
            }
            Problem::NoLine => f.write_str("its chip has no such line: gpioinfo shows those that it has"),
            Problem::NoEdges => f.write_str("its chip cannot interrupt: the guest has to ask for the level"),
            Problem::InputOnly => f.write_str("the guest may only listen to it: leave out input-only to let it drive"),
            Problem::NoControl => {
                f.write_str("it is a real line, which may not be driven from here: its option \"control\" allows that")
            }
            Problem::Other(words) => write!(f, "the host says: {words}"),
        }
    }
}

impl std::error::Error for HostError {}

/// A chip of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChipInfo {
    /// The names of its lines; empty for a line without one.
    pub names: Vec<String>,
}

/// A change of a line's level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostEdge {
    /// When, by the clock `CLOCK_MONOTONIC`.
    pub at: Duration,
    /// The level that was seen after it.
    pub level: Level,
    /// How many edges before it came faster than they were taken, and are lost.
    pub lost: u32,
}

/// A host.
pub trait Host: Send + fmt::Debug {
    /// Looks at a chip: `gpiochip0`, `0`, the path of its file, or its label.
    ///
    /// # Errors
    ///
    /// [`HostError`].
    fn chip(&mut self, chip: &str) -> Result<ChipInfo, HostError>;

    /// The names of the chips that there are, to be told to a person.
    fn chips(&mut self) -> Vec<String>;

    /// Takes a line. It is given back when what this returns is dropped.
    ///
    /// # Errors
    ///
    /// [`HostError`].
    fn request(&mut self, chip: &str, line: u32, setup: &Setup, mode: Mode) -> Result<Box<dyn HostLine>, HostError>;
}

/// A line that was taken.
pub trait HostLine: Send + fmt::Debug {
    /// Makes it an input or an output.
    ///
    /// # Errors
    ///
    /// [`HostError`]; then it is what it was before.
    fn reconfigure(&mut self, setup: &Setup, mode: Mode) -> Result<(), HostError>;

    /// Sets the level of an output.
    ///
    /// # Errors
    ///
    /// [`HostError`].
    fn set(&mut self, level: Level) -> Result<(), HostError>;

    /// Looks at the level.
    ///
    /// # Errors
    ///
    /// [`HostError`].
    fn sense(&mut self) -> Result<Level, HostError>;

    /// Takes edges that have happened, as many as are convenient; none when there are none. Those that are left keep the
    /// descriptor readable.
    ///
    /// # Errors
    ///
    /// [`HostError`].
    fn edges(&mut self) -> Result<Vec<HostEdge>, HostError>;

    /// Becomes readable when there are edges, and reports an error when the line is gone.
    fn as_fd(&self) -> BorrowedFd<'_>;
}
