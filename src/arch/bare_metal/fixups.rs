//! Instructions that are allowed to fault: reads of registers that may not be there, and calls that a debugger may or may
//! not take. Each has an entry in the `.fixup` section.

use super::layout;

/// An instruction that may fault, and the one to go on with when it does.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Fixup {
    instruction: usize,
    landing: usize,
}

/// Where to go on after a fault at `instruction`, if it is one that may fault.
pub(crate) fn landing(instruction: usize) -> Option<usize> {
    layout::fixups().iter().find(|fixup| fixup.instruction == instruction).map(|fixup| fixup.landing)
}
