//! Memory: where the image lies, what is mapped, and the heap.

pub(crate) mod heap;
pub(crate) mod mappings;
pub(crate) mod regions;
pub(crate) mod translation;
