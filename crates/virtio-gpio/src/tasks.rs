//! Pins for tasks: what [`pins`](crate::pins) waits for, these await.

use core::fmt;
use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::{Context, Poll};

use embedded_hal_async::digital::Wait;

use crate::chip::events::Event;
use crate::chip::tasks::Progress;
use crate::chip::{Chip, Lines, Submitted};
use crate::dialect::{Operation, Value};
use crate::error::Error;
use crate::messages::{Direction, InterruptType, Level, LineId};
use crate::pending::Pending;
use crate::pins::{Held, Input, Line, Output, Rejected};
use crate::platform::Platform;

/// A request, from the first try to send it to its result. Dropping it abandons the request: its memory stays with the
/// device until the device gives it back, and nobody looks at the answer.
struct Run<'c> {
    chip: &'c dyn Lines,
    line_slot: u16,
    operation: Operation,
    progress: Progress,
}

impl fmt::Debug for Run<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { operation, progress, .. } = self;
        write!(f, "Run {{ {operation:?}: {progress:?} }}")
    }
}

impl Future for Run<'_> {
    type Output = Result<Value, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { chip, line_slot, operation, ref mut progress } = *self;
        chip.tasks().poll_run(line_slot, operation, progress, context.waker())
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        if let Progress::Sent(ticket) = self.progress {
            self.chip.tasks().abandon(ticket);
        }
    }
}

/// An edge of a line that is watched for both, from now on.
#[derive(Debug)]
struct Edge<'c> {
    chip: &'c dyn Lines,
    line_slot: u16,
}

impl<'c> Edge<'c> {
    fn expect(held: &Held<'c>, kind: InterruptType) -> Self {
        held.chip.tasks().expect_edge(held.slot, kind);
        Self { chip: held.chip, line_slot: held.slot }
    }
}

impl Future for Edge<'_> {
    type Output = Result<(), Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.chip.tasks().poll_edge(self.line_slot, context.waker())
    }
}

impl Drop for Edge<'_> {
    fn drop(&mut self) {
        self.chip.tasks().ignore_edges(self.line_slot);
    }
}

/// The outcome. The chip is looked at as well, so that a request that was only queued is sent by this.
///
/// After the outcome was taken, [`Error::OutcomeUnknown`].
impl<T> Future for Pending<'_, T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let result = match self.submitted {
            Some(Submitted::Ticket(ticket)) => match self.chip.tasks().poll_answer(ticket, context.waker()) {
                Poll::Ready(result) => result,
                Poll::Pending => return Poll::Pending,
            },
            Some(Submitted::Done(result)) => result,
            None => Err(Error::OutcomeUnknown),
        };
        self.submitted = None;
        Poll::Ready(self.decode(result))
    }
}

impl<'c> Held<'c> {
    fn run_async(&self, operation: Operation) -> Run<'c> {
        let progress = Progress::Unsent { deadline: None };
        Run { chip: self.chip, line_slot: self.slot, operation, progress }
    }

    async fn level_async(&self) -> Result<Level, Error> {
        self.run_async(Operation::GetValue).await?.level().ok_or(Error::OutcomeUnknown)
    }

    async fn direction_async(&self) -> Result<Direction, Error> {
        self.run_async(Operation::GetDirection).await?.direction().ok_or(Error::OutcomeUnknown)
    }

    async fn release_async(self) -> Result<(), Error> {
        self.run_async(Operation::Release).await.map(|_| ())
    }

    /// Has the line watched for both edges, and its edges kept for tasks. It stays so: the next wait costs no message.
    async fn listen(&self) -> Result<(), Error> {
        let tasks = self.chip.tasks();
        match tasks.capture(self.slot)? {
            (InterruptType::BothEdges, false) => return Ok(()),
            (InterruptType::None, _) => (),
            // A type is only changed by way of NONE (VIRTIO 1.2, 5.18.6.8).
            _ => self.unwatch_async().await?,
        }
        // The level that the first edge leads away from. A device that refuses to tell it can still interrupt.
        tasks.forget_level(self.slot);
        if let Err(error) = self.level_async().await
            && !error.is_answer()
        {
            return Err(error);
        }
        tasks.prepare_to_watch(self.slot);
        self.run_async(Operation::SetInterruptType(InterruptType::BothEdges)).await?;
        tasks.start_watching(self.slot);
        Ok(())
    }

    async fn unwatch_async(&self) -> Result<(), Error> {
        self.run_async(Operation::SetInterruptType(InterruptType::None)).await.map(|_| ())
    }
}

