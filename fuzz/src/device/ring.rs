//! The device's side of a queue, for memory in which anything may stand: what makes no sense ends the queue until it is
//! set up again.

use virtio_gpio::transport::QueueAddresses;

use super::memory::SharedBytes;

const NEXT: u16 = 1;
const WRITE: u16 = 2;
/// Bytes of one buffer that are looked at.
const MOST_BYTES: u32 = 2048;

/// A chain that the driver made available.
#[derive(Debug, Clone)]
pub(super) struct Chain {
    pub(super) head: u16,
    /// Address and length of each buffer.
    readable: Vec<(u64, u32)>,
    writable: Vec<(u64, u32)>,
}

impl Chain {
    pub(super) fn room(&self) -> usize {
        self.writable.iter().map(|(_, length)| *length as usize).sum()
    }

    pub(super) fn read(&self, shared: &SharedBytes) -> Vec<u8> {
        let places = self
            .readable
            .iter()
            .flat_map(|(address, length)| (0..u64::from(*length)).map(move |at| address.wrapping_add(at)));
        places.flat_map(|address| shared.read::<1>(address)).collect()
    }

    /// Writes bytes, and gives their number.
    pub(super) fn write(&self, shared: &SharedBytes, bytes: &[u8]) -> u32 {
        let mut rest = bytes;
        for (address, length) in &self.writable {
            let (part, others) = rest.split_at(rest.len().min(*length as usize));
            shared.write(*address, part);
            rest = others;
        }
        u32::try_from(bytes.len() - rest.len()).unwrap_or(u32::MAX)
    }
}

/// One queue.
#[derive(Debug)]
pub(super) struct Ring {
    places: QueueAddresses,
    /// Chains taken from the available ring.
    taken: u16,
    pub(super) used: u16,
    /// Chains that wait for something to happen.
    pub(super) held: Vec<Chain>,
    broken: bool,
}

impl Ring {
    pub(super) fn new(places: &QueueAddresses) -> Self {
        Self { places: *places, taken: 0, used: 0, held: Vec::new(), broken: false }
    }

    /// One of the chains that are held back, or the next one.
    pub(super) fn take(&mut self, shared: &SharedBytes, which: u8) -> Option<Chain> {
        if usize::from(which) < self.held.len() {
            return Some(self.held.swap_remove(which.into()));
        }
        self.pop(shared)
    }

    /// The next chain.
    pub(super) fn pop(&mut self, shared: &SharedBytes) -> Option<Chain> {
        let size = self.places.size;
        let waiting = shared.read_u16(self.places.available.wrapping_add(2)).wrapping_sub(self.taken);
        if self.broken || waiting == 0 {
            return None;
        }
        let slot = u64::from(self.taken.checked_rem(size)?);
        let head = shared.read_u16(self.places.available.wrapping_add(4 + slot * 2));
        let mut chain = Chain { head, readable: Vec::new(), writable: Vec::new() };
        let mut next = Some(head);
        let mut length = 0;
        while let Some(index) = next {
            length += 1;
            if waiting > size || index >= size || length > size {
                self.broken = true;
                return None;
            }
            let [a0, a1, a2, a3, a4, a5, a6, a7, l0, l1, l2, l3, f0, f1, n0, n1] =
                shared.read(self.places.descriptors.wrapping_add(u64::from(index) * 16));
            let buffer = (
                u64::from_le_bytes([a0, a1, a2, a3, a4, a5, a6, a7]),
                u32::from_le_bytes([l0, l1, l2, l3]).min(MOST_BYTES),
            );
            let flags = u16::from_le_bytes([f0, f1]);
            if flags & WRITE == 0 { &mut chain.readable } else { &mut chain.writable }.push(buffer);
            next = (flags & NEXT != 0).then_some(u16::from_le_bytes([n0, n1]));
        }
        self.taken = self.taken.wrapping_add(1);
        // Every chain is to be told of.
        let event = self.places.used.wrapping_add(4 + u64::from(size) * 8);
        shared.write(event, &self.taken.to_le_bytes());
        Some(chain)
    }

    pub(super) fn write_element(&self, shared: &SharedBytes, slot: u16, id: u32, length: u32) {
        let Some(slot) = slot.checked_rem(self.places.size) else { return };
        let element = self.places.used.wrapping_add(4 + u64::from(slot) * 8);
        shared.write(element, &id.to_le_bytes());
        shared.write(element.wrapping_add(4), &length.to_le_bytes());
    }

    pub(super) fn set_used_index(&self, shared: &SharedBytes, index: u16) {
        shared.write(self.places.used.wrapping_add(2), &index.to_le_bytes());
    }

    /// Returns a chain.
    pub(super) fn push(&mut self, shared: &SharedBytes, id: u32, length: u32) {
        self.write_element(shared, self.used, id, length);
        self.used = self.used.wrapping_add(1);
        self.set_used_index(shared, self.used);
    }
}
