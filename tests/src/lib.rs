//! What the tests that boot an image need: a scene with simulated devices, and a guest in it.
#![forbid(unsafe_code)]

pub mod boards;
pub mod bridge;
pub mod browser;
pub mod linux;
pub mod scene;
pub mod soak;
