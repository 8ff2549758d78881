//! The device's side of a split virtqueue (VIRTIO 1.2, 2.7), with the names and numbers of the specification.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::bus::Bus;

const VIRTQ_DESC_F_NEXT: u16 = 1;
const VIRTQ_DESC_F_WRITE: u16 = 2;
const VIRTQ_DESC_F_INDIRECT: u16 = 4;
const VIRTQ_AVAIL_F_NO_INTERRUPT: u16 = 1;
const VIRTQ_USED_F_NO_NOTIFY: u16 = 1;

/// A descriptor as the driver wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptor {
    /// Its place in the descriptor table.
    pub index: u16,
    /// `addr`.
    pub address: u64,
    /// `len`.
    pub length: u32,
    /// `flags`.
    pub flags: u16,
    /// `next`.
    pub next: u16,
}

impl Descriptor {
    /// Whether the device may write the buffer; otherwise it may read it.
    pub fn is_writable(&self) -> bool {
        self.flags & VIRTQ_DESC_F_WRITE != 0
    }
}

/// A descriptor chain that the driver made available.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// The queue.
    pub queue: u16,
    /// Its descriptors in order; never empty.
    pub descriptors: Vec<Descriptor>,
    /// The bytes of the device-readable part when the device took the chain.
    pub readable: Vec<u8>,
    /// The bytes of the device-writable part when the device took the chain.
    pub writable: Vec<u8>,
}

impl Chain {
    /// The index of its first descriptor, by which it is known.
    pub fn head(&self) -> u16 {
        self.descriptors.first().map_or(0, |descriptor| descriptor.index)
    }

    /// Bytes that the device may write.
    pub fn room(&self) -> usize {
        self.writable.len()
    }

    /// Writes into the device-writable part. Returns how many bytes had room.
    pub(crate) fn write(&self, memory: &dyn Bus, bytes: &[u8]) -> u32 {
        let mut rest = bytes;
        for descriptor in self.descriptors.iter().filter(|descriptor| descriptor.is_writable()) {
            let (now, later) = rest.split_at(rest.len().min(descriptor.length as usize));
            memory.write(descriptor.address, now);
            rest = later;
        }
        u32::try_from(bytes.len().saturating_sub(rest.len())).unwrap_or(u32::MAX)
    }
}

/// Where the parts of a queue are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Areas {
    pub(crate) size: u16,
    pub(crate) descriptors: u64,
    pub(crate) available: u64,
    pub(crate) used: u64,
}

impl Areas {
    /// A legacy queue: one address, the rest by the rules of 2.7.2.
    pub(crate) fn legacy(size: u16, address: u64, align: u64) -> Self {
        let available = address.wrapping_add(u64::from(size).wrapping_mul(16));
        let used = available.wrapping_add(u64::from(size).wrapping_mul(2)).wrapping_add(6).next_multiple_of(align);
        Self { size, descriptors: address, available, used }
    }
}

/// A live queue.
#[derive(Debug)]
pub(crate) struct Ring {
    index: u16,
    areas: Areas,
    /// Whether `VIRTIO_F_EVENT_IDX` was negotiated.
    event_index: bool,
    /// The available ring's index up to which chains were taken.
    taken: u16,
    /// The used ring's index.
    used: u16,
    /// The used ring's index at the last decision about an interrupt.
    signalled: u16,
}

impl Ring {
    /// Starts a queue; says what is wrong with where it is.
    pub(crate) fn new(
        index: u16,
        areas: Areas,
        event_index: bool,
        memory: &dyn Bus,
        violations: &mut Vec<String>,
    ) -> Self {
        let size = u32::from(areas.size);
        let parts = [
            ("descriptor table", areas.descriptors, 16, size.wrapping_mul(16)),
            ("available ring", areas.available, 2, size.wrapping_mul(2).wrapping_add(6)),
            ("used ring", areas.used, 4, size.wrapping_mul(8).wrapping_add(6)),
        ];
        for (name, address, align, length) in parts {
            if !address.is_multiple_of(align) {
                violations.push(format!("queue {index}: the {name} at {address:#x} is not aligned to {align} (2.7)"));
            }
            if !memory.holds(address, length) {
                violations.push(format!("queue {index}: the {name} at {address:#x} is outside the memory"));
            }
        }
        let ring = Self { index, areas, event_index, taken: 0, used: 0, signalled: 0 };
        if memory.read_u16(ring.used_at(0)) != 0 || memory.read_u16(ring.used_at(2)) != 0 {
            violations.push(format!("queue {index}: the used ring is not zeroed (2.7.8.1)"));
        }
        ring
    }

    fn available_at(&self, offset: u64) -> u64 {
        self.areas.available.wrapping_add(offset)
    }

    fn used_at(&self, offset: u64) -> u64 {
        self.areas.used.wrapping_add(offset)
    }

    fn slot(&self, index: u16) -> u64 {
        u64::from(index & self.areas.size.wrapping_sub(1))
    }

    fn descriptor_at(&self, index: u16) -> u64 {
        self.areas.descriptors.wrapping_add(u64::from(index).wrapping_mul(16))
    }

