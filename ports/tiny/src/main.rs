//! Blinks line 0 of a virtio GPIO device and logs the edges of line 1, on QEMU's `virt` machine for RISC-V, with nothing
//! below it but OpenSBI. Ends when line 1 has fallen.
#![no_std]
#![no_main]

use core::arch::{asm, global_asm};
use core::cell::UnsafeCell;
use core::fmt::{self, Write};
use core::panic::PanicInfo;
use core::ptr::NonNull;
use core::time::Duration;

use virtio_gpio::clock::{Clock, Instant};
use virtio_gpio::fence::CoherentFence;
use virtio_gpio::memory::DmaMemory;
use virtio_gpio::transport::{MmioTransport, Transport};
use virtio_gpio::{
    Chip, DescriptorSlot, EventSlot, Identified, InterruptType, Level, LineId, LineSlot, Options, Parts, Platform,
    RequestSlot, Sizes, Storage, Trigger, is_gpio_id,
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
        Ok(()) => say(format_args!("done")),
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

fn find() -> Option<MmioTransport> {
    (0..SLOTS).find_map(|slot| {
        let base = NonNull::new((FIRST_SLOT + slot * SLOT_SIZE) as *mut u8)?;
        // SAFETY: the machine has a slot there, and nobody else uses it.
        let transport = unsafe { MmioTransport::new(base, SLOT_SIZE) }.ok()?;
        is_gpio_id(transport.device_id()).then_some(transport)
    })
}

fn run() -> Result<(), &'static str> {
    let transport = find().ok_or("there is no GPIO device")?;
    let options = Options { request_queue_size: 16, event_queue_size: 16, ..Options::default() };
    let device = Identified::new(transport, &Time, None).map_err(|_| "the device cannot be used")?;
    say(format_args!("a {} device with {} lines", device.protocol(), device.lines()));
    let sizes = Sizes::new(&device, &options, 4, 0, 1).map_err(|_| "the device has no queues")?;
    let storage = Storage {
        descriptors: &mut [DescriptorSlot::EMPTY; 32],
        requests: &mut [RequestSlot::EMPTY; 8],
        lines: &mut [LineSlot::EMPTY; 4],
        events: &mut [EventSlot::EMPTY; 8],
        names: &mut [],
    };
    let parts = Parts { memory: Shared, fence: CoherentFence, clock: Time };
    let chip: Chip<'_, Tiny> =
        Chip::new(device, &sizes, parts, storage, options).map_err(|_| "the device cannot be set up")?;
    blink(&chip).map_err(|_| "a line cannot be used")
}

fn blink(chip: &Chip<'_, Tiny>) -> Result<(), virtio_gpio::Error> {
    let mut led = chip.line(LineId(0))?.into_output(Level::Low).map_err(|rejected| rejected.error)?;
    let mut button = chip.line(LineId(1))?.into_input().map_err(|rejected| rejected.error)?;
    button.watch(InterruptType::BothEdges)?;
    let mut level = Level::Low;
    let mut beat = Time.now();
    loop {
        chip.poll();
        while let Some(event) = chip.next_event() {
            say(format_args!("line {} {} count={}", event.line, event.trigger, event.count));
            if event.trigger == Trigger::Falling {
                return led.release().and(button.release());
            }
        }
        if Time.now() >= beat {
            level = level.toggled();
            led.set(level)?;
            beat = beat.after(Duration::from_millis(50));
        }
    }
}
