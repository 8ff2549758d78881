//! Booting: every form of the image, on every kind of machine that it supports.

use anyhow::Context;
use gpio_model::ratified;
use hil::scene::{Scene, Setting};
use vgpio::chip::Chip;
use vgpio::qemu::command::{Presentation, QemuCommand};

use crate::{Entry, Transports};

pub(crate) const CASES: &[Entry] = &[
    ("elf_and_raw_image_with_little_and_much_memory", Transports::Modern, forms_and_memory),
    ("other_machines", Transports::Modern, machines),
    ("c8_without_a_gpio_device_it_says_so_and_fails", Transports::Modern, no_device),
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
