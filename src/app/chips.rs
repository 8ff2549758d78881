//! The machine's virtio devices: which of them are GPIO devices, and a chip for each.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::hint::black_box;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;

use log::{error, info, warn};
use spin::Once;
use virtio_drivers::transport::DeviceType;
use virtio_gpio::clock::{Clock, Instant};
use virtio_gpio::transport::{MmioError, MmioTransport, Transport};
use virtio_gpio::{
    Chip, DescriptorSlot, EventSlot, Identified, LineId, LineSlot, Options, Parts, Platform, Protocol, RequestSlot,
    SetupError, Sizes, Storage, is_gpio_id,
};

use super::selection::{ChipFacts, LINES_IN_USE};
use crate::platform::dma::{self, StaticDma};
use crate::platform::time::SystemClock;
use crate::platform::{Machine, SystemFence, VirtioMmio};
use crate::platform::{interrupts, virtio_console};

/// Events that may wait for the main loop, for each chip.
const EVENT_SLOTS: usize = 256;
/// Requests that may be under way at once, for each chip.
const REQUEST_SLOTS: usize = 32;
/// The largest event queue that is asked for: there are devices that refuse more.
const EVENT_QUEUE_SIZE: u16 = 256;
/// Bytes of names that are kept for each line at most, and for a whole device.
const NAME_LIMIT: usize = 64;
const NAMES_LIMIT: usize = 4 << 20;
/// Memory that no chip may take: how much a chip needs is its device's choice, and everything else needs some too.
const RESERVE: usize = 512 << 10;
/// Names that are listed for each device.
const NAMES_SHOWN: usize = 16;

/// The driver's seams, as this image fills them.
#[derive(Debug)]
pub struct Image;

impl Platform for Image {
    type Transport = MmioTransport;
    type Memory = StaticDma;
    type Fence = SystemFence;
    type Clock = ChipClock;
}

