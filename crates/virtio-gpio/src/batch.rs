//! Several requests at once: made available together, with one notification, and answered in any order.

use core::fmt;

use crate::chip::requests::Ticket;
use crate::chip::{Lines, Steps, Submitted};
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

    /// Makes it available to the device. `false` if there is no room, which leaves it as it is.
    fn send(&mut self, chip: &mut dyn Steps, now: Instant) -> bool {
        if !self.is_unsent() {
            return true;
        }
        self.state = match chip.enqueue(self.pin.slot, self.operation, now) {
            Ok(Submitted::Ticket(ticket)) => State::Sent(ticket),
            Ok(Submitted::Done(result)) => State::Ended(result),
            Err(Error::Busy) => return false,
            Err(error) => State::Ended(Err(error)),
        };
        true
    }

    /// Takes the answer if there is one. Returns whether it has come just now.
    fn collect(&mut self, chip: &mut dyn Steps) -> bool {
        let State::Sent(ticket) = self.state else { return false };
        let Some(result) = chip.take(ticket) else { return false };
        self.state = State::Ended(result);
        true
    }

    fn wait(&mut self) {
        if let State::Sent(ticket) = self.state {
            self.state = State::Ended(self.pin.chip.wait(Submitted::Ticket(ticket)));
        }
    }

    fn is_unsent(&self) -> bool {
        matches!(self.state, State::Unsent)
    }

    fn is_sent(&self) -> bool {
        matches!(self.state, State::Sent(_))
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
/// Each request ends by its own deadline, and waits no longer than one more for its slot, whoever else wants it. Where a chip
/// had no slot for so long, what follows for it is tried, but not waited for.
///
/// Interrupts are masked for eight of them at a time.
///
/// Requests that have ended before are left as they are.
///
/// # Errors
///
/// [`SomeFailed`] if any request did not succeed; the others have been carried out.
pub fn run_all<T>(requests: &mut [Request<'_, T>]) -> Result<(), SomeFailed> {
    // Before `open` all have ended, and from `next` on none was sent.
    let (mut open, mut next) = (0usize, 0usize);
    // Where the batch is stuck, and until when it may be.
    let mut stuck: Option<(usize, &dyn Lines, Instant)> = None;
    while let Some((chip, progress)) = send(requests, &mut next) {
        let since = stuck.filter(|&(place, other, _)| place == next && core::ptr::addr_eq(other, chip));
        let deadline = since.map_or_else(|| chip.deadline(), |(.., deadline)| deadline);
        stuck = Some((next, chip, deadline));
        if collect(requests.get_mut(open..next).unwrap_or_default()) == 0
            && (chip.now() >= deadline || !chip.wait_for_room(progress, deadline))
            && let Some(request) = requests.get_mut(next)
        {
            request.state = State::Ended(Err(Error::Busy));
            next = next.saturating_add(1);
            stuck = Some((next, chip, deadline));
        }
        open = open.saturating_add(requests.iter().skip(open).take_while(|request| request.has_ended()).count());
    }
    for requests in of_one_chip(requests, usize::MAX) {
        // Whoever waits for the last one finds the answers to most others there.
        requests.iter_mut().rfind(|request| request.is_sent()).into_iter().for_each(Request::wait);
        collect(requests);
        requests.iter_mut().for_each(Request::wait);
    }
    let failed =
        |request: &Request<'_, T>| if let State::Ended(Err(error)) = request.state { Some(error) } else { None };
    let mut failures = (0..).zip(requests.iter()).filter_map(|(place, request)| Some((place, failed(request)?)));
    let Some((first, error)) = failures.next() else { return Ok(()) };
    Err(SomeFailed { count: failures.count().saturating_add(1), first, error })
}

/// Requests that are sent, or whose answers are taken, with interrupts masked once.
const AT_ONCE: usize = 8;

/// Neighbours of one chip, at most so many at a time.
fn of_one_chip<'r, 'p, T>(
    mut requests: &'r mut [Request<'p, T>],
    limit: usize,
) -> impl Iterator<Item = &'r mut [Request<'p, T>]> {
    core::iter::from_fn(move || {
        let rest = core::mem::take(&mut requests);
        let chip = rest.first()?.pin.chip;
        let of_same = |request: &&Request<'p, T>| core::ptr::addr_eq(request.pin.chip, chip);
        let count = rest.iter().take(limit).take_while(of_same).count();
        let (part, behind) = rest.split_at_mut_checked(count)?;
        requests = behind;
        Some(part)
    })
}

/// Takes the answers that have come. Returns how many.
fn collect<T>(requests: &mut [Request<'_, T>]) -> usize {
    let mut collected = 0usize;
    for requests in of_one_chip(requests, AT_ONCE) {
        if let Some(chip) = requests.iter().find(|request| request.is_sent()).map(|request| request.pin.chip) {
            // From inside one of the driver's own calls nothing can be taken.
            let _ = chip.hold(&mut |chip| {
                collected = collected.saturating_add(
                    requests.iter_mut().filter_map(|request| request.collect(chip).then_some(())).count(),
                );
            });
        }
    }
    collected
}

/// Sends what there is room for, from `next` on, with one notification to each chip. Returns the chip that has no room
/// for what is next, with its progress.
fn send<'p, T>(requests: &mut [Request<'p, T>], next: &mut usize) -> Option<(&'p dyn Lines, u32)> {
    let rest = requests.get_mut(*next..).unwrap_or_default();
    let full = of_one_chip(rest, usize::MAX).find_map(send_to_one);
    let unsent = requests.iter().skip(*next).position(Request::is_unsent);
    *next = unsent.map_or(requests.len(), |unsent| next.saturating_add(unsent));
    full
}

/// As [`send`], for requests of one chip.
fn send_to_one<'p, T>(requests: &mut [Request<'p, T>]) -> Option<(&'p dyn Lines, u32)> {
    let chip = requests.iter().find(|request| request.is_unsent())?.pin.chip;
    let now = chip.announce();
    let mut full = None;
    for requests in of_one_chip(requests, AT_ONCE) {
        let held = chip.hold(&mut |chip| {
            // In one go, so that nothing is missed that makes room from here on.
            let has_room = requests.iter_mut().all(|request| request.send(chip, now));
            full = (!has_room).then(|| chip.progress());
        });
        if held.is_err() {
            full = Some(chip.progress());
        }
        if full.is_some() {
            break;
        }
    }
    if requests.iter().any(Request::is_sent) {
        chip.notify();
    } else {
        // Nobody waits, who would ask for interrupts again.
        chip.poll();
    }
    Some((chip, full?))
}
