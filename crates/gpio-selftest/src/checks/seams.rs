//! The seams, each by itself: so that the one that is wrong is named.

use alloc::format;
use core::time::Duration;

use gpio_loopback::Settings;
use gpio_model::ratified;
use virtio_gpio::memory::DmaMemory as _;
use virtio_gpio::transport::{DeviceStatus, InterruptStatus, Transport as _};
use virtio_gpio::{InterruptType, Level, LineId, Trigger};

use super::Check;
use crate::bench::{self, DRAFT, Desk, RATIFIED, Raw, Rig, legacy};
use crate::kernel::MEMORY_SIZE;
use crate::outcome::{Failure, Outcome, ensure, ensure_eq};

pub(super) const ALONE: &[Check] = &[
    ("clock: now goes on", clock_goes_on),
    ("clock: now does not go back", clock_does_not_go_back),
    ("clock: wait comes back by its deadline", wait_ends),
    ("clock: wait does not sleep where there is work", wait_asks),
    ("memory: aligned, long enough, and memory", memory_is_memory),
    ("memory: the device finds what sync_for_device hands over", handed_over),
    ("memory: the driver finds what sync_for_driver takes over", taken_over),
    ("memory: handing over leaves the neighbouring granules alone", neighbours),
    ("fence: release orders what was stored before", fence_release),
    ("fence: acquire orders what is loaded behind", fence_acquire),
    ("fence: full orders stores before loads", fence_full),
    ("fence: before_notify makes stores visible to the device that is notified", fence_before_notify),
    ("fence: after_interrupt makes the device's stores visible", fence_after_interrupt),
    ("transport: the registers are the device's", transport_registers),
    ("transport: acknowledging an interrupt says why, once", transport_acknowledges),
];

/// What takes a driver on them.
pub(super) const TOGETHER: &[Check] = &[
    ("transport: a queue that is set up and notified is served", transport_serves),
    ("interrupt: what comes before the acknowledgement is taken with it", acknowledged_first),
    ("interrupt: what comes while the handler runs raises another one", raised_again),
];

pub(super) const AT_THE_END: &[Check] = &[("clock: went on, and not back, in all checks", clock_in_all)];

/// Looks at a clock after which it stands still: more than a tick of any kernel's.
const LOOKS: u32 = 3_000_000;
/// Rounds of what may go well by chance.
const ROUNDS: u16 = 64;

// --- clock ----------------------------------------------------------------------------------------------------------

fn clock_goes_on(rig: &dyn Rig) -> Outcome {
    let start = rig.now();
    if (0..LOOKS).any(|_| rig.now() > start) {
        return Ok(());
    }
    rig.watch().set_still();
    Err(Failure::new(format!(
        "Clock::now said {} ns {LOOKS} times: deadlines never come, and a device that does not answer is waited for for ever",
        start.as_nanos()
    )))
}

fn clock_does_not_go_back(rig: &dyn Rig) -> Outcome {
    let mut last = rig.now();
    for _ in 0..10_000 {
        let now = rig.now();
        ensure!(now >= last, "Clock::now went from {} ns back to {} ns", last.as_nanos(), now.as_nanos());
        last = now;
    }
    Ok(())
}

fn wait_ends(rig: &dyn Rig) -> Outcome {
    const SHORT: Duration = Duration::from_millis(20);
    const LATE: Duration = Duration::from_secs(2);

    ensure!(!rig.watch().stood_still(), "Clock::now stands still, so no deadline comes");
    let deadline = rig.now().after(SHORT);
    let mut calls = 0u32;
    while rig.now() < deadline {
        ensure!(calls < LOOKS, "Clock::now does not reach a deadline in {SHORT:?} in {calls} calls of Clock::wait");
        rig.wait(deadline, &|| true);
        calls = calls.saturating_add(1);
    }
    let late = rig.now().since(deadline);
    ensure!(late < LATE, "Clock::wait came back {late:?} after the deadline: is that in nanoseconds?");
    Ok(())
}

