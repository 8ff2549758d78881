//! A Linux guest, as `scripts/linux` builds it: an unmodified kernel, and one program that does what its arguments say
//! (`tests/linux`).

use std::path::PathBuf;

use anyhow::ensure;
use vgpio::qemu::board::{Board, project};

use crate::scene::Scene;

/// Where `scripts/linux` puts the kernel and the RAM disk for a board.
fn files(board: &Board) -> [PathBuf; 2] {
    // QEMU's program is named after the architecture.
    let arch = board.binary.trim_start_matches("qemu-system-");
    [
        project().join(".tools/linux").join(arch).join("Image"),
        project().join("target/linux").join(format!("{arch}.cpio")),
    ]
}

/// The kernel's image for a board, whether it is there or not.
///
/// # Errors
///
/// When there is no such board.
pub fn kernel(board: &str) -> anyhow::Result<PathBuf> {
    let [kernel, _] = files(&Board::load(board)?);
    Ok(kernel)
}

/// Whether there is a Linux guest for that board.
pub fn is_there(board: &str) -> bool {
    Board::load(board).is_ok_and(|board| files(&board).iter().all(|file| file.is_file()))
}

impl Scene {
    /// Boots Linux instead of the image. Its program carries out these words.
    ///
    /// # Errors
    ///
    /// When there is no kernel; the message says what to run.
    pub fn linux(self, words: &str) -> anyhow::Result<Self> {
        let [kernel, ramdisk] = files(self.board());
        for file in [&kernel, &ramdisk] {
            ensure!(file.is_file(), "There is no {}: run scripts/linux", file.display());
        }
        // A kernel that panics reboots at once, and QEMU ends instead. Warnings and errors are shown.
        let append = format!("panic=-1 loglevel=5 -- {words}");
        Ok(self.append(&append).with_command(|mut command| {
            command.image = kernel;
            command.arg("-no-reboot").arg("-initrd").arg(ramdisk)
        }))
    }
}