impl<'c> Line<'c> {
    /// Asks the device for the direction.
    ///
    /// # Errors
    ///
    /// What every request can end with.
    pub async fn direction_async(&self) -> Result<Direction, Error> {
        self.0.direction_async().await
    }

    /// Makes the line an input. A line whose conversion is dropped is released.
    ///
    /// # Errors
    ///
    /// What every request can end with; the line comes back as it was.
    pub async fn into_input_async(self) -> Result<Input<'c>, Rejected<Self>> {
        match self.0.run_async(Operation::SetInput).await {
            Ok(_) => Ok(Input(self.0)),
            Err(error) => Err(Rejected { error, pin: self }),
        }
    }

    /// Makes the line an output that has `level` from the start. A line whose conversion is dropped is released.
    ///
    /// # Errors
    ///
    /// What every request can end with; the line comes back as it was.
    pub async fn into_output_async(self, level: Level) -> Result<Output<'c>, Rejected<Self>> {
        match self.0.run_async(Operation::SetOutput(level)).await {
            Ok(_) => Ok(Output(self.0)),
            Err(error) => Err(Rejected { error, pin: self }),
        }
    }

    /// Ends the use of the line. It is released in any case, also when this is dropped.
    ///
    /// # Errors
    ///
    /// What every request can end with.
    pub async fn release_async(self) -> Result<(), Error> {
        self.0.release_async().await
    }
}

impl<'c> Input<'c> {
    /// Asks the device for the level.
    ///
    /// # Errors
    ///
    /// What every request can end with.
    pub async fn level_async(&self) -> Result<Level, Error> {
        self.0.level_async().await
    }

    /// Asks the device for the direction.
    ///
    /// # Errors
    ///
    /// What every request can end with.
    pub async fn direction_async(&self) -> Result<Direction, Error> {
        self.0.direction_async().await
    }

    /// Waits for the next edge that leads to `level`; for any edge if that is `None`. Edges before the first poll do not
    /// count, and those between two waits neither.
    ///
    /// The line is watched for both edges from the first wait on, and its events are not
    /// [`Chip::next_event`](crate::Chip::next_event)'s any more, until the next call of [`watch`](Self::watch). What the
    /// device lost, as where it was reset meanwhile, is made up for by the line's level, as with events.
    ///
    /// # Errors
    ///
    /// Those of [`watch`](Self::watch), while the line is not watched yet; [`Error::LineLost`] and [`Error::ChipFailed`]
    /// if no edge will come any more. There is no deadline.
    pub async fn wait_for_edge(&mut self, level: Option<Level>) -> Result<(), Error> {
        self.0.listen().await?;
        Edge::expect(&self.0, edge_to(level)).await
    }

    /// Waits until the line has `level`. Returns at once if it has; it may have changed again when the task runs.
    ///
    /// # Errors
    ///
    /// Those of [`wait_for_edge`](Self::wait_for_edge), and what every request can end with: the level is asked for.
    pub async fn wait_for_level(&mut self, level: Level) -> Result<(), Error> {
        self.0.listen().await?;
        // First, so that nothing is missed between the answer and the wait.
        let edge = Edge::expect(&self.0, edge_to(Some(level)));
        if self.0.level_async().await? == level {
            return Ok(());
        }
        edge.await
    }

