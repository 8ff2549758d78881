//! Tests that boot the images under stock QEMU with simulated devices, and look at both sides: what the devices saw,
//! and what the guest printed.
//!
//! Each test runs on every board, and where it makes a difference on modern and legacy virtio-mmio; its name says
//! which: `hil::aarch64::modern::ratified::r8_…`. `cargo test -p hil -- NAME` runs those whose name contains NAME.
#![allow(clippy::arithmetic_side_effects, reason = "an overflow in a test is a failure")]

mod bad_answers;
mod bad_queues;
mod boot;
mod catalogue;
mod control;
mod draft;
mod draft_faults;
mod fault_mix;
mod faults;
mod image;
mod linux;
mod peer;
mod port_c;
mod ports;
mod ratified;
mod selftest;
mod shell;
mod soak;
mod tasks;
mod tree;
mod verdicts;
mod web;
mod wrong_arguments;

use std::num::NonZero;
use std::thread;

use hil::scene::Setting;
use libtest_mimic::{Arguments, Failed, Trial};

/// A test for one setting.
type Case = fn(Setting) -> anyhow::Result<()>;

/// A test's name, where it runs, and what it does.
type Entry = (&'static str, Transports, Case);

/// On which transports a test runs.
#[derive(Clone, Copy)]
enum Transports {
    Both,
    Modern,
}

const GUESTS_FOR_EACH_PROCESSOR: usize = 3;

const BOARDS: [(&str, &str); 2] = [("aarch64", "qemu-virt-aarch64"), ("riscv64", "qemu-virt-riscv64")];

fn main() {
    let mut trials = Vec::new();
    let groups: &[(&str, &[Entry])] = &[
        ("boot", boot::CASES),
        ("tree", tree::CASES),
        ("gic", tree::GIC_CASES),
        ("image", image::CASES),
        ("ratified", ratified::CASES),
        ("draft", draft::CASES),
        ("wrong_arguments", wrong_arguments::CASES),
        ("faults", faults::CASES),
        ("bad_answers", bad_answers::CASES),
        ("bad_queues", bad_queues::CASES),
        ("draft_faults", draft_faults::CASES),
        ("catalogue", catalogue::CASES),
        ("fault_mix", fault_mix::CASES),
        ("soak", soak::CASES),
        ("tasks", tasks::CASES),
        ("selftest", selftest::CASES),
        ("shell", shell::CASES),
        ("ports", ports::CASES),
        ("peer", peer::CASES),
        ("linux", linux::CASES),
        ("port_c", port_c::CASES),
        ("control", control::CASES),
        ("web", web::CASES),
    ];
    for (short, board) in BOARDS {
        for &(group, cases) in groups {
            for &(name, transports, case) in cases {
                for modern in [true, false] {
                    if !modern && matches!(transports, Transports::Modern) {
                        continue;
                    }
                    let version = if modern { "modern" } else { "legacy" };
                    let setting = Setting { board, modern };
                    let run = move || case(setting).map_err(|error| Failed::from(format!("{error:#}")));
                    let trial = Trial::test(format!("hil::{short}::{version}::{group}::{name}"), run);
                    let missing = match group {
                        "gic" => !tree::has_gic(board),
                        "ports" => !ports::are_for(board),
                        "peer" => !peer::is_there(),
                        "port_c" => !port_c::is_there(board),
                        "linux" => !hil::linux::is_there(board),
                        "web" => !web::is_there(),
                        _ => false,
                    };
                    trials.push(trial.with_ignored_flag(missing));
                }
            }
        }
    }
    for &(name, steps) in verdicts::CASES {
        let run = move || verdicts::check(name, steps).map_err(|error| Failed::from(format!("{error:#}")));
        trials.push(Trial::test(format!("hil::verdicts::{name}"), run));
    }
    let mut arguments = Arguments::from_args();
    // A guest mostly waits: for its blink period, or for a device that does not answer. More of them than there are
    // processors fill the time.
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    arguments.test_threads.get_or_insert(processors * GUESTS_FOR_EACH_PROCESSOR);
    libtest_mimic::run(&arguments, trials).exit();
}
