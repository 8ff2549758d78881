//! The end: semihosting for an exit status where there is a debugger, PSCI to power off.

use core::arch::asm;
use core::sync::atomic::Ordering;

use smccc::{Hvc, Smc, psci};

use super::ENTRY_LEVEL;
use crate::device_tree::machine::{PowerControl, PsciConduit};

/// Ends with `status`. Without semihosting the machine just powers off.
pub(crate) fn power_off(status: u8, control: Option<&PowerControl>) -> ! {
    semihosting_exit(status);
    // Before a tree was read only the entry level says who is above: with EL2 in our hands that is EL3's firmware,
    // otherwise a hypervisor.
    let guess = if ENTRY_LEVEL.load(Ordering::Relaxed) == 2 { PsciConduit::Smc } else { PsciConduit::Hvc };
    let conduit = match control {
        Some(PowerControl::Psci(conduit)) => *conduit,
        _ => guess,
    };
    // It does not return unless it failed, and then there is nothing left to try.
    let _failed = match conduit {
        PsciConduit::Hvc => psci::system_off::<Hvc>(),
        PsciConduit::Smc => psci::system_off::<Smc>(),
    };
    loop {
        aarch64_cpu::asm::wfi();
    }
}

/// Ends by way of the debugger, if there is one: `SYS_EXIT_EXTENDED` (Arm semihosting, 7.4). Returns if not.
fn semihosting_exit(status: u8) {
    const SYS_EXIT_EXTENDED: u64 = 0x20;
    const APPLICATION_EXIT: u64 = 0x2_0026;
    let block = [APPLICATION_EXIT, u64::from(status)];
    // SAFETY: without a debugger the instruction is undefined, and the exception goes on at `3:`, see the `fixups` module.
    // With one, it reads the block.
    unsafe {
        asm!(
            "2: hlt #0xf000",
            "3:",
            ".pushsection .fixup, \"a\"",
            ".balign 8",
            ".quad 2b, 3b",
            ".popsection",
            inout("x0") SYS_EXIT_EXTENDED => _,
            in("x1") block.as_ptr(),
            options(nostack, preserves_flags)
        );
    }
}
