//! One virtqueue, seen from the device.

use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::sync::atomic::{Ordering, fence};

use virtio_bindings::virtio_ring::VRING_AVAIL_F_NO_INTERRUPT;
use virtio_queue::desc::split::Descriptor;
use virtio_queue::{DescriptorChain, Queue, QueueOwnedT, QueueT};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

/// The largest queue that a driver may choose. QEMU offers up to 1024 whatever a device says.
pub(crate) const QUEUE_SIZE_MAX: u16 = 1024;

/// The used ring (VIRTIO 1.2, 2.7.8): where its index is, what comes before its elements, and the size of one.
const USED_INDEX: u64 = 2;
const USED_HEADER: u64 = 4;
const USED_ELEMENT: u64 = 8;
/// Bytes of a descriptor (VIRTIO 1.2, 2.7.5).
const DESCRIPTOR: usize = 16;
/// The available ring (VIRTIO 1.2, 2.7.6): what comes before its elements, and the size of one. Behind them is the used
/// index that the driver waits for.
const AVAILABLE_HEADER: u64 = 4;
const AVAILABLE_ELEMENT: u64 = 2;

/// Whether an index that went from `before` to `now` has passed `event` (VIRTIO 1.2, 2.7.7.2).
fn is_passed(event: u16, before: u16, now: u16) -> bool {
    now.wrapping_sub(event).wrapping_sub(1) < now.wrapping_sub(before)
}

/// A chain of buffers that the driver lent.
#[derive(Debug)]
pub(crate) struct Chain<'m> {
    descriptors: DescriptorChain<&'m GuestMemoryMmap>,
    /// No chain has more descriptors than the queue (VIRTIO 1.2, 2.7.5.3.1). What goes on runs in a circle, which the
    /// queue crate lets an indirect table do 65,535 times.
    longest: usize,
}

impl Chain<'_> {
    /// The number of the chain's first descriptor.
    pub(crate) fn head_index(&self) -> u16 {
        self.descriptors.head_index()
    }

    /// The device-readable buffers.
    pub(crate) fn readable(&self) -> impl Iterator<Item = Descriptor> {
        self.descriptors().filter(|descriptor| !descriptor.is_write_only())
    }

    /// The device-writable buffers.
    pub(crate) fn writable(&self) -> impl Iterator<Item = Descriptor> {
        self.descriptors().filter(Descriptor::is_write_only)
    }

    fn descriptors(&self) -> impl Iterator<Item = Descriptor> {
        self.descriptors.clone().take(self.longest)
    }
}

/// One virtqueue with its two event descriptors.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "the front end and the driver set each of them alone")]
pub(crate) struct Ring {
    pub(crate) queue: Queue,
    pub(crate) kick: Option<File>,
    pub(crate) call: Option<File>,
    pub(crate) enabled: bool,
    /// The driver chose a size that a queue can have.
    has_size: bool,
    /// The driver chose places that a queue can have.
    has_place: bool,
    /// The driver broke the rules of the ring. It is not looked at before it is set up again.
    broken: bool,
    /// Used buffers that the driver cannot see yet: their elements are written, the index is not.
    unpublished: bool,
    /// Used buffers that the driver was not told of.
    unannounced: bool,
    /// The used index when the driver was told last, or did not want to be.
    announced: u16,
    /// The driver knows that it shall tell of new buffers.
    listening: bool,
}

impl Ring {
    pub(crate) fn new() -> Result<Self, virtio_queue::Error> {
        let queue = Queue::new(QUEUE_SIZE_MAX)?;
        Ok(Self {
            queue,
            kick: None,
            call: None,
            enabled: false,
            has_size: false,
            has_place: false,
            broken: false,
            unpublished: false,
            unannounced: false,
            announced: 0,
            listening: true,
        })
    }

    /// Whether the driver has set the queue up.
    pub(crate) fn is_set_up(&self) -> bool {
        self.queue.ready() && self.has_size && self.has_place && !self.broken
    }

