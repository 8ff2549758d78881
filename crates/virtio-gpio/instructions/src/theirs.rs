//! The queue of the crate `virtio-drivers`.

use std::alloc::{Layout, alloc_zeroed, handle_alloc_error};
use std::ptr::NonNull;

use virtio_drivers::queue::VirtQueue;
use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use virtio_drivers::{BufferDirection, Error, Hal, PAGE_SIZE, PhysAddr, Result};

use crate::device::{ANSWER_SIZE, Device};
use crate::{QUEUE_SIZE, REQUEST_SIZE};

/// Memory has the same address for both sides.
struct Identity;

// SAFETY: pages come from the heap, zeroed and aligned, and are never given back.
unsafe impl Hal for Identity {
    fn dma_alloc(pages: usize, _direction: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        let layout = Layout::from_size_align(pages * PAGE_SIZE, PAGE_SIZE).expect("a size that there is");
        // SAFETY: nobody asks for no pages.
        let memory = NonNull::new(unsafe { alloc_zeroed(layout) }).unwrap_or_else(|| handle_alloc_error(layout));
        (memory.as_ptr().expose_provenance() as u64, memory)
    }

    unsafe fn dma_dealloc(_address: PhysAddr, _memory: NonNull<u8>, _pages: usize) -> i32 {
        0
    }

    unsafe fn mmio_phys_to_virt(address: PhysAddr, _size: usize) -> NonNull<u8> {
        NonNull::new(std::ptr::with_exposed_provenance_mut(address as usize)).expect("no address 0")
    }

    unsafe fn share(buffer: NonNull<[u8]>, _direction: BufferDirection) -> PhysAddr {
        buffer.cast::<u8>().as_ptr().expose_provenance() as u64
    }

    unsafe fn unshare(_address: PhysAddr, _buffer: NonNull<[u8]>, _direction: BufferDirection) {}
}

/// A transport that keeps what the queue tells it.
#[derive(Debug, Default)]
struct Listener {
    device: Option<Device>,
}

impl Transport for Listener {
    fn device_type(&self) -> DeviceType {
        DeviceType::Console
    }

    fn read_device_features(&mut self) -> u64 {
        0
    }

    fn write_driver_features(&mut self, _features: u64) {}

    fn max_queue_size(&mut self, _queue: u16) -> u32 {
        QUEUE_SIZE as u32
    }

    fn notify(&mut self, _queue: u16) {}

    fn get_status(&self) -> DeviceStatus {
        DeviceStatus::empty()
    }

    fn set_status(&mut self, _status: DeviceStatus) {}

    fn set_guest_page_size(&mut self, _size: u32) {}

    fn requires_legacy_layout(&self) -> bool {
        false
    }

    fn queue_set(&mut self, _queue: u16, size: u32, _descriptors: PhysAddr, available: PhysAddr, used: PhysAddr) {
        self.device = Some(Device::new(size as u16, available, used));
    }

    fn queue_unset(&mut self, _queue: u16) {}

    fn queue_used(&mut self, _queue: u16) -> bool {
        false
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        InterruptStatus::empty()
    }

    fn read_config_generation(&self) -> u32 {
        0
    }

    fn read_config_space<T>(&self, _offset: usize) -> Result<T> {
        Err(Error::ConfigSpaceMissing)
    }

    fn write_config_space<T>(&mut self, _offset: usize, _value: T) -> Result<()> {
        Err(Error::ConfigSpaceMissing)
    }
}

type Message = ([u8; REQUEST_SIZE], [u8; ANSWER_SIZE as usize]);

pub struct Theirs {
    queue: VirtQueue<Identity, QUEUE_SIZE>,
    messages: Box<[Message]>,
    tokens: [u16; QUEUE_SIZE],
}

impl Theirs {
    pub fn new() -> (Self, Device) {
        let mut transport = Listener::default();
        let queue = VirtQueue::new(&mut transport, 0, false, true).expect("a queue");
        let device = transport.device.expect("the queue has told where it is");
        let messages = vec![([0; REQUEST_SIZE], [0; ANSWER_SIZE as usize]); QUEUE_SIZE].into_boxed_slice();
        (Self { queue, messages, tokens: [0; QUEUE_SIZE] }, device)
    }

    /// Makes chains available. Returns whether the device is to be notified.
    #[inline(never)]
    pub fn theirs_send(&mut self, requests: u16) -> bool {
        for index in 0..usize::from(requests) {
            let (readable, writable) = &mut self.messages[index];
            // SAFETY: the messages live on the heap as long as the queue, and are not touched before they are popped.
            self.tokens[index] = unsafe { self.queue.add(&[readable], &mut [writable]) }.expect("room");
        }
        self.queue.should_notify()
    }

    /// Takes their completions.
    #[inline(never)]
    pub fn theirs_take(&mut self, requests: u16) {
        for index in 0..usize::from(requests) {
            let token = self.tokens[index];
            assert!(self.queue.peek_used() == Some(token));
            let (readable, writable) = &mut self.messages[index];
            // SAFETY: these are the buffers that were added with this token.
            let length = unsafe { self.queue.pop_used(token, &[readable], &mut [writable]) };
            assert!(length == Ok(ANSWER_SIZE));
        }
    }
}
