//! Seams with a mistake in them, to see that the self-test finds it; and memory that shows mistakes which a coherent machine
//! hides. Nothing for a product.

mod memory;
mod weak;

use alloc::sync::Arc;
use core::cell::Cell;
use core::fmt;
use core::sync::atomic::{AtomicUsize, Ordering};

use critical_section::Mutex;
use gpio_loopback::{Bus, Memory, Registers};
use virtio_gpio::clock::{Clock, Instant};
use virtio_gpio::fence::Fence;
use virtio_gpio::transport::{DeviceStatus, InterruptStatus, QueueAddresses, QueueSetupError, Transport};

use crate::kernel::{Kernel, MEMORY_SIZE, Shows};

pub use memory::BrokenMemory;
pub use weak::WeakMemory;

/// A mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mistake {
    /// `Clock::now` stands still.
    ClockStandsStill,
    /// `Clock::now` goes back now and then.
    ClockGoesBack,
    /// `Clock::now` stands still from some moment on.
    ClockStops,
    /// `Clock::wait` sleeps until its deadline, whether there is work or not.
    ClockSleepsThrough,
    /// `DmaMemory::sync_for_device` does nothing.
    NoClean,
    /// `DmaMemory::sync_for_driver` does nothing.
    NoInvalidate,
    /// `DmaMemory::granule` is half a cache line.
    SmallGranule,
    /// `DmaMemory::base` is not aligned.
    Misaligned,
    /// `Fence::release` does nothing.
    NoRelease,
    /// `Fence::acquire` does nothing.
    NoAcquire,
    /// `Fence::full` does nothing.
    NoFull,
    /// `Fence::before_notify` does nothing.
    NoBeforeNotify,
    /// `Fence::after_interrupt` does nothing.
    NoAfterInterrupt,
    /// `Transport::acknowledge_interrupt` says why, and acknowledges at the next notification.
    AcknowledgesAtNotification,
    /// The interrupt is acknowledged once more behind the handler.
    AcknowledgesBehindHandler,
    /// `Transport::notify` is lost.
    NoNotification,
}

