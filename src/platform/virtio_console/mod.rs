//! A virtio console (VIRTIO 1.2, 5.3) as a second terminal.
//!
//! It does not hold the image up: bytes are received when they are there, and sent when the device has sent the ones before. Only
//! the end waits for the last ones, and not long.

mod device;

use core::fmt;
use core::ptr::NonNull;
use core::time::Duration;

use virtio_drivers::transport::mmio::{MmioError, MmioTransport, VirtIOHeader};
use virtio_gpio::clock::Clock;

use super::console::write_text;
use super::interrupts::{self, InterruptError};
use super::machine::VirtioMmio;
use super::screen::Screen;
use super::time::SystemClock;
use crate::sync::InterruptLock;
use device::Device;
pub use device::VirtioConsoleError;

/// The device ID of a console.
pub const DEVICE_ID: u32 = 3;
/// The end of a row: nobody else adds the carriage return on a socket.
const END_OF_ROW: &str = "\r\n";
/// How long the device has for the last bytes.
const END_TIME: Duration = Duration::from_secs(1);

static CONSOLE: InterruptLock<Option<Device<MmioTransport<'static>>>> = InterruptLock::new(None);

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
        let device = Device::new(transport)?;
        CONSOLE.with(|console| *console = Some(device));
        let registered = interrupts::register(place.interrupt, place.trigger, on_interrupt, 0);
        let mut console = Self { screen: Screen::new() };
        // Also brings whoever is there to the start of a row.
        console.enter_row();
        Ok((console, registered.err()))
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
        self.write(|screen, write| screen.show(text, write));
    }

    /// Leaves the last row as it is, and goes to the next one.
    pub fn enter_row(&mut self) {
        self.write(|screen, write| screen.enter(END_OF_ROW, write));
    }

    /// Writes one line above the last row. Control characters are replaced.
    pub fn write_plain_line(&mut self, text: fmt::Arguments<'_>) {
        self.write(|screen, write| {
            screen.hide(write);
            write_text(write, text);
            write(END_OF_ROW);
            screen.reveal(write);
        });
    }

    /// Rings the terminal's bell.
    pub fn ring_bell(&mut self) {
        self.write(|_, write| write("\x07"));
    }

    /// Whether there is room for some lines more. What there is no room for is dropped.
    pub fn has_room(&self) -> bool {
        with_device(|device| device.has_room())
    }

    /// Waits until everything is sent, but not long.
    pub fn flush(&mut self) {
        let deadline = SystemClock.now().after(END_TIME);
        while !with_device(Device::transmit) && SystemClock.now() < deadline {
            core::hint::spin_loop();
        }
    }

    /// Sends all that is written as one text: QEMU drops what the reader's socket has no room for, and a byte takes as much
    /// room there as a line.
    fn write(&mut self, write_all: impl FnOnce(&mut Screen, &mut dyn FnMut(&str))) {
        write_all(&mut self.screen, &mut |text| with_device(|device| device.write(text.as_bytes())));
        with_device(Device::transmit);
    }
}

fn on_interrupt(_: usize) {
    with_device(|device| {
        device.acknowledge_interrupt();
        // What has come is taken when somebody reads.
        device.transmit();
    });
}

fn receive(take: bool) -> Option<u8> {
    with_device(|device| {
        // Perhaps there is no interrupt.
        device.transmit();
        device.receive(take)
    })
}

fn with_device<R: Default>(use_it: impl FnOnce(&mut Device<MmioTransport<'static>>) -> R) -> R {
    CONSOLE.with(|console| console.as_mut().map(use_it).unwrap_or_default())
}
