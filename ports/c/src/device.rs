//! From registers to a chip.

use core::ffi::c_void;
use core::mem::MaybeUninit;
use core::time::Duration;

use virtio_gpio::transport::{MmioTransport, Transport};
use virtio_gpio::{Chip, Identified, Options, Parts, SetupError, Sizes, is_gpio_id};

use crate::chip::VirtioGpioChip;
use crate::pointers::{checked, read, write};
use crate::seams::{Kernel, Seams, Shared, VirtioGpioMemory, VirtioGpioPlatform};
use crate::status::{VirtioGpioStatus, of};
use crate::storage::{Counts, Plan, VIRTIO_GPIO_STORAGE_ALIGN};

/// Words of a `virtio_gpio_device`.
pub const VIRTIO_GPIO_DEVICE_WORDS: usize = 40;

/// A device that was identified, and is not open yet. What it holds is the driver's; it may be moved, but not copied and
/// used twice. One that is not wanted after all is just forgotten.
#[repr(C)]
#[derive(Debug)]
pub struct VirtioGpioDevice {
    /// The driver's.
    pub words: [MaybeUninit<u64>; VIRTIO_GPIO_DEVICE_WORDS],
}

/// What a `virtio_gpio_device` holds.
struct Found {
    /// `Found::FULL` as long as the rest is there.
    mark: u64,
    identified: Identified<MmioTransport>,
    seams: Seams,
}

const _: () = {
    assert!(size_of::<Found>() <= size_of::<VirtioGpioDevice>());
    assert!(align_of::<Found>() <= align_of::<VirtioGpioDevice>());
};

impl Found {
    const FULL: u64 = 0x4750_494f_2d66_756c;
    const EMPTY: u64 = 0;
}

/// What a kernel chooses. `virtio_gpio_options_default` fills it.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct VirtioGpioOptions {
    /// How long a request may take, in nanoseconds. Default: 1 s.
    pub timeout: u64,
    /// The longest time, in nanoseconds, for which a caller who waits for an answer polls before the platform's `wait` is
    /// called; 0 for not at all. Default: 50 µs.
    pub poll_limit: u64,
    /// Bytes of line names that are wanted at most; a larger block counts as none. Default: 1024.
    pub names_limit: u32,
    /// The largest size of the queue for requests, and of the draft's queue from the device; a power of two. Default: 64.
    pub request_queue_size: u16,
    /// The largest size of the event queue; two for each line that can be watched at once. Default: 64.
    pub event_queue_size: u16,
    /// Requests that may be under way at once; at least 1. Default: 8.
    pub requests: u16,
    /// Lines that may be in use at once; at least 1. Default: 16.
    pub lines: u16,
    /// Events that may wait for the kernel; at least 1. Default: 32.
    pub events: u16,
    /// How many requests may be under way at once with a device of the 2020 draft. Default: 1, which suits every revision.
    pub draft_requests_in_flight: u16,
}

impl VirtioGpioOptions {
    fn default() -> Self {
        let driver = Options::default();
        let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        Self {
            timeout: nanoseconds(driver.timeout),
            poll_limit: nanoseconds(driver.poll_limit),
            names_limit: 1024,
            request_queue_size: driver.request_queue_size,
            event_queue_size: driver.event_queue_size,
            requests: 8,
            lines: 16,
            events: 32,
            draft_requests_in_flight: driver.draft_requests_in_flight,
        }
    }

    /// Those behind the pointer; the default where it is null.
    ///
    /// # Safety
    ///
    /// Where it is not null and aligned, it leads to options.
    unsafe fn from_pointer(options: *const Self) -> Result<Self, VirtioGpioStatus> {
        if options.is_null() {
            return Ok(Self::default());
        }
        // SAFETY: the caller says so.
        unsafe { read(options) }
    }

    fn of_driver(&self) -> Options {
        Options {
            timeout: Duration::from_nanos(self.timeout),
            request_queue_size: self.request_queue_size,
            event_queue_size: self.event_queue_size,
            draft_requests_in_flight: self.draft_requests_in_flight,
            poll_limit: Duration::from_nanos(self.poll_limit),
        }
    }

    /// What the driver needs for that device with these options.
    fn plan(&self, found: &Found) -> Result<(Sizes, Plan), VirtioGpioStatus> {
        if self.requests == 0 || self.lines == 0 || self.events == 0 {
            return Err(VirtioGpioStatus::BadArgument);
        }
        let device = &found.identified;
        let lines = device.lines().min(self.lines);
        let names = usize::try_from(self.names_limit).unwrap_or(usize::MAX);
        let sizes = Sizes::new(device, &self.of_driver(), lines, names, found.seams.granule())?;
        let counts = Counts {
            requests: sizes.requests.min(self.requests.into()),
            lines: lines.into(),
            events: self.events.into(),
        };
        let plan = Plan::new(&sizes, counts).ok_or(VirtioGpioStatus::TooSmall)?;
        Ok((sizes, plan))
    }
}

/// What a device needs.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct VirtioGpioSizes {
    /// Bytes of memory shared with the device.
    pub memory: usize,
    /// Bytes of storage, which the device does not see.
    pub storage: usize,
}