    /// Reads one descriptor of the table.
    fn descriptor(&self, memory: &dyn Bus, index: u16) -> Descriptor {
        let at = self.descriptor_at(index);
        Descriptor {
            index,
            address: memory.read_u64(at),
            length: memory.read_u32(at.wrapping_add(8)),
            flags: memory.read_u16(at.wrapping_add(12)),
            next: memory.read_u16(at.wrapping_add(14)),
        }
    }

    /// Takes the next chain, if there is one, and looks whether it is well formed.
    pub(crate) fn pop(&mut self, memory: &dyn Bus, violations: &mut Vec<String>) -> Option<Chain> {
        let waiting = memory.read_u16(self.available_at(2)).wrapping_sub(self.taken);
        if waiting == 0 {
            return None;
        }
        let mut broken = |what: &str| violations.push(format!("queue {}: {what}", self.index));
        if waiting > self.areas.size {
            broken("the available index moved by more than the queue's size, or backwards (2.7.13.3)");
            return None;
        }
        let slot = self.slot(self.taken);
        let entry = self.available_at(slot.wrapping_mul(2).wrapping_add(4));
        let head = memory.read_u16(entry);
        memory.spoil(entry, 2);
        self.taken = self.taken.wrapping_add(1);
        let mut chain =
            Chain { queue: self.index, descriptors: Vec::new(), readable: Vec::new(), writable: Vec::new() };
        let mut index = head;
        loop {
            if index >= self.areas.size || chain.descriptors.len() >= usize::from(self.areas.size) {
                broken("a chain leaves the descriptor table or is longer than the queue (2.7.5.3)");
                return None;
            }
            let descriptor = self.descriptor(memory, index);
            if descriptor.flags & VIRTQ_DESC_F_INDIRECT != 0 {
                broken("an indirect descriptor that was not negotiated (2.7.5.3.1)");
            }
            if !memory.holds(descriptor.address, descriptor.length) || descriptor.length == 0 {
                broken("a descriptor outside the memory, or empty");
            }
            let bytes = memory.read_vec(descriptor.address, descriptor.length);
            if descriptor.is_writable() {
                chain.writable.extend(bytes);
            } else {
                if !chain.writable.is_empty() {
                    broken("a device-readable descriptor behind a device-writable one (2.7.4.2)");
                }
                chain.readable.extend(bytes);
                memory.spoil(descriptor.address, descriptor.length);
            }
            memory.spoil(self.descriptor_at(index), 16);
            chain.descriptors.push(descriptor);
            if descriptor.flags & VIRTQ_DESC_F_NEXT == 0 {
                return Some(chain);
            }
            index = descriptor.next;
        }
    }

    /// Says whether the driver should notify of further chains: always by default, never for a device that looks by
    /// itself.
    pub(crate) fn want_notifications(&self, memory: &dyn Bus, wanted: bool) {
        if self.event_index {
            let event = if wanted { self.taken } else { self.taken.wrapping_sub(1) };
            let at = self.used_at(u64::from(self.areas.size).wrapping_mul(8).wrapping_add(4));
            memory.write_u16(at, event);
        } else {
            memory.write_u16(self.used_at(0), if wanted { 0 } else { VIRTQ_USED_F_NO_NOTIFY });
        }
    }

    /// Writes an element of the used ring and publishes it.
    pub(crate) fn push(&mut self, memory: &dyn Bus, id: u32, length: u32) {
        let at = self.used_at(self.slot(self.used).wrapping_mul(8).wrapping_add(4));
        memory.write(at, &id.to_le_bytes());
        memory.write(at.wrapping_add(4), &length.to_le_bytes());
        self.used = self.used.wrapping_add(1);
        memory.write_u16(self.used_at(2), self.used);
    }

    /// Moves the published index without an element behind it: what a broken device does.
    pub(crate) fn jump(&mut self, memory: &dyn Bus, by: u16) {
        memory.write_u16(self.used_at(2), self.used.wrapping_add(by));
    }

    /// Whether the driver wants an interrupt for what was pushed since the last call (2.7.7, 2.7.10).
    pub(crate) fn interrupt_wanted(&mut self, memory: &dyn Bus) -> bool {
        let old = core::mem::replace(&mut self.signalled, self.used);
        if old == self.used {
            return false;
        }
        if self.event_index {
            let used_event =
                memory.read_u16(self.available_at(u64::from(self.areas.size).wrapping_mul(2).wrapping_add(4)));
            self.used.wrapping_sub(used_event).wrapping_sub(1) < self.used.wrapping_sub(old)
        } else {
            memory.read_u16(self.available_at(0)) & VIRTQ_AVAIL_F_NO_INTERRUPT == 0
        }
    }

    /// Overwrites the descriptor table with nonsense.
    pub(crate) fn scribble_descriptors(&self, memory: &dyn Bus) {
        for index in 0..u64::from(self.areas.size) {
            let at = self.areas.descriptors.wrapping_add(index.wrapping_mul(16));
            memory.write(at, &[0xee; 16]);
        }
    }

    /// Overwrites the available ring, its index included, with nonsense.
    pub(crate) fn scribble_available(&self, memory: &dyn Bus) {
        for offset in 0..u64::from(self.areas.size).wrapping_mul(2).wrapping_add(4) {
            memory.write(self.available_at(offset), &[0xee]);
        }
    }
}
