//! Runs the driver's own handshake against a device, in every order that the memory model allows: no notification and
//! no interrupt that is needed is left out. With any of the fences missing, the same search finds how one gets lost.
//!
//! The device is written from the specification (VIRTIO 1.2, 2.7.7 and 2.7.10). Each side does its work, says that it
//! wants to be told, looks once more, and sleeps; the other side's signal stays up, as an `eventfd` or an interrupt
//! line does. Whoever sleeps with work left and no signal sleeps for ever.

#[expect(dead_code, reason = "each test uses its own part")]
#[path = "../../src/queue/handshake.rs"]
mod handshake;

use handshake::{Handshake, Words, need_event};
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicU16, Ordering, fence};
use loom::thread;

/// What one side may leave out, to see that it is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    Nothing,
    Release,
    Acquire,
    Full,
}

/// What both sides share.
struct Shared {
    event_index: bool,
    available_index: AtomicU16,
    available_flags: AtomicU16,
    used_event: AtomicU16,
    used_index: AtomicU16,
    used_flags: AtomicU16,
    available_event: AtomicU16,
    /// What a chain and an element of the used ring stand for; [`loom`] sees if one side reads while the other writes.
    chains: [UnsafeCell<u16>; 2],
    elements: [UnsafeCell<u16>; 2],
    notified: AtomicBool,
    interrupted: AtomicBool,
}

impl Shared {
    fn new(event_index: bool) -> Arc<Self> {
        Arc::new(Self {
            event_index,
            available_index: AtomicU16::new(0),
            available_flags: AtomicU16::new(0),
            used_event: AtomicU16::new(0),
            used_index: AtomicU16::new(0),
            used_flags: AtomicU16::new(0),
            available_event: AtomicU16::new(0),
            chains: [UnsafeCell::new(0), UnsafeCell::new(0)],
            elements: [UnsafeCell::new(0), UnsafeCell::new(0)],
            notified: AtomicBool::new(false),
            interrupted: AtomicBool::new(false),
        })
    }
}

/// Writes a cell that belongs to the writer, as the indexes say.
fn write(cell: &UnsafeCell<u16>, value: u16) {
    // SAFETY: loom ends the test if another thread uses the cell at the same time.
    cell.with_mut(|place| unsafe { *place = value });
}

fn read(cell: &UnsafeCell<u16>) -> u16 {
    // SAFETY: as in `write`.
    cell.with(|place| unsafe { *place })
}

/// The driver's access to the shared words.
struct DriverWords<'s>(&'s Shared, Missing);

impl Words for DriverWords<'_> {
    fn set_available_index(&self, index: u16) {
        self.0.available_index.store(index, Ordering::Relaxed);
    }
    fn set_available_flags(&self, flags: u16) {
        self.0.available_flags.store(flags, Ordering::Relaxed);
    }
    fn set_used_event(&self, index: u16) {
        self.0.used_event.store(index, Ordering::Relaxed);
    }
    fn used_index(&self) -> u16 {
        self.0.used_index.load(Ordering::Relaxed)
    }
    fn used_flags(&self) -> u16 {
        self.0.used_flags.load(Ordering::Relaxed)
    }
    fn available_event(&self) -> u16 {
        self.0.available_event.load(Ordering::Relaxed)
    }
    fn release(&self) {
        if self.1 != Missing::Release {
            fence(Ordering::Release);
        }
    }
    fn acquire(&self) {
        if self.1 != Missing::Acquire {
            fence(Ordering::Acquire);
        }
    }
    fn full(&self) {
        if self.1 != Missing::Full {
            fence(Ordering::SeqCst);
        }
    }
}

/// The device's side.
struct Device {
    shared: Arc<Shared>,
    taken: u16,
    used: u16,
}

impl Device {
    /// A device that looks by itself at first and wants no notifications, with both indexes at `start`.
    fn awake(shared: Arc<Shared>, start: u16) -> Self {
        let device = Self { shared, taken: start, used: start };
        device.disable_notifications();
        device
    }

    /// Says that notifications are not wanted: what a device does when it wakes up.
    fn disable_notifications(&self) {
        if self.shared.event_index {
            self.shared.available_event.store(self.taken.wrapping_sub(1), Ordering::Relaxed);
        } else {
            self.shared.used_flags.store(1, Ordering::Relaxed);
        }
    }

    /// Takes what is available.
    fn take(&mut self) {
        let found = self.shared.available_index.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        while self.taken != found {
            assert_eq!(read(&self.shared.chains[usize::from(self.taken % 2)]), self.taken, "the chain is whole");
            self.taken = self.taken.wrapping_add(1);
        }
    }

    /// Takes until there is nothing more, and is ready to sleep then.
    fn take_until_idle(&mut self) {
        loop {
            self.take();
            if self.shared.event_index {
                self.shared.available_event.store(self.taken, Ordering::Relaxed);
            } else {
                self.shared.used_flags.store(0, Ordering::Relaxed);
            }
            fence(Ordering::SeqCst);
            if self.shared.available_index.load(Ordering::Relaxed) == self.taken {
                return;
            }
            self.disable_notifications();
        }
    }

