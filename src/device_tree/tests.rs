//! Trees of real machines, and what can become of them.
#![expect(clippy::arithmetic_side_effects, reason = "a test may end in a panic")]

use super::copy::{MAGIC, TreeError, copy};
use super::machine::{self, InterruptController, MachineDescription, MachineError, PowerControl, PsciConduit};
use super::view::{RegError, Tree};
use super::virtio::{self, Occupied, Refusal, SpecifierError, VirtioNode};
use crate::memory::regions::Region;
use crate::platform::interrupts::{InterruptId, Trigger};
use crate::platform::uart::UartKind;

const GICV2: &[u8] = include_bytes!("fixtures/aarch64-gicv2.dtb");
const GICV3: &[u8] = include_bytes!("fixtures/aarch64-gicv3.dtb");
const RISCV: &[u8] = include_bytes!("fixtures/riscv64.dtb");

const NODE: u32 = 1;
const END_NODE: u32 = 2;
const PROPERTY: u32 = 3;
const NOP: u32 = 4;
const END: u32 = 9;

/// A checked copy that lives as long as a test.
fn checked(blob: &[u8]) -> Result<&'static [u8], TreeError> {
    copy(blob, Box::leak(vec![0; 1 << 16].into_boxed_slice()))
}

fn tree(blob: &[u8]) -> Tree<'static> {
    Tree::new(checked(blob).unwrap()).unwrap()
}

/// All that the image asks a tree.
fn use_everything(copy: &[u8]) {
    let tree = Tree::new(copy).unwrap();
    let _ = machine::power_control(&tree);
    let _ = machine::console(&tree);
    if let Ok(description) = MachineDescription::read(&tree, Some(0)) {
        virtio_nodes(&tree, &description);
    }
}

/// Numbers that look random and are the same every time.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        u32::try_from(self.0 >> 32).unwrap()
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next()).unwrap() % limit
    }
}

#[test]
fn no_corruption_of_a_real_tree_makes_anything_panic() {
    // More can be asked for by hand: the number for each tree.
    let count = std::env::var("TREE_CORRUPTIONS").map_or(3_000, |count| count.parse().unwrap());
    let mut buffer = vec![0; 1 << 16];
    for (seed, blob) in (1..).zip([GICV2, GICV3, RISCV]) {
        let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15 ^ seed);
        let (mut good, mut bad) = (0, 0);
        for _ in 0..count {
            let mut blob = blob.to_vec();
            for _ in 0..=numbers.below(4) {
                let at = numbers.below(blob.len());
                match numbers.below(3) {
                    0 => blob[at] = u8::try_from(numbers.below(256)).unwrap(),
                    1 => blob[at] ^= 1 << numbers.below(8),
                    _ => {
                        // What most looks like structure: a token.
                        let at = at / 4 * 4;
                        let token = [NODE, END_NODE, PROPERTY, NOP, END, 5, 0, u32::MAX][numbers.below(8)];
                        if let Some(word) = blob.get_mut(at..at + 4) {
                            word.copy_from_slice(&token.to_be_bytes());
                        }
                    }
                }
            }
            match copy(&blob, &mut buffer) {
                Ok(copy) => {
                    good += 1;
                    use_everything(copy);
                }
                Err(_) => bad += 1,
            }
        }
        assert!(good > count / 20 && bad > count / 20, "{good} trees passed and {bad} did not: that tests nothing");
    }
}

#[test]
fn c9_a_tree_cut_off_anywhere_is_refused() {
    for blob in [GICV2, RISCV] {
        for length in 0..blob.len() {
            let mut cut = blob[..length].to_vec();
            checked(&cut).unwrap_err();
            // Also if the header agrees.
            if let Some(size) = cut.get_mut(4..8) {
                size.copy_from_slice(&u32::try_from(length).unwrap().to_be_bytes());
                let _ = checked(&cut).map(use_everything);
            }
        }
    }
}

#[test]
fn a_copy_of_a_copy_is_the_same() {
    for blob in [GICV2, GICV3, RISCV] {
        let first = checked(blob).unwrap();
        assert_eq!(checked(first).unwrap(), first);
    }
}

