//! The device, on the transport and the queues of the crate `virtio-drivers`.
//!
//! It is not trusted: it is used for as long as it keeps to the rules, and what it claims to have written is looked at first.

#[cfg(test)]
mod tests;

use alloc::collections::VecDeque;
use core::ptr::NonNull;
use core::sync::atomic::{Ordering, fence};
use core::time::Duration;

use thiserror::Error;
use virtio_drivers::queue::VirtQueue;
use virtio_drivers::transport::mmio::MmioError;
use virtio_drivers::transport::{DeviceStatus, Transport};
use virtio_drivers::{BufferDirection, Hal, PAGE_SIZE, PhysAddr};
use virtio_gpio::clock::Clock;
use virtio_gpio::memory::DmaMemory;

use crate::arch;
use crate::platform::dma::{self, StaticDma};
use crate::platform::time::SystemClock;

/// The queue with what the device sends, and the one with what it is sent.
const RECEIVE_QUEUE: u16 = 0;
const TRANSMIT_QUEUE: u16 = 1;
/// Each has one buffer.
const QUEUE_SIZE: usize = 2;
const BUFFER_SIZE: usize = PAGE_SIZE;
/// So many bytes wait for the device to send others. More are dropped.
const BACKLOG: usize = 16 * 1024;
const FEATURE_VERSION_1: u64 = 1 << 32;
/// How long a reset may take.
const RESET_TIME: Duration = Duration::from_secs(1);

/// Why a virtio console cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum VirtioConsoleError {
    /// There is one already.
    #[error("Only one virtio console can be used")]
    Second,
    /// No device at that place, or another one.
    #[error("{0}")]
    Transport(MmioError),
    /// It cannot be set up.
    #[error("{0}")]
    Device(virtio_drivers::Error),
    /// It does not end its reset.
    #[error("Its reset does not end")]
    Reset,
    /// It does not take the features that it has offered.
    #[error("It refuses the features that it offers")]
    Features,
    /// There is no memory for what it sends, or is sent.
    #[error("There is no memory for it")]
    NoMemory,
}

/// A console: its transport, a buffer for what it sends, and one for what it is sent.
pub(super) struct Device<T> {
    transport: T,
    receive: Channel,
    received: Received,
    transmit: Channel,
    transmitted: Transmitted,
    backlog: VecDeque<u8>,
}

/// A queue with one buffer.
struct Channel {
    queue: VirtQueue<Memory, QUEUE_SIZE>,
    buffer: StaticDma,
}

/// Where the buffer for what the device sends is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Received {
    /// The device has it, under that number.
    Nothing(u16),
    /// It holds bytes: the next one to be read, and where they end, which is further on and within the buffer.
    Bytes { next: usize, end: usize },
    /// Whatever the device sends is not looked at any more.
    Broken,
}

/// Where the buffer for what the device is sent is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transmitted {
    /// It can be filled.
    All,
    /// The device has it, under that number, with so many bytes.
    Not(u16, usize),
    /// It is not used any more.
    Broken,
}

impl Channel {
    fn new<T: Transport>(transport: &mut T, queue: u16) -> Result<Self, VirtioConsoleError> {
        let queue = VirtQueue::new(transport, queue, false, false).map_err(VirtioConsoleError::Device)?;
        let buffer = dma::allocate(BUFFER_SIZE).ok_or(VirtioConsoleError::NoMemory)?;
        Ok(Self { queue, buffer })
    }

    /// The buffer, as the queue wants it; not more than [`BUFFER_SIZE`] bytes of it.
    #[expect(unsafe_code, reason = "the queue takes slices")]
    fn bytes(&self, len: usize) -> &'static mut [u8] {
        let base = self.buffer.base().as_ptr();
        // SAFETY: that much memory was allocated for ever. Nobody looks at the slice: the queue makes an address and a length of it.
        unsafe { core::slice::from_raw_parts_mut(base, len.min(BUFFER_SIZE)) }
    }

    fn place(&self, index: usize) -> NonNull<u8> {
        self.buffer.base().map_addr(|base| base.saturating_add(index))
    }
}

