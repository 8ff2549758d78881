//! The vhost-user side of a device: what the front end (QEMU) sets up, and the queues in the guest's memory.
//!
//! Everything here runs on one thread, the server's. It uses the message and queue crates of rust-vmm, not their daemon:
//! that one gives each device threads of its own, which a world of wires between devices would have to lock against each
//! other, and a worker of it ends for good with the first error that a guest provokes.
//!
//! None of it needs the socket: a program that calls the methods of a session's [`Frontend`] and then [`serve`] is front
//! end and driver to the device.

mod buffers;
mod frontend;
mod queues;
mod ring;
mod session;

pub use frontend::Frontend;
pub use session::{Look, Session, look, serve};
