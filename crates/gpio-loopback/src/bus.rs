//! How the device reaches the memory that it shares with the driver.

use alloc::vec::Vec;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU8, Ordering};

use virtio_gpio::memory::DmaMemory;

/// The device's way to the shared memory, by the addresses that the driver tells it.
pub trait Bus: Send + Sync {
    /// Reads bytes; those that are not there read as zero.
    fn read(&self, address: u64, bytes: &mut [u8]);

    /// Writes bytes; those that have no place are dropped.
    fn write(&self, address: u64, bytes: &[u8]);

    /// Whether all of the bytes are there.
    fn holds(&self, address: u64, len: u32) -> bool;

    /// The device has read bytes of the driver's and needs them no more: where the two see the memory differently, they may
    /// be overwritten, so that what is read twice and handed over once is noticed. Nothing by default.
    fn spoil(&self, address: u64, len: u32) {
        let _ = (address, len);
    }
}

impl dyn Bus + '_ {
    pub(crate) fn read_vec(&self, address: u64, len: u32) -> Vec<u8> {
        let there = (address..).take(len as usize).take_while(|&address| self.holds(address, 1));
        there.map(|address| u8::from_le_bytes(self.read_array(address))).collect()
    }

    pub(crate) fn read_u16(&self, address: u64) -> u16 {
        u16::from_le_bytes(self.read_array(address))
    }

    pub(crate) fn read_u32(&self, address: u64) -> u32 {
        u32::from_le_bytes(self.read_array(address))
    }

    pub(crate) fn read_u64(&self, address: u64) -> u64 {
        u64::from_le_bytes(self.read_array(address))
    }

    fn read_array<const N: usize>(&self, address: u64) -> [u8; N] {
        let mut bytes = [0; N];
        self.read(address, &mut bytes);
        bytes
    }

    pub(crate) fn write_u16(&self, address: u64, value: u16) {
        self.write(address, &value.to_le_bytes());
    }
}

/// The bus of a machine on which the device sees what the processor sees: it reads and writes where the driver does, or at
/// another mapping of the same memory.
#[derive(Debug)]
pub struct Direct {
    base: NonNull<u8>,
    len: usize,
    address: u64,
}

#[expect(unsafe_code, reason = "reaches memory by a pointer")]
// SAFETY: the bytes may be accessed from anywhere, see `new`; each access is an atomic one.
unsafe impl Send for Direct {}
#[expect(unsafe_code, reason = "reaches memory by a pointer")]
// SAFETY: as above.
unsafe impl Sync for Direct {}

impl Direct {
    /// The bus to a driver's memory, at the driver's own mapping.
    ///
    /// # Safety
    ///
    /// The memory outlives every access: a machine that was given the bus is [disconnected](crate::Machine::disconnect)
    /// before the memory is dropped.
    #[expect(unsafe_code, reason = "the caller says how long the memory lives")]
    pub unsafe fn new(memory: &impl DmaMemory) -> Self {
        Self { base: memory.base(), len: memory.len(), address: memory.device_address() }
    }

    /// The bus to the same bytes at another mapping of them: one without caches, for instance.
    ///
    /// # Safety
    ///
    /// As for [`new`](Self::new); and `base` points to [`DmaMemory::len`] bytes, readable and writable.
    #[must_use]
    #[expect(unsafe_code, reason = "the caller says where the memory is")]
    pub unsafe fn at(self, base: NonNull<u8>) -> Self {
        Self { base, ..self }
    }

    fn byte(&self, address: u64) -> Option<NonNull<u8>> {
        let offset = usize::try_from(address.checked_sub(self.address)?).ok().filter(|&offset| offset < self.len)?;
        #[expect(unsafe_code, reason = "reaches memory by a pointer")]
        // SAFETY: within the memory.
        Some(unsafe { self.base.add(offset) })
    }
}

impl Bus for Direct {
    fn read(&self, address: u64, bytes: &mut [u8]) {
        for (address, to) in (address..).zip(bytes) {
            #[expect(unsafe_code, reason = "reaches memory by a pointer")]
            // SAFETY: a byte that is there as long as this is; both sides' accesses are atomic.
            let place = |byte: NonNull<u8>| unsafe { AtomicU8::from_ptr(byte.as_ptr()) };
            *to = self.byte(address).map_or(0, |byte| place(byte).load(Ordering::Relaxed));
        }
    }

    fn write(&self, address: u64, bytes: &[u8]) {
        for (address, &from) in (address..).zip(bytes) {
            if let Some(byte) = self.byte(address) {
                #[expect(unsafe_code, reason = "reaches memory by a pointer")]
                // SAFETY: a byte that is there as long as this is; both sides' accesses are atomic.
                let place = unsafe { AtomicU8::from_ptr(byte.as_ptr()) };
                place.store(from, Ordering::Relaxed);
            }
        }
    }

    fn holds(&self, address: u64, len: u32) -> bool {
        let last = address.checked_add(u64::from(len).saturating_sub(1));
        self.byte(address).is_some() && last.is_some_and(|last| self.byte(last).is_some())
    }
}
