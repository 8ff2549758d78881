//! The address space of the image: what the link script mapped, and what is added to it.

use static_cell::ConstStaticCell;

use crate::arch;
use crate::arch::descriptors::ENTRIES;
use crate::memory::regions::Region;
use crate::memory::translation::{Access, MapError, Table, Tables};
use crate::sync::InterruptLock;

/// Tables for what is mapped at run time. The devices of one machine lie close together, and so do its memory's ends.
const SPARE_TABLES: usize = 32;

static TABLES: InterruptLock<Option<Tables>> = InterruptLock::new(None);
static SPARE: ConstStaticCell<[Table; SPARE_TABLES]> =
    ConstStaticCell::new([const { Table([0; ENTRIES]) }; SPARE_TABLES]);

/// Takes over the tables that the boot code turned on. Called once, before anything is mapped.
#[expect(unsafe_code, reason = "takes over the tables of the link script")]
pub(crate) fn take_over() {
    let spare = SPARE.take();
    // SAFETY: the link script built these tables, in the architecture's format; they lie in the data section, which is
    // mapped at its own address. Only this function gives them away, and `take` above lets it run once.
    let tables = unsafe { Tables::new(arch::FORMAT, arch::layout::root_table(), spare) };
    TABLES.with(|slot| *slot = Some(tables));
}

/// Maps the pages that `region` touches.
pub(crate) fn map(region: Region, access: Access) -> Result<(), MapError> {
    TABLES.with(|tables| {
        let tables = tables.as_mut().ok_or(MapError::NoTable(region.start))?;
        let result = tables.map(region, access);
        arch::publish_mappings();
        result
    })
}
