//! The four seams of the driver, as the kernel's table of functions.

use core::ffi::c_void;
use core::ops::Range;
use core::ptr::NonNull;

use virtio_gpio::Platform;
use virtio_gpio::clock::{Clock, Instant};
use virtio_gpio::fence::{CoherentFence, Fence};
use virtio_gpio::memory::DmaMemory;
use virtio_gpio::transport::MmioTransport;

use crate::pointers::checked;
use crate::status::VirtioGpioStatus;

/// Says whether the driver has nothing to do; called with the argument that came with it. Looks at shared memory only: it
/// is cheap, and can be called with interrupts masked. Not to be kept.
pub type VirtioGpioIdle = unsafe extern "C" fn(argument: *const c_void) -> bool;

/// What a kernel supplies for a device: time, a way to wait, ordering, and caches. The registers are those that
/// `virtio_gpio_identify` is given. The table is copied.
///
/// Every function gets `context`, and may be called from every context in which the kernel calls the driver, also from
/// several at once. All but `now`, `wait` and `relax` are called inside the critical section. None of them may call the
/// driver, but for the `idle` that `wait` is given.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct VirtioGpioPlatform {
    /// What the functions are given.
    pub context: *mut c_void,
    /// The present: nanoseconds since a start that does not change. Never goes back, and goes on with interrupts masked.
    /// Must not be null.
    pub now: Option<unsafe extern "C" fn(context: *mut c_void) -> u64>,
    /// Passes time while the driver waits for its device; called in a loop. Returns when an interrupt may have changed
    /// something, at `deadline` at the latest, or at any earlier moment. One that sleeps masks interrupts, calls
    /// `idle(argument)`, and sleeps only if that says true, in a way that a masked but pending interrupt ends. Null: the
    /// driver polls.
    pub wait: Option<
        unsafe extern "C" fn(context: *mut c_void, deadline: u64, idle: VirtioGpioIdle, argument: *const c_void),
    >,
    /// Passes a moment between two looks of a caller who polls. Null: the processor's hint for that.
    pub relax: Option<unsafe extern "C" fn(context: *mut c_void)>,
    /// Makes all earlier stores to shared memory visible to the device before any later store. Null, as for the next
    /// four: the processor's own fence, which is right where the device is another processor of a cache-coherent machine,
    /// as a hypervisor's device is.
    pub fence_release: Option<unsafe extern "C" fn(context: *mut c_void)>,
    /// Orders all earlier loads from shared memory before any later access.
    pub fence_acquire: Option<unsafe extern "C" fn(context: *mut c_void)>,
    /// Orders all earlier accesses to shared memory, stores included, before all later ones, loads included.
    pub fence_full: Option<unsafe extern "C" fn(context: *mut c_void)>,
    /// Makes all earlier stores to shared memory visible before the register write that notifies the device.
    pub fence_before_notify: Option<unsafe extern "C" fn(context: *mut c_void)>,
    /// Orders the reads of the interrupt registers before any later load from shared memory.
    pub fence_after_interrupt: Option<unsafe extern "C" fn(context: *mut c_void)>,
    /// Hands bytes of the shared memory to the device: cleans the caches' lines that `offset` and `length` touch, and is
    /// over when it returns. Null on a coherent machine.
    pub sync_for_device: Option<unsafe extern "C" fn(context: *mut c_void, offset: usize, length: usize)>,
    /// Takes bytes of the shared memory over from the device: invalidates those lines. Null on a coherent machine.
    pub sync_for_driver: Option<unsafe extern "C" fn(context: *mut c_void, offset: usize, length: usize)>,
    /// Bytes of a cache line where caches are kept in step by hand: what the driver writes and what the device writes
    /// never share one. A power of two; 0 and 1 on a coherent machine.
    pub granule: usize,
    /// Called once, when the driver and its device are done with the shared memory: inside `virtio_gpio_close`, or
    /// inside a `virtio_gpio_open` that fails with anything but `VIRTIO_GPIO_STATUS_BAD_ARGUMENT`. Where it is not
    /// called, the device did not confirm its reset and may still write: the memory must not be used for anything else,
    /// ever. Null where it never is.
    pub memory_released: Option<unsafe extern "C" fn(context: *mut c_void)>,
}

/// Memory that driver and device share.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct VirtioGpioMemory {
    /// The first byte; a multiple of 4096. Nobody else touches the memory, until `memory_released`.
    pub base: *mut c_void,
    /// Bytes; at least `virtio_gpio_get_sizes` says.
    pub length: usize,
    /// Where the device finds the first byte; a multiple of 4096. The others follow.
    pub device_address: u64,
}

/// A table that has all that it must have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seams {
    table: VirtioGpioPlatform,
    now: unsafe extern "C" fn(context: *mut c_void) -> u64,
}

// SAFETY: the header says that the functions may be called from every context, with that context's pointer.
unsafe impl Send for Seams {}
// SAFETY: as above.
unsafe impl Sync for Seams {}

