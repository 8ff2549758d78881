//! The block of line names: one NUL-terminated string for each line, in the order of the lines; a line without a name
//! has an empty string. Both protocols have this layout (VIRTIO 1.2, 5.18.6.1; the draft, "line names block").

use alloc::string::String;
use alloc::vec::Vec;
use core::error::Error;
use core::fmt;

/// A names block; empty where the device has no names at all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    block: Vec<u8>,
}

/// Why names cannot be put into a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamesError {
    /// A name has other characters than printable 7-bit ASCII.
    NotPrintable(String),
    /// Two lines have the same name.
    Duplicate(String),
}

impl fmt::Display for NamesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPrintable(name) => write!(f, "Line name {name:?} has characters that are not printable ASCII"),
            Self::Duplicate(name) => write!(f, "Line name {name:?} is given twice: names are unique in a device"),
        }
    }
}

impl Error for NamesError {}

impl Names {
    /// The block with one name for each line; an empty name is that of a line without one.
    ///
    /// # Errors
    ///
    /// [`NamesError`] for names that the protocols do not allow.
    pub fn new<N: AsRef<str>>(names: &[N]) -> Result<Self, NamesError> {
        let mut block = Vec::new();
        let mut sorted: Vec<&str> = names.iter().map(AsRef::as_ref).filter(|name| !name.is_empty()).collect();
        sorted.sort_unstable();
        if let Some((name, _)) = sorted.iter().zip(sorted.iter().skip(1)).find(|(a, b)| a == b) {
            return Err(NamesError::Duplicate((*name).into()));
        }
        for name in names.iter().map(AsRef::as_ref) {
            if !name.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
                return Err(NamesError::NotPrintable(name.into()));
            }
            block.extend_from_slice(name.as_bytes());
            block.push(0);
        }
        Ok(Self { block })
    }

    /// A block of any bytes, to imitate a faulty device.
    pub fn from_raw(block: Vec<u8>) -> Self {
        Self { block }
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.block
    }

    /// The largest part that has whole names only and at most `size` bytes.
    pub fn whole_names_within(&self, size: usize) -> &[u8] {
        let part = self.block.get(..size).unwrap_or(&self.block);
        let whole = part.iter().rposition(|byte| *byte == 0).map_or(0, |nul| nul.saturating_add(1));
        part.get(..whole).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::borrow::ToOwned;

    /// The example of VIRTIO 1.2, 5.18.6.1, typed from the text: ten lines, names on 0, 5 and 7.
    #[test]
    fn block_has_one_string_for_each_line() {
        let names = Names::new(&["MMC-CD", "", "", "", "", "Red LED Vdd", "", "ethernet reset", "", ""]).unwrap();
        assert_eq!(names.as_bytes(), b"MMC-CD\0\0\0\0\0Red LED Vdd\0\0ethernet reset\0\0\0");
    }

    #[test]
    fn v4_b3_names_that_the_protocols_forbid_are_refused() {
        assert_eq!(Names::new(&["a", "b", "a"]), Err(NamesError::Duplicate("a".to_owned())));
        assert_eq!(Names::new(&["a\0b"]), Err(NamesError::NotPrintable("a\0b".to_owned())));
        assert_eq!(Names::new(&["\u{e9}"]), Err(NamesError::NotPrintable("\u{e9}".to_owned())));
        assert_eq!(Names::new(&["", "", ""]).unwrap().as_bytes(), b"\0\0\0");
    }

    #[test]
    fn block_is_cut_between_names() {
        let names = Names::new(&["led0", "", "button"]).unwrap();
        assert_eq!(names.whole_names_within(100), b"led0\0\0button\0");
        assert_eq!(names.whole_names_within(12), b"led0\0\0");
        assert_eq!(names.whole_names_within(5), b"led0\0");
        assert_eq!(names.whole_names_within(4), b"");
        assert_eq!(names.whole_names_within(0), b"");
    }
}
