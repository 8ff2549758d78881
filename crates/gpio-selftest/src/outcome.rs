//! How a check ends.

use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;

use virtio_gpio::{Error, PortError, Rejected, SetupError};

/// Why a check did not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It failed: what was found, and what to look at.
    Failed(String),
    /// It cannot be shown here, and why.
    Skipped(&'static str),
}

pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    pub(crate) fn new(what: impl fmt::Display) -> Self {
        Self::Failed(what.to_string())
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Failed(format!("{error}"))
    }
}

impl From<SetupError> for Failure {
    fn from(error: SetupError) -> Self {
        Self::Failed(format!("the device cannot be set up: {error}"))
    }
}

impl<L> From<Rejected<L>> for Failure {
    fn from(rejected: Rejected<L>) -> Self {
        rejected.error.into()
    }
}

impl From<PortError> for Failure {
    fn from(error: PortError) -> Self {
        Self::Failed(format!("{error}"))
    }
}

/// Fails unless a condition holds.
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err($crate::outcome::Failure::Failed(alloc::format!($($message)+)));
        }
    };
}

/// Fails unless two values are the same. The first is what was found.
macro_rules! ensure_eq {
    ($found:expr, $expected:expr, $($message:tt)+) => {
        match (&$found, &$expected) {
            (found, expected) if *found == *expected => (),
            (found, expected) => {
                let what = alloc::format!($($message)+);
                return Err($crate::outcome::Failure::Failed(alloc::format!(
                    "{what}\nfound:    {found:?}\nexpected: {expected:?}"
                )));
            }
        }
    };
}

pub(crate) use {ensure, ensure_eq};
