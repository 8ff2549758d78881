//! Memory that devices can reach. The machine is coherent, and addresses are the same for processor and devices.

use core::alloc::Layout;
use core::ptr::NonNull;

use virtio_gpio::memory::DmaMemory;

/// Memory for a driver and its device, for ever.
#[derive(Debug)]
pub struct StaticDma {
    base: NonNull<u8>,
    len: usize,
}

/// Takes `len` bytes, zeroed and page-aligned, from the heap for ever. `None` if there is no room, or for no bytes at all.
pub fn allocate(len: usize) -> Option<StaticDma> {
    let layout = Layout::from_size_align(len, StaticDma::ALIGN).ok().filter(|layout| layout.size() > 0)?;
    #[expect(unsafe_code, reason = "asks the heap for aligned memory")]
    // SAFETY: the layout is not of size zero.
    let base = NonNull::new(unsafe { alloc::alloc::alloc_zeroed(layout) })?;
    Some(StaticDma { base, len })
}

#[expect(unsafe_code, reason = "owns memory through a pointer")]
// SAFETY: nothing else has the memory.
unsafe impl Send for StaticDma {}

#[expect(unsafe_code, reason = "implements an unsafe trait")]
// SAFETY: the heap gave `len` bytes with that alignment, and gets them back never. Memory is mapped at its own address, and
// the caches of the machine are coherent with its devices.
unsafe impl DmaMemory for StaticDma {
    fn base(&self) -> NonNull<u8> {
        self.base
    }

    fn len(&self) -> usize {
        self.len
    }

    fn device_address(&self) -> u64 {
        self.base.as_ptr().expose_provenance() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_aligned_and_zeroed() {
        let memory = allocate(10_000).unwrap();
        assert_eq!(memory.len(), 10_000);
        assert_eq!(memory.device_address() % 4096, 0);
        #[expect(unsafe_code, reason = "looks at the memory")]
        // SAFETY: `memory` owns these bytes, and there is no device.
        let bytes = unsafe { core::slice::from_raw_parts(memory.base().as_ptr(), memory.len()) };
        assert!(bytes.iter().all(|&byte| byte == 0));
    }

    #[test]
    fn nothing_and_too_much_are_refused() {
        assert!(allocate(0).is_none());
        assert!(allocate(usize::MAX).is_none());
    }
}