    /// Uses so many chains and interrupts if that is wanted.
    fn complete(&mut self, count: u16) {
        let old = self.used;
        for _ in 0..count {
            write(&self.shared.elements[usize::from(self.used % 2)], self.used);
            self.used = self.used.wrapping_add(1);
        }
        fence(Ordering::Release);
        self.shared.used_index.store(self.used, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let wanted = if self.shared.event_index {
            need_event(self.shared.used_event.load(Ordering::Relaxed), self.used, old)
        } else {
            self.shared.available_flags.load(Ordering::Relaxed) & 1 == 0
        };
        if wanted && self.used != old {
            self.shared.interrupted.store(true, Ordering::Relaxed);
        }
    }
}

/// The driver adds chains, `batch` to a notification; the device, awake at first, goes to sleep.
fn notify(event_index: bool, chains: u16, batch: u16, missing: Missing) {
    loom::model(move || {
        let shared = Shared::new(event_index);
        let mut device = Device::awake(shared.clone(), 0);
        let device = thread::spawn(move || {
            device.take_until_idle();
            device.taken
        });
        let words = DriverWords(&shared, missing);
        let mut driver = Handshake::new(event_index);
        for chain in 0..chains {
            write(&shared.chains[usize::from(chain)], chain);
            driver.publish(&words);
            if (chain + 1) % batch == 0 && driver.should_notify(&words) {
                shared.notified.store(true, Ordering::Relaxed);
            }
        }
        let taken = device.join().unwrap();
        let notified = shared.notified.load(Ordering::Relaxed);
        assert!(taken == chains || notified, "the device sleeps with {taken} of {chains} chains taken");
    });
}

/// The device completes chains, one or several to an index; the driver looks by itself at first, then asks for an
/// interrupt and sleeps. `start` is where both indexes stand.
fn interrupt(event_index: bool, completions: &'static [u16], start: u16, missing: Missing) {
    loom::model(move || {
        let shared = Shared::new(event_index);
        let mut driver = Handshake::new(event_index);
        for _ in 0..start {
            driver.took_one();
        }
        shared.used_index.store(start, Ordering::Relaxed);
        let words = DriverWords(&shared, missing);
        driver.suppress(&words);
        let mut device = Device::awake(shared.clone(), start);
        let device = thread::spawn(move || {
            for &count in completions {
                device.complete(count);
            }
        });
        loop {
            let (_, ahead) = driver.look(&words);
            for _ in 0..ahead {
                let used = driver.used();
                assert_eq!(read(&shared.elements[usize::from(used % 2)]), used, "the element is whole");
                driver.took_one();
            }
            if !driver.rearm(&words) {
                break;
            }
        }
        device.join().unwrap();
        let interrupted = shared.interrupted.load(Ordering::Relaxed);
        let all = start.wrapping_add(completions.iter().sum());
        assert!(driver.used() == all || interrupted, "the driver sleeps at {} of {all}", driver.used());
    });
}

const BOTH_MODES: [bool; 2] = [true, false];

#[test]
fn no_notification_is_lost() {
    for event_index in BOTH_MODES {
        notify(event_index, 1, 1, Missing::Nothing);
        notify(event_index, 2, 1, Missing::Nothing);
        notify(event_index, 2, 2, Missing::Nothing);
    }
}

#[test]
fn no_interrupt_is_lost() {
    for event_index in BOTH_MODES {
        for start in [0, 32767, 65534, 65535] {
            interrupt(event_index, &[1], start, Missing::Nothing);
            interrupt(event_index, &[1, 1], start, Missing::Nothing);
            interrupt(event_index, &[2], start, Missing::Nothing);
        }
    }
}

#[test]
#[should_panic(expected = "the device sleeps with 0 of 1 chains taken")]
fn with_event_indexes_a_notification_is_lost_without_the_full_fence() {
    notify(true, 1, 1, Missing::Full);
}

#[test]
#[should_panic(expected = "the device sleeps with 0 of 1 chains taken")]
fn with_flags_a_notification_is_lost_without_the_full_fence() {
    notify(false, 1, 1, Missing::Full);
}

#[test]
#[should_panic(expected = "the driver sleeps at 0 of 1")]
fn with_event_indexes_an_interrupt_is_lost_without_the_full_fence() {
    interrupt(true, &[1], 0, Missing::Full);
}

#[test]
#[should_panic(expected = "the driver sleeps at 0 of 1")]
fn with_flags_an_interrupt_is_lost_without_the_full_fence() {
    interrupt(false, &[1], 0, Missing::Full);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn a_chain_is_seen_half_without_the_release_fence() {
    notify(true, 1, 1, Missing::Release);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn an_element_is_seen_half_without_the_acquire_fence() {
    interrupt(true, &[1], 0, Missing::Acquire);
}
