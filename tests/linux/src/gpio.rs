//! The GPIO character device, version 2 of its interface (`linux/gpio.h`).

use core::ffi::{CStr, c_int};
use core::fmt;
use core::time::Duration;

use crate::linux::{Access, Errno, File};

/// What all of its control requests have in common.
const GROUP: u8 = 0xb4;
/// Bytes of a name, with its end.
const NAME: usize = 32;
/// Lines that can be requested together.
pub(crate) const LINES: usize = 64;

/// What a line is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Flags(u64);

impl Flags {
    const USED: u64 = 1 << 0;
    const INPUT: u64 = 1 << 2;
    const OUTPUT: u64 = 1 << 3;
    const RISING: u64 = 1 << 4;
    const FALLING: u64 = 1 << 5;

    pub(crate) const IN: Self = Self(Self::INPUT);
    pub(crate) const OUT: Self = Self(Self::OUTPUT);

    pub(crate) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "out" => Self::OUT,
            "in" => Self::IN,
            "rising" => Self(Self::INPUT | Self::RISING),
            "falling" => Self(Self::INPUT | Self::FALLING),
            "both" => Self(Self::INPUT | Self::RISING | Self::FALLING),
            _ => return None,
        })
    }
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = if self.0 & Self::OUTPUT != 0 { "out" } else { "in" };
        let used = if self.0 & Self::USED != 0 { "used" } else { "free" };
        write!(f, "{direction} {used}")
    }
}

#[repr(C)]
struct ChipInfo {
    name: [u8; NAME],
    label: [u8; NAME],
    lines: u32,
}

#[repr(C)]
struct LineInfo {
    name: [u8; NAME],
    consumer: [u8; NAME],
    line: u32,
    attributes: u32,
    flags: Flags,
    attribute: [[u64; 2]; 10],
    padding: [u32; 4],
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Attribute {
    id: u32,
    padding: u32,
    value: u64,
    mask: u64,
}

impl Attribute {
    const NONE: Self = Self { id: 0, padding: 0, value: 0, mask: 0 };
    /// The attribute that holds the first levels of outputs.
    const OUTPUT_VALUES: u32 = 2;
}

#[repr(C)]
struct Config {
    flags: Flags,
    attributes: u32,
    padding: [u32; 5],
    attribute: [Attribute; 10],
}

impl Config {
    /// Outputs begin with these levels; for inputs they mean nothing.
    fn new(flags: Flags, levels: u64) -> Self {
        let mut attribute = [Attribute::NONE; 10];
        let outputs = flags.0 & Flags::OUTPUT != 0;
        if outputs {
            attribute[0] = Attribute { id: Attribute::OUTPUT_VALUES, padding: 0, value: levels, mask: u64::MAX };
        }
        Self { flags, attributes: outputs.into(), padding: [0; 5], attribute }
    }
}

#[repr(C)]
struct Request {
    lines: [u32; LINES],
    consumer: [u8; NAME],
    config: Config,
    count: u32,
    event_buffer_size: u32,
    padding: [u32; 5],
    file: c_int,
}

#[repr(C)]
struct Values {
    bits: u64,
    mask: u64,
}

/// An edge of a line.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Event {
    /// Nanoseconds of the monotonic clock.
    pub(crate) at: u64,
    id: u32,
    /// The line.
    pub(crate) line: u32,
    /// Counts the events of the request, from 1.
    pub(crate) number: u32,
    line_number: u32,
    padding: [u32; 6],
}

impl Event {
    /// Whether the line went from low to high.
    pub(crate) fn is_rising(&self) -> bool {
        const RISING: u32 = 1;
        self.id == RISING
    }
}

// What a control request carries has these sizes, which are part of the request's code.
const _: () = assert!(size_of::<ChipInfo>() == 68 && size_of::<LineInfo>() == 256 && size_of::<Request>() == 592);
const _: () = assert!(size_of::<Config>() == 272 && size_of::<Event>() == 48);

/// A chip.
#[derive(Debug)]
pub(crate) struct Chip(File);

/// A name as the kernel has it.
pub(crate) struct Name([u8; NAME]);

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = CStr::from_bytes_until_nul(&self.0).ok().and_then(|name| name.to_str().ok()).unwrap_or("?");
        f.write_str(if name.is_empty() { "-" } else { name })
    }
}

impl Chip {
    pub(crate) fn open() -> Result<Self, Errno> {
        File::open(c"/dev/gpiochip0").map(Self)
    }

