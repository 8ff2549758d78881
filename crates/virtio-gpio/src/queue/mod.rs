//! The split virtqueue (VIRTIO 1.2, 2.7), driver side.
//!
//! [`layout`] says where things lie, [`state`] keeps the records that the device cannot touch, [`handshake`] has the
//! indexes and the fences, each named with the access on the device's side that it pairs with. Here the three meet the
//! shared memory.

mod handshake;
pub(crate) mod layout;
pub(crate) mod state;

use crate::fence::Fence;
use crate::memory::DmaMemory;
use crate::shared::Shared;
use crate::transport::QueueAddresses;
use handshake::Handshake;
use layout::{QueueLayout, QueueSize};
use state::{Completion, State};

pub use layout::MAX_QUEUE_SIZE;
pub use state::{DescriptorSlot, RingViolation};

// Descriptor flags (2.7.5).
const DESCRIPTOR_NEXT: u16 = 1;
const DESCRIPTOR_WRITE: u16 = 2;

/// A buffer inside the shared memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Buffer {
    pub(crate) offset: usize,
    pub(crate) length: u32,
    /// Whether the device writes it; it reads it otherwise.
    pub(crate) writable: bool,
}

impl Buffer {
    /// A buffer that the device reads.
    pub(crate) fn readable(offset: usize, size: usize) -> Self {
        // No message comes near 4 GiB; one that did would be cut to nothing rather than wrapped.
        Self { offset, length: u32::try_from(size).unwrap_or(0), writable: false }
    }

    /// A buffer that the device writes.
    pub(crate) fn writable(offset: usize, size: usize) -> Self {
        Self { writable: true, ..Self::readable(offset, size) }
    }
}

/// Memory and fences, as every call on a queue needs them.
#[derive(Debug)]
pub(crate) struct Bus<'b, M: DmaMemory, F: Fence> {
    pub(crate) shared: &'b Shared<M>,
    pub(crate) fence: &'b F,
}

impl<M: DmaMemory, F: Fence> Clone for Bus<'_, M, F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M: DmaMemory, F: Fence> Copy for Bus<'_, M, F> {}

/// The words of one queue's handshake, in the shared memory.
struct Words<'b, M: DmaMemory, F: Fence> {
    bus: Bus<'b, M, F>,
    layout: QueueLayout,
    base: usize,
}

impl<M: DmaMemory, F: Fence> Words<'_, M, F> {
    /// Writes a field that the device reads, and hands it over.
    fn publish(&self, field: usize, value: u16) {
        let field = self.base.wrapping_add(field);
        self.bus.shared.write_u16(field, value);
        self.bus.shared.sync_for_device(field..field.wrapping_add(2));
    }

    /// Takes over a field that the device writes, and reads it.
    fn fetch(&self, field: usize) -> u16 {
        let field = self.base.wrapping_add(field);
        self.bus.shared.sync_for_driver(field..field.wrapping_add(2));
        self.bus.shared.read_u16(field)
    }
}

impl<M: DmaMemory, F: Fence> handshake::Words for Words<'_, M, F> {
    fn set_available_index(&self, index: u16) {
        self.publish(self.layout.available_index(), index);
    }
    fn set_available_flags(&self, flags: u16) {
        self.publish(self.layout.available, flags);
    }
    fn set_used_event(&self, index: u16) {
        self.publish(self.layout.used_event(), index);
    }
    fn used_index(&self) -> u16 {
        self.fetch(self.layout.used_index())
    }
    fn used_flags(&self) -> u16 {
        self.fetch(self.layout.used_flags())
    }
    fn available_event(&self) -> u16 {
        self.fetch(self.layout.available_event())
    }
    fn release(&self) {
        self.bus.fence.release();
    }
    fn acquire(&self) {
        self.bus.fence.acquire();
    }
    fn full(&self) {
        self.bus.fence.full();
    }
}

