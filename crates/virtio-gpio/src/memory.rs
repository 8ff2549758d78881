//! The memory seam: the piece of memory that driver and device share.

mod bounce;
mod cached;

use core::ops::Range;
use core::ptr::NonNull;

pub use bounce::{Bounce, Mapped};
pub use cached::{Cached, Caches};

/// One piece of memory that the device can reach. The driver lays out its rings and buffers in it and uses no other.
///
/// On a coherent machine base, length and address are all that there is to say. Elsewhere:
///
/// | the machine | what to write |
/// | --- | --- |
/// | caches are kept in step by hand | [`Cached`], or yourself: [`granule`](Self::granule): the longest cache line; [`sync_for_device`](Self::sync_for_device) cleans, and [`sync_for_driver`](Self::sync_for_driver) invalidates, the lines that the range touches. A clean must be over before the call returns: a notification may follow at once. No line may be fetched early into a range that the device has: where the processor does that, invalidating when taking over is what makes up for it |
/// | the device reaches only some memory | [`Bounce`] |
/// | the device has addresses of its own | [`Mapped`] |
///
/// Both hooks are called inside the driver's critical section, from any context in which its user calls it; a few times for a
/// request, with the bytes of one descriptor, one buffer or one word of a ring (at set-up and reset: a whole queue). They
/// order nothing: that is the [`Fence`](crate::fence::Fence)'s.
///
/// # Safety
///
/// * [`base`](Self::base) points to [`len`](Self::len) bytes, readable and writable, aligned to
///   [`DmaMemory::ALIGN`], always the same ones. An implementation does not give that constant another value.
/// * Nobody but the driver and its device touches them while the value exists, and for ever if the value is never
///   dropped: the driver forgets the value where it cannot prove that the device has stopped writing. Borrowed
///   memory cannot promise that; static or leaked memory can.
/// * The device finds the first byte at [`device_address`](Self::device_address) and the others behind it.
/// * After [`sync_for_device`](Self::sync_for_device) the device sees what the driver wrote in that range; after
///   [`sync_for_driver`](Self::sync_for_driver) the driver sees what the device wrote there.
#[expect(unsafe_code, reason = "declares an unsafe trait")]
pub unsafe trait DmaMemory {
    /// The alignment of the first byte, in the driver's and in the device's view: the page of a legacy device.
    const ALIGN: usize = 4096;

    /// The first byte.
    fn base(&self) -> NonNull<u8>;

    /// The number of bytes.
    fn len(&self) -> usize;

    /// Whether there are no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where the device finds the first byte.
    fn device_address(&self) -> u64;

    /// Bytes of a cache line where caches are kept in step by hand: what the driver writes and what the device writes
    /// never share one. A power of two; 1 on a coherent machine.
    fn granule(&self) -> usize {
        1
    }

    /// Hands a range of bytes to the device: cleans caches, or copies to the bounce buffer. Nothing to do on a
    /// coherent machine.
    fn sync_for_device(&self, range: Range<usize>) {
        let _ = range;
    }

    /// Takes a range of bytes over from the device: invalidates caches, or copies from the bounce buffer. Nothing to
    /// do on a coherent machine.
    fn sync_for_driver(&self, range: Range<usize>) {
        let _ = range;
    }
}
