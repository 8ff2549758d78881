//! The virtual timer of the generic timer (Arm ARM, D12).

use aarch64_cpu::asm::barrier;
use aarch64_cpu::registers::{CNTFRQ_EL0, CNTV_CTL_EL0, CNTV_CVAL_EL0, CNTVCT_EL0, Readable, Writeable};

use crate::device_tree::machine::TimerDescription;
use crate::platform::interrupts::{self, InterruptError, Trigger};

/// Ticks since some start.
pub(crate) fn counter() -> u64 {
    // The counter may be read early otherwise.
    barrier::isb(barrier::SY);
    CNTVCT_EL0.get()
}

/// Ticks a second; 0 if the firmware has not said.
pub(crate) fn frequency(_timer: &TimerDescription) -> u64 {
    CNTFRQ_EL0.get()
}

/// Lets the timer's interrupt in.
pub(crate) fn start(timer: &TimerDescription) -> Result<(), InterruptError> {
    disarm();
    let id = timer.interrupt.ok_or(InterruptError::NotInTree)?;
    interrupts::register(id, Trigger::Level, |_| disarm(), 0)
}

/// Interrupts at `deadline`, in ticks, or at once if it is past.
pub(crate) fn arm(deadline: u64) {
    CNTV_CVAL_EL0.set(deadline);
    CNTV_CTL_EL0.write(CNTV_CTL_EL0::ENABLE::SET);
    barrier::isb(barrier::SY);
}

/// Takes the deadline back.
pub(crate) fn disarm() {
    CNTV_CTL_EL0.write(CNTV_CTL_EL0::ENABLE::CLEAR);
    barrier::isb(barrier::SY);
}
