//! What the platform needs to know about the machine.

use heapless::Vec;
use thiserror::Error;

use super::view::{CellReader, Node, RegError, Tree};
use crate::memory::regions::Region;
use crate::platform::interrupts::{InterruptId, Trigger};
use crate::platform::uart::UartKind;

/// Banks of memory, and reserved regions, that are taken into account.
const MAX_REGIONS: usize = 16;

/// A tree that describes no machine on which the image can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub(crate) enum MachineError {
    /// No memory.
    #[error("The device tree names no memory")]
    NoMemory,
    /// Memory that makes no sense.
    #[error("The device tree's memory cannot be used: {0}")]
    Memory(RegError),
    /// More than there is room for.
    #[error("The device tree has more than {MAX_REGIONS} memory or reserved regions")]
    TooManyRegions,
    /// No interrupt controller that is supported.
    #[error("The device tree has no interrupt controller that is supported: GICv2, GICv3 or PLIC")]
    NoInterruptController,
    /// Its registers make no sense.
    #[error("The interrupt controller cannot be used: {0}")]
    InterruptController(RegError),
    /// It is not connected to the processor that runs the image.
    #[error("The interrupt controller does not reach hart {0}")]
    HartNotReached(u64),
}

/// A UART.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UartDescription {
    pub(crate) kind: UartKind,
    pub(crate) registers: Region,
    pub(crate) interrupt: Option<(InterruptId, Trigger)>,
    /// Of the input clock, in hertz.
    pub(crate) clock: Option<u32>,
    /// log2 of the distance between registers.
    pub(crate) register_shift: u32,
}

/// The interrupt controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InterruptController {
    GicV2 {
        distributor: Region,
        cpu_interface: Region,
    },
    GicV3 {
        distributor: Region,
        redistributors: Region,
    },
    Plic {
        registers: Region,
        sources: u32,
        /// Of the boot hart's S-mode.
        context: u32,
    },
}

impl InterruptController {
    /// Where its registers are.
    pub(crate) fn regions(&self) -> [Region; 2] {
        match *self {
            Self::GicV2 { distributor, cpu_interface: other } | Self::GicV3 { distributor, redistributors: other } => {
                [distributor, other]
            }
            Self::Plic { registers, .. } => [registers, registers],
        }
    }
}

/// The timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct TimerDescription {
    /// Of the virtual timer of an Arm processor.
    pub(crate) interrupt: Option<InterruptId>,
    /// Of a RISC-V machine's counter, in hertz.
    pub(crate) timebase_frequency: Option<u32>,
}

/// How PSCI is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PsciConduit {
    Hvc,
    Smc,
}

/// How the machine is powered off, where the architecture leaves a choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PowerControl {
    Psci(PsciConduit),
    /// A `sifive,test0` device.
    Finisher(Region),
}

/// What the tree says about the machine, apart from its devices.
#[derive(Debug, Clone)]
pub(crate) struct MachineDescription<'a> {
    pub(crate) model: &'a str,
    /// `/chosen/bootargs`, as it is.
    pub(crate) bootargs: &'a [u8],
    pub(crate) memory: Vec<Region, MAX_REGIONS>,
    pub(crate) reserved: Vec<Region, MAX_REGIONS>,
    pub(crate) interrupt_controller: InterruptController,
    /// The phandle of the interrupt controller.
    pub(crate) interrupt_parent: u32,
    pub(crate) timer: TimerDescription,
}

impl<'a> MachineDescription<'a> {
    /// Reads the tree. `hart` is the one that runs the image, on RISC-V.
    pub(crate) fn read(tree: &Tree<'a>, hart: Option<u64>) -> Result<Self, MachineError> {
        let (interrupt_controller, interrupt_parent) = interrupt_controller(tree, hart)?;
        Ok(Self {
            model: tree.root().and_then(|root| root.text("model")).unwrap_or("unknown"),
            bootargs: bootargs(tree),
            memory: memory(tree)?,
            reserved: reserved(tree)?,
            interrupt_controller,
            interrupt_parent,
            timer: timer(tree, &interrupt_controller),
        })
    }
}

/// `/chosen/bootargs`, without its end.
fn bootargs<'a>(tree: &Tree<'a>) -> &'a [u8] {
    let value = tree.child_of_root("chosen").and_then(|chosen| chosen.property("bootargs")).unwrap_or_default();
    value.strip_suffix(b"\0").unwrap_or(value)
}

