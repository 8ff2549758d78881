//! The two formats of a translation table's entries. Both architectures are used with 4 KiB pages and three levels of 512
//! entries, so that everything but the bits of an entry is the same. The build script uses this file too: it puts the
//! tables that map the image into the link script.

/// Entries in a table.
pub(crate) const ENTRIES: usize = 512;

/// The bits of an entry. An entry is the address, shifted right, and bits from here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Format {
    /// How far addresses are shifted to the right.
    pub(crate) address_shift: u32,
    /// The bits of an entry that hold the address.
    pub(crate) address_mask: u64,
    /// Set in an entry that is valid.
    pub(crate) valid: u64,
    /// An entry that points to the next table.
    pub(crate) table: u64,
    /// The bits that tell a valid entry of the upper levels that points to a table from one that maps a block: they are as in
    /// [`table`](Self::table).
    pub(crate) table_mask: u64,
    /// Added to the rights in an entry of the last level.
    pub(crate) page: u64,
    /// Added to the rights in an entry of the upper levels that maps a block.
    pub(crate) block: u64,
    /// Code: executable and read-only.
    pub(crate) code: u64,
    /// Constants: read-only.
    pub(crate) rodata: u64,
    /// Variables: readable and writable.
    pub(crate) data: u64,
    /// Device registers: readable and writable, not cached, not reordered.
    pub(crate) device: u64,
}

/// VMSAv8-64, stage 1 of EL1 (Arm ARM, D8.3). `MAIR_EL1` gives attribute 0 to normal memory and 1 to devices.
pub(crate) const AARCH64: Format = {
    const ATTRIBUTE_1: u64 = 1 << 2;
    const READ_ONLY: u64 = 1 << 7;
    const INNER_SHAREABLE: u64 = 0b11 << 8;
    const ACCESSED: u64 = 1 << 10;
    const PRIVILEGED_EXECUTE_NEVER: u64 = 1 << 53;
    const UNPRIVILEGED_EXECUTE_NEVER: u64 = 1 << 54;
    const EXECUTE_NEVER: u64 = PRIVILEGED_EXECUTE_NEVER | UNPRIVILEGED_EXECUTE_NEVER;

    Format {
        address_shift: 0,
        address_mask: 0x0000_ffff_ffff_f000,
        valid: 0b01,
        table: 0b11,
        table_mask: 0b10,
        page: 0b11,
        block: 0b01,
        code: ACCESSED | INNER_SHAREABLE | READ_ONLY | UNPRIVILEGED_EXECUTE_NEVER,
        rodata: ACCESSED | INNER_SHAREABLE | READ_ONLY | EXECUTE_NEVER,
        data: ACCESSED | INNER_SHAREABLE | EXECUTE_NEVER,
        device: ACCESSED | ATTRIBUTE_1 | EXECUTE_NEVER,
    }
};

/// Sv39 (RISC-V privileged architecture, 12.4). The machine decides which addresses are devices.
pub(crate) const RISCV64: Format = {
    const READ: u64 = 1 << 1;
    const WRITE: u64 = 1 << 2;
    const EXECUTE: u64 = 1 << 3;
    // Set from the start, because hardware need not set them by itself.
    const ACCESSED: u64 = 1 << 6;
    const DIRTY: u64 = 1 << 7;

    Format {
        address_shift: 2,
        address_mask: 0x003f_ffff_ffff_fc00,
        valid: 0b1,
        table: 0b1,
        table_mask: READ | WRITE | EXECUTE,
        page: 0b1,
        block: 0b1,
        code: READ | EXECUTE | ACCESSED,
        rodata: READ | ACCESSED,
        data: READ | WRITE | ACCESSED | DIRTY,
        device: READ | WRITE | ACCESSED | DIRTY,
    }
};