    /// Takes the size of the queue. One that no queue can have makes the queue unfit for use: with another size the
    /// device would write where the driver has something else.
    pub(crate) fn set_size(&mut self, size: u32) {
        let size = u16::try_from(size).ok().filter(|size| *size <= QUEUE_SIZE_MAX && size.is_power_of_two());
        self.has_size = size.is_some();
        if let Some(size) = size {
            self.queue.set_size(size);
        }
    }

    /// Takes the places of the queue's parts. Ones that no queue can have make it unfit for use.
    pub(crate) fn set_place(&mut self, place: Option<[GuestAddress; 3]>, memory: &GuestMemoryMmap) {
        self.has_place = place.and_then(|place| self.try_set_place(place, memory)).is_some();
    }

    fn try_set_place(&mut self, place: [GuestAddress; 3], memory: &GuestMemoryMmap) -> Option<()> {
        let [descriptors, available, used] = place;
        self.queue.try_set_desc_table_address(descriptors).ok()?;
        self.queue.try_set_avail_ring_address(available).ok()?;
        self.queue.try_set_used_ring_address(used).ok()?;
        // vhost-user carries the position in the available ring only.
        let used = self.queue.used_idx(memory, Ordering::Relaxed).ok()?;
        self.queue.set_next_used(used.0);
        Some(())
    }

    /// Does not look at the queue any more, until it is set up again.
    pub(crate) fn ignore(&mut self, reason: impl fmt::Display) {
        log::warn!("{reason}: the queue is ignored from now on");
        self.broken = true;
    }

    /// Whether the device may look at the queue.
    pub(crate) fn is_running(&self) -> bool {
        self.is_set_up() && self.enabled
    }

    /// Lets the device look at the queue from now on, if it is fit for use.
    pub(crate) fn start(&mut self, memory: &GuestMemoryMmap) {
        self.queue.set_ready(true);
        self.broken = false;
        self.unpublished = false;
        self.announced = self.queue.next_used();
        self.listening = true;
        if !self.has_size {
            self.ignore("The driver chose a size that no queue can have");
        } else if !self.has_place || !self.queue.is_valid(memory) {
            self.ignore("The driver's queue does not lie in its memory");
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

    /// Takes the next chain that the driver made available. The driver need not tell of more, until it is asked to again.
    pub(crate) fn pop<'m>(&mut self, memory: &'m GuestMemoryMmap) -> Option<Chain<'m>> {
        let chain = self.pop_listening(memory);
        if chain.is_some() {
            self.hush(memory);
        }
        chain
    }

