//! The interrupt controller: a GICv2 or a GICv3.

use core::ptr::NonNull;

use aarch64_cpu::registers::{MPIDR_EL1, Readable};
use arm_gic::gicv2::GicV2;
use arm_gic::gicv3::{GicCpuInterface, GicV3};
use arm_gic::{IntId, InterruptGroup, UniqueMmioPointer};
use safe_mmio::fields::ReadPureWrite;

use crate::device_tree::machine::InterruptController;
use crate::memory::mappings;
use crate::memory::regions::Region;
use crate::memory::translation::Access;
use crate::platform::interrupts::{self, ControllerError, InterruptId, Trigger};
use crate::sync::InterruptLock;

static CONTROLLER: InterruptLock<Option<Controller>> = InterruptLock::new(None);

/// Which processor of the machine: the controller's index of the one that runs the image.
const BOOT_PROCESSOR: usize = 0;
/// From here on, identifiers are special or of kinds that are not used.
const SPECIAL_START: u32 = 1020;
/// The offset of `GICD_ITARGETSR` (GICv2 architecture, 4.3.12), a byte for each interrupt.
const TARGETS_OFFSET: u64 = 0x800;

/// Where a GIC says of which architecture it is: `GICD_PIDR2` of versions 2 and 3, and `GICC_IIDR`; each with the bit at which the
/// number starts, and the numbers that can be.
const DISTRIBUTOR_V2: Identification = Identification { offset: 0xfe8, shift: 4, numbers: &[2] };
const DISTRIBUTOR_V3: Identification = Identification { offset: 0xffe8, shift: 4, numbers: &[3, 4] };
const CPU_INTERFACE_V2: Identification = Identification { offset: 0xfc, shift: 16, numbers: &[2] };

struct Identification {
    offset: u64,
    shift: u32,
    numbers: &'static [u32],
}

