//! The handshake over a queue: what was added and what was used, and whether the other side wants to be told of it
//! (VIRTIO 1.2, 2.7.7 and 2.7.10).
//!
//! Both sides look at these words while the other one writes them. This file depends on nothing else, so that a model
//! checker can run it against a device of its own (`loom/` beside the crate's sources); in the driver, [`Words`] are
//! those in the shared memory.

/// The words of both rings that make up the handshake, and the fences between them. Each access is one of 16 bits, and
/// by itself orders nothing.
pub(crate) trait Words {
    /// Writes the available ring's index.
    fn set_available_index(&self, index: u16);
    /// Writes the available ring's flags.
    fn set_available_flags(&self, flags: u16);
    /// Writes `used_event`: the index of the completion that is worth an interrupt.
    fn set_used_event(&self, index: u16);
    /// Reads the used ring's index.
    fn used_index(&self) -> u16;
    /// Reads the used ring's flags.
    fn used_flags(&self) -> u16;
    /// Reads `avail_event`: the index of the chain that is worth a notification.
    fn available_event(&self) -> u16;
    /// Orders earlier stores before later ones.
    fn release(&self);
    /// Orders earlier loads before later accesses.
    fn acquire(&self);
    /// Orders earlier accesses before later ones, stores before loads too.
    fn full(&self);
}

// The one flag of each ring (2.7.6, 2.7.8).
const AVAILABLE_NO_INTERRUPT: u16 = 1;
const USED_NO_NOTIFY: u16 = 1;

/// How often the driver tries to name a used index that the device has not passed meanwhile. A device that is quicker
/// each time is at work, and is looked at again in any case.
const REARM_TRIES: u32 = 4;

/// An index that is further behind than this is one ahead: no queue is as long.
const HALF_WAY: u16 = 0x8000;

/// Whether a reader who asked to hear when `event` is passed wants to hear of a move from `old` to `new`
/// (`vring_need_event`; 2.7.7.1, 2.7.10). All three run freely modulo 65536.
pub(crate) const fn need_event(event: u16, new: u16, old: u16) -> bool {
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
}

/// The driver's side of the handshake.
#[derive(Debug)]
pub(crate) struct Handshake {
    /// Whether `VIRTIO_F_EVENT_IDX` was negotiated.
    event_index: bool,
    /// The available ring's index, as published.
    available: u16,
    /// The available ring's index when the device was last asked whether it wants a notification.
    notified: u16,
    /// The used ring's index up to which completions were taken.
    used: u16,
    /// What the device was last told in `used_event`.
    used_event: u16,
    /// What the device was last told in the available ring's flags.
    no_interrupt: bool,
}

impl Handshake {
    /// The start, with all words zero: the device interrupts.
    pub(crate) const fn new(event_index: bool) -> Self {
        Self { event_index, available: 0, notified: 0, used: 0, used_event: 0, no_interrupt: false }
    }

    /// The free-running index of the next chain that is made available.
    pub(crate) fn available(&self) -> u16 {
        self.available
    }

    /// The free-running index of the next completion.
    pub(crate) fn used(&self) -> u16 {
        self.used
    }

    /// Makes one chain available, whose head stands in the ring at [`available`](Self::available).
    pub(crate) fn publish(&mut self, words: &impl Words) {
        // Pairs with the device's load of the index: whoever sees the new index sees ring slot, descriptors and buffers.
        words.release();
        self.available = self.available.wrapping_add(1);
        words.set_available_index(self.available);
    }

    /// Whether the device wants to be notified of what was published since the last call.
    pub(crate) fn should_notify(&mut self, words: &impl Words) -> bool {
        if self.notified == self.available {
            return false;
        }
        // Pairs with the device's barrier between asking for notifications and looking at the index again: one of the
        // two sides sees what the other wrote.
        words.full();
        let old = core::mem::replace(&mut self.notified, self.available);
        if self.event_index {
            need_event(words.available_event(), self.available, old)
        } else {
            words.used_flags() & USED_NO_NOTIFY == 0
        }
    }

    /// The used ring's index as the device has it, and by how many completions it is ahead of [`used`](Self::used).
    /// Where it is ahead, the elements may be read from here on.
    pub(crate) fn look(&self, words: &impl Words) -> (u16, u16) {
        let found = words.used_index();
        let ahead = found.wrapping_sub(self.used);
        if ahead != 0 {
            // Pairs with the device's release of the index: elements and the buffers that they name are complete.
            words.acquire();
        }
        (found, ahead)
    }

    /// One completion was taken.
    pub(crate) fn took_one(&mut self) {
        self.used = self.used.wrapping_add(1);
    }

    /// Tells the device that no interrupt is wanted, until [`rearm`](Self::rearm) says otherwise. One may come all the
    /// same: the device can have looked before.
    pub(crate) fn suppress(&mut self, words: &impl Words) {
        if self.event_index {
            // What was asked for may be passed already, and is met again only after 65536 completions.
            let passed = self.used.wrapping_sub(self.used_event);
            if passed == 0 || passed > HALF_WAY {
                self.used_event = self.used.wrapping_sub(1);
                words.set_used_event(self.used_event);
            }
        } else if !core::mem::replace(&mut self.no_interrupt, true) {
            words.set_available_flags(AVAILABLE_NO_INTERRUPT);
        }
    }

    /// Asks the device for an interrupt at the next completion; to be called after the last look of a drain. Returns
    /// whether something came in between, which must be taken then. Where the device had been asked for that interrupt
    /// before, it raises it: the answer is `false` without a look.
    pub(crate) fn rearm(&mut self, words: &impl Words) -> bool {
        self.ask_for_interrupt_at(words, self.used) && words.used_index() != self.used
    }

    /// Asks the device for an interrupt at whatever it completes from now on, though not all that came was taken.
    pub(crate) fn rearm_behind_used(&mut self, words: &impl Words) {
        for _ in 0..REARM_TRIES {
            let found = words.used_index();
            if !self.ask_for_interrupt_at(words, found) || words.used_index() == found {
                return;
            }
        }
    }

    /// Asks for an interrupt, in event index mode at that completion. Returns whether that is news to the device.
    fn ask_for_interrupt_at(&mut self, words: &impl Words, index: u16) -> bool {
        if self.event_index {
            if core::mem::replace(&mut self.used_event, index) == index {
                return false;
            }
            words.set_used_event(index);
        } else {
            if !core::mem::take(&mut self.no_interrupt) {
                return false;
            }
            words.set_available_flags(0);
        }
        // Pairs with the device's barrier between publishing an element and looking whether an interrupt is wanted.
        words.full();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::need_event;

    /// The definition, spelled out: of the indexes from `old` to `new` (excluded), is one of them `event`?
    fn passes(event: u16, new: u16, old: u16) -> bool {
        let mut index = old;
        while index != new {
            if index == event {
                return true;
            }
            index = index.wrapping_add(1);
        }
        false
    }

    #[test]
    fn need_event_is_exact_across_the_wrap() {
        for old in (65500..=65535u16).chain(0..40) {
            for batch in 0..5u16 {
                let new = old.wrapping_add(batch);
                for distance in 0..80u16 {
                    let event = old.wrapping_sub(40).wrapping_add(distance);
                    assert_eq!(need_event(event, new, old), passes(event, new, old), "{event} {new} {old}");
                }
            }
        }
    }
}