#[test]
fn describes_an_arm_machine_with_gicv2() {
    let tree = tree(GICV2);
    let description = MachineDescription::read(&tree, None).unwrap();
    assert_eq!(description.model, "linux,dummy-virt");
    assert_eq!(description.memory, [Region::new(0x4000_0000, 0x4400_0000)]);
    assert_eq!(
        description.interrupt_controller,
        InterruptController::GicV2 {
            distributor: Region::new(0x0800_0000, 0x0801_0000),
            cpu_interface: Region::new(0x0801_0000, 0x0802_0000)
        }
    );
    assert_eq!(description.timer.interrupt, Some(InterruptId::new(27)));
    assert_eq!(machine::power_control(&tree), Some(PowerControl::Psci(PsciConduit::Hvc)));
    let console = machine::console(&tree).unwrap();
    assert_eq!((console.kind, console.registers), (UartKind::Pl011, Region::new(0x0900_0000, 0x0900_1000)));
    assert_eq!(console.interrupt, Some((InterruptId::new(33), Trigger::Level)));
    assert_eq!(console.clock, Some(24_000_000));

    let nodes = virtio_nodes(&tree, &description);
    assert_eq!(nodes.len(), 32);
    let last = VirtioNode {
        name: "virtio_mmio@a003e00",
        registers: Region::new(0x0a00_3e00, 0x0a00_4000),
        interrupt: InterruptId::new(79),
        trigger: Trigger::Edge,
    };
    assert_eq!(nodes.last(), Some(&Ok(last)));
}

#[test]
fn describes_an_arm_machine_with_gicv3() {
    let tree = tree(GICV3);
    let description = MachineDescription::read(&tree, None).unwrap();
    assert_eq!(description.memory, [Region::new(0x4000_0000, 0xc000_0000)]);
    assert_eq!(
        description.interrupt_controller,
        InterruptController::GicV3 {
            distributor: Region::new(0x0800_0000, 0x0801_0000),
            redistributors: Region::new(0x080a_0000, 0x0900_0000)
        }
    );
}

#[test]
fn describes_a_riscv_machine_for_each_hart() {
    let tree = tree(RISCV);
    for (hart, context) in [(0, 1), (1, 3)] {
        let description = MachineDescription::read(&tree, Some(hart)).unwrap();
        assert_eq!(
            description.interrupt_controller,
            InterruptController::Plic { registers: Region::new(0x0c00_0000, 0x0c60_0000), sources: 95, context }
        );
        assert_eq!(description.timer.timebase_frequency, Some(10_000_000));
        assert_eq!(virtio_nodes(&tree, &description).len(), 8);
    }
    assert_eq!(MachineDescription::read(&tree, Some(2)).unwrap_err(), MachineError::HartNotReached(2));
    assert_eq!(machine::power_control(&tree), Some(PowerControl::Finisher(Region::new(0x10_0000, 0x10_1000))));
    let console = machine::console(&tree).unwrap();
    assert_eq!((console.kind, console.registers.start), (UartKind::Ns16550, 0x1000_0000));
    assert_eq!(console.interrupt, Some((InterruptId::new(10), Trigger::Level)));
}

fn virtio_nodes<'a>(tree: &Tree<'a>, description: &MachineDescription<'a>) -> Vec<Result<VirtioNode<'a>, Refusal<'a>>> {
    let mut nodes = Vec::new();
    virtio::nodes(tree, &description.interrupt_controller, description.interrupt_parent, &mut |_, node| {
        nodes.push(node);
    });
    nodes
}

/// Builds small trees.
#[derive(Default)]
struct Builder {
    structure: Vec<u8>,
    strings: Vec<u8>,
}

impl Builder {
    fn word(mut self, word: u32) -> Self {
        self.structure.extend(word.to_be_bytes());
        self
    }

    fn padded(mut self, bytes: &[u8]) -> Self {
        self.structure.extend(bytes);
        self.structure.resize(self.structure.len().next_multiple_of(4), 0);
        self
    }

    fn node(self, name: &str) -> Self {
        self.word(NODE).padded(format!("{name}\0").as_bytes())
    }

