//! The behaviour of a virtio GPIO device, free of any transport: requests in, replies and events out.
//!
//! A [`bank::Bank`] holds the electrical truth about the lines: what the guest does with them, what the outside drives,
//! and the level that results. Two devices put it behind the two protocols: [`ratified::Device`] and [`draft::Device`].
//! A device belongs to its owner, who
//!
//! * hands it the bytes of the driver's buffers, and puts its answers into them;
//! * drives its lines from outside;
//! * hears of everything that happens, in order, through an [`observe::Observer`];
//! * may put something real behind some of the lines, a [`hardware::Hardware`].
//!
//! There is no clock, no socket, no thread and no lock in here, and nothing is allocated to serve a request. So the same
//! behaviour can stand behind a vhost-user socket, in a test next to the driver, in a fuzz target, or inside a guest.
//!
//! The driver is not trusted: every byte string is a legal input, and the worst that a driver can get is an error.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod bank;
pub mod draft;
pub mod hardware;
pub mod names;
pub mod observe;
pub mod ratified;

/// Names a buffer that a transport lends to a device until the device gives it back; usually the head of the
/// descriptor chain. A device never looks into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token(pub u16);
