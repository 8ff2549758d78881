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
    "chain_ratified",
    "chain_draft",
];

/// What is measured.
pub const MEASURE: &str = "measure";

/// Whether a case boots the image inside the machine.
pub fn is_chain(case: &str) -> bool {
    case.starts_with("chain")
}

/// The last line of the console when all went well.
pub const PASSED: &str = "in-vm: passed";
/// And when it did not; what went wrong stands before it.
pub const FAILED: &str = "in-vm: failed";
/// What a result of a measurement begins with.
pub const RESULT: &str = "in-vm: result ";
