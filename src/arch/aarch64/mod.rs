//! VMSAv8-64 at EL1, with a GICv2 or GICv3, the generic timer and PSCI.
#![expect(unsafe_code, reason = "architecture code: assembly and system registers")]

mod exceptions;
#[path = "gic.rs"]
pub(crate) mod interrupt_controller;
mod power;
pub(crate) mod timer;

use core::arch::{asm, global_asm};
use core::sync::atomic::{AtomicU8, Ordering};

use aarch64_cpu::registers::{DAIF, Readable};

pub(crate) use self::power::power_off;
pub(crate) use crate::arch::bare_metal::layout;
pub(crate) use crate::arch::descriptors::AARCH64 as FORMAT;
use crate::platform;

global_asm!(include_str!("boot.s"), start = sym start);

/// Where the tree of a guest that was not told is: QEMU leaves it at the start of memory, below an ELF file, which lies
/// 4 MiB further on.
const UNTOLD_TREE_BELOW_IMAGE: u64 = 4 << 20;

/// The exception level at which the boot loader started the image.
static ENTRY_LEVEL: AtomicU8 = AtomicU8::new(0);

extern "C" fn start(tree: u64, exception_level: u64) -> ! {
    ENTRY_LEVEL.store(if exception_level == 2 { 2 } else { 1 }, Ordering::Relaxed);
    let tree = if tree == 0 { layout::image().start.saturating_sub(UNTOLD_TREE_BELOW_IMAGE) } else { tree };
    platform::start::run(tree, None, crate::arch::bare_metal::application_main)
}

/// The general registers as they are now: X0 to X30, and SP behind them.
pub(crate) fn registers() -> [u64; 32] {
    let mut values = [0; 32];
    // SAFETY: writes each of the array's 32 words once, and changes nothing else.
    unsafe {
        asm!(
            "stp x0, x1, [{0}, #0]",
            "stp x2, x3, [{0}, #16]",
            "stp x4, x5, [{0}, #32]",
            "stp x6, x7, [{0}, #48]",
            "stp x8, x9, [{0}, #64]",
            "stp x10, x11, [{0}, #80]",
            "stp x12, x13, [{0}, #96]",
            "stp x14, x15, [{0}, #112]",
            "stp x16, x17, [{0}, #128]",
            "stp x18, x19, [{0}, #144]",
            "stp x20, x21, [{0}, #160]",
            "stp x22, x23, [{0}, #176]",
            "stp x24, x25, [{0}, #192]",
            "stp x26, x27, [{0}, #208]",
            "stp x28, x29, [{0}, #224]",
            "mov {1}, sp",
            "stp x30, {1}, [{0}, #240]",
            in(reg) values.as_mut_ptr(),
            out(reg) _,
            options(nostack, preserves_flags),
        );
    }
    values
}

/// The other name of a register, or nothing.
pub(crate) fn register_alias(number: usize) -> &'static str {
    match number {
        31 => "SP",
        30 => "LR",
        29 => "FP",
        _ => "",
    }
}

/// Masks interrupts. Says whether they were unmasked.
pub(crate) fn mask_interrupts() -> bool {
    let unmasked = !DAIF.is_set(DAIF::I);
    // SAFETY: a masked interrupt breaks nothing. Memory accesses stay on their side, for it is the start of a critical
    // section.
    unsafe { asm!("msr daifset, #0b0010", options(nostack, preserves_flags)) };
    unmasked
}

/// Undoes [`mask_interrupts`], given what it said.
pub(crate) fn restore_interrupts(unmasked: bool) {
    if unmasked {
        unmask_interrupts();
    }
}

/// Lets interrupts in.
pub(crate) fn unmask_interrupts() {
    // SAFETY: the vectors are in place since the boot code; a critical section ends before it calls this.
    unsafe { asm!("msr daifclr, #0b0010", options(nostack, preserves_flags)) };
}

/// Sleeps until an interrupt is pending, masked or not.
pub(crate) fn wait_for_interrupt() {
    // SAFETY: to sleep, once all accesses are complete, changes nothing.
    unsafe { asm!("dsb sy", "wfi", options(nostack, preserves_flags)) };
}

/// Makes new entries of the translation tables visible to the table walker. Entries only ever become valid, so nothing
/// has to be forgotten.
pub(crate) fn publish_mappings() {
    // SAFETY: barriers.
    unsafe { asm!("dsb ishst", "isb", options(nostack, preserves_flags)) };
}

/// Orders stores to memory before the store to a register that follows.
pub(crate) fn before_notify() {
    // SAFETY: a barrier.
    unsafe { asm!("dsb st", options(nostack, preserves_flags)) };
}

/// Orders loads from registers before the loads from memory that follow.
pub(crate) fn after_interrupt() {
    // SAFETY: a barrier.
    unsafe { asm!("dsb ld", options(nostack, preserves_flags)) };
}

/// Reads a register at a mapped address where there may be nothing.
///
/// # Safety
///
/// `address` is a multiple of four and mapped. Reading there has no other effect than to say whether something is there.
pub(crate) unsafe fn probe_read_u32(address: usize) -> Option<u32> {
    let value: u32;
    let found: u32;
    // SAFETY: the caller vouches for the address. A fault at `2:` goes on at `3:`, see the `fixups` module; only the
    // declared registers are changed on either way.
    unsafe {
        asm!(
            "mov {found:w}, #0",
            "2: ldr {value:w}, [{address}]",
            "dsb sy",
            "mov {found:w}, #1",
            "3:",
            ".pushsection .fixup, \"a\"",
            ".balign 8",
            ".quad 2b, 3b",
            ".popsection",
            address = in(reg) address,
            value = out(reg) value,
            found = out(reg) found,
            options(nostack, preserves_flags)
        );
    }
    (found == 1).then_some(value)
}
