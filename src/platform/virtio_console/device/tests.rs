//! A device in memory, which does with its queues what a test says.

use std::sync::{Arc, Mutex};
use std::vec::Vec;

use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use virtio_drivers::{PhysAddr, Result};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{BACKLOG, BUFFER_SIZE, Device, RECEIVE_QUEUE, Received, TRANSMIT_QUEUE, Transmitted};

/// What the driver has told the device.
#[derive(Debug, Default)]
struct Told {
    status: DeviceStatus,
    used_rings: [PhysAddr; 2],
    notifications: [u32; 2],
}

#[derive(Debug, Clone, Default)]
struct Console(Arc<Mutex<Told>>);

impl Console {
    fn device(&self) -> Device<Self> {
        Device::new(self.clone()).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The device returns `id` as its `count`th buffer of that queue, and claims to have written `length` bytes.
    fn give_back(&self, queue: u16, count: u16, id: u32, length: u32) {
        let used = usize::try_from(self.0.lock().unwrap().used_rings[usize::from(queue)]).unwrap();
        let after_used = |distance: usize| used.checked_add(distance).unwrap();
        // The ring's second element is for every second buffer.
        let (id_at, length_at) = if count % 2 == 1 { (4, 8) } else { (12, 16) };
        #[expect(unsafe_code, reason = "plays the device")]
        #[expect(clippy::multiple_unsafe_ops_per_block, reason = "one element of the ring")]
        // SAFETY: the driver has told where the ring is, and looks at it from this thread alone.
        unsafe {
            core::ptr::with_exposed_provenance_mut::<u32>(after_used(id_at)).write_volatile(id);
            core::ptr::with_exposed_provenance_mut::<u32>(after_used(length_at)).write_volatile(length);
            core::ptr::with_exposed_provenance_mut::<u16>(after_used(2)).write_volatile(count);
        }
    }
}

impl Transport for Console {
    fn device_type(&self) -> DeviceType {
        DeviceType::Console
    }

    fn read_device_features(&mut self) -> u64 {
        u64::MAX
    }

    fn write_driver_features(&mut self, _: u64) {}

    fn max_queue_size(&mut self, _: u16) -> u32 {
        64
    }

    fn notify(&mut self, queue: u16) {
        let count = &mut self.0.lock().unwrap().notifications[usize::from(queue)];
        *count = count.checked_add(1).unwrap();
    }

    fn get_status(&self) -> DeviceStatus {
        self.0.lock().unwrap().status
    }

    fn set_status(&mut self, status: DeviceStatus) {
        self.0.lock().unwrap().status = status;
    }

    fn set_guest_page_size(&mut self, _: u32) {}

    fn requires_legacy_layout(&self) -> bool {
        false
    }

    fn queue_set(&mut self, queue: u16, _: u32, _: PhysAddr, _: PhysAddr, used_ring: PhysAddr) {
        self.0.lock().unwrap().used_rings[usize::from(queue)] = used_ring;
    }

    fn queue_unset(&mut self, _: u16) {}

    fn queue_used(&mut self, _: u16) -> bool {
        false
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        InterruptStatus::empty()
    }

    fn read_config_generation(&self) -> u32 {
        0
    }

    fn read_config_space<T: FromBytes + IntoBytes>(&self, _: usize) -> Result<T> {
        Err(virtio_drivers::Error::ConfigSpaceMissing)
    }

