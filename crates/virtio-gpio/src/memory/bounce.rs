//! Memory that is not where the driver's is, or not where the device looks for it.

use core::ops::Range;
use core::ptr::NonNull;

use super::DmaMemory;
use crate::shared::Shared;

/// The driver's own memory, in front of a window that the device can reach: bytes are copied where they are handed over. For
/// devices that reach little of the memory, and for guests whose memory its host must not read.
///
/// What is copied is what the driver hands over, by words of up to 32 bits, so that an index never comes in halves.
///
/// ```
/// # fn show<L: virtio_gpio::memory::DmaMemory, W: virtio_gpio::memory::DmaMemory>(local: L, window: W) {
/// use virtio_gpio::memory::{Bounce, DmaMemory};
///
/// // `local` may be anything that the processor likes; `window` is what the device was given.
/// let memory = Bounce::new(local, window);
/// # let _ = memory.len();
/// # }
/// ```
#[derive(Debug)]
pub struct Bounce<L: DmaMemory, W: DmaMemory> {
    local: Shared<L>,
    window: Shared<W>,
}

impl<L: DmaMemory, W: DmaMemory> Bounce<L, W> {
    /// `local` for the driver, `window` for the device. As long as the shorter one.
    pub fn new(local: L, window: W) -> Self {
        Self { local: Shared::new(local), window: Shared::new(window) }
    }

    fn copy(
        &self,
        range: Range<usize>,
        copy_u32: fn(&Self, usize),
        copy_u16: fn(&Self, usize),
        copy_u8: fn(&Self, usize),
    ) {
        let end = range.end.min(self.len());
        let mut offset = range.start;
        while offset < end {
            let left = end.wrapping_sub(offset);
            let step = match offset {
                _ if left >= 4 && offset.is_multiple_of(4) => {
                    copy_u32(self, offset);
                    4
                }
                _ if left >= 2 && offset.is_multiple_of(2) => {
                    copy_u16(self, offset);
                    2
                }
                _ => {
                    copy_u8(self, offset);
                    1
                }
            };
            offset = offset.wrapping_add(step);
        }
    }
}

#[expect(unsafe_code, reason = "implements an unsafe trait")]
// SAFETY: `local` keeps the promises about the driver's side: base, length, alignment, and nobody else there. `window` keeps
// those about the device's: address and length. What is handed over is copied from one to the other.
unsafe impl<L: DmaMemory, W: DmaMemory> DmaMemory for Bounce<L, W> {
    fn base(&self) -> NonNull<u8> {
        self.local.memory().base()
    }

    fn len(&self) -> usize {
        self.local.memory().len().min(self.window.memory().len())
    }

    fn device_address(&self) -> u64 {
        self.window.memory().device_address()
    }

    fn granule(&self) -> usize {
        self.window.memory().granule()
    }

    fn sync_for_device(&self, range: Range<usize>) {
        self.copy(
            range.clone(),
            |both, offset| both.window.write_u32(offset, both.local.read_u32(offset)),
            |both, offset| both.window.write_u16(offset, both.local.read_u16(offset)),
            |both, offset| both.window.write_u8(offset, both.local.read_u8(offset)),
        );
        self.window.sync_for_device(range);
    }

    fn sync_for_driver(&self, range: Range<usize>) {
        self.window.sync_for_driver(range.clone());
        self.copy(
            range,
            |both, offset| both.local.write_u32(offset, both.window.read_u32(offset)),
            |both, offset| both.local.write_u16(offset, both.window.read_u16(offset)),
            |both, offset| both.local.write_u8(offset, both.window.read_u8(offset)),
        );
    }
}

/// Memory that the device finds at an address of its own: behind an IOMMU, or a bridge with an offset.
#[derive(Debug)]
pub struct Mapped<M> {
    memory: M,
    device_address: u64,
}

impl<M: DmaMemory> Mapped<M> {
    /// `memory`, as the device sees it.
    ///
    /// # Safety
    ///
    /// The device finds the first byte of `memory` at `device_address`, and the others behind it, as long as the value
    /// exists, and for ever if it is never dropped. `device_address` is aligned to [`DmaMemory::ALIGN`].
    #[expect(unsafe_code, reason = "declares an unsafe function")]
    pub const unsafe fn new(memory: M, device_address: u64) -> Self {
        Self { memory, device_address }
    }
}

#[expect(unsafe_code, reason = "implements an unsafe trait")]
// SAFETY: `memory` keeps all promises but one, and whoever made this keeps that.
unsafe impl<M: DmaMemory> DmaMemory for Mapped<M> {
    fn base(&self) -> NonNull<u8> {
        self.memory.base()
    }

    fn len(&self) -> usize {
        self.memory.len()
    }

    fn device_address(&self) -> u64 {
        self.device_address
    }

    fn granule(&self) -> usize {
        self.memory.granule()
    }

    fn sync_for_device(&self, range: Range<usize>) {
        self.memory.sync_for_device(range);
    }

    fn sync_for_driver(&self, range: Range<usize>) {
        self.memory.sync_for_driver(range);
    }
}