impl<T: Transport> Device<T> {
    /// Sets a console up.
    pub(super) fn new(mut transport: T) -> Result<Self, VirtioConsoleError> {
        transport.set_status(DeviceStatus::empty());
        let deadline = SystemClock.now().after(RESET_TIME);
        while transport.get_status() != DeviceStatus::empty() {
            if SystemClock.now() >= deadline {
                return Err(VirtioConsoleError::Reset);
            }
        }
        let mut status = DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER;
        transport.set_status(status);
        let features = transport.read_device_features() & FEATURE_VERSION_1;
        transport.write_driver_features(features);
        // Devices of old know nothing of this step.
        if features & FEATURE_VERSION_1 != 0 {
            status |= DeviceStatus::FEATURES_OK;
            transport.set_status(status);
            if !transport.get_status().contains(DeviceStatus::FEATURES_OK) {
                return Err(VirtioConsoleError::Features);
            }
        }
        #[expect(clippy::cast_possible_truncation, reason = "4096")]
        transport.set_guest_page_size(PAGE_SIZE as u32);
        let receive = Channel::new(&mut transport, RECEIVE_QUEUE)?;
        let transmit = Channel::new(&mut transport, TRANSMIT_QUEUE)?;
        let mut backlog = VecDeque::new();
        backlog.try_reserve_exact(BACKLOG).map_err(|_| VirtioConsoleError::NoMemory)?;
        transport.set_status(status | DeviceStatus::DRIVER_OK);
        let (received, transmitted) = (Received::Broken, Transmitted::All);
        let mut device = Self { transport, receive, received, transmit, transmitted, backlog };
        device.give_to_receive();
        Ok(device)
    }

    /// Ends an interrupt. What has come is taken when somebody reads.
    pub(super) fn acknowledge_interrupt(&mut self) {
        self.transport.ack_interrupt();
        arch::after_interrupt();
    }

    /// The next byte that the device has sent, if there is one. It stays there unless it is taken.
    pub(super) fn receive(&mut self, take: bool) -> Option<u8> {
        self.take_back_received();
        let Received::Bytes { next, end } = self.received else { return None };
        #[expect(unsafe_code, reason = "reads what the device has written")]
        // SAFETY: `next` is within the buffer. A device that writes again changes the byte, and nothing else.
        let byte = unsafe { self.receive.place(next).read_volatile() };
        if take {
            let next = next.saturating_add(1);
            if next < end {
                self.received = Received::Bytes { next, end };
            } else {
                self.give_to_receive();
            }
        }
        Some(byte)
    }

    /// Gives the buffer for what the device sends to the device.
    fn give_to_receive(&mut self) {
        let buffer = self.receive.bytes(BUFFER_SIZE);
        #[expect(unsafe_code, reason = "the device will write")]
        // SAFETY: the buffer is memory for devices for ever, and is read only once the device has given it back.
        let given = unsafe { self.receive.queue.add(&[], &mut [buffer]) };
        // There is room for one buffer.
        self.received = given.map_or(Received::Broken, Received::Nothing);
        notify(&mut self.transport, &self.receive.queue, RECEIVE_QUEUE);
    }

    /// Takes that buffer back, if the device has done something with it.
    fn take_back_received(&mut self) {
        let Received::Nothing(number) = self.received else { return };
        if !self.receive.queue.can_pop() {
            return;
        }
        let buffer = self.receive.bytes(BUFFER_SIZE);
        #[expect(unsafe_code, reason = "the device has written")]
        // SAFETY: it is the buffer that was given under that number.
        let written = unsafe { self.receive.queue.pop_used(number, &[], &mut [buffer]) };
        let end = written.ok().and_then(|end| usize::try_from(end).ok());
        self.received = if let Some(end) = end.filter(|end| (1..=BUFFER_SIZE).contains(end)) {
            Received::Bytes { next: 0, end }
        } else {
            log::warn!(
                "the virtio console returns what it was not given, or empty, or too full: it is not read any more"
            );
            Received::Broken
        };
    }

    /// Has bytes sent by the next [`transmit`](Self::transmit), behind those that are still to be sent. What there is no room for
    /// is dropped.
    pub(super) fn write(&mut self, bytes: &[u8]) {
        let room = BACKLOG.saturating_sub(self.backlog.len());
        self.backlog.extend(bytes.iter().take(room));
    }

