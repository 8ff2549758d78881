//! The boards, as a program takes them from its command line.

use clap::ValueEnum;

/// A board.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Board {
    /// QEMU's `virt` for aarch64.
    #[value(name = "qemu-virt-aarch64", alias = "aarch64")]
    Aarch64,
    /// QEMU's `virt` for riscv64.
    #[value(name = "qemu-virt-riscv64", alias = "riscv64")]
    Riscv64,
}

impl Board {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Aarch64, Self::Riscv64];

    /// The board's folder below `boards/`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aarch64 => "qemu-virt-aarch64",
            Self::Riscv64 => "qemu-virt-riscv64",
        }
    }
}
