//! The end: QEMU's test finisher for an exit status, SBI to power off.

use core::ptr::NonNull;

use safe_mmio::UniqueMmioPointer;
use safe_mmio::fields::WriteOnly;
use sbi_rt::{NoReason, Shutdown, SystemFailure};

use crate::device_tree::machine::PowerControl;
use crate::memory::regions::Region;

/// Ends with `status`. Without a finisher the machine just powers off.
pub(crate) fn power_off(status: u8, control: Option<&PowerControl>) -> ! {
    if let Some(PowerControl::Finisher(registers)) = control {
        finish(status, *registers);
    }
    // Neither returns unless it failed, and then there is nothing left to try.
    let _failed = if status == 0 {
        sbi_rt::system_reset(Shutdown, NoReason)
    } else {
        sbi_rt::system_reset(Shutdown, SystemFailure)
    };
    loop {
        riscv::asm::wfi();
    }
}

/// Writes the status to a `sifive,test0` device. Returns if that does not end the machine.
fn finish(status: u8, registers: Region) {
    const PASS: u32 = 0x5555;
    const FAIL: u32 = 0x3333;
    /// Some seconds, for a clock may not be known yet.
    const FINISH_POLLS: u32 = 2_000_000_000;

    let Ok(address) = usize::try_from(registers.start) else { return };
    // SAFETY: the start-up code mapped it, and checked the alignment. Reading has no effect.
    if unsafe { super::probe_read_u32(address) }.is_none() {
        return;
    }
    if let Some(register) = NonNull::new(core::ptr::with_exposed_provenance_mut(address)) {
        // SAFETY: mapped as a device, and something answers there; the tree says that it is a finisher, of which this is
        // the only register. Nothing else uses it.
        let mut finisher = unsafe { UniqueMmioPointer::<WriteOnly<u32>>::new(register) };
        finisher.write(if status == 0 { PASS } else { u32::from(status) << 16 | FAIL });
        // The machine goes on for a moment. To power it off meanwhile would replace the status.
        for _ in 0..FINISH_POLLS {
            core::hint::spin_loop();
        }
    }
}
