//! What a port brings: its seams.

use alloc::sync::Arc;
use core::marker::PhantomData;

use gpio_loopback::{Bus, Registers};
use virtio_gpio::Platform;
use virtio_gpio::clock::Clock;
use virtio_gpio::fence::Fence;
use virtio_gpio::memory::DmaMemory;
use virtio_gpio::transport::Transport;

use crate::watch::WatchedClock;

/// Bytes of memory that [`Kernel::memory`] has to have.
pub const MEMORY_SIZE: usize = 32 * 1024;

/// The kernel under test: the driver's four seams, as they will be in front of a real device.
///
/// The self-test sets up one chip after the other. What it was given for one is dropped, or never used again, when it asks
/// for the next.
pub trait Kernel {
    /// The device's registers.
    type Transport: Transport + Send;
    /// The memory shared with the device.
    type Memory: DmaMemory + Send;
    /// Ordering between driver and device.
    type Fence: Fence + Send + Sync;
    /// Time, and waiting.
    type Clock: Clock + Send + Sync;

    /// The transport to a device. The simulated device's registers are a transport themselves; a kernel that wraps its
    /// transports (to trace, to lock) wraps these.
    fn transport(&self, registers: Registers) -> Self::Transport;

    /// Memory for a device: at least [`MEMORY_SIZE`] bytes. It may be the same every time. `None` ends the self-test.
    fn memory(&self) -> Option<Self::Memory>;

    /// How the simulated device reaches that memory. `None`, the default: where the driver does. A kernel whose caches are
    /// kept in step by hand gives a mapping without caches here, if it has one ([`Direct::at`](gpio_loopback::Direct::at)),
    /// and one with a bounce buffer its window.
    fn bus(&self, memory: &Self::Memory) -> Option<Arc<dyn Bus>> {
        let _ = memory;
        None
    }

    /// What the memory shows of mistakes.
    fn shows(&self) -> Shows {
        Shows::default()
    }

    /// Ordering.
    fn fence(&self) -> Self::Fence;

    /// Time.
    fn clock(&self) -> Self::Clock;

    /// Takes an interrupt of the simulated device: calls the handler, at once by default, or in the way of the kernel's own
    /// interrupts, from a software interrupt ([`InterruptSlot`](crate::InterruptSlot)). Returns when it has run. The
    /// interrupt's line is part of the device's registers.
    fn interrupt(&self, registers: &Registers, handler: &mut (dyn FnMut() + Send)) {
        let _ = registers;
        handler();
    }
}

/// Which mistakes of the seams memory and bus make visible. What a machine does not show is skipped, not passed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shows {
    /// The bus sees memory without the processor's caches: a hand-over that is missing is seen.
    pub caches: bool,
    /// The bus sees stores as late as the fences allow, and in any order that they allow: a fence that is missing is seen.
    pub order: bool,
}

/// The driver's platform in a self-test: the kernel's, with an eye on its clock.
pub(crate) struct Seams<K>(PhantomData<K>);

impl<K: Kernel> Platform for Seams<K> {
    type Transport = K::Transport;
    type Memory = K::Memory;
    type Fence = K::Fence;
    type Clock = WatchedClock<K::Clock>;
}
