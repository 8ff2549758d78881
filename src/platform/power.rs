//! The end of the machine.

use spin::Once;

use super::{ExitCode, console};
use crate::arch;
use crate::device_tree::machine::PowerControl;
use crate::memory::mappings;
use crate::memory::translation::Access;

static CONTROL: Once<PowerControl> = Once::new();

/// Remembers what the tree says about powering off.
pub(super) fn set_control(control: PowerControl) {
    if let PowerControl::Finisher(registers) = control
        && mappings::map(registers, Access::Device).is_err()
    {
        log::warn!("the test finisher at {registers} cannot be mapped; the exit status will be lost");
        return;
    }
    CONTROL.call_once(|| control);
}

/// Ends the image.
pub(super) fn end(code: ExitCode) -> ! {
    console::flush();
    off(code.status())
}

/// Powers off, with an exit status where the machine can carry one.
pub(super) fn off(status: u8) -> ! {
    arch::power_off(status, CONTROL.get())
}
