//! What the image gives the application: the machine, time, interrupts, memory that devices can reach, the console.

pub mod console;
pub mod dma;
pub(crate) mod emergency;
pub mod interrupts;
mod logger;
mod machine;
mod power;
mod screen;
pub(crate) mod start;
pub mod time;
pub(crate) mod uart;
mod virtio;
pub mod virtio_console;

pub use self::machine::{Machine, VirtioMmio};
use crate::arch;
pub use crate::memory::regions::Region;

/// How the image ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitCode {
    /// All went well, or everything recovered.
    Success = 0,
    /// Something was lost for good, or could not be started.
    Failure = 1,
}

impl ExitCode {
    /// The status after a panic or an unexpected exception.
    const CRASHED: u8 = 101;

    const fn status(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failure => 1,
        }
    }
}

/// The ordering that the machine needs between memory and device registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SystemFence;

#[expect(unsafe_code, reason = "implements an unsafe trait")]
// SAFETY: the methods not given are the fences of `core::sync::atomic`, which order memory among processors, of which the
// device's process is one; those given also order memory and registers.
unsafe impl virtio_gpio::fence::Fence for SystemFence {
    fn before_notify(&self) {
        arch::before_notify();
    }

    fn after_interrupt(&self) {
        arch::after_interrupt();
    }
}
