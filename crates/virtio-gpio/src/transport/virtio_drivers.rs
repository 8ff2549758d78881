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
