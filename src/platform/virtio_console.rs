//! A virtio console (VIRTIO 1.2, 5.3) as a second terminal, on the transport and the queue of the crate `virtio-drivers`.
//!
//! The device is not trusted: its console is used for as long as it keeps to the rules, and what it claims to have written is looked
//! at first. It never holds the image up: bytes are received when they are there, and sent through the device's
//! emergency register, which waits for nothing. A device without that register is refused.

use core::fmt;
use core::ptr::NonNull;
use core::time::Duration;

use thiserror::Error;
use virtio_drivers::queue::VirtQueue;
use virtio_drivers::transport::mmio::{MmioError, MmioTransport, VirtIOHeader};
use virtio_drivers::transport::{DeviceStatus, Transport};
use virtio_drivers::{BufferDirection, Hal, PAGE_SIZE, PhysAddr};
use virtio_gpio::clock::Clock;
use virtio_gpio::memory::DmaMemory;

use super::console::write_text;
use super::dma::{self, StaticDma};
use super::interrupts::{self, InterruptError};
use super::machine::VirtioMmio;
use super::screen::Screen;
use super::time::SystemClock;
use crate::sync::InterruptLock;

/// The device ID of a console.
pub const DEVICE_ID: u32 = 3;
/// The end of a row: nobody else adds the carriage return on a socket.
const END_OF_ROW: &str = "\r\n";

/// The queue with what the device sends, and its size: there is one buffer.
const RECEIVE_QUEUE: u16 = 0;
const QUEUE_SIZE: usize = 2;
const BUFFER_SIZE: usize = PAGE_SIZE;
/// The emergency register, in the configuration.
const EMERGENCY_OFFSET: usize = 8;
const FEATURE_EMERGENCY_WRITE: u64 = 1 << 2;
const FEATURE_VERSION_1: u64 = 1 << 32;
/// How long a reset may take.
const RESET_TIME: Duration = Duration::from_secs(1);

/// Memory for the queue.
struct Memory;

static CONSOLE: InterruptLock<Option<Device>> = InterruptLock::new(None);

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
    /// There is no memory for what it sends.
    #[error("There is no memory for it")]
    NoMemory,
    /// It has no emergency register.
    #[error("It can send only with a wait that may not end: it does not offer VIRTIO_CONSOLE_F_EMERG_WRITE")]
    NoEmergencyWrite,
}

/// The virtio console.
#[derive(Debug)]
pub struct VirtioConsole {
    screen: Screen,
}

impl VirtioConsole {
    /// Sets the console at a place up. Its interrupt, if it can be had, ends a wait for interrupts when something is typed;
    /// otherwise what is typed is found when the image is awake, and the second value says why.
    ///
    /// # Errors
    ///
    /// If it cannot be used, or there is one already.
    pub fn start(place: &VirtioMmio) -> Result<(Self, Option<InterruptError>), VirtioConsoleError> {
        if CONSOLE.with(|console| console.is_some()) {
            return Err(VirtioConsoleError::Second);
        }
        let not_there = VirtioConsoleError::Transport(MmioError::MmioRegionTooSmall);
        let header =
            NonNull::new(core::ptr::with_exposed_provenance_mut::<VirtIOHeader>(place.base)).ok_or(not_there)?;
        #[expect(unsafe_code, reason = "an address becomes a device")]
        // SAFETY: the platform has mapped the region as device memory for good, and checked that it is a multiple of four and
        // no other device's. Whoever looked at it before to see what it is does not use it any more.
        let transport = unsafe { MmioTransport::new(header, place.size) }.map_err(VirtioConsoleError::Transport)?;
        let mut device = Device::new(transport)?;
        // Also brings whoever is there to the start of a row.
        for byte in END_OF_ROW.bytes() {
            device.send(byte);
        }
        CONSOLE.with(|console| *console = Some(device));
        let registered = interrupts::register(place.interrupt, place.trigger, on_interrupt, 0);
        Ok((Self { screen: Screen::new() }, registered.err()))
    }

    /// Takes a received byte, if there is one.
    pub fn read(&mut self) -> Option<u8> {
        receive(true)
    }

    /// Whether [`read`](Self::read) would give a byte.
    pub fn has_input(&self) -> bool {
        receive(false).is_some()
    }

    /// Makes the last row show `text`.
    pub fn show_row(&mut self, text: &str) {
        self.screen.show(text, &mut send);
    }

