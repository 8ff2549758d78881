//! virtio over MMIO (VIRTIO 1.2, 4.2): modern (version 2) and legacy (version 1, 4.2.4) devices.
#![expect(unsafe_code, reason = "turns an address into registers")]

use core::cell::RefCell;
use core::fmt;
use core::ptr::NonNull;

use safe_mmio::fields::{ReadPure, ReadPureWrite, WriteOnly};
use safe_mmio::{UniqueMmioPointer, field, field_shared};

use super::{DeviceStatus, InterruptStatus, LEGACY_QUEUE_ALIGN, QueueAddresses, QueueSetupError, Transport};

const MAGIC: u32 = 0x7472_6976;
const VERSION_LEGACY: u32 = 1;
const VERSION_MODERN: u32 = 2;
const CONFIG_OFFSET: usize = 0x100;

/// The registers (4.2.2, table 4.1; 4.2.4, table 4.5). Every access is 32 bits wide, little endian.
#[repr(C)]
struct Registers {
    magic: ReadPure<u32>,
    version: ReadPure<u32>,
    device_id: ReadPure<u32>,
    vendor_id: ReadPure<u32>,
    device_features: ReadPure<u32>,
    device_features_select: WriteOnly<u32>,
    reserved_018: [u32; 2],
    driver_features: WriteOnly<u32>,
    driver_features_select: WriteOnly<u32>,
    legacy_guest_page_size: WriteOnly<u32>,
    reserved_02c: u32,
    queue_select: WriteOnly<u32>,
    queue_size_max: ReadPure<u32>,
    queue_size: WriteOnly<u32>,
    legacy_queue_align: WriteOnly<u32>,
    legacy_queue_pfn: ReadPureWrite<u32>,
    queue_ready: ReadPureWrite<u32>,
    reserved_048: [u32; 2],
    queue_notify: WriteOnly<u32>,
    reserved_054: [u32; 3],
    interrupt_status: ReadPure<u32>,
    interrupt_acknowledge: WriteOnly<u32>,
    reserved_068: [u32; 2],
    status: ReadPureWrite<u32>,
    reserved_074: [u32; 3],
    queue_descriptors: [WriteOnly<u32>; 2],
    reserved_088: [u32; 2],
    queue_available: [WriteOnly<u32>; 2],
    reserved_098: [u32; 2],
    queue_used: [WriteOnly<u32>; 2],
    reserved_0a8: [u32; 21],
    config_generation: ReadPure<u32>,
}

const _: () = {
    assert!(size_of::<Registers>() == CONFIG_OFFSET);
    assert!(core::mem::offset_of!(Registers, queue_select) == 0x30);
    assert!(core::mem::offset_of!(Registers, queue_ready) == 0x44);
    assert!(core::mem::offset_of!(Registers, queue_notify) == 0x50);
    assert!(core::mem::offset_of!(Registers, interrupt_status) == 0x60);
    assert!(core::mem::offset_of!(Registers, status) == 0x70);
    assert!(core::mem::offset_of!(Registers, queue_descriptors) == 0x80);
    assert!(core::mem::offset_of!(Registers, queue_used) == 0xa0);
    assert!(core::mem::offset_of!(Registers, config_generation) == 0xfc);
};

/// Why there is no device to drive at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MmioError {
    /// The slot is empty: its device ID is 0. Nothing to report (4.2.2.2).
    Empty,
    /// The first register does not read as "virt".
    Magic(u32),
    /// A version that is neither 1 nor 2.
    Version(u32),
    /// The region is smaller than the registers.
    TooSmall(usize),
}

impl fmt::Display for MmioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Empty => write!(f, "Empty slot"),
            Self::Magic(found) => write!(f, "No virtio device: magic value {found:#x} instead of {MAGIC:#x}"),
            Self::Version(found) => write!(f, "virtio-mmio version {found} is not supported, only 1 and 2"),
            Self::TooSmall(size) => {
                write!(f, "Region of {size} bytes is too small for virtio-mmio, which needs {CONFIG_OFFSET}")
            }
        }
    }
}

impl core::error::Error for MmioError {}

/// A virtio-mmio device's registers.
pub struct MmioTransport {
    registers: RefCell<UniqueMmioPointer<'static, Registers>>,
    /// Bytes from the start of the registers to the end of the configuration space.
    size: usize,
    legacy: bool,
    device_id: u32,
}

