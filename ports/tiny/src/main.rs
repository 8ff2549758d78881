//! Blinks line 0 of a virtio GPIO device and logs the edges of line 1, on QEMU's `virt` machine for RISC-V, with nothing
//! below it but OpenSBI. Ends when line 1 has fallen.
#![no_std]
#![no_main]

use core::arch::{asm, global_asm};
use core::cell::{Cell, UnsafeCell};
use core::fmt::{self, Write};
use core::panic::PanicInfo;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;

use critical_section::Mutex;
use static_cell::StaticCell;
use virtio_gpio::clock::{Clock, Instant};
use virtio_gpio::fence::CoherentFence;
use virtio_gpio::memory::DmaMemory;
use virtio_gpio::transport::{MmioTransport, Transport};
use virtio_gpio::{
    Chip, DescriptorSlot, Error, EventSlot, Identified, InterruptType, Level, LineId, LineSlot, Notice, Options, Parts,
    Platform, RequestSlot, Sizes, Storage, Trigger, is_gpio_id,
};

global_asm!(
    ".section .start, \"ax\"",
    ".global _start",
    "_start:",
    "    la      sp, stack_end",
    "    la      t0, bss_start",
    "    la      t1, bss_end",
    "1:  bgeu    t0, t1, 2f",
    "    sd      zero, (t0)",
    "    addi    t0, t0, 8",
    "    j       1b",
    "2:  tail    start",
);

#[unsafe(no_mangle)]
extern "C" fn start() -> ! {
    let result = run();
    match &result {
        Ok(()) => say(format_args!("done, {} interrupts", INTERRUPTS.load(Ordering::Relaxed))),
        Err(problem) => say(format_args!("failed: {problem}")),
    }
    power_off(result.is_ok())
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    say(format_args!("{info}"));
    power_off(false)
}

struct Console;

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            // SAFETY: the transmit register of the machine's UART.
            unsafe { (0x1000_0000 as *mut u8).write_volatile(byte) };
        }
        Ok(())
    }
}

fn say(message: fmt::Arguments<'_>) {
    let _ = writeln!(Console, "{message}\r");
}