/// The banks of memory.
pub(crate) fn memory(tree: &Tree<'_>) -> Result<Vec<Region, MAX_REGIONS>, MachineError> {
    let mut memory = Vec::new();
    let mut error = None;
    tree.visit(&mut |node| {
        if node.property("device_type") == Some(b"memory\0") {
            for region in node.regions() {
                match region {
                    Ok(region) if region.size() == 0 => {}
                    Ok(region) => error = error.or(memory.push(region).err().map(|_| MachineError::TooManyRegions)),
                    Err(cause) => error = error.or(Some(MachineError::Memory(cause))),
                }
            }
        }
    });
    match error {
        Some(error) => Err(error),
        None if memory.is_empty() => Err(MachineError::NoMemory),
        None => Ok(memory),
    }
}

fn reserved(tree: &Tree<'_>) -> Result<Vec<Region, MAX_REGIONS>, MachineError> {
    let mut reserved = Vec::new();
    let nodes = tree.child_of_root("reserved-memory").into_iter().flat_map(Node::children);
    // A child without `reg` reserves nothing in particular.
    let regions = nodes.flat_map(|node| node.regions()).filter_map(Result::ok);
    for region in regions.chain(tree.reservations()) {
        reserved.push(region).map_err(|_| MachineError::TooManyRegions)?;
    }
    Ok(reserved)
}

fn interrupt_controller(tree: &Tree<'_>, hart: Option<u64>) -> Result<(InterruptController, u32), MachineError> {
    let registers = |node: &Node<'_, '_>, index| node.registers(index).map_err(MachineError::InterruptController);
    let is_any = |node: &Node<'_, '_>, models: &[&str]| models.iter().any(|model| node.is_compatible(model));
    tree.find_map(|node| {
        let controller = if is_any(&node, &["arm,cortex-a15-gic", "arm,cortex-a7-gic", "arm,gic-400"]) {
            registers(&node, 0).and_then(|distributor| {
                Ok(InterruptController::GicV2 { distributor, cpu_interface: registers(&node, 1)? })
            })
        } else if is_any(&node, &["arm,gic-v3"]) {
            registers(&node, 0).and_then(|distributor| {
                Ok(InterruptController::GicV3 { distributor, redistributors: registers(&node, 1)? })
            })
        } else if is_any(&node, &["sifive,plic-1.0.0", "riscv,plic0"]) {
            plic(tree, &node, hart.unwrap_or(0))
        } else {
            return None;
        };
        Some(controller.map(|controller| (controller, node.phandle().unwrap_or(0))))
    })
    .unwrap_or(Err(MachineError::NoInterruptController))
}

fn plic(tree: &Tree<'_>, node: &Node<'_, '_>, hart: u64) -> Result<InterruptController, MachineError> {
    /// The interrupt of a hart that its S-mode takes from outside.
    const SUPERVISOR_EXTERNAL: u32 = 9;

    let processor = tree.child_of_root("cpus").into_iter().flat_map(Node::children).find(|processor| {
        processor.text("device_type") == Some("cpu")
            && processor.property("reg").is_some_and(|reg| hart_number(reg) == Some(hart))
    });
    let phandle =
        processor.and_then(|processor| processor.child("interrupt-controller")).and_then(|node| node.phandle());
    // Each pair of cells is a context, in order: whose interrupt it raises, and which.
    let mut outputs = CellReader(node.property("interrupts-extended").unwrap_or_default());
    let mut contexts = core::iter::from_fn(|| outputs.next().zip(outputs.next())).zip(0_u32..);
    let context = phandle
        .and_then(|phandle| contexts.find(|&((parent, which), _)| parent == phandle && which == SUPERVISOR_EXTERNAL))
        .map(|(_, context)| context)
        .ok_or(MachineError::HartNotReached(hart))?;
    Ok(InterruptController::Plic {
        registers: node.registers(0).map_err(MachineError::InterruptController)?,
        sources: node.number("riscv,ndev").unwrap_or(0),
        context,
    })
}

/// The number in the `reg` of a processor: one or two cells.
fn hart_number(reg: &[u8]) -> Option<u64> {
    let cells = u32::try_from(reg.len() / 4).ok()?;
    CellReader(reg).number(cells)
}