impl fmt::Debug for MmioTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MmioTransport")
            .field("device_id", &self.device_id)
            .field("legacy", &self.legacy)
            .finish_non_exhaustive()
    }
}

impl MmioTransport {
    /// Looks at the device whose registers start at `base` and whose region, configuration space included, has
    /// `size` bytes. Reads three registers and writes none.
    ///
    /// # Errors
    ///
    /// [`MmioError`]; most slots of a machine are [`MmioError::Empty`].
    ///
    /// # Safety
    ///
    /// `size` bytes from `base` are mapped as device memory for as long as the program runs, belong to one
    /// virtio-mmio slot, and nobody else accesses them while the value lives. `base` is aligned to four bytes.
    pub unsafe fn new(base: NonNull<u8>, size: usize) -> Result<Self, MmioError> {
        if size < CONFIG_OFFSET {
            return Err(MmioError::TooSmall(size));
        }
        // SAFETY: the caller promises that the registers are there, aligned, and ours alone; `size` covers them.
        let registers: UniqueMmioPointer<'static, Registers> = unsafe { UniqueMmioPointer::new(base.cast()) };
        let magic = field_shared!(registers, magic).read();
        if magic != MAGIC {
            return Err(MmioError::Magic(magic));
        }
        let version = field_shared!(registers, version).read();
        let legacy = match version {
            VERSION_LEGACY => true,
            VERSION_MODERN => false,
            _ => return Err(MmioError::Version(version)),
        };
        let device_id = field_shared!(registers, device_id).read();
        if device_id == 0 {
            return Err(MmioError::Empty);
        }
        Ok(Self { registers: RefCell::new(registers), size, legacy, device_id })
    }

    /// Runs `f` on the registers. They are never borrowed already: no method calls another one inside, and the type
    /// is not `Sync`.
    fn with<R: Default>(&self, f: impl FnOnce(UniqueMmioPointer<'_, Registers>) -> R) -> R {
        self.registers.try_borrow_mut().map_or_else(|_| R::default(), |mut registers| f(registers.reborrow()))
    }

    /// Reads a field of the configuration space with one access of its own width; all ones where it does not lie
    /// wholly inside, as a device answers itself.
    fn read_config<T>(&self, offset: u16, outside: T) -> T
    where
        T: Default + zerocopy::FromBytes + zerocopy::Immutable + zerocopy::IntoBytes,
    {
        let start = CONFIG_OFFSET.saturating_add(usize::from(offset));
        if start.saturating_add(size_of::<T>()) > self.size || !start.is_multiple_of(align_of::<T>()) {
            return outside;
        }
        self.with(|mut registers| {
            // SAFETY: `start` and the width lie inside the region that the constructor's caller vouched for.
            let place = unsafe { registers.ptr_nonnull().byte_add(start) };
            // SAFETY: as above, and `start` is aligned for `T`; the region is all one MMIO allocation.
            let field = unsafe { registers.child::<ReadPure<T>>(place.cast()) };
            field.read()
        })
    }
}

impl Transport for MmioTransport {
    fn device_id(&self) -> u32 {
        self.device_id
    }

    fn is_legacy(&self) -> bool {
        self.legacy
    }

    fn device_features(&self) -> u64 {
        self.with(|mut registers| {
            field!(registers, device_features_select).write(0);
            let low = field_shared!(registers, device_features).read();
            if self.legacy {
                return low.into();
            }
            field!(registers, device_features_select).write(1);
            let high = field_shared!(registers, device_features).read();
            u64::from(high) << 32 | u64::from(low)
        })
    }

    fn set_driver_features(&self, features: u64) {
        let [b0, b1, b2, b3, b4, b5, b6, b7] = features.to_le_bytes();
        self.with(|mut registers| {
            field!(registers, driver_features_select).write(0);
            field!(registers, driver_features).write(u32::from_le_bytes([b0, b1, b2, b3]));
            if self.legacy {
                // The page size belongs before the first queue, once after a reset (4.2.4).
                field!(registers, legacy_guest_page_size).write(LEGACY_QUEUE_ALIGN);
            } else {
                field!(registers, driver_features_select).write(1);
                field!(registers, driver_features).write(u32::from_le_bytes([b4, b5, b6, b7]));
            }
        });
    }

