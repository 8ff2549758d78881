//! Finds the places of virtio devices and makes them accessible.

use alloc::vec::Vec;

use super::machine::VirtioMmio;
use crate::arch;
use crate::arch::interrupt_controller;
use crate::device_tree::machine::MachineDescription;
use crate::device_tree::view::Tree;
use crate::device_tree::virtio::{self, Occupied, VirtioNode};
use crate::memory::mappings;
use crate::memory::translation::Access;

/// The usable places, upwards by address, and the number of those that are not. Each of those is reported.
pub(super) fn find(
    tree: &Tree<'static>,
    machine: &MachineDescription<'static>,
    occupied: &[Occupied<'_>],
) -> (Vec<VirtioMmio>, usize) {
    let mut nodes: Vec<VirtioNode<'static>> = Vec::new();
    let mut refused = 0_usize;
    virtio::nodes(tree, &machine.interrupt_controller, machine.interrupt_parent, &mut |name, node| {
        let others = nodes.iter().map(|node| Occupied { owner: node.name, region: node.registers });
        let checked = node.and_then(|node| {
            virtio::check_overlap(node.registers, occupied.iter().copied().chain(others))?;
            Ok(node)
        });
        match checked {
            Ok(node) => nodes.push(node),
            Err(refusal) => {
                log::error!("{name} is refused: {refusal}");
                refused = refused.saturating_add(1);
            }
        }
    });
    nodes.sort_unstable_by_key(|node| node.registers.start);
    let places = nodes
        .into_iter()
        .filter_map(|node| match open(&node) {
            Ok(place) => Some(place),
            Err(reason) => {
                log::error!("{} is refused: {reason}", node.name);
                refused = refused.saturating_add(1);
                None
            }
        })
        .collect();
    (places, refused)
}

/// Maps a node's registers and makes sure that they answer.
fn open(node: &VirtioNode<'static>) -> Result<VirtioMmio, &'static str> {
    let VirtioNode { name, registers, interrupt, trigger } = *node;
    if !interrupt_controller::supports(interrupt) {
        return Err("the interrupt controller does not have its interrupt");
    }
    let base = usize::try_from(registers.start).map_err(|_| "its address is too large")?;
    let size = usize::try_from(registers.size()).map_err(|_| "its size is too large")?;
    mappings::map(registers, Access::Device).map_err(|_| "its registers cannot be mapped")?;
    #[expect(unsafe_code, reason = "first access to a device")]
    // SAFETY: mapped just now; the address was found to be a multiple of four. The first register of a virtio device, its magic
    // number, is read without an effect.
    unsafe { arch::probe_read_u32(base) }.ok_or("nothing answers at its address")?;
    Ok(VirtioMmio { base, size, interrupt, trigger, name })
}