    /// Makes the line an output that has `level` from the start. It is no longer watched. A line whose conversion is
    /// dropped is released.
    ///
    /// # Errors
    ///
    /// What every request can end with; the pin comes back as an input.
    pub async fn into_output_async(self, level: Level) -> Result<Output<'c>, Rejected<Self>> {
        let converted = async {
            self.unwatch_if_watched().await?;
            self.0.run_async(Operation::SetOutput(level)).await
        };
        match converted.await {
            Ok(_) => Ok(Output(self.0)),
            Err(error) => Err(Rejected { error, pin: self }),
        }
    }

    /// Ends the use of the line. It is released in any case, also when this is dropped.
    ///
    /// # Errors
    ///
    /// What every request can end with.
    pub async fn release_async(self) -> Result<(), Error> {
        let watched = self.unwatch_if_watched().await;
        self.0.release_async().await.and(watched)
    }

    async fn unwatch_if_watched(&self) -> Result<(), Error> {
        match self.0.chip.tasks().interrupt(self.0.slot)? {
            InterruptType::None => Ok(()),
            _ => self.0.unwatch_async().await,
        }
    }
}

impl<'c> Output<'c> {
    /// Drives the line to `level`. Once this was polled, dropping it does not keep the device from doing so.
    ///
    /// # Errors
    ///
    /// What every request can end with.
    pub async fn set_async(&mut self, level: Level) -> Result<(), Error> {
        self.0.run_async(Operation::SetValue(level)).await.map(|_| ())
    }

    /// Asks the device for the level of the line, which something else may hold.
    ///
    /// # Errors
    ///
    /// What every request can end with.
    pub async fn level_async(&self) -> Result<Level, Error> {
        self.0.level_async().await
    }

    /// Asks the device for the direction.
    ///
    /// # Errors
    ///
    /// What every request can end with.
    pub async fn direction_async(&self) -> Result<Direction, Error> {
        self.0.direction_async().await
    }

    /// Makes the line an input. A line whose conversion is dropped is released.
    ///
    /// # Errors
    ///
    /// What every request can end with; the pin comes back as an output.
    pub async fn into_input_async(self) -> Result<Input<'c>, Rejected<Self>> {
        match self.0.run_async(Operation::SetInput).await {
            Ok(_) => Ok(Input(self.0)),
            Err(error) => Err(Rejected { error, pin: self }),
        }
    }

    /// Ends the use of the line. It is released in any case, also when this is dropped.
    ///
    /// # Errors
    ///
    /// What every request can end with.
    pub async fn release_async(self) -> Result<(), Error> {
        self.0.release_async().await
    }
}

impl<P: Platform> Chip<'_, P> {
    /// Takes a line into use, as [`line`](Self::line) does. A line whose taking is dropped is released.
    ///
    /// # Errors
    ///
    /// Those of [`line`](Self::line).
    pub async fn line_async(&self, line: LineId) -> Result<Line<'_>, Error> {
        let mut deadline = None;
        let slot = poll_fn(|context| self.poll_take_line(line, &mut deadline, context.waker())).await?;
        let taken = Line::new(self, slot, line);
        taken.0.run_async(Operation::Acquire).await?;
        Ok(taken)
    }

    /// The next event of a watched line, as [`next_event`](Self::next_event) gives it. No event is lost when this is
    /// dropped.
    ///
    /// # Errors
    ///
    /// [`Error::ChipFailed`] if there will be none any more.
    pub async fn event_async(&self) -> Result<Event, Error> {
        poll_fn(|context| self.poll_event(context.waker())).await
    }
}

/// The kind of edge that leads to a level.
const fn edge_to(level: Option<Level>) -> InterruptType {
    match level {
        Some(Level::High) => InterruptType::RisingEdge,
        Some(Level::Low) => InterruptType::FallingEdge,
        None => InterruptType::BothEdges,
    }
}

/// Rising and falling edges are told apart by the driver, so that all waits can share one way of watching.
impl Wait for Input<'_> {
    async fn wait_for_high(&mut self) -> Result<(), Error> {
        self.wait_for_level(Level::High).await
    }

    async fn wait_for_low(&mut self) -> Result<(), Error> {
        self.wait_for_level(Level::Low).await
    }

    async fn wait_for_rising_edge(&mut self) -> Result<(), Error> {
        self.wait_for_edge(Some(Level::High)).await
    }

    async fn wait_for_falling_edge(&mut self) -> Result<(), Error> {
        self.wait_for_edge(Some(Level::Low)).await
    }

    async fn wait_for_any_edge(&mut self) -> Result<(), Error> {
        self.wait_for_edge(None).await
    }
}
