//! From the device tree to the application.

use alloc::boxed::Box;
use core::str::Utf8Error;

use heapless::Vec;
use static_cell::ConstStaticCell;
use thiserror::Error;

use super::interrupts::{ControllerError, InterruptError};
use super::machine::Machine;
use super::{ExitCode, console, logger, power, time, virtio};
use crate::arch;
use crate::device_tree::copy::{self, HEADER_SIZE, TreeError};
use crate::device_tree::machine::{self, MachineDescription, MachineError, PowerControl, UartDescription};
use crate::device_tree::view::Tree;
use crate::device_tree::virtio::Occupied;
use crate::memory::heap::{self, HeapError};
use crate::memory::mappings;
use crate::memory::regions::{Region, largest_free};
use crate::memory::translation::{Access, MapError, PAGE_SIZE};

/// Room for the tree's contents. QEMU's are below 16 KiB.
const TREE_ROOM: usize = 128 << 10;
/// What a blob may claim as its size. QEMU's are 1 MiB, nearly all of it empty, and twice that where it was given the tree.
const MAX_BLOB: usize = 8 << 20;
/// The least memory with which an application can be expected to work.
const MIN_HEAP: u64 = 1 << 20;
/// Banks of memory, the interrupt controller's parts, the console.
const MAX_OCCUPIED: usize = 24;

static TREE: ConstStaticCell<[u8; TREE_ROOM]> = ConstStaticCell::new([0; TREE_ROOM]);

