//! Booting: every form of the image, on every kind of machine that it supports.

use anyhow::{Context, ensure};
use gpio_model::ratified;
use hil::scene::{Scene, Setting};
use vgpio::chip::Chip;
use vgpio::qemu::command::{Presentation, QemuCommand};

use crate::{Entry, Transports};

pub(crate) const CASES: &[Entry] = &[
    ("elf_and_raw_image_with_little_and_much_memory", Transports::Modern, forms_and_memory),
    ("other_machines", Transports::Modern, machines),
    ("without_a_gpio_device_it_says_so_and_fails", Transports::Modern, no_device),
    ("a_damaged_tree_is_a_message_not_a_fault", Transports::Modern, damaged_tree),
];

fn boots(setting: Setting, change: impl FnOnce(QemuCommand) -> QemuCommand) -> anyhow::Result<()> {
    let chip = Chip::ratified(vec!["led0".into(), "button0".into()], ratified::Options::default())?;
    let scene =
        Scene::new(setting, vec![(chip, Presentation::Gpio)])?.append("count=2 period=20ms").with_command(change);
    let mut running = scene.start()?;
    running.expect_exit(0)?;
    running.expect_line("summary blinks=2 edges=0 errors=0 resets=0")?;
    Ok(())
}

fn forms_and_memory(setting: Setting) -> anyhow::Result<()> {
    for raw in [false, true] {
        for memory in [64, 2048] {
            boots(setting, |mut command| {
                if raw {
                    command.image.set_extension("bin");
                }
                command.memory = memory;
                command
            })
            .with_context(|| format!("raw image: {raw}, {memory} MiB"))?;
        }
    }
    Ok(())
}

fn machines(setting: Setting) -> anyhow::Result<()> {
    let aarch64: &[(&str, &str)] = &[
        ("virt,gic-version=2", "cortex-a53"),
        ("virt,gic-version=3", "cortex-a57"),
        ("virt,gic-version=3,virtualization=on", "cortex-a72"),
        ("virt,gic-version=2,virtualization=on", "max"),
    ];
    let machines = if setting.board.contains("aarch64") { aarch64 } else { &[("virt", "rv64"), ("virt", "max")] };
    for (machine, cpu) in machines {
        for processors in ["1", "2"] {
            boots(setting, |mut command| {
                (*machine).clone_into(&mut command.board.machine);
                (*cpu).clone_into(&mut command.board.cpu);
                command.arg("-smp").arg(processors)
            })
            .with_context(|| format!("-M {machine} -cpu {cpu} -smp {processors}"))?;
        }
    }
    Ok(())
}

fn no_device(setting: Setting) -> anyhow::Result<()> {
    let mut running = Scene::new(setting, Vec::new())?.start()?;
    running.expect_exit(1)?;
    running.expect_line("there is no GPIO device on this machine")?;
    Ok(())
}

/// The tree that QEMU makes, with one property whose name is nowhere: QEMU, which also reads it, does not notice.
fn damaged_tree(setting: Setting) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (good, bad) = (folder.path().join("good.dtb"), folder.path().join("bad.dtb"));
    let command = hil::scene::command(setting)?;
    let machine = format!("{},dumpdtb={}", command.board.machine, good.display());
    let dumped = std::process::Command::new(command.program.path())
        .args(["-M", &machine, "-cpu", &command.board.cpu, "-nodefaults", "-display", "none"])
        .output()?;
    ensure!(dumped.status.success(), "QEMU does not dump its tree: {dumped:?}");
    let mut tree = std::fs::read(&good)?;
    let name = last_property_name(&tree).context("The tree has no properties")?;
    tree.get_mut(name..name + 4).context("The tree is too short")?.copy_from_slice(&0x00ff_ffff_u32.to_be_bytes());
    std::fs::write(&bad, &tree)?;
    let scene = Scene::new(setting, Vec::new())?;
    let mut running = scene.with_command(|command| command.arg("-dtb").arg(&bad)).start()?;
    running.expect_line("device tree")?;
    running.expect_exit(1)?;
    running.expect_no_line("panic")?;
    Ok(())
}

/// Where the structure block has the name of its last property (Devicetree Specification, 5.4).
fn last_property_name(tree: &[u8]) -> Option<usize> {
    let word = |at: usize| Some(u32::from_be_bytes(tree.get(at..at + 4)?.try_into().ok()?));
    let mut at = usize::try_from(word(8)?).ok()?;
    let mut last = None;
    loop {
        let token = at;
        at += 4;
        match word(token)? {
            1 => at += (tree.get(at..)?.iter().position(|&byte| byte == 0)? + 1).next_multiple_of(4),
            3 => {
                last = Some(token + 8);
                at += 8 + usize::try_from(word(token + 4)?).ok()?.next_multiple_of(4);
            }
            2 | 4 => (),
            _ => return last,
        }
    }
}
