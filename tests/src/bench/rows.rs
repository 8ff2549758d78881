//! What is measured.

use serde::{Deserialize, Serialize};

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Row {
    SetRate,
    SetHalf,
    SetMost,
    GetRate,
    GetHalf,
    GetMost,
    Set8,
    Set32,
    Set256,
    Stream,
    Direction,
    ReactionHalf,
    ReactionMost,
    ReactionAwake,
    Edges,
    Boot,
    BootQemu,
    ImageSize,
    MemoryUsed,
    LeastMemory,
}

/// What the issue asks of a row, as the ratio of the driver's figure to Linux's.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    AtLeast(f64),
    AtMost(f64),
}

impl Row {
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::SetRate => "set one line, calls a second",
            Self::SetHalf | Self::GetHalf => "... median, µs",
            Self::SetMost | Self::GetMost | Self::ReactionMost => "... p99, µs",
            Self::GetRate => "get one line, calls a second",
            Self::Set8 => "8 lines at once, line writes a second",
            Self::Set32 => "32 lines at once, line writes a second",
            Self::Set256 => "256 lines at once, line writes a second",
            Self::Stream => "streaming, line writes a second",
            Self::Direction => "direction, changes a second",
            Self::ReactionHalf => "reaction to an edge, median, µs",
            Self::ReactionAwake => "... of it until the guest's first request, µs",
            Self::Edges => "edges a second until some are merged",
            Self::Boot => "start of QEMU to the first request, ms",
            Self::BootQemu => "... until the image's first line, ms",
            Self::ImageSize => "image, KiB",
            Self::MemoryUsed => "guest memory in use, KiB",
            Self::LeastMemory => "least memory that boots, MiB",
        }
    }

    /// The goal for this row where it has one.
    pub(crate) const fn goal(self, one_processor: bool) -> Option<Goal> {
        match self {
            Self::SetRate | Self::GetRate if one_processor => Some(Goal::AtLeast(1.0)),
            Self::SetRate | Self::GetRate => Some(Goal::AtLeast(3.0)),
            Self::Set8 => Some(Goal::AtLeast(40.0)),
            Self::Set32 => Some(Goal::AtLeast(60.0)),
            Self::ReactionHalf | Self::ReactionMost | Self::Boot => Some(Goal::AtMost(1.0 / 3.0)),
            Self::ImageSize => Some(Goal::AtMost(0.05)),
            Self::MemoryUsed | Self::LeastMemory => Some(Goal::AtMost(0.1)),
            _ => None,
        }
    }
}

impl Goal {
    pub(crate) fn is_reached(self, ratio: f64) -> bool {
        match self {
            Self::AtLeast(wanted) => ratio >= wanted,
            Self::AtMost(wanted) => ratio <= wanted,
        }
    }
}
