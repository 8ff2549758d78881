//! What happens on a trap.

use core::arch::global_asm;

use super::{interrupt_controller, timer};
use crate::arch::bare_metal::fixups;
use crate::platform::emergency::{self, EmergencyConsole};

global_asm!(include_str!("vectors.s"), handler = sym handle);

/// What the vector saves. The order is its.
#[derive(Debug)]
#[repr(C)]
struct Frame {
    sepc: u64,
    /// Registers x1 to x31.
    x: [u64; 31],
    sstatus: u64,
    scause: u64,
    stval: u64,
    scratch: u64,
}

const INTERRUPT: u64 = 1 << 63;
const SUPERVISOR_TIMER: u64 = INTERRUPT | 5;
const SUPERVISOR_EXTERNAL: u64 = INTERRUPT | 9;

extern "C" fn handle(frame: &mut Frame) {
    match frame.scause {
        SUPERVISOR_EXTERNAL => interrupt_controller::handle_interrupt(frame.sepc),
        SUPERVISOR_TIMER => timer::disarm(),
        cause if cause & INTERRUPT != 0 => fatal(frame, "unexpected interrupt"),
        cause => match usize::try_from(frame.sepc).ok().and_then(fixups::landing) {
            Some(landing) => frame.sepc = landing as u64,
            None => fatal(frame, name(cause)),
        },
    }
}

/// The exceptions of `scause` (RISC-V privileged architecture, table "Supervisor cause register values").
fn name(cause: u64) -> &'static str {
    match cause {
        0 => "misaligned instruction address",
        1 => "instruction access fault",
        2 => "illegal instruction",
        3 => "breakpoint",
        4 => "misaligned load address",
        5 => "load access fault",
        6 => "misaligned store address",
        7 => "store access fault",
        12 => "instruction page fault",
        13 => "load page fault",
        15 => "store page fault",
        _ => "unknown exception",
    }
}

fn fatal(frame: &Frame, cause: &str) -> ! {
    emergency::end(|console: &mut EmergencyConsole| {
        console.line(format_args!("exception: {cause} at {:#x}", frame.sepc));
        console.stack_overflow(frame.stval);
        console.line(format_args!(
            "  SCAUSE {:016x}  STVAL {:016x}  SSTATUS {:016x}",
            frame.scause, frame.stval, frame.sstatus
        ));
        let mut registers = [frame.sepc; 32];
        for (slot, value) in registers.iter_mut().skip(1).zip(frame.x) {
            *slot = value;
        }
        console.registers(&registers, super::register_alias);
    })
}
