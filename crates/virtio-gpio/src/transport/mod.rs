//! The transport seam: a device's registers, and what differs between the ways to reach them.

pub mod mmio;
#[cfg(feature = "virtio-drivers")]
pub mod virtio_drivers;

use bitflags::bitflags;

pub use mmio::{MmioError, MmioTransport};

bitflags! {
    /// The device status field (VIRTIO 1.2, 2.1).
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct DeviceStatus: u8 {
        /// The guest has noticed the device.
        const ACKNOWLEDGE = 1;
        /// The guest knows how to drive it.
        const DRIVER = 2;
        /// The driver is set up.
        const DRIVER_OK = 4;
        /// The features are negotiated.
        const FEATURES_OK = 8;
        /// The device cannot go on without a reset.
        const NEEDS_RESET = 64;
        /// The driver has given up.
        const FAILED = 128;
    }

    /// Why the device interrupted (VIRTIO 1.2, 4.2.2).
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct InterruptStatus: u8 {
        /// A buffer was used, in any queue.
        const USED_BUFFER = 1;
        /// The configuration or the device status changed.
        const CONFIG_CHANGE = 2;
    }
}

/// Where the parts of a split virtqueue are, in the device's view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueAddresses {
    /// Number of descriptors; a power of two.
    pub size: u16,
    /// The descriptor table. On a legacy transport the three parts lie as VIRTIO 1.2, 2.7.2 says, with
    /// [`LEGACY_QUEUE_ALIGN`] as `Queue Align`, and this address is all that the device is told.
    pub descriptors: u64,
    /// The available ring ("driver area").
    pub available: u64,
    /// The used ring ("device area").
    pub used: u64,
}

/// The alignment of a legacy device's used ring, which is also the page size told to it.
pub const LEGACY_QUEUE_ALIGN: u32 = 4096;

/// A queue that the device does not accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueSetupError {
    /// The queue is in use already, though the device was reset.
    InUse,
    /// The descriptor table's address does not fit the transport.
    Address,
}

/// A virtio device's registers. All methods take `&self`: interior mutability, where it is needed, is the
/// implementor's. The trait can be made into an object.
///
/// The driver calls each method with its own lock held, never two at a time for one device, from any context in
/// which the driver's user calls it, interrupt handlers included.
pub trait Transport {
    /// The device ID (VIRTIO 1.2, 5): 41 for the ratified GPIO device.
    fn device_id(&self) -> u32;

    /// Whether the device is a legacy one: no `FEATURES_OK`, no configuration generation, a contiguous queue.
    fn is_legacy(&self) -> bool;

    /// The features that the device offers. A legacy transport gives the low 32 bits.
    fn device_features(&self) -> u64;

    /// Tells the device which features the driver accepts.
    fn set_driver_features(&self, features: u64);

    /// The device status. Bits outside [`DeviceStatus`] are dropped.
    fn status(&self) -> DeviceStatus;

    /// Writes the device status; writing none resets the device.
    fn set_status(&self, status: DeviceStatus);

    /// The largest size of a queue; 0 if there is no such queue.
    fn max_queue_size(&self, queue: u16) -> u32;

    /// Makes a queue known to the device and live.
    ///
    /// # Errors
    ///
    /// [`QueueSetupError`]; the queue is not live then.
    fn set_queue(&self, queue: u16, addresses: &QueueAddresses) -> Result<(), QueueSetupError>;

    /// Tells the device that there are new buffers in a queue.
    fn notify(&self, queue: u16);

    /// Reads why the device interrupts and acknowledges exactly that. Empty for a spurious interrupt.
    fn acknowledge_interrupt(&self) -> InterruptStatus;

    /// The configuration generation; a constant where the transport has none.
    fn config_generation(&self) -> u32;

    /// Reads one byte of the configuration space. All ones behind its end.
    fn read_config_u8(&self, offset: u16) -> u8;

    /// Reads two bytes of the configuration space with one access, in the device's byte order as a number.
    fn read_config_u16(&self, offset: u16) -> u16;

    /// Reads four bytes of the configuration space with one access, in the device's byte order as a number.
    fn read_config_u32(&self, offset: u16) -> u32;
}

/// Sets further bits of the device status; those that are set stay so until a reset (VIRTIO 1.2, 2.1.1).
pub(crate) fn add_status(transport: &impl Transport, bits: DeviceStatus) {
    transport.set_status(transport.status() | bits);
}
