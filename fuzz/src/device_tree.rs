//! The device tree: the structural check, the `fdt` crate behind it, and all that the image asks a tree.
//!
//! Few blobs of plain bytes get past the header. So an input is a tree of a real machine with edits, or a tree that is
//! built from tokens and from the properties that the image looks at, or, after all, plain bytes.

use std::cell::RefCell;
use std::sync::LazyLock;

use arbitrary::{Arbitrary, Unstructured};
use guest::fuzzing::{copy_tree, read_tree};

const REAL: [&[u8]; 3] = [
    include_bytes!("../../src/device_tree/fixtures/aarch64-gicv2.dtb"),
    include_bytes!("../../src/device_tree/fixtures/aarch64-gicv3.dtb"),
    include_bytes!("../../src/device_tree/fixtures/riscv64.dtb"),
];

/// The same without most of their nodes: the time for a tree grows with the square of its size.
static SMALL: LazyLock<[Vec<u8>; 3]> = LazyLock::new(|| REAL.map(without_most_nodes));

/// How the names of the nodes start that are left out.
const LEFT_OUT: [&str; 12] = [
    "pcie@",
    "pci@",
    "flash@",
    "fw-cfg@",
    "gpio-keys",
    "pl061@",
    "pl031@",
    "platform-bus@",
    "rtc@",
    "cpu@1",
    "cpu-map",
    "poweroff",
];

const NODE: u32 = 1;
const END_NODE: u32 = 2;
const PROPERTY: u32 = 3;
const NOP: u32 = 4;
const END: u32 = 9;
const TOKENS: [u32; 8] = [NODE, END_NODE, PROPERTY, NOP, END, 0, 5, u32::MAX];

/// The names of the properties that the image reads, and one that it does not.
const PROPERTIES: [&str; 22] = [
    "#address-cells",
    "#size-cells",
    "compatible",
    "reg",
    "ranges",
    "status",
    "phandle",
    "interrupt-parent",
    "interrupts",
    "interrupts-extended",
    "device_type",
    "method",
    "stdout-path",
    "linux,stdout-path",
    "bootargs",
    "clock-frequency",
    "clocks",
    "reg-shift",
    "riscv,ndev",
    "timebase-frequency",
    "model",
    "other",
];

/// The texts that the image looks for in them.
const TEXTS: [&str; 24] = [
    "arm,cortex-a15-gic",
    "arm,gic-v3",
    "sifive,plic-1.0.0",
    "arm,armv8-timer",
    "arm,psci-1.0",
    "sifive,test0",
    "virtio,mmio",
    "arm,pl011",
    "ns16550a",
    "memory",
    "cpu",
    "hvc",
    "smc",
    "okay",
    "disabled",
    "/uart@1000:9600",
    "uart",
    "serial0",
    "/soc/uart@1000",
    "/",
    "//",
    ":",
    "/soc",
    "",
];

/// The names of nodes that the image looks for.
const NODES: [&str; 14] = [
    "",
    "chosen",
    "aliases",
    "cpus",
    "cpu@0",
    "interrupt-controller",
    "soc",
    "uart@1000",
    "memory@40000000",
    "reserved-memory",
    "virtio_mmio@1000",
    "timer",
    "psci",
    "intc@2000",
];

#[derive(Debug, Arbitrary)]
enum Edit {
    Byte {
        at: u16,
        value: u8,
    },
    Bit {
        at: u16,
        bit: u8,
    },
    Word {
        at: u16,
        value: u32,
    },
    Token {
        at: u16,
        token: u8,
    },
    /// A field of the header.
    Header {
        field: u8,
        value: u32,
    },
    /// A field of the header, a little larger or smaller.
    Nudge {
        field: u8,
        by: i8,
    },
    /// Words from elsewhere in the tree.
    Copy {
        from: u16,
        to: u16,
        words: u8,
    },
    Remove {
        at: u16,
        words: u8,
    },
    Truncate {
        length: u16,
    },
}

#[derive(Debug, Arbitrary)]
enum Value<'a> {
    Text(u8),
    Texts(u8, u8),
    Cells(Vec<u32>),
    /// Small cells, as most have.
    Small(Vec<u8>),
    Bytes(&'a [u8]),
}

