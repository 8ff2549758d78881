//! Memory that driver and device see differently, with the device's own way to it.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::sync::{Arc, Mutex};

use gpio_loopback::Memory;
use gpio_selftest::sabotage::TestClock;
use gpio_selftest::{Bus, Kernel, MEMORY_SIZE, Registers, Shows, run};
use virtio_gpio::fence::CoherentFence;
use virtio_gpio::memory::Bounce;

/// Where the device finds what it can reach.
const WINDOW: u64 = 0x12_3456_7000;

/// A kernel whose memory the device cannot reach, and with a window that it can.
#[derive(Default)]
struct Bounced {
    clock: TestClock,
    bus: Mutex<Option<Arc<dyn Bus>>>,
}

impl Kernel for Bounced {
    type Transport = Registers;
    type Memory = Bounce<Memory, Memory>;
    type Fence = CoherentFence;
    type Clock = TestClock;

    fn transport(&self, registers: Registers) -> Registers {
        registers
    }

    fn memory(&self) -> Option<Self::Memory> {
        let (window, bus) = Memory::with_bus(MEMORY_SIZE, WINDOW, 1);
        // No device is told of this one's address.
        let (private, _) = Memory::with_bus(MEMORY_SIZE, 0, 1);
        *self.bus.lock().unwrap() = Some(bus);
        Some(Bounce::new(private, window))
    }

    fn bus(&self, _: &Self::Memory) -> Option<Arc<dyn Bus>> {
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

#[test]
fn a_bounce_buffer_passes() {
    let mut out = String::new();
    let report = run(&Bounced::default(), &mut out).unwrap();
    assert!(report.has_passed() && report.skipped == 5, "{out}");
}
