//! Setting a chip up: sizes, storage, queues, names.

use core::cell::RefCell;
use core::time::Duration;

use critical_section::Mutex;

use super::core::Core;
use super::events::{EventQueue, EventSlot};
use super::layout::DmaLayout;
use super::lines::{LineSlot, LineTable};
use super::requests::{RequestSlot, RequestTable};
#[cfg(feature = "async")]
use super::waiters::Waiters;
use super::{Chip, Info, NamesError};
use crate::clock::{Clock, Instant};
use crate::dialect::Dialect;
use crate::error::{Error, Fault, SetupError};
use crate::identify::{Identified, Protocol, RESET_TIME};
use crate::memory::DmaMemory;
use crate::messages::draft::{self, DEVICE_NAME_SIZE};
use crate::messages::ratified;
use crate::platform::Platform;
use crate::queue::DescriptorSlot;
use crate::queue::layout::{QueueLayout, QueueSize};
use crate::shared::Shared;
use crate::transport::{DeviceStatus, Transport, add_status};

/// What the user of the driver chooses.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How long a request may take. Default: 1 s.
    pub timeout: Duration,
    /// The largest size of the queue for requests, and of the draft's queue from the device. Default: 64, which every
    /// known device accepts.
    pub request_queue_size: u16,
    /// The largest size of the ratified protocol's event queue; two for each line that can be watched at once.
    /// Default: 64.
    pub event_queue_size: u16,
    /// How many requests may be under way at once with a draft device. Default: 1, the only number that suits every
    /// revision of the draft. 0 counts as 1.
    pub draft_requests_in_flight: u16,
    /// The longest time for which a caller who waits for answers polls, while none comes, before it sleeps
    /// ([`Clock::wait`]); 0 for not at all. How long it does, and whether it does, follows from how long answers took lately either way: a caller
    /// polls where the device has a processor of its own, and sleeps where the two share one. Meanwhile the device is
    /// told that answers need no interrupt, unless another caller sleeps. Default: 50 µs, about what waking up costs.
    pub poll_limit: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(1),
            request_queue_size: 64,
            event_queue_size: 64,
            draft_requests_in_flight: 1,
            poll_limit: Duration::from_micros(50),
        }
    }
}

/// What the sizes depend on. Queues and buffers for one kind of device would not lie inside the memory for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct DeviceKind {
    protocol: Protocol,
    interrupts: bool,
    names_size: u32,
}

impl DeviceKind {
    fn of<T: Transport>(device: &Identified<T>) -> Self {
        Self { protocol: device.protocol, interrupts: device.has_interrupts(), names_size: device.names_size }
    }
}

/// How much storage a chip takes. Computed from the device and the options by [`Sizes::new`].
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    device: DeviceKind,
    /// Bytes of memory shared with the device.
    pub memory: usize,
    /// Descriptor slots of both queues together.
    pub descriptors: usize,
    /// Request slots that can be of use.
    pub requests: usize,
    /// Bytes for the names. 0 if there are none or they are more than wanted.
    pub names: usize,
    /// Bytes of names that are wanted at most.
    names_limit: usize,
    layout: DmaLayout,
}

impl Sizes {
    /// The sizes for `lines` lines in use at once, and at most `names_limit` bytes of names: a larger names block
    /// counts as none. `granule` is [`DmaMemory::granule`] of the memory that will be used.
    ///
    /// # Errors
    ///
    /// [`SetupError::NoQueue`] if the device lacks a queue; it is left with the status FAILED then.
    /// [`SetupError::TooSmall`] if the sizes do not fit the address space.
    pub fn new<T: Transport>(
        device: &Identified<T>,
        options: &Options,
        lines: u16,
        names_limit: usize,
        granule: usize,
    ) -> Result<Self, SetupError> {
        let queue = |queue: u16, wanted: u16| {
            let limit = device.transport().max_queue_size(queue);
            QueueSize::at_most(wanted, limit).map(QueueLayout::new).ok_or_else(|| {
                add_status(device.transport(), DeviceStatus::FAILED);
                SetupError::NoQueue { queue, limit }
            })
        };
        let (first, second) = match device.protocol() {
            Protocol::Ratified => {
                let second = device.has_interrupts().then(|| queue(ratified::EVENT_QUEUE, options.event_queue_size));
                (queue(ratified::REQUEST_QUEUE, options.request_queue_size)?, second.transpose()?)
            }
            Protocol::Draft => (
                queue(draft::RECEIVE_QUEUE, options.request_queue_size)?,
                Some(queue(draft::TRANSMIT_QUEUE, options.request_queue_size)?),
            ),
        };
        // Ratified: two descriptors a request. Draft: never more requests than half the receive buffers, so that
        // there is always one for an answer while events come in.
        let requests = first.size.get() / 2;
        let size = usize::try_from(device.names_size()).unwrap_or(usize::MAX);
        let names = if size <= names_limit { size } else { 0 };
        let names_length = match (device.protocol(), names) {
            (Protocol::Draft, _) | (_, 0) => 0,
            (Protocol::Ratified, _) => device.names_size().saturating_add(1),
        };
        let layout = DmaLayout::new(device.protocol(), first, second, requests, lines, names_length, granule)
            .ok_or(SetupError::TooSmall { what: "the address space", needed: usize::MAX, available: usize::MAX })?;
        let (first_size, second_size) = layout.queue_sizes();
        let descriptors = first_size.saturating_add(second_size);
        let device = DeviceKind::of(device);
        Ok(Self { device, memory: layout.total, descriptors, requests: requests.into(), names, names_limit, layout })
    }
}

