//! The PC's UART: National Semiconductor PC16550D data sheet, chapter 8.

use core::ptr::NonNull;

use safe_mmio::UniqueMmioPointer;
use safe_mmio::fields::ReadWrite;

/// Registers, numbered.
const DATA: usize = 0;
const INTERRUPT_ENABLE: usize = 1;
/// When written.
const FIFO_CONTROL: usize = 2;
/// When read.
const INTERRUPT_IDENTIFICATION: usize = 2;
const LINE_STATUS: usize = 5;

const INTERRUPT_RECEIVED: u8 = 1 << 0;
const FIFO_ENABLE: u8 = 1 << 0;
const IDENTIFICATION_FIFO: u8 = 0b11 << 6;
const STATUS_RECEIVED: u8 = 1 << 0;
const STATUS_HOLDING_EMPTY: u8 = 1 << 5;
const STATUS_IDLE: u8 = 1 << 6;

/// The registers up to the last that is used, at the widest distance.
const SPAN: usize = (LINE_STATUS << MAX_SHIFT) + 1;
const MAX_SHIFT: usize = 2;

/// An NS16550A.
pub(super) struct Ns16550 {
    registers: UniqueMmioPointer<'static, [ReadWrite<u8>; SPAN]>,
    shift: usize,
}

impl Ns16550 {
    /// The UART at `base`.
    ///
    /// # Safety
    ///
    /// There is one, mapped as a device for ever, and no other value uses it at the same time.
    #[expect(unsafe_code, reason = "the caller vouches for the registers")]
    pub(super) unsafe fn new(base: NonNull<u8>, shift: u32) -> Self {
        let shift = usize::try_from(shift).unwrap_or(MAX_SHIFT).min(MAX_SHIFT);
        // SAFETY: see above; the page that holds the registers is mapped.
        Self { registers: unsafe { UniqueMmioPointer::new(base.cast()) }, shift }
    }

    fn read_register(&mut self, number: usize) -> u8 {
        self.registers.get(number << self.shift).map_or(0, |mut register| register.read())
    }

    fn write_register(&mut self, number: usize, value: u8) {
        if let Some(mut register) = self.registers.get(number << self.shift) {
            register.write(value);
        }
    }

    /// Turns the FIFO on, and says whether there is one.
    pub(super) fn has_fifo(&mut self) -> bool {
        self.write_register(FIFO_CONTROL, FIFO_ENABLE);
        self.read_register(INTERRUPT_IDENTIFICATION) & IDENTIFICATION_FIFO == IDENTIFICATION_FIFO
    }

    pub(super) fn can_write(&mut self) -> bool {
        self.read_register(LINE_STATUS) & STATUS_HOLDING_EMPTY != 0
    }

    pub(super) fn is_idle(&mut self) -> bool {
        self.read_register(LINE_STATUS) & STATUS_IDLE != 0
    }

    pub(super) fn write(&mut self, byte: u8) {
        self.write_register(DATA, byte);
    }

    pub(super) fn read(&mut self) -> Option<u8> {
        (self.read_register(LINE_STATUS) & STATUS_RECEIVED != 0).then(|| self.read_register(DATA))
    }

    pub(super) fn enable_receive_interrupt(&mut self) {
        self.write_register(INTERRUPT_ENABLE, INTERRUPT_RECEIVED);
    }
}
