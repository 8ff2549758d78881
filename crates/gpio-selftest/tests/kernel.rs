//! The smallest kernel, as docs/porting.md has it: coherent memory, reached by the simulated device where the driver does.
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, reason = "a panic is how a test fails")]

use core::cell::{Cell, UnsafeCell};
use core::fmt::Write;
use core::ptr::NonNull;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::LazyLock;

use gpio_selftest::MEMORY_SIZE;
use virtio_gpio::clock::{Clock, Instant};
use virtio_gpio::fence::CoherentFence;
use virtio_gpio::memory::DmaMemory;

struct Time;

static START: LazyLock<std::time::Instant> = LazyLock::new(std::time::Instant::now);

impl Clock for Time {
    fn now(&self) -> Instant {
        Instant::from_nanos(START.elapsed().as_nanos().try_into().unwrap())
    }
}

#[repr(align(4096))]
struct Area(UnsafeCell<[u8; MEMORY_SIZE]>);

// SAFETY: nobody uses it but the one `Shared` that is in use.
unsafe impl Sync for Area {}

static AREA: Area = Area(UnsafeCell::new([0xa5; MEMORY_SIZE]));

struct Shared;

// SAFETY: the area is as long and as aligned as it says, for ever, and one chip at a time has it.
unsafe impl DmaMemory for Shared {
    fn base(&self) -> NonNull<u8> {
        NonNull::new(AREA.0.get()).unwrap().cast()
    }

    fn len(&self) -> usize {
        MEMORY_SIZE
    }

    fn device_address(&self) -> u64 {
        0x8000_0000
    }
}

use gpio_selftest::{Kernel, Registers, Report};

struct MyKernel;

impl Kernel for MyKernel {
    type Transport = Registers;
    type Memory = Shared;
    type Fence = CoherentFence;
    type Clock = Time;

    fn transport(&self, registers: Registers) -> Registers {
        registers
    }

    fn memory(&self) -> Option<Shared> {
        Some(Shared)
    }

    fn fence(&self) -> CoherentFence {
        CoherentFence
    }

    fn clock(&self) -> Time {
        Time
    }
}

fn self_test(console: &mut impl Write) -> bool {
    gpio_selftest::run(&MyKernel, console).as_ref().is_ok_and(Report::has_passed)
}

/// Counts what this thread allocates: the one that runs the tests does so meanwhile, too.
struct Counting;

thread_local! {
    static NOW: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    NOW.set(NOW.get() + bytes);
    MOST.set(MOST.get().max(NOW.get()));
}

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        // SAFETY: the caller's promises are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-layout.size().cast_signed());
        // SAFETY: the caller's promises are the same.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static HEAP: Counting = Counting;

/// The heap that docs/porting.md promises is enough.
const ENOUGH: isize = 128 * 1024;

#[test]
fn the_smallest_kernel_passes_and_takes_little_heap() {
    let mut console = String::with_capacity(64 * 1024);
    let before = NOW.get();
    MOST.set(before);
    let passed = self_test(&mut console);
    assert!(passed, "{console}");
    assert!(console.ends_with("# 78 passed, 0 failed, 8 skipped\n"), "{console}");
    let most = MOST.get() - before;
    assert!(most <= ENOUGH, "{most} bytes");
    assert_eq!(NOW.get(), before, "nothing is kept");
}
