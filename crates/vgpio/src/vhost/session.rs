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

    /// Lets a new driver begin, if the queues run again and it is one. While they do not run nobody is there for whom real
    /// lines could be held: a guest that was reset looks like one that is paused.
    fn begin(&mut self, chip: &mut Chip) {
        let mut frontend = lock(&self.frontend);
        if !frontend.stopped {
            return;
        }
        if !frontend.rings.iter().any(Ring::is_running) {
            chip.suspend();
            return;
        }
        frontend.stopped = false;
        if frontend.is_fresh() {
            self.queues.clear();
            chip.begin(frontend.features());
        } else {
            chip.resume();
        }
    }

    /// Takes one chain from the driver and answers it. Returns false when there is none.
    fn step(&mut self, chip: &mut Chip) -> bool {
        self.queues.step(&mut lock(&self.frontend), chip)
    }

    /// Hands out what the device has for its driver, and tells the driver. Returns whether there was anything.
    fn deliver(&mut self, chip: &mut Chip) -> bool {
        let mut frontend = lock(&self.frontend);
        self.queues.deliver(&mut frontend, chip);
        let Frontend { memory, rings, .. } = &mut *frontend;
        // Events before answers: whoever asked for a level sees the events that came before it.
        let mut any = false;
        for ring in rings.iter_mut().rev() {
            any |= ring.announce(memory);
        }
        any
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

/// What a [`look`] has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Nothing to do.
    Nothing,
    /// Drivers were told something of which they did not ask just now.
    Told,
    /// Drivers have sent something.
    Sent,
}

