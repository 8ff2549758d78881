//! What the front end tells about the guest: its memory, the features that its driver accepted, and its queues.

use std::fs::File;
use std::io;

use vhost::VhostUserMemoryRegionBase;
use vhost::vhost_user::message::{
    VhostTransferStateDirection, VhostTransferStatePhase, VhostUserConfigFlags, VhostUserInflight, VhostUserLog,
    VhostUserMemoryRegion, VhostUserProtocolFeatures, VhostUserShMemConfig, VhostUserSharedMsg,
    VhostUserSingleMemoryRegion, VhostUserVirtioFeatures, VhostUserVringAddrFlags, VhostUserVringState,
};
use vhost::vhost_user::{Error, GpuBackend, Result, VhostUserBackendReqHandlerMut};
use virtio_bindings::virtio_config::VIRTIO_F_VERSION_1;
use virtio_bindings::virtio_ring::{VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC};
use virtio_queue::QueueT;
use vm_memory::{GuestAddress, GuestMemoryMmap, GuestRegionMmap};

use super::ring::Ring;
use crate::chip::Chip;

/// Both protocols have two queues.
pub(crate) const QUEUES: usize = 2;

/// A range of guest memory under the addresses that the front end uses for it.
#[derive(Debug, Clone, Copy)]
struct Mapping {
    frontend: u64,
    guest: u64,
    size: u64,
}

/// The state of one connection.
#[derive(Debug)]
pub struct Frontend {
    offered_features: u64,
    config_space: Vec<u8>,
    features: u64,
    pub(crate) memory: GuestMemoryMmap,
    mappings: Vec<Mapping>,
    pub(crate) rings: [Ring; QUEUES],
    /// The queues were stopped, or never ran: when they run again, the driver may be another.
    pub(crate) stopped: bool,
}

impl Frontend {
    pub(crate) fn new(chip: &Chip) -> std::result::Result<Self, virtio_queue::Error> {
        let transport_features = 1 << VIRTIO_F_VERSION_1
            | 1 << VIRTIO_RING_F_EVENT_IDX
            | 1 << VIRTIO_RING_F_INDIRECT_DESC
            | VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits();
        Ok(Self {
            offered_features: transport_features | chip.offered_features(),
            config_space: chip.config_space(),
            features: 0,
            memory: GuestMemoryMmap::new(),
            mappings: Vec::new(),
            rings: [Ring::new()?, Ring::new()?],
            stopped: true,
        })
    }

    /// The features that the driver accepted.
    pub(crate) fn features(&self) -> u64 {
        self.features
    }

    /// Whether no queue was used since the driver set them up: then it is a new driver. A guest that was paused goes on
    /// where it was.
    pub(crate) fn is_fresh(&self) -> bool {
        self.rings.iter().filter(|ring| ring.is_set_up()).all(|ring| ring.is_fresh(&self.memory))
    }

    fn ring(&mut self, index: u32) -> Result<&mut Ring> {
        usize::try_from(index).ok().and_then(|index| self.rings.get_mut(index)).ok_or(Error::InvalidParam)
    }

    fn guest_address(&self, frontend: u64) -> Option<GuestAddress> {
        self.mappings.iter().find_map(|mapping| {
            let offset = frontend.checked_sub(mapping.frontend)?;
            (offset < mapping.size).then(|| GuestAddress(mapping.guest.saturating_add(offset)))
        })
    }

    fn guest_addresses(&self, frontend: [u64; 3]) -> Option<[GuestAddress; 3]> {
        let [first, second, third] = frontend.map(|address| self.guest_address(address));
        Some([first?, second?, third?])
    }
}

/// What a guest can provoke is not an error of the connection: the queue concerned is ignored instead, and the guest
/// notices that it gets no answers.
impl VhostUserBackendReqHandlerMut for Frontend {
    fn set_owner(&mut self) -> Result<()> {
        Ok(())
    }

    fn reset_owner(&mut self) -> Result<()> {
        Ok(())
    }

    fn reset_device(&mut self) -> Result<()> {
        self.rings.iter_mut().for_each(Ring::stop);
        self.stopped = true;
        Ok(())
    }

    fn get_features(&mut self) -> Result<u64> {
        Ok(self.offered_features)
    }

    fn set_features(&mut self, features: u64) -> Result<()> {
        self.features = features & self.offered_features;
        let event_index = self.features & 1 << VIRTIO_RING_F_EVENT_IDX != 0;
        let always_enabled = self.features & VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits() == 0;
        for ring in &mut self.rings {
            ring.queue.set_event_idx(event_index);
            ring.enabled |= always_enabled;
        }
        Ok(())
    }

    fn set_mem_table(
        &mut self,
        regions: &[VhostUserMemoryRegion],
        files: Vec<File>,
        _postcopy_listening: Option<bool>,
    ) -> Result<Option<Vec<VhostUserMemoryRegionBase>>> {
        let mut mapped = Vec::new();
        for (region, file) in regions.iter().zip(files) {
            if !lies_within(region, &file).map_err(Error::ReqHandlerError)? {
                return Err(Error::InvalidParam);
            }
            let guest = GuestAddress(region.guest_phys_addr);
            mapped.push(GuestRegionMmap::new(region.mmap_region(file)?, guest).ok_or(Error::InvalidParam)?);
        }
        let memory = GuestMemoryMmap::from_regions(mapped).map_err(|e| Error::ReqHandlerError(io::Error::other(e)))?;
        self.memory = memory;
        self.mappings = regions
            .iter()
            .map(|region| Mapping {
                frontend: region.user_addr,
                guest: region.guest_phys_addr,
                size: region.memory_size,
            })
            .collect();
        Ok(None)
    }

