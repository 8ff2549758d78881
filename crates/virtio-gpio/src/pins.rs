//! Lines as typed pins: what a line is used for is part of its type, so that misuse does not compile.
//!
//! [`Line`] is in use and not configured, [`Input`] is sensed and can be watched, [`Output`] is driven. Each turns into
//! the others by value. Where that fails, the pin comes back as it was, and it stays so: a request that timed out may
//! still be carried out, so the device is told behind it, as soon as that is possible, what the line is to be.
//!
//! A pin that is dropped releases its line without waiting for the device; `release` does the
//! same and waits.
//!
//! An input cannot be driven:
//!
//! ```compile_fail,E0599
//! fn misuse(mut pin: virtio_gpio::Input<'_>) {
//!     let _ = pin.set(virtio_gpio::Level::High);
//! }
//! ```
//!
//! and an output cannot be watched, nor used on after it has become something else:
//!
//! ```compile_fail,E0599
//! fn misuse(mut pin: virtio_gpio::Output<'_>) {
//!     let _ = pin.watch(virtio_gpio::InterruptType::BothEdges);
//! }
//! ```
//!
//! ```compile_fail,E0382
//! fn misuse(mut pin: virtio_gpio::Output<'_>) {
//!     let input = pin.into_input();
//!     let _ = pin.set(virtio_gpio::Level::High);
//! }
//! ```

use core::fmt;

use crate::batch::Request;
use crate::chip::Lines;
use crate::dialect::{Operation, Value};
use crate::error::Error;
use crate::messages::{Direction, InterruptType, Level, LineId};
use crate::pending::Pending;

/// A line in use; releases it when dropped.
#[derive(Debug)]
pub(crate) struct Held<'c> {
    pub(crate) chip: &'c dyn Lines,
    pub(crate) slot: u16,
    line: LineId,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.chip.forget(self.slot);
    }
}

impl<'c> Held<'c> {
    /// Sends a request and notifies the device.
    fn start<T>(&self, operation: Operation, read: fn(Value) -> Option<T>) -> Result<Pending<'c, T>, Error> {
        Ok(Pending::new(self.chip, self.chip.submit(self.slot, operation)?, read))
    }

    /// Makes a request available to the device, which is notified later.
    fn queue<T>(&self, operation: Operation, read: fn(Value) -> Option<T>) -> Result<Pending<'c, T>, Error> {
        let now = self.chip.now();
        Ok(Pending::new(self.chip, self.chip.enqueue(self.slot, operation, now)?, read))
    }

    fn run(&self, operation: Operation) -> Result<Value, Error> {
        self.chip.run(self.slot, operation)
    }

    fn level(&self) -> Result<Level, Error> {
        self.run(Operation::GetValue)?.level().ok_or(Error::OutcomeUnknown)
    }

    fn direction(&self) -> Result<Direction, Error> {
        self.run(Operation::GetDirection)?.direction().ok_or(Error::OutcomeUnknown)
    }

    fn release(self) -> Result<(), Error> {
        self.run(Operation::Release).map(|_| ())
    }
}

/// A conversion that did not succeed, with the pin as it was before.
#[derive(Debug)]
pub struct Rejected<L> {
    /// Why.
    pub error: Error,
    /// The pin.
    pub pin: L,
}

impl<L> fmt::Display for Rejected<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<L: fmt::Debug> core::error::Error for Rejected<L> {}

/// A line that is in use and not configured.
#[derive(Debug)]
pub struct Line<'c>(pub(crate) Held<'c>);

impl<'c> Line<'c> {
    pub(crate) fn new(chip: &'c dyn Lines, slot: u16, line: LineId) -> Self {
        Self(Held { chip, slot, line })
    }

    /// The line's number.
    pub fn id(&self) -> LineId {
        self.0.line
    }

    /// Asks the device for the direction.
    ///
    /// # Errors
    ///
    /// What every request can end with.
    pub fn direction(&self) -> Result<Direction, Error> {
        self.0.direction()
    }

