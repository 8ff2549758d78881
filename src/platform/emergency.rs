//! The end after a panic or an unexpected exception. Nothing here takes a lock or allocates: whatever is broken may have
//! been in the middle of that.

use core::fmt;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use super::console::{self, Seconds};
use super::uart::{Uart, UartKind, UartPlace};
use super::{ExitCode, power};
use crate::arch;

/// The console's place: address, kind and register distance.
static BASE: AtomicUsize = AtomicUsize::new(0);
static IS_NS16550: AtomicUsize = AtomicUsize::new(0);
static REGISTER_SHIFT: AtomicU32 = AtomicU32::new(0);

/// How many ends were begun.
static ENDS: AtomicU32 = AtomicU32::new(0);

/// Tells where the console is. It is mapped.
pub(super) fn set_console(place: UartPlace) {
    BASE.store(place.base, Ordering::Relaxed);
    IS_NS16550.store(usize::from(place.kind == UartKind::Ns16550), Ordering::Relaxed);
    REGISTER_SHIFT.store(place.register_shift, Ordering::Relaxed);
}

/// Ends the image with the status of a crash, after `report`.
pub(crate) fn end(report: impl FnOnce(&mut EmergencyConsole)) -> ! {
    arch::mask_interrupts();
    match ENDS.fetch_add(1, Ordering::Relaxed) {
        0 => {
            if let Some(mut console) = EmergencyConsole::new() {
                // The fault may have come within a line.
                console.uart.write(b'\n');
                report(&mut console);
                console.uart.flush();
            }
            power::off(ExitCode::CRASHED)
        }
        // The report has failed in turn.
        1 => power::off(ExitCode::CRASHED),
        // So has the end.
        _ => loop {
            arch::wait_for_interrupt();
        },
    }
}

/// A console of its own.
pub(crate) struct EmergencyConsole {
    uart: Uart,
}

impl EmergencyConsole {
    fn new() -> Option<Self> {
        let kind = if IS_NS16550.load(Ordering::Relaxed) == 0 { UartKind::Pl011 } else { UartKind::Ns16550 };
        let base = BASE.load(Ordering::Relaxed);
        let register_shift = REGISTER_SHIFT.load(Ordering::Relaxed);
        #[expect(unsafe_code, reason = "uses the console's registers beside its owner")]
        // SAFETY: the place is that of the console, or address 0, which gives no UART. Its owner never goes on: there is
        // one processor, interrupts are masked, and `end` does not return.
        let uart = unsafe { Uart::new(UartPlace { kind, base, register_shift }) }?;
        Some(Self { uart })
    }

    /// Writes a line.
    pub(crate) fn line(&mut self, message: fmt::Arguments<'_>) {
        console::format_line(&mut self.uart, Seconds::now(), "ERROR", message);
    }

    /// Says so if the address that could not be reached is just below a stack.
    pub(crate) fn stack_overflow(&mut self, address: u64) {
        let guards = arch::layout::stack_guards();
        if let Some((_, name)) = guards.iter().find(|(guard, _)| (guard.start..guard.end).contains(&address)) {
            self.line(format_args!("stack overflow: the {name} stack is full"));
        }
    }

    /// Writes registers, four to a line. `alias` gives the other name of one, or nothing.
    pub(crate) fn registers(&mut self, values: &[u64], alias: impl Fn(usize) -> &'static str) {
        for (row, chunk) in values.chunks(REGISTERS_IN_LINE).enumerate() {
            let first = row.saturating_mul(REGISTERS_IN_LINE);
            self.line(format_args!("{}", RegisterRow { first, values: chunk, alias: &alias }));
        }
    }
}

const REGISTERS_IN_LINE: usize = 4;

struct RegisterRow<'a, F> {
    first: usize,
    values: &'a [u64],
    alias: &'a F,
}

impl<F: Fn(usize) -> &'static str> fmt::Display for RegisterRow<'_, F> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, value) in (self.first..).zip(self.values) {
            match (self.alias)(number) {
                "" => write!(formatter, "  X{number:<3}{value:016x}")?,
                name => write!(formatter, "  {name:<4}{value:016x}")?,
            }
        }
        Ok(())
    }
}