    fn property(mut self, name: &str, value: &[u8]) -> Self {
        let offset = u32::try_from(self.strings.len()).unwrap();
        self.strings.extend(format!("{name}\0").as_bytes());
        self.word(PROPERTY).word(u32::try_from(value.len()).unwrap()).word(offset).padded(value)
    }

    fn cells(self, name: &str, cells: &[u32]) -> Self {
        self.property(name, &cells.iter().flat_map(|cell| cell.to_be_bytes()).collect::<Vec<_>>())
    }

    fn end(self) -> Self {
        self.word(END_NODE)
    }

    fn blob(self) -> Vec<u8> {
        const RESERVATIONS: u32 = 40;
        const STRUCTURE: u32 = 56;
        let this = self.word(END);
        let structure = u32::try_from(this.structure.len()).unwrap();
        let strings = u32::try_from(this.strings.len()).unwrap();
        let total = STRUCTURE + structure + strings;
        let header = [MAGIC, total, STRUCTURE, STRUCTURE + structure, RESERVATIONS, 17, 16, 0, strings, structure];
        let mut blob: Vec<u8> = header.iter().flat_map(|word| word.to_be_bytes()).collect();
        blob.extend([0; 16]);
        blob.extend(this.structure);
        blob.extend(this.strings);
        blob
    }

    /// The start of a machine like QEMU's: root and interrupt controller.
    fn machine() -> Self {
        Self::default()
            .node("")
            .cells("#address-cells", &[2])
            .cells("#size-cells", &[2])
            .cells("interrupt-parent", &[1])
            .node("intc@8000000")
            .property("compatible", b"arm,cortex-a15-gic\0")
            .cells("phandle", &[1])
            .cells("reg", &[0, 0x0800_0000, 0, 0x1_0000, 0, 0x0801_0000, 0, 0x1_0000])
            .end()
            .node("memory@40000000")
            .property("device_type", b"memory\0")
            .cells("reg", &[0, 0x4000_0000, 0, 0x400_0000])
            .end()
    }

    fn virtio(self, reg: &[u32], interrupts: &[u32]) -> Self {
        self.node("virtio_mmio")
            .property("compatible", b"virtio,mmio\0")
            .cells("reg", reg)
            .cells("interrupts", interrupts)
            .end()
    }
}

const GOOD_REG: [u32; 4] = [0, 0x0a00_0000, 0, 0x200];
const GOOD_INTERRUPT: [u32; 3] = [0, 16, 1];

/// What becomes of the virtio node of a tree that has one.
fn one_virtio_node(builder: Builder) -> Result<VirtioNode<'static>, Refusal<'static>> {
    let tree = tree(&builder.end().blob());
    let description = MachineDescription::read(&tree, None).unwrap();
    let nodes = virtio_nodes(&tree, &description);
    assert_eq!(nodes.len(), 1);
    nodes[0]
}

/// Entries of no cells have no end.
#[test]
fn registers_without_cells_are_malformed() {
    let blob = Builder::default()
        .node("")
        .cells("#address-cells", &[0])
        .cells("#size-cells", &[0])
        .node("memory@0")
        .cells("reg", &[1])
        .end()
        .end()
        .blob();
    let tree = tree(&blob);
    let node = tree.root().unwrap().child("memory").unwrap();
    assert_eq!(node.regions().take(2).collect::<Vec<_>>(), [Err(RegError::Malformed)]);
}

#[test]
fn bad_registers_are_refused() {
    let refusal = |reg: &[u32]| one_virtio_node(Builder::machine().virtio(reg, &GOOD_INTERRUPT)).unwrap_err();
    assert_eq!(refusal(&[]), Refusal::Reg(RegError::Missing));
    assert_eq!(refusal(&[0, 0x0a00_0000]), Refusal::Reg(RegError::Malformed));
    assert_eq!(refusal(&[0, 0, 0, 0x200]), Refusal::Null(0));
    assert_eq!(refusal(&[0, 0x0a00_0002, 0, 0x200]), Refusal::Reg(RegError::Unaligned(0x0a00_0002)));
    assert_eq!(refusal(&[0, 0x0a00_0000, 0, 0]), Refusal::Size(0));
    assert_eq!(refusal(&[0, 0x0a00_0000, 1, 0]), Refusal::Size(1 << 32));
    assert_eq!(refusal(&[u32::MAX, 0xffff_ff00, 0, 0x200]), Refusal::Reg(RegError::Overflow));
}