    /// The chip's name, its label, and the number of its lines.
    pub(crate) fn info(&self) -> Result<(Name, Name, u32), Errno> {
        let mut info = ChipInfo { name: [0; NAME], label: [0; NAME], lines: 0 };
        // SAFETY: GPIO_GET_CHIPINFO carries this structure.
        unsafe { self.0.control(GROUP, 0x01, Access::Read, &mut info) }?;
        Ok((Name(info.name), Name(info.label), info.lines))
    }

    /// The name of a line, and what it is used for.
    pub(crate) fn line(&self, line: u32) -> Result<(Name, Flags), Errno> {
        let mut info = LineInfo {
            name: [0; NAME],
            consumer: [0; NAME],
            line,
            attributes: 0,
            flags: Flags(0),
            attribute: [[0; 2]; 10],
            padding: [0; 4],
        };
        // SAFETY: GPIO_V2_GET_LINEINFO carries this structure.
        unsafe { self.0.control(GROUP, 0x05, Access::ReadWrite, &mut info) }?;
        Ok((Name(info.name), info.flags))
    }

    /// Requests lines.
    pub(crate) fn request(&self, lines: &[u32], flags: Flags, levels: u64) -> Result<Lines, Errno> {
        let mut request = Request {
            lines: [0; LINES],
            consumer: [0; NAME],
            config: Config::new(flags, levels),
            count: 0,
            // Room for as many events as the kernel allows: a storm must not lose any here.
            event_buffer_size: (LINES * 16) as u32,
            padding: [0; 5],
            file: -1,
        };
        for (place, line) in request.lines.iter_mut().zip(lines) {
            *place = *line;
            request.count += 1;
        }
        request.consumer[..4].copy_from_slice(b"test");
        // SAFETY: GPIO_V2_GET_LINE carries this structure.
        unsafe { self.0.control(GROUP, 0x07, Access::ReadWrite, &mut request) }?;
        Ok(Lines { file: File::from_raw(request.file), count: request.count })
    }
}

/// Lines that were requested together. They are released when this is dropped.
#[derive(Debug)]
pub(crate) struct Lines {
    file: File,
    count: u32,
}

impl Lines {
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    fn mask(&self) -> u64 {
        u64::MAX >> (64 - self.count.clamp(1, 64))
    }

    /// Changes what the lines are.
    pub(crate) fn configure(&self, flags: Flags, levels: u64) -> Result<(), Errno> {
        // SAFETY: GPIO_V2_LINE_SET_CONFIG carries this structure.
        unsafe { self.file.control(GROUP, 0x0d, Access::ReadWrite, &mut Config::new(flags, levels)) }
    }

    /// Reads all lines; bit 0 is the first of them.
    pub(crate) fn get(&self) -> Result<u64, Errno> {
        let mut values = Values { bits: 0, mask: self.mask() };
        // SAFETY: GPIO_V2_LINE_GET_VALUES carries this structure.
        unsafe { self.file.control(GROUP, 0x0e, Access::ReadWrite, &mut values) }?;
        Ok(values.bits)
    }

    /// Sets all lines; bit 0 is the first of them.
    pub(crate) fn set(&self, bits: u64) -> Result<(), Errno> {
        let mut values = Values { bits, mask: self.mask() };
        // SAFETY: GPIO_V2_LINE_SET_VALUES carries this structure.
        unsafe { self.file.control(GROUP, 0x0f, Access::ReadWrite, &mut values) }
    }

    /// Waits for edges and reads as many as there are; none if there is none within that time.
    pub(crate) fn edges<'e>(&self, patience: Duration, edges: &'e mut [Event]) -> Result<&'e [Event], Errno> {
        if !self.file.wait(patience)? {
            return Ok(&[]);
        }
        self.next_edges(edges)
    }

    /// Sleeps until there is an edge, and reads as many as there are.
    pub(crate) fn next_edges<'e>(&self, edges: &'e mut [Event]) -> Result<&'e [Event], Errno> {
        let (size, begin) = (size_of_val(edges), edges.as_mut_ptr().cast::<u8>());
        // SAFETY: events are plain numbers, of which any bytes make some.
        let bytes = unsafe { core::slice::from_raw_parts_mut(begin, size) };
        let read = self.file.read(bytes)?;
        Ok(&edges[..read / size_of::<Event>()])
    }
}
