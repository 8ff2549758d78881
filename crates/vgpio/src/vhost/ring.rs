//! One virtqueue, seen from the device.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::sync::atomic::{Ordering, fence};

use virtio_bindings::virtio_ring::VRING_AVAIL_F_NO_INTERRUPT;
use virtio_queue::{DescriptorChain, Queue, QueueOwnedT, QueueT};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

/// The largest queue that a driver may choose. QEMU offers up to 1024 whatever a device says.
pub(crate) const QUEUE_SIZE_MAX: u16 = 1024;

/// The used ring (VIRTIO 1.2, 2.7.8): where its index is, what comes before its elements, and the size of one.
const USED_INDEX: u64 = 2;
const USED_HEADER: u64 = 4;
const USED_ELEMENT: u64 = 8;

/// A chain of buffers that the driver lent.
pub(crate) type Chain<'m> = DescriptorChain<&'m GuestMemoryMmap>;

/// One virtqueue with its two event descriptors.
#[derive(Debug)]
pub(crate) struct Ring {
    pub(crate) queue: Queue,
    pub(crate) kick: Option<File>,
    pub(crate) call: Option<File>,
    pub(crate) enabled: bool,
    /// The driver broke the rules of the ring. It is not looked at before it is set up again.
    broken: bool,
    /// Used buffers that the driver was not told of.
    unannounced: bool,
}

impl Ring {
    pub(crate) fn new() -> Result<Self, virtio_queue::Error> {
        let queue = Queue::new(QUEUE_SIZE_MAX)?;
        Ok(Self { queue, kick: None, call: None, enabled: false, broken: false, unannounced: false })
    }

    /// Whether the driver has set the queue up.
    pub(crate) fn is_set_up(&self) -> bool {
        self.queue.ready() && !self.broken
    }

    /// Whether the device may look at the queue.
    pub(crate) fn is_running(&self) -> bool {
        self.is_set_up() && self.enabled
    }

    /// Lets the device look at the queue from now on, if it is fit for use.
    pub(crate) fn start(&mut self, memory: &GuestMemoryMmap) {
        self.queue.set_ready(true);
        self.broken = !self.queue.is_valid(memory);
        if self.broken {
            log::warn!("The driver's queue does not lie in its memory: it is ignored");
        }
    }

    /// Stops to look at the queue.
    pub(crate) fn stop(&mut self) {
        self.queue.set_ready(false);
        self.kick = None;
        self.call = None;
    }

    /// Whether the queue was never used since the driver set it up.
    pub(crate) fn is_fresh(&self, memory: &GuestMemoryMmap) -> bool {
        let used = self.queue.used_idx(memory, Ordering::Relaxed).map(|index| index.0);
        self.queue.next_avail() == 0 && used.unwrap_or(0) == 0
    }

    /// Takes the next chain that the driver made available.
    pub(crate) fn pop<'m>(&mut self, memory: &'m GuestMemoryMmap) -> Option<Chain<'m>> {
        if !self.is_running() {
            return None;
        }
        match self.queue.iter(memory) {
            Ok(mut chains) => chains.next(),
            Err(error) => {
                log::warn!("The driver broke its available ring ({error}): the queue is ignored from now on");
                self.broken = true;
                None
            }
        }
    }

    /// Returns a chain, with the number of bytes written to it.
    pub(crate) fn push(&mut self, memory: &GuestMemoryMmap, head: u16, written: usize) {
        let written = u32::try_from(written).unwrap_or(u32::MAX);
        match self.queue.add_used(memory, head, written) {
            Ok(()) => self.unannounced = true,
            // A head outside the descriptor table: there is nothing to return.
            Err(error) => log::warn!("Cannot return descriptor {head}: {error}"),
        }
    }

    /// Writes a used element that may name anything, as no healthy device does.
    pub(crate) fn push_anything(&mut self, memory: &GuestMemoryMmap, id: u32, length: u32) {
        let slot = self.queue.next_used().checked_rem(self.queue.size()).unwrap_or(0);
        let element = self.queue.used_ring().saturating_add(USED_HEADER).saturating_add(u64::from(slot) * USED_ELEMENT);
        if memory.write_obj([id.to_le(), length.to_le()], GuestAddress(element)).is_ok() {
            self.move_used_index(memory, 1);
        }
    }

    /// Moves the used index, whatever there is behind it.
    pub(crate) fn move_used_index(&mut self, memory: &GuestMemoryMmap, by: u16) {
        let index = self.queue.next_used().wrapping_add(by);
        let place = GuestAddress(self.queue.used_ring().saturating_add(USED_INDEX));
        if memory.store(index.to_le(), place, Ordering::Release).is_ok() {
            self.queue.set_next_used(index);
            self.unannounced = true;
        }
    }

    /// Forgets that the driver was not told of used buffers.
    pub(crate) fn keep_silent(&mut self) {
        self.unannounced = false;
    }

    /// Tells the driver of used buffers, if there are any and it wants to know.
    pub(crate) fn announce(&mut self, memory: &GuestMemoryMmap) {
        if !std::mem::take(&mut self.unannounced) || self.broken {
            return;
        }
        // When in doubt, tell: a driver has to put up with notifications that mean nothing.
        let wanted = if self.queue.event_idx_enabled() {
            self.queue.needs_notification(memory).unwrap_or(true)
        } else {
            // The queue crate does not look at this flag. The fence orders the used index before it.
            fence(Ordering::SeqCst);
            let flags: Result<u16, _> = memory.load(GuestAddress(self.queue.avail_ring()), Ordering::Relaxed);
            flags.map_or(true, |flags| u32::from(u16::from_le(flags)) & VRING_AVAIL_F_NO_INTERRUPT == 0)
        };
        if wanted {
            self.interrupt();
        }
    }

    /// Interrupts the driver.
    pub(crate) fn interrupt(&mut self) {
        if let Some(call) = &mut self.call
            && let Err(error) = call.write_all(&1u64.to_ne_bytes())
            && error.kind() != ErrorKind::WouldBlock
        {
            log::warn!("Cannot interrupt the driver: {error}");
        }
    }

    /// Asks the driver to tell of new buffers. Returns whether some came before it could hear that.
    pub(crate) fn listen(&mut self, memory: &GuestMemoryMmap) -> bool {
        self.is_running() && self.queue.enable_notification(memory).unwrap_or(false)
    }

    /// Takes note of the driver's notifications.
    pub(crate) fn drain_kick(&mut self) {
        let mut count = [0; 8];
        if let Some(kick) = &mut self.kick
            && let Err(error) = kick.read(&mut count)
            && error.kind() != ErrorKind::WouldBlock
        {
            log::warn!("Cannot read the driver's notification: {error}");
        }
    }
}