#[derive(Debug)]
enum Controller {
    V2 { gic: GicV2<'static>, targets: UniqueMmioPointer<'static, [ReadPureWrite<u8>; SPECIAL_START as usize]> },
    V3 { gic: GicV3<'static> },
}

/// Starts the controller. All interrupts are disabled.
pub(crate) fn start(description: &InterruptController) -> Result<(), ControllerError> {
    let controller = match *description {
        InterruptController::GicV2 { distributor, cpu_interface } => start_v2(distributor, cpu_interface)?,
        InterruptController::GicV3 { distributor, redistributors } => start_v3(distributor, redistributors)?,
        InterruptController::Plic { .. } => return Err(ControllerError::Unsupported),
    };
    CONTROLLER.with(|slot| *slot = Some(controller));
    Ok(())
}

fn start_v2(distributor: Region, cpu_interface: Region) -> Result<Controller, ControllerError> {
    let targets = registers(Region::new(distributor.start.saturating_add(TARGETS_OFFSET), distributor.end))?;
    let distributor = identified(distributor, &DISTRIBUTOR_V2)?;
    let cpu_interface = identified(cpu_interface, &CPU_INTERFACE_V2)?;
    // SAFETY: `registers` mapped both as devices, and found that something answers there; the tree says that it is a
    // GICv2. Only `start` makes drivers, and is called once.
    let mut gic = unsafe { GicV2::new(distributor.as_ptr(), cpu_interface.as_ptr()) };
    // SAFETY: as above. `GicV2` has no method that touches this array.
    let targets = unsafe { UniqueMmioPointer::new(targets) };
    gic.enable_all_interrupts(false);
    gic.setup();
    // Where the controller has security extensions, `setup` sets group 1's bit of the secure view; in ours, group 1 is
    // where group 0 is otherwise.
    gic.enable_group0(true);
    Ok(Controller::V2 { gic, targets })
}

fn start_v3(distributor: Region, redistributors: Region) -> Result<Controller, ControllerError> {
    let distributor = identified(distributor, &DISTRIBUTOR_V3)?;
    let redistributors = registers(redistributors)?;
    // SAFETY: as for version 2.
    let distributor = unsafe { UniqueMmioPointer::new(distributor) };
    // SAFETY: as for version 2. The region has room for the one redistributor that is used.
    let mut gic = unsafe { GicV3::new(distributor, redistributors, BOOT_PROCESSOR + 1) }
        .map_err(|_| ControllerError::NotThere)?;
    let redistributor = gic.gicr_typer(BOOT_PROCESSOR).map_err(|_| ControllerError::NotThere)?;
    if redistributor.core_mpidr() != affinity() {
        return Err(ControllerError::NoProcessorPart);
    }
    gic.enable_all_interrupts(false);
    gic.setup(BOOT_PROCESSOR);
    GicCpuInterface::set_priority_mask(0xff);
    Ok(Controller::V3 { gic })
}

/// Maps registers of the controller and makes sure that they answer.
fn registers<T>(region: Region) -> Result<NonNull<T>, ControllerError> {
    if region.size() < size_of::<T>() as u64 {
        return Err(ControllerError::TooSmall);
    }
    mappings::map(region, Access::Device)?;
    let address = usize::try_from(region.start).map_err(|_| ControllerError::NotThere)?;
    // SAFETY: mapped above, and aligned, because the tree's view gives whole words. The first register of each part of
    // a GIC can be read without an effect.
    unsafe { super::probe_read_u32(address) }.ok_or(ControllerError::NotThere)?;
    NonNull::new(core::ptr::with_exposed_provenance_mut(address)).ok_or(ControllerError::NotThere)
}

/// Maps registers of the controller and makes sure that they are such a controller's: another device's may never show what the
/// driver waits for, and the processor would sleep for ever.
fn identified<T>(region: Region, identification: &Identification) -> Result<NonNull<T>, ControllerError> {
    let registers = registers(region)?;
    let Identification { offset, shift, numbers } = *identification;
    let register = Region::from_size(region.start.saturating_add(offset), size_of::<u32>() as u64)
        .filter(|&register| region.contains(register))
        .ok_or(ControllerError::TooSmall)?;
    let address = usize::try_from(register.start).map_err(|_| ControllerError::NotThere)?;
    // SAFETY: within what `registers` mapped, and a multiple of four as the region is. Reading an identification has no effect.
    let value = unsafe { super::probe_read_u32(address) }.ok_or(ControllerError::NotThere)?;
    if numbers.contains(&(value >> shift & 0xf)) { Ok(registers) } else { Err(ControllerError::OtherKind) }
}

/// The affinity of this processor.
fn affinity() -> u64 {
    MPIDR_EL1.get() & 0xff_00ff_ffff
}

/// Whether the controller has the interrupt, and it is one of those that devices share.
pub(crate) fn supports(id: InterruptId) -> bool {
    CONTROLLER.with(|controller| match controller {
        Some(Controller::V2 { gic, .. }) => id.number() < gic.typer().num_irqs().min(SPECIAL_START),
        Some(Controller::V3 { gic }) => id.number() < gic.typer().num_spis().saturating_add(32).min(SPECIAL_START),
        None => false,
    })
}

/// Lets an interrupt in, at this processor.
pub(crate) fn enable(id: InterruptId, trigger: Trigger) -> Result<(), ControllerError> {
    let interrupt = IntId::try_from(id.number()).map_err(|_| ControllerError::NoSuchInterrupt)?;
    let arm_trigger = match trigger {
        Trigger::Edge => arm_gic::Trigger::Edge,
        Trigger::Level => arm_gic::Trigger::Level,
    };
    CONTROLLER.with(|controller| match controller.as_mut().ok_or(ControllerError::NotThere)? {
        Controller::V2 { gic, targets } => {
            if interrupt.is_spi() {
                gic.set_trigger(interrupt, arm_trigger);
                // The first bytes are read-only and name the processor that reads them.
                let this_processor = targets.get(0).map_or(0, |target| target.read());
                let index = usize::try_from(id.number()).map_err(|_| ControllerError::NoSuchInterrupt)?;
                if let Some(mut target) = targets.get(index) {
                    target.write(this_processor);
                }
            }
            gic.enable_interrupt(interrupt, true).map_err(|_| ControllerError::NoSuchInterrupt)
        }
        Controller::V3 { gic } => {
            let result = if interrupt.is_spi() {
                let distributor = gic.distributor();
                distributor
                    .set_trigger(interrupt, arm_trigger)
                    .and_then(|()| distributor.set_routing(interrupt, Some(affinity())))
                    .and_then(|()| distributor.enable_interrupt(interrupt, true))
            } else {
                gic.enable_interrupt(interrupt, Some(BOOT_PROCESSOR), true)
            };
            result.map_err(|_| ControllerError::NoSuchInterrupt)
        }
    })
}

/// Keeps an interrupt out.
pub(crate) fn disable(id: InterruptId) {
    let Ok(interrupt) = IntId::try_from(id.number()) else { return };
    CONTROLLER.with(|controller| {
        // An interrupt that cannot be disabled was never enabled.
        match controller {
            Some(Controller::V2 { gic, .. }) => gic.enable_interrupt(interrupt, false).is_ok(),
            Some(Controller::V3 { gic }) => gic.enable_interrupt(interrupt, Some(BOOT_PROCESSOR), false).is_ok(),
            None => false,
        }
    });
}

/// Serves one interrupt. Another one that is pending interrupts again, after main code had its turn.
pub(super) fn handle_interrupt(instruction: u64) {
    let acknowledged = CONTROLLER.with(|controller| match controller {
        // Group 0's registers are the only ones of a GICv2 without security extensions, and those of group 1 in our view
        // of one with.
        Some(Controller::V2 { gic, .. }) => gic.get_and_acknowledge_interrupt(InterruptGroup::Group0),
        Some(Controller::V3 { .. }) => GicCpuInterface::get_and_acknowledge_interrupt(InterruptGroup::Group1),
        None => None,
    });
    // A special identifier says that there is no interrupt (any more), and is not to be ended.
    let Some(interrupt) = acknowledged.filter(|interrupt| interrupt.raw_value() < SPECIAL_START) else { return };
    interrupts::dispatch(InterruptId::new(interrupt.raw_value()), instruction);
    CONTROLLER.with(|controller| match controller {
        Some(Controller::V2 { gic, .. }) => gic.end_interrupt(interrupt, InterruptGroup::Group0),
        Some(Controller::V3 { .. }) => GicCpuInterface::end_interrupt(interrupt, InterruptGroup::Group1),
        None => {}
    });
}
