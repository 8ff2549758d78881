//! What can be done to make the device misbehave.

use alloc::collections::VecDeque;
use core::time::Duration;

use virtio_gpio::messages::LineId;
use virtio_gpio::transport::InterruptStatus;

use super::Machine;
use super::state::{Later, State, nanoseconds};
use crate::bus::Bus;
use crate::ring::Ring;
use crate::script::Tamper;

impl Machine {
    /// Says what happens to the next completions of a queue, one after the other.
    pub fn tamper(&self, queue: u16, with: impl IntoIterator<Item = Tamper>) {
        self.with(|state| {
            if let Some(completions) = state.script.completions.get_mut(usize::from(queue)) {
                completions.extend(with);
            }
        });
    }

    /// Says what happens to every completion of a queue that [`Machine::tamper`] says nothing about.
    pub fn tamper_every(&self, queue: u16, with: Option<Tamper>) {
        self.with(|state| {
            if let Some(every) = state.script.every.get_mut(usize::from(queue)) {
                *every = with;
            }
        });
    }

    /// Forgets what [`Machine::tamper`] and [`Machine::tamper_every`] said about completions to come.
    pub fn stop_tampering(&self) {
        self.with(|state| {
            state.script.completions.iter_mut().for_each(VecDeque::clear);
            state.script.every.fill(None);
        });
    }

    /// Reports what was held back, the last one first if `reversed`.
    pub fn release_held(&self, reversed: bool) {
        self.with(|state| {
            if reversed {
                state.later.make_contiguous().reverse();
            }
            for later in &mut state.later {
                later.due.get_or_insert(state.now);
            }
            state.work();
        });
    }

    /// Reports what was held back of one queue first, and lets the device do nothing else. `false` if there is nothing.
    pub fn release_first(&self, queue: u16) -> bool {
        self.with(|state| {
            let held = |later: &Later| later.due.is_none() && later.completion.chain.queue == queue;
            let (Some(place), Some(memory)) = (state.later.iter().position(held), state.memory.clone()) else {
                return false;
            };
            let later = state.later.remove(place);
            later.inspect(|later| state.report(&*memory, &later.completion, &Tamper::Nothing)).is_some()
        })
    }

    /// From now on, requests for the line are carried out and never answered; or they are answered again.
    pub fn mute(&self, line: LineId, mute: bool) {
        self.with(|state| {
            state.script.mute.retain(|&other| other != line.0);
            if mute {
                state.script.mute.push(line.0);
            }
        });
    }

    /// The device does not look at its queues for so long. Its registers work.
    pub fn stall(&self, duration: Duration) {
        self.with(|state| state.script.stalled_until = state.now.saturating_add(nanoseconds(duration)));
    }

    /// Every completion takes so long.
    pub fn set_latency(&self, latency: Duration) {
        self.with(|state| state.script.latency = nanoseconds(latency));
    }

    /// The next notifications get lost.
    pub fn lose_notifications(&self, count: u32) {
        self.with(|state| state.script.lost_notifications = count);
    }

    /// The device looks at its queues by itself and wants no notifications. To be said before the queues are set up.
    pub fn poll_queues(&self) {
        self.with(|state| state.script.polls = true);
    }

    /// `FEATURES_OK` does not stay set.
    pub fn refuse_features(&self) {
        self.with(|state| state.script.refuses_features = true);
    }

    /// How long resets take from now on; `None` if they never end.
    pub fn set_reset_time(&self, time: Option<Duration>) {
        self.with(|state| state.script.reset_time = time.map(nanoseconds));
    }

    /// The configuration changes under the next reads of its generation.
    pub fn unsettle_config(&self, reads: u32) {
        self.with(|state| state.script.unsettled_reads = reads);
    }

    /// The device asks for a reset, and interrupts to say so.
    pub fn need_reset(&self) {
        self.with(State::needs_reset);
    }

    /// From now on, the device asks for a reset whenever the driver is ready.
    pub fn need_reset_always(&self, always: bool) {
        self.with(|state| state.script.needs_reset_again = always);
    }

    /// The configuration changes, and the device interrupts to say so.
    pub fn change_config(&self) {
        self.with(|state| {
            state.generation = state.generation.wrapping_add(1);
            state.interrupt_status |= InterruptStatus::CONFIG_CHANGE | InterruptStatus::USED_BUFFER;
            state.interrupt_raised = true;
        });
    }

    /// The device forgets everything, and tells nobody.
    pub fn reset_silently(&self) {
        self.with(|state| {
            state.finish_reset();
            state.forgot = true;
        });
    }

    /// The device overwrites the descriptor tables with nonsense.
    pub fn scribble_descriptors(&self) {
        self.scribble(Ring::scribble_descriptors);
    }

    /// The device overwrites the available rings with nonsense.
    pub fn scribble_available(&self) {
        self.scribble(Ring::scribble_available);
    }

    fn scribble(&self, scribble: fn(&Ring, &dyn Bus)) {
        self.with(|state| {
            let Some(memory) = state.memory.as_deref() else { return };
            for ring in state.queues.iter().filter_map(|queue| queue.ring.as_ref()) {
                scribble(ring, memory);
            }
        });
    }
}
