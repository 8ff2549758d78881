//! A virtio console (VIRTIO 1.2, 5.3) as a second terminal, driven by the crate `virtio-drivers`.
//!
//! That crate trusts its device: one that returns an empty buffer, or claims more bytes than there is room for, ends the image with
//! a panic. So the console is used only where it was asked for. What it never does is hold the image up: bytes are received
//! when they are there, and sent through the device's emergency register, which waits for nothing. A device without that register
//! is refused, because that crate waits for a transmit queue without a limit.

use core::fmt;
use core::ptr::NonNull;

use thiserror::Error;
use virtio_drivers::device::console::VirtIOConsole;
use virtio_drivers::transport::mmio::{MmioError, MmioTransport, VirtIOHeader};
use virtio_drivers::{BufferDirection, Hal, PAGE_SIZE, PhysAddr};
use virtio_gpio::memory::DmaMemory;

use super::console::write_text;
use super::dma;
use super::interrupts::{self, InterruptError};
use super::machine::VirtioMmio;
use super::screen::Screen;
use crate::sync::InterruptLock;

/// The device ID of a console.
pub const DEVICE_ID: u32 = 3;
/// The end of a row: nobody else adds the carriage return on a socket.
const END_OF_ROW: &str = "\r\n";

/// Memory for the crate's queues.
struct Memory;

type Device = VirtIOConsole<Memory, MmioTransport<'static>>;

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
        let mut device = Device::new(transport).map_err(VirtioConsoleError::Device)?;
        // Also brings whoever is there to the start of a row.
        for byte in END_OF_ROW.bytes() {
            device.emergency_write(byte).map_err(|_| VirtioConsoleError::NoEmergencyWrite)?;
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
            // An error is one of the queue's; what was received before can still be read.
            let _ = device.ack_interrupt();
        }
    });
}

fn receive(take: bool) -> Option<u8> {
    CONSOLE.with(|console| console.as_mut()?.recv(take).ok().flatten())
}

fn send(text: &str) {
    for byte in text.bytes() {
        CONSOLE.with(|console| {
            if let Some(device) = console {
                // The feature was negotiated, so that there is no error.
                let _ = device.emergency_write(byte);
            }
        });
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
