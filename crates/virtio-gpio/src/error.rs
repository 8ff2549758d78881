//! What can go wrong: with one operation, and with setting up a device.

use core::fmt;

use crate::messages::{LineId, draft};
use crate::queue::RingViolation;
use crate::transport::QueueSetupError;

/// Why an operation on a line did not succeed.
// With a tag of 32 bits a result is two words. Results are passed on often, and a tag of one byte takes a call of `memcpy` for
// it where words must be aligned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[repr(u32)]
pub enum Error {
    /// The device has no such line.
    NoSuchLine {
        /// The line asked for.
        line: LineId,
        /// How many lines there are.
        lines: u16,
    },
    /// The line is in use already.
    LineInUse(LineId),
    /// All line slots of the chip's storage are taken.
    TooManyLines {
        /// How many there are.
        limit: u16,
    },
    /// The event queue holds no buffer for a further watched line.
    TooManyWatched {
        /// How many lines can be watched.
        limit: u16,
    },
    /// The device cannot interrupt: it does not offer `VIRTIO_GPIO_F_IRQ`.
    NoInterrupts,
    /// All request slots are taken, and none became free in time; or the line is still being put right after a
    /// time-out; or the platform called the driver from inside one of the driver's own calls of it.
    Busy,
    /// The device answered with the ratified protocol's one error, which carries no reason.
    Refused,
    /// The device answered with an error number of the draft: the raw value, negated, thus positive.
    Errno(u32),
    /// The status byte of a response is neither OK nor ERR; 255 where the device did not write it.
    InvalidStatus(u8),
    /// The value of a response is none that the request can have.
    InvalidValue(i32),
    /// The response is shorter than the protocol says.
    ShortResponse {
        /// Bytes written, as the device says.
        length: u32,
    },
    /// The device says that it wrote more than it was given room for.
    LongResponse {
        /// Bytes written, as the device says.
        length: u32,
    },
    /// No answer by the deadline. A level may still be set late; a conversion or a watch that is carried out late is
    /// taken back.
    Timeout,
    /// The device was reset while the request was under way: it may or may not have been carried out.
    OutcomeUnknown,
    /// The device is being reset and restored; nothing was sent.
    Recovering,
    /// This line was given up: the device answers for others, but not for it.
    LineLost,
    /// The chip was given up: the device does not recover.
    ChipFailed,
}

impl Error {
    /// Whether that is what the device answered.
    pub(crate) const fn is_answer(self) -> bool {
        self.is_malformed() || matches!(self, Self::Refused | Self::Errno(_))
    }

    /// Whether the device answered, but with something that its protocol does not have.
    pub(crate) const fn is_malformed(self) -> bool {
        matches!(
            self,
            Self::InvalidStatus(_) | Self::InvalidValue(_) | Self::ShortResponse { .. } | Self::LongResponse { .. }
        )
    }
}

/// The usual names of the error numbers that a device's host is likely to send.
///
/// Numbers 1 to 4 have none here: a later text of the draft gives them meanings of its own, so the number alone is
/// what is known.
const fn errno_name(number: u32) -> Option<&'static str> {
    Some(match number {
        5 => "EIO",
        6 => "ENXIO",
        11 => "EAGAIN",
        12 => "ENOMEM",
        13 => "EACCES",
        14 => "EFAULT",
        16 => "EBUSY",
        19 => "ENODEV",
        22 => "EINVAL",
        25 => "ENOTTY",
        28 => "ENOSPC",
        32 => "EPIPE",
        34 => "ERANGE",
        38 => "ENOSYS",
        71 => "EPROTO",
        95 => "EOPNOTSUPP",
        110 => "ETIMEDOUT",
        _ => return None,
    })
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NoSuchLine { line, lines } => write!(f, "No line {line}: the device has {lines} lines, from 0"),
            Self::LineInUse(line) => write!(f, "Line {line} is in use already"),
            Self::TooManyLines { limit } => write!(f, "No room for a further line: {limit} are in use"),
            Self::TooManyWatched { limit } => {
                write!(f, "No room in the event queue for a further watched line: it holds {limit}")
            }
            Self::NoInterrupts => f.write_str("The device cannot interrupt"),
            Self::Busy => f.write_str("Requests that are under way must end first; try again"),
            Self::Refused => f.write_str("The device refused the request"),
            Self::Errno(number) => match errno_name(number) {
                Some(name) => write!(f, "The device answered with error -{number} ({name})"),
                None => write!(f, "The device answered with error -{number}"),
            },
            Self::InvalidStatus(0xff) => f.write_str("The device returned the response without writing its status"),
            Self::InvalidStatus(status) => write!(f, "The response has the invalid status {status}"),
            Self::InvalidValue(value) => write!(f, "The response has the invalid value {value}"),
            Self::ShortResponse { length } => write!(f, "The response is too short: {length} bytes"),
            Self::LongResponse { length } => write!(f, "The response claims {length} bytes, more than its buffer has"),
            Self::Timeout => f.write_str("The device did not answer in time"),
            Self::OutcomeUnknown => f.write_str("The device was reset before it answered; the outcome is unknown"),
            Self::Recovering => f.write_str("The device is being reset"),
            Self::LineLost => f.write_str("The line was given up: the device does not answer for it"),
            Self::ChipFailed => f.write_str("The chip was given up: the device does not recover"),
        }
    }
}

