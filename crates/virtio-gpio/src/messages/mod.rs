//! What travels over the queues, for both protocols: raw bytes on one side, valid values on the other.
//!
//! Every conversion from bytes is the only check of those bytes: behind it stand types that cannot hold an invalid
//! value. Both directions are here (a driver encodes requests and decodes replies, a device does the reverse), so that
//! driver and device model share one definition; the byte vectors in the tests are typed by hand from the
//! specifications, so that the two cannot be wrong together.

pub mod draft;
pub mod ratified;

use core::fmt;

/// The number of a line inside its device, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LineId(pub u16);

impl fmt::Display for LineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The level of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Level {
    /// Low, inactive, 0.
    Low,
    /// High, active, 1.
    High,
}

impl Level {
    /// The opposite level.
    #[must_use]
    pub const fn toggled(self) -> Self {
        match self {
            Self::Low => Self::High,
            Self::High => Self::Low,
        }
    }

    /// 0 for low, 1 for high.
    pub const fn bit(self) -> u8 {
        match self {
            Self::Low => 0,
            Self::High => 1,
        }
    }
}

impl From<bool> for Level {
    fn from(high: bool) -> Self {
        if high { Self::High } else { Self::Low }
    }
}

impl From<Level> for bool {
    fn from(level: Level) -> Self {
        level == Level::High
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bit().fmt(f)
    }
}

/// Which way a line is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Not in use. Only the ratified protocol has this state.
    None,
    /// The guest drives the line.
    Output,
    /// The guest senses the line.
    Input,
}

/// What makes a line interrupt. The wire values of the ratified protocol are an enumeration, not a bit mask (VIRTIO
/// 1.2, 5.18.6.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InterruptType {
    /// Disabled.
    None,
    /// A change from low to high.
    RisingEdge,
    /// A change from high to low.
    FallingEdge,
    /// A change in either direction.
    BothEdges,
    /// The line being high.
    HighLevel,
    /// The line being low.
    LowLevel,
}

impl InterruptType {
    /// Whether the type fires on a change rather than on a state.
    pub const fn is_edge(self) -> bool {
        matches!(self, Self::RisingEdge | Self::FallingEdge | Self::BothEdges)
    }

    /// Whether the type fires on a state rather than on a change.
    pub const fn is_level(self) -> bool {
        matches!(self, Self::HighLevel | Self::LowLevel)
    }
}