/// One split virtqueue.
#[derive(Debug)]
pub(crate) struct Queue<'a> {
    index: u16,
    layout: QueueLayout,
    /// Where the queue's memory starts in the shared memory.
    base: usize,
    state: State<'a>,
    handshake: Handshake,
    broken: Option<RingViolation>,
}

impl<'a> Queue<'a> {
    /// A queue at `base` in the shared memory; `slots` has as many records as the queue has descriptors.
    pub(crate) fn new(index: u16, size: QueueSize, base: usize, slots: &'a mut [DescriptorSlot]) -> Self {
        Self {
            index,
            layout: QueueLayout::new(size),
            base,
            state: State::new(slots),
            handshake: Handshake::new(false),
            broken: None,
        }
    }

    /// The queue's number on the device.
    pub(crate) fn index(&self) -> u16 {
        self.index
    }

    pub(crate) fn free_descriptors(&self) -> u16 {
        self.state.free()
    }

    /// As [`free_descriptors`](Self::free_descriptors), counted one by one.
    pub(crate) fn count_free(&self) -> u16 {
        self.state.count_free()
    }

    pub(crate) fn size(&self) -> u16 {
        self.layout.size.get()
    }

    /// Starts anew: the device was reset, and knows nothing of the queue. Nothing is in flight, all memory is zero.
    pub(crate) fn reset<M: DmaMemory>(&mut self, shared: &Shared<M>, event_index: bool) {
        self.state.reset();
        self.handshake = Handshake::new(event_index);
        self.broken = None;
        let memory = self.base..self.base.wrapping_add(self.layout.total);
        shared.clear(memory.clone());
        shared.sync_for_device(memory);
    }

    /// What the device is told of the queue.
    pub(crate) fn addresses<M: DmaMemory>(&self, shared: &Shared<M>) -> QueueAddresses {
        QueueAddresses {
            size: self.size(),
            descriptors: shared.device_address(self.base),
            available: shared.device_address(self.at(self.layout.available)),
            used: shared.device_address(self.at(self.layout.used)),
        }
    }

    fn at(&self, offset: usize) -> usize {
        self.base.wrapping_add(offset)
    }

    /// Makes a chain available to the device. `false` if there are too few free descriptors, or the queue is broken.
    ///
    /// The readable buffers come first (2.7.4.2); the caller has written them and handed them to the device.
    pub(crate) fn add<M: DmaMemory, F: Fence>(&mut self, bus: Bus<'_, M, F>, chain: &[Buffer], token: u16) -> bool {
        let Ok(length) = u16::try_from(chain.len()) else { return false };
        if self.broken.is_some() {
            return false;
        }
        let writable = chain.iter().filter(|b| b.writable).fold(0u32, |sum, b| sum.saturating_add(b.length));
        let (layout, base) = (self.layout, self.base);
        let mut buffers = chain.iter();
        let head = self.state.begin(length, token, writable, |index, next| {
            let Some(buffer) = buffers.next() else { return };
            let descriptor = base.wrapping_add(layout.descriptor(index));
            let write = if buffer.writable { DESCRIPTOR_WRITE } else { 0 };
            let chained = if next.is_some() { DESCRIPTOR_NEXT } else { 0 };
            let [a0, a1, a2, a3, a4, a5, a6, a7] = bus.shared.device_address(buffer.offset).to_le_bytes();
            let (low, high) = (u32::from_le_bytes([a0, a1, a2, a3]), u32::from_le_bytes([a4, a5, a6, a7]));
            let flags_and_next = u32::from(write | chained) | u32::from(next.unwrap_or(0)) << 16;
            bus.shared.write_words(descriptor, [low, high, buffer.length, flags_and_next]);
            bus.shared.sync_for_device(descriptor..descriptor.wrapping_add(layout::DESCRIPTOR_SIZE));
        });
        let Some(head) = head else { return false };
        let words = self.words(bus);
        // Handed over before the index, so that the device finds it there too where caches are written back one line at
        // a time.
        words.publish(layout.available_ring(self.handshake.available()), head);
        self.handshake.publish(&words);
        true
    }

