//! What is behind lines that are more than a simulation: the pins of a host, for instance.
//!
//! A device asks before its driver changes anything about a line, and again where its driver wants to know a level. So what
//! is behind a line can refuse, and the driver hears of it in the answer to its own request.

use alloc::boxed::Box;
use core::error::Error;
use core::fmt;

use virtio_gpio::messages::{Direction, InterruptType, Level, LineId};

use crate::bank::Line;

/// What a driver uses a line for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// The direction.
    pub direction: Direction,
    /// The output level that the driver set last; `None` before it set any. It counts on an output.
    pub latch: Option<Level>,
    /// What the line interrupts for. The draft has no such thing: there it is always none.
    pub interrupt: InterruptType,
}

impl Usage {
    /// The driver has nothing to do with the line.
    pub const NONE: Self = Self { direction: Direction::None, latch: None, interrupt: InterruptType::None };
}

/// The line cannot be had, or not in that way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unavailable {
    /// Linux's number for the reason, without a sign. The draft tells it to the driver; the ratified protocol has one
    /// error, without a reason.
    pub error: i32,
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "The line cannot be used in that way (error {})", self.error)
    }
}

impl Error for Unavailable {}

/// What is behind the lines of a device. Each line is either simulated, and what is said here of a default is true for it,
/// or it is not.
pub trait Hardware {
    /// The driver is about to use a line in this way. Gives what the outside drives from then on; by default what it
    /// drives now, which is `drive`.
    ///
    /// [`Usage::NONE`] is never refused.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] when the line stays as it was.
    fn apply(&mut self, line: LineId, usage: Usage, drive: Option<Level>) -> Result<Option<Level>, Unavailable> {
        let _ = (line, usage);
        Ok(drive)
    }

    /// The driver wants a line for itself before it says what for, which a driver of the draft can.
    ///
    /// # Errors
    ///
    /// [`Unavailable`].
    fn claim(&mut self, line: LineId) -> Result<(), Unavailable> {
        let _ = line;
        Ok(())
    }

    /// Looks at the level of a line; `None` where the device knows it by itself, which is the default.
    ///
    /// # Errors
    ///
    /// [`Unavailable`].
    fn sense(&mut self, line: LineId) -> Result<Option<Level>, Unavailable> {
        let _ = line;
        Ok(None)
    }
}

/// All lines are simulated.
impl Hardware for () {}

/// Without it all lines are simulated.
impl<H: Hardware> Hardware for Option<H> {
    fn apply(&mut self, line: LineId, usage: Usage, drive: Option<Level>) -> Result<Option<Level>, Unavailable> {
        self.as_mut().map_or(Ok(drive), |hardware| hardware.apply(line, usage, drive))
    }

    fn claim(&mut self, line: LineId) -> Result<(), Unavailable> {
        self.as_mut().map_or(Ok(()), |hardware| hardware.claim(line))
    }

    fn sense(&mut self, line: LineId) -> Result<Option<Level>, Unavailable> {
        self.as_mut().map_or(Ok(None), |hardware| hardware.sense(line))
    }
}

impl<H: Hardware> Hardware for Box<H> {
    fn apply(&mut self, line: LineId, usage: Usage, drive: Option<Level>) -> Result<Option<Level>, Unavailable> {
        (**self).apply(line, usage, drive)
    }

    fn claim(&mut self, line: LineId) -> Result<(), Unavailable> {
        (**self).claim(line)
    }

    fn sense(&mut self, line: LineId) -> Result<Option<Level>, Unavailable> {
        (**self).sense(line)
    }
}

/// The state of a line that its driver wants to bring about, as it is if what is behind the line agrees.
///
/// # Errors
///
/// [`Unavailable`] if it does not.
pub(crate) fn agreed(
    hardware: &mut impl Hardware,
    line: LineId,
    after: Line,
    interrupt: InterruptType,
) -> Result<Line, Unavailable> {
    let usage = Usage { direction: after.direction, latch: after.latch, interrupt };
    Ok(Line { drive: hardware.apply(line, usage, after.drive)?, ..after })
}

/// The state of a line that its driver has left.
pub(crate) fn left(hardware: &mut impl Hardware, line: LineId, before: Line) -> Line {
    let drive = hardware.apply(line, Usage::NONE, before.drive).unwrap_or(None);
    Line { drive, ..before.in_direction(Direction::None) }
}
