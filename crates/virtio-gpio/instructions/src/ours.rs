//! This project's queue.

use std::alloc::{Layout, alloc_zeroed, handle_alloc_error};
use std::ptr::NonNull;

use virtio_gpio::fence::CoherentFence;
use virtio_gpio::memory::DmaMemory;

use crate::device::{ANSWER_SIZE, Device};
use crate::queue::layout::QueueSize;
use crate::queue::{Buffer, Bus, DescriptorSlot, Queue};
use crate::shared::Shared;
use crate::{QUEUE_SIZE, REQUEST_SIZE};

const MEMORY: usize = 1 << 16;
/// Where the messages are: behind the queue.
const MESSAGES: usize = 1 << 15;

struct Memory(NonNull<u8>);

// SAFETY: the pages are the queue's alone, aligned, zeroed, and never given back.
unsafe impl DmaMemory for Memory {
    fn base(&self) -> NonNull<u8> {
        self.0
    }

    fn len(&self) -> usize {
        MEMORY
    }

    fn device_address(&self) -> u64 {
        self.0.as_ptr().expose_provenance() as u64
    }
}

pub struct Ours {
    shared: Shared<Memory>,
    queue: Queue<'static>,
}

impl Ours {
    pub fn new() -> (Self, Device) {
        let layout = Layout::from_size_align(MEMORY, 4096).expect("a size that there is");
        // SAFETY: the layout has a size.
        let memory = NonNull::new(unsafe { alloc_zeroed(layout) }).unwrap_or_else(|| handle_alloc_error(layout));
        let shared = Shared::new(Memory(memory));
        let slots = Box::leak(vec![DescriptorSlot::EMPTY; QUEUE_SIZE].into_boxed_slice());
        let size = QueueSize::at_most(QUEUE_SIZE as u16, QUEUE_SIZE as u32).expect("a size that there is");
        let mut queue = Queue::new(0, size, 0, slots);
        queue.reset(&shared, true);
        let addresses = queue.addresses(&shared);
        let device = Device::new(addresses.size, addresses.available, addresses.used);
        (Self { shared, queue }, device)
    }

    /// Makes chains available. Returns whether the device is to be notified.
    #[inline(never)]
    pub fn ours_send(&mut self, requests: u16) -> bool {
        let bus = Bus { shared: &self.shared, fence: &CoherentFence };
        for token in 0..requests {
            let message = MESSAGES + usize::from(token) * 16;
            let chain = [Buffer::readable(message, REQUEST_SIZE), Buffer::writable(message + 8, ANSWER_SIZE as usize)];
            assert!(self.queue.add(bus, &chain, token));
        }
        self.queue.should_notify(bus)
    }

    /// Takes their completions.
    #[inline(never)]
    pub fn ours_take(&mut self, requests: u16) {
        let bus = Bus { shared: &self.shared, fence: &CoherentFence };
        for token in 0..requests {
            let completion = self.queue.pop(bus).ok().flatten().expect("the device has returned it");
            assert!(completion.token == token && completion.length == ANSWER_SIZE);
        }
    }
}
