//! From a transport to a known GPIO device: reset, first status bits, features, configuration.

use core::fmt;
use core::time::Duration;

use crate::clock::Clock;
use crate::error::SetupError;
use crate::messages::{draft, ratified};
use crate::transport::{DeviceStatus, Transport, add_status};

/// How long a device may take to finish a reset.
pub(crate) const RESET_TIME: Duration = Duration::from_secs(1);
/// How often a configuration that changes under the reader is read again.
const CONFIG_TRIES: u32 = 4;

/// `VIRTIO_F_EVENT_IDX` (VIRTIO 1.2, 6).
pub(crate) const FEATURE_EVENT_INDEX: u64 = 1 << 29;
/// `VIRTIO_F_VERSION_1`.
pub(crate) const FEATURE_VERSION_1: u64 = 1 << 32;
/// `VIRTIO_F_ACCESS_PLATFORM`: harmless to accept, because the addresses are those of the platform already.
const FEATURE_ACCESS_PLATFORM: u64 = 1 << 33;
/// `VIRTIO_F_ORDER_PLATFORM`: the ordering seam is the platform's own.
const FEATURE_ORDER_PLATFORM: u64 = 1 << 36;

/// The two protocols that a virtio GPIO device can speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// VIRTIO 1.2 and later, section 5.18.
    Ratified,
    /// The 2020 draft, version 1.0.
    Draft,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ratified => "ratified",
            Self::Draft => "draft",
        })
    }
}

/// Whether a device ID can be that of a GPIO device, by either protocol.
pub const fn is_gpio_id(id: u32) -> bool {
    id == ratified::DEVICE_ID || id == draft::DEVICE_ID
}

/// A device that is known to be a GPIO device, reset and waiting to be set up as a [`Chip`](crate::Chip).
#[derive(Debug)]
pub struct Identified<T: Transport> {
    pub(crate) transport: T,
    pub(crate) protocol: Protocol,
    pub(crate) features: u64,
    pub(crate) lines: u16,
    pub(crate) names_size: u32,
}

impl<T: Transport> Identified<T> {
    /// Resets the device, says that a driver is there, and finds out which protocol it speaks: from the device ID and
    /// the first eight bytes of the configuration space, unless `protocol` says it. Reads the configuration once; no
    /// later step does.
    ///
    /// Takes at most one second, for a device that does not finish its reset.
    ///
    /// # Errors
    ///
    /// [`SetupError`], with the transport handed back. The device is left with the status FAILED; untouched if its ID is
    /// not that of a GPIO device, and reset if its ID may be but its configuration is another device's.
    pub fn new(transport: T, clock: &impl Clock, protocol: Option<Protocol>) -> Result<Self, (SetupError, T)> {
        match Self::identify(&transport, clock, protocol) {
            Ok((protocol, features, lines, names_size)) => {
                Ok(Self { transport, protocol, features, lines, names_size })
            }
            Err(error) => {
                match error {
                    SetupError::NotGpio(id) if !is_gpio_id(id) => (),
                    // Its own driver finds it as if nobody had been there.
                    SetupError::NotGpio(_) => transport.set_status(DeviceStatus::empty()),
                    _ => add_status(&transport, DeviceStatus::FAILED),
                }
                Err((error, transport))
            }
        }
    }

    /// The protocol that the device speaks.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The number of lines; at least 1.
    pub fn lines(&self) -> u16 {
        self.lines
    }

    /// Bytes of the names block, as the device says: up to 4 GiB. 0 if there are no names.
    pub fn names_size(&self) -> u32 {
        self.names_size
    }

    /// Whether lines can be watched for edges and levels.
    pub fn has_interrupts(&self) -> bool {
        self.protocol == Protocol::Draft || self.features & ratified::FEATURE_IRQ != 0
    }

    /// The device's transport.
    pub fn transport(&self) -> &T {
        &self.transport
    }

    fn identify(
        transport: &T,
        clock: &impl Clock,
        wanted: Option<Protocol>,
    ) -> Result<(Protocol, u64, u16, u32), SetupError> {
        let id = transport.device_id();
        if !is_gpio_id(id) {
            return Err(SetupError::NotGpio(id));
        }
        reset(transport, clock)?;
        add_status(transport, DeviceStatus::ACKNOWLEDGE);
        add_status(transport, DeviceStatus::DRIVER);
        let offered = transport.device_features();
        if !transport.is_legacy() && offered & FEATURE_VERSION_1 == 0 {
            return Err(SetupError::NoVersion1);
        }
        let config = read_config(transport);
        let protocol = match wanted {
            Some(protocol) => protocol,
            None => detect(id, config)?,
        };
        let (lines, names_size, own_features) = match protocol {
            Protocol::Ratified => {
                let config = ratified::Config::from_bytes(config);
                (config.lines, config.names_size, ratified::FEATURE_IRQ)
            }
            Protocol::Draft => {
                let config = draft::Config::from_bytes(config);
                if config.version != draft::VERSION {
                    return Err(SetupError::DraftVersion(config.version));
                }
                (config.lines, config.names_size, 0)
            }
        };
        if lines == 0 {
            return Err(SetupError::NoLines);
        }
        let understood =
            FEATURE_EVENT_INDEX | FEATURE_VERSION_1 | FEATURE_ACCESS_PLATFORM | FEATURE_ORDER_PLATFORM | own_features;
        Ok((protocol, offered & understood, lines, names_size))
    }
}

