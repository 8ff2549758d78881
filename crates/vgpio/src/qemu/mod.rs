//! QEMU: what it is started with, and the guest that runs in it.

pub mod board;
pub mod command;
pub mod guest;
pub mod program;
