//! The self-test for ports (`gpio-selftest`) on a kernel's table. With the feature `selftest` only: it allocates.

extern crate alloc;

use alloc::sync::Arc;
use core::ffi::{c_char, c_void};
use core::fmt;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, Ordering};

use gpio_selftest::{Bus, Direct, Kernel, MEMORY_SIZE, Registers, Report, run};

use crate::pointers::{checked, read, write};
use crate::seams::{Seams, Shared, VirtioGpioMemory, VirtioGpioPlatform};
use crate::status::{VirtioGpioStatus, of};

/// Bytes shared with the simulated device, at least.
pub const VIRTIO_GPIO_SELFTEST_MEMORY: usize = 32768;

/// Bytes of heap, at least.
pub const VIRTIO_GPIO_SELFTEST_HEAP: usize = 131_072;

const _: () = assert!(VIRTIO_GPIO_SELFTEST_MEMORY == MEMORY_SIZE);

/// What the self-test is given.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct VirtioGpioSelftest {
    /// The table under test, as a device's. `memory_released` is not called.
    pub platform: VirtioGpioPlatform,
    /// The memory, as a device's: `VIRTIO_GPIO_SELFTEST_MEMORY` bytes at least.
    pub memory: VirtioGpioMemory,
    /// Where the simulated device reaches the memory. Null, on a coherent machine: where the driver does. Where the table
    /// keeps caches in step it must be another mapping of the same bytes, without caches: the device runs on the
    /// processor whose caches are invalidated.
    pub uncached: *mut c_void,
    /// Memory for what is allocated meanwhile: `VIRTIO_GPIO_SELFTEST_HEAP` bytes at least.
    pub heap: *mut c_void,
    /// Bytes of that.
    pub heap_length: usize,
    /// Prints a piece of a line, or several lines, without a NUL. It gets the platform's `context`. Must not be null.
    pub print: Option<unsafe extern "C" fn(context: *mut c_void, text: *const c_char, length: usize)>,
}

/// What came out.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct VirtioGpioSelftestReport {
    /// Checks that passed.
    pub passed: u32,
    /// Checks that failed; each is named in what was printed.
    pub failed: u32,
    /// Checks that this machine cannot show, or that a failed seam made meaningless.
    pub skipped: u32,
}

/// On a host there is an allocator.
#[cfg(target_os = "none")]
#[global_allocator]
static HEAP: embedded_alloc::LlffHeap = embedded_alloc::LlffHeap::empty();

/// Makes that memory the heap.
///
/// # Safety
///
/// The bytes are nobody else's from now on, also if there is a heap already, which then stays.
unsafe fn begin_heap(start: NonNull<u8>, length: usize) {
    static IS_THERE: AtomicBool = AtomicBool::new(false);
    if !IS_THERE.swap(true, Ordering::Relaxed) {
        #[cfg(target_os = "none")]
        // SAFETY: the caller says so, and this is done once.
        unsafe {
            HEAP.init(start.addr().get(), length);
        }
        let _ = (start, length);
    }
}

/// The kernel under test.
struct Tested {
    seams: Seams,
    memory: VirtioGpioMemory,
    uncached: Option<NonNull<u8>>,
}

impl Kernel for Tested {
    type Transport = Registers;
    type Memory = Shared;
    type Fence = Seams;
    type Clock = Seams;

    fn transport(&self, registers: Registers) -> Registers {
        registers
    }

    fn memory(&self) -> Option<Shared> {
        Shared::new(&self.memory, self.seams).ok()
    }

    fn bus(&self, memory: &Shared) -> Option<Arc<dyn Bus>> {
        let uncached = self.uncached?;
        // SAFETY: the memory is there until the self-test is over, as the header says.
        let direct = unsafe { Direct::new(memory) };
        // SAFETY: as is its other mapping.
        let direct = unsafe { direct.at(uncached) };
        Some(Arc::new(direct))
    }

    fn fence(&self) -> Seams {
        self.seams
    }

    fn clock(&self) -> Seams {
        self.seams
    }
}

/// The kernel's `print`.
struct Console {
    print: unsafe extern "C" fn(context: *mut c_void, text: *const c_char, length: usize),
    context: *mut c_void,
}

impl fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // SAFETY: the kernel's function, with the context beside it.
        unsafe { (self.print)(self.context, text.as_ptr().cast(), text.len()) };
        Ok(())
    }
}

/// Runs the self-test for ports: a device is simulated inside the kernel, in the same thread, and the driver works with it on
/// the table and the memory that it will have in front of a real one. First each function of the table is tried alone, so
/// that one that is wrong is named. Prints TAP, and takes about a second. Not from an interrupt handler.
///
/// Only a library that was built with `--features selftest` has it. Ends with `VIRTIO_GPIO_STATUS_OK` when all checks were
/// made, whatever came out, which is in `report`. The heap that the first call is given is that of all later ones, and
/// stays the library's.
///
/// # Safety
///
/// The pointers lead to what they say, the functions of the table may be called, and nobody else uses memory and heap.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn virtio_gpio_selftest(
    setup: *const VirtioGpioSelftest,
    report: *mut VirtioGpioSelftestReport,
) -> VirtioGpioStatus {
    let test = || {
        checked(report)?;
        // SAFETY: the caller's, as the header says.
        let setup = unsafe { read(setup) }?;
        let print = setup.print.ok_or(VirtioGpioStatus::BadArgument)?;
        // The device is another one for every check, but the memory is the same.
        let seams = Seams::new(VirtioGpioPlatform { memory_released: None, ..setup.platform })?;
        drop(Shared::new(&setup.memory, seams)?);
        let heap = checked(setup.heap.cast::<u8>())?;
        if setup.memory.length < VIRTIO_GPIO_SELFTEST_MEMORY || setup.heap_length < VIRTIO_GPIO_SELFTEST_HEAP {
            return Err(VirtioGpioStatus::TooSmall);
        }
        // SAFETY: the caller's, as the header says.
        unsafe { begin_heap(heap, setup.heap_length) };
        let tested = Tested { seams, memory: setup.memory, uncached: NonNull::new(setup.uncached.cast()) };
        let mut console = Console { print, context: setup.platform.context };
        // The console does not fail.
        let Report { passed, failed, skipped } = run(&tested, &mut console).map_err(|_| VirtioGpioStatus::Other)?;
        let number = |count| u32::try_from(count).unwrap_or(u32::MAX);
        let counts =
            VirtioGpioSelftestReport { passed: number(passed), failed: number(failed), skipped: number(skipped) };
        // SAFETY: looked at above.
        unsafe { write(report, counts) }
    };
    of(test())
}
