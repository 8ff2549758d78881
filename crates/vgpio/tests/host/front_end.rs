//! The other side of a vhost-user socket: a front end with a driver whose every byte a test decides about.

use std::fs::File;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use vhost::vhost_user::message::{VhostUserConfigFlags, VhostUserHeaderFlag};
use vhost::vhost_user::{Frontend, VhostUserFrontend, VhostUserProtocolFeatures};
use vhost::{VhostBackend, VhostUserMemoryRegionInfo, VringConfigData};
use vm_memory::{Bytes, FileOffset, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

/// `VIRTIO_F_VERSION_1` and vhost-user's own bit.
pub(crate) const MODERN: u64 = 1 << 32 | 1 << 30;
/// `VIRTIO_RING_F_EVENT_IDX`.
pub(crate) const EVENT_INDEX: u64 = 1 << 29;
/// The flags of a descriptor.
pub(crate) const NEXT: u16 = 1;
pub(crate) const WRITE: u16 = 2;

const RAM: u64 = 0x4000_0000;
const RAM_SIZE: u64 = 1 << 20;
const QUEUE_SIZE: u16 = 16;

/// Where a queue's parts are, from the start of RAM; a page for each part, and one for each descriptor's buffer.
const QUEUE_STRIDE: u64 = 0x8_0000;
const AVAILABLE: u64 = 0x1000;
const USED: u64 = 0x2000;
const BUFFERS: u64 = 0x1_0000;

/// A front end with two queues.
pub(crate) struct FrontEnd {
    protocol: Frontend,
    memory: GuestMemoryMmap,
    pub(crate) queues: [DriverQueue; 2],
}

/// The driver's side of a queue.
pub(crate) struct DriverQueue {
    memory: GuestMemoryMmap,
    base: u64,
    available: u16,
    used: u16,
    kick: EventFd,
    call: EventFd,
    /// Does not tell the device of new buffers.
    pub(crate) silent: bool,
}

impl FrontEnd {
    /// Connects, and starts both queues with those features.
    pub(crate) fn connect(socket: &Path, features: u64) -> Self {
        let mut protocol = Frontend::connect(socket, 2).unwrap();
        protocol.set_owner().unwrap();
        let offered = protocol.get_features().unwrap();
        assert_eq!(offered & features, features, "the device offers {offered:#x}");
        protocol.set_features(features).unwrap();
        let wanted = protocol.get_protocol_features().unwrap();
        assert!(wanted.contains(VhostUserProtocolFeatures::MQ | VhostUserProtocolFeatures::CONFIG));
        protocol.set_protocol_features(wanted).unwrap();
        protocol.set_hdr_flags(VhostUserHeaderFlag::NEED_REPLY);
        assert_eq!(protocol.get_queue_num().unwrap(), 2);

        let file = File::from(memfd_create("guest", MemfdFlags::CLOEXEC).unwrap());
        file.set_len(RAM_SIZE).unwrap();
        let range = (GuestAddress(RAM), RAM_SIZE.try_into().unwrap(), Some(FileOffset::new(file, 0)));
        let memory = GuestMemoryMmap::from_ranges_with_files([range]).unwrap();
        let queues = [0, 1].map(|index| DriverQueue {
            memory: memory.clone(),
            base: RAM + index * QUEUE_STRIDE,
            available: 0,
            used: 0,
            silent: false,
            kick: EventFd::new(EFD_NONBLOCK).unwrap(),
            call: EventFd::new(EFD_NONBLOCK).unwrap(),
        });
        let mut front_end = Self { protocol, memory, queues };
        front_end.start([0, 0]);
        front_end
    }

    /// Starts the queues at positions in their available rings.
    pub(crate) fn start(&mut self, positions: [u16; 2]) {
        let region = self.memory.iter().next().unwrap();
        let offset = region.file_offset().unwrap();
        let host = self.memory.get_host_address(GuestAddress(RAM)).unwrap() as u64;
        self.protocol
            .set_mem_table(&[VhostUserMemoryRegionInfo {
                guest_phys_addr: RAM,
                memory_size: region.len(),
                userspace_addr: host,
                mmap_offset: offset.start(),
                mmap_handle: offset.file().as_raw_fd(),
            }])
            .unwrap();
        for (index, (queue, position)) in self.queues.iter().zip(positions).enumerate() {
            let base = host + (queue.base - RAM);
            let addresses = VringConfigData {
                queue_max_size: QUEUE_SIZE,
                queue_size: QUEUE_SIZE,
                flags: 0,
                desc_table_addr: base,
                used_ring_addr: base + USED,
                avail_ring_addr: base + AVAILABLE,
                log_addr: None,
            };
            self.protocol.set_vring_num(index, QUEUE_SIZE).unwrap();
            self.protocol.set_vring_base(index, position).unwrap();
            self.protocol.set_vring_addr(index, &addresses).unwrap();
            self.protocol.set_vring_kick(index, &queue.kick).unwrap();
            self.protocol.set_vring_call(index, &queue.call).unwrap();
        }
        for index in 0..self.queues.len() {
            self.protocol.set_vring_enable(index, true).unwrap();
        }
    }

    /// Stops the queues, as a paused or a reset guest does; returns their positions.
    pub(crate) fn stop(&mut self) -> [u16; 2] {
        for index in 0..self.queues.len() {
            self.protocol.set_vring_enable(index, false).unwrap();
        }
        [0, 1].map(|index| self.protocol.get_vring_base(index).unwrap().try_into().unwrap())
    }

    /// Forgets everything about the queues, as a driver does that starts anew.
    pub(crate) fn forget(&mut self) {
        for queue in &mut self.queues {
            queue.memory.write_slice(&[0; 0x3000], GuestAddress(queue.base)).unwrap();
            (queue.available, queue.used) = (0, 0);
        }
    }

    /// Goes on with both indices of the first queue at a position, as if so many buffers had gone round already.
    pub(crate) fn jump_to(&mut self, position: u16) {
        self.stop();
        let queue = &mut self.queues[0];
        (queue.available, queue.used) = (position, position);
        for ring in [AVAILABLE, USED] {
            queue.memory.write_obj(position, GuestAddress(queue.base + ring + 2)).unwrap();
        }
        self.start([position, 0]);
    }

    /// Reads the configuration space.
    pub(crate) fn config(&mut self, offset: u32, size: u32) -> Vec<u8> {
        let room = vec![0; size.try_into().unwrap()];
        self.protocol.get_config(offset, size, VhostUserConfigFlags::empty(), &room).unwrap().1
    }
}

/// One buffer of a chain.
pub(crate) enum Buffer<'a> {
    Readable(&'a [u8]),
    Writable(u32),
}

impl DriverQueue {
    /// Where the buffer of a descriptor is.
    pub(crate) fn buffer(&self, descriptor: u16) -> u64 {
        self.base + BUFFERS + u64::from(descriptor) * 0x1000
    }

    /// Writes one descriptor: all that a driver may write, and all that it may not.
    pub(crate) fn set_descriptor(&self, index: u16, address: u64, length: u32, flags: u16, next: u16) {
        let place = GuestAddress(self.base + u64::from(index) * 16);
        let words = [address, u64::from(length) | u64::from(flags) << 32 | u64::from(next) << 48];
        self.memory.write_obj(words, place).unwrap();
    }

    /// Makes a head available and tells the device.
    pub(crate) fn offer(&mut self, head: u16) {
        let ring = self.base + AVAILABLE;
        let slot = ring + 4 + u64::from(self.available % QUEUE_SIZE) * 2;
        self.memory.write_obj(head, GuestAddress(slot)).unwrap();
        self.available = self.available.wrapping_add(1);
        self.memory.store(self.available, GuestAddress(ring + 2), std::sync::atomic::Ordering::Release).unwrap();
        if !self.silent {
            self.kick.write(1).unwrap();
        }
    }

    /// Whether the device has said that it need not be told of new buffers.
    pub(crate) fn need_not_tell(&self) -> bool {
        let flags: u16 = self.memory.read_obj(GuestAddress(self.base + USED)).unwrap();
        flags == 1
    }

    /// How often the device has interrupted since the last time that was looked for.
    pub(crate) fn interrupts(&self) -> u64 {
        self.call.read().unwrap_or(0)
    }

    /// Sends a chain that starts at a descriptor.
    pub(crate) fn send(&mut self, head: u16, buffers: &[Buffer<'_>]) {
        let last = buffers.len() - 1;
        for (index, (buffer, descriptor)) in buffers.iter().zip(head..).enumerate() {
            let address = self.buffer(descriptor);
            let next = if index < last { NEXT } else { 0 };
            match buffer {
                Buffer::Readable(bytes) => {
                    self.memory.write_slice(bytes, GuestAddress(address)).unwrap();
                    self.set_descriptor(descriptor, address, bytes.len().try_into().unwrap(), next, descriptor + 1);
                }
                Buffer::Writable(length) => {
                    self.memory.write_slice(&[0xaa; 0x100], GuestAddress(address)).unwrap();
                    self.set_descriptor(descriptor, address, *length, next | WRITE, descriptor + 1);
                }
            }
        }
        self.offer(head);
    }

    /// The next used buffer, if there is one: its head and its length.
    pub(crate) fn try_used(&mut self) -> Option<(u32, u32)> {
        let ring = self.base + USED;
        let index: u16 = self.memory.load(GuestAddress(ring + 2), std::sync::atomic::Ordering::Acquire).unwrap();
        if index == self.used {
            return None;
        }
        let slot = ring + 4 + u64::from(self.used % QUEUE_SIZE) * 8;
        self.used = self.used.wrapping_add(1);
        let [head, length]: [u32; 2] = self.memory.read_obj(GuestAddress(slot)).unwrap();
        Some((head, length))
    }

    /// Waits for the next used buffer, from interrupt to interrupt.
    pub(crate) fn used(&mut self) -> (u32, u32) {
        let used = self.used_within(LONG);
        used.unwrap_or_else(|| panic!("the device does not answer"))
    }

    /// Whether the device has interrupted since the last time that was looked for.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.call.read().is_ok()
    }

    /// Waits for an interrupt; false when none comes.
    pub(crate) fn wait_for_interrupt(&self) -> bool {
        self.is_interrupted_within(LONG)
    }

    fn is_interrupted_within(&self, patience: Duration) -> bool {
        let patience = Timespec::try_from(patience).unwrap();
        // SAFETY: the event descriptor lives as long as `self`.
        let call = unsafe { BorrowedFd::borrow_raw(self.call.as_raw_fd()) };
        let ready = poll(&mut [PollFd::from_borrowed_fd(call, PollFlags::IN)], Some(&patience)).unwrap();
        ready > 0 && self.call.read().is_ok()
    }

    /// Waits for the next used buffer, and no longer than that for each interrupt.
    pub(crate) fn used_within(&mut self, patience: Duration) -> Option<(u32, u32)> {
        loop {
            let used = self.try_used();
            if used.is_some() || !self.is_interrupted_within(patience) {
                return used;
            }
        }
    }

    /// The first bytes of a descriptor's buffer.
    pub(crate) fn read<const N: usize>(&self, descriptor: u16) -> [u8; N] {
        let mut bytes = [0; N];
        self.memory.read_slice(&mut bytes, GuestAddress(self.buffer(descriptor))).unwrap();
        bytes
    }

    /// Asks for an interrupt only after so many more used buffers and one, which counts with [`EVENT_INDEX`].
    pub(crate) fn want_interrupt_after(&self, more: u16) {
        let place = self.base + AVAILABLE + 4 + u64::from(QUEUE_SIZE) * 2;
        let index = self.used.wrapping_add(more);
        self.memory.store(index, GuestAddress(place), std::sync::atomic::Ordering::SeqCst).unwrap();
    }

    /// Sends a request of eight bytes with room for an answer of two, and returns the answer.
    pub(crate) fn request(&mut self, bytes: [u8; 8]) -> [u8; 2] {
        self.send(0, &[Buffer::Readable(&bytes), Buffer::Writable(2)]);
        assert_eq!(self.used(), (0, 2));
        self.read(1)
    }
}

/// How long a test waits for what it expects to see on the other side: long enough for any machine.
pub(crate) const LONG: Duration = Duration::from_secs(20);
