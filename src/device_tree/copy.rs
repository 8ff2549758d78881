//! The structural check. Devicetree Specification 0.4, chapter 5.
//!
//! The `fdt` crate indexes and unwraps wherever the blob says something about itself, and does not expect NOP tokens among
//! nodes, which QEMU leaves in trees given by `-dtb`. So the blob is copied token by token, without the NOPs, and every
//! statement that the crate relies on is checked on the way. What a property means is checked where it is used, except for
//! the cell counts, which the crate reads too.

use core::str;

use thiserror::Error;

/// `magic` of the header.
pub(crate) const MAGIC: u32 = 0xd00d_feed;
/// The size of the header.
pub(crate) const HEADER_SIZE: usize = 40;

const VERSION: u32 = 17;
const LAST_COMPATIBLE_VERSION: u32 = 16;
const BEGIN_NODE: u32 = 1;
const END_NODE: u32 = 2;
const PROPERTY: u32 = 3;
const NOP: u32 = 4;
const END: u32 = 9;
/// Deeper trees are refused: `fdt` walks them by recursion. Trees of real machines are about eight deep.
const MAX_DEPTH: usize = 16;
/// Longer names are refused: `fdt` searches their ends again and again. The specification allows 31 bytes.
const MAX_NAME: usize = 255;
/// The most cells that an address or a size may have.
const MAX_CELLS: u32 = 4;

/// What is wrong with a device tree, and where: an offset in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub(crate) enum TreeError {
    /// No header.
    #[error("The device tree has no header")]
    NoHeader,
    /// Another magic number.
    #[error("There is no device tree: the magic number is {0:#010x}")]
    Magic(u32),
    /// A version that cannot be read.
    #[error("The device tree has version {version}, which is compatible with {compatible}; 17 is needed")]
    Version { version: u32, compatible: u32 },
    /// A block outside the blob.
    #[error("The device tree's {block} lies outside it: {size} bytes at {offset:#x} of {total}")]
    Block { block: &'static str, offset: u32, size: u32, total: usize },
    /// Unaligned.
    #[error("The device tree's {block} is not aligned: it is at {offset:#x}")]
    Unaligned { block: &'static str, offset: u32 },
    /// The structure ends too early.
    #[error("The device tree ends at {0:#x}, within something")]
    Truncated(usize),
    /// An unknown token, or a known one at the wrong place.
    #[error("The device tree has the token {token:#x} at {offset:#x}, where none such may be")]
    Token { token: u32, offset: usize },
    /// A name without end, too long, or no text.
    #[error("The device tree has a bad name at {0:#x}")]
    Name(usize),
    /// Too deep.
    #[error("The device tree is deeper than {MAX_DEPTH} nodes at {0:#x}")]
    Depth(usize),
    /// An impossible number of cells.
    #[error("The device tree has an impossible number of cells at {0:#x}")]
    Cells(usize),
    /// Too large to copy.
    #[error("The device tree is too large: more than {0} bytes")]
    TooLarge(usize),
}

/// The total size that the header states, if there is a header.
pub(crate) fn stated_size(header: &[u8]) -> Result<usize, TreeError> {
    let magic = word(header, 0).ok_or(TreeError::NoHeader)?;
    if magic != MAGIC {
        return Err(TreeError::Magic(magic));
    }
    let size = word(header, 4).and_then(|size| usize::try_from(size).ok());
    size.filter(|&size| size >= HEADER_SIZE).ok_or(TreeError::NoHeader)
}

/// Checks the tree in `blob` and copies it to `buffer`, without NOPs. Gives the copy.
pub(crate) fn copy<'buffer>(blob: &[u8], buffer: &'buffer mut [u8]) -> Result<&'buffer [u8], TreeError> {
    let total = stated_size(blob)?;
    let blob = blob.get(..total).ok_or(TreeError::Truncated(blob.len()))?;
    let header = |index: usize| word(blob, index.saturating_mul(4)).ok_or(TreeError::NoHeader);
    let (version, compatible) = (header(5)?, header(6)?);
    if version < VERSION || !(LAST_COMPATIBLE_VERSION..=VERSION).contains(&compatible) {
        return Err(TreeError::Version { version, compatible });
    }
    let (structure_at, structure) = block(blob, "structure block", header(2)?, header(9)?, 4)?;
    let (_, strings) = block(blob, "strings block", header(3)?, header(8)?, 1)?;
    let reservations_at = header(4)?;
    let reservations_end = total_u32(total).saturating_sub(reservations_at);
    let (_, reservations) = block(blob, "memory reservation block", reservations_at, reservations_end, 8)?;

    let mut writer = Writer { buffer, length: 0 };
    writer.bytes(&[0; HEADER_SIZE])?;
    let reservations_offset = writer.length;
    copy_reservations(reservations, &mut writer)?;
    let structure_offset = writer.length;
    Walker { structure, at: 0, offset: structure_at, strings }.run(&mut writer)?;
    let strings_offset = writer.length;
    writer.bytes(strings)?;

    let Writer { buffer, length } = writer;
    let fields = [
        MAGIC,
        total_u32(length),
        total_u32(structure_offset),
        total_u32(strings_offset),
        total_u32(reservations_offset),
        VERSION,
        LAST_COMPATIBLE_VERSION,
        header(7)?,
        total_u32(strings.len()),
        total_u32(strings_offset.saturating_sub(structure_offset)),
    ];
    for (place, field) in buffer.chunks_exact_mut(4).zip(fields) {
        place.copy_from_slice(&field.to_be_bytes());
    }
    let buffer: &'buffer [u8] = buffer;
    buffer.get(..length).ok_or(TreeError::TooLarge(buffer.len()))
}

