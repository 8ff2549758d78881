//! The checks, in the order in which they run.

mod device;
mod draft;
mod events;
mod requests;
mod rules;
mod seams;

use crate::bench::Rig;
use crate::outcome::Outcome;

/// A check's name, which begins with its item, and what it does.
pub(crate) type Check = (&'static str, fn(&dyn Rig) -> Outcome);

/// The checks, but for those of the end. A stage is run where nothing failed in those before it: it would fail for that reason.
///
/// First each seam by itself, then all of them together, then the protocols, item by item. The ratified one: R and E are what
/// the driver owes (VIRTIO 1.2, 5.18.6.8 and 5.18.7.2, in their order), V and F what the device owes (5.18.6.9, 5.18.7.3), B the
/// rules of the chapter's text that have no keyword. D are the points that the draft leaves open, and how they are read.
pub(crate) const STAGES: [&[&[Check]]; 3] = [
    &[seams::ALONE],
    &[seams::TOGETHER],
    &[requests::CHECKS, device::CHECKS, events::CHECKS, rules::CHECKS, draft::CHECKS],
];

/// What is known of the seams only when all is over.
pub(crate) const END: &[Check] = seams::AT_THE_END;
