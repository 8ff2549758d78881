//! Memory with a mistake in its hooks.

use alloc::sync::Arc;
use core::fmt;
use core::ops::Range;
use core::ptr::NonNull;

use gpio_loopback::{Bus, Memory};
use virtio_gpio::memory::DmaMemory;

use super::{Mistake, WeakMemory};

#[derive(Debug)]
pub(super) enum Kind {
    Own(Memory),
    Weak(Arc<WeakMemory>),
}

/// Memory with a mistake.
pub struct BrokenMemory {
    kind: Kind,
    bus: Arc<dyn Bus>,
    mistake: Option<Mistake>,
}

impl fmt::Debug for BrokenMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BrokenMemory").field("kind", &self.kind).field("mistake", &self.mistake).finish_non_exhaustive()
    }
}

impl BrokenMemory {
    pub(super) fn new(kind: Kind, bus: Arc<dyn Bus>, mistake: Option<Mistake>) -> Self {
        Self { kind, bus, mistake }
    }

    pub(super) fn bus(&self) -> Arc<dyn Bus> {
        self.bus.clone()
    }

    /// Bytes at the start that are left out: none, unless that is the mistake.
    fn shift(&self) -> usize {
        if self.mistake == Some(Mistake::Misaligned) { 64 } else { 0 }
    }
}

#[expect(unsafe_code, reason = "implements an unsafe trait")]
// SAFETY: the bytes are another `DmaMemory`'s, or atomics of a `WeakMemory` that this shares; either way nobody else touches
// them, and what is left out at the start is less than there is. Alignment and hooks are wrong where that is the mistake: the
// driver refuses the one or reads poison because of the other, neither of which touches other memory.
unsafe impl DmaMemory for BrokenMemory {
    fn base(&self) -> NonNull<u8> {
        let base = match &self.kind {
            Kind::Own(memory) => memory.base(),
            Kind::Weak(memory) => memory.base(),
        };
        // SAFETY: there are more bytes than that.
        unsafe { base.add(self.shift()) }
    }

    fn len(&self) -> usize {
        let len = match &self.kind {
            Kind::Own(memory) => memory.len(),
            Kind::Weak(memory) => memory.len(),
        };
        len.saturating_sub(self.shift())
    }

    fn device_address(&self) -> u64 {
        let address = match &self.kind {
            Kind::Own(memory) => memory.device_address(),
            Kind::Weak(_) => super::ADDRESS,
        };
        address.saturating_add(self.shift() as u64)
    }

    fn granule(&self) -> usize {
        match &self.kind {
            Kind::Own(memory) if self.mistake == Some(Mistake::SmallGranule) => memory.granule() / 2,
            Kind::Own(memory) => memory.granule(),
            Kind::Weak(_) => 1,
        }
    }

    fn sync_for_device(&self, range: Range<usize>) {
        match &self.kind {
            Kind::Own(memory) if self.mistake != Some(Mistake::NoClean) => memory.sync_for_device(range),
            _ => (),
        }
    }

    fn sync_for_driver(&self, range: Range<usize>) {
        match &self.kind {
            Kind::Own(memory) if self.mistake != Some(Mistake::NoInvalidate) => memory.sync_for_driver(range),
            _ => (),
        }
    }
}
