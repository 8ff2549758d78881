//! A scenario whose chip has real lines (`tests/bridge/real.toml`), run as anybody runs one.

use std::process::{Command, Stdio};

use hil::bridge::{LIBRARIES, QEMU, SCENARIO, architecture};
use vgpio::qemu::board::Board;

use crate::linux::wait_until;
use crate::sim::Sim;

/// This side looks at the LED and the door, and is the button.
pub(crate) fn scenario(board: &Board) {
    let sim = Sim::new("a", 8, &["LED", "BUTTON", "DOOR"]);
    let mut test = Command::new("/vgpio")
        .args(["test", SCENARIO, "--qemu", QEMU, "--filter", architecture(&board.name)])
        .env("LD_LIBRARY_PATH", LIBRARIES)
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let mut until = |what: &str, is_so: &dyn Fn() -> bool| {
        wait_until(what, || {
            assert_eq!(test.try_wait().unwrap(), None, "vgpio ended, and what was waited for is: {what}");
            is_so()
        });
    };
    until("the guest switches the LED on", &|| sim.value(0) == 1);
    until("the scenario opens the door when the guest listens", &|| sim.value(2) == 1);
    sim.pull(1, true);
    until("the guest has heard it, and switches the LED off", &|| sim.value(0) == 0);
    sim.pull(1, false);
    let status = test.wait().unwrap();
    assert!(status.success(), "{status}");
    assert!(!sim.is_taken(0) && !sim.is_taken(1) && !sim.is_taken(2), "the lines are given back");
    assert_eq!(sim.value(0), 0);
}
