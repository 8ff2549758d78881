//! The memory that driver and device share, with guards on either side.
//!
//! Each thread has one piece of it, which is never freed: a driver that cannot be sure of its device forgets its memory,
//! and millions of those would be too many. The next driver gets it again when this one and its device are gone.
#![expect(unsafe_code, reason = "implements an unsafe trait")]

use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use virtio_gpio::memory::DmaMemory;

/// Where the device finds the first byte.
pub(super) const BASE: u64 = 0x4000_0000;

const PAGE: usize = 4096;
const WORDS: usize = PAGE / 8;
/// Pages that can be handed out.
const PAGES: usize = 24;
const GUARD: u64 = 0xa5a5_a5a5_a5a5_a5a5;

#[derive(Debug)]
#[repr(C, align(4096))]
struct Page([AtomicU64; WORDS]);

type Pages = [Page; PAGES + 2];

thread_local! {
    static PIECE: &'static Pages =
        Box::leak(Box::new([const { Page([const { AtomicU64::new(GUARD) }; WORDS]) }; PAGES + 2]));
}

/// The driver's side.
#[derive(Debug)]
pub struct Memory {
    pages: &'static Pages,
    length: usize,
    released: Arc<AtomicBool>,
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.released.store(true, Ordering::Relaxed);
    }
}

// SAFETY: `base` is the second of pages that are never freed, aligned by their type and made of atomics, which may be
// written through a shared reference; `allocate` hands out no more than there are before the last one. The device writes
// them by their addresses, nobody else does while driver and device exist: a thread has one such pair at a time.
unsafe impl DmaMemory for Memory {
    fn base(&self) -> NonNull<u8> {
        // From the whole piece, so that an access to the guards is seen in them.
        let start = NonNull::from(self.pages).cast::<u8>();
        // SAFETY: there are more pages than one.
        unsafe { start.add(PAGE) }
    }

    fn len(&self) -> usize {
        self.length
    }

    fn device_address(&self) -> u64 {
        BASE
    }
}

/// The device's side.
#[derive(Debug)]
pub(super) struct SharedBytes {
    pages: &'static Pages,
    length: usize,
    released: Arc<AtomicBool>,
}

impl SharedBytes {
    pub(super) fn new() -> Self {
        Self { pages: PIECE.with(|pages| *pages), length: 0, released: Arc::new(AtomicBool::new(true)) }
    }

    /// Hands out so many bytes. `None` if there are not as many, or if they were handed out before.
    pub(super) fn allocate(&mut self, length: usize) -> Option<Memory> {
        if length > PAGES * PAGE || self.length > 0 {
            return None;
        }
        self.length = length;
        self.released.store(false, Ordering::Relaxed);
        for word in self.around() {
            word.store(GUARD, Ordering::Relaxed);
        }
        Some(Memory { pages: self.pages, length, released: Arc::clone(&self.released) })
    }

    pub(super) fn is_released(&self) -> bool {
        self.released.load(Ordering::Relaxed)
    }

    /// The words of a page before and of a page behind.
    fn around(&self) -> impl Iterator<Item = &'static AtomicU64> {
        let behind = WORDS + self.length.div_ceil(8);
        let pages = self.pages;
        (0..WORDS).chain(behind..behind + WORDS).map(move |word| &pages[word / WORDS].0[word % WORDS])
    }

    pub(super) fn check_guards(&self) {
        assert!(
            self.length == 0 || self.around().all(|word| word.load(Ordering::Relaxed) == GUARD),
            "the driver wrote beside its memory"
        );
    }

    /// The word in which a byte is, and the byte's place in it.
    fn word(&self, address: u64) -> Option<(&AtomicU64, u32)> {
        let offset = usize::try_from(address.checked_sub(BASE)?).ok().filter(|offset| *offset < self.length)?;
        let word = &self.pages[1 + offset / PAGE].0[offset % PAGE / 8];
        Some((word, u32::try_from(offset % 8).unwrap_or(0) * 8))
    }

    fn byte(&self, address: u64) -> u8 {
        self.word(address)
            .map_or(0, |(word, shift)| (u64::from_le(word.load(Ordering::Relaxed)) >> shift).to_le_bytes()[0])
    }

    /// Reads bytes; those that are not there are 0.
    pub(super) fn read<const N: usize>(&self, address: u64) -> [u8; N] {
        let mut bytes = [0; N];
        for (distance, byte) in (0..).zip(&mut bytes) {
            *byte = self.byte(address.wrapping_add(distance));
        }
        bytes
    }

    pub(super) fn read_u16(&self, address: u64) -> u16 {
        u16::from_le_bytes(self.read(address))
    }

    /// Writes bytes; those that have no place are dropped.
    pub(super) fn write(&self, address: u64, bytes: &[u8]) {
        for (address, byte) in (address..u64::MAX).zip(bytes) {
            if let Some((word, shift)) = self.word(address) {
                let old = u64::from_le(word.load(Ordering::Relaxed));
                let new = old & !(0xff << shift) | u64::from(*byte) << shift;
                word.store(new.to_le(), Ordering::Relaxed);
            }
        }
    }
}