#[test]
fn bad_interrupts_are_refused() {
    let refusal = |cells: &[u32]| match one_virtio_node(Builder::machine().virtio(&GOOD_REG, cells)) {
        Err(Refusal::Interrupt(error)) => error,
        other => panic!("{other:?}"),
    };
    assert_eq!(refusal(&[]), SpecifierError::Missing);
    assert_eq!(refusal(&[0, 16]), SpecifierError::Missing);
    assert_eq!(refusal(&[1, 11, 4]), SpecifierError::Kind(1));
    assert_eq!(refusal(&[0, 988, 1]), SpecifierError::Number(988, 987));
    assert_eq!(refusal(&[0, u32::MAX, 1]), SpecifierError::Number(u32::MAX, 987));
    assert_eq!(refusal(&[0, 16, 2]), SpecifierError::Flags(2));
}

#[test]
fn an_interrupt_of_another_controller_is_refused() {
    let extended = Builder::machine()
        .node("virtio_mmio")
        .property("compatible", b"virtio,mmio\0")
        .cells("reg", &GOOD_REG)
        .cells("interrupts-extended", &[7, 0, 16, 1])
        .end();
    assert_eq!(one_virtio_node(extended), Err(Refusal::Interrupt(SpecifierError::OtherController(7))));
}

#[test]
fn a_disabled_node_is_no_node() {
    let blob = Builder::machine()
        .node("virtio_mmio")
        .property("compatible", b"virtio,mmio\0")
        .property("status", b"disabled\0")
        .end()
        .virtio(&GOOD_REG, &GOOD_INTERRUPT)
        .end()
        .blob();
    let tree = tree(&blob);
    let description = MachineDescription::read(&tree, None).unwrap();
    assert_eq!(virtio_nodes(&tree, &description).len(), 1);
}

#[test]
fn a_bus_with_addresses_of_its_own_is_not_reached() {
    let behind_bus = |builder: Builder| one_virtio_node(builder.virtio(&[0x0a00_0000, 0x200], &GOOD_INTERRUPT).end());
    let bus = || Builder::machine().node("soc").cells("#address-cells", &[1]).cells("#size-cells", &[1]);
    assert!(behind_bus(bus().property("ranges", &[])).is_ok());
    assert_eq!(behind_bus(bus().cells("ranges", &[0, 0, 1, 2])), Err(Refusal::Reg(RegError::Translated)));
    assert_eq!(behind_bus(bus()), Err(Refusal::Reg(RegError::Translated)));
}

#[test]
fn registers_of_others_are_refused() {
    let registers = Region::new(0x0900_0800, 0x0900_0a00);
    let console = Occupied { owner: "console", region: Region::new(0x0900_0000, 0x0900_1000) };
    let memory = Occupied { owner: "memory", region: Region::new(0x4000_0000, 0x4400_0000) };
    assert_eq!(virtio::check_overlap(registers, [memory]), Ok(()));
    assert_eq!(
        virtio::check_overlap(registers, [memory, console]),
        Err(Refusal::Overlap { registers, owner: "console", region: console.region })
    );
}