impl core::error::Error for Error {}

/// Why a device cannot be set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SetupError {
    /// The device ID is none of a GPIO device.
    NotGpio(u32),
    /// The device has the ID of a GPIO device, but its configuration is that of neither protocol.
    UnknownProtocol {
        /// The device ID.
        id: u32,
        /// The first four bytes of the configuration space.
        config: [u8; 4],
    },
    /// The draft's configuration space has a version other than 1.
    DraftVersion(u8),
    /// The device has no lines.
    NoLines,
    /// The device did not finish a reset in time.
    ResetTimeout,
    /// The device does not accept the features that the driver needs.
    FeaturesRefused,
    /// A modern device that does not offer `VIRTIO_F_VERSION_1`.
    NoVersion1,
    /// The device does not have a queue that the protocol needs, or one too small.
    NoQueue {
        /// The queue's number.
        queue: u16,
        /// The largest size that the device gives for it.
        limit: u32,
    },
    /// The device does not accept a queue.
    Queue {
        /// The queue's number.
        queue: u16,
        /// Why.
        error: QueueSetupError,
    },
    /// The [`Sizes`](crate::Sizes) were computed for a device of another kind, or for memory with a smaller granule.
    OtherSizes,
    /// The memory or the storage handed to the driver is too small.
    TooSmall {
        /// What is too small.
        what: &'static str,
        /// How much is needed.
        needed: usize,
        /// How much there is.
        available: usize,
    },
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NotGpio(id) => write!(f, "Not a GPIO device: id {id}"),
            Self::UnknownProtocol { id, config } => {
                write!(f, "Id {id} with a configuration of neither GPIO protocol (it starts with {config:02x?})")
            }
            Self::DraftVersion(version) => {
                write!(f, "The draft's configuration has version {version}; only {} is known", draft::VERSION)
            }
            Self::NoLines => f.write_str("The device has no lines"),
            Self::ResetTimeout => f.write_str("The device does not finish its reset"),
            Self::FeaturesRefused => f.write_str("The device does not accept the driver's features"),
            Self::NoVersion1 => f.write_str("The device is modern, but does not offer VIRTIO_F_VERSION_1"),
            Self::NoQueue { queue, limit } => write!(f, "Queue {queue} is missing or too small (largest size {limit})"),
            Self::Queue { queue, error } => write!(f, "Queue {queue} was not accepted: {error:?}"),
            Self::OtherSizes => {
                f.write_str("The sizes are another device's; compute them from this one and its memory")
            }
            Self::TooSmall { what, needed, available } => {
                write!(f, "Too little room for {what}: {needed} needed, {available} there")
            }
        }
    }
}

impl core::error::Error for SetupError {}

/// Why the chip needed a reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The device broke the rules of a queue.
    Ring {
        /// The queue's number.
        queue: u16,
        /// How.
        violation: RingViolation,
    },
    /// The device asked for it: `DEVICE_NEEDS_RESET`.
    NeedsReset,
    /// The device lost its state: its status no longer says `DRIVER_OK`.
    StatusLost,
    /// Requests went unanswered.
    Unresponsive,
    /// None: the application asked for it.
    Requested,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Ring { queue, violation } => match violation {
                RingViolation::IdOutOfRange(id) => write!(f, "queue {queue} broken: used id {id} is out of range"),
                RingViolation::NotInFlight(id) => write!(f, "queue {queue} broken: used id {id} is not in flight"),
                RingViolation::IndexJump { from, to } => {
                    write!(f, "queue {queue} broken: used index jumped from {from} to {to}")
                }
            },
            Self::NeedsReset => f.write_str("the device needs a reset"),
            Self::StatusLost => f.write_str("the device was reset behind the driver's back"),
            Self::Unresponsive => f.write_str("the device does not answer"),
            Self::Requested => f.write_str("a reset was asked for"),
        }
    }
}
