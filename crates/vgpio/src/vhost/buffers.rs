//! The bytes of a chain of buffers, which may be spread over its descriptors in any way.

use vm_memory::{Address, Bytes, GuestAddress, GuestMemoryMmap};

use super::ring::Chain;

/// Reads the device-readable bytes, `limit` of them at most.
pub(crate) fn read(memory: &GuestMemoryMmap, chain: &Chain<'_>, bytes: &mut Vec<u8>, limit: usize) {
    bytes.clear();
    for descriptor in chain.readable() {
        let begin = bytes.len();
        let length = length(descriptor.len()).min(limit.saturating_sub(begin));
        bytes.resize(begin.saturating_add(length), 0);
        let part = bytes.get_mut(begin..).unwrap_or_default();
        if memory.read_slice(part, descriptor.addr()).is_err() {
            // A buffer outside the guest's memory ends the chain.
            bytes.truncate(begin);
            return;
        }
    }
}

/// The number of device-writable bytes.
pub(crate) fn room(chain: &Chain<'_>) -> usize {
    chain.writable().fold(0, |room: usize, descriptor| room.saturating_add(length(descriptor.len())))
}

/// Where the first device-writable byte is.
pub(crate) fn first_writable(chain: &Chain<'_>) -> Option<GuestAddress> {
    chain.writable().find(|descriptor| descriptor.len() > 0).map(|descriptor| descriptor.addr())
}

/// Writes as many bytes as there is room for, and returns their number.
pub(crate) fn write(memory: &GuestMemoryMmap, chain: &Chain<'_>, bytes: &[u8]) -> usize {
    let mut written = 0usize;
    for descriptor in chain.writable() {
        let rest = bytes.get(written..).unwrap_or_default();
        let part = rest.get(..length(descriptor.len())).unwrap_or(rest);
        if part.is_empty() {
            continue;
        }
        if memory.write_slice(part, descriptor.addr()).is_err() {
            log::warn!("The driver's buffer at {:#x} is not in its memory", descriptor.addr().raw_value());
            break;
        }
        written = written.saturating_add(part.len());
    }
    written
}

fn length(bytes: u32) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
