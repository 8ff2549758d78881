//! The device's registers, as the driver's transport.

use virtio_gpio::transport::{DeviceStatus, InterruptStatus, QueueAddresses, QueueSetupError, Transport};

use crate::machine::{Machine, State};

/// The registers of a machine's device.
#[derive(Debug, Clone)]
pub struct Registers(pub(crate) Machine);

impl Registers {
    /// Why the device interrupts, as the register says it: a look that acknowledges nothing.
    pub fn interrupt_status(&self) -> InterruptStatus {
        self.access(|state| state.interrupt_status)
    }

    /// One access of the driver's.
    fn access<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        self.0.with(|state| {
            state.register_accesses = state.register_accesses.saturating_add(1);
            f(state)
        })
    }
}

impl Transport for Registers {
    fn device_id(&self) -> u32 {
        self.0.with(|state| state.settings.device_id)
    }

    fn is_legacy(&self) -> bool {
        self.0.with(|state| state.settings.legacy)
    }

    fn device_features(&self) -> u64 {
        self.access(|state| state.offered_features())
    }

    fn set_driver_features(&self, features: u64) {
        self.access(|state| state.set_driver_features(features));
    }

    fn status(&self) -> DeviceStatus {
        self.access(State::read_status)
    }

    fn set_status(&self, status: DeviceStatus) {
        self.access(|state| state.write_status(status));
    }

    fn max_queue_size(&self, queue: u16) -> u32 {
        self.access(|state| state.queue_limit(queue))
    }

    fn set_queue(&self, queue: u16, addresses: &QueueAddresses) -> Result<(), QueueSetupError> {
        self.access(|state| state.set_queue(queue, addresses))
    }

    fn notify(&self, queue: u16) {
        self.access(|state| state.notified(queue));
    }

    fn acknowledge_interrupt(&self) -> InterruptStatus {
        if let Some(action) = self.0.with(State::take_before_acknowledgement) {
            action();
        }
        self.access(State::acknowledge)
    }

    fn config_generation(&self) -> u32 {
        self.access(State::config_generation)
    }

    fn read_config_u8(&self, offset: u16) -> u8 {
        let [byte] = self.access(|state| state.read_config(offset));
        byte
    }

    fn read_config_u16(&self, offset: u16) -> u16 {
        u16::from_le_bytes(self.access(|state| state.read_config(offset)))
    }

    fn read_config_u32(&self, offset: u16) -> u32 {
        u32::from_le_bytes(self.access(|state| state.read_config(offset)))
    }
}
