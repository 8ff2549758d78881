//! Interrupts of devices.

use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;

use thiserror::Error;
use virtio_gpio::clock::{Clock, Instant};

use super::time::SystemClock;
use crate::arch::interrupt_controller;
use crate::memory::translation::MapError;
use crate::sync::InterruptLock;

/// The interrupt controller's number of an interrupt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterruptId(u32);

impl InterruptId {
    pub(crate) const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn number(self) -> u32 {
        self.0
    }
}

impl fmt::Display for InterruptId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// How a device signals its interrupt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// Once, when something happens.
    Edge,
    /// For as long as there is something to do.
    Level,
}

/// An interrupt that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InterruptError {
    /// The device tree names none.
    #[error("The device tree names no interrupt")]
    NotInTree,
    /// The interrupt controller does not have it.
    #[error("The interrupt controller has no interrupt {0}")]
    NoSuchInterrupt(InterruptId),
}

/// An interrupt controller that cannot be used, or an interrupt that it does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum ControllerError {
    /// Another architecture's.
    #[error("this architecture has no driver for it")]
    Unsupported,
    /// Fewer registers than needed.
    #[error("its registers are fewer than the device tree's compatible string promises")]
    TooSmall,
    /// Nothing answers.
    #[error("nothing answers at its address")]
    NotThere,
    /// Something else answers. A PLIC has nothing by which it could be told from that.
    #[cfg(all(target_os = "none", target_arch = "aarch64"))]
    #[error("what answers at its address is no such controller")]
    OtherKind,
    /// The part that belongs to the processor that runs the image is missing.
    #[error("it has no part for the processor that runs the image")]
    NoProcessorPart,
    /// Not one of its interrupts.
    #[error("it has no such interrupt")]
    NoSuchInterrupt,
    /// Not mappable.
    #[error("its registers cannot be mapped: {0}")]
    Map(#[from] MapError),
}

/// A handler, as registered.
#[derive(Debug, Clone, Copy)]
struct Registration {
    id: InterruptId,
    handler: fn(usize),
    argument: usize,
}

/// An interrupt that is kept out for a while, and until when.
#[derive(Debug, Clone, Copy)]
struct Pause {
    id: InterruptId,
    trigger: Trigger,
    until: Instant,
}

/// After so many interrupts in a row, all at the same instruction of main code and without a call to
/// [`idle_until`](super::time::idle_until), main code does not get on: some device holds its interrupt for ever.
const STANDSTILL: u32 = 10_000;
/// How long the interrupt is kept out then.
const PAUSE: Duration = Duration::from_millis(10);

static REGISTRATIONS: InterruptLock<Vec<(Registration, Trigger)>> = InterruptLock::new(Vec::new());
static STORM: InterruptLock<Storm> =
    InterruptLock::new(Storm { instruction: 0, count: 0, paused: Vec::new(), reported: Vec::new() });
static IN_HANDLER: AtomicBool = AtomicBool::new(false);

#[derive(Debug)]
struct Storm {
    /// Of main code, the last one interrupted.
    instruction: u64,
    /// Interrupts at that instruction, in a row.
    count: u32,
    paused: Vec<Pause>,
    /// The interrupts that were paused at some time. The console hears of each once.
    reported: Vec<InterruptId>,
}

/// Calls `handler` with `argument` whenever the interrupt comes, from now on. More than one handler may be registered for
/// an interrupt; each is called.
///
/// Handlers run with interrupts masked. A handler of a level-triggered interrupt makes its device lower it.
///
/// # Errors
///
/// If the interrupt controller does not have this interrupt.
pub fn register(id: InterruptId, trigger: Trigger, handler: fn(usize), argument: usize) -> Result<(), InterruptError> {
    if !interrupt_controller::supports(id) {
        return Err(InterruptError::NoSuchInterrupt(id));
    }
    REGISTRATIONS.with(|registrations| registrations.push((Registration { id, handler, argument }, trigger)));
    interrupt_controller::enable(id, trigger).map_err(|_| InterruptError::NoSuchInterrupt(id))
}

/// Whether a handler runs.
pub(super) fn in_handler() -> bool {
    IN_HANDLER.load(Ordering::Relaxed)
}

/// Calls the handlers of an interrupt, which came at an instruction of main code.
pub(crate) fn dispatch(id: InterruptId, instruction: u64) {
    IN_HANDLER.store(true, Ordering::Relaxed);
    let mut handled = false;
    for index in 0.. {
        // The lock is not held while the handler runs, for it may register others.
        let registration = REGISTRATIONS.with(|registrations| {
            registrations.iter().map(|(registration, _)| *registration).filter(|entry| entry.id == id).nth(index)
        });
        let Some(Registration { handler, argument, .. }) = registration else { break };
        handled = true;
        handler(argument);
    }
    if !handled {
        log::warn!("interrupt {id} has no handler and is disabled");
        interrupt_controller::disable(id);
    }
    if STORM.with(|storm| storm.does_main_stand_still(instruction)) {
        pause(id);
    }
    IN_HANDLER.store(false, Ordering::Relaxed);
}

impl Storm {
    fn does_main_stand_still(&mut self, instruction: u64) -> bool {
        let same = instruction == self.instruction;
        self.instruction = instruction;
        self.count = if same { self.count.saturating_add(1) } else { 0 };
        let still = self.count >= STANDSTILL;
        if still {
            self.count = 0;
        }
        still
    }
}

/// Keeps an interrupt out for a while.
fn pause(id: InterruptId) {
    let trigger = REGISTRATIONS.with(|registrations| {
        registrations.iter().find(|(registration, _)| registration.id == id).map(|&(_, trigger)| trigger)
    });
    let Some(trigger) = trigger else { return };
    interrupt_controller::disable(id);
    let until = SystemClock.now().after(PAUSE);
    let first = STORM.with(|storm| {
        storm.paused.push(Pause { id, trigger, until });
        let first = !storm.reported.contains(&id);
        if first {
            storm.reported.push(id);
        }
        first
    });
    if first {
        log::warn!(
            "interrupt {id} did not let main code run; it is paused for {} ms, and again if need be",
            PAUSE.as_millis()
        );
    }
}

/// Main code says that it gets on. Lets paused interrupts in whose time is over, and says when the next one's is.
pub(super) fn main_is_running() -> Option<Instant> {
    let over = STORM.with(|storm| {
        storm.count = 0;
        if storm.paused.is_empty() {
            return None;
        }
        let now = SystemClock.now();
        storm.paused.iter().position(|pause| pause.until <= now).map(|index| storm.paused.swap_remove(index))
    });
    if let Some(Pause { id, trigger, .. }) = over
        && let Err(error) = interrupt_controller::enable(id, trigger)
    {
        log::error!("interrupt {id} stays disabled: {error}");
    }
    STORM.with(|storm| storm.paused.iter().map(|pause| pause.until).min())
}
