//! The kernel's storage, cut into what the driver needs.

use core::alloc::Layout;
use core::ptr::NonNull;

use virtio_gpio::{DescriptorSlot, EventSlot, LineSlot, RequestSlot, Sizes, Storage};

use crate::chip::VirtioGpioChip;
use crate::pins::Slot;

/// What the storage's first byte must be a multiple of.
pub const VIRTIO_GPIO_STORAGE_ALIGN: usize = 16;

/// How many of each.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) requests: usize,
    pub(crate) lines: usize,
    pub(crate) events: usize,
}

/// What lies where in the storage. The chip itself is at its start.
#[derive(Debug)]
pub(crate) struct Plan {
    pins: Part<Slot>,
    descriptors: Part<DescriptorSlot>,
    requests: Part<RequestSlot>,
    lines: Part<LineSlot>,
    events: Part<EventSlot>,
    names: Part<u8>,
    /// Bytes in all.
    pub(crate) size: usize,
}

/// A number of `T`s at an offset.
#[derive(Debug)]
struct Part<T> {
    offset: usize,
    count: usize,
    value: fn() -> T,
}

impl<T> Part<T> {
    /// Behind what `layout` has; `None` if it does not fit the address space.
    fn behind(layout: &mut Layout, count: usize, value: fn() -> T) -> Option<Self> {
        let (extended, offset) = layout.extend(Layout::array::<T>(count).ok()?).ok()?;
        *layout = extended;
        Some(Self { offset, count, value })
    }

    /// Fills the part.
    ///
    /// # Safety
    ///
    /// `base` is the start of storage that the plan fits into, aligned as it must be, and nobody else's for ever.
    unsafe fn fill(&self, base: NonNull<u8>) -> &'static mut [T] {
        // SAFETY: the offset is inside the storage.
        let first = unsafe { base.add(self.offset) }.cast::<T>();
        for index in 0..self.count {
            // SAFETY: as is every element's.
            let place = unsafe { first.add(index) };
            // SAFETY: inside, and aligned: the offset is a multiple of the alignment, and so is `base`.
            unsafe { place.write((self.value)()) };
        }
        let mut slice = NonNull::slice_from_raw_parts(first, self.count);
        // SAFETY: all of them were written just now; no two parts overlap, and nobody else has the storage.
        unsafe { slice.as_mut() }
    }
}

impl Plan {
    /// The plan for a chip; `None` if it does not fit the address space.
    pub(crate) fn new(sizes: &Sizes, counts: Counts) -> Option<Self> {
        let mut layout = Layout::new::<VirtioGpioChip>();
        let pins = Part::behind(&mut layout, counts.lines, Slot::new)?;
        let descriptors = Part::behind(&mut layout, sizes.descriptors, || DescriptorSlot::EMPTY)?;
        let requests = Part::behind(&mut layout, counts.requests, || RequestSlot::EMPTY)?;
        let lines = Part::behind(&mut layout, counts.lines, || LineSlot::EMPTY)?;
        let events = Part::behind(&mut layout, counts.events, || EventSlot::EMPTY)?;
        let names = Part::behind(&mut layout, sizes.names, || 0)?;
        let fits = layout.align() <= VIRTIO_GPIO_STORAGE_ALIGN;
        fits.then_some(Self { pins, descriptors, requests, lines, events, names, size: layout.size() })
    }

    /// Cuts the storage up.
    ///
    /// # Safety
    ///
    /// `base` leads to [`Plan::size`] bytes, a multiple of [`VIRTIO_GPIO_STORAGE_ALIGN`], which are nobody else's until the
    /// chip was closed.
    pub(crate) unsafe fn cut(&self, base: NonNull<u8>) -> (&'static [Slot], Storage<'static>) {
        // SAFETY: the caller's promise is what each part asks for. So for the others.
        let pins = unsafe { self.pins.fill(base) };
        let storage = Storage {
            // SAFETY: as above.
            descriptors: unsafe { self.descriptors.fill(base) },
            // SAFETY: as above.
            requests: unsafe { self.requests.fill(base) },
            // SAFETY: as above.
            lines: unsafe { self.lines.fill(base) },
            // SAFETY: as above.
            events: unsafe { self.events.fill(base) },
            // SAFETY: as above.
            names: unsafe { self.names.fill(base) },
        };
        (pins, storage)
    }
}
