//! The time counter and the SBI's timer.

use crate::device_tree::machine::TimerDescription;
use crate::platform::interrupts::InterruptError;

/// Ticks since some start.
pub(crate) fn counter() -> u64 {
    riscv::register::time::read64()
}

/// Ticks a second; 0 if the tree has not said.
pub(crate) fn frequency(timer: &TimerDescription) -> u64 {
    u64::from(timer.timebase_frequency.unwrap_or(0))
}

/// Lets the timer's interrupt in.
#[expect(
    clippy::unnecessary_wraps,
    reason = "on other architectures it is an interrupt like others, and may be missing"
)]
pub(crate) fn start(_timer: &TimerDescription) -> Result<(), InterruptError> {
    // The interrupt is the processor's own, and enabled since the start.
    disarm();
    Ok(())
}

/// Interrupts at `deadline`, in ticks, or at once if it is past.
pub(crate) fn arm(deadline: u64) {
    // Every SBI implementation has this call, and it has no error (SBI, 6.1).
    sbi_rt::set_timer(deadline);
}

/// Takes the deadline back.
pub(crate) fn disarm() {
    arm(u64::MAX);
}
