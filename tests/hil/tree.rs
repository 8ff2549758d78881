//! Device trees that are damaged or lie: a message, a failing exit, and what is good still works.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use gpio_model::ratified::Options;
use hil::scene::{Scene, Setting};
use tempfile::TempDir;
use vgpio::chip::Chip;
use vgpio::qemu::command::{Presentation, QemuCommand};

use crate::{Entry, Transports};

pub(crate) const CASES: &[Entry] = &[
    ("c9_a_damaged_tree_is_a_message_not_a_fault", Transports::Modern, damaged),
    ("bad_nodes_are_refused_and_the_good_ones_work", Transports::Modern, bad_nodes),
    ("a_console_or_a_finisher_in_memory_is_not_used", Transports::Modern, in_memory),
];

/// Where the interrupt controller says what it is. A PLIC has nothing by which it could be told from something else.
pub(crate) const GIC_CASES: &[Entry] =
    &[("an_interrupt_controller_that_is_none_is_a_message", Transports::Modern, no_controller)];

pub(crate) fn has_gic(board: &str) -> bool {
    board.contains("aarch64")
}

/// A property of a flattened tree.
struct Property {
    node: String,
    name: String,
    /// Where the structure block says where its name is.
    name_at: usize,
    value: Range<usize>,
}

/// The tree that QEMU makes for the board.
fn dump(setting: Setting, folder: &TempDir) -> anyhow::Result<Vec<u8>> {
    dump_of(&hil::scene::command(setting)?, folder)
}

/// The tree that QEMU makes for a machine.
fn dump_of(command: &QemuCommand, folder: &TempDir) -> anyhow::Result<Vec<u8>> {
    let path = folder.path().join("good.dtb");
    let machine = format!("{},dumpdtb={}", command.board.machine, path.display());
    let dumped = Command::new(command.program.path())
        .args(["-M", &machine, "-cpu", &command.board.cpu, "-nodefaults", "-display", "none"])
        .output()?;
    ensure!(dumped.status.success(), "QEMU does not dump its tree: {dumped:?}");
    Ok(std::fs::read(&path)?)
}

fn store(tree: &[u8], folder: &TempDir) -> anyhow::Result<PathBuf> {
    let path = folder.path().join("bad.dtb");
    std::fs::write(&path, tree)?;
    Ok(path)
}

fn overwrite(tree: &mut [u8], at: usize, bytes: &[u8]) -> anyhow::Result<()> {
    tree.get_mut(at..at + bytes.len()).context("The tree is too short")?.copy_from_slice(bytes);
    Ok(())
}

fn with_tree(mut command: QemuCommand, path: &Path, form: &str) -> QemuCommand {
    command.image.set_extension(form);
    command.arg("-dtb").arg(path)
}

/// All properties in the order of the structure block (Devicetree Specification, 5.4).
fn properties(tree: &[u8]) -> Option<Vec<Property>> {
    let word = |at: usize| usize::try_from(u32::from_be_bytes(tree.get(at..at + 4)?.try_into().ok()?)).ok();
    let text = |at: usize| {
        let bytes = tree.get(at..)?.split(|&byte| byte == 0).next()?;
        Some(String::from_utf8_lossy(bytes).into_owned())
    };
    let (mut at, strings) = (word(8)?, word(12)?);
    let mut nodes = Vec::new();
    let mut properties = Vec::new();
    loop {
        let token = word(at)?;
        at += 4;
        match token {
            1 => {
                let name = text(at)?;
                at += (name.len() + 1).next_multiple_of(4);
                nodes.push(name);
            }
            2 => drop(nodes.pop()),
            3 => {
                let (length, name_at) = (word(at)?, at + 4);
                let value = at + 8..at + 8 + length;
                at = value.end.next_multiple_of(4);
                let (node, name) = (nodes.last()?.clone(), text(strings + word(name_at)?)?);
                properties.push(Property { node, name, name_at, value });
            }
            4 => (),
            _ => return Some(properties),
        }
    }
}

/// One property whose name is nowhere: QEMU, which also reads the tree, does not notice.
fn damaged(setting: Setting) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut tree = dump(setting, &folder)?;
    let properties = properties(&tree).context("The tree cannot be read")?;
    let name_at = properties.last().context("The tree has no properties")?.name_at;
    overwrite(&mut tree, name_at, &0x00ff_ffff_u32.to_be_bytes())?;
    let path = store(&tree, &folder)?;
    for form in ["elf", "bin"] {
        let scene = Scene::new(setting, Vec::new())?;
        let mut running = scene.with_command(|command| with_tree(command, &path, form)).start()?;
        running.expect_line("ERROR The device tree has a bad name")?;
        running.expect_exit(1)?;
        running.expect_no_line("panic")?;
    }
    Ok(())
}