/// Says why something went wrong, and gives what it was.
fn failed<E: fmt::Display>(what: &'static str) -> impl Fn(E) -> &'static str {
    move |why| {
        say(format_args!("{why}"));
        what
    }
}

fn power_off(success: bool) -> ! {
    let status = if success { 0x5555 } else { 0x1_3333 };
    // SAFETY: the register with which the machine ends.
    unsafe { (0x10_0000 as *mut u32).write_volatile(status) };
    loop {
        core::hint::spin_loop();
    }
}

struct Section;
critical_section::set_impl!(Section);

const INTERRUPTS_ENABLED: usize = 2;

// SAFETY: there is one hart, and nothing comes between while its interrupts are off.
unsafe impl critical_section::Impl for Section {
    unsafe fn acquire() -> bool {
        let before: usize;
        // SAFETY: switches interrupts off, and touches nothing else.
        unsafe { asm!("csrrci {}, sstatus, 2", out(reg) before) };
        before & INTERRUPTS_ENABLED != 0
    }

    unsafe fn release(were_enabled: bool) {
        if were_enabled {
            // SAFETY: they were on.
            unsafe { asm!("csrsi sstatus, 2") };
        }
    }
}

struct Time;

const NANOSECONDS_PER_TICK: u64 = 100;

impl Clock for Time {
    fn now(&self) -> Instant {
        let ticks: u64;
        // SAFETY: reads a counter.
        unsafe { asm!("rdtime {}", out(reg) ticks) };
        Instant::from_nanos(ticks.saturating_mul(NANOSECONDS_PER_TICK))
    }

    fn wait(&self, deadline: Instant, idle: &dyn Fn() -> bool) {
        sleep(deadline, idle);
    }
}

const MEMORY_SIZE: usize = 32 * 1024;

#[repr(align(4096))]
struct Area(UnsafeCell<[u8; MEMORY_SIZE]>);

// SAFETY: nobody uses it but the one `Shared`.
unsafe impl Sync for Area {}

static AREA: Area = Area(UnsafeCell::new([0; MEMORY_SIZE]));

struct Shared;

// SAFETY: the area is as long and as aligned as it says, for ever, and there is one chip, which alone has it. The processor's
// addresses are the device's, because no translation is on, and the caches are coherent.
unsafe impl DmaMemory for Shared {
    fn base(&self) -> NonNull<u8> {
        NonNull::from(&AREA).cast()
    }

    fn len(&self) -> usize {
        MEMORY_SIZE
    }

    fn device_address(&self) -> u64 {
        AREA.0.get() as u64
    }
}

enum Tiny {}

impl Platform for Tiny {
    type Transport = MmioTransport;
    type Memory = Shared;
    type Fence = CoherentFence;
    type Clock = Time;
}

const FIRST_SLOT: usize = 0x1000_1000;
const SLOT_SIZE: usize = 0x1000;
const SLOTS: usize = 8;

const FIRST_SOURCE: usize = 1;

/// The first GPIO device, and its interrupt's source.
fn find() -> Option<(MmioTransport, usize)> {
    (0..SLOTS).find_map(|slot| {
        let base = NonNull::new((FIRST_SLOT + slot * SLOT_SIZE) as *mut u8)?;
        // SAFETY: the machine has a slot there, and nobody else uses it.
        let transport = unsafe { MmioTransport::new(base, SLOT_SIZE) }.ok()?;
        is_gpio_id(transport.device_id()).then_some((transport, FIRST_SOURCE + slot))
    })
}

const QUEUE: u16 = 16;
const LINES: usize = 4;
/// Bytes for the names of lines.
const NAMES: usize = 0;
/// Of `DmaMemory`, which says something else where caches are kept in step by hand.
const GRANULE: usize = 1;

static DESCRIPTORS: StaticCell<[DescriptorSlot; 2 * QUEUE as usize]> = StaticCell::new();
static REQUESTS: StaticCell<[RequestSlot; 8]> = StaticCell::new();
static LINE_SLOTS: StaticCell<[LineSlot; LINES]> = StaticCell::new();
static EVENTS: StaticCell<[EventSlot; 8]> = StaticCell::new();
static CHIP: StaticCell<Chip<'static, Tiny>> = StaticCell::new();

fn run() -> Result<(), &'static str> {
    let (transport, source) = find().ok_or("there is no GPIO device on this machine")?;
    let options = Options { request_queue_size: QUEUE, event_queue_size: QUEUE, ..Options::default() };
    let device = Identified::new(transport, &Time, None)
        .map_err(|(error, _transport)| failed("the device cannot be used")(error))?;
    say(format_args!("a {} device with {} lines", device.protocol(), device.lines()));
    let sizes =
        Sizes::new(&device, &options, LINES as u16, NAMES, GRANULE).map_err(failed("the device has no queues"))?;
    let storage = Storage {
        descriptors: DESCRIPTORS.init([DescriptorSlot::EMPTY; 2 * QUEUE as usize]),
        requests: REQUESTS.init([RequestSlot::EMPTY; 8]),
        lines: LINE_SLOTS.init([LineSlot::EMPTY; LINES]),
        events: EVENTS.init([EventSlot::EMPTY; 8]),
        names: &mut [],
    };
    let parts = Parts { memory: Shared, fence: CoherentFence, clock: Time };
    let chip = Chip::new(device, &sizes, parts, storage, options).map_err(failed("the device cannot be set up"))?;
    let chip: &'static Chip<'static, Tiny> = CHIP.init(chip);
    interrupts_on(chip, source);
    blink(chip).map_err(failed("a line cannot be used"))
}

static HANDLED: Mutex<Cell<Option<&'static Chip<'static, Tiny>>>> = Mutex::new(Cell::new(None));
static INTERRUPTS: AtomicU32 = AtomicU32::new(0);

/// The interrupt controller, and its context for this hart in S-mode.
const PLIC: usize = 0x0c00_0000;
const CONTEXT: usize = 1;
const ENABLE: usize = PLIC + 0x2000 + 0x80 * CONTEXT;
const THRESHOLD: usize = PLIC + 0x20_0000 + 0x1000 * CONTEXT;
const CLAIM: usize = THRESHOLD + 4;

const TIMER: usize = 5;
const EXTERNAL: usize = 9;

fn interrupts_on(chip: &'static Chip<'static, Tiny>, source: usize) {
    critical_section::with(|section| HANDLED.borrow(section).set(Some(chip)));
    set_timer(u64::MAX);
    // SAFETY: registers of the interrupt controller and of the hart, which are nobody else's; the handler is in place.
    unsafe {
        ((PLIC + 4 * source) as *mut u32).write_volatile(1);
        (ENABLE as *mut u32).write_volatile(1 << source);
        (THRESHOLD as *mut u32).write_volatile(0);
        asm!("csrw stvec, {}", in(reg) trap_entry as *const () as usize);
        asm!("csrs sie, {}", in(reg) 1usize << TIMER | 1 << EXTERNAL);
        asm!("csrsi sstatus, 2");
    }
    chip.interrupt_enabled();
}