    /// Makes the line an input.
    ///
    /// # Errors
    ///
    /// What every request can end with; the line comes back as it was.
    pub fn into_input(self) -> Result<Input<'c>, Rejected<Self>> {
        match self.0.run(Operation::SetInput) {
            Ok(_) => Ok(Input(self.0)),
            Err(error) => Err(Rejected { error, pin: self }),
        }
    }

    /// Makes the line an output that has `level` from the start.
    ///
    /// # Errors
    ///
    /// What every request can end with; the line comes back as it was.
    pub fn into_output(self, level: Level) -> Result<Output<'c>, Rejected<Self>> {
        match self.0.run(Operation::SetOutput(level)) {
            Ok(_) => Ok(Output(self.0)),
            Err(error) => Err(Rejected { error, pin: self }),
        }
    }

    /// Ends the use of the line and waits until the device has confirmed it. The line is released in any case.
    ///
    /// # Errors
    ///
    /// What every request can end with.
    pub fn release(self) -> Result<(), Error> {
        self.0.release()
    }
}

/// A line that is sensed.
#[derive(Debug)]
pub struct Input<'c>(pub(crate) Held<'c>);

impl<'c> Input<'c> {
    /// The line's number.
    pub fn id(&self) -> LineId {
        self.0.line
    }

    /// Asks the device for the level.
    ///
    /// # Errors
    ///
    /// What every request can end with.
    pub fn level(&self) -> Result<Level, Error> {
        self.0.level()
    }

    /// The level that the driver last heard of, by an answer or an edge. Asks nobody.
    pub fn last_level(&self) -> Option<Level> {
        self.0.chip.heard_level(self.0.slot)
    }

    /// Asks the device for the direction.
    ///
    /// # Errors
    ///
    /// What every request can end with.
    pub fn direction(&self) -> Result<Direction, Error> {
        self.0.direction()
    }

    /// Has events of the line delivered through [`Chip::next_event`](crate::Chip::next_event);
    /// [`InterruptType::None`] ends it. From one type to another the way leads through `None` by itself.
    ///
    /// A level-triggered line fires once; [`unmask`](Self::unmask) lets it fire again.
    ///
    /// # Errors
    ///
    /// [`Error::NoInterrupts`] if the device cannot, [`Error::TooManyWatched`] if the event queue is full, and what
    /// every request can end with. After [`Error::Timeout`] the line is not watched; where it was to end, the device is told so
    /// once more, and events may come until it has confirmed that. In both cases it can be tried again.
    pub fn watch(&mut self, kind: InterruptType) -> Result<(), Error> {
        self.0.chip.watch(self.0.slot, kind)
    }

    /// Lets a level-triggered line fire again, when its last event was dealt with.
    pub fn unmask(&mut self) {
        self.0.chip.unmask(self.0.slot);
    }

    /// Makes the line an output that has `level` from the start. It is no longer watched.
    ///
    /// # Errors
    ///
    /// What every request can end with; the pin comes back as an input.
    pub fn into_output(mut self, level: Level) -> Result<Output<'c>, Rejected<Self>> {
        // No interrupt messages for outputs (VIRTIO 1.2, 5.18.6.8): what is watched is ended first.
        match self.watch_off().and_then(|()| self.0.run(Operation::SetOutput(level))) {
            Ok(_) => Ok(Output(self.0)),
            Err(error) => Err(Rejected { error, pin: self }),
        }
    }

    /// Ends the use of the line and waits until the device has confirmed it. The line is released in any case.
    ///
    /// # Errors
    ///
    /// What every request can end with.
    pub fn release(mut self) -> Result<(), Error> {
        let watched = self.watch_off();
        self.0.release().and(watched)
    }

    fn watch_off(&mut self) -> Result<(), Error> {
        match self.watch(InterruptType::None) {
            Err(Error::NoInterrupts) => Ok(()),
            other => other,
        }
    }
}

/// A line that is driven.
#[derive(Debug)]
pub struct Output<'c>(pub(crate) Held<'c>);

impl<'c> Output<'c> {
    /// The line's number.
    pub fn id(&self) -> LineId {
        self.0.line
    }

    /// Drives the line to `level` and waits until the device has confirmed it.
    ///
    /// # Errors
    ///
    /// What every request can end with.
    pub fn set(&mut self, level: Level) -> Result<(), Error> {
        self.0.run(Operation::SetValue(level)).map(|_| ())
    }

