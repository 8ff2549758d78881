//! Memory behind caches that are kept in step by hand.

use core::ops::Range;
use core::ptr::NonNull;

use super::DmaMemory;

/// The processor's data caches, by address: what kernels call cache maintenance. Ranges are whole lines.
///
/// With the instructions of a 64-bit ARM processor, where lines have 64 bytes:
///
/// ```
/// # #[cfg(target_arch = "aarch64")]
/// mod arm {
///     use core::arch::asm;
///     use core::ptr::NonNull;
///     use virtio_gpio::memory::Caches;
///
///     pub struct Arm;
///
///     const LINE: usize = 64;
///
///     // SAFETY: the instructions are those for the point where all observers meet, one for each line, and `dsb` waits for them.
///     unsafe impl Caches for Arm {
///         fn line_size(&self) -> usize {
///             LINE
///         }
///
///         fn clean(&self, start: NonNull<u8>, len: usize) {
///             for offset in (0..len).step_by(LINE) {
///                 // SAFETY: writes a line back, and changes no byte.
///                 unsafe { asm!("dc cvac, {}", in(reg) start.as_ptr().wrapping_add(offset)) };
///             }
///             // SAFETY: waits, and nothing else.
///             unsafe { asm!("dsb sy") };
///         }
///
///         fn invalidate(&self, start: NonNull<u8>, len: usize) {
///             for offset in (0..len).step_by(LINE) {
///                 // SAFETY: throws a line away, which is what the caller asks for.
///                 unsafe { asm!("dc ivac, {}", in(reg) start.as_ptr().wrapping_add(offset)) };
///             }
///             // SAFETY: waits, and nothing else.
///             unsafe { asm!("dsb sy") };
///         }
///     }
/// }
/// ```
///
/// # Safety
///
/// * No cache between the processor and the device has longer lines than [`line_size`](Self::line_size), which is always the
///   same.
/// * When [`clean`](Self::clean) returns, memory holds what the processor wrote in the range.
/// * When [`invalidate`](Self::invalidate) returns, the processor reads from memory in the range. It throws away nothing else.
#[expect(unsafe_code, reason = "declares an unsafe trait")]
pub unsafe trait Caches {
    /// Bytes of the longest line: a power of two, [`DmaMemory::ALIGN`] at most.
    fn line_size(&self) -> usize;

    /// Writes lines back to memory. They may stay in the cache.
    fn clean(&self, start: NonNull<u8>, len: usize);

    /// Throws lines away. The processor has written none of them since they were last cleaned, so that to clean them first is
    /// right, too.
    fn invalidate(&self, start: NonNull<u8>, len: usize);
}

/// Memory that the device sees without the processor's caches: they are cleaned where the driver hands bytes over, and
/// invalidated where it takes them over.
///
/// ```
/// # fn show<M: virtio_gpio::memory::DmaMemory, C: virtio_gpio::memory::Caches>(memory: M, caches: C) {
/// use virtio_gpio::memory::{Cached, DmaMemory};
///
/// // `memory` is base, length and address, as on a coherent machine.
/// let memory = Cached::new(memory, caches);
/// # let _ = memory.granule();
/// # }
/// ```
#[derive(Debug)]
pub struct Cached<M, C> {
    memory: M,
    caches: C,
}

impl<M: DmaMemory, C: Caches> Cached<M, C> {
    /// `memory` behind `caches`. What does not fill a line at its end is left out.
    pub const fn new(memory: M, caches: C) -> Self {
        Self { memory, caches }
    }

    /// The lines that a range touches: where they start, and their bytes.
    fn lines(&self, range: Range<usize>) -> Option<(NonNull<u8>, usize)> {
        let line = self.caches.line_size().max(1);
        let end = range.end.checked_next_multiple_of(line)?.min(self.len());
        let start = range.start.checked_div(line)?.checked_mul(line)?;
        let len = end.checked_sub(start).filter(|&len| len > 0)?;
        #[expect(unsafe_code, reason = "offsets a pointer")]
        // SAFETY: `start` is before `end`, and that is within the memory.
        let start = unsafe { self.memory.base().add(start) };
        Some((start, len))
    }
}

#[expect(unsafe_code, reason = "implements an unsafe trait")]
// SAFETY: `memory` keeps all promises but those about caches, and `caches` keeps these: base and length are whole lines of it,
// because `DmaMemory::ALIGN` is a multiple of a line, so that nobody else's bytes are in a line that is thrown away.
unsafe impl<M: DmaMemory, C: Caches> DmaMemory for Cached<M, C> {
    fn base(&self) -> NonNull<u8> {
        self.memory.base()
    }

    fn len(&self) -> usize {
        let rest = self.memory.len().checked_rem(self.caches.line_size()).unwrap_or(0);
        self.memory.len().saturating_sub(rest)
    }

    fn device_address(&self) -> u64 {
        self.memory.device_address()
    }

    fn granule(&self) -> usize {
        self.caches.line_size().max(self.memory.granule())
    }

    fn sync_for_device(&self, range: Range<usize>) {
        if let Some((start, len)) = self.lines(range.clone()) {
            self.caches.clean(start, len);
        }
        self.memory.sync_for_device(range);
    }

    fn sync_for_driver(&self, range: Range<usize>) {
        self.memory.sync_for_driver(range.clone());
        if let Some((start, len)) = self.lines(range) {
            self.caches.invalidate(start, len);
        }
    }
}
