//! What happens on an exception.

use core::arch::global_asm;

use super::interrupt_controller;
use crate::arch::bare_metal::fixups;
use crate::platform::emergency::{self, EmergencyConsole};

global_asm!(include_str!("vectors.s"), handler = sym handle);

/// What the vectors save. The order is theirs.
#[derive(Debug)]
#[repr(C)]
struct Frame {
    x: [u64; 31],
    sp: u64,
    elr: u64,
    spsr: u64,
    esr: u64,
    far: u64,
}

/// The kinds of exceptions, numbered as in the vectors.
const SYNCHRONOUS: u64 = 0;
const INTERRUPT: u64 = 1;
const FAST_INTERRUPT: u64 = 2;

extern "C" fn handle(frame: &mut Frame, kind: u64) {
    match kind {
        INTERRUPT => interrupt_controller::handle_interrupt(frame.elr),
        SYNCHRONOUS => match usize::try_from(frame.elr).ok().and_then(fixups::landing) {
            Some(landing) => frame.elr = landing as u64,
            None => fatal(frame, Cause::from_syndrome(frame.esr).name()),
        },
        FAST_INTERRUPT => fatal(frame, "fast interrupt"),
        _ => fatal(frame, "system error"),
    }
}

/// The exception class of `ESR_EL1` (Arm ARM, D24.2.40), as far as the image can meet it.
#[derive(Debug, Clone, Copy)]
enum Cause {
    Undefined,
    IllegalState,
    InstructionAbort,
    PcAlignment,
    DataAbort,
    SpAlignment,
    Breakpoint,
    Other,
}

impl Cause {
    fn from_syndrome(esr: u64) -> Self {
        match (esr >> 26) & 0x3f {
            0x00 => Self::Undefined,
            0x0e => Self::IllegalState,
            0x20 | 0x21 => Self::InstructionAbort,
            0x22 => Self::PcAlignment,
            0x24 | 0x25 => Self::DataAbort,
            0x26 => Self::SpAlignment,
            0x3c => Self::Breakpoint,
            _ => Self::Other,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Undefined => "undefined instruction",
            Self::IllegalState => "illegal execution state",
            Self::InstructionAbort => "instruction abort",
            Self::PcAlignment => "misaligned program counter",
            Self::DataAbort => "data abort",
            Self::SpAlignment => "misaligned stack pointer",
            Self::Breakpoint => "breakpoint",
            Self::Other => "unknown exception",
        }
    }
}

fn fatal(frame: &Frame, cause: &str) -> ! {
    emergency::end(|console: &mut EmergencyConsole| {
        console.line(format_args!("exception: {cause} at {:#x}", frame.elr));
        console.stack_overflow(frame.far);
        console.line(format_args!("  ESR {:016x}  FAR {:016x}  SPSR {:08x}", frame.esr, frame.far, frame.spsr));
        console.line(format_args!("  PC  {:016x}  SP  {:016x}", frame.elr, frame.sp));
        console.registers(&frame.x, super::register_alias);
    })
}
