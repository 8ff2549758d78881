//! The crate by itself: the four seams, filled from the outside, in front of a device in a page of code. The device's bytes
//! are typed from the specification (VIRTIO 1.2, 2.7, 4.2 and 5.18) and owe nothing to the driver. These are the tests
//! that come with the package; all others need the device model, which the package does not have.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a panic is how a test fails"
)]

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU8, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use virtio_gpio::clock::{Clock, Instant};
use virtio_gpio::fence::CoherentFence;
use virtio_gpio::memory::DmaMemory;
use virtio_gpio::transport::{DeviceStatus, InterruptStatus, QueueAddresses, QueueSetupError, Transport};
use virtio_gpio::{
    Chip, DescriptorSlot, EventSlot, Identified, InterruptType, Level, LineId, LineSlot, Options, Parts, Platform,
    RequestSlot, Sizes, Storage, Trigger,
};

/// Where the device finds the memory: not where the driver finds it.
const ADDRESS: u64 = 0x9_0000_0000;
const LENGTH: usize = 16 * PAGE;
const PAGE: usize = 4096;
const LINES: usize = 4;

#[repr(align(4096))]
struct Page([AtomicU8; PAGE]);

/// The memory seam.
#[derive(Clone)]
struct Memory(Arc<[Page]>);

// SAFETY: the bytes are atomics, aligned by their type; a share of them lives as long as the value.
unsafe impl DmaMemory for Memory {
    fn base(&self) -> NonNull<u8> {
        NonNull::from(&*self.0).cast()
    }

    fn len(&self) -> usize {
        LENGTH
    }

    fn device_address(&self) -> u64 {
        ADDRESS
    }
}

impl Memory {
    fn new() -> Self {
        Self((0..LENGTH / PAGE).map(|_| Page([const { AtomicU8::new(0xa5) }; PAGE])).collect())
    }

    fn byte(&self, address: u64) -> &AtomicU8 {
        let offset = usize::try_from(address - ADDRESS).unwrap();
        &self.0[offset / PAGE].0[offset % PAGE]
    }

    fn read<const N: usize>(&self, address: u64) -> [u8; N] {
        let mut addresses = address..;
        [(); N].map(|()| self.byte(addresses.next().unwrap()).load(SeqCst))
    }

    fn read_u16(&self, address: u64) -> u16 {
        u16::from_le_bytes(self.read(address))
    }

    fn write(&self, address: u64, bytes: &[u8]) {
        bytes.iter().zip(address..).for_each(|(byte, address)| self.byte(address).store(*byte, SeqCst));
    }
}

#[derive(Default)]
struct State {
    now: u64,
    status: u8,
    queues: [Option<QueueAddresses>; 2],
    /// What the device has seen of each available ring, and written of each used ring.
    seen: [u16; 2],
    interrupt: bool,
    level: [u8; LINES],
    direction: [u8; LINES],
    watched: [u8; LINES],
    /// Of each line: the head of its event buffers, and where the status belongs.
    armed: [Option<(u16, u64)>; LINES],
}

/// The device, which is transport and clock as well: it works while the driver waits.
#[derive(Clone)]
struct Device {
    state: Arc<Mutex<State>>,
    memory: Memory,
}

impl Device {
    fn new() -> Self {
        Self { state: Arc::default(), memory: Memory::new() }
    }

    /// The next available chain of two descriptors: its head, the first one's bytes, and where the second one is.
    fn next(&self, state: &mut State, queue: usize) -> Option<(u16, [u8; 8], u64)> {
        let QueueAddresses { size, descriptors, available, .. } = state.queues[queue]?;
        if self.memory.read_u16(available + 2) == state.seen[queue] {
            return None;
        }
        let head = self.memory.read_u16(available + 4 + 2 * u64::from(state.seen[queue] % size));
        state.seen[queue] += 1;
        let first = descriptors + 16 * u64::from(head);
        let readable = u64::from_le_bytes(self.memory.read(first));
        assert_eq!(self.memory.read_u16(first + 12), 1, "NEXT, and nothing else");
        let second = descriptors + 16 * u64::from(self.memory.read_u16(first + 14));
        assert_eq!(self.memory.read_u16(second + 12), 2, "WRITE, and nothing else");
        Some((head, self.memory.read(readable), u64::from_le_bytes(self.memory.read(second))))
    }

