//! The console: lines out, characters in, and the row in which someone types.

use core::fmt::{self, Write};

use heapless::Deque;

use super::emergency;
use super::interrupts::{self, InterruptError};
use super::screen::Screen;
use super::time::{Clock, SystemClock};
use super::uart::{Uart, UartKind, UartPlace};
use crate::arch;
use crate::device_tree::machine::UartDescription;
use crate::memory::mappings;
use crate::memory::regions::Region;
use crate::memory::translation::Access;
use crate::sync::InterruptLock;

/// Characters that wait to be read. More are dropped.
const INPUT_SIZE: usize = 256;

static CONSOLE: InterruptLock<Console> =
    InterruptLock::new(Console { uart: None, input: Deque::new(), screen: Screen::new() });

struct Console {
    uart: Option<Uart>,
    screen: Screen,
    input: Deque<u8, INPUT_SIZE>,
}

/// Takes a received character, if there is one. Characters are not echoed.
pub fn read() -> Option<u8> {
    CONSOLE.with(|console| {
        console.receive();
        console.input.pop_front()
    })
}

/// Whether [`read`] would give a character. The arrival of one ends a wait for interrupts.
pub fn has_input() -> bool {
    CONSOLE.with(|console| {
        console.receive();
        !console.input.is_empty()
    })
}

/// Makes the last row show `text`. Lines are written above it from now on.
pub fn show_row(text: &str) {
    CONSOLE.with(|console| console.draw(|screen, write| screen.show(text, write)));
}

/// Leaves the last row as it is, and goes to the next one.
pub fn enter_row() {
    CONSOLE.with(|console| console.draw(|screen, write| screen.enter("\n", write)));
}

/// Writes one line without time and level, in one piece. Control characters are replaced.
pub fn write_plain_line(text: fmt::Arguments<'_>) {
    CONSOLE.with(|console| {
        console.above_row(|uart| {
            write_printable(uart, text);
            uart.write(b'\n');
        });
    });
}

/// Rings the terminal's bell.
pub fn ring_bell() {
    CONSOLE.with(|console| console.draw(|_, write| write("\x07")));
}

impl Console {
    /// Changes the last row.
    fn draw(&mut self, change: impl FnOnce(&mut Screen, &mut dyn FnMut(&str))) {
        if let Some(uart) = &mut self.uart {
            change(&mut self.screen, &mut |text| text.bytes().for_each(|byte| uart.write(byte)));
        }
    }

    /// Writes whole lines, and the last row again below them.
    fn above_row(&mut self, write_lines: impl FnOnce(&mut Uart)) {
        self.draw(|screen, write| screen.hide(write));
        if let Some(uart) = &mut self.uart {
            write_lines(uart);
        }
        self.draw(|screen, write| screen.reveal(write));
    }

    /// Moves what was received to the queue.
    fn receive(&mut self) {
        let Some(uart) = &mut self.uart else { return };
        // The bound is for a UART that claims to have something for ever.
        for _ in 0..INPUT_SIZE {
            let Some(byte) = uart.read() else { return };
            let _dropped_if_full = self.input.push_back(byte);
        }
    }
}

/// Writes one line, in one piece: `[    0.012345] INFO  message`.
pub(super) fn write_line(level: &str, message: fmt::Arguments<'_>) {
    let seconds = Seconds::now();
    CONSOLE.with(|console| console.above_row(|uart| format_line(uart, seconds, level, message)));
}

/// The time in front of a line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seconds {
    nanoseconds: u64,
}

impl Seconds {
    pub(super) fn now() -> Self {
        Self { nanoseconds: SystemClock.now().as_nanos() }
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let microseconds = self.nanoseconds / 1000;
        write!(formatter, "{:>5}.{:06}", microseconds / 1_000_000, microseconds % 1_000_000)
    }
}

/// Writes a line to a UART.
pub(super) fn format_line(uart: &mut Uart, seconds: Seconds, level: &str, message: fmt::Arguments<'_>) {
    write_printable(uart, format_args!("[{seconds}] {level:<5} {message}"));
    uart.write(b'\n');
}