/// Why the application cannot be started.
#[derive(Debug, Error)]
enum StartError {
    #[error("There is no device tree at {0:#x}: nothing answers there; start the image as the README says")]
    NoMemoryAtTree(u64),
    #[error("There is no device tree: its address {0:#x} is not a multiple of 8")]
    UnalignedTree(u64),
    #[error("There is no device tree that can be read at {0:#x}: {1}")]
    UnmappableTree(u64, MapError),
    #[error("{0}")]
    Tree(#[from] TreeError),
    #[error("The device tree claims to be {0} bytes long; {MAX_BLOB} are the most that can be")]
    TreeSize(usize),
    #[error("{0}")]
    Machine(#[from] MachineError),
    #[error("The boot arguments are not UTF-8: {0}")]
    BootArguments(Utf8Error),
    #[error("The memory {memory} of the device tree overlaps the {owner} at {region}")]
    MemoryOverlap { memory: Region, owner: &'static str, region: Region },
    #[error("The device tree's memory does not contain the image at {0}")]
    ImageNotInMemory(Region),
    #[error("There is not enough memory: {0} bytes are left beside the image")]
    NoHeap(u64),
    #[error("The heap cannot be set up: {0}")]
    Heap(#[from] HeapError),
    #[error("The interrupt controller cannot be used: {0}")]
    Controller(#[from] ControllerError),
    #[error("The timer cannot be used: {0}")]
    Timer(InterruptError),
    #[error("The timer cannot be used: its frequency is not known")]
    TimerFrequency,
}

/// Starts the platform and runs the application.
///
/// The device tree is at the address `tree`. The image runs on `hart`, on architectures that number them.
pub(crate) fn run(tree: u64, hart: Option<u64>, main: fn(&'static Machine) -> ExitCode) -> ! {
    mappings::take_over();
    console::use_board_console();
    logger::start();
    let code = match prepare(tree, hart) {
        Ok(machine) => {
            arch::unmask_interrupts();
            main(machine)
        }
        Err(error) => {
            log::error!("{error}");
            power::use_board_control();
            ExitCode::Failure
        }
    };
    power::end(code)
}

fn prepare(tree: u64, hart: Option<u64>) -> Result<&'static Machine, StartError> {
    let tree = Tree::new(copy_tree(tree)?)?;
    match machine::power_control(&tree) {
        Some(PowerControl::Finisher(registers)) if is_in_memory(&tree, registers) => {
            log::warn!(
                "The test finisher is that of the board, for that of the device tree at {registers} lies in memory"
            );
            power::use_board_control();
        }
        Some(control) => power::set_control(control),
        None => {}
    }
    let uart = start_console(&tree);
    let machine = MachineDescription::read(&tree, hart)?;
    start_clock(&machine)?;
    let bootargs = core::str::from_utf8(machine.bootargs).map_err(StartError::BootArguments)?;
    log::info!("{} {} on {}", env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"), machine.model);
    let devices = devices(&machine, uart.as_ref());
    start_heap(&machine, &devices)?;
    arch::interrupt_controller::start(&machine.interrupt_controller)?;
    arch::timer::start(&machine.timer).map_err(StartError::Timer)?;
    if let Some(uart) = uart
        && let Err(error) = console::enable_input(&uart)
    {
        log::warn!("Console input does not interrupt: {error}");
    }
    let memory = machine.memory.iter().map(|&region| Occupied { owner: "memory", region });
    let occupied: Vec<_, MAX_OCCUPIED> = devices.into_iter().chain(memory).collect();
    let (virtio, refused) = virtio::find(&tree, &machine, &occupied);
    let memory = machine.memory.iter().copied().collect();
    Ok(Box::leak(Box::new(Machine { model: machine.model, bootargs, memory, virtio, refused })))
}

/// Copies the tree at an address to where nothing overwrites it.
fn copy_tree(address: u64) -> Result<&'static [u8], StartError> {
    if !address.is_multiple_of(8) {
        return Err(StartError::UnalignedTree(address));
    }
    let header = readable(address, HEADER_SIZE)?;
    let size = copy::stated_size(header)?;
    if size > MAX_BLOB {
        return Err(StartError::TreeSize(size));
    }
    let blob = readable(address, size)?;
    Ok(copy::copy(blob, TREE.take())?)
}

/// The memory at an address, once it is known to be there.
fn readable(address: u64, size: usize) -> Result<&'static [u8], StartError> {
    let not_there = StartError::NoMemoryAtTree(address);
    let Some(region) = Region::from_size(address, size as u64) else { return Err(not_there) };
    mappings::map(region, Access::Memory).map_err(|error| StartError::UnmappableTree(address, error))?;
    let Ok(start) = usize::try_from(address) else { return Err(not_there) };
    for place in pages(start, size) {
        #[expect(unsafe_code, reason = "first access to the device tree")]
        // SAFETY: mapped just now, and aligned. If that is memory, reading has no effect; if the boot loader gave a
        // device's address, nothing better can be done.
        if unsafe { arch::probe_read_u32(place) }.is_none() {
            return Err(not_there);
        }
    }
    #[expect(unsafe_code, reason = "reads what the boot loader left in memory")]
    // SAFETY: mapped and there. The slice lives until the tree is copied, and before that nothing writes to memory
    // outside the image, in which mapping would have failed.
    Ok(unsafe { core::slice::from_raw_parts(core::ptr::with_exposed_provenance(start), size) })
}

/// The pages of the `size` bytes at `start`.
fn pages(start: usize, size: usize) -> impl Iterator<Item = usize> {
    let first = start & !PAGE.saturating_sub(1);
    (first..start.saturating_add(size)).step_by(PAGE)
}

#[expect(clippy::cast_possible_truncation, reason = "4096")]
const PAGE: usize = PAGE_SIZE as usize;

/// Changes over to the console that the tree names. Without one, messages stay on the board's.
fn start_console(tree: &Tree<'static>) -> Option<UartDescription> {
    let description = match machine::console(tree) {
        Ok(description) => description,
        Err(error) => {
            log::warn!("The console stays that of the board: {error}");
            return None;
        }
    };
    let used = if is_in_memory(tree, description.registers) {
        Err("it lies in memory")
    } else {
        console::use_tree_console(&description)
    };
    match used {
        Ok(()) => Some(description),
        Err(reason) => {
            log::warn!("The console stays that of the board, for that of the device tree is unusable: {reason}");
            None
        }
    }
}

/// Whether registers share addresses with memory, which then could no longer be mapped as such.
fn is_in_memory(tree: &Tree<'_>, registers: Region) -> bool {
    // Memory that makes no sense is reported when the machine is described.
    machine::memory(tree).is_ok_and(|memory| memory.iter().any(|bank| bank.overlaps(registers)))
}

fn start_clock(machine: &MachineDescription<'_>) -> Result<(), StartError> {
    match arch::timer::frequency(&machine.timer) {
        0 => Err(StartError::TimerFrequency),
        frequency => {
            time::start(frequency);
            Ok(())
        }
    }
}

/// The devices of the platform itself.
fn devices(machine: &MachineDescription<'_>, uart: Option<&UartDescription>) -> Vec<Occupied<'static>, MAX_OCCUPIED> {
    let controller =
        machine.interrupt_controller.regions().map(|region| Occupied { owner: "interrupt controller", region });
    let console = uart.map(|uart| Occupied { owner: "console", region: uart.registers });
    controller.into_iter().chain(console).collect()
}

/// Makes the largest unused piece of memory the heap.
fn start_heap(machine: &MachineDescription<'_>, devices: &[Occupied<'static>]) -> Result<(), StartError> {
    let image = arch::layout::image();
    for &memory in &machine.memory {
        if let Some(&Occupied { owner, region }) = devices.iter().find(|device| device.region.overlaps(memory)) {
            return Err(StartError::MemoryOverlap { memory, owner, region });
        }
    }
    if !machine.memory.iter().any(|memory| memory.contains(image)) {
        return Err(StartError::ImageNotInMemory(image));
    }
    // Nothing is ever at address 0, not even where memory starts there.
    let null = Region::new(0, PAGE_SIZE);
    let taken: Vec<_, MAX_OCCUPIED> = machine.reserved.iter().copied().chain([image, null]).collect();
    let free = largest_free(&machine.memory, &taken).map(|region| region.whole_pages(PAGE_SIZE));
    match free {
        Some(region) if region.size() >= MIN_HEAP => Ok(heap::start(region)?),
        _ => Err(StartError::NoHeap(free.map_or(0, Region::size))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_of_a_tree_is_looked_at() {
        let seen = |start, size| pages(start, size).map(|place| place / PAGE).collect::<std::vec::Vec<_>>();
        assert_eq!(seen(0x8000, 0x2000), [8, 9]);
        assert_eq!(seen(0x8000, 40), [8]);
        assert_eq!(seen(0x8ff8, 40), [8, 9]);
        assert_eq!(seen(0x8ff8, 0x1010), [8, 9, 10]);
    }
}
