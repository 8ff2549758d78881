//! The UARTs that can be the console.

mod ns16550;

use core::ptr::NonNull;

use arm_pl011_uart::{DataBits, FifoLevel, Interrupts, LineConfig, PL011Registers, Parity, StopBits};
use safe_mmio::UniqueMmioPointer;

use self::ns16550::Ns16550;

/// Kinds of UARTs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UartKind {
    /// Arm's `PrimeCell` UART.
    Pl011,
    /// The PC's UART, with a FIFO.
    Ns16550,
}

/// How often a full transmitter is looked at. A real UART has room again after a hundred microseconds, and a simulated
/// one whose reader has gone must not stop the image.
const TRANSMIT_POLLS: u32 = 2_000_000;
/// How many bytes that arrived broken are dropped before it is taken that nothing else comes: some FIFOs full.
const BROKEN_BYTES: u32 = 128;
const BAUD_RATE: u32 = 115_200;

/// Where a UART is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UartPlace {
    pub(crate) kind: UartKind,
    pub(crate) base: usize,
    /// log2 of the distance between the registers of an NS16550A.
    pub(crate) register_shift: u32,
}

impl UartPlace {
    /// The bytes that the registers take.
    pub(crate) const SIZE: u64 = 0x1000;

    /// A register that can be read without an effect, at a multiple of four.
    pub(crate) fn probe_address(self) -> usize {
        match self.kind {
            // `UARTFR`.
            UartKind::Pl011 => self.base.saturating_add(0x18),
            // The one with the line status, or near it.
            UartKind::Ns16550 => self.base.saturating_add(4 << self.register_shift.min(2)),
        }
    }
}

/// A UART.
pub(crate) struct Uart {
    registers: Registers,
    /// The transmitter stayed full, so it is no longer waited for.
    stalled: bool,
}

enum Registers {
    Pl011(arm_pl011_uart::Uart<'static>),
    Ns16550(Ns16550),
}

impl Uart {
    /// The UART at a place; `None` at address 0.
    ///
    /// # Safety
    ///
    /// There is a UART of that kind, mapped as a device for ever, and no other value uses it at the same time.
    #[expect(unsafe_code, reason = "the caller vouches for the registers")]
    pub(crate) unsafe fn new(place: UartPlace) -> Option<Self> {
        let base = NonNull::new(core::ptr::with_exposed_provenance_mut(place.base))?;
        let registers = match place.kind {
            UartKind::Pl011 => {
                // SAFETY: see above.
                let registers = unsafe { UniqueMmioPointer::new(base.cast::<PL011Registers>()) };
                Registers::Pl011(arm_pl011_uart::Uart::new(registers))
            }
            // SAFETY: see above.
            UartKind::Ns16550 => Registers::Ns16550(unsafe { Ns16550::new(base, place.register_shift) }),
        };
        Some(Self { registers, stalled: false })
    }

    /// Whether it is such a UART at all. The caller may have been told wrong.
    pub(crate) fn identify(&mut self) -> bool {
        match &mut self.registers {
            Registers::Pl011(uart) => uart.read_identification().is_valid(),
            Registers::Ns16550(uart) => uart.has_fifo(),
        }
    }

    /// Sets a PL011's line up, 115200 baud and eight bits, if the input clock is known. Any other stays as the firmware
    /// left it.
    pub(crate) fn configure(&mut self, clock: Option<u32>) {
        if let (Registers::Pl011(uart), Some(clock)) = (&mut self.registers, clock) {
            let line = LineConfig { data_bits: DataBits::Bits8, parity: Parity::None, stop_bits: StopBits::One };
            // A clock that is too slow for the rate is as good as an unknown one.
            let _unchanged = uart.enable(line, BAUD_RATE, clock);
        }
    }

    /// Sends a byte. If the transmitter stays full, the byte is lost.
    pub(crate) fn write(&mut self, byte: u8) {
        let polls = if self.stalled { 1 } else { TRANSMIT_POLLS };
        self.stalled = !(0..polls).any(|_| self.can_write());
        if self.stalled {
            return;
        }
        match &mut self.registers {
            Registers::Pl011(uart) => uart.write_word(byte),
            Registers::Ns16550(uart) => uart.write(byte),
        }
    }

    fn can_write(&mut self) -> bool {
        match &mut self.registers {
            Registers::Pl011(uart) => !uart.is_tx_fifo_full(),
            Registers::Ns16550(uart) => uart.can_write(),
        }
    }

    /// Waits for what was sent to leave, within reason.
    pub(crate) fn flush(&mut self) {
        let polls = if self.stalled { 1 } else { TRANSMIT_POLLS };
        self.stalled = !(0..polls).any(|_| match &mut self.registers {
            Registers::Pl011(uart) => !uart.is_busy(),
            Registers::Ns16550(uart) => uart.is_idle(),
        });
    }

    /// Takes a received byte. What arrived broken is dropped.
    pub(crate) fn read(&mut self) -> Option<u8> {
        match &mut self.registers {
            // On an error, the broken byte has left the FIFO. The bound is for a UART that has nothing else for ever.
            Registers::Pl011(uart) => (0..BROKEN_BYTES).find_map(|_| uart.read_word().ok()).flatten(),
            Registers::Ns16550(uart) => uart.read(),
        }
    }

    /// Interrupts when something was received.
    pub(crate) fn enable_receive_interrupt(&mut self) {
        match &mut self.registers {
            Registers::Pl011(uart) => {
                uart.set_interrupt_fifo_levels(FifoLevel::Bytes4, FifoLevel::Bytes4);
                // What came before the FIFO was set up is lost, but may have left its interrupt behind.
                uart.clear_interrupts(Interrupts::RXI | Interrupts::RTI);
                // The time-out covers what stays below the level.
                uart.set_interrupt_masks(Interrupts::RXI | Interrupts::RTI);
            }
            Registers::Ns16550(uart) => uart.enable_receive_interrupt(),
        }
    }
}

#[cfg(test)]
mod tests {
    use core::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// A PL011 in memory: what is written to a register can be read there.
    fn pl011(data: u32) -> Uart {
        let registers: &'static [AtomicU32; 1024] = Box::leak(Box::new([const { AtomicU32::new(0) }; 1024]));
        registers[0].store(data, Ordering::Relaxed);
        let base = registers.as_ptr().expose_provenance();
        #[expect(unsafe_code, reason = "registers for a test")]
        // SAFETY: as many words, for ever, and shared.
        unsafe { Uart::new(UartPlace { kind: UartKind::Pl011, base, register_shift: 0 }) }.unwrap()
    }

    #[test]
    fn a_byte_is_read() {
        assert_eq!(pl011(b'x'.into()).read(), Some(b'x'));
    }

    #[test]
    fn a_pl011_that_reports_errors_for_ever_is_left_alone() {
        const OVERRUN: u32 = 1 << 11;
        assert_eq!(pl011(OVERRUN).read(), None);
    }
}