/// Looks at a virtio-mmio slot, and resets the device that is there, if it is a GPIO device. At most one second. To be
/// called once for each slot; not from an interrupt handler.
///
/// `registers` is the first register, a multiple of 4, and `size` the bytes up to the end of the configuration space, at
/// least 0x100 (0x200 shows the names of a device of the draft as well). `device` is filled on success. `id`, unless it is
/// null, takes the device ID whatever it is; 0 for an empty slot.
///
/// Ends with `VIRTIO_GPIO_STATUS_EMPTY_SLOT` or `…_NOT_GPIO` for most slots of a machine; devices of others are not touched.
///
/// # Safety
///
/// The registers are mapped as device memory for as long as the program runs, and nobody else uses them, unless this fails.
/// The pointers lead to what they say, and the functions of `platform` do what it says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn virtio_gpio_identify(
    registers: *mut c_void,
    size: usize,
    platform: *const VirtioGpioPlatform,
    device: *mut VirtioGpioDevice,
    id: *mut u32,
) -> VirtioGpioStatus {
    let identify = || {
        checked(device)?;
        // SAFETY: the caller's, as the header says.
        let seams = Seams::new(unsafe { read(platform) }?)?;
        let registers = checked(registers.cast::<u32>())?;
        if !id.is_null() {
            // SAFETY: as above.
            unsafe { write(id, 0) }?;
        }
        // SAFETY: the caller vouches for the registers; they are aligned.
        let transport = unsafe { MmioTransport::new(registers.cast(), size) }?;
        if !id.is_null() {
            // SAFETY: as above.
            unsafe { write(id, transport.device_id()) }?;
        }
        if !is_gpio_id(transport.device_id()) {
            return Err(VirtioGpioStatus::NotGpio);
        }
        let identified = Identified::new(transport, &seams, None).map_err(|(error, _)| error)?;
        // SAFETY: not null, and the room is enough for what is put there.
        unsafe { write(device.cast(), Found { mark: Found::FULL, identified, seams }) }
    };
    of(identify())
}

/// The default options.
///
/// # Safety
///
/// `options` has room for them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn virtio_gpio_options_default(options: *mut VirtioGpioOptions) -> VirtioGpioStatus {
    // SAFETY: the caller's, as the header says.
    of(unsafe { write(options, VirtioGpioOptions::default()) })
}

/// What the device needs with these options; null for the default. Does not wait.
///
/// # Safety
///
/// The pointers lead to what they say; the device was identified.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn virtio_gpio_get_sizes(
    device: *const VirtioGpioDevice,
    options: *const VirtioGpioOptions,
    sizes: *mut VirtioGpioSizes,
) -> VirtioGpioStatus {
    let look = || {
        let found = checked(device.cast::<Found>())?;
        // SAFETY: the caller's, as the header says.
        let found = unsafe { found.as_ref() };
        if found.mark != Found::FULL {
            return Err(VirtioGpioStatus::BadArgument);
        }
        // SAFETY: as above.
        let (needed, plan) = unsafe { VirtioGpioOptions::from_pointer(options) }?.plan(found)?;
        // SAFETY: as above.
        unsafe { write(sizes, VirtioGpioSizes { memory: needed.memory, storage: plan.size }) }
    };
    of(look())
}

/// Sets the device up. At most 7 seconds, where it does not answer; not from an interrupt handler.
///
/// `memory` is shared with the device. `storage` is a multiple of `VIRTIO_GPIO_STORAGE_ALIGN`; what it contains does not
/// matter, and it is the driver's until `virtio_gpio_close`. On success `chip` takes a pointer into it. The device is used
/// up, unless this ends with `VIRTIO_GPIO_STATUS_BAD_ARGUMENT`; the platform's `memory_released` says when the memory may be used
/// again.
///
/// # Safety
///
/// The pointers lead to what they say, the device was identified, and nobody else uses memory and storage.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn virtio_gpio_open(
    device: *mut VirtioGpioDevice,
    options: *const VirtioGpioOptions,
    memory: *const VirtioGpioMemory,
    storage: *mut c_void,
    storage_length: usize,
    chip: *mut *mut VirtioGpioChip,
) -> VirtioGpioStatus {
    let open = || {
        let mut place = checked(device.cast::<Found>())?;
        checked(chip)?;
        // SAFETY: the caller's, as the header says.
        let options = unsafe { VirtioGpioOptions::from_pointer(options) }?;
        // SAFETY: as above.
        let memory = unsafe { read(memory) }?;
        let base = checked(storage.cast::<u8>())?;
        // SAFETY: as above.
        let found = unsafe { place.as_mut() };
        let is_aligned = base.addr().get().is_multiple_of(VIRTIO_GPIO_STORAGE_ALIGN);
        if found.mark != Found::FULL || !is_aligned || isize::try_from(storage_length).is_err() {
            return Err(VirtioGpioStatus::BadArgument);
        }
        let memory = Shared::new(&memory, found.seams)?;
        let (sizes, plan) = options.plan(found)?;
        found.mark = Found::EMPTY;
        // SAFETY: the device was there, and is not looked at again.
        let Found { identified, seams, .. } = unsafe { place.read() };
        if storage_length < plan.size {
            return Err(VirtioGpioStatus::TooSmall);
        }
        // SAFETY: as large and as aligned as it must be, and the driver's, as the header says.
        let (pins, storage) = unsafe { plan.cut(base) };
        let parts = Parts { memory, fence: seams, clock: seams };
        let opened: Result<Chip<'static, Kernel>, SetupError> =
            Chip::new(identified, &sizes, parts, storage, options.of_driver());
        let opened = VirtioGpioChip::new(opened?, pins);
        // SAFETY: the plan has room for it at the start, and nothing else there.
        unsafe { write(base.as_ptr().cast(), opened) }?;
        // SAFETY: looked at above.
        unsafe { write(chip, base.as_ptr().cast()) }
    };
    of(open())
}
