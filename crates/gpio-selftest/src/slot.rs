//! A way for the simulated device's interrupts through the kernel's own.

use core::cell::Cell;
use core::fmt;
use core::ptr::NonNull;

use critical_section::Mutex;

/// What the simulated device's interrupt is to do, for as long as it is lent.
type Handler = dyn FnMut() + Send;

/// Lends the handler of a simulated interrupt to a real one: [`Kernel::interrupt`](crate::Kernel::interrupt) lends it and raises
/// a software interrupt, whose handler serves it.
///
/// ```
/// use gpio_selftest::InterruptSlot;
///
/// static SLOT: InterruptSlot = InterruptSlot::new();
///
/// // The kernel's handler of its software interrupt.
/// fn on_software_interrupt() {
///     SLOT.serve();
/// }
///
/// // In `Kernel::interrupt`; here the interrupt is a call.
/// let mut count = 0;
/// SLOT.lend(&mut || count += 1, on_software_interrupt);
/// assert_eq!(count, 1);
/// assert!(!SLOT.serve(), "nothing is lent any more");
/// ```
pub struct InterruptSlot(Mutex<Cell<Option<Lent>>>);

/// A handler that is there until it is taken out of the slot.
#[derive(Clone, Copy)]
struct Lent(NonNull<Handler>);

#[expect(unsafe_code, reason = "hands a pointer on")]
// SAFETY: what it points to is `Send`, and is used in critical sections alone.
unsafe impl Send for Lent {}

impl fmt::Debug for InterruptSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InterruptSlot").finish_non_exhaustive()
    }
}

impl Default for InterruptSlot {
    fn default() -> Self {
        Self::new()
    }
}

/// Takes the handler back, however `raise` ends.
struct TakeBack<'s>(&'s InterruptSlot);

impl Drop for TakeBack<'_> {
    fn drop(&mut self) {
        critical_section::with(|section| self.0.0.borrow(section).set(None));
    }
}

impl InterruptSlot {
    /// A slot in which there is nothing.
    pub const fn new() -> Self {
        Self(Mutex::new(Cell::new(None)))
    }

    /// Lends a handler while `raise` runs, which has the interrupt come and returns when that was served. One at a time: a
    /// second one takes the first one's place.
    pub fn lend(&self, handler: &mut (dyn FnMut() + Send), raise: impl FnOnce()) {
        #[expect(unsafe_code, reason = "a pointer outlives the type of what it points to")]
        // SAFETY: only the lifetime changes. The pointer is used by `serve` alone, in a critical section and as long as it is in
        // the slot; it is taken out before the borrow ends, which waits for that section.
        let handler =
            unsafe { core::mem::transmute::<NonNull<dyn FnMut() + Send + '_>, NonNull<Handler>>(handler.into()) };
        let taken_back = TakeBack(self);
        critical_section::with(|section| self.0.borrow(section).set(Some(Lent(handler))));
        raise();
        drop(taken_back);
    }

    /// Runs the handler that is lent; to be called from the kernel's interrupt handler. Returns whether there was one.
    pub fn serve(&self) -> bool {
        critical_section::with(|section| {
            // Out of the slot meanwhile: a handler that is interrupted by its own interrupt is not run again.
            let lent = self.0.borrow(section).take();
            if let Some(Lent(mut handler)) = lent {
                #[expect(unsafe_code, reason = "calls by a pointer")]
                // SAFETY: `lend` is not over, because it takes the pointer back in a critical section, and nobody else has it.
                let handler_ref = unsafe { handler.as_mut() };
                handler_ref();
                self.0.borrow(section).set(lent);
            }
            lent.is_some()
        })
    }
}
