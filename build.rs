//! Finds the board, and writes the part of the link script that maps the image.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

#[path = "src/arch/descriptors.rs"]
#[expect(dead_code, reason = "the mappings that are added at run time need more of it than the link script does")]
mod descriptors;

use descriptors::{AARCH64, ENTRIES, Format, RISCV64};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=BOARD");
    if variable("CARGO_CFG_TARGET_OS") != "none" {
        return;
    }
    let (default_board, format) = match variable("CARGO_CFG_TARGET_ARCH").as_str() {
        "aarch64" => ("qemu-virt-aarch64", AARCH64),
        "riscv64" => ("qemu-virt-riscv64", RISCV64),
        other => panic!("no board has the architecture {other}; add one below boards/"),
    };
    let board = env::var("BOARD").unwrap_or_else(|_| default_board.to_owned());

    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    let memory = root.join("boards").join(&board).join("memory.x");
    assert!(memory.is_file(), "there is no board `{board}`: {} is missing", memory.display());

    let out = PathBuf::from(variable("OUT_DIR"));
    let script = root.join("linker.ld");
    copy(&memory, &out.join("memory.x"));
    write(&out.join("image-map.x"), &image_map(&format));
    println!("cargo::rerun-if-changed={}", script.display());
    for kind in ["bins", "examples"] {
        println!("cargo::rustc-link-arg-{kind}=-L{}", out.display());
        println!("cargo::rustc-link-arg-{kind}=-T{}", script.display());
    }
}

/// The translation tables that map the image, as link script: only the linker knows where each part ends.
fn image_map(format: &Format) -> String {
    let mut script = String::new();
    table(&mut script, "root_table", "image_start >> 30", &next_table(format, "image_directory"));
    table(&mut script, "image_directory", "image_start >> 21", &next_table(format, "image_table"));
    script.push_str("image_table = .;\n");
    for index in 0..ENTRIES {
        let page = format!("(image_start + {index} * PAGE)");
        let leaf = |rights: u64| format!("({page} >> {}) | {:#x}", format.address_shift, rights | format.page);
        let guard = ["main", "exception", "emergency"]
            .map(|stack| format!("({page} >= {stack}_stack_guard && {page} < {stack}_stack_start)"))
            .join(" || ");
        let _infallible = writeln!(
            script,
            "QUAD({page} < text_end ? {code} : {page} < rodata_end ? {rodata} : \
             ({guard} || {page} >= image_end) ? 0 : {data})",
            code = leaf(format.code),
            rodata = leaf(format.rodata),
            data = leaf(format.data),
        );
    }
    script
}

/// A table of which one entry is used.
fn table(script: &mut String, name: &str, index: &str, entry: &str) {
    let _infallible =
        writeln!(script, "{name} = .;\n. += (({index}) % {ENTRIES}) * 8;\nQUAD({entry})\n. = {name} + PAGE;");
}

fn next_table(format: &Format, name: &str) -> String {
    format!("({name} >> {}) | {:#x}", format.address_shift, format.table)
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name} for build scripts"))
}

fn copy(from: &Path, to: &Path) {
    println!("cargo::rerun-if-changed={}", from.display());
    fs::copy(from, to).unwrap_or_else(|error| panic!("cannot copy {}: {error}", from.display()));
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
}
