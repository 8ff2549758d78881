//! The memory that driver and device share.
//!
//! Every byte is an atomic, so that the device's side needs no `unsafe`. A machine that is not coherent has the memory
//! twice: bytes go from one side to the other only where the driver asks for it, by whole granules as caches do. What a side
//! has not been handed is poison there: the driver finds it where the device has written since, and the device where it has
//! read before.
#![expect(unsafe_code, reason = "implements an unsafe trait")]

use alloc::sync::Arc;
use core::ops::Range;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use virtio_gpio::memory::DmaMemory;

use crate::bus::Bus;

const PAGE: usize = 4096;
/// What the driver, and what the device, finds where it was handed nothing.
const DRIVER_POISON: u8 = 0xd5;
const DEVICE_POISON: u8 = 0xb6;

#[derive(Debug)]
#[repr(C, align(4096))]
struct Page([AtomicU8; PAGE]);

type Pages = Arc<[Page]>;

/// Pages with the same content.
fn pages<const CONTENT: u8>(len: usize) -> Pages {
    (0..len.div_ceil(PAGE)).map(|_| Page([const { AtomicU8::new(CONTENT) }; PAGE])).collect()
}

/// How often the driver handed bytes over, and took some over.
#[derive(Debug, Default)]
struct HandOvers {
    to_device: AtomicUsize,
    from_device: AtomicUsize,
}

/// The driver's side.
#[derive(Debug)]
pub struct Memory {
    driver: Pages,
    device: Pages,
    len: usize,
    address: u64,
    granule: usize,
    hand_overs: Arc<HandOvers>,
}

/// The device's side: bytes by the address that the driver told the device.
#[derive(Debug)]
pub(crate) struct DeviceMemory {
    pages: Pages,
    /// The driver's side, where it is another.
    driver: Option<Pages>,
    address: u64,
    hand_overs: Arc<HandOvers>,
}

impl Memory {
    /// `len` bytes that the device finds at `address`, and its way to them. `granule` is a power of two: 1 for coherent
    /// memory, otherwise the bytes of a cache line.
    pub fn with_bus(len: usize, address: u64, granule: usize) -> (Self, Arc<dyn Bus>) {
        let (memory, device) = Self::new(len, address, granule);
        (memory, Arc::new(device))
    }

    pub(crate) fn new(len: usize, address: u64, granule: usize) -> (Self, DeviceMemory) {
        let (driver, device) = if granule > 1 {
            (pages::<DRIVER_POISON>(len), pages::<DEVICE_POISON>(len))
        } else {
            let both = pages::<0>(len);
            (both.clone(), both)
        };
        let hand_overs = Arc::<HandOvers>::default();
        let apart = (granule > 1).then(|| driver.clone());
        let memory = Self { driver, device: device.clone(), len, address, granule, hand_overs: hand_overs.clone() };
        (memory, DeviceMemory { pages: device, driver: apart, address, hand_overs })
    }

    /// Copies the granules that `range` touches from one side to the other.
    fn copy(&self, from: &Pages, to: &Pages, range: Range<usize>) {
        if self.granule <= 1 {
            return;
        }
        let start = range.start.checked_div(self.granule).unwrap_or(0).saturating_mul(self.granule);
        for offset in start..range.end.next_multiple_of(self.granule) {
            if let (Some(from), Some(to)) = (byte(from, offset), byte(to, offset)) {
                to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
            }
        }
    }
}

fn byte(pages: &Pages, offset: usize) -> Option<&AtomicU8> {
    pages.get(offset / PAGE)?.0.get(offset % PAGE)
}

// SAFETY: `base` points to whole pages, aligned by their type and made of atomics, which may be written through a
// shared reference. Driver and device each hold a share of them, so that they outlive both; nobody else has one. The
// device translates addresses by `device_address`, and `copy` moves what each side wrote where the sides are apart.
unsafe impl DmaMemory for Memory {
    fn base(&self) -> NonNull<u8> {
        NonNull::from(&*self.driver).cast()
    }

    fn len(&self) -> usize {
        self.len
    }

    fn device_address(&self) -> u64 {
        self.address
    }

    fn granule(&self) -> usize {
        self.granule
    }

    fn sync_for_device(&self, range: Range<usize>) {
        self.hand_overs.to_device.fetch_add(1, Ordering::Relaxed);
        self.copy(&self.driver, &self.device, range);
    }

    fn sync_for_driver(&self, range: Range<usize>) {
        self.hand_overs.from_device.fetch_add(1, Ordering::Relaxed);
        self.copy(&self.device, &self.driver, range);
    }
}

impl DeviceMemory {
    /// Whether the driver has given the memory up.
    pub(crate) fn is_released(&self) -> bool {
        Arc::strong_count(&self.pages) == 1
    }

    /// How often the driver handed bytes over to the device, and took some over from it.
    pub(crate) fn hand_overs(&self) -> (u64, u64) {
        let count = |counter: &AtomicUsize| u64::try_from(counter.load(Ordering::Relaxed)).unwrap_or(u64::MAX);
        (count(&self.hand_overs.to_device), count(&self.hand_overs.from_device))
    }

    fn offset(&self, address: u64) -> Option<usize> {
        usize::try_from(address.checked_sub(self.address)?).ok()
    }

    fn byte(&self, address: u64) -> Option<&AtomicU8> {
        byte(&self.pages, self.offset(address)?)
    }
}

impl Bus for DeviceMemory {
    fn read(&self, address: u64, bytes: &mut [u8]) {
        for (address, to) in (address..).zip(bytes) {
            *to = self.byte(address).map_or(0, |from| from.load(Ordering::Relaxed));
        }
    }

    fn write(&self, address: u64, bytes: &[u8]) {
        for (address, from) in (address..).zip(bytes) {
            if let Some(to) = self.byte(address) {
                to.store(*from, Ordering::Relaxed);
            }
            if let Some(stale) = self.driver.as_ref().and_then(|driver| byte(driver, self.offset(address)?)) {
                stale.store(DRIVER_POISON, Ordering::Relaxed);
            }
        }
    }

    fn holds(&self, address: u64, len: u32) -> bool {
        let last = address.checked_add(u64::from(len).saturating_sub(1));
        self.byte(address).is_some() && last.is_some_and(|last| self.byte(last).is_some())
    }

    /// The device will not find the bytes again unless it is handed them again.
    fn spoil(&self, address: u64, len: u32) {
        if self.driver.is_some() {
            for place in (address..).take(len as usize).map_while(|address| self.byte(address)) {
                place.store(DEVICE_POISON, Ordering::Relaxed);
            }
        }
    }
}