/// Looks at the queues of all sessions once, without asking the drivers to tell of what comes next. For a caller that
/// looks again at once; before it rests it calls [`serve`].
pub fn look(world: &mut World, sessions: &mut [(usize, &mut Session)], now: impl Fn() -> Duration) -> Look {
    let mut steps = 0;
    step_all(world, sessions, &now, &mut steps);
    match deliver_all(world, sessions, &now) {
        _ if steps > 0 => Look::Sent,
        true => Look::Told,
        false => Look::Nothing,
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

fn deliver_all(world: &mut World, sessions: &mut [(usize, &mut Session)], now: &impl Fn() -> Duration) -> bool {
    let mut any = false;
    for (number, session) in sessions {
        if let Some(chip) = world.chip_mut(*number).filter(|chip| !chip.is_stalled()) {
            any |= session.deliver(chip);
        }
    }
    world.settle(now());
    any
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "helpers of tests fail like tests")]
mod tests {
    use std::fs::File;

    use gpio_model::observe::Activity;
    use gpio_model::{draft, ratified};
    use rustix::fs::{MemfdFlags, memfd_create};
    use vhost::vhost_user::VhostUserBackendReqHandlerMut;
    use vhost::vhost_user::message::{VhostUserMemoryRegion, VhostUserVringAddrFlags};
    use virtio_gpio::messages::LineId;
    use vm_memory::{Bytes, FileOffset, GuestAddress, GuestMemoryMmap};

    use super::*;
    use crate::record::trace::Trace;

    const SIZE: usize = 0x4000;
    const QUEUE_SIZE: u16 = 16;
    const STRIDE: u64 = 0x2000;
    const AVAILABLE: u64 = 0x800;
    const USED: u64 = 0xc00;
    const BUFFER: u64 = 0x1000;
    const NEXT: u16 = 1;
    const WRITE: u16 = 2;
    const INDIRECT: u16 = 4;

    /// A session with a guest whose memory begins at address 0, where the front end has it, too.
    struct Bench {
        world: World,
        session: Session,
        memory: GuestMemoryMmap,
    }

    impl Bench {
        fn new(chip: Chip) -> Self {
            let file = File::from(memfd_create("guest", MemfdFlags::CLOEXEC).unwrap());
            file.set_len(SIZE as u64).unwrap();
            let region = VhostUserMemoryRegion::new(0, SIZE as u64, 0, 0);
            let session = Session::new(&chip).unwrap();
            session.frontend().set_mem_table(&[region], vec![file.try_clone().unwrap()], None).unwrap();
            session.frontend().set_features(1 << 32 | 1).unwrap();
            let range = (GuestAddress(0), SIZE, Some(FileOffset::new(file, 0)));
            let memory = GuestMemoryMmap::from_ranges_with_files([range]).unwrap();
            Self { world: World::new(vec![chip]), session, memory }
        }

        fn ratified() -> Self {
            Self::new(Chip::ratified(vec![String::new(); 4], ratified::Options::default()).unwrap())
        }

        fn start(&self, queue: u32, size: u32, base: u64) {
            let mut frontend = self.session.frontend();
            frontend.set_vring_num(queue, size).unwrap();
            frontend.set_vring_base(queue, 0).unwrap();
            let flags = VhostUserVringAddrFlags::empty();
            frontend.set_vring_addr(queue, flags, base, base + USED, base + AVAILABLE, 0).unwrap();
            frontend.set_vring_kick(queue.try_into().unwrap(), None).unwrap();
            frontend.set_vring_enable(queue, true).unwrap();
        }

        fn write_descriptor(&self, place: u64, address: u64, length: u32, flags: u16, next: u16) {
            let words = [address, u64::from(length) | u64::from(flags) << 32 | u64::from(next) << 48];
            self.memory.write_obj(words, GuestAddress(place)).unwrap();
        }

        /// Makes head 0 available again and again, until the index is this.
        fn offer(&mut self, queue: u64, index: u16) {
            self.memory.write_obj(index, GuestAddress(queue * STRIDE + AVAILABLE + 2)).unwrap();
            assert!(!serve(&mut self.world, &mut [(0, &mut self.session)], || Duration::ZERO));
        }

        fn used(&self, queue: u64) -> u16 {
            self.memory.read_obj(GuestAddress(queue * STRIDE + USED + 2)).unwrap()
        }

        /// Prepares `GET_DIRECTION` of line 0 as the chain with head 0.
        fn prepare_request(&self) {
            self.memory.write_slice(&[2, 0, 0, 0, 0, 0, 0, 0], GuestAddress(BUFFER)).unwrap();
            self.write_descriptor(0, BUFFER, 8, NEXT, 1);
            self.write_descriptor(16, BUFFER + 8, 2, WRITE, 0);
        }
    }

    #[test]
    fn queue_of_an_impossible_size_is_ignored_until_it_has_a_possible_one() {
        let mut bench = Bench::ratified();
        bench.prepare_request();
        for size in [0, 3, 2048, 0x1_0010] {
            bench.start(0, QUEUE_SIZE.into(), 0);
            bench.start(0, size, 0);
            bench.offer(0, 1);
            assert_eq!(bench.used(0), 0, "a queue of {size}");
        }
        bench.start(0, QUEUE_SIZE.into(), 0);
        bench.offer(0, 1);
        assert_eq!(bench.used(0), 1);
    }

    #[test]
    fn queue_without_a_place_writes_nowhere() {
        let mut bench = Bench::new(Chip::draft(vec![String::new(); 4], draft::Options::default()).unwrap());
        bench.memory.write_slice(&[0xaa; SIZE], GuestAddress(0)).unwrap();
        for misplaced in [8, SIZE as u64, u64::MAX - 0xfff] {
            bench.start(0, QUEUE_SIZE.into(), misplaced);
            bench.start(1, QUEUE_SIZE.into(), misplaced);
            assert!(!serve(&mut bench.world, &mut [(0, &mut bench.session)], || Duration::ZERO));
            let mut bytes = [0; SIZE];
            bench.memory.read_slice(&mut bytes, GuestAddress(0)).unwrap();
            assert!(bytes.iter().all(|byte| *byte == 0xaa), "queues at {misplaced:#x}");
        }
    }

    #[test]
    fn memory_beyond_the_end_of_its_file_is_refused() {
        let bench = Bench::ratified();
        let file = File::from(memfd_create("guest", MemfdFlags::CLOEXEC).unwrap());
        file.set_len(SIZE as u64).unwrap();
        for (size, offset) in
            [(SIZE as u64 + 1, 0), (SIZE as u64, 0x1000), (0x1000, 1 << 40), (0x1000, u64::MAX - 0xfff)]
        {
            let region = VhostUserMemoryRegion::new(0, size, 0, offset);
            let result = bench.session.frontend().set_mem_table(&[region], vec![file.try_clone().unwrap()], None);
            assert!(result.is_err(), "{size:#x} bytes from {offset:#x} of a file of {SIZE:#x}");
        }
    }

    #[test]
    fn chain_that_runs_in_a_circle_is_as_long_as_the_queue() {
        let mut bench = Bench::ratified();
        let trace = Trace::default();
        bench.world.watch(trace.clone());
        // The largest indirect table that there can be; its first descriptor is followed by itself.
        bench.write_descriptor(STRIDE, STRIDE + BUFFER, 0xffff * 16, INDIRECT, 0);
        bench.write_descriptor(STRIDE + BUFFER, STRIDE + BUFFER + 16, 1, NEXT | WRITE, 0);
        bench.start(1, QUEUE_SIZE.into(), STRIDE);
        bench.offer(1, 1);
        assert_eq!(bench.used(1), 1);
        let seen: Vec<_> = trace.records().into_iter().map(|record| record.activity).collect();
        assert!(seen.contains(&Activity::Malformed { readable: 0, writable: QUEUE_SIZE.into() }), "{seen:?}");
    }

    #[test]
    fn driver_that_lends_one_chain_again_and_again_is_ignored() {
        let mut bench = Bench::ratified();
        bench.prepare_request();
        bench.start(0, QUEUE_SIZE.into(), 0);
        bench.world.chip_mut(0).unwrap().set_mute(LineId(0), true);
        bench.offer(0, QUEUE_SIZE);
        bench.world.chip_mut(0).unwrap().set_mute(LineId(0), false);
        bench.offer(0, QUEUE_SIZE);
        assert_eq!(bench.used(0), QUEUE_SIZE, "late answers, as many as there are descriptors");
        bench.world.chip_mut(0).unwrap().set_mute(LineId(0), true);
        bench.offer(0, 2 * QUEUE_SIZE);
        bench.offer(0, 2 * QUEUE_SIZE + 1);
        bench.world.chip_mut(0).unwrap().set_mute(LineId(0), false);
        bench.offer(0, 2 * QUEUE_SIZE + 2);
        assert_eq!(bench.used(0), QUEUE_SIZE, "the queue is not looked at");
    }
}