    fn status(&self) -> DeviceStatus {
        let [low, ..] = self.with(|registers| field_shared!(registers, status).read()).to_le_bytes();
        DeviceStatus::from_bits_truncate(low)
    }

    fn set_status(&self, status: DeviceStatus) {
        self.with(|mut registers| field!(registers, status).write(status.bits().into()));
    }

    fn max_queue_size(&self, queue: u16) -> u32 {
        self.with(|mut registers| {
            field!(registers, queue_select).write(queue.into());
            field_shared!(registers, queue_size_max).read()
        })
    }

    fn set_queue(&self, queue: u16, addresses: &QueueAddresses) -> Result<(), QueueSetupError> {
        let page = u32::try_from(addresses.descriptors >> LEGACY_QUEUE_ALIGN.trailing_zeros());
        self.registers.try_borrow_mut().map_or(Err(QueueSetupError::InUse), |mut registers| {
            let mut registers = registers.reborrow();
            field!(registers, queue_select).write(queue.into());
            if self.legacy {
                if field_shared!(registers, legacy_queue_pfn).read() != 0 {
                    return Err(QueueSetupError::InUse);
                }
                let page = page.map_err(|_| QueueSetupError::Address)?;
                field!(registers, queue_size).write(addresses.size.into());
                field!(registers, legacy_queue_align).write(LEGACY_QUEUE_ALIGN);
                field!(registers, legacy_queue_pfn).write(page);
            } else {
                if field_shared!(registers, queue_ready).read() != 0 {
                    return Err(QueueSetupError::InUse);
                }
                field!(registers, queue_size).write(addresses.size.into());
                write_address(&mut field!(registers, queue_descriptors), addresses.descriptors);
                write_address(&mut field!(registers, queue_available), addresses.available);
                write_address(&mut field!(registers, queue_used), addresses.used);
                field!(registers, queue_ready).write(1);
            }
            Ok(())
        })
    }

    fn notify(&self, queue: u16) {
        self.with(|mut registers| field!(registers, queue_notify).write(queue.into()));
    }

    fn acknowledge_interrupt(&self) -> InterruptStatus {
        let bits = self.with(|mut registers| {
            let [low, ..] = field_shared!(registers, interrupt_status).read().to_le_bytes();
            // Bits that are not defined are ignored, and not acknowledged (4.2.2.2).
            let known = low & InterruptStatus::all().bits();
            if known != 0 {
                field!(registers, interrupt_acknowledge).write(known.into());
            }
            known
        });
        InterruptStatus::from_bits_truncate(bits)
    }

    fn config_generation(&self) -> u32 {
        if self.legacy { 0 } else { self.with(|registers| field_shared!(registers, config_generation).read()) }
    }

    fn read_config_u8(&self, offset: u16) -> u8 {
        self.read_config(offset, u8::MAX)
    }

    fn read_config_u16(&self, offset: u16) -> u16 {
        u16::from_le(self.read_config(offset, u16::MAX))
    }