    /// The same, without a word about further chains: for a queue that is not looked at again and again.
    pub(crate) fn pop_listening<'m>(&mut self, memory: &'m GuestMemoryMmap) -> Option<Chain<'m>> {
        if !self.is_running() {
            return None;
        }
        let longest = self.queue.size().into();
        match self.queue.iter(memory) {
            Ok(mut chains) => chains.next().map(|descriptors| Chain { descriptors, longest }),
            Err(error) => {
                self.ignore(format_args!("The driver broke its available ring ({error})"));
                None
            }
        }
    }

    /// Returns a chain, with the number of bytes written to it. The driver sees it when all are [published](Self::publish).
    pub(crate) fn push(&mut self, memory: &GuestMemoryMmap, head: u16, written: usize) {
        if head >= self.queue.size() {
            // Outside the descriptor table: there is nothing to return.
            log::warn!("Cannot return descriptor {head}: the queue has {}", self.queue.size());
            return;
        }
        let written = u32::try_from(written).unwrap_or(u32::MAX);
        if self.write_element(memory, head.into(), written) {
            self.queue.set_next_used(self.queue.next_used().wrapping_add(1));
            self.unpublished = true;
            self.unannounced = true;
        }
    }

    /// Writes the next used element. Returns whether it lies in the driver's memory.
    fn write_element(&self, memory: &GuestMemoryMmap, id: u32, length: u32) -> bool {
        let slot = self.queue.next_used().checked_rem(self.queue.size()).unwrap_or(0);
        let element = self.queue.used_ring().saturating_add(USED_HEADER).saturating_add(u64::from(slot) * USED_ELEMENT);
        memory.write_obj([id.to_le(), length.to_le()], GuestAddress(element)).is_ok()
    }

    /// Lets the driver see all chains that were returned: one update of the index for all of them.
    fn publish(&mut self, memory: &GuestMemoryMmap) {
        if std::mem::take(&mut self.unpublished) {
            self.write_used_index(memory);
        }
    }

    fn write_used_index(&self, memory: &GuestMemoryMmap) -> bool {
        let place = GuestAddress(self.queue.used_ring().saturating_add(USED_INDEX));
        // The elements are written before it.
        memory.store(self.queue.next_used().to_le(), place, Ordering::Release).is_ok()
    }

    /// Writes a used element that may name anything, as no healthy device does.
    pub(crate) fn push_anything(&mut self, memory: &GuestMemoryMmap, id: u32, length: u32) {
        if self.write_element(memory, id, length) {
            self.move_used_index(memory, 1);
        }
    }

    /// Moves the used index, whatever there is behind it. The driver may see where it was before.
    pub(crate) fn move_used_index(&mut self, memory: &GuestMemoryMmap, by: u16) {
        self.publish(memory);
        self.queue.set_next_used(self.queue.next_used().wrapping_add(by));
        self.unannounced |= self.write_used_index(memory);
    }

    /// Overwrites the descriptor table and the slots of the available ring with nonsense, unless there is something in
    /// them that was not taken. Returns whether it did.
    pub(crate) fn scribble(&mut self, memory: &GuestMemoryMmap) -> bool {
        let available = self.queue.avail_idx(memory, Ordering::Acquire).map(|index| index.0);
        if !available.is_ok_and(|index| index == self.queue.next_avail()) {
            return false;
        }
        let size = usize::from(self.queue.size());
        let slots = self.queue.avail_ring().saturating_add(AVAILABLE_HEADER);
        for (place, length) in
            [(self.queue.desc_table(), size.saturating_mul(DESCRIPTOR)), (slots, size.saturating_mul(2))]
        {
            if let Err(error) = memory.write_slice(&vec![0xa5; length], GuestAddress(place)) {
                log::warn!("The driver's queue is not in its memory: {error}");
            }
        }
        true
    }

    /// Forgets that the driver was not told of used buffers.
    pub(crate) fn keep_silent(&mut self) {
        self.unannounced = false;
    }

    /// Shows the driver the used buffers, and tells it of them if it wants to know: one call for all of them. Returns
    /// whether there were any.
    pub(crate) fn announce(&mut self, memory: &GuestMemoryMmap) -> bool {
        self.publish(memory);
        if !std::mem::take(&mut self.unannounced) || self.broken {
            return false;
        }
        let (before, now) = (self.announced, self.queue.next_used());
        self.announced = now;
        // The queue crate counts what it has returned itself, which here it does not do. The fence orders the used index
        // before what the driver says.
        fence(Ordering::SeqCst);
        let available = self.queue.avail_ring();
        let load = |place| memory.load(GuestAddress(place), Ordering::Relaxed).map(u16::from_le);
        let wanted = if self.queue.event_idx_enabled() {
            let behind_ring = AVAILABLE_HEADER.saturating_add(u64::from(self.queue.size()) * AVAILABLE_ELEMENT);
            load(available.saturating_add(behind_ring)).map(|event| is_passed(event, before, now))
        } else {
            load(available).map(|flags| u32::from(flags) & VRING_AVAIL_F_NO_INTERRUPT == 0)
        };
        // When in doubt, tell: a driver has to put up with notifications that mean nothing.
        let wanted = wanted.unwrap_or(true);
        if wanted {
            self.interrupt();
        }
        true
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
        self.listening = true;
        self.is_running() && self.queue.enable_notification(memory).unwrap_or(false)
    }

    /// Tells the driver that it need not tell of new buffers. With the event index that is so by itself: the driver tells
    /// only of the buffer that [`listen`](Self::listen) has named.
    fn hush(&mut self, memory: &GuestMemoryMmap) {
        if std::mem::take(&mut self.listening)
            && !self.queue.event_idx_enabled()
            && let Err(error) = self.queue.disable_notification(memory)
        {
            log::warn!("Cannot reach the driver's used ring: {error}");
        }
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
