//! Lines: taken into use, driven, sensed, watched, given back.

use virtio_gpio::{InterruptType, Level, LineId};

use crate::chip::VirtioGpioChip;
use crate::pins::VirtioGpioLine;
use crate::pointers::{checked, write};
use crate::status::{VirtioGpioStatus, of};

/// What a line is watched for.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VirtioGpioEdge {
    /// Nothing: the watch ends.
    None = 0,
    /// A change from low to high.
    Rising,
    /// A change from high to low.
    Falling,
    /// A change in either direction.
    Both,
    /// The line being high. It fires once, and again after `virtio_gpio_unmask`.
    High,
    /// The line being low. It fires once, and again after `virtio_gpio_unmask`.
    Low,
}

impl VirtioGpioEdge {
    const ALL: [(Self, InterruptType); 6] = [
        (Self::None, InterruptType::None),
        (Self::Rising, InterruptType::RisingEdge),
        (Self::Falling, InterruptType::FallingEdge),
        (Self::Both, InterruptType::BothEdges),
        (Self::High, InterruptType::HighLevel),
        (Self::Low, InterruptType::LowLevel),
    ];

    /// A number from C need not be one of these.
    fn from_number(number: u32) -> Result<InterruptType, VirtioGpioStatus> {
        let found = Self::ALL.iter().find(|(edge, _)| *edge as u32 == number);
        found.map(|(_, kind)| *kind).ok_or(VirtioGpioStatus::BadArgument)
    }
}

/// Takes the line with that number into use as an output that has `level` from the start. Waits: at most three of the
/// options' `timeout` for each of the two messages; from an interrupt handler better not.
///
/// # Safety
///
/// The chip is open; `handle` has room for one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn virtio_gpio_output(
    chip: *const VirtioGpioChip,
    line: u16,
    level: bool,
    handle: *mut VirtioGpioLine,
) -> VirtioGpioStatus {
    let take = || {
        checked(handle)?;
        // SAFETY: the caller's, as the header says.
        let chip = unsafe { VirtioGpioChip::at(chip) }?;
        let make = || {
            let line = chip.driver().line(LineId(line))?;
            line.into_output(Level::from(level)).map_err(|rejected| rejected.error)
        };
        let taken = chip.pins().add_output(make)?;
        // SAFETY: as above.
        unsafe { write(handle, taken) }
    };
    of(take())
}

/// Takes the line with that number into use as an input. Waits as `virtio_gpio_output` does.
///
/// # Safety
///
/// The chip is open; `handle` has room for one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn virtio_gpio_input(
    chip: *const VirtioGpioChip,
    line: u16,
    handle: *mut VirtioGpioLine,
) -> VirtioGpioStatus {
    let take = || {
        checked(handle)?;
        // SAFETY: the caller's, as the header says.
        let chip = unsafe { VirtioGpioChip::at(chip) }?;
        let make = || chip.driver().line(LineId(line))?.into_input().map_err(|rejected| rejected.error);
        let taken = chip.pins().add_input(make)?;
        // SAFETY: as above.
        unsafe { write(handle, taken) }
    };
    of(take())
}

/// Makes an output of the line; of one that is an output already: sets it. A watch ends. Where it fails the line stays what
/// it was. Waits: at most four times `timeout`.
///
/// # Safety
///
/// The chip is open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn virtio_gpio_to_output(
    chip: *const VirtioGpioChip,
    handle: VirtioGpioLine,
    level: bool,
) -> VirtioGpioStatus {
    // SAFETY: the caller's, as the header says.
    of(unsafe { VirtioGpioChip::at(chip) }.and_then(|chip| chip.pins().turn_out(handle, Level::from(level))))
}

/// Makes an input of the line; one that is an input already stays as it is. Where it fails the line stays what it was. Waits:
/// at most twice `timeout`.
///
/// # Safety
///
/// The chip is open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn virtio_gpio_to_input(chip: *const VirtioGpioChip, handle: VirtioGpioLine) -> VirtioGpioStatus {
    // SAFETY: the caller's, as the header says.
    of(unsafe { VirtioGpioChip::at(chip) }.and_then(|chip| chip.pins().turn_in(handle)))
}

/// Drives an output, and waits until the device has confirmed it: at most twice `timeout`.
///
/// # Safety
///
/// The chip is open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn virtio_gpio_set(
    chip: *const VirtioGpioChip,
    handle: VirtioGpioLine,
    level: bool,
) -> VirtioGpioStatus {
    // SAFETY: the caller's, as the header says.
    let chip = unsafe { VirtioGpioChip::at(chip) };
    of(chip.and_then(|chip| chip.pins().output(handle, |pin| pin.set(Level::from(level)))))
}

/// Asks the device for the level of an input or an output, and waits for the answer: at most twice `timeout`.
///
/// # Safety
///
/// The chip is open; `level` has room for one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn virtio_gpio_get(
    chip: *const VirtioGpioChip,
    handle: VirtioGpioLine,
    level: *mut bool,
) -> VirtioGpioStatus {
    let ask = || {
        checked(level)?;
        // SAFETY: the caller's, as the header says.
        let chip = unsafe { VirtioGpioChip::at(chip) }?;
        let found = chip.pins().either(handle, |pin| pin.level(), |pin| pin.level().map_err(Into::into))?;
        // SAFETY: as above.
        unsafe { write(level, found.into()) }
    };
    of(ask())
}

/// Has the events of an input delivered by `virtio_gpio_next_event`, or no longer; `edge` is a `virtio_gpio_edge`. Waits: at
/// most four times `timeout`.
///
/// # Safety
///
/// The chip is open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn virtio_gpio_watch(
    chip: *const VirtioGpioChip,
    handle: VirtioGpioLine,
    edge: u32,
) -> VirtioGpioStatus {
    let watch = || {
        let kind = VirtioGpioEdge::from_number(edge)?;
        // SAFETY: the caller's, as the header says.
        unsafe { VirtioGpioChip::at(chip) }?.pins().input(handle, |pin| pin.watch(kind))
    };
    of(watch())
}

/// Lets an input that is watched for a level fire again. Any context; does not wait.
///
/// # Safety
///
/// The chip is open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn virtio_gpio_unmask(chip: *const VirtioGpioChip, handle: VirtioGpioLine) -> VirtioGpioStatus {
    let unmask = |chip: &VirtioGpioChip| {
        chip.pins().input(handle, |pin| {
            pin.unmask();
            Ok(())
        })
    };
    // SAFETY: the caller's, as the header says.
    of(unsafe { VirtioGpioChip::at(chip) }.and_then(unmask))
}

/// Ends the use of the line, and waits until the device has confirmed it: at most three times `timeout`. The line is
/// released in any case, and the handle is none from then on.
///
/// # Safety
///
/// The chip is open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn virtio_gpio_release(chip: *const VirtioGpioChip, handle: VirtioGpioLine) -> VirtioGpioStatus {
    // SAFETY: the caller's, as the header says.
    of(unsafe { VirtioGpioChip::at(chip) }.and_then(|chip| chip.pins().release(handle)))
}
