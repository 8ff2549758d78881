//! The four seams, gathered: what a kernel supplies to the driver.

use crate::clock::Clock;
use crate::fence::Fence;
use crate::memory::DmaMemory;
use crate::transport::Transport;

/// The types that a kernel supplies. The trait only names them together; it has no functions of its own.
pub trait Platform {
    /// The device's registers.
    type Transport: Transport + Send;
    /// The memory shared with the device.
    type Memory: DmaMemory + Send;
    /// Ordering between driver and device.
    type Fence: Fence + Send + Sync;
    /// Time, and waiting.
    type Clock: Clock + Send + Sync;
}
