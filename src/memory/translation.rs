//! Adding mappings to translation tables. Addresses are the same before and after translation.

use core::ptr::NonNull;

use thiserror::Error;

use crate::arch::descriptors::{ENTRIES, Format};
use crate::memory::regions::Region;

/// The smallest unit of mapping.
pub(crate) const PAGE_SIZE: u64 = 4096;
/// What an entry of each level covers, from the root to the pages.
const LEVEL_SIZES: [u64; 3] = [1 << 30, 1 << 21, PAGE_SIZE];
/// The end of what can be mapped: the lower half of the 39-bit addresses of Sv39. Two thirds of what VMSAv8 can do with
/// the same tables, and far above everything that is needed.
const END: u64 = 1 << 38;

/// One translation table.
#[derive(Debug)]
#[repr(C, align(4096))]
pub(crate) struct Table(pub(crate) [u64; ENTRIES]);

/// Who may do what with a mapping. Code is mapped by the link script alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Memory.
    Memory,
    /// Device registers.
    Device,
}

/// A mapping that cannot be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum MapError {
    /// Beyond the addresses that the tables can translate.
    #[error("address {0:#x} is beyond what can be mapped")]
    OutOfRange(u64),
    /// The page of the null pointer.
    #[error("address 0 is kept free for null pointers")]
    Null,
    /// Mapped already, with other rights.
    #[error("address {0:#x} is mapped already, in another way")]
    Conflict(u64),
    /// Too many scattered mappings.
    #[error("no translation table is left for address {0:#x}")]
    NoTable(u64),
}

/// The tables of an address space, and unused ones for what is still to be mapped.
#[derive(Debug)]
pub(crate) struct Tables {
    format: Format,
    root: NonNull<Table>,
    spare: &'static mut [Table],
}

// SAFETY: the tables belong to this value alone.
#[expect(unsafe_code, reason = "owns tables through a pointer")]
unsafe impl Send for Tables {}

impl Tables {
    /// Takes over the tables of an address space.
    ///
    /// # Safety
    ///
    /// `root` is a root table in `format`, and every table below it can be accessed at its own address. Nothing else
    /// writes to them. The tables stay for ever.
    #[expect(unsafe_code, reason = "the caller vouches for the tables")]
    pub(crate) unsafe fn new(format: Format, root: NonNull<Table>, spare: &'static mut [Table]) -> Self {
        Self { format, root, spare }
    }

    /// Maps the pages that `region` touches. What is mapped in the same way already stays.
    pub(crate) fn map(&mut self, region: Region, access: Access) -> Result<(), MapError> {
        let start = region.start & !(PAGE_SIZE - 1);
        let end = region.end.checked_next_multiple_of(PAGE_SIZE).ok_or(MapError::OutOfRange(region.end))?;
        if end > END {
            return Err(MapError::OutOfRange(region.end));
        }
        if start < PAGE_SIZE && start < end {
            return Err(MapError::Null);
        }
        let mut address = start;
        while address < end {
            address = self.map_one(address, end, access)?;
        }
        Ok(())
    }

    /// Maps the largest aligned block at `address` that ends before `end`. Returns its end.
    fn map_one(&mut self, address: u64, end: u64, access: Access) -> Result<u64, MapError> {
        let mut table = self.root;
        let mut levels = LEVEL_SIZES.into_iter().peekable();
        while let Some(size) = levels.next() {
            let last = levels.peek().is_none();
            let next = block_start(address, size).saturating_add(size);
            let found = entry(table, address, size);
            if found & self.format.valid == 0 {
                if last || (address.is_multiple_of(size) && next <= end) {
                    set_entry(table, address, size, self.leaf(address, access, last));
                    return Ok(next);
                }
                let new = self.take_table().ok_or(MapError::NoTable(address))?;
                set_entry(table, address, size, self.pointer(new));
                table = new;
            } else if !last && self.is_table(found) {
                table = self.target(found).ok_or(MapError::Conflict(address))?;
            } else if found == self.leaf(block_start(address, size), access, last) {
                return Ok(next);
            } else {
                return Err(MapError::Conflict(address));
            }
        }
        // The last level returns above.
        Err(MapError::Conflict(address))
    }

    fn leaf(&self, address: u64, access: Access, last: bool) -> u64 {
        let rights = match access {
            Access::Memory => self.format.data,
            Access::Device => self.format.device,
        };
        (address >> self.format.address_shift) | rights | if last { self.format.page } else { self.format.block }
    }

    fn pointer(&self, table: NonNull<Table>) -> u64 {
        (table.as_ptr().expose_provenance() as u64) >> self.format.address_shift | self.format.table
    }

    fn is_table(&self, entry: u64) -> bool {
        entry & self.format.table_mask == self.format.table & self.format.table_mask
    }

    fn target(&self, entry: u64) -> Option<NonNull<Table>> {
        let address = (entry & self.format.address_mask) << self.format.address_shift;
        NonNull::new(core::ptr::with_exposed_provenance_mut(usize::try_from(address).ok()?))
    }

    fn take_table(&mut self) -> Option<NonNull<Table>> {
        let (table, rest) = core::mem::take(&mut self.spare).split_first_mut()?;
        self.spare = rest;
        Some(NonNull::from(table))
    }
}

/// The start of the block of `size` bytes, a power of two, that holds `address`.
fn block_start(address: u64, size: u64) -> u64 {
    address & !size.saturating_sub(1)
}

#[expect(unsafe_code, reason = "reads a table")]
fn entry(table: NonNull<Table>, address: u64, size: u64) -> u64 {
    // SAFETY: `table` is the root or was found in a table below it; see `Tables::new`. The slot is within the table.
    unsafe { slot(table, address, size).read_volatile() }
}

