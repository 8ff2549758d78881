//! Requests that were sent and are collected later, in whatever order the caller likes.

use core::fmt;

use crate::chip::requests::Ticket;
use crate::chip::{Lines, Submitted};
use crate::dialect::Value;
use crate::error::Error;

/// A request that was sent, and that ends with a `T`. Dropping it leaves the request to run its course unseen.
///
/// It occupies one request slot of the chip until its outcome was taken.
#[must_use = "the outcome is lost when this is dropped"]
pub struct Pending<'c, T = ()> {
    pub(crate) chip: &'c dyn Lines,
    /// `None` once the outcome was taken.
    pub(crate) submitted: Option<Submitted>,
    /// What the answer means.
    read: fn(Value) -> Option<T>,
}

impl<T> fmt::Debug for Pending<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").field("submitted", &self.submitted).finish_non_exhaustive()
    }
}

impl<'c, T> Pending<'c, T> {
    pub(crate) fn new(chip: &'c dyn Lines, submitted: Submitted, read: fn(Value) -> Option<T>) -> Self {
        Self { chip, submitted: Some(submitted), read }
    }

    fn ticket(&self) -> Option<Ticket> {
        match self.submitted {
            Some(Submitted::Ticket(ticket)) => Some(ticket),
            Some(Submitted::Done(_)) | None => None,
        }
    }

    /// Whether [`outcome`](Self::outcome) would give one.
    pub fn is_done(&self) -> bool {
        match self.submitted {
            Some(Submitted::Ticket(ticket)) => self.chip.is_done(ticket),
            Some(Submitted::Done(_)) => true,
            None => false,
        }
    }

    /// The outcome, once there is one. Does not wait, and does not look for completions by itself: interrupts and
    /// [`Chip::poll`](crate::Chip::poll) do.
    pub fn outcome(&mut self) -> Option<Result<T, Error>> {
        let result = match self.submitted.as_ref()? {
            Submitted::Done(result) => *result,
            Submitted::Ticket(ticket) => self.chip.take(*ticket)?,
        };
        self.submitted = None;
        Some(self.decode(result))
    }

    /// Waits for the outcome.
    ///
    /// # Errors
    ///
    /// What every request can end with; [`Error::OutcomeUnknown`] if the outcome was taken before.
    pub fn wait(mut self) -> Result<T, Error> {
        let submitted = self.submitted.take().ok_or(Error::OutcomeUnknown)?;
        self.decode(self.chip.wait(submitted))
    }

    pub(crate) fn decode(&self, result: Result<Value, Error>) -> Result<T, Error> {
        result.and_then(|value| (self.read)(value).ok_or(Error::OutcomeUnknown))
    }
}

impl<T> Drop for Pending<'_, T> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket() {
            self.chip.abandon(ticket);
        }
    }
}
