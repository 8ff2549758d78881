//! Says what machine the image runs on, and where virtio devices may be.
#![cfg_attr(target_os = "none", no_std, no_main)]

use guest::platform::{ExitCode, Machine};

guest::entry!(run);

fn run(machine: &'static Machine) -> ExitCode {
    log::info!("boot arguments: {:?}", machine.bootargs());
    for region in machine.memory() {
        log::info!("memory {region}");
    }
    for node in machine.virtio_nodes() {
        log::info!("{} at {:x}, irq {}", node.name, node.base, node.interrupt);
    }
    log::info!("{} refused", machine.refused_nodes());
    if machine.refused_nodes() == 0 { ExitCode::Success } else { ExitCode::Failure }
}