    /// Whether the device wants to be notified of what was added since the last call (2.7.10).
    pub(crate) fn should_notify<M: DmaMemory, F: Fence>(&mut self, bus: Bus<'_, M, F>) -> bool {
        let words = self.words(bus);
        self.handshake.should_notify(&words)
    }

    fn words<'b, M: DmaMemory, F: Fence>(&self, bus: Bus<'b, M, F>) -> Words<'b, M, F> {
        Words { bus, layout: self.layout, base: self.base }
    }

    /// Whether a call of [`pop`](Self::pop) would find something, good or bad.
    pub(crate) fn has_used<M: DmaMemory, F: Fence>(&self, bus: Bus<'_, M, F>) -> bool {
        self.broken.is_none() && self.handshake.look(&self.words(bus)).1 != 0
    }

    /// Takes the next completion.
    ///
    /// # Errors
    ///
    /// The device broke the rules of the ring, now or earlier. Nothing is taken from a broken queue again.
    pub(crate) fn pop<M: DmaMemory, F: Fence>(
        &mut self,
        bus: Bus<'_, M, F>,
    ) -> Result<Option<Completion>, RingViolation> {
        if let Some(violation) = self.broken {
            return Err(violation);
        }
        let from = self.handshake.used();
        let (to, ahead) = self.handshake.look(&self.words(bus));
        if ahead == 0 {
            return Ok(None);
        }
        if ahead > self.state.in_flight() {
            return Err(self.latch(RingViolation::IndexJump { from, to }));
        }
        let element = self.at(self.layout.used_ring(from));
        bus.shared.sync_for_driver(element..element.wrapping_add(layout::USED_ELEMENT_SIZE));
        let [id, length] = bus.shared.read_words(element);
        match self.state.complete(id, length) {
            Ok(completion) => {
                self.handshake.took_one();
                Ok(Some(completion))
            }
            Err(violation) => Err(self.latch(violation)),
        }
    }

    /// Asks the device for an interrupt at the next completion (2.7.7); to be called after the last [`pop`](Self::pop)
    /// of a drain. Returns whether something came in between, which must be popped then.
    pub(crate) fn rearm_interrupt<M: DmaMemory, F: Fence>(&mut self, bus: Bus<'_, M, F>) -> bool {
        let words = self.words(bus);
        self.handshake.rearm(&words)
    }

    /// Tells the device that no interrupt is wanted, until [`rearm_interrupt`](Self::rearm_interrupt).
    pub(crate) fn suppress_interrupts<M: DmaMemory, F: Fence>(&mut self, bus: Bus<'_, M, F>) {
        let words = self.words(bus);
        self.handshake.suppress(&words);
    }

    /// Asks the device for an interrupt at whatever it completes from now on, though not all that came was popped.
    pub(crate) fn rearm_interrupt_behind_used<M: DmaMemory, F: Fence>(&mut self, bus: Bus<'_, M, F>) {
        let words = self.words(bus);
        self.handshake.rearm_behind_used(&words);
    }

    fn latch(&mut self, violation: RingViolation) -> RingViolation {
        self.broken = Some(violation);
        violation
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fence::CoherentFence;
    use core::cell::RefCell;
    use core::ops::Range;
    use core::ptr::NonNull;
    use core::sync::atomic::AtomicU8;
    use std::boxed::Box;
    use std::rc::Rc;
    use std::vec::Vec;

    #[repr(align(4096))]
    struct Page(#[expect(dead_code, reason = "reached by its address")] [AtomicU8; 4096]);

    /// Memory that starts out dirty, because nobody promises the driver anything else.
    struct Memory(Box<[Page; 2]>);

    impl Memory {
        fn new() -> Shared<Self> {
            Shared::new(Self(Box::new([const { Page([const { AtomicU8::new(0xaa) }; 4096]) }; 2])))
        }
    }

    // SAFETY: two whole pages, aligned by their type, which live as long as the value and may be written through a
    // shared reference because they are atomics.
    #[expect(unsafe_code, reason = "implements an unsafe trait")]
    unsafe impl DmaMemory for Memory {
        fn base(&self) -> NonNull<u8> {
            NonNull::from(&*self.0).cast()
        }
        fn len(&self) -> usize {
            8192
        }
        fn device_address(&self) -> u64 {
            0x8000_0000
        }
    }

    /// A queue of four descriptors at the start of the memory, and what the device sees of it.
    struct Fixture {
        shared: Shared<Memory>,
        queue: Queue<'static>,
    }

    const BUFFER: usize = 2048;

    impl Fixture {
        fn new(event_index: bool) -> Self {
            let shared = Memory::new();
            let slots = Box::leak(Box::new([DescriptorSlot::EMPTY; 4]));
            let mut queue = Queue::new(0, QueueSize::at_most(4, 4).unwrap(), 0, slots);
            queue.reset(&shared, event_index);
            Self { shared, queue }
        }

        fn add(&mut self, token: u16) -> bool {
            let bus = Bus { shared: &self.shared, fence: &CoherentFence };
            self.queue.add(bus, &[Buffer::readable(BUFFER, 8), Buffer::writable(BUFFER + 64, 2)], token)
        }

        fn pop(&mut self) -> Result<Option<Completion>, RingViolation> {
            let bus = Bus { shared: &self.shared, fence: &CoherentFence };
            self.queue.pop(bus)
        }

        fn should_notify(&mut self) -> bool {
            let bus = Bus { shared: &self.shared, fence: &CoherentFence };
            self.queue.should_notify(bus)
        }

        fn rearm_interrupt(&mut self) -> bool {
            let bus = Bus { shared: &self.shared, fence: &CoherentFence };
            self.queue.rearm_interrupt(bus)
        }

        fn has_used(&self) -> bool {
            self.queue.has_used(Bus { shared: &self.shared, fence: &CoherentFence })
        }

        fn available_index(&self) -> u16 {
            self.shared.read_u16(64 + 2)
        }

        /// The device's part: the used ring starts at 4096, as a legacy device would compute it.
        fn complete(&self, index: u16, id: u32, length: u32) {
            let element = 4096 + 4 + 8 * usize::from(index % 4);
            self.shared.write_u32(element, id);
            self.shared.write_u32(element + 4, length);
            self.shared.write_u16(4096 + 2, index.wrapping_add(1));
        }
    }

    #[test]
    fn a_chain_is_published_as_the_specification_lays_it_out() {
        let mut fixture = Fixture::new(false);
        assert_eq!((fixture.available_index(), fixture.shared.read_u16(64)), (0, 0), "dirty memory was cleared");
        assert!(fixture.add(7));
        let descriptor = |offset: usize| {
            let mut bytes = [0; 16];
            fixture.shared.read_bytes(offset, &mut bytes);
            bytes
        };
        assert_eq!(descriptor(0), [0, 0x08, 0, 0x80, 0, 0, 0, 0, 8, 0, 0, 0, 1, 0, 1, 0]);
        assert_eq!(descriptor(16), [0x40, 0x08, 0, 0x80, 0, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0]);
        assert_eq!((fixture.available_index(), fixture.shared.read_u16(64 + 4)), (1, 0));
    }

    #[test]
    fn a_full_queue_publishes_nothing() {
        let mut fixture = Fixture::new(false);
        assert!(fixture.add(0) && fixture.add(1));
        assert!(!fixture.add(2));
        assert_eq!((fixture.available_index(), fixture.queue.free_descriptors()), (2, 0));
    }

    #[test]
    fn completions_carry_what_the_device_said_and_what_it_could() {
        let mut fixture = Fixture::new(false);
        assert!(fixture.add(7));
        assert_eq!(fixture.pop(), Ok(None));
        fixture.complete(0, 0, 99);
        assert!(fixture.has_used());
        assert_eq!(fixture.pop(), Ok(Some(Completion { token: 7, length: 99, writable: 2 })));
        assert!(!fixture.has_used());
        assert_eq!(fixture.pop(), Ok(None));
    }

    /// The latch: nothing is taken and nothing is added until a reset.
    #[test]
    fn a_broken_queue_stays_broken_until_it_is_reset() {
        let mut fixture = Fixture::new(false);
        assert!(fixture.add(7));
        fixture.complete(0, 3, 2);
        let violation = RingViolation::NotInFlight(3);
        assert_eq!(fixture.pop(), Err(violation));
        fixture.complete(0, 0, 2);
        assert_eq!(fixture.pop(), Err(violation));
        assert!(!fixture.has_used(), "a broken queue keeps nobody busy");
        assert!(!fixture.add(8));
        fixture.queue.reset(&fixture.shared, false);
        assert_eq!(fixture.pop(), Ok(None));
        assert!(fixture.add(9));
        fixture.complete(0, 0, 2);
        assert_eq!(fixture.pop().map(|found| found.map(|found| found.token)), Ok(Some(9)));
    }

    #[test]
    fn an_index_that_moves_too_far_breaks_the_queue_at_once() {
        for to in [2, 3, 1000, 65535] {
            let mut fixture = Fixture::new(false);
            assert!(fixture.add(7));
            fixture.shared.write_u16(4096 + 2, to);
            assert_eq!(fixture.pop(), Err(RingViolation::IndexJump { from: 0, to }));
        }
    }

    #[test]
    fn a_notification_is_due_once_and_where_it_is_wanted() {
        let mut fixture = Fixture::new(false);
        assert!(!fixture.should_notify());
        assert!(fixture.add(0));
        assert!(fixture.should_notify());
        assert!(!fixture.should_notify(), "nothing new since");
        fixture.shared.write_u16(4096, 1);
        assert!(fixture.add(1));
        assert!(!fixture.should_notify());

        let mut fixture = Fixture::new(true);
        // The device wants to hear when the second chain is there.
        fixture.shared.write_u16(4096 + 4 + 8 * 4, 1);
        assert!(fixture.add(0));
        assert!(!fixture.should_notify());
        assert!(fixture.add(1));
        assert!(fixture.should_notify());
    }

    #[test]
    fn asking_for_interrupts_finds_what_came_in_between() {
        let mut fixture = Fixture::new(true);
        assert!(fixture.add(0) && fixture.add(1));
        fixture.complete(0, 0, 2);
        assert!(fixture.pop().is_ok());
        assert_eq!(fixture.pop(), Ok(None));
        fixture.complete(1, 2, 2);
        assert!(fixture.rearm_interrupt());
        assert_eq!(fixture.shared.read_u16(64 + 4 + 2 * 4), 1, "used_event is the next completion");
        assert!(fixture.pop().is_ok());
        assert!(!fixture.rearm_interrupt());
        assert_eq!(fixture.shared.read_u16(64 + 4 + 2 * 4), 2);
    }

    /// A device that shows a completion and hides it again keeps nobody looking.
    #[test]
    fn a_device_is_asked_for_an_interrupt_once() {
        let mut fixture = Fixture::new(true);
        assert!(fixture.add(0) && fixture.add(1));
        fixture.complete(0, 0, 2);
        assert!(fixture.pop().is_ok());
        fixture.complete(1, 2, 2);
        assert!(fixture.rearm_interrupt());
        assert!(!fixture.rearm_interrupt());
    }

    #[test]
    fn a_drain_that_was_cut_asks_for_what_is_not_there_yet() {
        let mut fixture = Fixture::new(true);
        assert!(fixture.add(0) && fixture.add(1));
        fixture.complete(0, 0, 2);
        fixture.complete(1, 2, 2);
        assert!(fixture.pop().is_ok());
        let bus = Bus { shared: &fixture.shared, fence: &CoherentFence };
        fixture.queue.rearm_interrupt_behind_used(bus);
        assert_eq!(fixture.shared.read_u16(64 + 4 + 2 * 4), 2, "the device has passed 1 already");
        assert!(fixture.pop().is_ok());
        assert!(!fixture.rearm_interrupt(), "what is asked for now is the same");
    }

    /// What the queue does for the order of its accesses.
    #[derive(Debug, PartialEq, Eq)]
    enum Step {
        ToDevice(Range<usize>),
        ToDriver(Range<usize>),
        Release,
        Acquire,
        Full,
    }

    type Steps = Rc<RefCell<Vec<Step>>>;

    /// Memory and fences that record it.
    struct RecordingMemory(Memory, Steps);
    struct RecordingFence(Steps);

    // SAFETY: all that matters is `Memory`'s.
    #[expect(unsafe_code, reason = "implements an unsafe trait")]
    unsafe impl DmaMemory for RecordingMemory {
        fn base(&self) -> NonNull<u8> {
            self.0.base()
        }
        fn len(&self) -> usize {
            self.0.len()
        }
        fn device_address(&self) -> u64 {
            self.0.device_address()
        }
        fn sync_for_device(&self, range: Range<usize>) {
            self.1.borrow_mut().push(Step::ToDevice(range));
        }
        fn sync_for_driver(&self, range: Range<usize>) {
            self.1.borrow_mut().push(Step::ToDriver(range));
        }
    }

    // SAFETY: the other side is on the same thread.
    #[expect(unsafe_code, reason = "implements an unsafe trait")]
    unsafe impl Fence for RecordingFence {
        fn release(&self) {
            self.0.borrow_mut().push(Step::Release);
        }
        fn acquire(&self) {
            self.0.borrow_mut().push(Step::Acquire);
        }
        fn full(&self) {
            self.0.borrow_mut().push(Step::Full);
        }
    }

    /// Where caches are written back by hand, the device may see each piece as soon as it is handed over. Each fence
    /// stands between what it orders; that these are the fences that it takes is what the model checker shows.
    #[test]
    fn pieces_are_handed_over_in_order_with_the_fences_between_them() {
        let steps = Steps::default();
        let pages = Box::new([const { Page([const { AtomicU8::new(0) }; 4096]) }; 2]);
        let shared = Shared::new(RecordingMemory(Memory(pages), Rc::clone(&steps)));
        let bus = Bus { shared: &shared, fence: &RecordingFence(Rc::clone(&steps)) };
        let slots = Box::leak(Box::new([DescriptorSlot::EMPTY; 4]));
        let mut queue = Queue::new(0, QueueSize::at_most(4, 4).unwrap(), 0, slots);
        let (ring_slot, index) = (68..70, 66..68);
        let (used_flags, used_index, used_element) = (4096..4098, 4098..4100, 4100..4108);

        assert!(queue.add(bus, &[Buffer::readable(BUFFER, 8)], 0));
        assert_eq!(
            steps.take(),
            [Step::ToDevice(0..16), Step::ToDevice(ring_slot), Step::Release, Step::ToDevice(index)]
        );
        assert!(queue.should_notify(bus));
        assert_eq!(steps.take(), [Step::Full, Step::ToDriver(used_flags)]);

        assert_eq!(queue.pop(bus), Ok(None));
        assert_eq!(steps.take(), [Step::ToDriver(used_index.clone())], "there is nothing to read behind it");
        shared.write_u16(used_index.start, 1);
        assert!(queue.pop(bus).is_ok_and(|completion| completion.is_some()));
        assert_eq!(steps.take(), [Step::ToDriver(used_index), Step::Acquire, Step::ToDriver(used_element)]);
    }
}