#[expect(unsafe_code, reason = "writes a table")]
fn set_entry(table: NonNull<Table>, address: u64, size: u64, entry: u64) {
    // SAFETY: as in `entry`. The hardware reads the table at the same time; it sees the old entry or the new one.
    unsafe { slot(table, address, size).write_volatile(entry) }
}

/// The place of the entry for `address` in a table whose entries cover `size` bytes each.
fn slot(table: NonNull<Table>, address: u64, size: u64) -> NonNull<u64> {
    #[expect(clippy::cast_possible_truncation, reason = "addresses are below 2^38 and blocks at least 2^12")]
    let index = address.checked_div(size).unwrap_or(0) as usize % ENTRIES;
    table.cast::<u64>().map_addr(|start| start.saturating_add(index.saturating_mul(size_of::<u64>())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::descriptors::{AARCH64, RISCV64};

    const GIB: u64 = 1 << 30;
    const MIB: u64 = 1 << 20;

    fn tables(format: Format, spare: usize) -> Tables {
        let fresh = || Table([0; ENTRIES]);
        let root = Box::leak(Box::new(fresh()));
        let spare = Box::leak((0..spare).map(|_| fresh()).collect::<Vec<_>>().into_boxed_slice());
        #[expect(unsafe_code, reason = "tables for a test")]
        // SAFETY: the tables are empty and leaked.
        unsafe {
            Tables::new(format, NonNull::from(root), spare)
        }
    }

    /// What the hardware would find, and the size of the mapping.
    fn look_up(tables: &Tables, address: u64) -> Option<(u64, u64)> {
        let mut table = tables.root;
        for size in LEVEL_SIZES {
            let found = entry(table, address, size);
            if found & tables.format.valid == 0 {
                return None;
            }
            if size == PAGE_SIZE || !tables.is_table(found) {
                return Some((found, size));
            }
            table = tables.target(found).unwrap();
        }
        None
    }

    #[test]
    fn uses_the_largest_blocks_that_fit() {
        for format in [AARCH64, RISCV64] {
            let mut tables = tables(format, 8);
            tables.map(Region::new(GIB - 2 * MIB - PAGE_SIZE, 2 * GIB + PAGE_SIZE), Access::Memory).unwrap();
            let sizes: Vec<_> = [GIB - 2 * MIB - PAGE_SIZE, GIB - 2 * MIB, GIB, 2 * GIB]
                .map(|address| look_up(&tables, address).unwrap().1)
                .into();
            assert_eq!(sizes, [PAGE_SIZE, 2 * MIB, GIB, PAGE_SIZE]);
            assert_eq!(look_up(&tables, GIB - 2 * MIB - PAGE_SIZE - 1), None);
            assert_eq!(look_up(&tables, 2 * GIB + PAGE_SIZE), None);
        }
    }

    #[test]
    fn entries_are_as_the_manuals_say() {
        let mut arm = tables(AARCH64, 8);
        arm.map(Region::new(0x900_0000, 0x900_1000), Access::Device).unwrap();
        arm.map(Region::new(GIB, 2 * GIB), Access::Memory).unwrap();
        // Valid page, attribute 1, accessed, never executable.
        assert_eq!(look_up(&arm, 0x900_0000), Some((0x0060_0000_0900_0407, PAGE_SIZE)));
        // Valid block, inner shareable, accessed, never executable.
        assert_eq!(look_up(&arm, GIB), Some((0x0060_0000_4000_0701, GIB)));

        let mut riscv = tables(RISCV64, 8);
        riscv.map(Region::new(0x1000_0000, 0x1000_1000), Access::Device).unwrap();
        // The page number starts at bit 10; dirty, accessed, writable, readable, valid.
        assert_eq!(look_up(&riscv, 0x1000_0000), Some((0x0400_00c7, PAGE_SIZE)));
    }

    #[test]
    fn the_same_mapping_twice_is_one_mapping() {
        let mut tables = tables(AARCH64, 2);
        for _ in 0..2 {
            tables.map(Region::new(0xa00_0000, 0xa00_0200), Access::Device).unwrap();
            tables.map(Region::new(0xa00_0200, 0xa00_0400), Access::Device).unwrap();
        }
        assert!(tables.spare.is_empty());
    }

    #[test]
    fn refuses_other_rights_for_what_is_mapped() {
        let mut tables = tables(AARCH64, 8);
        tables.map(Region::new(GIB, 2 * GIB), Access::Memory).unwrap();
        assert_eq!(tables.map(Region::new(GIB + 5, GIB + 6), Access::Device), Err(MapError::Conflict(GIB)));
    }

    #[test]
    fn the_first_page_is_never_mapped() {
        let mut tables = tables(AARCH64, 8);
        for region in [Region::new(0, 1), Region::new(0xffc, 0x2000), Region::new(0, GIB)] {
            assert_eq!(tables.map(region, Access::Device), Err(MapError::Null), "{region}");
            assert_eq!(look_up(&tables, 0), None);
        }
        tables.map(Region::new(PAGE_SIZE, 2 * PAGE_SIZE), Access::Device).unwrap();
    }

    #[test]
    fn refuses_what_it_cannot_map() {
        let mut tables = tables(RISCV64, 0);
        assert_eq!(tables.map(Region::new(END, END + 1), Access::Device), Err(MapError::OutOfRange(END + 1)));
        assert_eq!(
            tables.map(Region::new(u64::MAX - 1, u64::MAX), Access::Device),
            Err(MapError::OutOfRange(u64::MAX))
        );
        assert_eq!(tables.map(Region::new(0x1000, 0x2000), Access::Device), Err(MapError::NoTable(0x1000)));
    }
}