/// A size within a blob, whose total is a `u32`.
fn total_u32(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_be_bytes)
}

fn block<'a>(
    blob: &'a [u8],
    name: &'static str,
    offset: u32,
    size: u32,
    align: u32,
) -> Result<(usize, &'a [u8]), TreeError> {
    let outside = TreeError::Block { block: name, offset, size, total: blob.len() };
    let start = usize::try_from(offset).map_err(|_| outside)?;
    let size = usize::try_from(size).map_err(|_| outside)?;
    let end = start.checked_add(size).ok_or(outside)?;
    let bytes = blob.get(start..end).filter(|_| start >= HEADER_SIZE).ok_or(outside)?;
    if !offset.is_multiple_of(align) {
        return Err(TreeError::Unaligned { block: name, offset });
    }
    Ok((start, bytes))
}

/// Copies the list of reserved regions, up to the empty one that ends it.
fn copy_reservations(reservations: &[u8], writer: &mut Writer<'_>) -> Result<(), TreeError> {
    for entry in reservations.chunks_exact(16) {
        writer.bytes(entry)?;
        if entry.iter().all(|&byte| byte == 0) {
            return Ok(());
        }
    }
    Err(TreeError::Truncated(reservations.len()))
}

/// Writes the copy.
struct Writer<'buffer> {
    buffer: &'buffer mut [u8],
    length: usize,
}

impl Writer<'_> {
    fn bytes(&mut self, bytes: &[u8]) -> Result<(), TreeError> {
        let end = self.length.saturating_add(bytes.len());
        let too_large = TreeError::TooLarge(self.buffer.len());
        self.buffer.get_mut(self.length..end).ok_or(too_large)?.copy_from_slice(bytes);
        self.length = end;
        Ok(())
    }

    /// A token, or another word.
    fn word(&mut self, word: u32) -> Result<(), TreeError> {
        self.bytes(&word.to_be_bytes())
    }
}

/// Where in a node the walk is: its properties come first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Properties,
    Children,
}

/// Walks the structure block and copies it.
struct Walker<'a> {
    structure: &'a [u8],
    at: usize,
    /// Of the structure block in the blob.
    offset: usize,
    strings: &'a [u8],
}