/// The system's clock, which sleeps only once the chip's interrupt can end the sleep.
#[derive(Debug)]
pub struct ChipClock(&'static AtomicBool);

impl Clock for ChipClock {
    fn now(&self) -> Instant {
        SystemClock.now()
    }

    fn wait(&self, deadline: Instant, idle: &dyn Fn() -> bool) {
        if self.0.load(Ordering::Relaxed) {
            SystemClock.wait(deadline, idle);
        } else {
            core::hint::spin_loop();
        }
    }
}

/// A chip, which lives as long as the image.
pub type StaticChip = &'static Chip<'static, Image>;

/// All chips, for the interrupt handler.
static CHIPS: Once<Vec<StaticChip>> = Once::new();

/// What an application chooses about its chips.
#[derive(Debug, Clone, Copy)]
pub struct Wishes {
    /// Deadline of one request.
    pub timeout: Duration,
    /// The protocol, where it is not to be found out.
    pub protocol: Option<Protocol>,
}

/// What was found on the machine.
#[derive(Debug, Default)]
pub struct Found {
    /// The chips, `gpio0` first.
    pub chips: &'static [StaticChip],
    /// Devices that say that they are GPIO devices and cannot be used.
    pub refused: usize,
    /// The first virtio console, which nobody uses yet.
    pub console: Option<VirtioMmio>,
}

/// What was found in a slot.
enum Device {
    Chip(StaticChip, &'static AtomicBool),
    Other(u32),
    Nothing,
}

/// Looks at every virtio device of the machine and sets up the GPIO devices among them.
/// To be called once: the devices belong to the chips from then on.
pub fn find(machine: &Machine, wishes: Wishes) -> Found {
    let mut chips = Vec::new();
    let mut interrupts = Vec::new();
    let mut console = None;
    let mut refused = machine.refused_nodes();
    for node in machine.virtio_nodes() {
        match set_up(node, wishes) {
            Ok(Device::Chip(chip, ready)) => {
                describe(chips.len(), chip);
                chips.push(chip);
                interrupts.push((node, ready));
            }
            Ok(Device::Other(virtio_console::DEVICE_ID)) => console = console.or(Some(*node)),
            Ok(Device::Other(_) | Device::Nothing) => (),
            Err(message) => {
                error!("virtio-mmio {:x}: {message}", node.base);
                refused = refused.saturating_add(1);
            }
        }
    }
    let chips = CHIPS.call_once(|| chips);
    for (number, (node, ready)) in interrupts.into_iter().enumerate() {
        match interrupts::register(node.interrupt, node.trigger, on_interrupt, number) {
            Ok(()) => {
                ready.store(true, Ordering::Relaxed);
                if let Some(chip) = chips.get(number) {
                    chip.interrupt_enabled();
                }
            }
            // The chip is polled then: slower, and the processor does not rest, but everything works.
            Err(error) => warn!("gpio{number}: interrupt {} cannot be used: {error}", node.interrupt),
        }
    }
    Found { chips, refused, console }
}

fn on_interrupt(number: usize) {
    if let Some(chip) = CHIPS.get().and_then(|chips| chips.get(number)) {
        chip.handle_interrupt();
    }
}

/// Sets up the device of a slot, if it is a GPIO device.
fn set_up(node: &VirtioMmio, wishes: Wishes) -> Result<Device, String> {
    let Some(base) = NonNull::new(core::ptr::with_exposed_provenance_mut::<u8>(node.base)) else {
        return Ok(Device::Nothing);
    };
    #[expect(unsafe_code, reason = "the one place where an address becomes a device")]
    // SAFETY: the platform has mapped the node's region as device memory for good and checked that it belongs to no
    // other device; each node is looked at once, here, and what is no GPIO device is used by nobody else before this
    // function is left.
    let transport = match unsafe { MmioTransport::new(base, node.size) } {
        Ok(transport) => transport,
        Err(MmioError::Empty) => return Ok(Device::Nothing),
        Err(error) => return Err(alloc::format!("{error}")),
    };
    let id = transport.device_id();
    let version = if transport.is_legacy() { "legacy" } else { "modern" };
    if !is_gpio_id(id) {
        info!("virtio-mmio {:x}: {} (id {id}), {version}", node.base, device_name(id));
        return Ok(Device::Other(id));
    }
    let device = match Identified::new(transport, &SystemClock, wishes.protocol) {
        Ok(device) => device,
        Err((SetupError::NotGpio(id), _)) => {
            info!("virtio-mmio {:x}: {} (id {id}), {version}", node.base, device_name(id));
            return Ok(Device::Other(id));
        }
        Err((error, _)) => return Err(alloc::format!("GPIO (id {id}), {version}, refused: {error}")),
    };
    info!(
        "virtio-mmio {:x}: GPIO (id {id}, {}), {version}, irq {}, {} lines",
        node.base,
        device.protocol(),
        node.interrupt,
        device.lines()
    );
    let ready: &'static AtomicBool = Box::leak(Box::new(AtomicBool::new(false)));
    let chip = chip(device, wishes, ready).map_err(|error| alloc::format!("GPIO (id {id}) refused: {error}"))?;
    Ok(Device::Chip(Box::leak(Box::new(chip)), ready))
}

/// Finds memory for a chip and sets it up.
fn chip(
    device: Identified<MmioTransport>,
    wishes: Wishes,
    ready: &'static AtomicBool,
) -> Result<Chip<'static, Image>, SetupError> {
    let options = Options { timeout: wishes.timeout, event_queue_size: EVENT_QUEUE_SIZE, ..Options::default() };
    let lines = device.lines().min(LINES_IN_USE);
    let names_limit = usize::from(device.lines()).saturating_mul(NAME_LIMIT).min(NAMES_LIMIT);
    // Names are not worth a device: where there is no room for them, the lines are used by number.
    let with_names = Sizes::new(&device, &options, lines, names_limit, 1)?;
    let (sizes, (memory, storage)) = match room(&with_names, lines) {
        Err(_) if with_names.names > 0 => {
            let without_names = Sizes::new(&device, &options, lines, 0, 1)?;
            let room = room(&without_names, lines)?;
            (without_names, room)
        }
        room => (with_names, room?),
    };
    Chip::new(device, &sizes, Parts { memory, fence: SystemFence, clock: ChipClock(ready) }, storage, options)
}

/// Takes memory for a chip, for ever, if that leaves enough.
fn room(sizes: &Sizes, lines: u16) -> Result<(StaticDma, Storage<'static>), SetupError> {
    // Taken, and not touched, as long as the chip takes the rest.
    let mut reserve = Vec::<u8>::new();
    reserve.try_reserve_exact(RESERVE).map_err(|_| no_room("the image itself", RESERVE))?;
    // The compiler may leave an allocation out that nobody looks at.
    black_box(&mut reserve);
    let descriptors = copies("descriptors", DescriptorSlot::EMPTY, sizes.descriptors)?;
    let requests = copies("requests", RequestSlot::EMPTY, sizes.requests.min(REQUEST_SLOTS))?;
    let lines = copies("lines", LineSlot::EMPTY, lines.into())?;
    let events = copies("events", EventSlot::EMPTY, EVENT_SLOTS)?;
    let names = copies("names", 0, sizes.names)?;
    // The last, for it is never given back.
    let memory = dma::allocate(sizes.memory).ok_or(no_room("the memory shared with the device", sizes.memory))?;
    drop(reserve);
    let storage = Storage {
        descriptors: descriptors.leak(),
        requests: requests.leak(),
        lines: lines.leak(),
        events: events.leak(),
        names: names.leak(),
    };
    Ok((memory, storage))
}

/// So many copies of a value, if there is room for them.
fn copies<T: Clone>(what: &'static str, value: T, len: usize) -> Result<Vec<T>, SetupError> {
    let mut copies = Vec::new();
    copies.try_reserve_exact(len).map_err(|_| no_room(what, len))?;
    copies.resize(len, value);
    Ok(copies)
}

fn no_room(what: &'static str, needed: usize) -> SetupError {
    SetupError::TooSmall { what, needed, available: 0 }
}

/// The name of a virtio device ID, as the crate that drives the others knows it.
fn device_name(id: u32) -> String {
    let known = u8::try_from(id).ok().and_then(|id| DeviceType::try_from(id).ok());
    known.map_or_else(|| String::from("another device"), |kind| alloc::format!("{kind:?}"))
}

/// `gpio0: "NAME" 8 lines: led0 led1 button0 - -`
fn describe(number: usize, chip: StaticChip) {
    use core::fmt::Write;
    let mut names = String::new();
    for name in chip.names().chain(core::iter::repeat(None)).take(usize::from(chip.lines()).min(NAMES_SHOWN)) {
        // Writing to a string does not fail.
        let _ = match name {
            Some(name) => write!(names, " {name}"),
            None => write!(names, " -"),
        };
    }
    let more = usize::from(chip.lines()).saturating_sub(NAMES_SHOWN);
    if more > 0 {
        let _ = write!(names, " ... ({more} more)");
    }
    let label = chip.device_name().map(|name| alloc::format!("{name}")).unwrap_or_default();
    info!("gpio{number}: \"{label}\" {} lines:{names}", chip.lines());
    if let Some(error) = chip.names_error() {
        warn!("gpio{number}: {error}; its lines can be used by number");
    }
}

impl ChipFacts for StaticChip {
    fn lines(&self) -> u16 {
        Chip::lines(self)
    }

    fn find(&self, name: &str) -> Option<LineId> {
        Chip::find(self, name)
    }

    fn starting_with(&self, prefix: &str) -> Vec<LineId> {
        (0..)
            .zip(self.names())
            .filter(|(_, name)| name.is_some_and(|name| name.as_bytes().starts_with(prefix.as_bytes())))
            .map(|(line, _)| LineId(line))
            .collect()
    }

    fn watch_limit(&self) -> u16 {
        if self.has_interrupts() { Chip::watch_limit(self).unwrap_or(u16::MAX) } else { 0 }
    }
}