#[derive(Debug, Arbitrary)]
enum Token<'a> {
    Node(u8),
    Named(&'a str),
    Property(u8, Value<'a>),
    End,
    Nop,
    Word(u32),
}

#[derive(Debug, Arbitrary)]
enum Blob<'a> {
    Edited { base: u8, edits: Vec<Edit> },
    Built { reservations: Vec<(u64, u64)>, tokens: Vec<Token<'a>> },
    Plain(&'a [u8]),
}

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    hart: Option<u8>,
    blob: Blob<'a>,
}

thread_local! {
    static BUFFERS: RefCell<[Vec<u8>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
}

/// Reads the tree, if it is not refused, and the copy of its copy.
pub fn run(data: &[u8]) {
    let Ok(Input { hart, blob }) = Input::arbitrary_take_rest(Unstructured::new(data)) else { return };
    let blob = match blob {
        Blob::Edited { base, edits } => edited(&SMALL[usize::from(base) % SMALL.len()], &edits),
        Blob::Built { reservations, tokens } => built(&reservations, &tokens),
        Blob::Plain(bytes) => bytes.to_vec(),
    };
    let hart = hart.map(u64::from);
    BUFFERS.with_borrow_mut(|[first, second]| {
        first.resize(1 << 16, 0);
        second.resize(1 << 16, 0);
        let Some(copy) = copy_tree(&blob, first) else { return };
        // The blocks of a blob may overlap. Those of the copy do not.
        assert!(copy.len() <= 3 * blob.len() + 40, "the copy has {} bytes, the tree {}", copy.len(), blob.len());
        assert_eq!(copy_tree(copy, second), Some(copy), "a copy of a copy is the same");
        read_tree(copy, hart);
    });
}

/// Drops the nodes that are left out, and all virtio nodes but two.
fn without_most_nodes(blob: &[u8]) -> Vec<u8> {
    let word = |at: usize| blob.get(at..).and_then(<[u8]>::first_chunk).copied().map_or(END, u32::from_be_bytes);
    let size = |at: usize| word(at) as usize;
    let (structure, strings, strings_size) = (size(8), size(12), size(32));
    let mut kept = Vec::new();
    let mut virtio = 0;
    let (mut at, mut depth, mut dropped_from) = (structure, 0_u32, None);
    loop {
        let token = word(at);
        let mut end = at + 4;
        let mut last_dropped = false;
        match token {
            NODE => {
                let length = blob[end..].iter().position(|byte| *byte == 0).unwrap_or_default();
                let name = String::from_utf8_lossy(&blob[end..end + length]);
                virtio += i32::from(name.starts_with("virtio_mmio@"));
                let drop = LEFT_OUT.iter().any(|start| name.starts_with(start))
                    || virtio > 2 && name.starts_with("virtio_mmio@");
                depth += 1;
                if drop && dropped_from.is_none() {
                    dropped_from = Some(depth);
                }
                end += (length + 1).next_multiple_of(4);
            }
            END_NODE => {
                last_dropped = dropped_from == Some(depth);
                depth -= 1;
            }
            PROPERTY => end += 8 + size(at + 4).next_multiple_of(4),
            _ => (),
        }
        if dropped_from.is_none() {
            kept.extend(&blob[at..end]);
        }
        if last_dropped {
            dropped_from = None;
        }
        if token == END {
            break;
        }
        at = end;
    }
    assemble(&[], &kept, &blob[strings..strings + strings_size])
}

fn edited(base: &[u8], edits: &[Edit]) -> Vec<u8> {
    let mut blob = base.to_vec();
    for edit in edits.iter().take(64) {
        apply(edit, &mut blob);
    }
    blob
}

fn apply(edit: &Edit, blob: &mut Vec<u8>) {
    let length = blob.len().max(1);
    let byte = |at: u16| usize::from(at) % length;
    let word = |at: u16| usize::from(at) % length / 4 * 4;
    let set = |blob: &mut Vec<u8>, at: usize, value: u32| {
        if let Some(place) = blob.get_mut(at..at + 4) {
            place.copy_from_slice(&value.to_be_bytes());
        }
    };
    match *edit {
        Edit::Byte { at, value } => {
            if let Some(place) = blob.get_mut(byte(at)) {
                *place = value;
            }
        }
        Edit::Bit { at, bit } => {
            if let Some(place) = blob.get_mut(byte(at)) {
                *place ^= 1 << (bit % 8);
            }
        }
        Edit::Word { at, value } => set(blob, word(at), value),
        Edit::Token { at, token } => set(blob, word(at), TOKENS[usize::from(token) % TOKENS.len()]),
        Edit::Header { field, value } => set(blob, usize::from(field % 10) * 4, value),
        Edit::Nudge { field, by } => {
            let at = usize::from(field % 10) * 4;
            if let Some(old) = blob.get(at..).and_then(<[u8]>::first_chunk).copied().map(u32::from_be_bytes) {
                set(blob, at, old.wrapping_add_signed(by.into()));
            }
        }
        Edit::Copy { from, to, words } => {
            let (from, to) = (word(from), word(to));
            let bytes = (usize::from(words) * 4).min(length.saturating_sub(from.max(to)));
            if blob.len() >= from.max(to) + bytes {
                blob.copy_within(from..from + bytes, to);
            }
        }
        Edit::Remove { at, words } => {
            let at = word(at).min(blob.len());
            let end = (at + usize::from(words) * 4).min(blob.len());
            blob.drain(at..end);
        }
        Edit::Truncate { length } => blob.truncate(length.into()),
    }
}

fn built(reservations: &[(u64, u64)], tokens: &[Token<'_>]) -> Vec<u8> {
    let mut builder = Builder::default();
    builder.word(NODE);
    builder.text("");
    let mut depth = 1_u32;
    for token in tokens {
        match token {
            Token::Node(name) => builder.node(NODES[usize::from(*name) % NODES.len()]),
            Token::Named(name) => builder.node(name),
            Token::Property(name, value) => builder.property(usize::from(*name) % PROPERTIES.len(), value),
            Token::End => builder.word(END_NODE),
            Token::Nop => builder.word(NOP),
            Token::Word(word) => builder.word(*word),
        }
        depth = match token {
            Token::Node(_) | Token::Named(_) => depth + 1,
            Token::End => depth.saturating_sub(1),
            _ => depth,
        };
    }
    // An input that is cut off is as interesting as one that ends as it should.
    for _ in 0..depth {
        builder.word(END_NODE);
    }
    builder.word(END);
    builder.blob(reservations)
}

#[derive(Debug, Default)]
struct Builder {
    structure: Vec<u8>,
}

impl Builder {
    fn word(&mut self, word: u32) {
        self.structure.extend(word.to_be_bytes());
    }

    fn padded(&mut self, bytes: &[u8]) {
        self.structure.extend(bytes);
        self.structure.resize(self.structure.len().next_multiple_of(4), 0);
    }

    fn text(&mut self, text: &str) {
        self.padded(&[text.as_bytes(), &[0]].concat());
    }

    fn node(&mut self, name: &str) {
        self.word(NODE);
        self.text(name);
    }

    fn property(&mut self, name: usize, value: &Value<'_>) {
        let text = |text: &u8| TEXTS[usize::from(*text) % TEXTS.len()];
        let bytes = match value {
            Value::Text(one) => format!("{}\0", text(one)).into_bytes(),
            Value::Texts(one, two) => format!("{}\0{}\0", text(one), text(two)).into_bytes(),
            Value::Cells(cells) => cells.iter().flat_map(|cell| cell.to_be_bytes()).collect(),
            Value::Small(cells) => cells.iter().flat_map(|cell| u32::from(*cell).to_be_bytes()).collect(),
            Value::Bytes(bytes) => bytes.to_vec(),
        };
        let offset: usize = PROPERTIES[..name].iter().map(|name| name.len() + 1).sum();
        self.word(PROPERTY);
        self.word(bytes.len().try_into().unwrap_or(u32::MAX));
        self.word(offset.try_into().unwrap_or(u32::MAX));
        self.padded(&bytes);
    }

    fn blob(self, reservations: &[(u64, u64)]) -> Vec<u8> {
        let strings: Vec<u8> = PROPERTIES.iter().flat_map(|name| name.bytes().chain([0])).collect();
        assemble(reservations, &self.structure, &strings)
    }
}

/// A blob of its parts. The list of reservations gets its end.
fn assemble(reservations: &[(u64, u64)], structure: &[u8], strings: &[u8]) -> Vec<u8> {
    const HEADER: usize = 40;
    let reserved: Vec<u8> = reservations
        .iter()
        .chain([&(0, 0)])
        .flat_map(|(address, size)| [address.to_be_bytes(), size.to_be_bytes()].concat())
        .collect();
    let structure_at = HEADER + reserved.len();
    let strings_at = structure_at + structure.len();
    let total = strings_at + strings.len();
    let fields = [0xd00d_feed, total, structure_at, strings_at, HEADER, 17, 16, 0, strings.len(), structure.len()];
    let header = fields.iter().flat_map(|field| u32::try_from(*field).unwrap_or(u32::MAX).to_be_bytes());
    header.chain(reserved).chain(structure.iter().copied()).chain(strings.iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nodes are left out, not broken: what is left is a tree, with both virtio nodes of use.
    #[test]
    fn small_trees_are_whole() {
        for (small, real) in SMALL.iter().zip(REAL) {
            let mut buffer = vec![0; 1 << 16];
            assert!(small.len() < real.len() / 2, "{} of {} bytes", small.len(), real.len());
            assert_eq!(read_tree(copy_tree(small, &mut buffer).unwrap(), Some(0)), 2);
        }
    }
}