    fn set_vring_num(&mut self, index: u32, num: u32) -> Result<()> {
        self.ring(index)?.set_size(num);
        Ok(())
    }

    fn set_vring_addr(
        &mut self,
        index: u32,
        _flags: VhostUserVringAddrFlags,
        descriptor: u64,
        used: u64,
        available: u64,
        _log: u64,
    ) -> Result<()> {
        let place = self.guest_addresses([descriptor, available, used]);
        let memory = self.memory.clone();
        self.ring(index)?.set_place(place, &memory);
        Ok(())
    }

    fn set_vring_base(&mut self, index: u32, base: u32) -> Result<()> {
        let base = u16::try_from(base).map_err(|_| Error::InvalidParam)?;
        self.ring(index)?.queue.set_next_avail(base);
        Ok(())
    }

    fn get_vring_base(&mut self, index: u32) -> Result<VhostUserVringState> {
        let ring = self.ring(index)?;
        ring.stop();
        let position = ring.queue.next_avail();
        self.stopped = true;
        Ok(VhostUserVringState::new(index, position.into()))
    }

    fn set_vring_kick(&mut self, index: u8, file: Option<File>) -> Result<()> {
        let memory = self.memory.clone();
        let ring = self.ring(index.into())?;
        ring.kick = file;
        ring.start(&memory);
        Ok(())
    }

    fn set_vring_call(&mut self, index: u8, file: Option<File>) -> Result<()> {
        self.ring(index.into())?.call = file;
        Ok(())
    }

    fn set_vring_err(&mut self, index: u8, _file: Option<File>) -> Result<()> {
        self.ring(index.into()).map(|_| ())
    }

    fn get_protocol_features(&mut self) -> Result<VhostUserProtocolFeatures> {
        Ok(VhostUserProtocolFeatures::MQ | VhostUserProtocolFeatures::REPLY_ACK | VhostUserProtocolFeatures::CONFIG)
    }

    fn set_protocol_features(&mut self, _features: u64) -> Result<()> {
        Ok(())
    }

    fn get_queue_num(&mut self) -> Result<u64> {
        Ok(self.rings.len() as u64)
    }

    fn set_vring_enable(&mut self, index: u32, enable: bool) -> Result<()> {
        self.ring(index)?.enabled = enable;
        Ok(())
    }

    /// Answers exactly as many bytes as are asked for; those behind the device's own are zero.
    fn get_config(&mut self, offset: u32, size: u32, _flags: VhostUserConfigFlags) -> Result<Vec<u8>> {
        let offset = usize::try_from(offset).map_err(|_| Error::InvalidParam)?;
        let size = usize::try_from(size).map_err(|_| Error::InvalidParam)?;
        let own = self.config_space.iter().copied().skip(offset);
        Ok(own.chain(std::iter::repeat(0)).take(size).collect())
    }

    /// No field can be written by a driver.
    fn set_config(&mut self, _offset: u32, _bytes: &[u8], _flags: VhostUserConfigFlags) -> Result<()> {
        Ok(())
    }

    fn set_gpu_socket(&mut self, _backend: GpuBackend) -> Result<()> {
        not_offered()
    }

    fn get_shared_object(&mut self, _uuid: VhostUserSharedMsg) -> Result<File> {
        not_offered()
    }

    fn get_inflight_fd(&mut self, _inflight: &VhostUserInflight) -> Result<(VhostUserInflight, File)> {
        not_offered()
    }

    fn set_inflight_fd(&mut self, _inflight: &VhostUserInflight, _file: File) -> Result<()> {
        not_offered()
    }

    fn get_max_mem_slots(&mut self) -> Result<u64> {
        not_offered()
    }

    fn add_mem_region(
        &mut self,
        _region: &VhostUserSingleMemoryRegion,
        _file: File,
        _postcopy_listening: Option<bool>,
    ) -> Result<Option<VhostUserMemoryRegionBase>> {
        not_offered()
    }

    fn remove_mem_region(&mut self, _region: &VhostUserSingleMemoryRegion) -> Result<()> {
        not_offered()
    }

    fn set_device_state_fd(
        &mut self,
        _direction: VhostTransferStateDirection,
        _phase: VhostTransferStatePhase,
        _file: File,
    ) -> Result<Option<File>> {
        not_offered()
    }

    fn check_device_state(&mut self) -> Result<()> {
        not_offered()
    }

    fn get_shmem_config(&mut self) -> Result<VhostUserShMemConfig> {
        not_offered()
    }

    fn set_log_base(&mut self, _log: &VhostUserLog, _file: File) -> Result<()> {
        not_offered()
    }
}

/// Whether a region ends before its file does. Beyond the end of a file one can map, but an access to it is the end of
/// the process. What is no ordinary file has no length to compare with.
fn lies_within(region: &VhostUserMemoryRegion, file: &File) -> io::Result<bool> {
    let metadata = file.metadata()?;
    let end = region.mmap_offset.checked_add(region.memory_size);
    Ok(!metadata.is_file() || end.is_some_and(|end| end <= metadata.len()))
}

/// The message belongs to a protocol feature that is not offered.
fn not_offered<T>() -> Result<T> {
    Err(Error::InvalidOperation("not offered"))
}