    /// Sends the request to drive the line to `level`, and does not wait. Requests for one line are carried out in
    /// the order in which they were sent.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`] if all request slots are taken, or a conversion that timed out is still being taken back;
    /// [`Error::Recovering`], [`Error::LineLost`] and
    /// [`Error::ChipFailed`] if nothing can be sent at present.
    pub fn start_set(&mut self, level: Level) -> Result<Pending<'c>, Error> {
        self.0.start(Operation::SetValue(level), Value::done)
    }

    /// As [`start_set`](Self::start_set), without notifying the device: [`Chip::notify`](crate::Chip::notify) does that
    /// once for all that were queued. Whatever sends, waits or polls on the chip notifies for them too.
    ///
    /// # Errors
    ///
    /// Those of [`start_set`](Self::start_set).
    pub fn queue_set(&mut self, level: Level) -> Result<Pending<'c>, Error> {
        self.0.queue(Operation::SetValue(level), Value::done)
    }

    /// A request to drive the line to `level`, to be sent with others by [`run_all`](crate::run_all).
    pub fn request_set(&mut self, level: Level) -> Request<'_> {
        Request::new(&self.0, Operation::SetValue(level), Value::done)
    }

    /// The level that the device has last confirmed, as the driver knows it. Asks nobody.
    pub fn level_set(&self) -> Option<Level> {
        self.0.chip.output_level(self.0.slot)
    }

    /// Asks the device for the level of the line, which something else may hold.
    ///
    /// # Errors
    ///
    /// What every request can end with.
    pub fn level(&self) -> Result<Level, Error> {
        self.0.level()
    }

    /// Asks the device for the direction.
    ///
    /// # Errors
    ///
    /// What every request can end with.
    pub fn direction(&self) -> Result<Direction, Error> {
        self.0.direction()
    }

    /// Makes the line an input.
    ///
    /// # Errors
    ///
    /// What every request can end with; the pin comes back as an output.
    pub fn into_input(self) -> Result<Input<'c>, Rejected<Self>> {
        match self.0.run(Operation::SetInput) {
            Ok(_) => Ok(Input(self.0)),
            Err(error) => Err(Rejected { error, pin: self }),
        }
    }

    /// Ends the use of the line and waits until the device has confirmed it. The line is released in any case.
    ///
    /// # Errors
    ///
    /// What every request can end with.
    pub fn release(self) -> Result<(), Error> {
        self.0.release()
    }
}

/// The questions that every pin answers, in the forms that do not wait.
macro_rules! questions {
    ($pin:ident: $($what:ident, $operation:ident, $answer:ident, $start:ident, $queue:ident, $request:ident;)*) => {
        impl<'c> $pin<'c> {
            $(
                #[doc = concat!("Asks the device for the line's ", stringify!($what), ", and does not wait.")]
                ///
                /// # Errors
                ///
                /// Those of [`Output::start_set`].
                pub fn $start(&self) -> Result<Pending<'c, $answer>, Error> {
                    self.0.start(Operation::$operation, Value::$what)
                }

                #[doc = concat!("As [`", stringify!($start), "`](Self::", stringify!($start), "), without notifying the")]
                /// device: [`Chip::notify`](crate::Chip::notify) does that for all that were queued.
                ///
                /// # Errors
                ///
                /// Those of [`Output::start_set`].
                pub fn $queue(&self) -> Result<Pending<'c, $answer>, Error> {
                    self.0.queue(Operation::$operation, Value::$what)
                }

                #[doc = concat!("A request for the line's ", stringify!($what), ", to be sent with others by")]
                /// [`run_all`](crate::run_all).
                pub fn $request(&self) -> Request<'_, $answer> {
                    Request::new(&self.0, Operation::$operation, Value::$what)
                }
            )*
        }
    };
}

questions! { Line: direction, GetDirection, Direction, start_direction, queue_direction, request_direction; }
questions! { Input:
    direction, GetDirection, Direction, start_direction, queue_direction, request_direction;
    level, GetValue, Level, start_level, queue_level, request_level;
}
questions! { Output:
    direction, GetDirection, Direction, start_direction, queue_direction, request_direction;
    level, GetValue, Level, start_level, queue_level, request_level;
}
