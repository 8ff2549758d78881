//! The linker's symbols. No other file declares them; `linker.ld` explains them.

use core::ptr::NonNull;

use super::fixups::Fixup;
use crate::memory::regions::Region;
use crate::memory::translation::Table;
use crate::platform::uart::UartKind;

/// What a symbol is the address of.
macro_rules! symbol {
    ($symbol:ident: $type:ty) => {{
        #[expect(unsafe_code, reason = "declares a symbol of the linker")]
        unsafe extern "C" {
            // Of no size: only the address means something.
            safe static $symbol: [$type; 0];
        }
        &$symbol
    }};
}

/// The addresses between two symbols.
macro_rules! region {
    ($start:ident, $end:ident) => {
        Region::new(address(symbol!($start: u8)), address(symbol!($end: u8)))
    };
}

fn address(symbol: &'static [u8; 0]) -> u64 {
    symbol.as_ptr().addr() as u64
}

/// The image, stacks included.
pub(crate) fn image() -> Region {
    region!(image_start, image_end)
}

/// The first translation table.
pub(crate) fn root_table() -> NonNull<Table> {
    NonNull::from_ref(symbol!(root_table: Table)).cast()
}

/// The unmapped addresses below each stack, with the stack's name.
pub(crate) fn stack_guards() -> [(Region, &'static str); 3] {
    [
        (region!(main_stack_guard, main_stack_start), "main"),
        (region!(exception_stack_guard, exception_stack_start), "exception"),
        (region!(emergency_stack_guard, emergency_stack_start), "emergency"),
    ]
}

/// What the board's memory.x says: the kind and the address of the console, and the address of the test finisher or 0.
#[expect(unsafe_code, reason = "declares what the link script writes")]
fn board() -> [u64; 3] {
    unsafe extern "C" {
        /// Three words that are never written.
        safe static board: [u64; 3];
    }
    board
}

/// The console of the board, for as long as no device tree has named one.
pub(crate) fn board_console() -> (UartKind, u64) {
    let [kind, base, _] = board();
    (if kind == 1 { UartKind::Pl011 } else { UartKind::Ns16550 }, base)
}

/// The test finisher of the board, for when no device tree can be read.
pub(crate) fn board_finisher() -> Option<u64> {
    let [_, _, base] = board();
    (base != 0).then_some(base)
}

/// The instructions that may fault.
#[expect(unsafe_code, reason = "reads a table that the linker collected")]
pub(crate) fn fixups() -> &'static [Fixup] {
    let start = symbol!(fixup_start: Fixup).as_ptr();
    let size = usize::try_from(region!(fixup_start, fixup_end).size()).unwrap_or(0);
    let count = size.checked_div(size_of::<Fixup>()).unwrap_or(0);
    // SAFETY: the link script collects `Fixup`s, and nothing else, between the two symbols, aligned, in read-only memory.
    unsafe { core::slice::from_raw_parts(start, count) }
}
