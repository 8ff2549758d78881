//! The device tree: a flattened tree of unknown quality in memory becomes a description of the machine.
//!
//! 1. [`copy`] checks the blob's structure and copies it;
//! 2. [`view`] walks the copy with the `fdt` crate, which can no longer meet anything that makes it panic;
//! 3. [`machine`] picks out what the platform needs, and [`virtio`] the devices.

pub(crate) mod copy;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
pub(crate) mod machine;
pub(crate) mod view;
pub(crate) mod virtio;

#[cfg(test)]
mod tests;
