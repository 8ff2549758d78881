//! The self-test of `gpio-selftest` on the image's own seams: fences, clock, and memory that devices can reach. It needs no
//! device. The output is TAP; the exit status says whether all passed.
//!
//! | boot argument | |
//! | --- | --- |
//! | `selftest-break=MISTAKE,…` | in place of that, one run for each mistake, on simulated memory that shows it: `gpio_selftest::sabotage` has their names |
//! | `selftest-memory=KIND` | in place of that, a run without a mistake on simulated memory: `coherent`, `cached` or `weak` |
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use alloc::string::String;
use core::fmt::{self, Write};
use core::ptr::NonNull;

use gpio_selftest::sabotage::{Broken, Machinery, Mistake};
use gpio_selftest::{Kernel, MEMORY_SIZE, Registers, Report};
use guest::platform::dma::{self, StaticDma};
use guest::platform::time::SystemClock;
use guest::platform::{ExitCode, Machine, SystemFence, console};
use log::error;
use virtio_gpio::memory::DmaMemory;

guest::entry!(run);

fn run(machine: &'static Machine) -> ExitCode {
    let argument = |key: &str| {
        machine.bootargs().split_ascii_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    };
    let result = match (argument("selftest-break"), argument("selftest-memory")) {
        (Some(names), _) => names.split(',').map(broken).reduce(|all, one| Ok(all? & one?)).unwrap_or(Ok(true)),
        (None, Some(kind)) => on_memory(kind),
        (None, None) => on_this_machine(),
    };
    match result {
        Ok(true) => ExitCode::Success,
        Ok(false) => ExitCode::Failure,
        Err(problem) => {
            error!("{problem}");
            ExitCode::Failure
        }
    }
}

/// Runs the self-test. Says whether it passed.
fn test(kernel: &impl Kernel) -> Result<bool, &'static str> {
    gpio_selftest::run(kernel, &mut Console::default()).as_ref().map(Report::has_passed).map_err(|_| "no output")
}

fn on_this_machine() -> Result<bool, &'static str> {
    let memory = dma::allocate(MEMORY_SIZE).ok_or("there is no memory")?;
    test(&Image(memory))
}

fn on_memory(kind: &str) -> Result<bool, &'static str> {
    let machinery = Machinery::by_name(kind).ok_or("selftest-memory is coherent, cached or weak")?;
    test(&Broken::new(SystemClock, None).on(machinery))
}

fn broken(name: &str) -> Result<bool, &'static str> {
    let mistake = Mistake::by_name(name).ok_or("selftest-break names a mistake that there is not")?;
    test(&Broken::new(SystemClock, Some(mistake)))
}

/// The image's seams, with one piece of memory for all chips: they come one after the other.
struct Image(StaticDma);

impl Kernel for Image {
    type Transport = Registers;
    type Memory = Again;
    type Fence = SystemFence;
    type Clock = SystemClock;

    fn transport(&self, registers: Registers) -> Registers {
        registers
    }

    fn memory(&self) -> Option<Again> {
        Some(Again { base: self.0.base(), len: self.0.len(), device_address: self.0.device_address() })
    }

    fn fence(&self) -> SystemFence {
        SystemFence
    }

    fn clock(&self) -> SystemClock {
        SystemClock
    }
}

/// Memory that was used before.
struct Again {
    base: NonNull<u8>,
    len: usize,
    device_address: u64,
}

// SAFETY: nothing else has the memory, and it may be reached from anywhere.
unsafe impl Send for Again {}

// SAFETY: the memory is a `StaticDma`'s, there for ever; the self-test uses one value at a time, and nobody else has it.
unsafe impl DmaMemory for Again {
    fn base(&self) -> NonNull<u8> {
        self.base
    }

    fn len(&self) -> usize {
        self.len
    }

    fn device_address(&self) -> u64 {
        self.device_address
    }
}

/// The console, by whole lines.
#[derive(Default)]
struct Console(String);

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut parts = text.split('\n');
        self.0.push_str(parts.next().unwrap_or_default());
        for part in parts {
            console::write_plain_line(format_args!("{}", self.0));
            self.0.clear();
            self.0.push_str(part);
        }
        Ok(())
    }
}
