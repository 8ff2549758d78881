//! The terminal that a guest's console is shown on.

use std::io::{self, Read};

use anyhow::Context;
use rustix::process::getpgrp;
use rustix::termios::{
    InputModes, LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetpgrp, tcsetattr,
};
use vgpio::control::keyboard::Keyboard;

/// Standard input, if it is a terminal and ours to use. Every key goes to the guest at once, except for those that are
/// signals; the settings are put back when this is dropped.
pub(crate) struct Terminal(Option<Termios>);

impl Terminal {
    pub(crate) fn open() -> Self {
        let terminal = Self(tcgetattr(io::stdin()).ok().filter(|_| is_ours()));
        terminal.make_raw();
        terminal
    }

    /// Makes the settings again that somebody else may have changed.
    pub(crate) fn make_raw(&self) {
        let Some(before) = &self.0 else { return };
        let mut raw = before.clone();
        // As QEMU has them when it is the one who uses the terminal.
        raw.input_modes.remove(
            InputModes::IGNBRK
                | InputModes::BRKINT
                | InputModes::PARMRK
                | InputModes::ISTRIP
                | InputModes::INLCR
                | InputModes::IGNCR
                | InputModes::ICRNL
                | InputModes::IXON,
        );
        raw.local_modes.remove(LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON | LocalModes::IEXTEN);
        raw.special_codes[SpecialCodeIndex::VMIN] = 1;
        apply(&raw);
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            apply(before);
        }
    }
}

fn apply(settings: &Termios) {
    if let Err(error) = tcsetattr(io::stdin(), OptionalActions::Now, settings) {
        log::warn!("Cannot change the terminal's settings: {error}");
    }
}

/// Whether we are in the foreground. A process in the background that uses the terminal is stopped.
fn is_ours() -> bool {
    tcgetpgrp(io::stdin()).is_ok_and(|foreground| foreground == getpgrp())
}

/// Passes on what comes from standard input, from now on, on a thread of its own. A terminal that somebody else uses is
/// left alone.
pub(crate) fn pass_on(keyboard: Keyboard) -> anyhow::Result<()> {
    if tcgetattr(io::stdin()).is_ok() && !is_ours() {
        return Ok(());
    }
    let read = move || {
        let mut typed = [0; 1024];
        // An error is an end, too.
        while let Ok(length @ 1..) = io::stdin().read(&mut typed) {
            if !keyboard.pass_on(typed.get(..length).unwrap_or_default()) {
                break;
            }
        }
    };
    std::thread::Builder::new().name("vgpio-terminal".to_owned()).spawn(read).context("Cannot start a thread")?;
    Ok(())
}
