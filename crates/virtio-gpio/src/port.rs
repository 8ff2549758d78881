//! Pins as the bits of a number.

use core::fmt;

use heapless::Vec;

use crate::batch::{Request, run_all};
use crate::error::Error;
use crate::messages::Level;
use crate::pins::{Input, Output};

/// Bits of a port.
const BITS: usize = 64;

/// Up to 64 pins that are read, or written, together: bit 0 is the first pin. All requests go out with one notification,
/// as those of [`run_all`], which has the bounds too; in between there are about 2 KiB on the stack.
///
/// ```
/// # fn show(a: virtio_gpio::Output<'_>, b: virtio_gpio::Output<'_>, c: virtio_gpio::Output<'_>)
/// # -> Result<(), Box<dyn std::error::Error>> {
/// let mut pins = [a, b, c];
/// let mut leds = virtio_gpio::Port::new(&mut pins)?;
/// leds.write(0b111, 0b101)?; // first and third high, second low
/// leds.write(0b010, 0b010)?; // the second one high; the others are left alone
/// assert_eq!(leds.read()?, 0b111);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Port<'p, L> {
    pins: &'p mut [L],
}

/// Pins of a port that could not be read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortError {
    /// Which.
    pub failed: u64,
    /// Why the lowest of them failed.
    pub error: Error,
    /// Of a read: the levels of the others.
    pub levels: u64,
}

impl fmt::Display for PortError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of the port's pins failed (mask {:#x}): {}", self.failed.count_ones(), self.failed, self.error)
    }
}

impl core::error::Error for PortError {}

impl<'p, L> Port<'p, L> {
    /// The pins as a port.
    ///
    /// # Errors
    ///
    /// [`Error::TooManyLines`] if they are more than 64.
    pub fn new(pins: &'p mut [L]) -> Result<Self, Error> {
        if pins.len() > BITS { Err(Error::TooManyLines { limit: 64 }) } else { Ok(Self { pins }) }
    }

    /// The pins.
    pub fn pins(&mut self) -> &mut [L] {
        self.pins
    }
}

impl Port<'_, Output<'_>> {
    /// Drives the pins of `mask` to the levels that `levels` has in the same places, and waits until the device has
    /// confirmed them. Bits without a pin count for nothing.
    ///
    /// # Errors
    ///
    /// [`PortError`] names the pins that failed; the others are as they should be.
    pub fn write(&mut self, mask: u64, levels: u64) -> Result<(), PortError> {
        let chosen = bits().zip(self.pins.iter_mut()).filter(|(bit, _)| mask & bit != 0);
        let mut batch = Batch::new();
        fill(&mut batch, chosen.map(|(bit, pin)| pin.request_set(Level::from(levels & bit != 0))));
        run(mask, &mut batch, |()| false).map(|_| ())
    }

    /// Asks the device for the levels of all pins, which something else may hold.
    ///
    /// # Errors
    ///
    /// [`PortError`] names the pins that failed, and has the levels of the others.
    pub fn read(&self) -> Result<u64, PortError> {
        let mut batch = Batch::new();
        fill(&mut batch, self.pins.iter().map(Output::request_level));
        run(u64::MAX, &mut batch, bool::from)
    }
}

impl Port<'_, Input<'_>> {
    /// Asks the device for the levels of all pins.
    ///
    /// # Errors
    ///
    /// [`PortError`] names the pins that failed, and has the levels of the others.
    pub fn read(&self) -> Result<u64, PortError> {
        let mut batch = Batch::new();
        fill(&mut batch, self.pins.iter().map(Input::request_level));
        run(u64::MAX, &mut batch, bool::from)
    }
}

/// The bits of a number from the lowest to the highest.
fn bits() -> impl Iterator<Item = u64> {
    core::iter::successors(Some(1u64), |bit| bit.checked_mul(2))
}

/// Requests for the pins of a port, or for some of them.
type Batch<'p, T> = Vec<Request<'p, T>, BITS>;

fn fill<'p, T>(batch: &mut Batch<'p, T>, requests: impl Iterator<Item = Request<'p, T>>) {
    for request in requests {
        // There is room for all that there are.
        let _ = batch.push(request);
    }
}

/// Runs the requests for the pins whose bits `mask` has. Gives the bits whose answer `is_set`.
fn run<T>(mask: u64, batch: &mut Batch<'_, T>, is_set: fn(T) -> bool) -> Result<u64, PortError> {
    let outcome = run_all(batch);
    let (mut levels, mut failed) = (0, 0);
    for (bit, request) in bits().filter(|bit| mask & bit != 0).zip(batch.iter()) {
        match request.result() {
            Some(Ok(answer)) => levels |= if is_set(answer) { bit } else { 0 },
            Some(Err(_)) | None => failed |= bit,
        }
    }
    outcome.map(|()| levels).map_err(|some| PortError { failed, error: some.error, levels })
}
