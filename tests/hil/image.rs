//! Images that must fault: the report names what happened, and the exit status says that it was a crash.

use anyhow::{Context, ensure};
use hil::scene::{Scene, Setting, command};
use vgpio::qemu::command::QemuCommand;

use crate::{Entry, Transports};

pub(crate) const CASES: &[Entry] = &[
    ("a_panic_says_where", Transports::Modern, panic),
    ("address_0_cannot_be_read", Transports::Modern, null),
    ("code_cannot_be_written", Transports::Modern, write_code),
    ("data_cannot_be_executed", Transports::Modern, execute_data),
    ("a_full_stack_is_called_so", Transports::Modern, stack_overflow),
];

/// The exit status after a panic or an unexpected exception.
const CRASHED: i32 = 101;

/// Lets the image do something that it must not, and waits for its end, which must be a crash with these lines on the
/// console.
fn crashes(setting: Setting, what: &str, lines: &[&str]) -> anyhow::Result<()> {
    let image = command(setting)?.image.with_file_name("examples").join("fault.elf");
    ensure!(image.is_file(), "There is no image at {}: run scripts/build --examples", image.display());
    let scene = Scene::new(setting, Vec::new())?.with_command(|command| QemuCommand { image, ..command }).append(what);
    let mut running = scene.start()?;
    running.expect_exit(CRASHED).with_context(|| what.to_owned())?;
    for line in lines {
        running.expect_line(line)?;
    }
    let console = running.console.lines();
    let rows = console.iter().filter(|line| line.contains("  SP  ") || line.contains("  X12 ")).count();
    ensure!(rows >= 2, "{what} does not show its registers:\n{}", running.text());
    Ok(())
}

/// The name of an access's exception on each architecture.
const fn exception<'a>(setting: Setting, aarch64: &'a str, riscv64: &'a str) -> &'a str {
    match setting.board.as_bytes() {
        b"qemu-virt-aarch64" => aarch64,
        _ => riscv64,
    }
}

fn panic(setting: Setting) -> anyhow::Result<()> {
    crashes(setting, "panic", &["ERROR panic: on purpose, on ", " at examples/fault.rs:"])
}

fn null(setting: Setting) -> anyhow::Result<()> {
    crashes(setting, "null", &[exception(setting, "ERROR exception: data abort", "ERROR exception: load page fault")])
}

fn write_code(setting: Setting) -> anyhow::Result<()> {
    let line = exception(setting, "ERROR exception: data abort", "ERROR exception: store page fault");
    crashes(setting, "write-code", &[line])
}

fn execute_data(setting: Setting) -> anyhow::Result<()> {
    let line = exception(setting, "ERROR exception: instruction abort", "ERROR exception: instruction page fault");
    crashes(setting, "execute-data", &[line])
}

fn stack_overflow(setting: Setting) -> anyhow::Result<()> {
    let line = exception(setting, "ERROR exception: data abort", "ERROR exception: store page fault");
    crashes(setting, "stack-overflow", &[line, "stack overflow: the "])
}