    /// Leaves the last row as it is, and goes to the next one.
    pub fn enter_row(&mut self) {
        self.screen.enter(END_OF_ROW, &mut send);
    }

    /// Writes one line above the last row. Control characters are replaced.
    pub fn write_plain_line(&mut self, text: fmt::Arguments<'_>) {
        self.screen.hide(&mut send);
        write_text(&mut send, text);
        send(END_OF_ROW);
        self.screen.reveal(&mut send);
    }

    /// Rings the terminal's bell.
    pub fn ring_bell(&mut self) {
        send("\x07");
    }
}

fn on_interrupt(_: usize) {
    CONSOLE.with(|console| {
        if let Some(device) = console {
            // What has come is taken when somebody reads.
            device.transport.ack_interrupt();
        }
    });
}

fn receive(take: bool) -> Option<u8> {
    CONSOLE.with(|console| console.as_mut()?.receive(take))
}

fn send(text: &str) {
    for byte in text.bytes() {
        CONSOLE.with(|console| {
            if let Some(device) = console {
                device.send(byte);
            }
        });
    }
}

/// The device: its transport, and the one buffer for what it sends.
struct Device {
    transport: MmioTransport<'static>,
    queue: VirtQueue<Memory, QUEUE_SIZE>,
    buffer: StaticDma,
    received: Received,
}

/// Where the buffer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Received {
    /// The device has it, under that number.
    Nothing(u16),
    /// It holds bytes: the next one to be read, and where they end, which is further on and within the buffer.
    Bytes { next: usize, end: usize },
    /// Whatever the device sends is not looked at any more.
    Broken,
}

impl Device {
    fn new(mut transport: MmioTransport<'static>) -> Result<Self, VirtioConsoleError> {
        transport.set_status(DeviceStatus::empty());
        let deadline = SystemClock.now().after(RESET_TIME);
        while transport.get_status() != DeviceStatus::empty() {
            if SystemClock.now() >= deadline {
                return Err(VirtioConsoleError::Reset);
            }
        }
        let mut status = DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER;
        transport.set_status(status);
        let features = transport.read_device_features() & (FEATURE_EMERGENCY_WRITE | FEATURE_VERSION_1);
        if features & FEATURE_EMERGENCY_WRITE == 0 {
            return Err(VirtioConsoleError::NoEmergencyWrite);
        }
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
        let queue = VirtQueue::new(&mut transport, RECEIVE_QUEUE, false, false).map_err(VirtioConsoleError::Device)?;
        let buffer = dma::allocate(BUFFER_SIZE).ok_or(VirtioConsoleError::NoMemory)?;
        transport.set_status(status | DeviceStatus::DRIVER_OK);
        let mut device = Self { transport, queue, buffer, received: Received::Broken };
        device.give_buffer();
        Ok(device)
    }

