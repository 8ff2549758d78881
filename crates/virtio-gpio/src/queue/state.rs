//! The queue's own record of its descriptors: which are free, which form a chain, which chains are in flight.
//!
//! No shared memory here: what the device may have overwritten is never read back, and this file can be tested and
//! model-checked alone.

/// Storage for one descriptor's record. The user of the driver supplies as many as the queues have descriptors.
#[derive(Debug, Clone, Copy)]
pub struct DescriptorSlot {
    /// The next free descriptor, or the next of the chain.
    next: u16,
    /// Descriptors of the chain that starts here; 0 if no chain in flight starts here.
    chain: u16,
    /// What the chain's owner knows it by.
    token: u16,
    /// Bytes that the device may write.
    writable: u32,
}

impl DescriptorSlot {
    /// An unused record.
    pub const EMPTY: Self = Self { next: 0, chain: 0, token: 0, writable: 0 };
}

/// How the device broke the rules of the ring. The queue is unusable from then on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RingViolation {
    /// The used ring names a descriptor that the queue does not have.
    IdOutOfRange(u32),
    /// The used ring names a descriptor that is not the head of a chain in flight: never made available, in the middle
    /// of a chain, or completed before.
    NotInFlight(u32),
    /// The used ring's index moved by more than there are chains in flight, or backwards.
    IndexJump {
        /// The index after the last completion.
        from: u16,
        /// The index found.
        to: u16,
    },
}

/// A chain that came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Completion {
    /// The owner's token.
    pub(crate) token: u16,
    /// Bytes written, as the device says.
    pub(crate) length: u32,
    /// Bytes that it could have written.
    pub(crate) writable: u32,
}

/// The records of one queue.
#[derive(Debug)]
pub(crate) struct State<'a> {
    slots: &'a mut [DescriptorSlot],
    first_free: u16,
    free: u16,
    in_flight: u16,
}

impl<'a> State<'a> {
    /// Takes over `slots`, whose number is the queue's size. All descriptors are free.
    pub(crate) fn new(slots: &'a mut [DescriptorSlot]) -> Self {
        let mut state = Self { slots, first_free: 0, free: 0, in_flight: 0 };
        state.reset();
        state
    }

    /// Forgets all chains: the device was reset.
    pub(crate) fn reset(&mut self) {
        let mut count = 0u16;
        for slot in self.slots.iter_mut() {
            // The last one's successor does not exist; it is never followed while `free` counts right.
            count = count.saturating_add(1);
            *slot = DescriptorSlot { next: count, ..DescriptorSlot::EMPTY };
        }
        self.first_free = 0;
        self.free = count;
        self.in_flight = 0;
    }

    pub(crate) fn free(&self) -> u16 {
        self.free
    }

    /// Descriptors on the free list, counted one by one rather than taken from [`free`](Self::free).
    pub(crate) fn count_free(&self) -> u16 {
        let mut count = 0u16;
        let mut index = self.first_free;
        while usize::from(count) < self.slots.len()
            && let Some(slot) = self.slots.get(usize::from(index))
        {
            count = count.saturating_add(1);
            index = slot.next;
        }
        count
    }

    /// Chains in flight.
    pub(crate) fn in_flight(&self) -> u16 {
        self.in_flight
    }

    /// Takes `length` descriptors off the free list as a chain in flight; calls `each` with the index of each, and
    /// with that of the next one where there is one. Returns the head, or `None` if there are too few.
    pub(crate) fn begin(
        &mut self,
        length: u16,
        token: u16,
        writable: u32,
        mut each: impl FnMut(u16, Option<u16>),
    ) -> Option<u16> {
        if length == 0 || length > self.free {
            return None;
        }
        let head = self.first_free;
        let mut index = head;
        for left in (0..length).rev() {
            let next = self.slots.get(usize::from(index))?.next;
            each(index, (left > 0).then_some(next));
            if left == 0 {
                self.first_free = next;
            } else {
                index = next;
            }
        }
        let slot = self.slots.get_mut(usize::from(head))?;
        slot.chain = length;
        slot.token = token;
        slot.writable = writable;
        self.free = self.free.saturating_sub(length);
        self.in_flight = self.in_flight.saturating_add(1);
        Some(head)
    }