    fn read_config_u32(&self, offset: u16) -> u32 {
        u32::from_le(self.read_config(offset, u32::MAX))
    }
}

/// Writes a 64-bit address as its low and its high word.
fn write_address(registers: &mut UniqueMmioPointer<'_, [WriteOnly<u32>; 2]>, address: u64) {
    let [b0, b1, b2, b3, b4, b5, b6, b7] = address.to_le_bytes();
    let words = [u32::from_le_bytes([b0, b1, b2, b3]), u32::from_le_bytes([b4, b5, b6, b7])];
    for (index, word) in words.into_iter().enumerate() {
        if let Some(mut register) = registers.get(index) {
            register.write(word);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::boxed::Box;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
    use std::vec::Vec;

    const MAGIC_VALUE: usize = 0x00;
    const VERSION: usize = 0x04;
    const DEVICE_ID: usize = 0x08;
    const DEVICE_FEATURES: usize = 0x10;
    const DEVICE_FEATURES_SEL: usize = 0x14;
    const DRIVER_FEATURES: usize = 0x20;
    const DRIVER_FEATURES_SEL: usize = 0x24;
    const GUEST_PAGE_SIZE: usize = 0x28;
    const QUEUE_SEL: usize = 0x30;
    const QUEUE_SIZE_MAX: usize = 0x34;
    const QUEUE_SIZE: usize = 0x38;
    const QUEUE_ALIGN: usize = 0x3c;
    const QUEUE_PFN: usize = 0x40;
    const QUEUE_READY: usize = 0x44;
    const QUEUE_NOTIFY: usize = 0x50;
    const INTERRUPT_STATUS: usize = 0x60;
    const INTERRUPT_ACK: usize = 0x64;
    const STATUS: usize = 0x70;
    const CONFIG_GENERATION: usize = 0xfc;
    const CONFIG: usize = 0x100;

    /// Memory in the place of registers: what was written stays, and nothing happens by itself.
    struct Region(&'static [AtomicU32; 0x110 / 4]);

    impl Region {
        fn new(version: u32) -> Self {
            let region = Self(Box::leak(Box::new([const { AtomicU32::new(0) }; 0x110 / 4])));
            region.set(MAGIC_VALUE, MAGIC);
            region.set(VERSION, version);
            region.set(DEVICE_ID, 41);
            region
        }

        fn set(&self, offset: usize, value: u32) {
            self.0[offset / 4].store(value, Relaxed);
        }

        fn device(&self, size: usize) -> Result<MmioTransport, MmioError> {
            assert!(size <= size_of_val(self.0));
            // SAFETY: the memory is leaked, made of aligned atomics, and longer than `size`.
            unsafe { MmioTransport::new(NonNull::from(self.0).cast(), size) }
        }

        /// Runs `action` and gives the registers that it changed, with what they are now.
        fn changes(&self, action: impl FnOnce(&MmioTransport)) -> Vec<(usize, u32)> {
            let transport = self.device(0x110).unwrap();
            let before: Vec<u32> = self.0.iter().map(|register| register.load(Relaxed)).collect();
            action(&transport);
            let after = self.0.iter().map(|register| register.load(Relaxed));
            let changed = before.into_iter().zip(after).enumerate().filter(|(_, (before, after))| before != after);
            changed.map(|(index, (_, after))| (index * 4, after)).collect()
        }
    }

    const ADDRESSES: QueueAddresses =
        QueueAddresses { size: 64, descriptors: 0x1_2345_6000, available: 0x2_2345_6400, used: 0x3_2345_7000 };

    /// T5 to T7: what is no device, or none that the driver knows, is left alone.
    #[test]
    fn c1_slots_are_told_apart() {
        let region = Region::new(2);
        assert_eq!(region.device(0x110).unwrap().device_id(), 41);
        assert_eq!(region.device(0xff).unwrap_err(), MmioError::TooSmall(0xff));
        region.set(DEVICE_ID, 0);
        assert_eq!(region.device(0x110).unwrap_err(), MmioError::Empty);
        region.set(VERSION, 3);
        assert_eq!(region.device(0x110).unwrap_err(), MmioError::Version(3));
        region.set(MAGIC_VALUE, 0x7669_7274);
        assert_eq!(region.device(0x110).unwrap_err(), MmioError::Magic(0x7669_7274));
        let legacy = Region::new(1).device(0x110).unwrap();
        assert!(legacy.is_legacy());
    }

    /// T8, and nothing but the registers of the version's own (T3, T4).
    #[test]
    fn features_are_read_and_written_by_words() {
        let region = Region::new(2);
        region.set(DEVICE_FEATURES, 7);
        let read = region.changes(|transport| assert_eq!(transport.device_features(), 7 << 32 | 7));
        assert_eq!(read, [(DEVICE_FEATURES_SEL, 1)]);
        let written = region.changes(|transport| transport.set_driver_features(5 << 32 | 3));
        assert_eq!(written, [(DRIVER_FEATURES, 5), (DRIVER_FEATURES_SEL, 1)]);

        let region = Region::new(1);
        region.set(DEVICE_FEATURES, 7);
        let read = region.changes(|transport| assert_eq!(transport.device_features(), 7));
        assert_eq!(read, []);
        let written = region.changes(|transport| transport.set_driver_features(3));
        assert_eq!(written, [(DRIVER_FEATURES, 3), (GUEST_PAGE_SIZE, 4096)]);
    }

    #[test]
    fn a_modern_queue_is_told_by_three_addresses() {
        let region = Region::new(2);
        region.set(QUEUE_SIZE_MAX, 1024);
        let written = region.changes(|transport| {
            assert_eq!(transport.max_queue_size(1), 1024);
            assert_eq!(transport.set_queue(1, &ADDRESSES), Ok(()));
        });
        let expected = [
            (QUEUE_SEL, 1),
            (QUEUE_SIZE, 64),
            (QUEUE_READY, 1),
            (0x80, 0x2345_6000),
            (0x84, 1),
            (0x90, 0x2345_6400),
            (0x94, 2),
            (0xa0, 0x2345_7000),
            (0xa4, 3),
        ];
        assert_eq!(written, expected);
    }

    #[test]
    fn a_legacy_queue_is_told_by_its_page() {
        let region = Region::new(1);
        let written = region.changes(|transport| assert_eq!(transport.set_queue(1, &ADDRESSES), Ok(())));
        assert_eq!(written, [(QUEUE_SEL, 1), (QUEUE_SIZE, 64), (QUEUE_ALIGN, 4096), (QUEUE_PFN, 0x12_3456)]);
        let region = Region::new(1);
        let far = QueueAddresses { descriptors: 1 << 44, ..ADDRESSES };
        let written = region.changes(|transport| {
            assert_eq!(transport.set_queue(0, &far), Err(QueueSetupError::Address));
        });
        assert_eq!(written, []);
    }

    /// T10: a queue that is in use is not written to.
    #[test]
    fn a_queue_in_use_is_left_alone() {
        for (version, in_use) in [(2, QUEUE_READY), (1, QUEUE_PFN)] {
            let region = Region::new(version);
            region.set(in_use, 1);
            let written = region.changes(|transport| {
                assert_eq!(transport.set_queue(1, &ADDRESSES), Err(QueueSetupError::InUse));
            });
            assert_eq!(written, [(QUEUE_SEL, 1)]);
        }
    }

    /// T12: bits that are not defined are neither reported nor acknowledged.
    #[test]
    fn b10_interrupts_are_acknowledged_as_far_as_they_are_known() {
        for (raised, known) in [(0, 0), (1, 1), (2, 2), (0xffff_ffff, 3), (0x104, 0)] {
            let region = Region::new(2);
            region.set(INTERRUPT_STATUS, raised);
            let written = region.changes(|transport| {
                assert_eq!(u32::from(transport.acknowledge_interrupt().bits()), known);
            });
            assert_eq!(written, if known == 0 { Vec::new() } else { Vec::from([(INTERRUPT_ACK, known)]) });
        }
    }

    #[test]
    fn status_and_notification_are_one_write_each() {
        let region = Region::new(2);
        region.set(STATUS, 0xffff_ff01);
        let written = region.changes(|transport| {
            assert_eq!(transport.status(), DeviceStatus::ACKNOWLEDGE);
            transport.set_status(DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER);
            transport.notify(1);
        });
        assert_eq!(written, [(QUEUE_NOTIFY, 1), (STATUS, 3)]);
    }

    /// T2: each field in its own width; behind the end, all ones.
    #[test]
    fn configuration_is_read_within_the_region() {
        let region = Region::new(2);
        region.set(CONFIG, 0x0403_0201);
        region.set(CONFIG + 4, 0x0807_0605);
        region.set(CONFIG_GENERATION, 9);
        let transport = region.device(CONFIG + 8).unwrap();
        assert_eq!(transport.config_generation(), 9);
        assert_eq!(transport.read_config_u8(3), 4);
        assert_eq!((transport.read_config_u16(0), transport.read_config_u16(2)), (0x0201, 0x0403));
        assert_eq!(transport.read_config_u32(4), 0x0807_0605);
        assert_eq!((transport.read_config_u8(8), transport.read_config_u16(8)), (0xff, 0xffff));
        assert_eq!((transport.read_config_u32(8), transport.read_config_u32(u16::MAX)), (u32::MAX, u32::MAX));
        assert_eq!((transport.read_config_u16(1), transport.read_config_u32(2)), (0xffff, u32::MAX), "not aligned");
    }
}
