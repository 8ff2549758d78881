//! The first and only program of a small Linux machine with simulated GPIO chips: it starts `vgpio` on them, is the front end
//! and the driver of its device, and looks at the chips from the other side. Its argument is the name of one case.
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, clippy::indexing_slicing, reason = "it is a test")]
#![allow(clippy::print_stdout, reason = "the console is where its results go")]

mod cases;
mod chain;
mod compare;
mod device;
#[path = "../../crates/vgpio/tests/host/driver.rs"]
#[allow(dead_code, reason = "shared with tests that use all of it")]
mod driver;
#[path = "../../crates/vgpio/tests/host/front_end.rs"]
#[allow(dead_code, reason = "shared with tests that use all of it")]
mod front_end;
mod linux;
mod measure;
mod scenario;
mod sim;

use std::panic;

use hil::bridge::{CASES, FAILED, PASSED};
use vgpio::qemu::board::Board;
use virtio_gpio::Protocol;

fn case() -> String {
    std::env::args().nth(1).unwrap()
}

/// The board of the guest inside the machine.
fn guest() -> Board {
    Board::load(hil::bridge::board(&case()).unwrap()).unwrap()
}

fn main() {
    panic::set_hook(Box::new(|info| {
        device::show_logs();
        println!("{info}");
        println!("{FAILED}");
        linux::power_off();
    }));
    linux::prepare();
    let name = case();
    let case = match name.as_str() {
        "ratified" => cases::ratified,
        "pads" => cases::pads,
        "draft" => cases::draft,
        "refused" => cases::refused,
        "removed" => cases::removed,
        "appears" => cases::appears,
        "left" => cases::left,
        "threads" => cases::threads,
        "control" => cases::control,
        "overrun" => cases::overrun,
        "end" => cases::end,
        "chain_ratified_aarch64" | "chain_ratified_riscv64" => || chain::chain(Protocol::Ratified, &guest()),
        "chain_draft_aarch64" | "chain_draft_riscv64" => || chain::chain(Protocol::Draft, &guest()),
        "scenario_aarch64" | "scenario_riscv64" => || scenario::scenario(&guest()),
        "measure" => measure::measure,
        other => panic!("there is no case {other}; there are {CASES:?}"),
    };
    case();
    println!("{PASSED}");
    linux::power_off();
}
