//! Memory in which each side sees the other's stores late, and in any order that the fences allow.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::ops::Range;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use critical_section::Mutex;
use gpio_loopback::Bus;

use super::ADDRESS;

const PAGE: usize = 4096;
const WORD: usize = size_of::<usize>();

#[derive(Debug)]
#[repr(C, align(4096))]
struct Page([AtomicUsize; PAGE / WORD]);

type Pages = Box<[Page]>;

fn pages(len: usize) -> Pages {
    (0..len.div_ceil(PAGE)).map(|_| Page([const { AtomicUsize::new(0) }; PAGE / WORD])).collect()
}

/// The word that a byte is in.
fn word(pages: &Pages, offset: usize) -> Option<&AtomicUsize> {
    pages.get(offset / PAGE)?.0.get(offset % PAGE / WORD)
}

fn load(pages: &Pages, offset: usize) -> u8 {
    let bytes = word(pages, offset).map_or(0, |word| word.load(Ordering::Relaxed)).to_ne_bytes();
    bytes.get(offset % WORD).copied().unwrap_or(0)
}

fn store(pages: &Pages, offset: usize, value: u8) {
    if let Some(word) = word(pages, offset) {
        let mut bytes = word.load(Ordering::Relaxed).to_ne_bytes();
        if let Some(byte) = bytes.get_mut(offset % WORD) {
            *byte = value;
        }
        word.store(usize::from_ne_bytes(bytes), Ordering::Relaxed);
    }
}

/// Memory that driver and device have twice.
///
/// A store is seen by the other side at the next fence that says so. Those of 16 bits, which all indexes and flags are,
/// may be seen before: whenever the other side looks, by the throw of a coin. So an index is now and then seen ahead of what was
/// stored before it, unless a fence stands in between, and now and then not where it should be, unless one stands behind it.
/// What the device stores of 16 bits is seen by the driver at the latest when the device looks the next time.
#[derive(Debug)]
pub struct WeakMemory {
    driver: Pages,
    device: Pages,
    /// What both sides see.
    agreed: Pages,
    /// Where the device has stored 16 bits that the driver may not see yet.
    late: Mutex<RefCell<Vec<usize>>>,
    /// The state of the coin.
    coin: AtomicU32,
}

impl WeakMemory {
    /// `len` bytes of zero.
    pub(super) fn new(len: usize) -> Arc<Self> {
        let late = Mutex::new(RefCell::new(Vec::new()));
        let coin = AtomicU32::new(0x2545_f491);
        Arc::new(Self { driver: pages(len), device: pages(len), agreed: pages(len), late, coin })
    }

    pub(super) fn base(&self) -> NonNull<u8> {
        NonNull::from(&*self.driver).cast()
    }

    pub(super) fn len(&self) -> usize {
        self.driver.len().saturating_mul(PAGE)
    }

    /// Forgets all content.
    pub(super) fn clear(&self) {
        for pages in [&self.driver, &self.device, &self.agreed] {
            pages.iter().flat_map(|page| &page.0).for_each(|word| word.store(0, Ordering::Relaxed));
        }
    }

    fn heads(&self) -> bool {
        // A xorshift generator.
        let mut state = self.coin.load(Ordering::Relaxed);
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        self.coin.store(state, Ordering::Relaxed);
        state & 0x100 != 0
    }

    /// Shows one side's stores in a range to the other.
    fn show(&self, from: &Pages, to: &Pages, range: Range<usize>) {
        for offset in range {
            let value = load(from, offset);
            if value != load(&self.agreed, offset) {
                store(to, offset, value);
                store(&self.agreed, offset, value);
            }
        }
    }

    /// Shows one side's stores to the other.
    fn show_everything(&self, from: &Pages, to: &Pages) {
        for (number, (own, agreed)) in from.iter().zip(&self.agreed).enumerate() {
            for (place, (own, agreed)) in own.0.iter().zip(&agreed.0).enumerate() {
                if own.load(Ordering::Relaxed) != agreed.load(Ordering::Relaxed) {
                    let start = number.saturating_mul(PAGE).saturating_add(place.saturating_mul(WORD));
                    self.show(from, to, start..start.saturating_add(WORD));
                }
            }
        }
    }

    /// Shows the device what the driver has stored.
    pub(super) fn show_driver_stores(&self) {
        self.show_everything(&self.driver, &self.device);
    }

    /// Shows the driver what the device has stored.
    pub(super) fn show_device_stores(&self) {
        self.show_everything(&self.device, &self.driver);
    }

    pub(super) fn show_all(&self) {
        self.show_driver_stores();
        self.show_device_stores();
    }

    fn offset(address: u64) -> usize {
        address.checked_sub(ADDRESS).and_then(|offset| usize::try_from(offset).ok()).unwrap_or(usize::MAX)
    }
}

impl Bus for WeakMemory {
    fn read(&self, address: u64, bytes: &mut [u8]) {
        let late = critical_section::with(|section| self.late.borrow_ref_mut(section).split_off(0));
        for offset in late {
            self.show(&self.device, &self.driver, offset..offset.saturating_add(2));
        }
        let offset = Self::offset(address);
        if bytes.len() == 2 && self.heads() {
            self.show(&self.driver, &self.device, offset..offset.saturating_add(2));
        }
        for (offset, to) in (offset..).zip(bytes) {
            *to = load(&self.device, offset);
        }
    }

    fn write(&self, address: u64, bytes: &[u8]) {
        let offset = Self::offset(address);
        for (offset, from) in (offset..).zip(bytes) {
            store(&self.device, offset, *from);
        }
        if bytes.len() == 2 {
            if self.heads() {
                self.show(&self.device, &self.driver, offset..offset.saturating_add(2));
            } else {
                critical_section::with(|section| self.late.borrow_ref_mut(section).push(offset));
            }
        }
    }

    fn holds(&self, address: u64, len: u32) -> bool {
        let offset = Self::offset(address);
        offset.checked_add(len as usize).is_some_and(|end| end <= self.len())
    }
}