impl Seams {
    pub(crate) fn new(table: VirtioGpioPlatform) -> Result<Self, VirtioGpioStatus> {
        let now = table.now.ok_or(VirtioGpioStatus::BadArgument)?;
        let granule = table.granule.max(1);
        if !granule.is_power_of_two() {
            return Err(VirtioGpioStatus::BadArgument);
        }
        Ok(Self { table: VirtioGpioPlatform { granule, ..table }, now })
    }

    pub(crate) fn granule(&self) -> usize {
        self.table.granule
    }

    /// Calls the kernel's function, if there is one; `otherwise` if not.
    fn call(&self, function: Option<unsafe extern "C" fn(context: *mut c_void)>, otherwise: impl FnOnce()) {
        match function {
            // SAFETY: a function of the kernel's table, with the context beside it.
            Some(function) => unsafe { function(self.table.context) },
            None => otherwise(),
        }
    }
}

impl Clock for Seams {
    fn now(&self) -> Instant {
        // SAFETY: a function of the kernel's table, with the context beside it.
        Instant::from_nanos(unsafe { (self.now)(self.table.context) })
    }

    fn wait(&self, deadline: Instant, idle: &dyn Fn() -> bool) {
        /// Calls the closure whose address `argument` has.
        unsafe extern "C" fn ask(argument: *const c_void) -> bool {
            // SAFETY: `argument` is what the kernel was given together with this function: the address of a reference
            // that lives until `wait` returns, and the header forbids to keep it.
            let idle = unsafe { *argument.cast::<&dyn Fn() -> bool>() };
            idle()
        }
        match self.table.wait {
            Some(wait) => {
                let argument = (&raw const idle).cast();
                // SAFETY: a function of the kernel's table, with the context beside it, and the argument that `ask` wants.
                unsafe { wait(self.table.context, deadline.as_nanos(), ask, argument) }
            }
            None => core::hint::spin_loop(),
        }
    }

    fn relax(&self) {
        self.call(self.table.relax, core::hint::spin_loop);
    }
}

// SAFETY: the header asks the kernel's functions for what each method says; the others are `CoherentFence`'s.
unsafe impl Fence for Seams {
    fn release(&self) {
        self.call(self.table.fence_release, || CoherentFence.release());
    }

    fn acquire(&self) {
        self.call(self.table.fence_acquire, || CoherentFence.acquire());
    }

    fn full(&self) {
        self.call(self.table.fence_full, || CoherentFence.full());
    }

    fn before_notify(&self) {
        self.call(self.table.fence_before_notify, || self.full());
    }

    fn after_interrupt(&self) {
        self.call(self.table.fence_after_interrupt, || self.full());
    }
}

/// The kernel's memory, until it is given back.
#[derive(Debug)]
pub(crate) struct Shared {
    base: NonNull<u8>,
    length: usize,
    device_address: u64,
    seams: Seams,
}

// SAFETY: nobody else has the memory, as the header says.
unsafe impl Send for Shared {}

impl Shared {
    /// The memory, if its addresses are what they must be.
    pub(crate) fn new(memory: &VirtioGpioMemory, seams: Seams) -> Result<Self, VirtioGpioStatus> {
        let base = checked(memory.base.cast::<u8>())?;
        let is_aligned =
            base.addr().get().is_multiple_of(Self::ALIGN) && memory.device_address.is_multiple_of(Self::ALIGN as u64);
        let ends = isize::try_from(memory.length).is_ok()
            && base.addr().get().checked_add(memory.length).is_some()
            && memory.device_address.checked_add(memory.length as u64).is_some();
        if !is_aligned || !ends {
            return Err(VirtioGpioStatus::BadArgument);
        }
        Ok(Self { base, length: memory.length, device_address: memory.device_address, seams })
    }
}

impl Drop for Shared {
    /// The driver drops its memory only when the device has stopped to use it.
    fn drop(&mut self) {
        self.seams.call(self.seams.table.memory_released, || ());
    }
}

// SAFETY: the header asks the kernel for what the trait asks for; null, alignment and overflow were looked at.
unsafe impl DmaMemory for Shared {
    fn base(&self) -> NonNull<u8> {
        self.base
    }

    fn len(&self) -> usize {
        self.length
    }

    fn device_address(&self) -> u64 {
        self.device_address
    }

    fn granule(&self) -> usize {
        self.seams.granule()
    }

    fn sync_for_device(&self, range: Range<usize>) {
        if let Some(sync) = self.seams.table.sync_for_device {
            // SAFETY: a function of the kernel's table, with the context beside it.
            unsafe { sync(self.seams.table.context, range.start, range.len()) }
        }
    }

    fn sync_for_driver(&self, range: Range<usize>) {
        if let Some(sync) = self.seams.table.sync_for_driver {
            // SAFETY: a function of the kernel's table, with the context beside it.
            unsafe { sync(self.seams.table.context, range.start, range.len()) }
        }
    }
}

/// The types of a chip of this library.
#[derive(Debug)]
pub(crate) enum Kernel {}

impl Platform for Kernel {
    type Transport = MmioTransport;
    type Memory = Shared;
    type Fence = Seams;
    type Clock = Seams;
}