    /// Believes or refuses an element of the used ring, and puts the chain's descriptors back on the free list.
    pub(crate) fn complete(&mut self, id: u32, length: u32) -> Result<Completion, RingViolation> {
        // All 32 bits count: an id with something above the low 16 is out of range, not an alias.
        let head = u16::try_from(id).map_err(|_| RingViolation::IdOutOfRange(id))?;
        let slot = self.slots.get_mut(usize::from(head)).ok_or(RingViolation::IdOutOfRange(id))?;
        if slot.chain == 0 {
            return Err(RingViolation::NotInFlight(id));
        }
        let chain = core::mem::take(&mut slot.chain);
        let completion = Completion { token: slot.token, length, writable: slot.writable };
        let mut last = head;
        for _ in 1..chain {
            last = self.slots.get(usize::from(last)).map_or(last, |slot| slot.next);
        }
        if let Some(slot) = self.slots.get_mut(usize::from(last)) {
            slot.next = self.first_free;
        }
        self.first_free = head;
        self.free = self.free.saturating_add(chain);
        self.in_flight = self.in_flight.saturating_sub(1);
        Ok(completion)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;
    use std::vec::Vec;

    fn chain(state: &mut State<'_>, length: u16, token: u16) -> Option<u16> {
        state.begin(length, token, 2, |_, _| ())
    }

    #[test]
    fn a_chain_links_its_descriptors_in_order() {
        let mut slots = [DescriptorSlot::EMPTY; 4];
        let mut state = State::new(&mut slots);
        let mut seen = Vec::new();
        assert_eq!(state.begin(3, 7, 2, |index, next| seen.push((index, next))), Some(0));
        assert_eq!(seen, [(0, Some(1)), (1, Some(2)), (2, None)]);
        assert_eq!((state.free(), state.in_flight()), (1, 1));
        assert_eq!(chain(&mut state, 2, 8), None);
        assert_eq!(chain(&mut state, 0, 8), None);
        assert_eq!(state.complete(0, 2), Ok(Completion { token: 7, length: 2, writable: 2 }));
        assert_eq!((state.free(), state.in_flight()), (4, 0));
    }

    /// The count is there to find mistakes of the list's own, and ends whatever they are.
    #[test]
    fn a_free_list_that_goes_round_is_counted_once() {
        let mut slots = [DescriptorSlot::EMPTY; 4];
        let state = State::new(&mut slots);
        assert_eq!(state.count_free(), 4);
        state.slots[3].next = 0;
        assert_eq!(state.count_free(), 4);
        state.slots[1].next = 7;
        assert_eq!(state.count_free(), 2);
    }

    /// A1, A2 of the fault catalogue: 32 bits of the id are compared.
    #[test]
    fn an_id_outside_the_queue_is_refused() {
        let mut slots = [DescriptorSlot::EMPTY; 4];
        let mut state = State::new(&mut slots);
        chain(&mut state, 2, 7);
        for id in [4, 5, 0xffff, 0x1_0000, u32::MAX] {
            assert_eq!(state.complete(id, 2), Err(RingViolation::IdOutOfRange(id)));
        }
        assert_eq!((state.free(), state.in_flight()), (2, 1));
    }

    /// A3 to A5: middle of a chain, never posted, completed before.
    #[test]
    fn an_id_that_is_no_head_in_flight_is_refused() {
        let mut slots = [DescriptorSlot::EMPTY; 4];
        let mut state = State::new(&mut slots);
        chain(&mut state, 2, 7);
        assert_eq!(state.complete(1, 2), Err(RingViolation::NotInFlight(1)));
        assert_eq!(state.complete(3, 2), Err(RingViolation::NotInFlight(3)));
        assert!(state.complete(0, 2).is_ok());
        assert_eq!(state.complete(0, 2), Err(RingViolation::NotInFlight(0)));
        assert_eq!((state.free(), state.in_flight()), (4, 0));
    }

    /// A state at rest, to be compared: the free list's start and length, and each record's links.
    type Snapshot = (u16, u16, Vec<(u16, u16)>);

    /// Restores a state in `slots`, runs `step` on it, and gives what became of it.
    fn step<R>(from: &Snapshot, step: impl FnOnce(&mut State<'_>) -> R) -> (R, Snapshot) {
        let &(first_free, free, ref links) = from;
        // What a chain's owner knows it by is here the head, so that a mix-up shows.
        let slot = |(head, &(next, chain))| DescriptorSlot { next, chain, token: head, writable: 2 };
        let mut slots: Vec<_> = (0..).zip(links).map(slot).collect();
        let in_flight = u16::try_from(links.iter().filter(|(_, chain)| *chain > 0).count()).unwrap();
        let mut state = State { slots: &mut slots, first_free, free, in_flight };
        let result = step(&mut state);
        let (first_free, free) = (state.first_free, state.free);
        let heads = state.slots.iter().filter(|slot| slot.chain > 0).count();
        assert_eq!(usize::from(state.in_flight()), heads, "chains in flight are counted right");
        assert_eq!(state.count_free(), state.free());
        (result, (first_free, free, slots.iter().map(|slot| (slot.next, slot.chain)).collect()))
    }

    /// The descriptors of a list of that length.
    fn walk(links: &[(u16, u16)], first: u16, length: u16) -> Vec<u16> {
        let follow = |&index: &u16| Some(links[usize::from(index)].0);
        std::iter::successors(Some(first), follow).take(length.into()).collect()
    }

    /// Every descriptor is in exactly one place: the free list, or one chain in flight.
    fn check((first_free, free, links): &Snapshot) {
        let mut all = walk(links, *first_free, *free);
        for (head, &(_, chain)) in (0..).zip(links) {
            all.extend(walk(links, head, chain));
        }
        all.sort_unstable();
        assert!(all.iter().copied().eq(0..u16::try_from(links.len()).unwrap()), "{all:?} in {links:?}");
    }

    /// Walks through all states that chains of these lengths and ids of any kind can lead to. Returns their number.
    fn explore(size: u16, lengths: &[u16]) -> usize {
        let links = (1..=size).map(|next| (next, 0)).collect();
        let start: Snapshot = (0, size, links);
        let mut seen = HashSet::from([start.clone()]);
        let mut todo = Vec::from([start]);
        while let Some(from) = todo.pop() {
            check(&from);
            let mut reach = |next: Snapshot| {
                if seen.insert(next.clone()) {
                    todo.push(next);
                }
            };
            for &length in lengths {
                let mut used = Vec::new();
                let (head, next) = step(&from, |state| state.begin(length, 0, 2, |index, _| used.push(index)));
                assert_eq!(head.is_some(), length > 0 && length <= from.1, "{length} of {}", from.1);
                assert_eq!(used.len(), head.map_or(0, |_| length.into()));
                assert_eq!(head, used.first().copied());
                reach(next);
            }
            for id in (0..u32::from(size) + 2).chain([0xffff, 0x1_0000, 0x8000_0001, u32::MAX]) {
                let chain = usize::try_from(id).ok().and_then(|id| from.2.get(id)).map(|(_, chain)| *chain);
                let (completed, next) = step(&from, |state| state.complete(id, 1));
                match chain {
                    None => assert_eq!(completed, Err(RingViolation::IdOutOfRange(id))),
                    Some(0) => assert_eq!(completed, Err(RingViolation::NotInFlight(id))),
                    Some(chain) => {
                        assert_eq!(completed.map(|completion| u32::from(completion.token)), Ok(id));
                        assert_eq!(next.1, from.1 + chain);
                    }
                }
                if completed.is_err() {
                    assert_eq!(next, from, "what is refused changes nothing");
                }
                reach(next);
            }
        }
        seen.len()
    }

    /// All orders of beginnings and endings: every state of small queues is visited, and every step tried in it.
    #[test]
    fn no_descriptor_is_lost_or_used_twice_in_any_order() {
        let queues = [(2, &[0, 1, 2, 3][..]), (4, &[1, 2, 3, 4, 5]), (8, &[2])];
        // The interpreter would take an hour for the larger ones.
        for (size, lengths) in queues.into_iter().take(if cfg!(miri) { 1 } else { 3 }) {
            let states = explore(size, lengths);
            assert!(states > usize::from(size), "{states} states of {size} descriptors");
        }
    }

    proptest! {
        /// Whatever is begun and whatever ids come back: no descriptor is lost, none is in two chains.
        #[test]
        fn no_descriptor_is_lost_or_used_twice(steps in prop::collection::vec((any::<bool>(), 0u16..5, 0u32..20), 0..200)) {
            let mut slots = [DescriptorSlot::EMPTY; 16];
            let mut state = State::new(&mut slots);
            let mut flying = std::collections::BTreeMap::new();
            for (begin, length, id) in steps {
                if begin {
                    let mut used = Vec::new();
                    let token = length.wrapping_mul(3);
                    if let Some(head) = state.begin(length, token, 2, |index, _| used.push(index)) {
                        prop_assert!(flying.values().all(|(_, other): &(u16, Vec<u16>)| other.iter().all(|d| !used.contains(d))));
                        flying.insert(head, (token, used));
                    }
                } else {
                    let expected = u16::try_from(id).ok().and_then(|id| flying.remove(&id));
                    prop_assert_eq!(state.complete(id, 0).ok().map(|c| c.token), expected.map(|(token, _)| token));
                }
                let out: usize = flying.values().map(|(_, used)| used.len()).sum();
                prop_assert_eq!(usize::from(state.free()), 16 - out);
                prop_assert_eq!(state.count_free(), state.free());
                prop_assert_eq!(usize::from(state.in_flight()), flying.len());
            }
        }
    }
}
