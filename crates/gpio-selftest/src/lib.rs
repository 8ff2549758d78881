//! A self-test for ports of the crate `virtio-gpio`: it says whether a kernel's seams are what the driver needs, on the
//! kernel itself, before there is a device.
//!
//! The device is simulated inside the kernel ([`gpio_loopback`]): it works while the driver waits, in the same thread. The
//! driver is the real one, on the kernel's own memory, fences and clock. First each seam is tried by itself, so that one
//! that is wrong is named; then there is one check for each normative item and each rule of the ratified protocol's chapter
//! (VIRTIO 1.2, 5.18), and one for each point that the draft of 2020 leaves open.
//!
//! A port implements [`Kernel`], of which `tests/kernel.rs` has the smallest, and calls [`run`] with whatever it prints with:
//!
//! ```
//! # let kernel = gpio_selftest::sabotage::Broken::new(gpio_selftest::sabotage::TestClock::new(), None);
//! # let mut console = String::new();
//! let report = gpio_selftest::run(&kernel, &mut console)?;
//! assert!(report.has_passed(), "the console says why");
//! # Ok::<(), core::fmt::Error>(())
//! ```
//!
//! The output is TAP, version 14. It takes an allocator with 128 KiB, [`MEMORY_SIZE`] bytes shared with the device,
//! and an implementation of the crate `critical-section`; it ends whatever the seams do, unless one of their functions does
//! not return.
//!
//! What it cannot show: a fence that is missing or too weak, and a cache that is not in step, where the device sees memory
//! as the driver's processor does. Such checks are skipped with that reason, unless the kernel says otherwise
//! ([`Kernel::shows`]). [`sabotage`] has memory that shows both, and seams with each mistake.
#![no_std]
#![deny(unsafe_code)]

extern crate alloc;

mod bench;
mod checks;
mod kernel;
mod outcome;
pub mod sabotage;
mod slot;
mod tap;
mod watch;

use core::fmt::{self, Write};

use bench::{Ground, Rig};
use outcome::{Failure, Outcome};
use tap::Tap;

pub use gpio_loopback::{Bus, Direct, Registers};
pub use kernel::{Kernel, MEMORY_SIZE, Shows};
pub use slot::InterruptSlot;

/// What came out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    /// Checks that passed.
    pub passed: usize,
    /// Checks that failed.
    pub failed: usize,
    /// Checks that this kernel cannot show, or that a failed seam made meaningless.
    pub skipped: usize,
}

impl Report {
    /// Whether nothing failed.
    pub const fn has_passed(&self) -> bool {
        self.failed == 0
    }
}

/// Why checks are left out that would fail for a reason that is known.
const SEAM_FAILED: &str = "a seam failed above";

/// Runs all checks and writes their results. Where a seam is wrong by itself, those that take all seams are skipped, and where
/// they are wrong together, those of the protocols: they would fail for that reason.
///
/// Takes the time that the checks take: under a second, with a clock that is in order.
///
/// # Errors
///
/// That of the output; the checks end there.
pub fn run<K: Kernel>(kernel: &K, out: &mut dyn Write) -> Result<Report, fmt::Error> {
    run_on(&Ground::new(kernel), out)
}

fn run_on(rig: &dyn Rig, out: &mut dyn Write) -> Result<Report, fmt::Error> {
    let plan = checks::STAGES.iter().copied().flatten().copied().flatten().count().saturating_add(checks::END.len());
    let mut report = Report::default();
    let mut tap = Tap::begin(out, plan)?;
    for stage in checks::STAGES {
        let is_sound = report.has_passed();
        for &(name, check) in stage.iter().copied().flatten() {
            let outcome = if is_sound { check(rig) } else { Err(Failure::Skipped(SEAM_FAILED)) };
            report.note(&mut tap, name, &outcome)?;
        }
    }
    for &(name, check) in checks::END {
        report.note(&mut tap, name, &check(rig))?;
    }
    let Report { passed, failed, skipped } = report;
    tap.comment(format_args!("{passed} passed, {failed} failed, {skipped} skipped"))?;
    Ok(report)
}

impl Report {
    fn note(&mut self, tap: &mut Tap<'_>, name: &str, outcome: &Outcome) -> fmt::Result {
        let count = match outcome {
            Ok(()) => &mut self.passed,
            Err(Failure::Failed(_)) => &mut self.failed,
            Err(Failure::Skipped(_)) => &mut self.skipped,
        };
        *count = count.saturating_add(1);
        tap.result(name, outcome)
    }
}