    fn used(&self, state: &mut State, queue: usize, head: u16, length: u8) {
        let QueueAddresses { size, used, .. } = state.queues[queue].unwrap();
        let index = self.memory.read_u16(used + 2);
        let [low, high] = head.to_le_bytes();
        self.memory.write(used + 4 + 8 * u64::from(index % size), &[low, high, 0, 0, length, 0, 0, 0]);
        self.memory.write(used + 2, &index.wrapping_add(1).to_le_bytes());
        state.interrupt = true;
    }

    fn run(&self) {
        let state = &mut *self.state.lock().unwrap();
        while let Some((head, [kind, 0, line, 0, value, ..], answer)) = self.next(state, 0) {
            let line = usize::from(line);
            let mut value_back = 0;
            match kind {
                2 => value_back = state.direction[line],
                3 => state.direction[line] = value,
                4 => value_back = state.level[line],
                5 => state.level[line] = value,
                6 => state.watched[line] = value,
                other => panic!("no such message: {other}"),
            }
            self.memory.write(answer, &[0, value_back]);
            self.used(state, 0, head, 2);
        }
        while let Some((head, [line, ..], answer)) = self.next(state, 1) {
            state.armed[usize::from(line)] = Some((head, answer));
        }
    }

    /// The outside raises a line.
    fn raise(&self, line: usize) {
        let state = &mut *self.state.lock().unwrap();
        if std::mem::replace(&mut state.level[line], 1) == 0 && state.watched[line] == 1 {
            let (head, answer) = state.armed[line].take().expect("a watched line is armed");
            self.memory.write(answer, &[1]);
            self.used(state, 1, head, 1);
        }
    }
}

impl Transport for Device {
    fn device_id(&self) -> u32 {
        41
    }

    fn is_legacy(&self) -> bool {
        false
    }

    fn device_features(&self) -> u64 {
        // VIRTIO_F_VERSION_1 and VIRTIO_GPIO_F_IRQ.
        1 << 32 | 1
    }

    fn set_driver_features(&self, features: u64) {
        assert_eq!(features, 1 << 32 | 1);
    }

    fn status(&self) -> DeviceStatus {
        DeviceStatus::from_bits_truncate(self.state.lock().unwrap().status)
    }

    fn set_status(&self, status: DeviceStatus) {
        let mut state = self.state.lock().unwrap();
        if status.is_empty() {
            *state = State { now: state.now, ..State::default() };
        }
        state.status = status.bits();
    }

    fn max_queue_size(&self, queue: u16) -> u32 {
        if queue < 2 { 16 } else { 0 }
    }

    fn set_queue(&self, queue: u16, addresses: &QueueAddresses) -> Result<(), QueueSetupError> {
        self.state.lock().unwrap().queues[usize::from(queue)] = Some(*addresses);
        Ok(())
    }

    fn notify(&self, _queue: u16) {
        self.run();
    }

    fn acknowledge_interrupt(&self) -> InterruptStatus {
        let raised = std::mem::take(&mut self.state.lock().unwrap().interrupt);
        if raised { InterruptStatus::USED_BUFFER } else { InterruptStatus::empty() }
    }

    fn config_generation(&self) -> u32 {
        0
    }

    fn read_config_u8(&self, offset: u16) -> u8 {
        // ngpio, padding, gpio_names_size.
        [4, 0, 0, 0, 0, 0, 0, 0][usize::from(offset)]
    }