#[test]
fn nops_anywhere_change_nothing() {
    let plain = Builder::machine().virtio(&GOOD_REG, &GOOD_INTERRUPT).end();
    let nops = |builder: Builder| builder.word(NOP).word(NOP);
    let with_nops =
        nops(nops(nops(Builder::default()).node("").cells("#address-cells", &[2])).cells("#size-cells", &[2]));
    let with_nops = nops(with_nops.cells("interrupt-parent", &[1]))
        .node("intc@8000000")
        .property("compatible", b"arm,cortex-a15-gic\0");
    let with_nops = nops(with_nops)
        .cells("phandle", &[1])
        .cells("reg", &[0, 0x0800_0000, 0, 0x1_0000, 0, 0x0801_0000, 0, 0x1_0000]);
    let with_nops = nops(nops(with_nops).end())
        .node("memory@40000000")
        .property("device_type", b"memory\0")
        .cells("reg", &[0, 0x4000_0000, 0, 0x400_0000])
        .end();
    let with_nops = nops(nops(with_nops).virtio(&GOOD_REG, &GOOD_INTERRUPT)).end();
    let with_nops = nops(with_nops);
    assert_eq!(checked(&with_nops.blob()), checked(&plain.blob()));
}

#[test]
fn c9_structural_errors_are_told_apart() {
    let error = |builder: Builder| checked(&builder.blob()).unwrap_err();
    assert!(matches!(error(Builder::default()), TreeError::Token { token: END, .. }));
    assert!(matches!(error(Builder::default().node("").end().node("").end()), TreeError::Token { token: NODE, .. }));
    assert!(matches!(error(Builder::default().node("x").end()), TreeError::Name(_)));
    assert!(matches!(error(Builder::default().node("").node("").end().end()), TreeError::Name(_)));
    assert!(matches!(error(Builder::default().node("").word(7).end()), TreeError::Token { token: 7, .. }));
    assert!(matches!(error(Builder::default().node("")), TreeError::Token { token: END, .. }));
    assert!(matches!(error(Builder::default().node("").cells("#size-cells", &[5]).end()), TreeError::Cells(_)));
    assert!(matches!(error(Builder::default().node("").property("#size-cells", b"x").end()), TreeError::Cells(_)));
    let late_property = Builder::default().node("").node("a").end().cells("x", &[]).end();
    assert!(matches!(error(late_property), TreeError::Token { token: PROPERTY, .. }));
    let deep = (0..20).fold(Builder::default().node(""), |builder, _| builder.node("a"));
    assert!(matches!(error((0..20).fold(deep, |builder, _| builder.end()).end()), TreeError::Depth(_)));
    let long = Builder::default().node("").node(&"a".repeat(300)).end().end();
    assert!(matches!(error(long), TreeError::Name(_)));

    let mut blob = Builder::machine().end().blob();
    blob[0] = 0;
    assert_eq!(checked(&blob), Err(TreeError::Magic(0x000d_feed)));
    let mut blob = Builder::machine().end().blob();
    blob[23] = 3;
    assert_eq!(checked(&blob), Err(TreeError::Version { version: 3, compatible: 16 }));
}

#[test]
fn a_tree_that_does_not_fit_is_refused() {
    assert_eq!(copy(GICV2, &mut [0; 1000]), Err(TreeError::TooLarge(1000)));
}

#[test]
fn without_memory_there_is_no_machine() {
    let blob = Builder::default().node("").end().blob();
    assert_eq!(MachineDescription::read(&tree(&blob), None).unwrap_err(), MachineError::NoInterruptController);
    let blob = Builder::default()
        .node("")
        .cells("#address-cells", &[1])
        .cells("#size-cells", &[1])
        .node("intc")
        .property("compatible", b"arm,gic-v3\0")
        .cells("reg", &[0x1000, 0x1000, 0x2000, 0x1000])
        .end()
        .end()
        .blob();
    assert_eq!(MachineDescription::read(&tree(&blob), None).unwrap_err(), MachineError::NoMemory);
}

#[test]
fn a_console_is_found_by_its_alias() {
    let blob = Builder::machine()
        .node("aliases")
        .property("serial7", b"/uart@9000000\0")
        .end()
        .node("chosen")
        .property("stdout-path", b"serial7:115200n8\0")
        .end()
        .node("uart@9000000")
        .property("compatible", b"arm,pl011\0arm,primecell\0")
        .cells("reg", &[0, 0x0900_0000, 0, 0x1000])
        .end()
        .end()
        .blob();
    let console = machine::console(&tree(&blob)).unwrap();
    assert_eq!(console.registers.start, 0x0900_0000);
    assert_eq!((console.interrupt, console.clock), (None, None));
}
