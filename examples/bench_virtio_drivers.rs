//! What the queue of the crate `virtio-drivers` makes possible: the least that a client of a ratified device needs, with
//! that queue and this project's transport, because the crate's own refuses GPIO devices. It polls and never sleeps, as
//! that queue's own way to wait does. For `scripts/bench`; the words are a part of those of `bench.rs`: `set:LINES:CALLS`
//! for up to 31 lines and `get:CALLS`.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![allow(clippy::arithmetic_side_effects, reason = "times and counts of a benchmark, none of them large")]

extern crate alloc;

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::ptr::NonNull;

use guest::platform::time::{Clock, SystemClock};
use guest::platform::{ExitCode, Machine, dma};
use log::{error, info};
use virtio_drivers::queue::VirtQueue;
use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use virtio_drivers::{BufferDirection, Hal, PAGE_SIZE, PhysAddr};
use virtio_gpio::memory::DmaMemory;
use virtio_gpio::messages::ratified::{RESPONSE_SIZE, Request, Status};
use virtio_gpio::transport::{self, MmioTransport, QueueAddresses, Transport as _};
use virtio_gpio::{Direction, Level, LineId};

guest::entry!(run);

/// As large as the image's own driver makes it.
const QUEUE_SIZE: usize = 64;
const REQUEST_QUEUE: u16 = 0;
/// VIRTIO 1.2, 6: event index and version 1.
const FEATURES: u64 = 1 << 29 | 1 << 32;

fn run(machine: &'static Machine) -> ExitCode {
    match measure(machine) {
        Ok(()) => ExitCode::Success,
        Err(message) => {
            error!("{message}");
            ExitCode::Failure
        }
    }
}

fn measure(machine: &Machine) -> Result<(), String> {
    let mut client = find(machine)?;
    let refused = |()| String::from("the device refused a request");
    for word in machine.bootargs().split_ascii_whitespace() {
        let mut arguments = word.split(':');
        let what = arguments.next();
        let mut number = || arguments.next().and_then(|word| word.parse().ok()).ok_or(format!("{word}: a number?"));
        match what {
            Some("set") => {
                let (lines, calls): (u32, u32) = (number()?, number()?);
                let lines: Vec<LineId> = (0..=u16::MAX).map(LineId).take(lines.try_into().unwrap_or(0)).collect();
                for &line in &lines {
                    let output = Request::SetDirection(line, Direction::Output);
                    client.run(&[Request::SetValue(line, Level::Low)]).map_err(refused)?;
                    client.run(&[output]).map_err(refused)?;
                }
                let requests = [Level::High, Level::Low]
                    .map(|level| lines.iter().map(|&line| Request::SetValue(line, level)).collect::<Vec<_>>());
                client.time("set", calls, &requests).map_err(refused)?;
            }
            Some("get") => {
                let get = vec![Request::GetValue(LineId(0))];
                client.time("get", number()?, &[get.clone(), get]).map_err(refused)?;
            }
            _ => return Err(format!("{word}: set or get?")),
        }
    }
    Ok(())
}

/// The machine's GPIO device.
fn find(machine: &Machine) -> Result<Client, String> {
    for node in machine.virtio_nodes() {
        let Some(base) = NonNull::new(core::ptr::with_exposed_provenance_mut::<u8>(node.base)) else { continue };
        // SAFETY: the platform has mapped the region for good, and nothing else uses it.
        let transport = unsafe { MmioTransport::new(base, node.size) };
        if let Ok(transport) = transport
            && transport.device_id() == 41
        {
            return Client::new(transport).map_err(|error| format!("the queue cannot be set up: {error}"));
        }
    }
    Err(String::from("there is no GPIO device of the ratified protocol on this machine"))
}

/// A request and the room for its answer, where the device can reach them.
type Slot = (Box<[u8; Request::SIZE]>, Box<[u8; RESPONSE_SIZE]>);

/// A client that runs requests together.
struct Client {
    transport: Adapted,
    queue: VirtQueue<Identity, QUEUE_SIZE>,
    slots: Vec<Slot>,
}

impl Client {
    fn new(transport: MmioTransport) -> virtio_drivers::Result<Self> {
        let mut transport = Adapted(transport);
        transport.set_status(DeviceStatus::empty());
        transport.set_status(DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER);
        let features = transport.read_device_features() & FEATURES;
        transport.write_driver_features(features);
        let status = DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER | DeviceStatus::FEATURES_OK;
        transport.set_status(status);
        transport.set_guest_page_size(4096);
        let event_index = features & 1 << 29 != 0;
        let mut queue = VirtQueue::new(&mut transport, REQUEST_QUEUE, false, event_index)?;
        queue.set_dev_notify(false);
        transport.finish_init();
        let slot = || (Box::new([0; Request::SIZE]), Box::new([0xff; RESPONSE_SIZE]));
        Ok(Self { transport, queue, slots: (0..QUEUE_SIZE / 2).map(|_| slot()).collect() })
    }

