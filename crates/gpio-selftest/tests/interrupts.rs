//! The simulated device's interrupts by the way of real ones: here a thread takes them, as another processor would.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is how a test fails")]

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use gpio_selftest::sabotage::{Broken, BrokenClock, BrokenFence, BrokenMemory, BrokenTransport, TestClock};
use gpio_selftest::{Bus, InterruptSlot, Kernel, Registers, Report, Shows, run};

/// A kernel whose interrupts come by `raise`.
struct Interrupted<F> {
    seams: Broken<TestClock>,
    slot: Arc<InterruptSlot>,
    raise: F,
}

impl<F: Fn()> Kernel for Interrupted<F> {
    type Transport = BrokenTransport;
    type Memory = BrokenMemory;
    type Fence = BrokenFence;
    type Clock = BrokenClock<TestClock>;

    fn transport(&self, registers: Registers) -> BrokenTransport {
        self.seams.transport(registers)
    }

    fn memory(&self) -> Option<BrokenMemory> {
        self.seams.memory()
    }

    fn bus(&self, memory: &BrokenMemory) -> Option<Arc<dyn Bus>> {
        self.seams.bus(memory)
    }

    fn shows(&self) -> Shows {
        self.seams.shows()
    }

    fn fence(&self) -> BrokenFence {
        self.seams.fence()
    }

    fn clock(&self) -> BrokenClock<TestClock> {
        self.seams.clock()
    }

    fn interrupt(&self, _: &Registers, handler: &mut (dyn FnMut() + Send)) {
        self.slot.lend(handler, &self.raise);
    }
}

fn test(slot: Arc<InterruptSlot>, raise: impl Fn()) -> (Report, String) {
    let kernel = Interrupted { seams: Broken::new(TestClock::new(), None), slot, raise };
    let mut out = String::new();
    (run(&kernel, &mut out).unwrap(), out)
}

/// The interrupts' side: serves each, and says so.
fn serve(slot: &InterruptSlot, raised: &Receiver<()>, served: &Sender<()>) {
    for () in raised {
        assert!(slot.serve());
        served.send(()).expect("the kernel waits");
    }
}

#[test]
fn all_is_well_with_interrupts_elsewhere() {
    let slot = Arc::<InterruptSlot>::default();
    let (raise, raised) = channel();
    let (done, served) = channel();
    let served = Mutex::new(served);
    thread::scope(|scope| {
        scope.spawn({
            let slot = slot.clone();
            move || serve(&slot, &raised, &done)
        });
        let (report, out) = test(slot, move || {
            raise.send(()).unwrap();
            served.lock().unwrap().recv().unwrap();
        });
        assert!(report.has_passed(), "{out}");
    });
}

#[test]
fn interrupts_that_do_not_come_are_found() {
    let (report, out) = test(Arc::default(), || ());
    assert!(!report.has_passed());
    let failed: Vec<_> = out.lines().filter(|line| line.starts_with("not ok")).collect();
    assert!(failed.iter().any(|line| line.contains("interrupt: ")), "{out}");
}
