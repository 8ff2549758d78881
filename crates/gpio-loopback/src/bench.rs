//! A place to set a chip up in.

use alloc::vec;
use alloc::vec::Vec;

use virtio_gpio::fence::CoherentFence;
use virtio_gpio::memory::DmaMemory;
use virtio_gpio::{
    Chip, DescriptorSlot, EventSlot, Identified, LineSlot, Options, Parts, Protocol, RequestSlot, SetupError, Sizes,
    Storage,
};

use crate::machine::{Loopback, Machine};

/// How much room a chip gets, and its options.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// The driver's options.
    pub options: Options,
    /// The protocol, where it is not to be found out.
    pub protocol: Option<Protocol>,
    /// Lines in use at once.
    pub lines: u16,
    /// Requests under way at once.
    pub requests: usize,
    /// Events that wait for the application.
    pub events: usize,
    /// Bytes of names at most.
    pub names: usize,
}

impl Default for Plan {
    fn default() -> Self {
        Self { options: Options::default(), protocol: None, lines: 8, requests: 16, events: 16, names: 1024 }
    }
}

/// Storage for one chip, on the heap.
#[derive(Debug, Default)]
pub struct Bench {
    descriptors: Vec<DescriptorSlot>,
    requests: Vec<RequestSlot>,
    lines: Vec<LineSlot>,
    events: Vec<EventSlot>,
    names: Vec<u8>,
}

impl Bench {
    /// No storage yet: [`Bench::chip`] makes what it takes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the machine's device up.
    ///
    /// # Errors
    ///
    /// What the driver says.
    pub fn chip(&mut self, machine: &Machine, plan: &Plan) -> Result<Chip<'_, Loopback>, SetupError> {
        let clock = machine.clock();
        let device = Identified::new(machine.registers(), &clock, plan.protocol).map_err(|(error, _)| error)?;
        let granule = machine.granule();
        let sizes = Sizes::new(&device, &plan.options, plan.lines, plan.names, granule)?;
        let memory = machine.allocate(sizes.memory);
        debug_assert_eq!(memory.granule(), granule, "sizes are computed for this memory");
        self.descriptors = vec![DescriptorSlot::EMPTY; sizes.descriptors];
        self.requests = vec![RequestSlot::EMPTY; plan.requests];
        self.lines = vec![LineSlot::EMPTY; plan.lines.into()];
        self.events = vec![EventSlot::EMPTY; plan.events];
        self.names = vec![0; sizes.names];
        let storage = Storage {
            descriptors: &mut self.descriptors,
            requests: &mut self.requests,
            lines: &mut self.lines,
            events: &mut self.events,
            names: &mut self.names,
        };
        Chip::new(device, &sizes, Parts { memory, fence: CoherentFence, clock }, storage, plan.options)
    }
}
