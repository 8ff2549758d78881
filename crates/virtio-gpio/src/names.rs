//! Names of lines and devices: bytes from the device, bounded and made harmless where they are shown.

use core::fmt;

/// Characters of a name that are shown; the rest is cut.
const SHOWN: usize = 64;

/// A name as the device gave it.
///
/// It may hold anything but NUL. [`Display`](fmt::Display) shows at most 64 characters of it and writes everything
/// but printable ASCII as `\xNN`, so that no control character reaches a console.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Name<'a>(&'a [u8]);

impl<'a> Name<'a> {
    /// The name's bytes.
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0
    }
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        for &byte in self.0.iter().take(SHOWN) {
            match byte {
                b'\\' => f.write_str("\\\\")?,
                b' '..=b'~' => f.write_char(char::from(byte))?,
                _ => write!(f, "\\x{byte:02x}")?,
            }
        }
        if self.0.len() > SHOWN { f.write_str("...") } else { Ok(()) }
    }
}

impl fmt::Debug for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// A names block: one string for each line in line order, each closed by NUL, empty for a line without a name
/// (VIRTIO 1.2, 5.18.6.1; the draft's block has the same form).
///
/// Blocks that break the rules cost names, never lines: strings that are missing are empty, a missing last NUL is
/// read as there, surplus bytes are not looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NameBlock<'a> {
    bytes: &'a [u8],
}

impl<'a> NameBlock<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// The name of the line with that number; `None` for a line without one.
    pub(crate) fn get(self, line: u16) -> Option<Name<'a>> {
        self.iter().nth(usize::from(line)).flatten()
    }

    /// The names in line order, as far as the block goes.
    pub(crate) fn iter(self) -> impl Iterator<Item = Option<Name<'a>>> {
        self.bytes.split(|&byte| byte == 0).map(|name| (!name.is_empty()).then_some(Name(name)))
    }
}

/// The text before the first NUL of a fixed field; `None` where it is empty, or where a byte reads as all ones, which
/// is what lies behind the end of a configuration space.
pub(crate) fn field(bytes: &[u8]) -> Option<Name<'_>> {
    let text = bytes.split(|&byte| byte == 0).next()?;
    (!text.is_empty() && !text.contains(&0xff)).then_some(Name(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;
    use std::string::ToString;

    fn text(block: &[u8], line: u16) -> Option<std::string::String> {
        NameBlock::new(block).get(line).map(|name| name.to_string())
    }

    /// The example of 5.18.6.1: ten lines, names on 0, 5 and 7.
    #[test]
    fn the_example_of_the_specification_is_read() {
        let block = b"MMC-CD\0\0\0\0\0MMC-CD-IN\0\0LED-R\0\0\0";
        assert_eq!(text(block, 0).as_deref(), Some("MMC-CD"));
        assert_eq!(text(block, 5).as_deref(), Some("MMC-CD-IN"));
        assert_eq!(text(block, 7).as_deref(), Some("LED-R"));
        for line in [1, 2, 3, 4, 6, 8, 9, 10, 65535] {
            assert_eq!(text(block, line), None);
        }
    }

    #[test]
    fn broken_blocks_lose_names_only() {
        assert_eq!(text(b"", 0), None);
        assert_eq!(text(b"led", 0).as_deref(), Some("led"));
        assert_eq!(text(b"led\0b", 1).as_deref(), Some("b"));
        assert_eq!(text(b"led\0b", 2), None);
    }

    #[test]
    fn what_is_shown_is_printable_and_bounded() {
        assert_eq!(text(b"a\x1b[2J\n\xc3\xa4\\\0", 0).as_deref(), Some("a\\x1b[2J\\x0a\\xc3\\xa4\\\\"));
        let long = [b'x'; 300];
        assert_eq!(text(&long, 0), Some(format!("{}...", "x".repeat(64))));
    }

    #[test]
    fn a_field_behind_the_configuration_space_is_no_name() {
        assert_eq!(field(&[0xff; 32]), None);
        assert_eq!(field(&[0; 32]), None);
        assert_eq!(field(b"sim\0\xff\xff").unwrap().to_string(), "sim");
        assert_eq!(field(b"01234567890123456789012345678901").unwrap().as_bytes().len(), 32);
    }
}