    /// Makes all requests available, notifies once and waits for all answers.
    fn run(&mut self, requests: &[Request]) -> Result<(), ()> {
        let Self { transport, queue, slots } = self;
        let mut tokens = [0; QUEUE_SIZE / 2];
        for ((request, (readable, writable)), token) in requests.iter().zip(slots.iter_mut()).zip(&mut tokens) {
            **readable = request.encode();
            // SAFETY: the buffers live in boxes of the client, and are not touched before they are popped below.
            *token = unsafe { queue.add(&[readable.as_slice()], &mut [writable.as_mut_slice()]) }.map_err(|_| ())?;
        }
        if queue.should_notify() {
            transport.notify(REQUEST_QUEUE);
        }
        for (token, (readable, writable)) in tokens.iter().take(requests.len()).zip(slots.iter_mut()) {
            while queue.peek_used() != Some(*token) {
                core::hint::spin_loop();
            }
            // SAFETY: these are the buffers that were added with this token.
            unsafe { queue.pop_used(*token, &[readable.as_slice()], &mut [writable.as_mut_slice()]) }
                .map_err(|_| ())?;
            if writable.first() != Some(&Status::Ok.code()) {
                return Err(());
            }
        }
        Ok(())
    }

    /// Runs one or the other list in turn, and prints how long that took.
    fn time(&mut self, what: &str, calls: u32, requests: &[Vec<Request>; 2]) -> Result<(), ()> {
        let mut samples = Vec::with_capacity(calls.try_into().unwrap_or(0));
        let lines = requests.first().map_or(0, Vec::len);
        let begin = SystemClock.now().as_nanos();
        let mut last = begin;
        for requests in requests.iter().cycle().take(calls.try_into().unwrap_or(0)) {
            self.run(requests)?;
            let now = SystemClock.now().as_nanos();
            samples.push(now - last);
            last = now;
        }
        samples.sort_unstable();
        let at = |percent: usize| samples.get(samples.len() * percent / 100).copied().unwrap_or(0);
        let (time, half, most) = (last - begin, at(50), at(99));
        info!("bench {what} lines={lines} calls={calls} nanoseconds={time} p50={half} p99={most}");
        Ok(())
    }
}

/// This project's transport, as the crate sees it.
struct Adapted(MmioTransport);

impl Transport for Adapted {
    /// Nothing asks for it. The crate has no name for a GPIO device.
    fn device_type(&self) -> DeviceType {
        DeviceType::Console
    }

    fn read_device_features(&mut self) -> u64 {
        self.0.device_features()
    }

    fn write_driver_features(&mut self, driver_features: u64) {
        self.0.set_driver_features(driver_features);
    }

    fn max_queue_size(&mut self, queue: u16) -> u32 {
        self.0.max_queue_size(queue)
    }

    fn notify(&mut self, queue: u16) {
        self.0.notify(queue);
    }

    fn get_status(&self) -> DeviceStatus {
        DeviceStatus::from_bits_truncate(self.0.status().bits().into())
    }

    fn set_status(&mut self, status: DeviceStatus) {
        let bits = u8::try_from(status.bits()).unwrap_or(0);
        self.0.set_status(transport::DeviceStatus::from_bits_truncate(bits));
    }

    /// The transport tells a legacy device its page size by itself.
    fn set_guest_page_size(&mut self, _guest_page_size: u32) {}

    fn requires_legacy_layout(&self) -> bool {
        self.0.is_legacy()
    }

    fn queue_set(&mut self, queue: u16, size: u32, descriptors: PhysAddr, available: PhysAddr, used: PhysAddr) {
        let size = u16::try_from(size).unwrap_or(0);
        if let Err(error) = self.0.set_queue(queue, &QueueAddresses { size, descriptors, available, used }) {
            error!("queue {queue}: {error:?}");
        }
    }

    fn queue_unset(&mut self, _queue: u16) {}

    fn queue_used(&mut self, _queue: u16) -> bool {
        false
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        InterruptStatus::from_bits_truncate(self.0.acknowledge_interrupt().bits().into())
    }

    fn read_config_generation(&self) -> u32 {
        self.0.config_generation()
    }

    fn read_config_space<T>(&self, _offset: usize) -> virtio_drivers::Result<T> {
        Err(virtio_drivers::Error::ConfigSpaceMissing)
    }

    fn write_config_space<T>(&mut self, _offset: usize, _value: T) -> virtio_drivers::Result<()> {
        Err(virtio_drivers::Error::ConfigSpaceMissing)
    }
}

/// Memory has the same address for processor and devices.
struct Identity;

// SAFETY: pages come from the heap, zeroed and aligned, and are never given back.
unsafe impl Hal for Identity {
    fn dma_alloc(pages: usize, _direction: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        match dma::allocate(pages * PAGE_SIZE) {
            Some(memory) => (memory.device_address(), memory.base()),
            // The crate takes address 0 for an error.
            None => (0, NonNull::dangling()),
        }
    }

    unsafe fn dma_dealloc(_address: PhysAddr, _memory: NonNull<u8>, _pages: usize) -> i32 {
        0
    }

    unsafe fn mmio_phys_to_virt(address: PhysAddr, _size: usize) -> NonNull<u8> {
        let address = usize::try_from(address).unwrap_or(0);
        NonNull::new(core::ptr::with_exposed_provenance_mut(address)).unwrap_or(NonNull::dangling())
    }

    unsafe fn share(buffer: NonNull<[u8]>, _direction: BufferDirection) -> PhysAddr {
        buffer.cast::<u8>().as_ptr().expose_provenance() as PhysAddr
    }

    unsafe fn unshare(_address: PhysAddr, _buffer: NonNull<[u8]>, _direction: BufferDirection) {}
}