impl Mistake {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::ClockStandsStill,
        Self::ClockGoesBack,
        Self::ClockStops,
        Self::ClockSleepsThrough,
        Self::NoClean,
        Self::NoInvalidate,
        Self::SmallGranule,
        Self::Misaligned,
        Self::NoRelease,
        Self::NoAcquire,
        Self::NoFull,
        Self::NoBeforeNotify,
        Self::NoAfterInterrupt,
        Self::AcknowledgesAtNotification,
        Self::AcknowledgesBehindHandler,
        Self::NoNotification,
    ];

    /// Its name, as a command line would have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClockStandsStill => "clock-stands-still",
            Self::ClockGoesBack => "clock-goes-back",
            Self::ClockStops => "clock-stops",
            Self::ClockSleepsThrough => "clock-sleeps-through",
            Self::NoClean => "no-clean",
            Self::NoInvalidate => "no-invalidate",
            Self::SmallGranule => "small-granule",
            Self::Misaligned => "misaligned",
            Self::NoRelease => "no-release",
            Self::NoAcquire => "no-acquire",
            Self::NoFull => "no-full",
            Self::NoBeforeNotify => "no-before-notify",
            Self::NoAfterInterrupt => "no-after-interrupt",
            Self::AcknowledgesAtNotification => "acknowledges-at-notification",
            Self::AcknowledgesBehindHandler => "acknowledges-behind-handler",
            Self::NoNotification => "no-notification",
        }
    }

    /// The mistake of that name.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mistake| mistake.name() == name)
    }

    /// The check that fails first.
    pub const fn found_by(self) -> &'static str {
        match self {
            Self::ClockStandsStill => "clock: now goes on",
            Self::ClockGoesBack => "clock: now does not go back",
            Self::ClockStops => "clock: went on, and not back, in all checks",
            Self::ClockSleepsThrough => "clock: wait does not sleep where there is work",
            Self::NoClean => "memory: the device finds what sync_for_device hands over",
            Self::NoInvalidate => "memory: the driver finds what sync_for_driver takes over",
            Self::SmallGranule => "memory: handing over leaves the neighbouring granules alone",
            Self::Misaligned => "memory: aligned, long enough, and memory",
            Self::NoRelease => "fence: release orders what was stored before",
            Self::NoAcquire => "fence: acquire orders what is loaded behind",
            Self::NoFull => "fence: full orders stores before loads",
            Self::NoBeforeNotify => "fence: before_notify makes stores visible to the device that is notified",
            Self::NoAfterInterrupt => "fence: after_interrupt makes the device's stores visible",
            Self::AcknowledgesAtNotification => "transport: acknowledging an interrupt says why, once",
            Self::AcknowledgesBehindHandler => "interrupt: what comes while the handler runs raises another one",
            Self::NoNotification => "transport: a queue that is set up and notified is served",
        }
    }

    /// Whether it is one that memory with caches shows.
    const fn is_of_caches(self) -> bool {
        matches!(self, Self::NoClean | Self::NoInvalidate | Self::SmallGranule)
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the memory of a [`Broken`] kernel shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machinery {
    /// Nothing: it is coherent.
    Coherent,
    /// Caches that are kept in step by hand, with lines of 64 bytes; what was not handed over is poison.
    Cached,
    /// Stores that are seen late, and in any order that the fences allow.
    Weak,
}

impl Machinery {
    /// That of the name `coherent`, `cached` or `weak`.
    pub fn by_name(name: &str) -> Option<Self> {
        Some(match name {
            "coherent" => Self::Coherent,
            "cached" => Self::Cached,
            "weak" => Self::Weak,
            _ => return None,
        })
    }
}

/// A kernel of which nothing but the clock is real, with one mistake or none.
#[derive(Debug)]
pub struct Broken<C> {
    clock: C,
    mistake: Option<Mistake>,
    machinery: Machinery,
    weak: Arc<WeakMemory>,
    looks: Arc<AtomicUsize>,
    /// How often the kernel was asked for its clock, and the time when that was once too often.
    clocks: AtomicUsize,
    stopped: Mutex<Cell<Option<Instant>>>,
}

impl<C: Clock + Clone + Send + Sync> Broken<C> {
    /// A kernel with that mistake, on memory that shows it.
    pub fn new(clock: C, mistake: Option<Mistake>) -> Self {
        let machinery = if mistake.is_some_and(Mistake::is_of_caches) { Machinery::Cached } else { Machinery::Weak };
        Self {
            clock,
            mistake,
            machinery,
            weak: WeakMemory::new(MEMORY_SIZE.saturating_add(4096)),
            looks: Arc::default(),
            clocks: AtomicUsize::new(0),
            stopped: Mutex::new(Cell::new(None)),
        }
    }

    /// The same kernel on other memory.
    #[must_use]
    pub fn on(self, machinery: Machinery) -> Self {
        Self { machinery, ..self }
    }

    fn makes(&self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }
}

/// Where the device finds the simulated memory: nowhere near where the driver does.
const ADDRESS: u64 = 0x4000_0000;

impl<C: Clock + Clone + Send + Sync> Kernel for Broken<C> {
    type Transport = BrokenTransport;
    type Memory = BrokenMemory;
    type Fence = BrokenFence;
    type Clock = BrokenClock<C>;

    fn transport(&self, registers: Registers) -> BrokenTransport {
        BrokenTransport { registers, mistake: self.mistake, owed: AtomicUsize::new(0) }
    }

    fn memory(&self) -> Option<BrokenMemory> {
        let (memory, bus): (_, Arc<dyn Bus>) = match self.machinery {
            Machinery::Weak => {
                self.weak.clear();
                (memory::Kind::Weak(self.weak.clone()), self.weak.clone())
            }
            Machinery::Coherent | Machinery::Cached => {
                let granule = if self.machinery == Machinery::Cached { 64 } else { 1 };
                let (memory, bus) = Memory::with_bus(MEMORY_SIZE.saturating_mul(2), ADDRESS, granule);
                (memory::Kind::Own(memory), bus)
            }
        };
        Some(BrokenMemory::new(memory, bus, self.mistake))
    }

    fn bus(&self, memory: &BrokenMemory) -> Option<Arc<dyn Bus>> {
        Some(memory.bus())
    }

    fn shows(&self) -> Shows {
        Shows { caches: self.machinery == Machinery::Cached, order: self.machinery == Machinery::Weak }
    }

    fn fence(&self) -> BrokenFence {
        BrokenFence { memory: self.weak.clone(), mistake: self.mistake }
    }

    fn clock(&self) -> BrokenClock<C> {
        // In the middle of the checks that take a driver: each asks twice for every chip.
        const ENOUGH: usize = 60;

        let is_enough = self.clocks.fetch_add(1, Ordering::Relaxed) >= ENOUGH;
        let stopped = (self.makes(Mistake::ClockStops) && is_enough).then(|| {
            critical_section::with(|section| {
                let stopped = self.stopped.borrow(section);
                let time = stopped.get().unwrap_or_else(|| self.clock.now());
                stopped.set(Some(time));
                time
            })
        });
        BrokenClock { clock: self.clock.clone(), mistake: self.mistake, looks: self.looks.clone(), stopped }
    }

    fn interrupt(&self, registers: &Registers, handler: &mut (dyn FnMut() + Send)) {
        handler();
        if self.makes(Mistake::AcknowledgesBehindHandler) {
            registers.acknowledge_interrupt();
        }
    }
}

/// The simulated device's registers, with a mistake.
#[derive(Debug)]
pub struct BrokenTransport {
    registers: Registers,
    mistake: Option<Mistake>,
    /// Acknowledgements that are still to be made.
    owed: AtomicUsize,
}

impl Transport for BrokenTransport {
    fn device_id(&self) -> u32 {
        self.registers.device_id()
    }

    fn is_legacy(&self) -> bool {
        self.registers.is_legacy()
    }

    fn device_features(&self) -> u64 {
        self.registers.device_features()
    }

    fn set_driver_features(&self, features: u64) {
        self.registers.set_driver_features(features);
    }

    fn status(&self) -> DeviceStatus {
        self.registers.status()
    }

    fn set_status(&self, status: DeviceStatus) {
        self.registers.set_status(status);
    }

    fn max_queue_size(&self, queue: u16) -> u32 {
        self.registers.max_queue_size(queue)
    }

    fn set_queue(&self, queue: u16, addresses: &QueueAddresses) -> Result<(), QueueSetupError> {
        self.registers.set_queue(queue, addresses)
    }

    fn notify(&self, queue: u16) {
        if self.mistake != Some(Mistake::NoNotification) {
            self.registers.notify(queue);
        }
        if self.owed.swap(0, Ordering::Relaxed) > 0 {
            self.registers.acknowledge_interrupt();
        }
    }

    fn acknowledge_interrupt(&self) -> InterruptStatus {
        if self.mistake == Some(Mistake::AcknowledgesAtNotification) {
            self.owed.store(1, Ordering::Relaxed);
            return self.registers.interrupt_status();
        }
        self.registers.acknowledge_interrupt()
    }

    fn config_generation(&self) -> u32 {
        self.registers.config_generation()
    }

    fn read_config_u8(&self, offset: u16) -> u8 {
        self.registers.read_config_u8(offset)
    }

    fn read_config_u16(&self, offset: u16) -> u16 {
        self.registers.read_config_u16(offset)
    }

    fn read_config_u32(&self, offset: u16) -> u32 {
        self.registers.read_config_u32(offset)
    }
}

/// The fences of a [`WeakMemory`], with one left out.
#[derive(Debug)]
pub struct BrokenFence {
    memory: Arc<WeakMemory>,
    mistake: Option<Mistake>,
}

impl BrokenFence {
    fn unless(&self, mistake: Mistake, fence: impl FnOnce(&WeakMemory)) {
        if self.mistake != Some(mistake) {
            fence(&self.memory);
        }
    }
}

#[expect(unsafe_code, reason = "implements an unsafe trait")]
// SAFETY: driver and simulated device are in one thread, which sees its accesses in order; what the memory hides from either is
// between simulations. A mistake is what the value was made for.
unsafe impl Fence for BrokenFence {
    fn release(&self) {
        self.unless(Mistake::NoRelease, WeakMemory::show_driver_stores);
    }

    fn acquire(&self) {
        self.unless(Mistake::NoAcquire, WeakMemory::show_device_stores);
    }

    fn full(&self) {
        self.unless(Mistake::NoFull, WeakMemory::show_all);
    }

    fn before_notify(&self) {
        self.unless(Mistake::NoBeforeNotify, WeakMemory::show_all);
    }

    fn after_interrupt(&self) {
        self.unless(Mistake::NoAfterInterrupt, WeakMemory::show_all);
    }
}

/// A clock with a mistake.
#[derive(Debug)]
pub struct BrokenClock<C> {
    clock: C,
    mistake: Option<Mistake>,
    looks: Arc<AtomicUsize>,
    stopped: Option<Instant>,
}

impl<C: Clock> Clock for BrokenClock<C> {
    fn now(&self) -> Instant {
        const BACK: u64 = 1_000_000;

        let now = self.stopped.unwrap_or_else(|| self.clock.now());
        match self.mistake {
            Some(Mistake::ClockStandsStill) => Instant::from_nanos(12_345),
            Some(Mistake::ClockGoesBack) if self.looks.fetch_add(1, Ordering::Relaxed) % 1024 == 1023 => {
                Instant::from_nanos(now.as_nanos().saturating_sub(BACK))
            }
            _ => now,
        }
    }

    fn wait(&self, deadline: Instant, idle: &dyn Fn() -> bool) {
        if self.mistake == Some(Mistake::ClockSleepsThrough) {
            while self.now() < deadline {
                self.clock.relax();
            }
        } else {
            self.clock.wait(deadline, idle);
        }
    }

    fn relax(&self) {
        self.clock.relax();
    }
}

/// A clock for a host without one: each look takes a microsecond, and waiting takes no time.
#[derive(Debug, Clone, Default)]
pub struct TestClock(Arc<AtomicUsize>);

impl TestClock {
    const LOOK: u64 = 1_000;

    /// A clock at its start.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Clock for TestClock {
    fn now(&self) -> Instant {
        let looks = u64::try_from(self.0.fetch_add(1, Ordering::Relaxed)).unwrap_or(u64::MAX);
        Instant::from_nanos(looks.saturating_mul(Self::LOOK))
    }
}
