//! Access to the memory that driver and device share: the only place where it is read or written.
//!
//! Every access is one relaxed atomic load or store of its own width, because the other side may be at work in the
//! same bytes at the same moment; ordering is the queue's matter ([`crate::fence`]). Values are little endian in
//! memory. Offsets are checked against the length: an offset outside is a mistake of the driver's own layout, which
//! debug builds report and release builds turn into a read of 0 or no write, never into an access elsewhere.
#![expect(unsafe_code, reason = "dereferences pointers into the shared memory")]

use core::fmt;
use core::mem::ManuallyDrop;
use core::ops::Range;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, Ordering};

use crate::memory::DmaMemory;

/// A [`DmaMemory`] seen as numbered bytes. While the device may write there, dropping this leaks the memory.
pub(crate) struct Shared<M: DmaMemory> {
    memory: ManuallyDrop<M>,
    /// The device knows the address, and has not been reset since.
    exposed: bool,
}

impl<M: DmaMemory> fmt::Debug for Shared<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("len", &self.memory.len()).field("exposed", &self.exposed).finish()
    }
}

impl<M: DmaMemory> Drop for Shared<M> {
    fn drop(&mut self) {
        if !self.exposed {
            // SAFETY: the value is being dropped, so that nobody uses `memory` again.
            unsafe { ManuallyDrop::drop(&mut self.memory) }
        }
    }
}

impl<M: DmaMemory> Shared<M> {
    pub(crate) fn new(memory: M) -> Self {
        Self { memory: ManuallyDrop::new(memory), exposed: false }
    }

    pub(crate) fn memory(&self) -> &M {
        &self.memory
    }

    /// The device is told where the memory is.
    pub(crate) fn expose(&mut self) {
        self.exposed = true;
    }

    /// The device has confirmed a reset: it does not touch the memory any more.
    pub(crate) fn conceal(&mut self) {
        self.exposed = false;
    }

    /// Where the device finds the byte at `offset`.
    pub(crate) fn device_address(&self, offset: usize) -> u64 {
        self.memory.device_address().wrapping_add(offset as u64)
    }

    pub(crate) fn sync_for_device(&self, range: Range<usize>) {
        self.memory.sync_for_device(range);
    }

    pub(crate) fn sync_for_driver(&self, range: Range<usize>) {
        self.memory.sync_for_driver(range);
    }

    /// The place of a `T` at `offset`, if it lies inside and is aligned.
    fn place<T>(&self, offset: usize) -> Option<NonNull<T>> {
        let end = offset.checked_add(size_of::<T>())?;
        if end > self.memory.len() || !offset.is_multiple_of(align_of::<T>()) {
            debug_assert!(false, "offset {offset} is outside the shared memory or not aligned");
            return None;
        }
        // SAFETY: `offset` is at most `len`, and `DmaMemory` promises that many bytes behind `base`.
        let place = unsafe { self.memory.base().byte_add(offset) };
        Some(place.cast())
    }

    pub(crate) fn read_u8(&self, offset: usize) -> u8 {
        self.place::<AtomicU8>(offset).map_or(0, |place| {
            // SAFETY: `place` is inside and aligned; `DmaMemory` keeps the bytes alive as long as `self`.
            unsafe { place.as_ref() }.load(Ordering::Relaxed)
        })
    }

    pub(crate) fn write_u8(&self, offset: usize, value: u8) {
        if let Some(place) = self.place::<AtomicU8>(offset) {
            // SAFETY: as in `read_u8`.
            unsafe { place.as_ref() }.store(value, Ordering::Relaxed);
        }
    }

    pub(crate) fn read_u16(&self, offset: usize) -> u16 {
        self.place::<AtomicU16>(offset).map_or(0, |place| {
            // SAFETY: as in `read_u8`.
            u16::from_le(unsafe { place.as_ref() }.load(Ordering::Relaxed))
        })
    }

    pub(crate) fn write_u16(&self, offset: usize, value: u16) {
        if let Some(place) = self.place::<AtomicU16>(offset) {
            // SAFETY: as in `read_u8`.
            unsafe { place.as_ref() }.store(value.to_le(), Ordering::Relaxed);
        }
    }

    pub(crate) fn read_u32(&self, offset: usize) -> u32 {
        self.place::<AtomicU32>(offset).map_or(0, |place| {
            // SAFETY: as in `read_u8`.
            u32::from_le(unsafe { place.as_ref() }.load(Ordering::Relaxed))
        })
    }

    pub(crate) fn write_u32(&self, offset: usize, value: u32) {
        if let Some(place) = self.place::<AtomicU32>(offset) {
            // SAFETY: as in `read_u8`.
            unsafe { place.as_ref() }.store(value.to_le(), Ordering::Relaxed);
        }
    }

    /// Writes neighbouring words, each by itself and in no particular order: nobody reads before they are published.
    pub(crate) fn write_words<const N: usize>(&self, offset: usize, words: [u32; N]) {
        if let Some(place) = self.place::<[AtomicU32; N]>(offset) {
            // SAFETY: as in `read_u8`.
            let place = unsafe { place.as_ref() };
            for (to, word) in place.iter().zip(words) {
                to.store(word.to_le(), Ordering::Relaxed);
            }
        }
    }

    /// Reads neighbouring words, each by itself.
    pub(crate) fn read_words<const N: usize>(&self, offset: usize) -> [u32; N] {
        self.place::<[AtomicU32; N]>(offset).map_or([0; N], |place| {
            // SAFETY: as in `read_u8`.
            let place = unsafe { place.as_ref() };
            place.each_ref().map(|word| u32::from_le(word.load(Ordering::Relaxed)))
        })
    }

    /// Writes eight bytes as two words: no 64-bit atomics are needed.
    pub(crate) fn write_bytes8(&self, offset: usize, bytes: [u8; 8]) {
        let [b0, b1, b2, b3, b4, b5, b6, b7] = bytes;
        self.write_words(offset, [u32::from_le_bytes([b0, b1, b2, b3]), u32::from_le_bytes([b4, b5, b6, b7])]);
    }

    pub(crate) fn read_bytes8(&self, offset: usize) -> [u8; 8] {
        let [low, high] = self.read_words(offset).map(u32::to_le_bytes);
        let ([b0, b1, b2, b3], [b4, b5, b6, b7]) = (low, high);
        [b0, b1, b2, b3, b4, b5, b6, b7]
    }

    /// Copies bytes out, from `offset` on.
    pub(crate) fn read_bytes(&self, offset: usize, bytes: &mut [u8]) {
        for (offset, byte) in (offset..).zip(bytes.iter_mut()) {
            *byte = self.read_u8(offset);
        }
    }

    /// Sets every byte of a range to 0.
    pub(crate) fn clear(&self, range: Range<usize>) {
        let mut offset = range.start;
        while offset < range.end {
            if offset.is_multiple_of(4) && range.end.wrapping_sub(offset) >= 4 {
                self.write_u32(offset, 0);
                offset = offset.wrapping_add(4);
            } else {
                self.write_u8(offset, 0);
                offset = offset.wrapping_add(1);
            }
        }
    }
}
