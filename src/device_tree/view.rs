//! A view of the tree in which every node knows what it inherits: cell counts, interrupt parent, and whether its addresses
//! are those of the processor.

use core::str;

use fdt::Fdt;
use fdt::node::FdtNode;
use thiserror::Error;

use super::copy::TreeError;
use crate::memory::regions::Region;

/// The tree.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tree<'a>(Fdt<'a>);

impl<'a> Tree<'a> {
    /// The tree in `copy`, which [`copy`](super::copy::copy) made.
    pub(crate) fn new(copy: &'a [u8]) -> Result<Self, TreeError> {
        // The header was written by `copy`.
        Fdt::new(copy).map(Self).map_err(|_| TreeError::NoHeader)
    }

    /// The root.
    pub(crate) fn root(&self) -> Option<Node<'_, 'a>> {
        let inner = self.0.find_node("/")?;
        Some(Node { inner, cells: Cells::DEFAULT, interrupt_parent: None, translated: true }.with_interrupt_parent())
    }

    /// The node with a path, or with an alias. What follows a colon, such as a UART's speed, is ignored.
    pub(crate) fn find(&self, path: &str) -> Option<Node<'_, 'a>> {
        let path = path.split(':').next()?;
        let path = match path.strip_prefix('/') {
            Some(path) => path,
            None => self.child_of_root("aliases")?.text(path)?.strip_prefix('/')?,
        };
        path.split('/').filter(|name| !name.is_empty()).try_fold(self.root()?, Node::child)
    }

    /// The node at the root with a name.
    pub(crate) fn child_of_root(&self, name: &str) -> Option<Node<'_, 'a>> {
        self.root()?.child(name)
    }

    /// Calls `visit` with every node that is not disabled, nor below one that is.
    pub(crate) fn visit(&self, visit: &mut dyn FnMut(Node<'_, 'a>)) {
        if let Some(root) = self.root() {
            root.visit(visit);
        }
    }

    /// The first node that `select` makes something of.
    pub(crate) fn find_map<T>(&self, mut select: impl FnMut(Node<'_, 'a>) -> Option<T>) -> Option<T> {
        let mut found = None;
        self.visit(&mut |node| {
            if found.is_none() {
                found = select(node);
            }
        });
        found
    }

    /// The regions that the blob reserves.
    pub(crate) fn reservations(&self) -> impl Iterator<Item = Region> {
        self.0
            .memory_reservations()
            .filter_map(|reservation| Region::from_size(reservation.address().addr() as u64, reservation.size() as u64))
    }
}

/// The numbers of cells of addresses and sizes.
#[derive(Debug, Clone, Copy)]
struct Cells {
    address: u32,
    size: u32,
}

impl Cells {
    const DEFAULT: Self = Self { address: 2, size: 1 };
}

/// A `reg` that does not say where something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum RegError {
    /// No such entry.
    #[error("it has no `reg`")]
    Missing,
    /// Numbers that are too long or too short.
    #[error("its `reg` is malformed")]
    Malformed,
    /// An address of a bus of its own.
    #[error("its bus translates addresses, which is not supported")]
    Translated,
    /// Beyond the end of addresses.
    #[error("its `reg` goes beyond the end of all addresses")]
    Overflow,
    /// Not at a multiple of four.
    #[error("its address {0:#x} is not a multiple of 4")]
    Unaligned(u64),
}

/// How a node says that it interrupts: the controller's phandle and the cells for it.
#[derive(Debug, Clone)]
pub(crate) struct InterruptSpecifier<'a> {
    /// The controller.
    pub(crate) parent: u32,
    /// All that follows, in this and further specifiers.
    pub(crate) cells: CellReader<'a>,
}

/// A node, with what it inherits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Node<'b, 'a: 'b> {
    inner: FdtNode<'b, 'a>,
    /// Of the parent: those of this node's `reg`.
    cells: Cells,
    interrupt_parent: Option<u32>,
    /// Whether addresses of the parent's bus are addresses of the processor.
    translated: bool,
}

