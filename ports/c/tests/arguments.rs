//! What a kernel can get wrong: pointers that are null or not aligned, numbers out of range. No call may do more than say so.
//! Registers are memory here, in which nothing happens by itself: enough for all that comes before a device answers.
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, reason = "a panic is how a test fails")]
#![allow(clippy::borrow_as_ptr, reason = "what C is given is read better so")]
#![allow(clippy::multiple_unsafe_ops_per_block, reason = "a list of calls with one reason")]

use core::ffi::{CStr, c_void};
use core::mem::MaybeUninit;
use core::ptr::{null, null_mut};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use virtio_gpio_c::{
    VIRTIO_GPIO_DEVICE_WORDS, VirtioGpioChip, VirtioGpioDevice, VirtioGpioMemory, VirtioGpioOptions,
    VirtioGpioPlatform, VirtioGpioSizes, VirtioGpioStatus as Status, virtio_gpio_close, virtio_gpio_device_name,
    virtio_gpio_get_sizes, virtio_gpio_handle_interrupt, virtio_gpio_has_event_under_way, virtio_gpio_identify,
    virtio_gpio_next_deadline, virtio_gpio_next_event, virtio_gpio_open, virtio_gpio_options_default,
    virtio_gpio_output, virtio_gpio_set, virtio_gpio_status_text, virtio_gpio_watch,
};

/// Each test has its own device, and uses it in one thread.
#[unsafe(no_mangle)]
extern "C" fn virtio_gpio_enter_critical() -> usize {
    0
}

#[unsafe(no_mangle)]
extern "C" fn virtio_gpio_leave_critical(_state: usize) {}

/// A millisecond for each look, so that every wait ends.
unsafe extern "C" fn now(_context: *mut c_void) -> u64 {
    static TIME: AtomicU64 = AtomicU64::new(0);
    TIME.fetch_add(1_000_000, Relaxed)
}

/// Counts in the number that is the context.
unsafe extern "C" fn released(context: *mut c_void) {
    // SAFETY: the tests give a counter that is leaked.
    unsafe { &*context.cast::<AtomicU32>() }.fetch_add(1, Relaxed);
}

const EMPTY_DEVICE: VirtioGpioDevice = VirtioGpioDevice { words: [MaybeUninit::new(0); VIRTIO_GPIO_DEVICE_WORDS] };

fn platform() -> VirtioGpioPlatform {
    VirtioGpioPlatform {
        context: null_mut(),
        now: Some(now),
        wait: None,
        relax: None,
        fence_release: None,
        fence_acquire: None,
        fence_full: None,
        fence_before_notify: None,
        fence_after_interrupt: None,
        sync_for_device: None,
        sync_for_driver: None,
        granule: 0,
        memory_released: None,
    }
}

/// A modern device's registers: an ID, 8 lines, no names; one queue size for all queues.
fn registers(id: u32) -> *mut c_void {
    let registers: &'static [AtomicU32; 0x80] = Box::leak(Box::new([const { AtomicU32::new(0) }; 0x80]));
    for (offset, value) in [(0x00, 0x7472_6976), (0x04, 2), (0x08, id), (0x10, 1), (0x34, 64), (0x100, 8)] {
        registers.get(offset / 4).unwrap().store(value, Relaxed);
    }
    (&raw const *registers).cast_mut().cast()
}

fn identify(registers: *mut c_void, platform: &VirtioGpioPlatform, device: *mut VirtioGpioDevice) -> (Status, u32) {
    let mut id = u32::MAX;
    // SAFETY: the registers are memory that is leaked; the rest is there, or null.
    let status = unsafe { virtio_gpio_identify(registers, 0x200, platform, device, &raw mut id) };
    (status, id)
}

#[test]
fn registers_and_tables_are_looked_at() {
    let mut device = EMPTY_DEVICE;
    let place = &raw mut device;
    assert_eq!(identify(null_mut(), &platform(), place).0, Status::BadArgument);
    assert_eq!(identify(registers(41).wrapping_byte_add(2), &platform(), place).0, Status::BadArgument);
    assert_eq!(identify(registers(41), &platform(), null_mut()).0, Status::BadArgument);
    let clockless = VirtioGpioPlatform { now: None, ..platform() };
    assert_eq!(identify(registers(41), &clockless, place).0, Status::BadArgument);
    let odd = VirtioGpioPlatform { granule: 48, ..platform() };
    assert_eq!(identify(registers(41), &odd, place).0, Status::BadArgument);
    assert_eq!(identify(registers(0), &platform(), place), (Status::EmptySlot, 0));
    assert_eq!(identify(registers(2), &platform(), place), (Status::NotGpio, 2));
    // SAFETY: the registers are memory that is leaked; the rest is there, or null.
    let no_table = unsafe { virtio_gpio_identify(registers(41), 0x200, null(), place, null_mut()) };
    assert_eq!(no_table, Status::BadArgument);
    // SAFETY: as above.
    let short = unsafe { virtio_gpio_identify(registers(41), 0xff, &platform(), place, null_mut()) };
    assert_eq!(short, Status::BadArgument);
}

