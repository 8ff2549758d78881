//! One front end's time with a device, and the loop that lets all of them take turns.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::frontend::Frontend;
use super::queues::Queues;
use super::ring::Ring;
use crate::chip::Chip;
use crate::world::World;

/// Chains that are taken from the queues before the caller looks after anything else again.
const STEPS_AT_ONCE: usize = 4096;

/// What a device keeps while one front end is connected to it.
pub struct Session {
    /// Shared with the decoder of the front end's messages.
    frontend: Arc<Mutex<Frontend>>,
    queues: Queues,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("frontend", &self.frontend).finish_non_exhaustive()
    }
}

impl Session {
    /// A front end has come, and has said nothing yet.
    ///
    /// # Errors
    ///
    /// When no queue can be made.
    pub fn new(chip: &Chip) -> Result<Self, virtio_queue::Error> {
        Ok(Self { frontend: Arc::new(Mutex::new(Frontend::new(chip)?)), queues: Queues::new() })
    }

    /// What takes the front end's messages.
    pub fn frontend(&self) -> MutexGuard<'_, Frontend> {
        lock(&self.frontend)
    }

    /// The same, for a decoder that wants to own it.
    pub(crate) fn share_frontend(&self) -> Arc<Mutex<Frontend>> {
        Arc::clone(&self.frontend)
    }

    /// Lets a new driver begin, if the queues run again and it is one.
    fn begin(&mut self, chip: &mut Chip) {
        let mut frontend = lock(&self.frontend);
        if frontend.stopped && frontend.rings.iter().any(Ring::is_running) {
            frontend.stopped = false;
            if frontend.is_fresh() {
                self.queues.clear();
                chip.begin(frontend.features());
            }
        }
    }

    /// Takes one chain from the driver and answers it. Returns false when there is none.
    fn step(&mut self, chip: &mut Chip) -> bool {
        self.queues.step(&mut lock(&self.frontend), chip)
    }

    /// Hands out what the device has for its driver, and tells the driver.
    fn deliver(&mut self, chip: &mut Chip) {
        let mut frontend = lock(&self.frontend);
        self.queues.deliver(&mut frontend, chip);
        let Frontend { memory, rings, .. } = &mut *frontend;
        for ring in rings {
            ring.announce(memory);
        }
    }

    /// Asks the driver to tell of new buffers. Returns whether there are some already.
    fn listen(&self) -> bool {
        let Frontend { memory, rings, .. } = &mut *self.frontend();
        let mut more = false;
        for ring in rings {
            more |= ring.listen(memory);
        }
        more
    }
}

fn lock(frontend: &Mutex<Frontend>) -> MutexGuard<'_, Frontend> {
    // One thread uses it: it is never poisoned.
    frontend.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Looks at the queues of all sessions until there is nothing to do, or until it was enough for now: then it returns
/// true. Each session comes with the position of its device in the world; `now` tells the world's time.
pub fn serve(world: &mut World, sessions: &mut [(usize, &mut Session)], now: impl Fn() -> Duration) -> bool {
    let mut steps = 0;
    loop {
        let before = steps;
        step_all(world, sessions, &now, &mut steps);
        if steps == before && listen_all(sessions) {
            // Some buffers came before their drivers could hear that they shall tell.
            step_all(world, sessions, &now, &mut steps);
        }
        deliver_all(world, sessions, &now);
        if steps == before || steps >= STEPS_AT_ONCE {
            return steps >= STEPS_AT_ONCE;
        }
    }
}

/// Takes what the drivers have sent, chain by chain.
fn step_all(world: &mut World, sessions: &mut [(usize, &mut Session)], now: &impl Fn() -> Duration, steps: &mut usize) {
    for (number, session) in sessions {
        while let Some(chip) = world.chip_mut(*number).filter(|chip| !chip.is_stalled()) {
            session.begin(chip);
            if *steps >= STEPS_AT_ONCE || !session.step(chip) {
                break;
            }
            *steps = steps.saturating_add(1);
            world.settle(now());
        }
    }
    world.settle(now());
}

fn listen_all(sessions: &[(usize, &mut Session)]) -> bool {
    let mut more = false;
    for (_, session) in sessions {
        more |= session.listen();
    }
    more
}

fn deliver_all(world: &mut World, sessions: &mut [(usize, &mut Session)], now: &impl Fn() -> Duration) {
    for (number, session) in sessions {
        if let Some(chip) = world.chip_mut(*number).filter(|chip| !chip.is_stalled()) {
            session.deliver(chip);
        }
    }
    world.settle(now());
}