fn timer(tree: &Tree<'_>, controller: &InterruptController) -> TimerDescription {
    /// Among the timers of an Arm processor: secure, non-secure, virtual, hypervisor.
    const VIRTUAL_TIMER: usize = 2;
    const CELLS_EACH: usize = 3;

    let interrupt = tree
        .find_map(|node| {
            let is_timer = node.is_compatible("arm,armv8-timer") || node.is_compatible("arm,armv7-timer");
            node.interrupts().filter(|_| is_timer)
        })
        .and_then(|specifier| {
            let mut cells = specifier.cells;
            cells.nth(VIRTUAL_TIMER.checked_mul(CELLS_EACH)?.checked_sub(1)?)?;
            private_interrupt(controller, cells)
        });
    let timebase_frequency = tree.child_of_root("cpus").and_then(|cpus| {
        let of_processor = || cpus.children().find_map(|processor| processor.number("timebase-frequency"));
        cpus.number("timebase-frequency").or_else(of_processor)
    });
    TimerDescription { interrupt, timebase_frequency }
}

/// How an Arm interrupt specifier starts that is private to a processor.
const GIC_PRIVATE: u32 = 1;
/// The first identifier of those interrupts, and how many there are.
const GIC_PRIVATE_START: u32 = 16;
const GIC_PRIVATE_COUNT: u32 = 16;

fn private_interrupt(controller: &InterruptController, mut cells: CellReader<'_>) -> Option<InterruptId> {
    let kind = cells.next()?;
    let number = cells.next()?;
    let is_gic = !matches!(controller, InterruptController::Plic { .. });
    (is_gic && kind == GIC_PRIVATE && number < GIC_PRIVATE_COUNT)
        .then(|| InterruptId::new(number.saturating_add(GIC_PRIVATE_START)))
}

/// How the machine is powered off.
pub(crate) fn power_control(tree: &Tree<'_>) -> Option<PowerControl> {
    tree.find_map(|node| {
        if node.is_compatible("sifive,test0") {
            return node.registers(0).ok().map(PowerControl::Finisher);
        }
        let is_psci = ["arm,psci", "arm,psci-0.2", "arm,psci-1.0"].iter().any(|model| node.is_compatible(model));
        match node.text("method").filter(|_| is_psci)? {
            "hvc" => Some(PowerControl::Psci(PsciConduit::Hvc)),
            "smc" => Some(PowerControl::Psci(PsciConduit::Smc)),
            _ => None,
        }
    })
}

/// The UART of `/chosen/stdout-path`.
pub(crate) fn console<'a>(tree: &Tree<'a>) -> Result<UartDescription, ConsoleError<'a>> {
    let path = tree
        .child_of_root("chosen")
        .and_then(|chosen| chosen.text("stdout-path").or_else(|| chosen.text("linux,stdout-path")))
        .ok_or(ConsoleError::NotNamed)?;
    let node = tree.find(path).ok_or(ConsoleError::NoNode(path))?;
    let kind = if node.is_compatible("arm,pl011") {
        UartKind::Pl011
    } else if node.is_compatible("ns16550a") || node.is_compatible("ns16550") {
        UartKind::Ns16550
    } else {
        return Err(ConsoleError::Unsupported(path));
    };
    let registers = node.registers(0).map_err(|cause| ConsoleError::Registers(path, cause))?;
    let clock = node.number("clock-frequency").or_else(|| {
        let clock = CellReader(node.property("clocks")?).next()?;
        tree.find_map(|other| other.number("clock-frequency").filter(|_| other.phandle() == Some(clock)))
    });
    let interrupt = interrupt_controller(tree, None)
        .ok()
        .and_then(|(controller, phandle)| super::virtio::device_interrupt(&node, &controller, phandle).ok());
    let register_shift = node.number("reg-shift").unwrap_or(0);
    Ok(UartDescription { kind, registers, interrupt, clock, register_shift })
}

/// Why there is no console.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum ConsoleError<'a> {
    /// Nothing said.
    #[error("the device tree has no /chosen/stdout-path")]
    NotNamed,
    /// Something said that is not there.
    #[error("/chosen/stdout-path is {0:?}, and there is no such node")]
    NoNode(&'a str),
    /// Another UART.
    #[error("/chosen/stdout-path is {0:?}, which is neither a PL011 nor an NS16550A")]
    Unsupported(&'a str),
    /// Registers that make no sense.
    #[error("/chosen/stdout-path is {0:?}, but {1}")]
    Registers(&'a str, RegError),
}
