//! Any transport of the crate `virtio-drivers` as a transport of this driver: a kernel that has one keeps it.
//!
//! That crate's own MMIO and PCI transports refuse the device IDs of GPIO devices, which its enumeration of devices
//! does not have; so the ID is given beside the transport, by whoever probed the bus.

use core::cell::RefCell;

use virtio_drivers::transport::{DeviceStatus as TheirStatus, Transport as TheirTransport};

use super::{DeviceStatus, InterruptStatus, LEGACY_QUEUE_ALIGN, QueueAddresses, QueueSetupError, Transport};

/// A transport of the crate `virtio-drivers`.
#[derive(Debug)]
pub struct VirtioDriversTransport<T> {
    inner: RefCell<T>,
    device_id: u32,
}

impl<T: TheirTransport> VirtioDriversTransport<T> {
    /// Wraps a transport whose device has the ID `device_id`.
    pub fn new(inner: T, device_id: u32) -> Self {
        Self { inner: RefCell::new(inner), device_id }
    }

    /// Runs `f` on the transport. It is never borrowed already: no method calls another one inside, and the type is
    /// not `Sync`.
    fn with<R: Default>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        self.inner.try_borrow_mut().map_or_else(|_| R::default(), |mut inner| f(&mut inner))
    }
}

impl<T: TheirTransport> Transport for VirtioDriversTransport<T> {
    fn device_id(&self) -> u32 {
        self.device_id
    }

    fn is_legacy(&self) -> bool {
        self.with(|inner| inner.requires_legacy_layout())
    }

    fn device_features(&self) -> u64 {
        self.with(TheirTransport::read_device_features)
    }

    fn set_driver_features(&self, features: u64) {
        self.with(|inner| {
            inner.write_driver_features(features);
            // Only a legacy transport does something with it.
            inner.set_guest_page_size(LEGACY_QUEUE_ALIGN);
        });
    }

    fn status(&self) -> DeviceStatus {
        let [low, ..] = self.with(|inner| inner.get_status().bits()).to_le_bytes();
        DeviceStatus::from_bits_truncate(low)
    }

    fn set_status(&self, status: DeviceStatus) {
        self.with(|inner| inner.set_status(TheirStatus::from_bits_retain(status.bits().into())));
    }

    fn max_queue_size(&self, queue: u16) -> u32 {
        self.with(|inner| inner.max_queue_size(queue))
    }

    fn set_queue(&self, queue: u16, addresses: &QueueAddresses) -> Result<(), QueueSetupError> {
        if self.with(|inner| inner.queue_used(queue)) {
            return Err(QueueSetupError::InUse);
        }
        let &QueueAddresses { size, descriptors, available, used } = addresses;
        if self.is_legacy() && u32::try_from(descriptors >> LEGACY_QUEUE_ALIGN.trailing_zeros()).is_err() {
            return Err(QueueSetupError::Address);
        }
        self.with(|inner| inner.queue_set(queue, size.into(), descriptors, available, used));
        Ok(())
    }

    fn notify(&self, queue: u16) {
        self.with(|inner| inner.notify(queue));
    }

    fn acknowledge_interrupt(&self) -> InterruptStatus {
        let [low, ..] = self.with(|inner| inner.ack_interrupt().bits()).to_le_bytes();
        InterruptStatus::from_bits_truncate(low)
    }

    fn config_generation(&self) -> u32 {
        self.with(|inner| inner.read_config_generation())
    }

    fn read_config_u8(&self, offset: u16) -> u8 {
        self.with(|inner| inner.read_config_space(offset.into()).ok()).unwrap_or(u8::MAX)
    }

    fn read_config_u16(&self, offset: u16) -> u16 {
        self.with(|inner| inner.read_config_space(offset.into()).ok()).map_or(u16::MAX, u16::from_le)
    }