impl<'a> Node<'_, 'a> {
    /// The name, with the unit address.
    pub(crate) fn name(&self) -> &'a str {
        self.inner.name
    }

    /// The value of a property.
    pub(crate) fn property(&self, name: &str) -> Option<&'a [u8]> {
        self.inner.property(name).map(|property| property.value)
    }

    /// A property that is one number.
    pub(crate) fn number(&self, name: &str) -> Option<u32> {
        self.property(name)?.try_into().ok().map(u32::from_be_bytes)
    }

    /// A property that is one text.
    pub(crate) fn text(&self, name: &str) -> Option<&'a str> {
        let value = self.property(name)?;
        let end = value.iter().position(|&byte| byte == 0)?;
        str::from_utf8(value.get(..end)?).ok()
    }

    /// Whether it is compatible with `model`.
    pub(crate) fn is_compatible(&self, model: &str) -> bool {
        self.property("compatible")
            .is_some_and(|list| list.split(|&byte| byte == 0).any(|entry| entry == model.as_bytes()))
    }

    /// Whether it may be used.
    fn is_enabled(&self) -> bool {
        self.property("status").is_none_or(|status| matches!(status, b"okay\0" | b"ok\0"))
    }

    /// The number by which others refer to it.
    pub(crate) fn phandle(&self) -> Option<u32> {
        self.number("phandle")
    }

    /// The child with a name; the unit address may be left out.
    pub(crate) fn child(self, name: &str) -> Option<Self> {
        self.children().find(|child| child.name() == name || child.name().split('@').next() == Some(name))
    }

    /// The children.
    pub(crate) fn children(self) -> impl Iterator<Item = Self> {
        let count = |name, default| self.number(name).unwrap_or(default);
        let cells = Cells {
            address: count("#address-cells", Cells::DEFAULT.address),
            size: count("#size-cells", Cells::DEFAULT.size),
        };
        // An empty `ranges` says that nothing is translated; without any, the children are not reachable. The root needs
        // none.
        let is_root = self.name().is_empty();
        let translated = self.translated && (is_root || self.property("ranges").is_some_and(<[u8]>::is_empty));
        let inherited = self.interrupt_parent;
        self.inner
            .children()
            .map(move |inner| Self { inner, cells, interrupt_parent: inherited, translated }.with_interrupt_parent())
    }

    fn with_interrupt_parent(mut self) -> Self {
        self.interrupt_parent = self.number("interrupt-parent").or(self.interrupt_parent);
        self
    }

    fn visit(self, visit: &mut dyn FnMut(Node<'_, 'a>)) {
        if !self.is_enabled() {
            return;
        }
        visit(self);
        for child in self.children() {
            child.visit(visit);
        }
    }

    /// The entries of `reg`.
    pub(crate) fn regions(&self) -> impl Iterator<Item = Result<Region, RegError>> + use<'a> {
        let mut cells = CellReader(self.property("reg").unwrap_or_default());
        let Self { cells: counts, translated, .. } = *self;
        core::iter::from_fn(move || {
            if cells.0.is_empty() {
                return None;
            }
            // Entries without any cell would never come to the end of the property.
            let entry = if counts.address == 0 && counts.size == 0 {
                None
            } else {
                cells.number(counts.address).zip(cells.number(counts.size))
            };
            if entry.is_none() {
                cells.0 = &[];
            }
            Some(match entry {
                None => Err(RegError::Malformed),
                Some(_) if !translated => Err(RegError::Translated),
                Some((address, size)) => Region::from_size(address, size).ok_or(RegError::Overflow),
            })
        })
    }

    /// The registers in an entry of `reg`.
    pub(crate) fn registers(&self, index: usize) -> Result<Region, RegError> {
        let region = self.regions().nth(index).unwrap_or(Err(RegError::Missing))?;
        if region.start.is_multiple_of(4) { Ok(region) } else { Err(RegError::Unaligned(region.start)) }
    }

    /// The first entry of `interrupts-extended` or `interrupts`, and what follows it.
    pub(crate) fn interrupts(&self) -> Option<InterruptSpecifier<'a>> {
        if let Some(extended) = self.property("interrupts-extended") {
            let mut cells = CellReader(extended);
            return Some(InterruptSpecifier { parent: cells.next()?, cells });
        }
        Some(InterruptSpecifier { parent: self.interrupt_parent?, cells: CellReader(self.property("interrupts")?) })
    }
}

/// Reads the cells of a property.
#[derive(Debug, Clone)]
pub(crate) struct CellReader<'a>(pub(crate) &'a [u8]);

impl CellReader<'_> {
    /// A number of some cells. None if there are too few, or the number is too long.
    pub(crate) fn number(&mut self, cells: u32) -> Option<u64> {
        (0..cells).try_fold(0_u64, |number, _| {
            let cell = self.next()?;
            if number >> 32 == 0 { Some(number << 32 | u64::from(cell)) } else { None }
        })
    }
}

impl Iterator for CellReader<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let (cell, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*cell))
    }
}