/// virtio-mmio nodes at address 0, in memory, where nothing is, at an odd address, and with an absurd interrupt.
fn bad_nodes(setting: Setting) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut tree = dump(setting, &folder)?;
    let all = properties(&tree).context("The tree cannot be read")?;
    let (memory, nowhere) =
        if setting.board.contains("aarch64") { (0x4100_0000, 0x0b00_0000) } else { (0x8100_0000, 0x1005_0000) };
    let mut nodes: Vec<&str> = all.iter().map(|property| property.node.as_str()).collect();
    nodes.retain(|node| node.starts_with("virtio_mmio@"));
    nodes.sort_unstable();
    nodes.dedup();
    let find = |node: &str, name: &str| {
        let found = all.iter().find(|property| property.node == node && property.name == name);
        found.map(|property| property.value.clone()).with_context(|| format!("{node} has no {name}"))
    };
    let bad = nodes.get(..5).context("There are too few nodes")?;
    for (node, address) in bad.iter().zip([0_u64, memory, nowhere, nowhere + 2]) {
        let value = find(node, "reg")?;
        overwrite(&mut tree, value.start, &address.to_be_bytes())?;
    }
    let value = find(bad.last().context("There are too few nodes")?, "interrupts")?;
    // The number is the second of three cells for a GIC, and the only one for a PLIC.
    let number = value.start + if value.len() == 12 { 4 } else { 0 };
    overwrite(&mut tree, number, &100_000_u32.to_be_bytes())?;
    let path = store(&tree, &folder)?;

    let chip = Chip::ratified(vec!["led0".into(), "button0".into()], Options::default())?;
    let mut running = Scene::new(setting, vec![(chip, Presentation::Gpio)])?
        .with_command(|command| with_tree(command, &path, "elf"))
        .append("count=2 period=40ms")
        .start()?;
    running.expect_exit(1)?;
    let console = running.console.lines();
    for node in bad {
        let named = console.iter().any(|line| line.contains("ERROR") && line.contains(node));
        ensure!(named, "{node} is not refused:\n{}", running.text());
    }
    running.expect_line("summary blinks=2 edges=0 errors=0 resets=0")?;
    Ok(())
}

/// A GIC of which the tree says that it is where PCI devices could be, and where all bits are ones.
fn no_controller(setting: Setting) -> anyhow::Result<()> {
    const NOTHING: u64 = 0x1000_0000;
    for (machine, parts) in [("virt,gic-version=2", 2), ("virt,gic-version=3", 1)] {
        for part in 0..parts {
            let folder = tempfile::tempdir()?;
            let mut command = hil::scene::command(setting)?;
            machine.clone_into(&mut command.board.machine);
            let mut tree = dump_of(&command, &folder)?;
            let all = properties(&tree).context("The tree cannot be read")?;
            let registers = all.iter().find(|property| property.node.starts_with("intc@") && property.name == "reg");
            let registers = registers.context("The tree has no interrupt controller")?.value.clone();
            overwrite(&mut tree, registers.start + part * 16, &NOTHING.to_be_bytes())?;
            let path = store(&tree, &folder)?;
            let mut running = Scene::new(setting, Vec::new())?
                .with_command(|mut command| {
                    machine.clone_into(&mut command.board.machine);
                    with_tree(command, &path, "elf")
                })
                .start()?;
            running
                .expect_line("ERROR The interrupt controller cannot be used: what answers at its address is no such")?;
            running.expect_exit(1)?;
        }
    }
    Ok(())
}

/// A console amid the memory, or a test finisher: OpenSBI would not survive such a console.
fn in_memory(setting: Setting) -> anyhow::Result<()> {
    let (node, memory, warning): (_, u64, _) = if setting.board.contains("aarch64") {
        ("pl011@", 0x4200_0000, "WARN  The console stays that of the board")
    } else {
        ("test@", 0x8200_0000, "WARN  The test finisher is that of the board")
    };
    let folder = tempfile::tempdir()?;
    let mut tree = dump(setting, &folder)?;
    let all = properties(&tree).context("The tree cannot be read")?;
    let registers = all.iter().find(|property| property.node.starts_with(node) && property.name == "reg");
    overwrite(&mut tree, registers.context("The tree has no such node")?.value.start, &memory.to_be_bytes())?;
    let path = store(&tree, &folder)?;
    let chip = Chip::ratified(vec!["led0".into(), "button0".into()], Options::default())?;
    let mut running = Scene::new(setting, vec![(chip, Presentation::Gpio)])?
        .with_command(|command| with_tree(command, &path, "elf"))
        .append("count=2 period=40ms")
        .start()?;
    running.expect_line(warning)?;
    running.expect_line("summary blinks=2 edges=0 errors=0 resets=0")?;
    running.expect_exit(0)?;
    Ok(())
}