    fn read_config_u32(&self, offset: u16) -> u32 {
        self.with(|inner| inner.read_config_space(offset.into()).ok()).map_or(u32::MAX, u32::from_le)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;
    use std::vec::Vec;
    use virtio_drivers::transport::{DeviceType, InterruptStatus as TheirInterrupts};
    use virtio_drivers::{Error, PhysAddr, Result as TheirResult};
    use zerocopy::{FromBytes, Immutable, IntoBytes};

    /// Keeps what is written, and answers from it.
    #[derive(Default)]
    struct Fake {
        legacy: bool,
        status: u32,
        features: u64,
        page_size: u32,
        queues: Vec<(u16, u32, u64, u64, u64)>,
        notified: Vec<u16>,
        config: Vec<u8>,
    }

    impl TheirTransport for Fake {
        fn device_type(&self) -> DeviceType {
            // There is none for a GPIO device; nobody asks.
            DeviceType::Network
        }
        fn read_device_features(&mut self) -> u64 {
            0x1_2000_0001
        }
        fn write_driver_features(&mut self, features: u64) {
            self.features = features;
        }
        fn max_queue_size(&mut self, queue: u16) -> u32 {
            64 << queue
        }
        fn notify(&mut self, queue: u16) {
            self.notified.push(queue);
        }
        fn get_status(&self) -> TheirStatus {
            TheirStatus::from_bits_retain(self.status)
        }
        fn set_status(&mut self, status: TheirStatus) {
            self.status = status.bits();
        }
        fn set_guest_page_size(&mut self, size: u32) {
            self.page_size = size;
        }
        fn requires_legacy_layout(&self) -> bool {
            self.legacy
        }
        fn queue_set(&mut self, queue: u16, size: u32, table: PhysAddr, driver: PhysAddr, device: PhysAddr) {
            self.queues.push((queue, size, table, driver, device));
        }
        fn queue_unset(&mut self, _: u16) {}
        fn queue_used(&mut self, queue: u16) -> bool {
            self.queues.iter().any(|set| set.0 == queue)
        }
        fn ack_interrupt(&mut self) -> TheirInterrupts {
            TheirInterrupts::from_bits_retain(0xff)
        }
        fn read_config_generation(&self) -> u32 {
            7
        }
        fn read_config_space<T: FromBytes + IntoBytes>(&self, offset: usize) -> TheirResult<T> {
            let bytes = self.config.get(offset..offset + size_of::<T>()).ok_or(Error::ConfigSpaceTooSmall)?;
            T::read_from_bytes(bytes).map_err(|_| Error::IoError)
        }
        fn write_config_space<T: IntoBytes + Immutable>(&mut self, _: usize, _: T) -> TheirResult<()> {
            Err(Error::Unsupported)
        }
    }

    const ADDRESSES: QueueAddresses = QueueAddresses { size: 64, descriptors: 0x1000, available: 0x1400, used: 0x2000 };

    #[test]
    fn what_the_driver_asks_reaches_the_other_transport() {
        let transport = VirtioDriversTransport::new(Fake::default(), 41);
        assert_eq!(transport.device_id(), 41);
        assert_eq!(transport.device_features(), 0x1_2000_0001);
        transport.set_driver_features(0x1_0000_0001);
        transport.set_status(DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER);
        assert_eq!(transport.status(), DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER);
        assert_eq!(transport.max_queue_size(1), 128);
        assert_eq!(transport.set_queue(1, &ADDRESSES), Ok(()));
        assert_eq!(transport.set_queue(1, &ADDRESSES), Err(QueueSetupError::InUse));
        transport.notify(1);
        assert_eq!(transport.acknowledge_interrupt(), InterruptStatus::all());
        assert_eq!(transport.config_generation(), 7);
        transport.with(|fake| {
            assert_eq!((fake.features, fake.page_size), (0x1_0000_0001, 4096));
            assert_eq!(fake.queues, [(1, 64, 0x1000, 0x1400, 0x2000)]);
            assert_eq!(fake.notified, [1]);
        });
    }

    #[test]
    fn configuration_is_little_endian_and_ones_behind_its_end() {
        let config = vec![0x08, 0x01, 0, 0, 0x78, 0x56, 0x34, 0x12];
        let transport = VirtioDriversTransport::new(Fake { config, ..Fake::default() }, 41);
        assert_eq!(transport.read_config_u8(1), 1);
        assert_eq!(transport.read_config_u16(0), 0x0108);
        assert_eq!(transport.read_config_u32(4), 0x1234_5678);
        assert_eq!(transport.read_config_u32(6), u32::MAX);
        assert_eq!(transport.read_config_u8(8), u8::MAX);
    }

    #[test]
    fn a_legacy_queue_beyond_the_page_numbers_is_refused() {
        let transport = VirtioDriversTransport::new(Fake { legacy: true, ..Fake::default() }, 41);
        assert!(transport.is_legacy());
        let far = QueueAddresses { descriptors: 1 << 44, ..ADDRESSES };
        assert_eq!(transport.set_queue(0, &far), Err(QueueSetupError::Address));
        assert_eq!(transport.set_queue(0, &ADDRESSES), Ok(()));
    }
}
