//! Where the parts of a split virtqueue lie (VIRTIO 1.2, 2.7): pure arithmetic.

use crate::transport::LEGACY_QUEUE_ALIGN;

/// Bytes of a descriptor: le64 address, le32 length, le16 flags, le16 next (2.7.5).
pub(crate) const DESCRIPTOR_SIZE: usize = 16;
/// Bytes of an element of the used ring: le32 id, le32 length (2.7.8).
pub(crate) const USED_ELEMENT_SIZE: usize = 8;
/// The largest size of a queue that the driver sets up.
pub const MAX_QUEUE_SIZE: u16 = 1024;

/// The queue sizes that there are: powers of two from 2 to [`MAX_QUEUE_SIZE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct QueueSize(u16);

impl QueueSize {
    /// The largest size that is neither above `wanted` nor above what the device allows; `None` if there is none.
    pub(crate) const fn at_most(wanted: u16, device_limit: u32) -> Option<Self> {
        let mut limit = if wanted < MAX_QUEUE_SIZE { wanted } else { MAX_QUEUE_SIZE };
        if device_limit < limit as u32 {
            // Smaller than a u16, so the low half is all there is of it.
            let [low, high, ..] = device_limit.to_le_bytes();
            limit = u16::from_le_bytes([low, high]);
        }
        match limit {
            0 | 1 => None,
            _ => Some(Self(1 << limit.ilog2())),
        }
    }

    pub(crate) const fn get(self) -> u16 {
        self.0
    }

    /// The slot of a ring that a free-running index means.
    pub(crate) const fn slot(self, index: u16) -> usize {
        (index & self.0.wrapping_sub(1)) as usize
    }
}

/// Offsets of the parts from the start of the queue's memory. The same layout serves modern devices, which are told
/// three addresses, and legacy ones, which compute it themselves from the page size (2.7.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct QueueLayout {
    pub(crate) size: QueueSize,
    pub(crate) available: usize,
    pub(crate) used: usize,
    pub(crate) total: usize,
}

#[expect(clippy::arithmetic_side_effects, reason = "sizes up to 1024 keep every sum below 64 KiB")]
impl QueueLayout {
    pub(crate) const fn new(size: QueueSize) -> Self {
        let n = size.0 as usize;
        let align = LEGACY_QUEUE_ALIGN as usize;
        let available = n * DESCRIPTOR_SIZE;
        let used = (available + 6 + 2 * n).next_multiple_of(align);
        let total = (used + 6 + USED_ELEMENT_SIZE * n).next_multiple_of(align);
        Self { size, available, used, total }
    }

    // The available ring: le16 flags, le16 idx, le16 ring[size], le16 used_event (2.7.6).
    pub(crate) const fn available_index(&self) -> usize {
        self.available + 2
    }
    pub(crate) const fn available_ring(&self, index: u16) -> usize {
        self.available + 4 + 2 * self.size.slot(index)
    }
    pub(crate) const fn used_event(&self) -> usize {
        self.available + 4 + 2 * self.size.0 as usize
    }

    // The used ring: le16 flags, le16 idx, elements[size], le16 avail_event (2.7.8).
    pub(crate) const fn used_flags(&self) -> usize {
        self.used
    }
    pub(crate) const fn used_index(&self) -> usize {
        self.used + 2
    }
    pub(crate) const fn used_ring(&self, index: u16) -> usize {
        self.used + 4 + USED_ELEMENT_SIZE * self.size.slot(index)
    }
    pub(crate) const fn available_event(&self) -> usize {
        self.used + 4 + USED_ELEMENT_SIZE * self.size.0 as usize
    }

    pub(crate) const fn descriptor(&self, index: u16) -> usize {
        DESCRIPTOR_SIZE * self.size.slot(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_two_within_both_limits() {
        let at_most = |wanted, limit| QueueSize::at_most(wanted, limit).map(QueueSize::get);
        assert_eq!(at_most(64, 1024), Some(64));
        assert_eq!(at_most(64, 32), Some(32));
        assert_eq!(at_most(64, 3), Some(2));
        assert_eq!(at_most(64, 0x1_0001), Some(64));
        assert_eq!(at_most(64, u32::MAX), Some(64));
        assert_eq!(at_most(100, 65535), Some(64));
        assert_eq!(at_most(65535, 65535), Some(1024));
        assert_eq!(at_most(64, 1), None);
        assert_eq!(at_most(64, 0), None);
    }

    /// T25, and the sizes of 2.7's table: descriptors 16 n, available 6 + 2 n, used 6 + 8 n.
    #[test]
    fn parts_have_the_sizes_and_alignments_of_the_specification() {
        for n in [2, 4, 64, 256, 1024] {
            let layout = QueueLayout::new(QueueSize::at_most(n, 1024).unwrap());
            let n = usize::from(n);
            assert_eq!(layout.available, 16 * n);
            assert_eq!(layout.used_event() + 2 - layout.available, 6 + 2 * n);
            assert_eq!(layout.available_event() + 2 - layout.used, 6 + 8 * n);
            assert_eq!(layout.used % 4096, 0);
            assert!(layout.used >= layout.used_event() + 2);
            assert!(layout.total >= layout.available_event() + 2);
        }
    }

    #[test]
    fn free_running_indexes_wrap_inside_the_ring() {
        let layout = QueueLayout::new(QueueSize::at_most(4, 4).unwrap());
        assert_eq!(layout.available_ring(65535), layout.available_ring(3));
        assert_eq!(layout.used_ring(4), layout.used_ring(0));
    }
}
