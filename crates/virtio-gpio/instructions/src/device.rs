//! The device of both queues: it returns every chain at once. Not counted.

use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};

/// What a device writes into each answer.
pub const ANSWER_SIZE: u32 = 2;

/// The rings of a queue whose addresses are this program's own.
#[derive(Debug, Clone, Copy)]
pub struct Device {
    pub size: u16,
    pub available: u64,
    pub used: u64,
    seen: u16,
}

fn word(address: u64) -> &'static AtomicU16 {
    let place = std::ptr::with_exposed_provenance::<AtomicU16>(address as usize);
    // SAFETY: both queues hand over aligned memory that they keep until the program ends, and that the other side only
    // accesses as shared memory.
    unsafe { &*place }
}

fn long_word(address: u64) -> &'static AtomicU32 {
    let place = std::ptr::with_exposed_provenance::<AtomicU32>(address as usize);
    // SAFETY: as in `word`.
    unsafe { &*place }
}

impl Device {
    pub fn new(size: u16, available: u64, used: u64) -> Self {
        Self { size, available, used, seen: 0 }
    }

    /// Returns what was made available, and wants to hear of the next chain.
    #[inline(never)]
    pub fn work(&mut self) {
        let available = word(self.available + 2).load(Ordering::Acquire);
        while self.seen != available {
            let slot = u64::from(self.seen % self.size);
            let head = word(self.available + 4 + 2 * slot).load(Ordering::Relaxed);
            let element = self.used + 4 + 8 * slot;
            long_word(element).store(head.into(), Ordering::Relaxed);
            long_word(element + 4).store(ANSWER_SIZE, Ordering::Relaxed);
            self.seen = self.seen.wrapping_add(1);
        }
        word(self.used + 2).store(self.seen, Ordering::Release);
        // `avail_event`, behind the used ring.
        word(self.used + 4 + 8 * u64::from(self.size)).store(self.seen, Ordering::Release);
    }
}
