//! Where someone types.

use core::fmt;

use crate::platform::console;
use crate::platform::virtio_console::VirtioConsole;

/// A terminal with a last row in which someone types, and lines above it.
pub(super) trait Terminal: fmt::Debug {
    /// Takes a received byte, if there is one.
    fn read(&mut self) -> Option<u8>;
    /// Whether [`read`](Self::read) would give one. Asked with interrupts masked.
    fn has_input(&self) -> bool;
    /// Makes the last row show that text.
    fn show_row(&mut self, text: &str);
    /// Leaves the last row as it is, and goes to the next one.
    fn enter_row(&mut self);
    /// Writes a line above the last row.
    fn print(&mut self, line: fmt::Arguments<'_>);
    /// Says that a key has no effect.
    fn ring_bell(&mut self);
    /// Whether there is room for what a step of a command writes.
    fn has_room(&self) -> bool;
    /// Waits until everything is shown, but not long.
    fn flush(&mut self);
}

/// The console, which shows log lines too.
#[derive(Debug)]
pub(super) struct Console;

impl Terminal for Console {
    fn read(&mut self) -> Option<u8> {
        console::read()
    }

    fn has_input(&self) -> bool {
        console::has_input()
    }

    fn show_row(&mut self, text: &str) {
        console::show_row(text);
    }

    fn enter_row(&mut self) {
        console::enter_row();
    }

    fn print(&mut self, line: fmt::Arguments<'_>) {
        console::write_plain_line(line);
    }

    fn ring_bell(&mut self) {
        console::ring_bell();
    }

    // It shows everything at once.
    fn has_room(&self) -> bool {
        true
    }

    fn flush(&mut self) {}
}

impl Terminal for VirtioConsole {
    fn read(&mut self) -> Option<u8> {
        self.read()
    }

    fn has_input(&self) -> bool {
        self.has_input()
    }

    fn show_row(&mut self, text: &str) {
        self.show_row(text);
    }

    fn enter_row(&mut self) {
        self.enter_row();
    }

    fn print(&mut self, line: fmt::Arguments<'_>) {
        self.write_plain_line(line);
    }

    fn ring_bell(&mut self) {
        self.ring_bell();
    }

    fn has_room(&self) -> bool {
        self.has_room()
    }

    fn flush(&mut self) {
        self.flush();
    }
}
