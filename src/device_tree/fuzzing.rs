//! What the image does with a device tree, in two steps, for the fuzz targets.

use super::copy::copy;
use super::machine::{self, MachineDescription};
use super::view::Tree;
use super::virtio::{self, Occupied};

/// Copies a tree to `buffer`, unless it is refused.
pub fn copy_tree<'buffer>(blob: &[u8], buffer: &'buffer mut [u8]) -> Option<&'buffer [u8]> {
    copy(blob, buffer).ok()
}

/// Reads everything of a copied tree that the image reads. Gives the number of virtio nodes that can be used.
pub fn read_tree(copy: &[u8], hart: Option<u64>) -> usize {
    let Ok(tree) = Tree::new(copy) else { return 0 };
    let _ = machine::power_control(&tree);
    let console = machine::console(&tree).ok().map(|console| Occupied { owner: "console", region: console.registers });
    let Ok(machine) = MachineDescription::read(&tree, hart) else { return 0 };
    let memory = machine.memory.iter().map(|&region| Occupied { owner: "memory", region });
    let occupied = memory.chain(console);
    let mut usable = 0_usize;
    virtio::nodes(&tree, &machine.interrupt_controller, machine.interrupt_parent, &mut |_, node| {
        let free = node.and_then(|node| virtio::check_overlap(node.registers, occupied.clone()));
        usable = usable.saturating_add(free.is_ok().into());
    });
    usable
}