/// Resets the device and waits until it says that it has (VIRTIO 1.2, 4.2.2.1).
fn reset<T: Transport>(transport: &T, clock: &impl Clock) -> Result<(), SetupError> {
    transport.set_status(DeviceStatus::empty());
    let deadline = clock.now().after(RESET_TIME);
    while !transport.status().is_empty() {
        if clock.now() >= deadline {
            return Err(SetupError::ResetTimeout);
        }
        clock.wait(deadline, &|| !transport.status().is_empty());
    }
    Ok(())
}

/// The first eight bytes, each field with one access of its own width (4.2.2.2), and all of one generation where the
/// device lets itself be caught in between. The fields lie at the same places in both protocols.
fn read_config<T: Transport>(transport: &T) -> [u8; 8] {
    let mut bytes = [0; 8];
    for _ in 0..CONFIG_TRIES {
        let generation = transport.config_generation();
        let [b0, b1] = transport.read_config_u16(0).to_le_bytes();
        let [b2, b3] = transport.read_config_u16(2).to_le_bytes();
        let [b4, b5, b6, b7] = transport.read_config_u32(4).to_le_bytes();
        bytes = [b0, b1, b2, b3, b4, b5, b6, b7];
        if transport.config_generation() == generation {
            break;
        }
    }
    bytes
}

/// Tells the protocols apart. A ratified device has zero in bytes 2 and 3, where a draft device has its number of
/// lines; ID 30 is officially the video encoder's, whose configuration starts with a zero.
fn detect(id: u32, config: [u8; 8]) -> Result<Protocol, SetupError> {
    let [b0, b1, b2, b3, ..] = config;
    let has_draft_lines = (b2, b3) != (0, 0);
    match (id, b0, b1) {
        (ratified::DEVICE_ID, ..) if !has_draft_lines => Ok(Protocol::Ratified),
        (ratified::DEVICE_ID | draft::DEVICE_ID, draft::VERSION, 0) if has_draft_lines => Ok(Protocol::Draft),
        (draft::DEVICE_ID, draft::VERSION, 0) => Err(SetupError::NoLines),
        (draft::DEVICE_ID, version, 0) if has_draft_lines && version != 0 => Err(SetupError::DraftVersion(version)),
        (ratified::DEVICE_ID, ..) => Err(SetupError::UnknownProtocol { id, config: [b0, b1, b2, b3] }),
        _ => Err(SetupError::NotGpio(id)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_protocols_are_told_apart_by_id_and_configuration() {
        assert_eq!(detect(41, [8, 0, 0, 0, 1, 2, 3, 4]), Ok(Protocol::Ratified));
        assert_eq!(detect(41, [1, 0, 0, 0, 0, 0, 0, 0]), Ok(Protocol::Ratified));
        assert_eq!(detect(41, [0, 0, 0, 0, 0, 0, 0, 0]), Ok(Protocol::Ratified));
        assert_eq!(detect(41, [1, 0, 8, 0, 0, 0, 0, 0]), Ok(Protocol::Draft));
        assert_eq!(detect(30, [1, 0, 8, 0, 0, 0, 0, 0]), Ok(Protocol::Draft));
        assert_eq!(detect(30, [1, 0, 0, 1, 0, 0, 0, 0]), Ok(Protocol::Draft));
        assert_eq!(detect(30, [1, 0, 0, 0, 0, 0, 0, 0]), Err(SetupError::NoLines));
        assert_eq!(detect(30, [2, 0, 8, 0, 0, 0, 0, 0]), Err(SetupError::DraftVersion(2)));
        // A video encoder: le32 version 0, then le32 sizes.
        assert_eq!(detect(30, [0, 0, 0, 0, 0, 16, 0, 0]), Err(SetupError::NotGpio(30)));
        assert_eq!(detect(30, [1, 1, 8, 0, 0, 0, 0, 0]), Err(SetupError::NotGpio(30)));
        assert_eq!(
            detect(41, [2, 0, 8, 0, 0, 0, 0, 0]),
            Err(SetupError::UnknownProtocol { id: 41, config: [2, 0, 8, 0] })
        );
    }
}
