//! RV64 in S-mode under an SBI firmware, with a PLIC.
#![expect(unsafe_code, reason = "architecture code: assembly and control registers")]

#[path = "plic.rs"]
pub(crate) mod interrupt_controller;
mod power;
pub(crate) mod timer;
mod traps;

use core::arch::{asm, global_asm};

use riscv::register::{sie, sstatus};

pub(crate) use self::power::power_off;
pub(crate) use crate::arch::bare_metal::layout;
pub(crate) use crate::arch::descriptors::RISCV64 as FORMAT;
use crate::platform;

global_asm!(include_str!("boot.s"), start = sym start);

extern "C" fn start(hart: u64, tree: u64) -> ! {
    // SAFETY: the trap vector is in place, and interrupts are still masked as a whole.
    unsafe {
        sie::set_stimer();
    }
    // SAFETY: as above.
    unsafe {
        sie::set_sext();
    }
    platform::start::run(tree, Some(hart), crate::arch::bare_metal::application_main)
}

/// The general registers as they are now, x1 to x31 at their numbers; the first word is the program counter.
pub(crate) fn registers() -> [u64; 32] {
    let mut values = [0; 32];
    // SAFETY: writes each of the array's 32 words once, and changes nothing else.
    unsafe {
        asm!(
            "sd x1, 8({0})",
            "sd x2, 16({0})",
            "sd x3, 24({0})",
            "sd x4, 32({0})",
            "sd x5, 40({0})",
            "sd x6, 48({0})",
            "sd x7, 56({0})",
            "sd x8, 64({0})",
            "sd x9, 72({0})",
            "sd x10, 80({0})",
            "sd x11, 88({0})",
            "sd x12, 96({0})",
            "sd x13, 104({0})",
            "sd x14, 112({0})",
            "sd x15, 120({0})",
            "sd x16, 128({0})",
            "sd x17, 136({0})",
            "sd x18, 144({0})",
            "sd x19, 152({0})",
            "sd x20, 160({0})",
            "sd x21, 168({0})",
            "sd x22, 176({0})",
            "sd x23, 184({0})",
            "sd x24, 192({0})",
            "sd x25, 200({0})",
            "sd x26, 208({0})",
            "sd x27, 216({0})",
            "sd x28, 224({0})",
            "sd x29, 232({0})",
            "sd x30, 240({0})",
            "sd x31, 248({0})",
            "auipc {1}, 0",
            "sd {1}, 0({0})",
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
        0 => "PC",
        1 => "RA",
        2 => "SP",
        8 => "FP",
        _ => "",
    }
}

/// Masks interrupts. Says whether they were unmasked.
pub(crate) fn mask_interrupts() -> bool {
    let previous: usize;
    // SAFETY: a masked interrupt breaks nothing. Memory accesses stay on their side, for it is the start of a critical
    // section.
    unsafe { asm!("csrrci {0}, sstatus, 2", out(reg) previous, options(nostack, preserves_flags)) };
    previous & 2 != 0
}

/// Undoes [`mask_interrupts`], given what it said.
pub(crate) fn restore_interrupts(unmasked: bool) {
    if unmasked {
        unmask_interrupts();
    }
}

/// Lets interrupts in.
pub(crate) fn unmask_interrupts() {
    // SAFETY: the trap vector is in place since the boot code; a critical section ends before it calls this.
    unsafe { sstatus::set_sie() };
}

/// Sleeps until an interrupt is pending, masked or not.
pub(crate) fn wait_for_interrupt() {
    riscv::asm::wfi();
}

/// Makes new entries of the translation tables visible to the table walker.
pub(crate) fn publish_mappings() {
    riscv::asm::sfence_vma_all();
}

/// Orders stores to memory before the store to a register that follows.
pub(crate) fn before_notify() {
    // SAFETY: a barrier.
    unsafe { asm!("fence iorw, iorw", options(nostack, preserves_flags)) };
}

/// Orders loads from registers before the loads from memory that follow.
pub(crate) fn after_interrupt() {
    // SAFETY: a barrier.
    unsafe { asm!("fence iorw, iorw", options(nostack, preserves_flags)) };
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
            "li {found}, 0",
            "2: lw {value}, 0({address})",
            "fence iorw, iorw",
            "li {found}, 1",
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
