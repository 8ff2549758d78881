//! The ordering seam.

use core::sync::atomic::{self, Ordering};

/// Orders the driver's accesses to memory against the device's, and memory against registers.
///
/// The defaults are right where the device is another processor of a cache-coherent machine that takes part in the
/// same ordering domain, which is what a hypervisor's device process is. A platform with a stricter or weaker bus
/// overrides them.
///
/// # Safety
///
/// The driver's memory safety does not depend on these, but what it reads does: an implementation must order at
/// least what each method says, for the compiler as well as for the processor.
#[expect(unsafe_code, reason = "declares an unsafe trait")]
pub unsafe trait Fence {
    /// Makes all earlier stores to shared memory visible to the device before any later store (VIRTIO 1.2, 2.7.13.3:
    /// the barrier before `idx`).
    fn release(&self) {
        atomic::fence(Ordering::Release);
    }

    /// Orders all earlier loads from shared memory before any later access (the barrier after reading the used
    /// ring's `idx`).
    fn acquire(&self) {
        atomic::fence(Ordering::Acquire);
    }

    /// Orders all earlier accesses to shared memory, stores included, before all later ones, loads included (2.7.13.3:
    /// the barrier between `idx` and the device's suppression field).
    fn full(&self) {
        atomic::fence(Ordering::SeqCst);
    }

    /// Makes all earlier stores to shared memory visible before the register write that notifies the device.
    fn before_notify(&self) {
        self.full();
    }

    /// Orders the reads of the interrupt registers before any later load from shared memory.
    fn after_interrupt(&self) {
        self.full();
    }
}

/// The default fences, for cache-coherent machines.
#[derive(Debug, Clone, Copy, Default)]
pub struct CoherentFence;

// SAFETY: the defaults are the fences of `core::sync::atomic`, which order both compiler and processor.
#[expect(unsafe_code, reason = "implements an unsafe trait")]
unsafe impl Fence for CoherentFence {}
