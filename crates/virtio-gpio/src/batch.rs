//! Several requests at once: made available together, with one notification, and answered in any order.

use core::fmt;

use crate::chip::requests::Ticket;
use crate::chip::{Lines, Submitted};
use crate::clock::Instant;
use crate::dialect::{Operation, Value};
use crate::error::Error;
use crate::pins::Held;

/// One line's part of a batch: what is asked of it, and what came of that.
///
/// Made by [`Output::request_set`](crate::Output::request_set), [`Input::request_level`](crate::Input::request_level)
/// and their like; sent by [`run_all`].
pub struct Request<'p, T = ()> {
    pin: &'p Held<'p>,
    operation: Operation,
    /// What the answer means.
    read: fn(Value) -> Option<T>,
    state: State,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Unsent,
    Sent(Ticket),
    Ended(Result<Value, Error>),
}

impl<T> fmt::Debug for Request<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pin, operation, state, .. } = self;
        write!(f, "Request {{ {operation:?} of {pin:?}: {state:?} }}")
    }
}

impl<'p, T> Request<'p, T> {
    pub(crate) fn new(pin: &'p Held<'p>, operation: Operation, read: fn(Value) -> Option<T>) -> Self {
        Self { pin, operation, read, state: State::Unsent }
    }

    /// What came of it; `None` before it was run.
    pub fn result(&self) -> Option<Result<T, Error>> {
        match self.state {
            State::Unsent | State::Sent(_) => None,
            State::Ended(result) => Some(result.and_then(|value| (self.read)(value).ok_or(Error::OutcomeUnknown))),
        }
    }

    /// Makes it available to the device. [`Error::Busy`] leaves it as it is.
    fn send(&mut self, now: Instant) -> Result<(), Error> {
        self.state = match self.pin.chip.enqueue(self.pin.slot, self.operation, now) {
            Ok(Submitted::Ticket(ticket)) => State::Sent(ticket),
            Ok(Submitted::Done(result)) => State::Ended(result),
            Err(Error::Busy) => return Err(Error::Busy),
            Err(error) => State::Ended(Err(error)),
        };
        Ok(())
    }

    /// Takes the answer if there is one. Returns whether it has come just now.
    fn collect(&mut self) -> bool {
        let State::Sent(ticket) = self.state else { return false };
        let Some(result) = self.pin.chip.take(ticket) else { return false };
        self.state = State::Ended(result);
        true
    }

    fn wait(&mut self) {
        if !self.collect()
            && let State::Sent(ticket) = self.state
        {
            self.state = State::Ended(self.pin.chip.wait(Submitted::Ticket(ticket)));
        }
    }

    fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended(_))
    }
}

/// Requests of a batch that failed. Each has its own [`Request::result`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SomeFailed {
    /// How many.
    pub count: usize,
    /// The place of the first one in the batch.
    pub first: usize,
    /// Why that one failed.
    pub error: Error,
}

impl fmt::Display for SomeFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, first, error } = self;
        write!(f, "{count} requests of the batch failed, number {first} as the first: {error}")
    }
}

impl core::error::Error for SomeFailed {}

/// Runs requests together, and waits until all have ended.
///
/// They are made available to the device in order, as many at a time as there are request slots, and the device is
/// notified once for those; answers may come in any order. A batch may be larger than the queue: what follows is sent as
/// slots become free. A device of the draft gets the requests one by one
/// ([`Options::draft_requests_in_flight`](crate::Options::draft_requests_in_flight)), without the caller's doing. The pins
/// may belong to several chips.
///
/// Each request ends by its own deadline, and waits no longer than one more for its slot.
///
/// Requests that have ended before are left as they are.
///
/// # Errors
///
/// [`SomeFailed`] if any request did not succeed; the others have been carried out.
pub fn run_all<T>(requests: &mut [Request<'_, T>]) -> Result<(), SomeFailed> {
    // Before `open` all have ended, and from `next` on none was sent.
    let (mut open, mut next) = (0usize, 0usize);
    while let Some((chip, progress)) = send(requests, &mut next) {
        let under_way = requests.iter_mut().take(next).skip(open);
        if under_way.map(Request::collect).filter(|&collected| collected).count() == 0
            && !chip.wait_for_room(progress, chip.deadline())
            && let Some(request) = requests.get_mut(next)
        {
            request.state = State::Ended(Err(Error::Busy));
        }
        open = open.saturating_add(requests.iter().skip(open).take_while(|request| request.has_ended()).count());
    }
    requests.iter_mut().for_each(Request::wait);
    let failed =
        |request: &Request<'_, T>| if let State::Ended(Err(error)) = request.state { Some(error) } else { None };
    let mut failures = (0..).zip(requests.iter()).filter_map(|(place, request)| Some((place, failed(request)?)));
    let Some((first, error)) = failures.next() else { return Ok(()) };
    Err(SomeFailed { count: failures.count().saturating_add(1), first, error })
}

/// Sends what there is room for, from `next` on, with one notification to each chip. Returns the chip that has no room
/// for what is next, with its progress.
fn send<'p, T>(requests: &mut [Request<'p, T>], next: &mut usize) -> Option<(&'p dyn Lines, u32)> {
    let mut last: Option<Announced<'p>> = None;
    let mut full = None;
    for request in requests.iter_mut().skip(*next).filter(|request| !request.has_ended()) {
        let chip = request.pin.chip;
        let announced = match last.take() {
            Some(announced) if core::ptr::addr_eq(announced.chip, chip) => announced,
            other => {
                other.into_iter().for_each(Announced::end);
                Announced { chip, now: chip.announce(), sent: false }
            }
        };
        let announced = last.insert(announced);
        if request.send(announced.now).is_err() {
            // Once more, so that nothing is missed that makes room from here on.
            let progress = chip.progress();
            if request.send(announced.now).is_err() {
                full = Some((chip, progress));
                break;
            }
        }
        announced.sent |= matches!(request.state, State::Sent(_));
    }
    last.into_iter().for_each(Announced::end);
    let unsent = requests.iter().skip(*next).position(|request| matches!(request.state, State::Unsent));
    *next = unsent.map_or(requests.len(), |unsent| next.saturating_add(unsent));
    full
}

/// A chip that expects a caller who waits.
struct Announced<'p> {
    chip: &'p dyn Lines,
    now: Instant,
    /// There is something to be waited for.
    sent: bool,
}

impl Announced<'_> {
    fn end(self) {
        if self.sent {
            self.chip.notify();
        } else {
            // Nobody waits, who would ask for interrupts again.
            self.chip.poll();
        }
    }
}
