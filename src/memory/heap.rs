//! The heap.

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::{self, NonNull};

use crate::arch;
use crate::memory::mappings;
use crate::memory::regions::Region;
use crate::memory::translation::{Access, MapError, PAGE_SIZE};
use crate::sync::InterruptLock;
use thiserror::Error;

static FREE: InterruptLock<linked_list_allocator::Heap> = InterruptLock::new(linked_list_allocator::Heap::empty());

/// How far apart the memory is looked at, to see whether it is there.
const PROBE_DISTANCE: u64 = 2 << 20;

/// The allocator of the image.
#[derive(Debug)]
pub(crate) struct Heap;

/// Memory that cannot be the heap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum HeapError {
    /// Not mappable.
    #[error("{0}")]
    Map(#[from] MapError),
    /// The device tree promised more than there is.
    #[error("there is no memory at {0:#x}, although the device tree says so")]
    NotThere(u64),
}

/// Makes `region` the heap: whole pages of memory that nothing else uses.
pub(crate) fn start(region: Region) -> Result<(), HeapError> {
    mappings::map(region, Access::Memory)?;
    let last = region.end.saturating_sub(PAGE_SIZE);
    let mut address = region.start;
    while address < region.end {
        probe(address)?;
        address = address.saturating_add(PROBE_DISTANCE);
    }
    probe(last)?;
    let size = usize::try_from(region.size()).map_err(|_| HeapError::NotThere(region.end))?;
    let bottom = ptr::with_exposed_provenance_mut(address_of(region.start)?);
    #[expect(unsafe_code, reason = "gives memory to the allocator")]
    // SAFETY: the caller found these pages unused; they are mapped, and memory answers. Called once.
    FREE.with(|heap| unsafe { heap.init(bottom, size) });
    Ok(())
}

fn address_of(address: u64) -> Result<usize, HeapError> {
    usize::try_from(address).map_err(|_| HeapError::NotThere(address))
}

fn probe(address: u64) -> Result<(), HeapError> {
    #[expect(unsafe_code, reason = "first access to memory")]
    // SAFETY: mapped by `start`, page-aligned, and reading memory has no effect.
    let value = unsafe { arch::probe_read_u32(address_of(address)?) };
    value.map(|_| ()).ok_or(HeapError::NotThere(address))
}

#[expect(unsafe_code, reason = "implements an unsafe trait")]
// SAFETY: `linked_list_allocator` gives out disjoint parts of its region, as large and aligned as asked for; the lock keeps
// interrupts out meanwhile.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        FREE.with(|heap| heap.allocate_first_fit(layout).map_or(ptr::null_mut(), NonNull::as_ptr))
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if let Some(block) = NonNull::new(block) {
            // SAFETY: the caller has the block from `alloc`, with this layout.
            FREE.with(|heap| unsafe { heap.deallocate(block, layout) });
        }
    }
}
