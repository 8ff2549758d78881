//! Boards: the machines that an image is made for.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Deserialize;

/// A machine of QEMU, as `boards/NAME/board.toml` describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Board {
    /// The name of its folder.
    pub name: String,
    /// QEMU's program.
    pub binary: String,
    /// QEMU's `-M`.
    pub machine: String,
    /// QEMU's `-cpu`.
    pub cpu: String,
    /// More arguments for QEMU, which make the guest's result its exit status.
    pub arguments: Vec<String>,
    /// The file name of the image as an ELF file.
    pub elf: String,
}

/// The part of `board.toml` that matters here.
#[derive(Deserialize)]
struct File {
    qemu: Qemu,
    image: Image,
}

#[derive(Deserialize)]
struct Qemu {
    binary: String,
    machine: String,
    cpu: String,
    arguments: Vec<String>,
}

#[derive(Deserialize)]
struct Image {
    elf: String,
}

/// The project's folder, where this program was built.
pub fn project() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.ancestors().nth(2).unwrap_or(package).to_owned()
}

impl Board {
    /// The names of this project's boards, in order.
    pub fn names() -> Vec<String> {
        let folders = fs::read_dir(project().join("boards")).into_iter().flatten().flatten();
        let mut names: Vec<_> = folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort_unstable();
        names
    }

    /// Reads the description of a board of this project.
    ///
    /// # Errors
    ///
    /// When there is no such board, or its description cannot be understood.
    pub fn load(name: &str) -> anyhow::Result<Self> {
        let boards = project().join("boards");
        let path = boards.join(name).join("board.toml");
        let text = fs::read_to_string(&path).with_context(|| {
            format!("There is no board {name:?} in {}: it has {}", boards.display(), Self::names().join(", "))
        })?;
        let File { qemu, image } = toml::from_str(&text).with_context(|| format!("Cannot use {}", path.display()))?;
        let Qemu { binary, machine, cpu, arguments } = qemu;
        Ok(Self { name: name.to_owned(), binary, machine, cpu, arguments, elf: image.elf })
    }

    /// Where the image of this board is built.
    pub fn image(&self) -> PathBuf {
        project().join("target/images").join(&self.name).join(&self.elf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boards_of_the_project_are_understood() {
        for (name, binary) in
            [("qemu-virt-aarch64", "qemu-system-aarch64"), ("qemu-virt-riscv64", "qemu-system-riscv64")]
        {
            let board = Board::load(name).unwrap();
            assert_eq!((board.binary.as_str(), board.machine.as_str()), (binary, "virt"));
        }
    }

    #[test]
    fn unknown_board_is_answered_with_the_known_ones() {
        let error = Board::load("nosuch").unwrap_err().to_string();
        assert!(error.contains("nosuch") && error.contains("qemu-virt-aarch64"), "{error}");
    }
}