    /// Whether there is room for a good many bytes more.
    pub(super) fn has_room(&self) -> bool {
        self.backlog.len() <= BACKLOG / 2
    }

    /// Gives to the device what it is to send, all that fits, unless it has still to send other bytes. Returns whether there is
    /// nothing to be sent, by the driver or the device.
    pub(super) fn transmit(&mut self) -> bool {
        self.take_back_transmitted();
        match self.transmitted {
            Transmitted::Not(..) => return false,
            // Nobody would ever take them.
            Transmitted::Broken => self.backlog.clear(),
            Transmitted::All => (),
        }
        let len = self.backlog.len().min(BUFFER_SIZE);
        if len == 0 {
            return true;
        }
        for (index, byte) in self.backlog.drain(..len).enumerate() {
            #[expect(unsafe_code, reason = "writes what the device will read")]
            // SAFETY: `index` is within the buffer, which the driver has.
            unsafe {
                self.transmit.place(index).write_volatile(byte);
            }
        }
        let buffer = self.transmit.bytes(len);
        #[expect(unsafe_code, reason = "the device will read")]
        // SAFETY: the buffer is memory for devices for ever, and is written to only once the device has given it back.
        let given = unsafe { self.transmit.queue.add(&[buffer], &mut []) };
        // There is room for one buffer.
        self.transmitted = given.map_or(Transmitted::Broken, |number| Transmitted::Not(number, len));
        notify(&mut self.transport, &self.transmit.queue, TRANSMIT_QUEUE);
        false
    }

    /// Takes the buffer for what the device is sent back, if the device has sent it.
    fn take_back_transmitted(&mut self) {
        let Transmitted::Not(number, len) = self.transmitted else { return };
        if !self.transmit.queue.can_pop() {
            return;
        }
        let buffer = self.transmit.bytes(len);
        #[expect(unsafe_code, reason = "the device has read")]
        // SAFETY: it is the buffer that was given under that number, with that length.
        let used = unsafe { self.transmit.queue.pop_used(number, &[buffer], &mut []) };
        self.transmitted = if used.is_ok() {
            Transmitted::All
        } else {
            log::warn!("the virtio console returns what it was not given: it is not written to any more");
            Transmitted::Broken
        };
    }
}

/// Tells the device of a new buffer, unless it does not want to be told.
fn notify<T: Transport>(transport: &mut T, queue: &VirtQueue<Memory, QUEUE_SIZE>, number: u16) {
    // The device has to see the buffer, or the driver that the device wants to be told: `VirtQueue` orders its stores only.
    fence(Ordering::SeqCst);
    if queue.should_notify() {
        arch::before_notify();
        transport.notify(number);
    }
}

/// Memory for the queues.
struct Memory;

#[expect(unsafe_code, reason = "implements an unsafe trait")]
// SAFETY: `dma::allocate` gives zeroed, page-aligned memory that nothing else has, for ever. Memory has the same address for
// processor and devices, which are coherent.
unsafe impl Hal for Memory {
    fn dma_alloc(pages: usize, _: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        let memory = pages.checked_mul(PAGE_SIZE).and_then(dma::allocate);
        // The address 0 is how that crate learns that there is no memory.
        memory.map_or((0, NonNull::dangling()), |memory| (memory.device_address(), memory.base()))
    }

    unsafe fn dma_dealloc(_: PhysAddr, _: NonNull<u8>, _: usize) -> i32 {
        // Memory for devices is for ever: a console that could not be set up costs some pages.
        0
    }

    unsafe fn mmio_phys_to_virt(address: PhysAddr, _: usize) -> NonNull<u8> {
        // Only PCI transports ask.
        let address = usize::try_from(address).unwrap_or(0);
        NonNull::new(core::ptr::with_exposed_provenance_mut(address)).unwrap_or(NonNull::dangling())
    }

    unsafe fn share(buffer: NonNull<[u8]>, _: BufferDirection) -> PhysAddr {
        buffer.cast::<u8>().as_ptr().expose_provenance() as PhysAddr
    }

    unsafe fn unshare(_: PhysAddr, _: NonNull<[u8]>, _: BufferDirection) {}
}
