//! How the shared memory is divided: both queues, then the buffers of requests and events, then the names block.
//! Pure arithmetic.

use crate::identify::Protocol;
use crate::messages::draft::Message;
use crate::queue::layout::QueueLayout;

/// Offsets into the shared memory. Buffers that the device writes never share a cache line (the memory's granule)
/// with anything that the driver writes meanwhile.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DmaLayout {
    pub(crate) first: QueueLayout,
    pub(crate) first_base: usize,
    /// Absent where a ratified device cannot interrupt.
    pub(crate) second: Option<QueueLayout>,
    pub(crate) second_base: usize,
    stride: usize,
    /// Lines in use at once that there are event buffers for.
    pub(crate) lines: u16,
    requests: usize,
    events: usize,
    pub(crate) names: usize,
    /// Bytes of the response with the names: the status and the block. 0 if names are not asked for.
    pub(crate) names_length: u32,
    pub(crate) total: usize,
}

impl DmaLayout {
    /// `None` if the sizes do not fit the address space.
    pub(crate) fn new(
        protocol: Protocol,
        first: QueueLayout,
        second: Option<QueueLayout>,
        requests: u16,
        lines: u16,
        names_length: u32,
        granule: usize,
    ) -> Option<Self> {
        // A power of two, so that whatever granule is given, all fields are aligned.
        let stride = granule.max(Message::SIZE).checked_next_power_of_two()?;
        let second_base = first.total;
        let request_base = second_base.checked_add(second.map_or(0, |second| second.total))?.next_multiple_of(stride);
        let pairs = |count: u16| stride.checked_mul(2)?.checked_mul(usize::from(count));
        let events = request_base.checked_add(pairs(requests)?)?;
        let event_bytes = match protocol {
            Protocol::Ratified => pairs(lines)?,
            Protocol::Draft => stride.checked_mul(usize::from(first.size.get()))?,
        };
        let names = events.checked_add(event_bytes)?;
        let total = names.checked_add(usize::try_from(names_length).ok()?)?.checked_next_multiple_of(stride)?;
        Some(Self {
            first,
            first_base: 0,
            second,
            second_base,
            stride,
            lines,
            requests: request_base,
            events,
            names,
            names_length,
            total,
        })
    }

    /// Descriptors of the two queues.
    pub(crate) fn queue_sizes(&self) -> (usize, usize) {
        (self.first.size.get().into(), self.second.map_or(0, |second| second.size.get().into()))
    }

    /// Whether buffers lie apart by whole granules of that size.
    pub(crate) fn separates(&self, granule: usize) -> bool {
        self.stride.is_multiple_of(granule.max(1))
    }

    fn nth(&self, base: usize, index: usize) -> usize {
        base.wrapping_add(self.stride.wrapping_mul(index))
    }

    /// What the device reads of a request.
    pub(crate) fn request(&self, slot: u16) -> usize {
        self.nth(self.requests, usize::from(slot).wrapping_mul(2))
    }

    /// What the device writes of a request.
    pub(crate) fn response(&self, slot: u16) -> usize {
        self.nth(self.requests, usize::from(slot).wrapping_mul(2).wrapping_add(1))
    }

    /// What the device reads of an event buffer pair.
    pub(crate) fn event_line(&self, line_slot: u16) -> usize {
        self.nth(self.events, usize::from(line_slot).wrapping_mul(2))
    }

    /// What the device writes of an event buffer pair.
    pub(crate) fn event_status(&self, line_slot: u16) -> usize {
        self.nth(self.events, usize::from(line_slot).wrapping_mul(2).wrapping_add(1))
    }

    /// A receive buffer of the draft.
    pub(crate) fn receive(&self, buffer: u16) -> usize {
        self.nth(self.events, usize::from(buffer))
    }
}
