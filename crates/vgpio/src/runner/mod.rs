//! Runs scenarios.
//!
//! [`matrix`] makes the cases, [`case`] runs one: it sets a stage, takes the steps one after the other, and shows each
//! expectation what happens until that is met or cannot be met any more. What a step is shown is the one log of pins,
//! requests and console lines, from where the step before ended; so what is decided does not depend on how fast this
//! machine is.

mod action;
pub mod case;
mod expect;
pub mod matrix;
mod stage;
mod story;

use std::path::Path;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use case::Report;
use matrix::Case;
pub use stage::{Interruption, seed_of_step};

/// Who hears how a run goes.
pub trait Listener: Send {
    /// A case begins.
    fn begins(&mut self, case: &Case);

    /// A case has ended.
    fn ended(&mut self, case: &Case, report: Report);
}

/// Runs cases, so many at once. What is kept of each goes to a folder. Returns when all have ended; after an
/// interruption that is at once, and the cases that did not begin are not heard of.
pub fn run(cases: &[Case], jobs: usize, keep: Option<&Path>, interruption: &Interruption, listener: &mut dyn Listener) {
    let next = AtomicUsize::new(0);
    let listener = Mutex::new(listener);
    let hear = |tell: &mut dyn FnMut(&mut dyn Listener)| {
        // A listener that panicked once is still told: the verdicts are worth more.
        tell(&mut **listener.lock().unwrap_or_else(PoisonError::into_inner));
    };
    let work = || {
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            if interruption.signal().is_some() {
                return;
            }
            hear(&mut |listener| listener.begins(case));
            let mut report = Some(case::run(case, interruption, keep));
            hear(&mut |listener| {
                if let Some(report) = report.take() {
                    listener.ended(case, report);
                }
            });
        }
    };
    thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(work);
        }
    });
}
