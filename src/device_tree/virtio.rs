//! The virtio-mmio nodes, and what can be wrong with them.

use thiserror::Error;

use super::machine::InterruptController;
use super::view::{Node, RegError, Tree};
use crate::memory::regions::Region;
use crate::platform::interrupts::{InterruptId, Trigger};

/// The registers without the device's configuration: the least that there can be.
const MIN_SIZE: u64 = 0x100;
/// What more than this claims is no virtio device.
const MAX_SIZE: u64 = 1 << 20;
/// Nothing is mapped below.
const FIRST_ADDRESS: u64 = 4096;

/// A virtio-mmio node that makes sense by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct VirtioNode<'a> {
    pub(crate) name: &'a str,
    pub(crate) registers: Region,
    pub(crate) interrupt: InterruptId,
    pub(crate) trigger: Trigger,
}

/// Why a virtio-mmio node cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub(crate) enum Refusal<'a> {
    /// Its `reg`.
    #[error("{0}")]
    Reg(#[from] RegError),
    /// Address 0, or close to it.
    #[error("its address is {0:#x}, where nothing can be")]
    Null(u64),
    /// A size that cannot be.
    #[error("its size is {0:#x}; {MIN_SIZE:#x} to {MAX_SIZE:#x} can be")]
    Size(u64),
    /// Among what is not its own.
    #[error("its registers {registers} overlap {owner} at {region}")]
    Overlap { registers: Region, owner: &'a str, region: Region },
    /// Its interrupt.
    #[error("{0}")]
    Interrupt(#[from] SpecifierError),
}

/// Why an interrupt specifier cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub(crate) enum SpecifierError {
    /// None.
    #[error("it has no interrupt")]
    Missing,
    /// Another controller's.
    #[error("its interrupt goes to another controller (phandle {0:#x})")]
    OtherController(u32),
    /// Not one of those that devices share.
    #[error("its interrupt is of kind {0}; only shared peripheral interrupts (0) can be a device's")]
    Kind(u32),
    /// Too large.
    #[error("its interrupt number {0} is beyond the interrupt controller's {1}")]
    Number(u32, u32),
    /// A polarity that the controller does not know.
    #[error("its interrupt's flags are {0:#x}; a rising edge (1) or a high level (4) can be")]
    Flags(u32),
}

/// Something at an address that no device may share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Occupied<'a> {
    pub(crate) owner: &'a str,
    pub(crate) region: Region,
}

/// Calls `found` with each enabled virtio-mmio node, its name, and what can be made of it.
pub(crate) fn nodes<'a>(
    tree: &Tree<'a>,
    controller: &InterruptController,
    controller_phandle: u32,
    found: &mut dyn FnMut(&'a str, Result<VirtioNode<'a>, Refusal<'a>>),
) {
    tree.visit(&mut |node| {
        if node.is_compatible("virtio,mmio") {
            found(node.name(), check(&node, controller, controller_phandle));
        }
    });
}

fn check<'a>(
    node: &Node<'_, 'a>,
    controller: &InterruptController,
    controller_phandle: u32,
) -> Result<VirtioNode<'a>, Refusal<'a>> {
    let registers = node.registers(0)?;
    if registers.start < FIRST_ADDRESS {
        return Err(Refusal::Null(registers.start));
    }
    if !(MIN_SIZE..=MAX_SIZE).contains(&registers.size()) {
        return Err(Refusal::Size(registers.size()));
    }
    let (interrupt, trigger) = device_interrupt(node, controller, controller_phandle)?;
    Ok(VirtioNode { name: node.name(), registers, interrupt, trigger })
}

/// Makes sure that `registers` are nobody else's.
pub(crate) fn check_overlap<'a>(
    registers: Region,
    occupied: impl IntoIterator<Item = Occupied<'a>>,
) -> Result<(), Refusal<'a>> {
    match occupied.into_iter().find(|other| other.region.overlaps(registers)) {
        Some(Occupied { owner, region }) => Err(Refusal::Overlap { registers, owner, region }),
        None => Ok(()),
    }
}

/// The interrupt of a device.
pub(crate) fn device_interrupt(
    node: &Node<'_, '_>,
    controller: &InterruptController,
    controller_phandle: u32,
) -> Result<(InterruptId, Trigger), SpecifierError> {
    let mut specifier = node.interrupts().ok_or(SpecifierError::Missing)?;
    if specifier.parent != controller_phandle {
        return Err(SpecifierError::OtherController(specifier.parent));
    }
    let mut cell = || specifier.cells.next().ok_or(SpecifierError::Missing);
    match controller {
        InterruptController::GicV2 { .. } | InterruptController::GicV3 { .. } => {
            gic_interrupt(cell()?, cell()?, cell()?)
        }
        InterruptController::Plic { sources, .. } => plic_interrupt(cell()?, *sources),
    }
}

/// Linux, Documentation/devicetree/bindings/interrupt-controller/arm,gic.yaml.
fn gic_interrupt(kind: u32, number: u32, flags: u32) -> Result<(InterruptId, Trigger), SpecifierError> {
    const SHARED: u32 = 0;
    const SHARED_START: u32 = 32;
    const SHARED_COUNT: u32 = 988;
    const TRIGGER_FLAGS: u32 = 0xf;
    const RISING_EDGE: u32 = 1;
    const HIGH_LEVEL: u32 = 4;

    if kind != SHARED {
        return Err(SpecifierError::Kind(kind));
    }
    if number >= SHARED_COUNT {
        return Err(SpecifierError::Number(number, SHARED_COUNT.saturating_sub(1)));
    }
    let trigger = match flags & TRIGGER_FLAGS {
        RISING_EDGE => Trigger::Edge,
        HIGH_LEVEL => Trigger::Level,
        _ => return Err(SpecifierError::Flags(flags)),
    };
    Ok((InterruptId::new(number.saturating_add(SHARED_START)), trigger))
}

/// Linux, Documentation/devicetree/bindings/interrupt-controller/sifive,plic-1.0.0.yaml.
fn plic_interrupt(number: u32, sources: u32) -> Result<(InterruptId, Trigger), SpecifierError> {
    if (1..=sources).contains(&number) {
        Ok((InterruptId::new(number), Trigger::Level))
    } else {
        Err(SpecifierError::Number(number, sources))
    }
}