/// The storage that a chip works in, none of it shared with the device. Its parts need no particular content.
#[derive(Debug)]
pub struct Storage<'a> {
    /// [`Sizes::descriptors`] of them.
    pub descriptors: &'a mut [DescriptorSlot],
    /// As many as requests may be under way at once; at least 1, and no more than [`Sizes::requests`] are used. Where
    /// there are more, one of them is kept for the driver's own requests, so that events do not wait for the
    /// application to look at its results.
    pub requests: &'a mut [RequestSlot],
    /// As many as lines may be in use at once; at least 1, and no more than [`Sizes::new`] was told are used.
    pub lines: &'a mut [LineSlot],
    /// As many as events may wait for the application; at least 1. Where there are no fewer than watched lines, each line that is
    /// armed has its place among them.
    pub events: &'a mut [EventSlot],
    /// [`Sizes::names`] bytes.
    pub names: &'a mut [u8],
}

/// What the platform supplies for one chip, besides the transport.
#[derive(Debug)]
pub struct Parts<P: Platform> {
    /// At least [`Sizes::memory`] bytes.
    pub memory: P::Memory,
    /// Ordering.
    pub fence: P::Fence,
    /// Time.
    pub clock: P::Clock,
}

impl Sizes {
    /// Whether these are the sizes for that device and that memory, and the storage has them.
    fn check<T: Transport>(
        &self,
        device: &Identified<T>,
        memory: &impl DmaMemory,
        storage: &Storage<'_>,
    ) -> Result<(), SetupError> {
        if self.device != DeviceKind::of(device) || !self.layout.separates(memory.granule()) {
            return Err(SetupError::OtherSizes);
        }
        let (first, second) = self.layout.queue_sizes();
        enough("the memory shared with the device", self.layout.total, memory.len())?;
        enough("descriptor slots", first.saturating_add(second), storage.descriptors.len())?;
        enough("request slots", 1, storage.requests.len())?;
        enough("line slots", 1, storage.lines.len())?;
        enough("event slots", 1, storage.events.len())?;
        enough("names", self.names, storage.names.len())
    }
}

fn enough(what: &'static str, needed: usize, available: usize) -> Result<(), SetupError> {
    if available < needed { Err(SetupError::TooSmall { what, needed, available }) } else { Ok(()) }
}

#[expect(clippy::needless_pass_by_value, reason = "storage is handed over for good")]
impl<'a, P: Platform> Chip<'a, P> {
    /// Sets a device up: features, queues, names. Waits for the names, up to the timeout.
    ///
    /// # Errors
    ///
    /// [`SetupError`]. The device is left with the status FAILED then.
    pub fn new(
        device: Identified<P::Transport>,
        sizes: &Sizes,
        parts: Parts<P>,
        storage: Storage<'a>,
        options: Options,
    ) -> Result<Self, SetupError> {
        let layout = sizes.layout;
        let (first_size, second_size) = layout.queue_sizes();
        let checked = sizes.check(&device, &parts.memory, &storage);
        let descriptors = storage.descriptors.split_at_mut_checked(first_size);
        let (Ok(()), Some((first, rest))) = (checked, descriptors) else {
            add_status(&device.transport, DeviceStatus::FAILED);
            return Err(checked.err().unwrap_or(SetupError::OtherSizes));
        };
        let second = rest.get_mut(..second_size).unwrap_or_default();
        let max_requests = first_size / 2;
        let request_count = storage.requests.len().min(max_requests);
        let requests = storage.requests.get_mut(..request_count).unwrap_or_default();
        let line_count = storage.lines.len().min(layout.lines.into());
        let lines = storage.lines.get_mut(..line_count).unwrap_or_default();
        let dialect = Dialect::new(device.protocol, layout, first, second, options.draft_requests_in_flight);
        let mut info = Info {
            protocol: device.protocol,
            lines: device.lines,
            interrupts: device.has_interrupts(),
            legacy: device.transport.is_legacy(),
            watch_limit: dialect.watch_limit(),
            timeout: options.timeout,
            device_name: [0; DEVICE_NAME_SIZE],
            names_error: None,
        };
        let mut core: Core<'a, P> = Core::new(
            device.transport,
            Shared::new(parts.memory),
            parts.fence,
            dialect,
            RequestTable::new(requests, options.timeout),
            LineTable::new(lines),
            EventQueue::new(storage.events),
            device.features,
            options,
        );
        // The names of the draft are part of the configuration, which may be read from the start.
        let mut length = 0;
        if info.protocol == Protocol::Draft {
            info.device_name = read_device_name(&core.transport);
            length = read_names(&core.transport, storage.names, sizes.names);
        }
        if let Err(error) = core.start_device() {
            // The reset gives the memory back.
            core.shut_down(&parts.clock);
            add_status(&core.transport, DeviceStatus::FAILED);
            return Err(error);
        }
        core.notify();
        if sizes.names == 0 && device.names_size != 0 {
            let limit = sizes.names_limit;
            info.names_error = Some(NamesError::TooLarge { size: device.names_size, limit });
        } else if layout.names_length != 0 {
            match fetch_names(&mut core, &parts.clock) {
                Ok(answered) => {
                    let block = storage.names.get_mut(..sizes.names.min(answered)).unwrap_or_default();
                    length = block.len();
                    core.shared.read_bytes(layout.names.saturating_add(1), block);
                }
                Err(error) => info.names_error = Some(NamesError::Request(error)),
            }
        }
        let names: &'a [u8] = storage.names;
        let names = names.get(..length).unwrap_or_default();
        Ok(Self {
            core: Mutex::new(RefCell::new(core)),
            clock: parts.clock,
            names,
            info,
            #[cfg(feature = "async")]
            waiters: Waiters::new(),
        })
    }
}

