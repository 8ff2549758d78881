//! Uses all that `virtio-gpio` offers, so that a look at the linked code shows which panics are left in it.
//!
//! What a platform supplies comes from functions that are nowhere defined: the optimiser can assume nothing of it, nor of
//! what the device answers.
#![no_std]

use core::hint::black_box;
use core::panic::PanicInfo;
use core::pin::pin;
use core::ptr::NonNull;
use core::task::{Context, Poll, Waker};

use embedded_hal_async::digital::Wait;
use virtio_gpio::clock::{Clock, Instant};
use virtio_gpio::fence::CoherentFence;
use virtio_gpio::memory::DmaMemory;
use virtio_gpio::transport::MmioTransport;
use virtio_gpio::{
    Chip, DescriptorSlot, EventSlot, Identified, InterruptType, Level, LineId, LineSlot, Options, Parts, Platform,
    Port, RequestSlot, Sizes, Storage, run_all,
};

unsafe extern "C" {
    safe fn unknown() -> usize;
    safe fn enter();
    safe fn leave();
    safe fn panicked(info: *const ()) -> !;
}

/// Hands everything on: of a handler that does less, the optimiser would make one piece of code for all panics.
#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    panicked(core::ptr::from_ref(info).cast())
}

struct Section;
critical_section::set_impl!(Section);

// SAFETY: nothing of this is ever run.
unsafe impl critical_section::Impl for Section {
    unsafe fn acquire() {
        enter();
    }
    unsafe fn release((): ()) {
        leave();
    }
}

struct Time;

impl Clock for Time {
    fn now(&self) -> Instant {
        Instant::from_nanos(unknown() as u64)
    }
}

struct Memory;

// SAFETY: nothing of this is ever run.
unsafe impl DmaMemory for Memory {
    fn base(&self) -> NonNull<u8> {
        NonNull::new(unknown() as *mut u8).unwrap_or(NonNull::dangling())
    }
    fn len(&self) -> usize {
        unknown()
    }
    fn device_address(&self) -> u64 {
        unknown() as u64
    }
}

enum Unknown {}

impl Platform for Unknown {
    type Transport = MmioTransport;
    type Memory = Memory;
    type Fence = CoherentFence;
    type Clock = Time;
}

/// Every operation once, with arguments that nobody knows.
#[unsafe(no_mangle)]
extern "C" fn everything(line: u16, size: u16, requests_in_flight: u16) -> Option<NonNull<u8>> {
    let base = NonNull::new(unknown() as *mut u8)?;
    // SAFETY: nothing of this is ever run.
    let transport = unsafe { MmioTransport::new(base, unknown()) }.ok()?;
    let options = Options {
        request_queue_size: size,
        event_queue_size: size,
        draft_requests_in_flight: requests_in_flight,
        ..Options::default()
    };
    let device = Identified::new(transport, &Time, None).ok()?;
    let sizes = Sizes::new(&device, &options, line, unknown(), unknown()).ok()?;
    let storage = Storage {
        descriptors: &mut [DescriptorSlot::EMPTY; 128],
        requests: &mut [RequestSlot::EMPTY; 16],
        lines: &mut [LineSlot::EMPTY; 16],
        events: &mut [EventSlot::EMPTY; 16],
        names: &mut [0; 256],
    };
    let parts = Parts { memory: Memory, fence: CoherentFence, clock: Time };
    let chip: Chip<'_, Unknown> = Chip::new(device, &sizes, parts, storage, options).ok()?;
    let _ = black_box((chip.name(LineId(line)), chip.find("led0"), chip.names().count(), chip.device_name()));
    let _ = black_box((
        chip.is_idle(),
        chip.next_deadline(),
        chip.statistics(),
        chip.resources(),
        chip.has_event_under_way(),
    ));
    let _ = black_box((chip.names_error(), chip.has_failed(), chip.is_recovering(), chip.watch_limit()));

    let mut output = chip.line(LineId(line)).ok()?.into_output(Level::Low).ok()?;
    let _ = black_box((output.set(Level::High), output.level(), output.level_set(), output.direction()));
    let _ = black_box(output.queue_set(Level::Low).ok()?.outcome());
    chip.notify();
    let _ = black_box(output.start_set(Level::Low).ok()?.wait());

    let mut pins = [output];
    let mut port = Port::new(&mut pins).ok()?;
    let _ = black_box((port.write(unknown() as u64, unknown() as u64), port.read()));
    let [mut output] = pins;
    let _ = black_box(run_all(&mut [output.request_set(Level::Low)]));
    let _ = black_box(output.queue_direction().ok()?.wait());

    let mut input = output.into_input().ok()?;
    let _ = black_box(run_all(&mut [input.request_level()]));
    let _ = black_box(input.start_level().ok()?.outcome());
    let _ = black_box((input.watch(InterruptType::BothEdges), input.level(), input.last_level(), chip.reset()));
    let _ = black_box(input.watch(InterruptType::HighLevel));
    chip.handle_interrupt();
    chip.poll();
    while let Some(event) = chip.next_event() {
        let _ = black_box(event);
        input.unmask();
    }
    while let Some(notice) = chip.next_notice() {
        let _ = black_box(notice);
    }
    let _ = black_box(input.release());
    let _ = black_box(poll(tasks(&chip, LineId(line))));
    None
}

/// Polls a future for as long as nobody knows, and drops it.
fn poll<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..unknown() {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return Some(output);
        }
    }
    None
}

/// Every operation that can be awaited.
async fn tasks(chip: &Chip<'_, Unknown>, line: LineId) -> Option<()> {
    let mut output = chip.line_async(line).await.ok()?.into_output_async(Level::Low).await.ok()?;
    let _ = black_box((output.set_async(Level::High).await, output.level_async().await));
    let _ = black_box((output.queue_set(Level::Low).ok()?.await, output.direction_async().await));
    let mut input = output.into_input_async().await.ok()?;
    let _ = black_box((input.wait_for_high().await, input.wait_for_low().await, input.wait_for_any_edge().await));
    let _ = black_box((input.level_async().await, input.direction_async().await, chip.event_async().await));
    let output = input.into_output_async(Level::High).await.ok()?;
    let _ = black_box(output.release_async().await);
    let line = chip.line_async(line).await.ok()?;
    let _ = black_box(line.direction_async().await);
    let _ = black_box(line.into_input_async().await.ok()?.release_async().await);
    None
}

/// The one panic that the look must find. If it does not, it is blind.
#[unsafe(no_mangle)]
extern "C" fn panics_on_purpose(index: usize) -> u8 {
    b"panic"[index]
}
