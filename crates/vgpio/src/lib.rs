//! Simulated virtio GPIO devices for stock QEMU, and a bridge to the host's own lines.
//!
//! A [`world::World`] has devices ([`chip::Chip`]), wires between their lines, and what the outside does to them. The
//! [`server`] puts each device behind a vhost-user socket, where QEMU presents it to a guest ([`vhost`]). What happens is kept by
//! [`record::Sink`]s: as a waveform, as counts, or as a list that a test looks at; [`wave`] reads waveforms and
//! draws them. [`qemu`] starts QEMU with a guest. Behind some lines of a device may be those of the
//! host's GPIO chips ([`bridge`]).
#![forbid(unsafe_code)]

pub mod bridge;
pub mod chip;
pub mod control;
pub mod duration;
pub mod fault;
pub mod polling;
pub mod qemu;
pub mod record;
pub mod report;
pub mod request;
pub mod runner;
pub mod scenario;
pub mod server;
pub mod vhost;
pub mod wave;
#[cfg(feature = "web")]
pub mod web;
pub mod world;

/// Parts that read bytes from elsewhere, for the fuzz targets alone.
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing {
    pub use crate::control::fuzzing::read_requests;
    pub use crate::web::fuzzing::receive;
}
