//! Typing into the guest's console, from the terminal and from clients.

use std::io::Write;
use std::sync::mpsc::{self, Receiver, SyncSender};

use anyhow::Context;

/// Pieces of text that may wait for the guest to read them.
const PIECES: usize = 64;

/// Types into the guest's console. Clones type into the same one.
#[derive(Debug, Clone)]
pub struct Keyboard(SyncSender<Vec<u8>>);

/// The other end of the cable.
#[derive(Debug)]
pub struct Cable(Receiver<Vec<u8>>);

impl Keyboard {
    /// A keyboard and its cable, which is to be plugged in.
    pub fn new() -> (Self, Cable) {
        let (sender, receiver) = mpsc::sync_channel(PIECES);
        (Self(sender), Cable(receiver))
    }

    /// Types a text as it is, for the guest. Does not wait: returns false if there is no room for it, because the guest
    /// does not read.
    pub fn type_in(&self, text: String) -> bool {
        // For QEMU, Ctrl-A is the first half of a command of its own; twice, it is one for the guest.
        let bytes = text.into_bytes();
        let mut typed = Vec::with_capacity(bytes.len());
        for byte in bytes {
            typed.push(byte);
            if byte == CTRL_A {
                typed.push(byte);
            }
        }
        self.0.try_send(typed).is_ok()
    }

    /// Passes on what was typed on a terminal, commands for QEMU too. Waits until there is room for it. Returns false
    /// when the guest has gone.
    pub fn pass_on(&self, typed: &[u8]) -> bool {
        self.0.send(typed.to_owned()).is_ok()
    }
}

/// What a terminal sends for Ctrl-A.
const CTRL_A: u8 = 1;

impl Cable {
    /// Plugs the cable into a guest: from now on a thread writes what is typed.
    ///
    /// # Errors
    ///
    /// When there can be no thread.
    pub fn plug_in(self, mut console: impl Write + Send + 'static) -> anyhow::Result<()> {
        let write = move || {
            // A guest that has gone does not read; whoever types hears of it.
            let _ = self.0.into_iter().try_for_each(|typed| {
                console.write_all(&typed)?;
                console.flush()
            });
        };
        std::thread::Builder::new().name("vgpio-keyboard".to_owned()).spawn(write).context("Cannot start a thread")?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_for_the_guest_is_no_command_for_qemu() {
        let (keyboard, cable) = Keyboard::new();
        assert!(keyboard.type_in("a\u{1}x".to_owned()));
        assert!(keyboard.pass_on(b"\x01x"));
        assert_eq!([cable.0.recv().unwrap(), cable.0.recv().unwrap()], [b"a\x01\x01x".to_vec(), b"\x01x".to_vec()]);
    }

    #[test]
    fn guest_that_does_not_read_holds_up_nobody() {
        let (keyboard, _cable) = Keyboard::new();
        for _ in 0..PIECES {
            assert!(keyboard.type_in("x".to_owned()));
        }
        assert!(!keyboard.type_in("x".to_owned()));
    }
}
