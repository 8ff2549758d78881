//! How a call ended, as a number.

use core::ffi::{CStr, c_char, c_int};

use virtio_gpio::transport::MmioError;
use virtio_gpio::{Error, SetupError};

/// How a call ended. 0 is success; everything else says why not.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VirtioGpioStatus {
    /// Done.
    Ok = 0,
    /// A pointer is null or not aligned, or a number is none that the call takes. Nothing was done.
    BadArgument,
    /// The line's handle is none, or that of a line that was released.
    BadHandle,
    /// The line is an output where the call is one for inputs, or an input where it is one for outputs.
    WrongDirection,
    /// The memory or the storage is smaller than `virtio_gpio_get_sizes` says.
    TooSmall,
    /// There are no registers of virtio-mmio, or of a version that is not known.
    NotVirtio,
    /// The slot has no device. Nothing to report.
    EmptySlot,
    /// The slot's device is not a GPIO device. It was not touched.
    NotGpio,
    /// The device has the ID of a GPIO device, but its configuration is that of neither protocol.
    UnknownProtocol,
    /// The device has no lines.
    NoLines,
    /// The device did not finish a reset within one second.
    ResetTimeout,
    /// The device does not accept the features that the driver needs.
    FeaturesRefused,
    /// The device lacks a queue, or does not accept one.
    NoQueue,
    /// The device has no line with that number or name.
    NoSuchLine,
    /// The line is in use already.
    LineInUse,
    /// As many lines are in use as the options say.
    TooManyLines,
    /// The event queue has no room for a further watched line.
    TooManyWatched,
    /// The device cannot interrupt, so that no line can be watched.
    NoInterrupts,
    /// The same line or the same chip is in another call, or there is no room for a request; try again.
    Busy,
    /// The device refused the request.
    Refused,
    /// The device's answer is none that its protocol has.
    BadAnswer,
    /// The device did not answer in time.
    Timeout,
    /// The device was reset while the request was under way: it may or may not have been carried out.
    OutcomeUnknown,
    /// The device is being reset and restored; nothing was sent.
    Recovering,
    /// The line was given up: the device answers for others, but not for it.
    LineLost,
    /// The chip was given up: the device does not recover.
    ChipFailed,
    /// Something that this library has no number for yet.
    Other,
}

impl VirtioGpioStatus {
    const ALL: [(Self, &'static CStr); 27] = [
        (Self::Ok, c"Done"),
        (Self::BadArgument, c"A pointer is null or not aligned, or a number is out of range"),
        (Self::BadHandle, c"No line has this handle"),
        (Self::WrongDirection, c"The line has the other direction"),
        (Self::TooSmall, c"The memory or the storage is too small"),
        (Self::NotVirtio, c"No virtio-mmio registers of a known version"),
        (Self::EmptySlot, c"No device"),
        (Self::NotGpio, c"Not a GPIO device"),
        (Self::UnknownProtocol, c"The configuration is that of neither GPIO protocol"),
        (Self::NoLines, c"The device has no lines"),
        (Self::ResetTimeout, c"The device does not finish its reset"),
        (Self::FeaturesRefused, c"The device does not accept the driver's features"),
        (Self::NoQueue, c"A queue is missing, too small or refused"),
        (Self::NoSuchLine, c"The device has no such line"),
        (Self::LineInUse, c"The line is in use already"),
        (Self::TooManyLines, c"No room for a further line"),
        (Self::TooManyWatched, c"No room for a further watched line"),
        (Self::NoInterrupts, c"The device cannot interrupt"),
        (Self::Busy, c"In use by another call, or no room for a request; try again"),
        (Self::Refused, c"The device refused the request"),
        (Self::BadAnswer, c"The device's answer is invalid"),
        (Self::Timeout, c"The device did not answer in time"),
        (Self::OutcomeUnknown, c"The device was reset before it answered; the outcome is unknown"),
        (Self::Recovering, c"The device is being reset"),
        (Self::LineLost, c"The line was given up"),
        (Self::ChipFailed, c"The chip was given up"),
        (Self::Other, c"Another failure"),
    ];
}

/// What a status says, in English, without a full stop; for a number that is none, the text of
/// `VIRTIO_GPIO_STATUS_OTHER`. Any context; does not wait.
#[unsafe(no_mangle)]
pub extern "C" fn virtio_gpio_status_text(status: c_int) -> *const c_char {
    let known = VirtioGpioStatus::ALL.iter().find(|(known, _)| *known as c_int == status);
    known.map_or(c"Another failure", |(_, text)| text).as_ptr()
}

/// The status of a call that had nothing to say but that.
pub(crate) fn of(result: Result<(), VirtioGpioStatus>) -> VirtioGpioStatus {
    result.err().unwrap_or(VirtioGpioStatus::Ok)
}

impl From<Error> for VirtioGpioStatus {
    fn from(error: Error) -> Self {
        match error {
            Error::NoSuchLine { .. } => Self::NoSuchLine,
            Error::LineInUse(_) => Self::LineInUse,
            Error::TooManyLines { .. } => Self::TooManyLines,
            Error::TooManyWatched { .. } => Self::TooManyWatched,
            Error::NoInterrupts => Self::NoInterrupts,
            Error::Busy => Self::Busy,
            Error::Refused | Error::Errno(_) => Self::Refused,
            Error::InvalidStatus(_)
            | Error::InvalidValue(_)
            | Error::ShortResponse { .. }
            | Error::LongResponse { .. } => Self::BadAnswer,
            Error::Timeout => Self::Timeout,
            Error::OutcomeUnknown => Self::OutcomeUnknown,
            Error::Recovering => Self::Recovering,
            Error::LineLost => Self::LineLost,
            Error::ChipFailed => Self::ChipFailed,
            _ => Self::Other,
        }
    }
}

impl From<SetupError> for VirtioGpioStatus {
    fn from(error: SetupError) -> Self {
        match error {
            SetupError::NotGpio(_) => Self::NotGpio,
            SetupError::UnknownProtocol { .. } | SetupError::DraftVersion(_) => Self::UnknownProtocol,
            SetupError::NoLines => Self::NoLines,
            SetupError::ResetTimeout => Self::ResetTimeout,
            SetupError::FeaturesRefused | SetupError::NoVersion1 => Self::FeaturesRefused,
            SetupError::NoQueue { .. } | SetupError::Queue { .. } => Self::NoQueue,
            SetupError::TooSmall { .. } | SetupError::OtherSizes => Self::TooSmall,
            _ => Self::Other,
        }
    }
}

impl From<MmioError> for VirtioGpioStatus {
    fn from(error: MmioError) -> Self {
        match error {
            MmioError::Empty => Self::EmptySlot,
            MmioError::TooSmall(_) => Self::BadArgument,
            _ => Self::NotVirtio,
        }
    }
}