    fn write_config_space<T: IntoBytes + Immutable>(&mut self, _: usize, _: T) -> Result<()> {
        Err(virtio_drivers::Error::ConfigSpaceMissing)
    }
}

/// The bytes that the device has still to send.
fn with_the_device(device: &Device<Console>) -> Option<(u32, Vec<u8>)> {
    match device.transmitted {
        Transmitted::Not(id, len) => Some((id.into(), device.transmit.bytes(len).to_vec())),
        Transmitted::All | Transmitted::Broken => None,
    }
}

#[test]
fn bytes_are_read_once_each_buffer_after_buffer() {
    let console = Console::default();
    let mut device = console.device();
    assert_eq!(device.receive(true), None);
    for count in 1..10 {
        let Received::Nothing(id) = device.received else { panic!("{:?}", device.received) };
        console.give_back(RECEIVE_QUEUE, count, id.into(), 3);
        assert_eq!(device.receive(false), Some(0));
        let seen = (0..10).map_while(|_| device.receive(true)).count();
        assert_eq!(seen, 3);
    }
    assert_eq!(console.0.lock().unwrap().notifications, [10, 0]);
}

#[test]
fn a_full_buffer_is_read() {
    let console = Console::default();
    let mut device = console.device();
    console.give_back(RECEIVE_QUEUE, 1, 0, 4096);
    assert_eq!((0..5000).map_while(|_| device.receive(true)).count(), 4096);
}

#[test]
fn a_buffer_that_cannot_be_is_the_end_of_reading() {
    for (id, length) in [(0, 0), (0, 4097), (0, u32::MAX), (1, 1), (7, 1), (0xffff, 1)] {
        let console = Console::default();
        let mut device = console.device();
        console.give_back(RECEIVE_QUEUE, 1, id, length);
        assert_eq!(device.receive(true), None, "{id} {length}");
        assert_eq!(device.received, Received::Broken, "{id} {length}");
        console.give_back(RECEIVE_QUEUE, 2, 0, 1);
        assert_eq!(device.receive(true), None, "{id} {length}");
    }
}

#[test]
fn what_is_written_goes_out_at_once_and_then_behind_the_last() {
    let console = Console::default();
    let mut device = console.device();
    assert!(device.transmit());
    device.write(b"one ");
    device.write(b"line");
    device.transmit();
    let (id, text) = with_the_device(&device).unwrap();
    assert_eq!(text, b"one line");
    for text in [&b"and "[..], b"another", &[b'x'; BUFFER_SIZE]] {
        device.write(text);
        device.transmit();
    }
    assert_eq!(console.0.lock().unwrap().notifications, [1, 1]);
    console.give_back(TRANSMIT_QUEUE, 1, id, 0);
    assert!(!device.transmit());
    let (id, text) = with_the_device(&device).unwrap();
    assert_eq!((text.len(), &text[..12]), (BUFFER_SIZE, &b"and anotherx"[..]));
    console.give_back(TRANSMIT_QUEUE, 2, id, 0);
    device.transmit();
    let (id, text) = with_the_device(&device).unwrap();
    assert_eq!(text, [b'x'; 11]);
    console.give_back(TRANSMIT_QUEUE, 3, id, 0);
    assert!(device.transmit());
    assert_eq!(console.0.lock().unwrap().notifications, [1, 3]);
}

#[test]
fn a_device_that_keeps_what_it_is_to_send_has_a_bounded_backlog() {
    let console = Console::default();
    let mut device = console.device();
    device.write(b"kept");
    device.transmit();
    let capacity = device.backlog.capacity();
    for _ in 0..BACKLOG {
        device.write(b"more");
        device.transmit();
    }
    assert_eq!((device.backlog.len(), device.backlog.capacity()), (BACKLOG, capacity));
    for count in 1..=2 {
        assert!(!device.has_room());
        let (id, _) = with_the_device(&device).unwrap();
        console.give_back(TRANSMIT_QUEUE, count, id, 0);
        device.transmit();
    }
    assert!(device.has_room());
}

#[test]
fn a_device_that_returns_what_it_was_not_given_is_not_written_to_any_more() {
    for id in [1, 2, 0xffff] {
        let console = Console::default();
        let mut device = console.device();
        device.write(b"text");
        device.transmit();
        console.give_back(TRANSMIT_QUEUE, 1, id, 0);
        for _ in 0..BACKLOG {
            device.write(b"more");
            device.transmit();
        }
        assert_eq!(device.transmitted, Transmitted::Broken);
        assert!(device.transmit() && device.has_room());
        assert_eq!(console.0.lock().unwrap().notifications, [1, 1]);
    }
}
