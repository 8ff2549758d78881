//! The machine, as the application sees it.

use alloc::vec::Vec;

use super::interrupts::{InterruptId, Trigger};
use crate::memory::regions::Region;

/// A virtio device's place. Its registers are mapped and answer, and nothing else is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct VirtioMmio {
    /// The address of its registers.
    pub base: usize,
    /// How many bytes they take.
    pub size: usize,
    /// Its interrupt.
    pub interrupt: InterruptId,
    /// How it signals it.
    pub trigger: Trigger,
    /// Its node's name.
    pub name: &'static str,
}

/// What the device tree says about the machine.
#[derive(Debug)]
pub struct Machine {
    pub(super) model: &'static str,
    pub(super) bootargs: &'static str,
    pub(super) memory: Vec<Region>,
    pub(super) virtio: Vec<VirtioMmio>,
    pub(super) refused: usize,
}

impl Machine {
    /// Its name.
    pub fn model(&self) -> &'static str {
        self.model
    }

    /// The boot arguments, `/chosen/bootargs`.
    pub fn bootargs(&self) -> &'static str {
        self.bootargs
    }

    /// Its memory.
    pub fn memory(&self) -> &[Region] {
        &self.memory
    }

    /// The places of virtio devices, upwards by address. There need not be a device at each.
    pub fn virtio_nodes(&self) -> &[VirtioMmio] {
        &self.virtio
    }

    /// How many virtio-mmio nodes could not be used. The console says why.
    pub fn refused_nodes(&self) -> usize {
        self.refused
    }
}