#[test]
fn sizes_want_a_device_and_sensible_options() {
    let mut device = EMPTY_DEVICE;
    let mut sizes = VirtioGpioSizes { memory: 0, storage: 0 };
    let mut options = MaybeUninit::uninit();
    // SAFETY: there is room.
    assert_eq!(unsafe { virtio_gpio_options_default(options.as_mut_ptr()) }, Status::Ok);
    // SAFETY: filled just now.
    let options: VirtioGpioOptions = unsafe { options.assume_init() };
    let ask = |device: *const VirtioGpioDevice, options: *const VirtioGpioOptions, sizes: *mut VirtioGpioSizes| {
        // SAFETY: each is there, or null; the device's words are set.
        unsafe { virtio_gpio_get_sizes(device, options, sizes) }
    };
    assert_eq!(ask(&device, null(), &mut sizes), Status::BadArgument, "not identified");
    assert_eq!(identify(registers(41), &platform(), &raw mut device), (Status::Ok, 41));
    assert_eq!(ask(null(), null(), &mut sizes), Status::BadArgument);
    assert_eq!(ask(&device, null(), null_mut()), Status::BadArgument);
    for wrong in [
        VirtioGpioOptions { lines: 0, ..options },
        VirtioGpioOptions { events: 0, ..options },
        VirtioGpioOptions { requests: 0, ..options },
    ] {
        assert_eq!(ask(&device, &wrong, &mut sizes), Status::BadArgument, "{wrong:?}");
    }
    assert_eq!(ask(&device, &options, &mut sizes), Status::Ok);
    let with_options = (sizes.memory, sizes.storage);
    assert_eq!(ask(&device, null(), &mut sizes), Status::Ok);
    assert_eq!((sizes.memory, sizes.storage), with_options, "null is the default");
    // The demo has that much.
    assert!(sizes.memory <= 64 << 10 && sizes.storage <= 16 << 10, "{sizes:?}");
}