    fn read_config_u16(&self, offset: u16) -> u16 {
        u16::from_le_bytes([self.read_config_u8(offset), self.read_config_u8(offset + 1)])
    }

    fn read_config_u32(&self, offset: u16) -> u32 {
        u32::from(self.read_config_u16(offset)) | u32::from(self.read_config_u16(offset + 2)) << 16
    }
}

impl Clock for Device {
    fn now(&self) -> Instant {
        let mut state = self.state.lock().unwrap();
        state.now += 1000;
        Instant::from_nanos(state.now)
    }
}

enum Own {}

impl Platform for Own {
    type Transport = Device;
    type Memory = Memory;
    type Fence = CoherentFence;
    type Clock = Device;
}

/// Sets the device up, and has a test look at both sides.
fn with_chip(test: impl FnOnce(&Device, &Chip<'_, Own>)) {
    let device = Device::new();
    let options = Options::default();
    let found = Identified::new(device.clone(), &device, None).map_err(|(error, _)| error).unwrap();
    let sizes = Sizes::new(&found, &options, 4, 0, 1).unwrap();
    assert!(sizes.memory <= LENGTH);
    let mut descriptors = vec![DescriptorSlot::EMPTY; sizes.descriptors];
    let storage = Storage {
        descriptors: &mut descriptors,
        requests: &mut [RequestSlot::EMPTY; 4],
        lines: &mut [LineSlot::EMPTY; 4],
        events: &mut [EventSlot::EMPTY; 4],
        names: &mut [],
    };
    let parts = Parts { memory: device.memory.clone(), fence: CoherentFence, clock: device.clone() };
    let chip = Chip::new(found, &sizes, parts, storage, options).unwrap();
    test(&device, &chip);
    drop(chip);
    assert_eq!(device.state.lock().unwrap().status, 0, "the device is reset at the end");
    assert_eq!(Arc::strong_count(&device.memory.0), 1, "and the memory given back");
}

#[test]
fn an_output_is_driven_and_released() {
    with_chip(|device, chip| {
        let mut led = chip.line(LineId(2)).unwrap().into_output(Level::Low).unwrap();
        for level in [1, 0, 1] {
            led.set(Level::from(level == 1)).unwrap();
            let state = device.state.lock().unwrap();
            assert_eq!((state.direction[2], state.level[2]), (1, level), "VIRTIO_GPIO_DIRECTION_OUT");
        }
        led.release().unwrap();
        assert_eq!(device.state.lock().unwrap().direction[2], 0, "VIRTIO_GPIO_DIRECTION_NONE");
    });
}

#[test]
fn an_input_is_read_and_watched() {
    with_chip(|device, chip| {
        let mut button = chip.line(LineId(3)).unwrap().into_input().unwrap();
        assert_eq!(button.level(), Ok(Level::Low));
        button.watch(InterruptType::RisingEdge).unwrap();
        assert_eq!(device.state.lock().unwrap().direction[3], 2, "VIRTIO_GPIO_DIRECTION_IN");
        assert_eq!(chip.next_event(), None);
        device.raise(3);
        assert!(chip.handle_interrupt());
        let event = chip.next_event().expect("the edge");
        assert_eq!((event.line, event.trigger, event.count), (LineId(3), Trigger::Rising, 1));
        assert!(device.state.lock().unwrap().armed[3].is_some(), "the line is armed again");
        assert_eq!(button.level(), Ok(Level::High));
    });
}

/// The rings' indexes go round more than once.
#[test]
fn the_queue_is_used_again_and_again() {
    with_chip(|device, chip| {
        let mut led = chip.line(LineId(0)).unwrap().into_output(Level::Low).unwrap();
        for count in 0..200u32 {
            led.set(Level::from(count % 2 == 0)).unwrap();
            assert_eq!(u32::from(device.state.lock().unwrap().level[0]), (count + 1) % 2);
        }
    });
}
