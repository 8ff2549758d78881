//! The platform-level interrupt controller (RISC-V PLIC specification 1.0.0), used at one context: the S-mode of the hart
//! that runs the image.

use core::ptr::NonNull;

use safe_mmio::fields::{ReadPureWrite, ReadWrite};
use safe_mmio::{UniqueMmioPointer, field};

use crate::device_tree::machine::InterruptController;
use crate::memory::mappings;
use crate::memory::regions::Region;
use crate::memory::translation::Access;
use crate::platform::interrupts::{self, ControllerError, InterruptId, Trigger};
use crate::sync::InterruptLock;

static CONTROLLER: InterruptLock<Option<Plic>> = InterruptLock::new(None);

const SOURCES: usize = 1024;
const PRIORITIES_OFFSET: u64 = 0;
const ENABLES_OFFSET: u64 = 0x2000;
const ENABLES_STRIDE: u64 = 0x80;
const CONTEXTS_OFFSET: u64 = 0x20_0000;
const CONTEXTS_STRIDE: u64 = 0x1000;
/// Any value but 0, which disables the source.
const PRIORITY: u32 = 1;

/// The registers of one context.
#[repr(C)]
struct ContextRegisters {
    threshold: ReadPureWrite<u32>,
    /// Reading claims, writing completes.
    claim: ReadWrite<u32>,
}

struct Plic {
    /// The number of sources; they are numbered from 1.
    sources: u32,
    priorities: UniqueMmioPointer<'static, [ReadPureWrite<u32>; SOURCES]>,
    enables: UniqueMmioPointer<'static, [ReadPureWrite<u32>; SOURCES / 32]>,
    context: UniqueMmioPointer<'static, ContextRegisters>,
    /// Claimed, and not completed.
    in_service: Option<InterruptId>,
}

/// Starts the controller. All interrupts are disabled.
pub(crate) fn start(description: &InterruptController) -> Result<(), ControllerError> {
    let InterruptController::Plic { registers, sources, context } = *description else {
        return Err(ControllerError::Unsupported);
    };
    let context = u64::from(context);
    let enables_offset = ENABLES_OFFSET.saturating_add(ENABLES_STRIDE.saturating_mul(context));
    let context_offset = CONTEXTS_OFFSET.saturating_add(CONTEXTS_STRIDE.saturating_mul(context));
    if context_offset >= registers.size() {
        return Err(ControllerError::NoProcessorPart);
    }
    let mut plic = Plic {
        sources,
        priorities: part(registers, PRIORITIES_OFFSET)?,
        enables: part(registers, enables_offset)?,
        context: part(registers, context_offset)?,
        in_service: None,
    };
    for mut enable in plic.enables.iter() {
        enable.write(0);
    }
    field!(plic.context, threshold).write(0);
    CONTROLLER.with(|controller| *controller = Some(plic));
    Ok(())
}

/// Maps a part of the registers and makes sure that it answers.
fn part<T>(registers: Region, offset: u64) -> Result<UniqueMmioPointer<'static, T>, ControllerError> {
    let region = Region::from_size(registers.start.saturating_add(offset), size_of::<T>() as u64)
        .filter(|&region| registers.contains(region))
        .ok_or(ControllerError::TooSmall)?;
    mappings::map(region, Access::Device)?;
    let address = usize::try_from(region.start).map_err(|_| ControllerError::NotThere)?;
    // SAFETY: mapped above, and aligned, because the tree's view gives whole words. The first register of each part can
    // be read without an effect.
    unsafe { super::probe_read_u32(address) }.ok_or(ControllerError::NotThere)?;
    let pointer = NonNull::new(core::ptr::with_exposed_provenance_mut(address)).ok_or(ControllerError::NotThere)?;
    // SAFETY: mapped as a device, and something answers there; the tree says that it is a PLIC. Only `start` asks for
    // parts, each once.
    Ok(unsafe { UniqueMmioPointer::new(pointer) })
}

/// Whether the controller has the interrupt.
pub(crate) fn supports(id: InterruptId) -> bool {
    CONTROLLER.with(|plic| plic.as_ref().is_some_and(|plic| (1..=plic.sources).contains(&id.number())))
}

/// Lets an interrupt in, at this hart. The controller's gateways know how their sources signal.
pub(crate) fn enable(id: InterruptId, _trigger: Trigger) -> Result<(), ControllerError> {
    CONTROLLER.with(|plic| {
        let plic = plic.as_mut().ok_or(ControllerError::NotThere)?;
        let index = usize::try_from(id.number()).map_err(|_| ControllerError::NoSuchInterrupt)?;
        plic.priorities.get(index).ok_or(ControllerError::NoSuchInterrupt)?.write(PRIORITY);
        plic.set_enabled(id, true)
    })
}

/// Keeps an interrupt out.
pub(crate) fn disable(id: InterruptId) {
    CONTROLLER.with(|plic| {
        let Some(plic) = plic else { return };
        if plic.in_service == Some(id) {
            // The PLIC ignores the completion of a source that is not enabled (chapter 9): the source would stay claimed, and
            // silent even when it is enabled again.
            plic.complete();
        }
        // An interrupt that cannot be disabled was never enabled.
        let _ = plic.set_enabled(id, false);
    });
}

impl Plic {
    /// Ends the service of the claimed interrupt, once.
    fn complete(&mut self) {
        if let Some(id) = self.in_service.take() {
            field!(self.context, claim).write(id.number());
        }
    }

    fn set_enabled(&mut self, id: InterruptId, enabled: bool) -> Result<(), ControllerError> {
        let index = usize::try_from(id.number()).map_err(|_| ControllerError::NoSuchInterrupt)?;
        let mut word = self.enables.get(index / 32).ok_or(ControllerError::NoSuchInterrupt)?;
        let bit = 1 << (index % 32);
        word.modify(|bits| if enabled { bits | bit } else { bits & !bit });
        Ok(())
    }
}

/// Serves one interrupt. Another one that is pending interrupts again, after main code had its turn.
pub(super) fn handle_interrupt(instruction: u64) {
    let claimed = CONTROLLER.with(|plic| {
        let plic = plic.as_mut()?;
        // 0 says that there is no interrupt (any more).
        let claimed = Some(field!(plic.context, claim).read()).filter(|&claimed| claimed != 0).map(InterruptId::new);
        plic.in_service = claimed;
        claimed
    });
    let Some(claimed) = claimed else { return };
    interrupts::dispatch(claimed, instruction);
    CONTROLLER.with(|plic| {
        if let Some(plic) = plic {
            plic.complete();
        }
    });
}