#[derive(Clone)]
#[repr(align(4096))]
struct Page(#[expect(dead_code, reason = "only its address is used")] [u8; 4096]);

const PAGES: usize = 16;

/// Memory for ever: the first byte, and how many.
fn leaked_pages() -> (*mut u8, usize) {
    let pages = vec![Page([0; 4096]); PAGES].leak();
    let length = size_of_val(pages);
    (pages.as_mut_ptr().cast(), length)
}

/// What `virtio_gpio_open` is given, and what it says; and how often it gave the memory back.
fn open(change: impl FnOnce(&mut VirtioGpioMemory, &mut *mut c_void, &mut usize)) -> (Status, u32) {
    let count: &'static AtomicU32 = Box::leak(Box::default());
    let context = (&raw const *count).cast_mut().cast();
    let platform = VirtioGpioPlatform { context, memory_released: Some(released), ..platform() };
    let mut device = EMPTY_DEVICE;
    assert_eq!(identify(registers(41), &platform, &raw mut device), (Status::Ok, 41));
    let (base, length) = leaked_pages();
    let mut memory = VirtioGpioMemory { base: base.cast(), length, device_address: base.expose_provenance() as u64 };
    let (start, mut length) = leaked_pages();
    let mut start = start.cast();
    change(&mut memory, &mut start, &mut length);
    let mut chip: *mut VirtioGpioChip = null_mut();
    // SAFETY: all of it is there and leaked, or is what the call must look at.
    let status = unsafe { virtio_gpio_open(&raw mut device, null(), &memory, start, length, &raw mut chip) };
    assert_eq!(status == Status::Ok, !chip.is_null());
    (status, count.load(Relaxed))
}

#[test]
fn memory_and_storage_are_looked_at() {
    let bad = (Status::BadArgument, 0);
    assert_eq!(open(|memory, _, _| memory.base = null_mut()), bad);
    assert_eq!(open(|memory, _, _| memory.base = memory.base.wrapping_byte_add(16)), bad);
    assert_eq!(open(|memory, _, _| memory.device_address += 512), bad);
    assert_eq!(open(|memory, _, _| memory.device_address = !0xfff), bad);
    assert_eq!(open(|memory, _, _| memory.length = usize::MAX), bad);
    assert_eq!(open(|_, storage, _| *storage = null_mut()), bad);
    assert_eq!(open(|_, storage, _| *storage = storage.wrapping_byte_add(8)), bad);
    assert_eq!(open(|_, _, length| *length = usize::MAX), bad);
    // What was taken is given back.
    assert_eq!(open(|_, _, length| *length = 512), (Status::TooSmall, 1));
    assert_eq!(open(|memory, _, _| memory.length = 4096), (Status::TooSmall, 1));
}

#[test]
fn a_device_that_refuses_a_queue_gives_the_memory_back() {
    // Both queues are the same registers here, so the second one is in use before it is set up. What is written stays, so
    // that the reset is confirmed.
    assert_eq!(open(|_, _, _| ()), (Status::NoQueue, 1));
}

#[test]
fn a_chip_that_is_none_is_refused() {
    let (nothing, _) = leaked_pages();
    for chip in [null_mut(), nothing.wrapping_add(1).cast(), nothing.cast()] {
        let mut line = 0;
        let mut event = MaybeUninit::uninit();
        // SAFETY: null, not aligned, or memory in which there is no chip. So for all of them.
        unsafe {
            assert_eq!(virtio_gpio_output(chip, 0, true, &raw mut line), Status::BadArgument);
            assert_eq!(virtio_gpio_output(chip, 0, true, null_mut()), Status::BadArgument);
            assert_eq!(virtio_gpio_set(chip, 1 << 16, true), Status::BadArgument);
            assert_eq!(virtio_gpio_watch(chip, 1 << 16, 6), Status::BadArgument);
            assert!(!virtio_gpio_next_event(chip, event.as_mut_ptr()));
            assert!(!virtio_gpio_handle_interrupt(chip));
            assert!(!virtio_gpio_has_event_under_way(chip));
            assert!(virtio_gpio_device_name(chip, null_mut()).is_null());
            assert_eq!(virtio_gpio_next_deadline(chip), u64::MAX);
            assert_eq!(virtio_gpio_close(chip), Status::BadArgument);
        }
    }
}

#[test]
fn every_status_has_its_own_text() {
    // SAFETY: the texts are constants that end with a NUL.
    let text = |status: i32| unsafe { CStr::from_ptr(virtio_gpio_status_text(status)) };
    let last = Status::Other as i32;
    for status in 0..last {
        assert_ne!(text(status), text(last), "status {status}");
    }
    assert_eq!((text(-1), text(last + 1)), (text(last), text(last)));
}

#[cfg(feature = "selftest")]
#[test]
fn the_self_tests_setup_is_looked_at() {
    use virtio_gpio_c::{
        VIRTIO_GPIO_SELFTEST_HEAP, VIRTIO_GPIO_SELFTEST_MEMORY, VirtioGpioSelftest, VirtioGpioSelftestReport,
        virtio_gpio_selftest,
    };

    /// Nothing is printed where nothing is tested.
    unsafe extern "C" fn print(_context: *mut c_void, _text: *const core::ffi::c_char, _length: usize) {
        panic!("it ran");
    }
    let (base, length) = leaked_pages();
    let good = VirtioGpioSelftest {
        platform: platform(),
        memory: VirtioGpioMemory { base: base.cast(), length, device_address: base.expose_provenance() as u64 },
        uncached: null_mut(),
        heap: base.cast(),
        heap_length: VIRTIO_GPIO_SELFTEST_HEAP,
        print: Some(print),
    };
    let test = |setup: *const VirtioGpioSelftest| {
        let mut report = VirtioGpioSelftestReport { passed: 0, failed: 0, skipped: 0 };
        // SAFETY: all of it is there, or is what the call must look at.
        unsafe { virtio_gpio_selftest(setup, &raw mut report) }
    };
    let short = VirtioGpioMemory { length: VIRTIO_GPIO_SELFTEST_MEMORY - 1, ..good.memory };
    let odd = VirtioGpioMemory { device_address: 512, ..good.memory };
    let clockless = VirtioGpioPlatform { now: None, ..platform() };
    for (setup, status) in [
        (VirtioGpioSelftest { platform: clockless, ..good }, Status::BadArgument),
        (VirtioGpioSelftest { memory: odd, ..good }, Status::BadArgument),
        (VirtioGpioSelftest { memory: short, ..good }, Status::TooSmall),
        (VirtioGpioSelftest { heap: null_mut(), ..good }, Status::BadArgument),
        (VirtioGpioSelftest { heap_length: VIRTIO_GPIO_SELFTEST_HEAP - 1, ..good }, Status::TooSmall),
        (VirtioGpioSelftest { print: None, ..good }, Status::BadArgument),
    ] {
        assert_eq!(test(&setup), status, "{setup:?}");
    }
    assert_eq!(test(null()), Status::BadArgument);
    // SAFETY: the report is what the call must look at.
    assert_eq!(unsafe { virtio_gpio_selftest(&raw const good, null_mut()) }, Status::BadArgument);
}
