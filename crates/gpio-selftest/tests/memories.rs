//! Memory that driver and device see differently, with the device's own way to it.
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, reason = "a panic is how a test fails")]

use core::ptr::NonNull;
use core::sync::atomic::AtomicU8;
use std::sync::{Arc, Mutex};

use gpio_loopback::Memory;
use gpio_selftest::sabotage::TestClock;
use gpio_selftest::{Bus, Kernel, MEMORY_SIZE, Registers, Report, Shows, run};
use virtio_gpio::fence::CoherentFence;
use virtio_gpio::memory::{Bounce, DmaMemory};

/// A kernel with memory that `make` gives, and the bus to it.
struct With<M> {
    clock: TestClock,
    make: fn() -> (M, Arc<dyn Bus>),
    bus: Mutex<Option<Arc<dyn Bus>>>,
}

impl<M: DmaMemory + Send> Kernel for With<M> {
    type Transport = Registers;
    type Memory = M;
    type Fence = CoherentFence;
    type Clock = TestClock;

    fn transport(&self, registers: Registers) -> Registers {
        registers
    }

    fn memory(&self) -> Option<M> {
        let (memory, bus) = (self.make)();
        *self.bus.lock().unwrap() = Some(bus);
        Some(memory)
    }

    fn bus(&self, _: &M) -> Option<Arc<dyn Bus>> {
        self.bus.lock().unwrap().clone()
    }

    fn shows(&self) -> Shows {
        Shows { caches: true, order: false }
    }

    fn fence(&self) -> CoherentFence {
        CoherentFence
    }

    fn clock(&self) -> TestClock {
        self.clock.clone()
    }
}

fn test<M: DmaMemory + Send>(make: fn() -> (M, Arc<dyn Bus>)) -> (Report, String) {
    let kernel = With { clock: TestClock::new(), make, bus: Mutex::new(None) };
    let mut out = String::new();
    (run(&kernel, &mut out).unwrap(), out)
}

/// Where the device finds what it can reach.
const WINDOW: u64 = 0x12_3456_7000;

#[repr(align(4096))]
struct Page(#[expect(dead_code, reason = "reached by its address")] [AtomicU8; 4096]);

/// Memory that no device can reach.
struct Private(Vec<Page>);

// SAFETY: whole pages, aligned by their type, made of atomics; nobody else has them, and no device is told of them.
unsafe impl DmaMemory for Private {
    fn base(&self) -> NonNull<u8> {
        NonNull::from(&*self.0).cast()
    }

    fn len(&self) -> usize {
        self.0.len() * 4096
    }

    fn device_address(&self) -> u64 {
        0
    }
}

#[test]
fn a_bounce_buffer_passes() {
    let (report, out) = test(|| {
        let (window, bus) = Memory::with_bus(MEMORY_SIZE, WINDOW, 1);
        let pages = (0..MEMORY_SIZE / 4096).map(|_| Page([const { AtomicU8::new(0x5a) }; 4096]));
        (Bounce::new(Private(pages.collect()), window), bus)
    });
    assert!(report.has_passed() && report.skipped == 5, "{out}");
}

/// Memory behind caches, without hooks.
struct Plain(Memory);

// SAFETY: the simulated memory but for its hooks, without which driver and device read poison, in this memory alone.
unsafe impl DmaMemory for Plain {
    fn base(&self) -> NonNull<u8> {
        self.0.base()
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn device_address(&self) -> u64 {
        self.0.device_address()
    }
}

/// Without the hooks, the very first thing that is handed over is missed.
#[test]
fn caches_that_nobody_keeps_in_step_do_not_pass() {
    let (report, out) = test(|| {
        let (memory, bus) = Memory::with_bus(MEMORY_SIZE, WINDOW, 64);
        (Plain(memory), bus)
    });
    assert!(!report.has_passed());
    let first = out.lines().find(|line| line.starts_with("not ok")).unwrap();
    assert!(first.ends_with("the device finds what sync_for_device hands over"), "{out}");
}