/// How long a device that does not answer at first is asked for its names.
const NAMES_PATIENCE: Duration = Duration::from_secs(5);

/// Gets the names block of a ratified device. Gives the bytes that the device wrote of it.
///
/// A device that does not answer in time is reset before it is asked again: until then it owns the buffer for the names.
fn fetch_names<P: Platform>(core: &mut Core<'_, P>, clock: &P::Clock) -> Result<usize, Error> {
    let give_up = clock.now().after(NAMES_PATIENCE);
    loop {
        let ticket = core.request_names(clock.now()).ok_or(Error::Busy)?;
        core.notify();
        let result = poll_until(core, clock, Instant::from_nanos(u64::MAX), |core| core.requests.take(ticket));
        match result {
            Some(Ok(_)) => return Ok(usize::try_from(core.dialect.names_written()).unwrap_or(usize::MAX)),
            Some(Err(error @ (Error::Timeout | Error::OutcomeUnknown))) if clock.now() < give_up => {
                // An unknown outcome says that the device is being reset, or has been.
                if error == Error::Timeout && core.health.is_running() {
                    core.begin_recovery(Fault::Unresponsive, clock.now());
                }
                poll_until(core, clock, give_up, |core| core.health.is_running().then_some(()))
                    .ok_or(Error::Timeout)?;
            }
            Some(Err(error)) => return Err(error),
            None => return Err(Error::Timeout),
        }
    }
}

/// Polls until `found` finds something, or the time is up.
fn poll_until<P: Platform, T>(
    core: &mut Core<'_, P>,
    clock: &P::Clock,
    time_is_up: Instant,
    mut found: impl FnMut(&mut Core<'_, P>) -> Option<T>,
) -> Option<T> {
    loop {
        let now = clock.now();
        core.poll(now);
        if let Some(found) = found(core) {
            return Some(found);
        }
        if now >= time_is_up {
            return None;
        }
        let wake = core.next_deadline().unwrap_or(now).min(time_is_up);
        clock.wait(wake, &|| !core.has_news());
    }
}

/// The draft's device name: bytes, so read one by one (VIRTIO 1.2, 4.2.2.2).
fn read_device_name(transport: &impl Transport) -> [u8; DEVICE_NAME_SIZE] {
    let mut name = [0; DEVICE_NAME_SIZE];
    for (offset, byte) in (draft::DEVICE_NAME_OFFSET..=u16::MAX).zip(name.iter_mut()) {
        *byte = transport.read_config_u8(offset);
        if matches!(*byte, 0 | 0xff) {
            break;
        }
    }
    name
}

/// The draft's names block, up to its size or the end of the configuration space, behind which all bytes are ones.
fn read_names(transport: &impl Transport, storage: &mut [u8], size: usize) -> usize {
    let mut length = 0;
    for (offset, byte) in (draft::LINE_NAMES_OFFSET..=u16::MAX).zip(storage.iter_mut().take(size)) {
        *byte = transport.read_config_u8(offset);
        if *byte == 0xff {
            break;
        }
        length = usize::from(offset.saturating_sub(draft::LINE_NAMES_OFFSET)).saturating_add(1);
    }
    length
}

impl<P: Platform> Core<'_, P> {
    /// Resets the device for good. Its memory is given back only if it confirms that in time.
    fn shut_down(&mut self, clock: &P::Clock) {
        self.transport.set_status(DeviceStatus::empty());
        let deadline = clock.now().after(RESET_TIME);
        while !self.transport.status().is_empty() {
            if clock.now() >= deadline {
                return;
            }
            clock.wait(deadline, &|| !self.transport.status().is_empty());
        }
        self.shared.conceal();
    }
}

impl<P: Platform> Drop for Chip<'_, P> {
    fn drop(&mut self) {
        self.core.get_mut().get_mut().shut_down(&self.clock);
    }
}