fn wait_asks(rig: &dyn Rig) -> Outcome {
    const LONG: Duration = Duration::from_secs(2);

    ensure!(!rig.watch().stood_still(), "Clock::now stands still, so no deadline comes");
    let deadline = rig.now().after(LONG);
    rig.wait(deadline, &|| false);
    let now = rig.now();
    ensure!(
        now < deadline,
        "Clock::wait slept until the deadline though `idle` says that there is work: an interrupt that comes between the \
         driver's last look and the sleep is slept through"
    );
    Ok(())
}

fn clock_in_all(rig: &dyn Rig) -> Outcome {
    ensure!(!rig.watch().stood_still(), "Clock::now stood still");
    ensure!(!rig.watch().went_back(), "Clock::now went back");
    Ok(())
}

// --- memory ---------------------------------------------------------------------------------------------------------

fn raw(rig: &dyn Rig, mut test: impl FnMut(&Raw<'_>) -> Outcome) -> Outcome {
    rig.raw(&bench::ratified(), &mut test)
}

fn memory_is_memory(rig: &dyn Rig) -> Outcome {
    const ALIGN: u64 = gpio_loopback::Memory::ALIGN as u64;

    raw(rig, |Raw { memory, .. }| {
        let address = memory.processor_address() as u64;
        ensure!(address.is_multiple_of(ALIGN), "DmaMemory::base is {address:#x}: not aligned to {ALIGN}");
        let address = memory.address;
        ensure!(address.is_multiple_of(ALIGN), "DmaMemory::device_address is {address:#x}: not aligned to {ALIGN}");
        ensure!(memory.len >= MEMORY_SIZE, "DmaMemory::len is {}: less than {MEMORY_SIZE}", memory.len);
        let granule = memory.granule;
        ensure!(granule.is_power_of_two(), "DmaMemory::granule is {granule}: no power of two");
        // Each byte is one of its own.
        for round in 0..2u8 {
            let content = |offset: usize| (offset.wrapping_mul(167) >> 3).to_le_bytes().map(|byte| byte ^ round);
            for offset in (0..MEMORY_SIZE).step_by(8) {
                let bytes = content(offset);
                memory.store(offset, bytes.get(..8.min(bytes.len())).unwrap_or_default());
            }
            for offset in (0..MEMORY_SIZE).step_by(8) {
                let found: [u8; size_of::<usize>()] = memory.load(offset);
                ensure_eq!(found, content(offset), "the memory at offset {offset} does not keep what is stored there");
            }
        }
        Ok(())
    })
}

const NO_CACHES: &str = "the device sees memory as the processor does";

fn shows_caches(rig: &dyn Rig) -> Outcome {
    if rig.shows().caches { Ok(()) } else { Err(Failure::Skipped(NO_CACHES)) }
}

/// One of the granules somewhere in the middle.
const PLACE: usize = 4096;
/// Bytes that are looked at.
const PIECE: usize = 8;

fn piece(memory: &bench::RawMemory<'_>, number: usize) -> core::ops::Range<usize> {
    let size = memory.granule.max(PIECE);
    let start = PLACE.saturating_add(number.saturating_mul(size));
    start..start.saturating_add(size)
}

fn handed_over(rig: &dyn Rig) -> Outcome {
    shows_caches(rig)?;
    raw(rig, |Raw { memory, bus, .. }| {
        let range = piece(memory, 0);
        // The second round finds what the first left behind.
        for content in [[0x11; 8], [0x22; 8], [0x33; 8]] {
            memory.store(range.start, &content);
            (memory.sync_for_device)(range.start..range.start.saturating_add(8));
            let mut found = [0; 8];
            bus.read(memory.device_address(range.start), &mut found);
            ensure_eq!(
                found,
                content,
                "DmaMemory::sync_for_device was called, and the device does not find what was stored: does it clean the cache?"
            );
        }
        Ok(())
    })
}

fn taken_over(rig: &dyn Rig) -> Outcome {
    shows_caches(rig)?;
    raw(rig, |Raw { memory, bus, .. }| {
        let range = piece(memory, 0);
        for content in [[0x44; 8], [0x55; 8], [0x66; 8]] {
            // What is in the cache from an earlier look.
            let _: [u8; 8] = memory.load(range.start);
            bus.write(memory.device_address(range.start), &content);
            (memory.sync_for_driver)(range.start..range.start.saturating_add(8));
            ensure_eq!(
                memory.load(range.start),
                content,
                "DmaMemory::sync_for_driver was called, and the driver does not find what the device stored: does it \
                 invalidate the cache?"
            );
        }
        Ok(())
    })
}

fn neighbours(rig: &dyn Rig) -> Outcome {
    shows_caches(rig)?;
    raw(rig, |Raw { memory, bus, .. }| {
        let (own, other) = (piece(memory, 0), piece(memory, 1));
        let theirs = [0x77; 8];
        for place in [other.start, other.end.saturating_sub(8)] {
            memory.store(place, &[0x88; 8]);
        }
        (memory.sync_for_device)(other.clone());
        bus.write(memory.device_address(other.start), &theirs);
        memory.store(own.start, &[0x99; 8]);
        (memory.sync_for_device)(own.clone());
        (memory.sync_for_driver)(other.clone());
        ensure_eq!(
            memory.load(other.start),
            theirs,
            "DmaMemory::sync_for_device of one granule has overwritten what the device stored in the next: is \
             DmaMemory::granule the longest cache line?"
        );
        Ok(())
    })
}

// --- fences ---------------------------------------------------------------------------------------------------------

const NO_ORDER: &str = "the device runs on the driver's own processor, which sees its stores in order";

/// Where a flag and the data that it tells of are.
const FLAG: usize = 2048;
const DATA: usize = 512;

fn fences(rig: &dyn Rig, round: impl Fn(&Raw<'_>, u16) -> Outcome) -> Outcome {
    if !rig.shows().order {
        return Err(Failure::Skipped(NO_ORDER));
    }
    raw(rig, |raw| {
        for offset in [FLAG, DATA] {
            raw.memory.store(offset, &[0; 8]);
        }
        raw.fence.full();
        (1..=ROUNDS).try_for_each(|number| round(raw, number))
    })
}

fn fence_release(rig: &dyn Rig) -> Outcome {
    fences(rig, |Raw { memory, fence, bus, .. }, round| {
        let data = [round.to_le_bytes(); 4];
        memory.store(DATA, data.as_flattened());
        fence.release();
        memory.store(FLAG, &round.to_le_bytes());
        let mut flag = [0; 2];
        bus.read(memory.device_address(FLAG), &mut flag);
        if flag == round.to_le_bytes() {
            let mut found = [0; 8];
            bus.read(memory.device_address(DATA), &mut found);
            ensure_eq!(
                found.as_slice(),
                data.as_flattened(),
                "the device sees what was stored behind Fence::release, and not what was stored before: an index is \
                 published ahead of its chain"
            );
        }
        fence.full();
        Ok(())
    })
}

fn fence_acquire(rig: &dyn Rig) -> Outcome {
    fences(rig, |Raw { memory, fence, bus, .. }, round| {
        let data = [round.to_le_bytes(); 4];
        bus.write(memory.device_address(DATA), data.as_flattened());
        bus.write(memory.device_address(FLAG), &round.to_le_bytes());
        if memory.load(FLAG) == round.to_le_bytes() {
            fence.acquire();
            ensure_eq!(
                memory.load::<8>(DATA).as_slice(),
                data.as_flattened(),
                "the driver has seen the device's index, and behind Fence::acquire it does not see what that tells of: \
                 it reads answers that are not there yet"
            );
        }
        fence.full();
        Ok(())
    })
}

fn fence_full(rig: &dyn Rig) -> Outcome {
    const THEIRS: usize = FLAG + 64;

    fences(rig, |Raw { memory, fence, bus, .. }, round| {
        bus.write(memory.device_address(THEIRS), &round.to_le_bytes());
        memory.store(FLAG, &round.to_le_bytes());
        fence.full();
        let mut flag = [0; 2];
        bus.read(memory.device_address(FLAG), &mut flag);
        ensure_eq!(
            flag,
            round.to_le_bytes(),
            "the device does not see what was stored before Fence::full: the driver looks whether it wants a notification \
             before the device can know of the chain, and neither side goes on"
        );
        ensure_eq!(
            memory.load(THEIRS),
            round.to_le_bytes(),
            "the driver does not see behind Fence::full what the device had stored before: it asks for an interrupt, and \
             misses what came meanwhile"
        );
        Ok(())
    })
}

fn fence_before_notify(rig: &dyn Rig) -> Outcome {
    fences(rig, |Raw { memory, fence, bus, .. }, round| {
        memory.store(FLAG, &round.to_le_bytes());
        fence.before_notify();
        let mut flag = [0; 2];
        bus.read(memory.device_address(FLAG), &mut flag);
        ensure_eq!(
            flag,
            round.to_le_bytes(),
            "the device that is notified behind Fence::before_notify does not see what was stored before: it looks, finds \
             nothing, and sleeps on"
        );
        Ok(())
    })
}

fn fence_after_interrupt(rig: &dyn Rig) -> Outcome {
    fences(rig, |Raw { memory, fence, bus, .. }, round| {
        bus.write(memory.device_address(FLAG), &round.to_le_bytes());
        fence.after_interrupt();
        ensure_eq!(
            memory.load(FLAG),
            round.to_le_bytes(),
            "the driver does not see behind Fence::after_interrupt what the device stored before it interrupted: the \
             interrupt is acknowledged, and nothing is found"
        );
        Ok(())
    })
}

// --- transport ------------------------------------------------------------------------------------------------------

fn transport_registers(rig: &dyn Rig) -> Outcome {
    const OTHER_FEATURE: u64 = 1 << 33;

    for (is_legacy, id) in [(false, RATIFIED), (true, RATIFIED), (false, DRAFT), (true, DRAFT)] {
        let mut settings = Settings { legacy: is_legacy, queue_limits: [256, 128], ..Settings::new(id) };
        settings.features |= OTHER_FEATURE;
        let machine = bench::ratified_with(
            Settings { config: Some(alloc::vec![1, 2, 3, 4, 5, 6, 7, 8]), ..settings },
            ratified::Options::default(),
        );
        let registers = machine.registers();
        rig.raw(&machine, &mut |Raw { transport, .. }| {
            ensure_eq!(transport.device_id(), id, "Transport::device_id");
            ensure_eq!(transport.is_legacy(), is_legacy, "Transport::is_legacy");
            ensure_eq!(transport.device_features(), registers.device_features(), "Transport::device_features");
            ensure_eq!([0, 1, 2].map(|queue| transport.max_queue_size(queue)), [256, 128, 0], "max_queue_size");
            ensure_eq!(transport.read_config_u8(5), 6, "Transport::read_config_u8");
            ensure_eq!(transport.read_config_u16(2), 0x0403, "Transport::read_config_u16");
            ensure_eq!(transport.read_config_u32(4), 0x0807_0605, "Transport::read_config_u32");
            ensure_eq!(transport.read_config_u8(8), 0xff, "Transport::read_config_u8 behind the end");
            let generation = transport.config_generation();
            machine.change_config();
            ensure!(
                is_legacy || transport.config_generation() != generation,
                "Transport::config_generation does not change with the configuration"
            );
            transport.set_status(DeviceStatus::empty());
            for status in [DeviceStatus::ACKNOWLEDGE, DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER] {
                transport.set_status(status);
                ensure_eq!((machine.status(), transport.status()), (status, status), "Transport::set_status, status");
            }
            let wanted = registers.device_features() & !OTHER_FEATURE;
            transport.set_driver_features(wanted);
            ensure_eq!(machine.driver_features(), wanted, "Transport::set_driver_features");
            transport.set_status(DeviceStatus::empty());
            ensure_eq!((machine.status(), transport.status().is_empty()), (DeviceStatus::empty(), true), "a reset");
            Ok(())
        })?;
    }
    Ok(())
}

fn transport_acknowledges(rig: &dyn Rig) -> Outcome {
    let machine = bench::ratified();
    rig.raw(&machine, &mut |Raw { transport, .. }| {
        machine.change_config();
        let why = transport.acknowledge_interrupt();
        ensure!(
            why.contains(InterruptStatus::CONFIG_CHANGE),
            "Transport::acknowledge_interrupt does not say why: {why:?}"
        );
        ensure!(
            !machine.interrupt_raised(),
            "the interrupt is acknowledged too late: it is still raised behind \
             Transport::acknowledge_interrupt"
        );
        let why = transport.acknowledge_interrupt();
        ensure!(why.is_empty(), "Transport::acknowledge_interrupt says so again: {why:?}");
        Ok(())
    })
}

/// All seams together, modern and legacy: a message there and back, and an event.
fn transport_serves(rig: &dyn Rig) -> Outcome {
    for settings in [Settings::new(RATIFIED), legacy(RATIFIED)] {
        let machine = bench::ratified_with(settings, ratified::Options::default());
        rig.with_chip(&machine, |desk| {
            let mut led = desk.output(0, Level::Low)?;
            led.set(Level::High)?;
            ensure_eq!(machine.line(LineId(0)).level(), Level::High, "the level that was set");
            let _button = desk.watched(1, InterruptType::RisingEdge)?;
            desk.drive(1, Level::High)?;
            ensure_eq!(desk.triggers(), [(1, Trigger::Rising)], "the event of a line that rose");
            let statistics = desk.chip.statistics();
            ensure_eq!((statistics.timeouts, statistics.resets), (0, 0), "time-outs and resets");
            Ok(())
        })?;
    }
    Ok(())
}

// --- interrupt ------------------------------------------------------------------------------------------------------

/// Two lines that are watched, and how the second one rises while the first one's interrupt is served. Both edges must come.
fn two_edges(rig: &dyn Rig, rise: impl Fn(&Desk<'_>) -> Outcome, lost: &str) -> Outcome {
    let machine = bench::ratified();
    rig.with_chip(&machine, |desk| {
        let _first = desk.watched(0, InterruptType::RisingEdge)?;
        let _second = desk.watched(1, InterruptType::RisingEdge)?;
        desk.pump()?;
        rise(desk)?;
        ensure_eq!(
            desk.triggers(),
            [(0, Trigger::Rising), (1, Trigger::Rising)],
            "an interrupt is acknowledged too late: {lost}"
        );
        Ok(())
    })
}

fn acknowledged_first(rig: &dyn Rig) -> Outcome {
    let rise = |desk: &Desk<'_>| {
        let device = desk.machine.clone();
        desk.machine.before_acknowledgement(move || device.drive(LineId(1), Some(Level::High)));
        desk.drive(0, Level::High)
    };
    two_edges(
        rig,
        rise,
        "the second edge came before the acknowledgement, and was not looked for behind it. \
         Transport::acknowledge_interrupt acknowledges where it stands, before the queues are looked at",
    )
}

fn raised_again(rig: &dyn Rig) -> Outcome {
    let rise = |desk: &Desk<'_>| {
        desk.machine.drive(LineId(0), Some(Level::High));
        let (machine, mut ran) = (desk.machine, false);
        desk.interrupt(&mut || {
            ran = true;
            machine.drive(LineId(1), Some(Level::High));
        });
        ensure!(ran, "Kernel::interrupt has come back, and the handler has not run");
        desk.pump()
    };
    two_edges(
        rig,
        rise,
        "the second edge came at the end of the handler, and raised nothing. Acknowledge before the handler, at the \
         controller too",
    )
}