    /// The buffer, as the queue wants it.
    #[expect(unsafe_code, reason = "the queue takes slices")]
    fn buffer(base: NonNull<u8>) -> &'static mut [u8] {
        // SAFETY: that much memory was allocated for ever. Nobody looks at the slice: the queue makes an address and a length of it.
        unsafe { core::slice::from_raw_parts_mut(base.as_ptr(), BUFFER_SIZE) }
    }

    /// Gives the buffer to the device.
    fn give_buffer(&mut self) {
        #[expect(unsafe_code, reason = "the device will write")]
        // SAFETY: the buffer is memory for devices for ever, and is read only once the device has given it back.
        let given = unsafe { self.queue.add(&[], &mut [Self::buffer(self.buffer.base())]) };
        // There is room for one buffer.
        self.received = given.map_or(Received::Broken, Received::Nothing);
        if self.queue.should_notify() {
            self.transport.notify(RECEIVE_QUEUE);
        }
    }

    /// Takes the buffer back, if the device has done something with it.
    fn take_buffer(&mut self) {
        let Received::Nothing(number) = self.received else { return };
        if !self.queue.can_pop() {
            return;
        }
        #[expect(unsafe_code, reason = "the device has written")]
        // SAFETY: it is the buffer that was given under that number.
        let written = unsafe { self.queue.pop_used(number, &[], &mut [Self::buffer(self.buffer.base())]) };
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

    fn receive(&mut self, take: bool) -> Option<u8> {
        self.take_buffer();
        let Received::Bytes { next, end } = self.received else { return None };
        let place = self.buffer.base().map_addr(|base| base.saturating_add(next));
        #[expect(unsafe_code, reason = "reads what the device has written")]
        // SAFETY: `next` is within the buffer. A device that writes again changes the byte, and nothing else.
        let byte = unsafe { place.read_volatile() };
        if take {
            let next = next.saturating_add(1);
            if next < end {
                self.received = Received::Bytes { next, end };
            } else {
                self.give_buffer();
            }
        }
        Some(byte)
    }

    fn send(&mut self, byte: u8) {
        // The feature was negotiated, so that the register is there.
        let _ = self.transport.write_config_space(EMERGENCY_OFFSET, u32::from(byte));
    }
}

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
        // Memory for devices is for ever: a console that could not be set up costs two pages or so.
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

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::{AtomicU32, Ordering};

    /// Registers in memory: VIRTIO 1.2, 4.2.2. What is written to one can be read there.
    struct Registers(&'static [AtomicU32; 128]);

    impl Registers {
        const DEVICE_AREA: usize = 0xa0;

        fn new() -> Self {
            let words: &'static [AtomicU32; 128] = Box::leak(Box::new([const { AtomicU32::new(0) }; 128]));
            // Magic number, version, ID, features, size of queues.
            for (offset, value) in [(0, 0x7472_6976), (4, 2), (8, DEVICE_ID), (0x10, u32::MAX), (0x34, 64)] {
                words[offset / 4].store(value, Ordering::Relaxed);
            }
            Self(words)
        }

        fn device(&self) -> Device {
            let header = NonNull::from_ref(self.0).cast::<VirtIOHeader>();
            #[expect(unsafe_code, reason = "registers for a test")]
            // SAFETY: as many words, for ever, and shared.
            let transport = unsafe { MmioTransport::new(header, size_of_val(self.0)) }.unwrap();
            Device::new(transport).unwrap_or_else(|error| panic!("{error}"))
        }

        /// The device returns `id` as its `count`th buffer, and claims to have written `length` bytes.
        fn give_back(&self, count: u16, id: u32, length: u32) {
            let half = |offset: usize| usize::try_from(self.0[offset / 4].load(Ordering::Relaxed)).unwrap();
            let used = half(Self::DEVICE_AREA) | half(Self::DEVICE_AREA + 4) << 32;
            let after_used = |distance: usize| used.checked_add(distance).unwrap();
            // The ring's second element is for every second buffer.
            let (id_at, length_at) = if count % 2 == 1 { (4, 8) } else { (12, 16) };
            #[expect(unsafe_code, reason = "plays the device")]
            #[expect(clippy::multiple_unsafe_ops_per_block, reason = "one element of the ring")]
            // SAFETY: the driver has told where the ring is, and looks at it from this thread alone.
            unsafe {
                core::ptr::with_exposed_provenance_mut::<u32>(after_used(id_at)).write_volatile(id);
                core::ptr::with_exposed_provenance_mut::<u32>(after_used(length_at)).write_volatile(length);
                core::ptr::with_exposed_provenance_mut::<u16>(after_used(2)).write_volatile(count);
            }
        }
    }

    #[test]
    fn bytes_are_read_once_each_buffer_after_buffer() {
        let registers = Registers::new();
        let mut device = registers.device();
        assert_eq!(device.receive(true), None);
        for count in 1..10 {
            let Received::Nothing(id) = device.received else { panic!("{:?}", device.received) };
            registers.give_back(count, id.into(), 3);
            assert_eq!(device.receive(false), Some(0));
            let seen = (0..10).map_while(|_| device.receive(true)).count();
            assert_eq!(seen, 3);
        }
    }

    #[test]
    fn a_full_buffer_is_read() {
        let registers = Registers::new();
        let mut device = registers.device();
        registers.give_back(1, 0, 4096);
        assert_eq!((0..5000).map_while(|_| device.receive(true)).count(), 4096);
    }

    #[test]
    fn a_buffer_that_cannot_be_is_the_end_of_reading() {
        for (id, length) in [(0, 0), (0, 4097), (0, u32::MAX), (1, 1), (7, 1), (0xffff, 1)] {
            let registers = Registers::new();
            let mut device = registers.device();
            registers.give_back(1, id, length);
            assert_eq!(device.receive(true), None, "{id} {length}");
            assert_eq!(device.received, Received::Broken, "{id} {length}");
            registers.give_back(2, 0, 1);
            assert_eq!(device.receive(true), None, "{id} {length}");
        }
    }
}
