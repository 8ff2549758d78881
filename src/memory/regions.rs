//! Arithmetic on ranges of addresses.

use core::fmt;

/// A range of addresses: the first one, and the one after the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Region {
    /// The first address.
    pub start: u64,
    /// The address after the last.
    pub end: u64,
}

impl Region {
    /// The addresses from `start` to just before `end`.
    pub const fn new(start: u64, end: u64) -> Self {
        Self { start, end }
    }

    /// The `size` addresses from `start` on, if there are so many.
    pub fn from_size(start: u64, size: u64) -> Option<Self> {
        Some(Self { start, end: start.checked_add(size)? })
    }

    /// The number of addresses.
    pub const fn size(self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Whether there is an address in both.
    pub fn overlaps(self, other: Self) -> bool {
        self.start < other.end && other.start < self.end
    }

    /// Whether `other` lies in this region entirely.
    pub const fn contains(self, other: Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// This region without the parts at its ends that do not make whole pages of `size` bytes, a power of two.
    #[must_use]
    pub fn whole_pages(self, size: u64) -> Self {
        let mask = size.saturating_sub(1);
        Self { start: self.start.saturating_add(mask) & !mask, end: self.end & !mask }
    }
}

impl fmt::Display for Region {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:#x}..{:#x}", self.start, self.end)
    }
}

/// The largest piece of `memory` that touches nothing in `taken`.
pub(crate) fn largest_free(memory: &[Region], taken: &[Region]) -> Option<Region> {
    // A free piece starts where memory starts or something taken ends, so these are all there can be.
    let starts = || memory.iter().map(|region| region.start).chain(taken.iter().map(|region| region.end));
    memory
        .iter()
        .flat_map(|&bank| {
            starts().filter(move |&start| bank.start <= start && start < bank.end).map(move |s| (bank, s))
        })
        .filter(|&(_, start)| !taken.iter().any(|region| region.start <= start && start < region.end))
        .map(|(bank, start)| {
            let end = taken.iter().map(|region| region.start).filter(|&taken| taken >= start).fold(bank.end, u64::min);
            Region { start, end }
        })
        .max_by_key(|region| region.size())
        .filter(|region| region.size() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMORY: [Region; 1] = [Region::new(100, 200)];

    #[test]
    fn nothing_taken_leaves_everything() {
        assert_eq!(largest_free(&MEMORY, &[]), Some(Region::new(100, 200)));
    }

    #[test]
    fn finds_the_largest_gap() {
        let taken = [Region::new(90, 110), Region::new(130, 140), Region::new(190, 300)];
        assert_eq!(largest_free(&MEMORY, &taken), Some(Region::new(140, 190)));
    }

    #[test]
    fn overlapping_regions_leave_nothing_of_what_they_cover() {
        let taken = [Region::new(100, 150), Region::new(120, 180), Region::new(110, 130)];
        assert_eq!(largest_free(&MEMORY, &taken), Some(Region::new(180, 200)));
    }

    #[test]
    fn all_taken_leaves_nothing() {
        assert_eq!(largest_free(&MEMORY, &[Region::new(0, 1000)]), None);
        assert_eq!(largest_free(&[], &[]), None);
    }

    #[test]
    fn chooses_between_banks() {
        let memory = [Region::new(0, 50), Region::new(100, 170)];
        assert_eq!(largest_free(&memory, &[Region::new(110, 125)]), Some(Region::new(0, 50)));
        assert_eq!(largest_free(&memory, &[Region::new(10, 20)]), Some(Region::new(100, 170)));
    }

    #[test]
    fn whole_pages_shrink_at_both_ends() {
        assert_eq!(Region::new(1, 8191).whole_pages(4096), Region::new(4096, 4096));
        assert_eq!(Region::new(4096, 12288).whole_pages(4096), Region::new(4096, 12288));
        assert_eq!(Region::new(5000, 6000).whole_pages(4096).size(), 0);
    }

    #[test]
    fn touching_regions_do_not_overlap() {
        assert!(!Region::new(0, 10).overlaps(Region::new(10, 20)));
        assert!(Region::new(0, 11).overlaps(Region::new(10, 20)));
    }
}
