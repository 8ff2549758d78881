//! What the tests of real lines and the program in their machine (`tests/in-vm`) have in common.

/// What is tested, each in a machine of its own.
pub const CASES: &[&str] = &[
    "ratified",
    "pads",
    "draft",
    "refused",
    "removed",
    "appears",
    "left",
    "threads",
    "control",
    "overrun",
    "end",
    "chain_ratified_aarch64",
    "chain_draft_aarch64",
    "chain_ratified_riscv64",
    "chain_draft_riscv64",
    "scenario_aarch64",
    "scenario_riscv64",
];

/// What is measured.
pub const MEASURE: &str = "measure";

/// The board whose image a case boots inside the machine.
pub fn board(case: &str) -> Option<&'static str> {
    BOARDS.iter().copied().find(|board| case.strip_suffix(architecture(board)).is_some())
}

/// What the name of such a case ends with, and that of the board too.
pub fn architecture(board: &str) -> &str {
    board.rsplit('-').next().unwrap_or(board)
}

const BOARDS: &[&str] = &["qemu-virt-aarch64", "qemu-virt-riscv64"];

/// Where the machine has QEMU's program.
pub const QEMU: &str = "/usr/bin";
/// Where that looks for its firmware.
pub const DATA: &str = "/usr/share/qemu";
/// The libraries of that program. The machine's own programs need none.
pub const LIBRARIES: &str = "/lib";
/// The scenario that is run inside it.
pub const SCENARIO: &str = "/real.toml";

/// The last line of the console when all went well.
pub const PASSED: &str = "in-vm: passed";
/// And when it did not; what went wrong stands before it.
pub const FAILED: &str = "in-vm: failed";
/// What a result of a measurement begins with.
pub const RESULT: &str = "in-vm: result ";
/// The figure that a harness for benchmarks is given.
pub const REACTION: &str = "from an edge to the driver's interrupt: median, ms";
