//! Control of a simulation by other programs, while it runs: one JSON object per line, in both directions.
//!
//! `docs/control.md` describes the messages; [`message`] is what they are made of. [`socket`] takes clients on a Unix
//! socket, [`client`] is one of them.
//!
//! A line from a client becomes an errand for the simulation's thread (`perform`). Events come from the world on the same
//! thread (`hub`), so replies and events leave in the one order in which things happened. They wait in each client's
//! `outbox`, which never makes the simulation wait.

pub mod client;
pub(crate) mod crowd;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod hub;
pub mod keyboard;
pub mod message;
mod outbox;
mod perform;
mod request;
pub mod socket;
pub mod switchboard;