#[unsafe(no_mangle)]
extern "C" fn trap(cause: usize) {
    const INTERRUPT: usize = 1 << (usize::BITS - 1);
    match cause ^ INTERRUPT {
        TIMER => set_timer(u64::MAX),
        EXTERNAL => {
            let claim = CLAIM as *mut u32;
            // SAFETY: the register with which an interrupt is claimed.
            let source = unsafe { claim.read_volatile() };
            if let Some(chip) = critical_section::with(|section| HANDLED.borrow(section).get())
                && chip.handle_interrupt()
            {
                INTERRUPTS.fetch_add(1, Ordering::Relaxed);
            }
            // SAFETY: the same register, with which it is completed.
            unsafe { claim.write_volatile(source) };
        }
        _ => panic!("trap {cause:#x}"),
    }
}

/// Sleeps until an interrupt or the deadline, if there is nothing to do.
fn sleep(deadline: Instant, idle: &dyn Fn() -> bool) {
    // SAFETY: as in a critical section: what comes after `idle` was asked stays pending, and ends the sleep.
    let were_enabled = unsafe { <Section as critical_section::Impl>::acquire() };
    if were_enabled && idle() {
        set_timer(deadline.as_nanos() / NANOSECONDS_PER_TICK + 1);
        // SAFETY: waits.
        unsafe { asm!("wfi") };
    }
    // SAFETY: what `acquire` gave.
    unsafe { <Section as critical_section::Impl>::release(were_enabled) };
}

fn set_timer(ticks: u64) {
    const TIME: usize = 0x5449_4d45;
    // SAFETY: asks the firmware for the timer's interrupt.
    unsafe { asm!("ecall", inlateout("a0") ticks => _, lateout("a1") _, in("a6") 0, in("a7") TIME) };
}

unsafe extern "C" {
    fn trap_entry();
}

global_asm!(
    ".balign 4",
    "trap_entry:",
    "    addi    sp, sp, -128",
    "    sd      ra, 0(sp)",
    "    .irp n, 0, 1, 2, 3, 4, 5, 6",
    "    sd      t\\n, 8 + 8 * \\n(sp)",
    "    .endr",
    "    .irp n, 0, 1, 2, 3, 4, 5, 6, 7",
    "    sd      a\\n, 64 + 8 * \\n(sp)",
    "    .endr",
    "    csrr    a0, scause",
    "    call    trap",
    "    ld      ra, 0(sp)",
    "    .irp n, 0, 1, 2, 3, 4, 5, 6",
    "    ld      t\\n, 8 + 8 * \\n(sp)",
    "    .endr",
    "    .irp n, 0, 1, 2, 3, 4, 5, 6, 7",
    "    ld      a\\n, 64 + 8 * \\n(sp)",
    "    .endr",
    "    addi    sp, sp, 128",
    "    sret",
);

fn blink(chip: &Chip<'_, Tiny>) -> Result<(), Error> {
    let mut led = chip.line(LineId(0))?.into_output(Level::Low).map_err(|rejected| rejected.error)?;
    let mut button = chip.line(LineId(1))?.into_input().map_err(|rejected| rejected.error)?;
    button.watch(InterruptType::BothEdges)?;
    let mut level = Level::Low;
    let mut beat = Time.now();
    loop {
        chip.poll();
        while let Some(notice) = chip.next_notice() {
            match notice {
                Notice::Resetting(fault) => say(format_args!("gpio0: {fault}; resetting it")),
                Notice::Recovered => say(format_args!("gpio0: recovered, every line is as it was")),
                notice => say(format_args!("gpio0: {notice:?}")),
            }
        }
        while let Some(event) = chip.next_event() {
            let (line, trigger) = (event.line, event.trigger);
            say(format_args!("edge gpio0:{line} - {trigger} level={} count={}", trigger.level(), event.count));
            if trigger == Trigger::Falling {
                return led.release().and(button.release());
            }
        }
        if Time.now() >= beat {
            match led.set(level.toggled()) {
                Ok(()) => level = level.toggled(),
                Err(error @ (Error::LineLost | Error::ChipFailed)) => return Err(error),
                // Refused, not answered in time, or the device is being reset: the next beat tries it again.
                Err(error) => say(format_args!("gpio0:0 -: {error}")),
            }
            beat = Time.now().after(Duration::from_millis(50));
        }
        sleep(chip.next_deadline().map_or(beat, |deadline| deadline.min(beat)), &|| chip.is_idle());
    }
}