impl<'a> Walker<'a> {
    fn run(mut self, writer: &mut Writer<'_>) -> Result<(), TreeError> {
        let mut depth = 0_usize;
        let mut part = Part::Children;
        let mut root_seen = false;
        loop {
            let offset = self.position();
            let token = self.take_word()?;
            match token {
                NOP => {}
                BEGIN_NODE if depth > 0 || !root_seen => {
                    depth = depth.saturating_add(1);
                    if depth > MAX_DEPTH {
                        return Err(TreeError::Depth(offset));
                    }
                    let name = self.take_name()?;
                    // The root's name is empty, and only the root's.
                    if name.is_empty() == root_seen {
                        return Err(TreeError::Name(offset));
                    }
                    root_seen = true;
                    part = Part::Properties;
                    writer.word(token)?;
                    writer.bytes(name.as_bytes())?;
                    writer.bytes(terminator(name.len()))?;
                }
                END_NODE if depth > 0 => {
                    depth = depth.saturating_sub(1);
                    part = Part::Children;
                    writer.word(token)?;
                }
                PROPERTY if part == Part::Properties => self.copy_property(writer)?,
                END if depth == 0 && root_seen => return writer.word(token),
                _ => return Err(TreeError::Token { token, offset }),
            }
        }
    }

    fn copy_property(&mut self, writer: &mut Writer<'_>) -> Result<(), TreeError> {
        let offset = self.position();
        let length = self.take_word()?;
        let name_offset = self.take_word()?;
        let name = self.property_name(name_offset).ok_or(TreeError::Name(offset))?;
        let size = usize::try_from(length).map_err(|_| TreeError::Truncated(offset))?;
        let value = self.take_padded(size)?;
        if matches!(name, "#address-cells" | "#size-cells") {
            let cells = value.get(..size).and_then(|value| value.try_into().ok()).map(u32::from_be_bytes);
            if cells.is_none_or(|cells| cells > MAX_CELLS) {
                return Err(TreeError::Cells(offset));
            }
        }
        writer.word(PROPERTY)?;
        writer.word(length)?;
        writer.word(name_offset)?;
        writer.bytes(value)
    }

    /// A name in the strings block.
    fn property_name(&self, offset: u32) -> Option<&'a str> {
        name(self.strings.get(usize::try_from(offset).ok()?..)?)
    }

    /// A node's name, with its padding.
    fn take_name(&mut self) -> Result<&'a str, TreeError> {
        let offset = self.position();
        let name = self.structure.get(self.at..).and_then(name).ok_or(TreeError::Name(offset))?;
        self.take_padded(name.len().saturating_add(1))?;
        Ok(name)
    }

    fn take_word(&mut self) -> Result<u32, TreeError> {
        let value = word(self.structure, self.at).ok_or(TreeError::Truncated(self.position()))?;
        self.at = self.at.saturating_add(4);
        Ok(value)
    }

    /// The next `size` bytes and what fills them up to a whole word.
    fn take_padded(&mut self, size: usize) -> Result<&'a [u8], TreeError> {
        let truncated = TreeError::Truncated(self.position());
        let end = size.checked_next_multiple_of(4).and_then(|size| self.at.checked_add(size)).ok_or(truncated)?;
        let bytes = self.structure.get(self.at..end).ok_or(truncated)?;
        self.at = end;
        Ok(bytes)
    }

    fn position(&self) -> usize {
        self.offset.saturating_add(self.at)
    }
}

/// The text at the start of `bytes`, up to its NUL.
fn name(bytes: &[u8]) -> Option<&str> {
    let end = bytes.iter().take(MAX_NAME.saturating_add(1)).position(|&byte| byte == 0)?;
    str::from_utf8(bytes.get(..end)?).ok()
}

/// What ends a name of `length` bytes: a NUL, and more to fill up to a whole word.
fn terminator(length: usize) -> &'static [u8] {
    match length % 4 {
        0 => &[0; 4],
        1 => &[0; 3],
        2 => &[0; 2],
        _ => &[0; 1],
    }
}
