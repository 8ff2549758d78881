//! The end of the machine.

use spin::Once;

use super::{ExitCode, console};
use crate::arch;
use crate::device_tree::machine::PowerControl;
use crate::memory::mappings;
use crate::memory::regions::Region;
use crate::memory::translation::Access;

/// The registers of a test finisher: one.
const FINISHER_SIZE: u64 = 4;

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

/// Falls back to what the board says, because the device tree could not be used. What it has said already stays.
pub(super) fn use_board_control() {
    if let Some(registers) = arch::layout::board_finisher().and_then(|base| Region::from_size(base, FINISHER_SIZE)) {
        set_control(PowerControl::Finisher(registers));
    }
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