fn write_printable(uart: &mut Uart, text: fmt::Arguments<'_>) {
    write_text(&mut |text| text.bytes().for_each(|byte| uart.write(byte)), text);
}

/// Writes text without control characters.
pub(super) fn write_text(write: &mut dyn FnMut(&str), text: fmt::Arguments<'_>) {
    let mut printable = Printable(|character: char| write(character.encode_utf8(&mut [0; 4])));
    // `Printable` has no errors. One of a value's own leaves the line short.
    let _incomplete = printable.write_fmt(text);
}

/// Passes text on without control characters, which could change what the terminal shows of other lines.
struct Printable<F>(F);

impl<F: FnMut(char)> Write for Printable<F> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            (self.0)(if character.is_control() { '?' } else { character });
        }
        Ok(())
    }
}

/// Uses the board's console, until the tree has named one.
pub(super) fn use_board_console() {
    let (kind, base) = arch::layout::board_console();
    let registers = Region::from_size(base, UartPlace::SIZE).unwrap_or(Region::new(base, base));
    // If that fails nobody can be told.
    let _silent = use_uart(kind, registers, 0, None);
}

/// Uses the console that the tree names.
pub(super) fn use_tree_console(description: &UartDescription) -> Result<(), &'static str> {
    use_uart(description.kind, description.registers, description.register_shift, description.clock)
}

fn use_uart(kind: UartKind, registers: Region, register_shift: u32, clock: Option<u32>) -> Result<(), &'static str> {
    let base = usize::try_from(registers.start).map_err(|_| "its address is too large")?;
    let place = UartPlace { kind, base, register_shift };
    let page = Region::from_size(registers.start, UartPlace::SIZE).ok_or("its address is too large")?;
    mappings::map(page, Access::Device).map_err(|_| "its registers cannot be mapped")?;
    #[expect(unsafe_code, reason = "first access to the console")]
    // SAFETY: mapped just now; the address is a multiple of four, and a register that can be read without an effect.
    unsafe { arch::probe_read_u32(place.probe_address()) }.ok_or("nothing answers at its address")?;
    #[expect(unsafe_code, reason = "takes the console's registers over")]
    // SAFETY: mapped as a device, and something answers. The board or the tree says that it is such a UART. The value
    // replaces the previous one; the emergency console is used only when no other code runs any more.
    let mut uart = unsafe { Uart::new(place) }.ok_or("its address is 0")?;
    if !uart.identify() {
        return Err("what answers at its address is no such UART");
    }
    uart.configure(clock);
    emergency::set_console(place);
    CONSOLE.with(|console| console.uart = Some(uart));
    Ok(())
}

/// Lets received characters interrupt.
pub(super) fn enable_input(description: &UartDescription) -> Result<(), InterruptError> {
    let (interrupt, trigger) = description.interrupt.ok_or(InterruptError::NotInTree)?;
    interrupts::register(interrupt, trigger, |_| CONSOLE.with(Console::receive), 0)?;
    CONSOLE.with(|console| {
        if let Some(uart) = &mut console.uart {
            uart.enable_receive_interrupt();
        }
        // What came just before.
        console.receive();
    });
    Ok(())
}

/// Waits for the last line to leave.
pub(super) fn flush() {
    CONSOLE.with(|console| {
        if let Some(uart) = &mut console.uart {
            uart.flush();
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_padded_to_five_and_six_digits() {
        assert_eq!(Seconds { nanoseconds: 12_345_678 }.to_string(), "    0.012345");
        assert_eq!(Seconds { nanoseconds: 98_765_000_001_000 }.to_string(), "98765.000001");
    }

    #[test]
    fn control_characters_are_replaced() {
        let mut seen = String::new();
        write!(Printable(|character| seen.push(character)), "a\u{1b}[2J\r\nb\u{9b}µ").unwrap();
        assert_eq!(seen, "a?[2J??b?µ");
    }
}
