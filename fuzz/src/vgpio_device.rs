//! The device of `vgpio device` against a front end and a driver that do anything: any messages, any memory, any rings,
//! with the world going on in between.
//!
//! Whatever comes: nothing panics, nothing outside the memory that was shared is written, the work at one go is bounded;
//! and the next driver, which keeps the rules, is served.

use std::fs::File;
use std::sync::LazyLock;
use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use gpio_model::{draft, ratified};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{MemfdFlags, memfd_create};
use vgpio::chip::Chip;
use vgpio::fault::{AnswerFault, QueueFault};
use vgpio::request::Requests;
use vgpio::vhost::{Session, serve};
use vgpio::world::{Place, Wire, World};
use vhost::vhost_user::VhostUserBackendReqHandlerMut;
use vhost::vhost_user::message::{VhostUserConfigFlags, VhostUserMemoryRegion, VhostUserVringAddrFlags};
use virtio_gpio::messages::draft::{Marking, Message};
use virtio_gpio::messages::{Level, LineId};
use vm_memory::{Bytes, FileOffset, GuestAddress, GuestMemoryMmap};

/// The guest's memory, and what lies around it in its file.
const GUARD: u64 = GUARD_BYTES.len() as u64;
const SIZE: u64 = ZEROES.len() as u64;
static GUARD_BYTES: [u8; 0x1000] = [0xa5; 0x1000];
static ZEROES: [u8; 0x6000] = [0; 0x6000];
/// Where the guest and the front end have it.
const GUEST: u64 = 0x4000_0000;
const FRONTEND: u64 = 0x7fff_0000_0000;

/// Where a queue is, from the start of the memory, and its parts from there; its buffers have 16 bytes each.
const STRIDE: u64 = 0x3000;
const AVAILABLE: u64 = 0x1000;
const USED: u64 = 0x1800;
const BUFFERS: u64 = 0x2000;
const QUEUE_SIZE: u16 = 16;

const NEXT: u16 = 1;
const WRITE: u16 = 2;
/// `VIRTIO_F_VERSION_1` and `VIRTIO_GPIO_F_IRQ`.
const MODERN: u64 = 1 << 32 | 1;

/// A place in the memory, or any address.
#[derive(Debug, Clone, Copy, Arbitrary)]
enum Address {
    Buffer { queue: bool, buffer: u8 },
    Inside(u16),
    Any(u64),
}

impl Address {
    /// The address for someone who has the start of the memory there.
    fn get(self, start: u64) -> u64 {
        match self {
            Self::Buffer { queue, buffer } => start + base(queue) + BUFFERS + u64::from(buffer % 64) * 16,
            Self::Inside(offset) => start + u64::from(offset),
            Self::Any(address) => address,
        }
    }
}

#[derive(Debug, Arbitrary)]
enum Region {
    Usual,
    Part { guest: u16, pages: u8, offset: u8 },
    Any { guest: u64, size: u64, frontend: u64, offset: u64 },
}

#[derive(Debug, Arbitrary)]
enum Step<'a> {
    // The front end's messages.
    Start {
        queue: bool,
    },
    Features(u64),
    Memory(Vec<Region>),
    QueueSize {
        queue: bool,
        size: u32,
    },
    QueuePlace {
        queue: bool,
        descriptors: Address,
        available: Address,
        used: Address,
    },
    QueuePosition {
        queue: bool,
        position: u32,
    },
    Stop {
        queue: bool,
    },
    Kick {
        queue: u8,
        file: bool,
    },
    Call {
        queue: u8,
        file: bool,
    },
    Enable {
        queue: u8,
        enable: bool,
    },
    Config {
        offset: u8,
        size: u8,
    },
    Reset,
    // What the driver writes.
    Write {
        at: u16,
        bytes: &'a [u8],
    },
    Message {
        queue: bool,
        buffer: u8,
        bytes: [u8; 4],
    },
    Descriptor {
        queue: bool,
        index: u8,
        address: Address,
        length: u16,
        flags: u8,
        next: u8,
    },
    /// A request or an event buffer as they should be.
    Chain {
        queue: bool,
        index: u8,
        readable: u8,
        writable: u8,
    },
    Offer {
        queue: bool,
        head: u16,
    },
    AvailableIndex {
        queue: bool,
        index: u16,
    },
    // What happens.
    Serve,
    Advance {
        milliseconds: u16,
    },
    Drive {
        line: u8,
        level: Option<bool>,
    },
    Mute {
        line: u8,
        mute: bool,
    },
    Stall(bool),
    Spoil {
        fault: u8,
        value: u32,
    },
    SpoilQueue {
        queue: bool,
        by: Option<u16>,
    },
    ReturnEvents(u8),
    Send {
        kind: u16,
        line: u8,
        value: i32,
    },
}

#[derive(Debug, Arbitrary)]
#[expect(clippy::struct_excessive_bools, reason = "an input chooses each of them alone")]
struct Input<'a> {
    draft: bool,
    lines: u8,
    names: bool,
    marking: u8,
    loses: bool,
    /// The queues run from the start, as they should.
    started: bool,
    steps: Vec<Step<'a>>,
}

fn base(queue: bool) -> u64 {
    if queue { STRIDE } else { 0 }
}

/// The file of the guest's memory, and an event descriptor. They are the same for all inputs.
struct Files {
    memory: File,
    event: File,
    /// All of the file, from address 0.
    view: GuestMemoryMmap,
}

static FILES: LazyLock<Files> = LazyLock::new(|| {
    let memory = File::from(memfd_create("guest", MemfdFlags::CLOEXEC).expect("memory can be had"));
    memory.set_len(SIZE + 2 * GUARD).expect("memory can be had");
    let event = File::from(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).expect("an event can be had"));
    let file = FileOffset::new(memory.try_clone().expect("a file can be used twice"), 0);
    let length = usize::try_from(SIZE + 2 * GUARD).expect("it is small");
    let view = GuestMemoryMmap::from_ranges_with_files([(GuestAddress(0), length, Some(file))]);
    let view = view.expect("memory can be mapped");
    for guard in [0, GUARD + SIZE] {
        view.write_slice(&GUARD_BYTES, GuestAddress(guard)).expect("it is there");
    }
    Files { memory, event, view }
});

impl Files {
    /// Writes to the guest's memory; what has no place there is not written.
    fn write(&self, at: u64, bytes: &[u8]) {
        if at + bytes.len() as u64 <= SIZE {
            self.view.write_slice(bytes, GuestAddress(GUARD + at)).expect("it is there");
        }
    }

    fn read<const N: usize>(&self, at: u64) -> [u8; N] {
        let mut bytes = [0; N];
        self.view.read_slice(&mut bytes, GuestAddress(GUARD + at)).expect("it is there");
        bytes
    }

    fn write_descriptor(&self, queue: bool, index: u16, address: u64, length: u32, flags: u16, next: u16) {
        let words =
            [address.to_le_bytes(), (u64::from(length) | u64::from(flags) << 32 | u64::from(next) << 48).to_le_bytes()];
        self.write(base(queue) + u64::from(index) * 16, words.as_flattened());
    }

    /// A chain of one readable and one writable buffer that begins with a descriptor; without those of no length.
    fn write_chain(&self, queue: bool, index: u16, readable: u32, writable: u32) {
        let index = index % QUEUE_SIZE;
        let next = (index + 1) % QUEUE_SIZE;
        let address = |index: u16| GUEST + base(queue) + BUFFERS + u64::from(index) * 16;
        let first = if writable > 0 { NEXT } else { 0 };
        if readable > 0 {
            self.write_descriptor(queue, index, address(index), readable, first, next);
            self.write_descriptor(queue, next, address(next), writable, WRITE, 0);
        } else {
            self.write_descriptor(queue, index, address(index), writable, WRITE, 0);
        }
    }

    fn check_guards(&self) {
        let mut bytes = [0; GUARD_BYTES.len()];
        for guard in [0, GUARD + SIZE] {
            self.view.read_slice(&mut bytes, GuestAddress(guard)).expect("it is there");
            assert!(bytes == GUARD_BYTES, "the device wrote outside the guest's memory");
        }
    }
}

/// Lets front end, driver and world do what the input says.
pub fn run(data: &[u8]) {
    let Ok(input) = Input::arbitrary_take_rest(Unstructured::new(data)) else { return };
    let mut bench = Bench::new(&input);
    if input.started {
        bench.start();
    }
    for step in &input.steps {
        bench.step(step);
    }
    bench.serve();
    FILES.check_guards();
    bench.expect_service();
    FILES.check_guards();
}

struct Bench {
    draft: bool,
    marking: Marking,
    lines: u16,
    world: World,
    session: Session,
    now: Duration,
    /// Something was spoilt that may come yet.
    spoilt: bool,
    /// The device was not done when it was served last.
    busy: bool,
    /// Makes heads available.
    available: [u16; 2],
}

impl Bench {
    fn new(input: &Input<'_>) -> Self {
        let lines = u16::from(input.lines % 8) + 1;
        let name = |line| if input.names { format!("line{line}") } else { String::new() };
        let names = (0..lines).map(name).collect();
        let marking = Marking::ALL[usize::from(input.marking) % 4];
        let chip = if input.draft {
            let options = draft::Options { marking, lose_without_buffer: input.loses, ..draft::Options::default() };
            Chip::draft(names, options)
        } else {
            Chip::ratified(names, ratified::Options::default())
        };
        let chip = chip.expect("the names are allowed");
        let session = Session::new(&chip).expect("queues can be made");
        let mut world = World::new(vec![chip]);
        let place = |line| Place { chip: 0, line: LineId(line) };
        world.wire(Wire::new(place(0), place(lines - 1))).expect("the lines exist");
        // The memory of the last input is gone.
        FILES.write(0, &ZEROES);
        Self {
            draft: input.draft,
            marking,
            lines,
            world,
            session,
            now: Duration::ZERO,
            spoilt: false,
            busy: false,
            available: [0; 2],
        }
    }

    /// Starts the queues as a driver does that keeps the rules.
    fn start(&mut self) {
        let mut frontend = self.session.frontend();
        frontend.set_features(MODERN).expect("features are taken");
        let region = VhostUserMemoryRegion::new(GUEST, SIZE, FRONTEND, GUARD);
        let file = FILES.memory.try_clone().expect("a file can be used twice");
        frontend.set_mem_table(&[region], vec![file], None).expect("the memory is there");
        drop(frontend);
        for queue in [false, true] {
            self.start_queue(queue);
        }
    }

    fn start_queue(&mut self, queue: bool) {
        let index = u32::from(queue);
        let mut frontend = self.session.frontend();
        frontend.set_vring_num(index, QUEUE_SIZE.into()).expect("there is the queue");
        frontend.set_vring_base(index, 0).expect("there is the queue");
        let start = FRONTEND + base(queue);
        let flags = VhostUserVringAddrFlags::empty();
        let placed = frontend.set_vring_addr(index, flags, start, start + USED, start + AVAILABLE, 0);
        placed.expect("there is the queue");
        frontend.set_vring_kick(u8::from(queue), None).expect("there is the queue");
        frontend.set_vring_enable(index, true).expect("there is the queue");
        self.available[usize::from(queue)] = 0;
    }

    fn write_available_index(&mut self, queue: bool, index: u16) {
        self.available[usize::from(queue)] = index;
        FILES.write(base(queue) + AVAILABLE + 2, &index.to_le_bytes());
    }

    fn offer(&mut self, queue: bool, head: u16) {
        let index = self.available[usize::from(queue)];
        FILES.write(base(queue) + AVAILABLE + 4 + u64::from(index % QUEUE_SIZE) * 2, &head.to_le_bytes());
        self.write_available_index(queue, index.wrapping_add(1));
    }

    /// A driver can keep the device busy for ever, with rings that the device's own answers fill. Each time ends, and one
    /// is enough to see that.
    fn serve(&mut self) {
        if !self.busy {
            self.busy = serve(&mut self.world, &mut [(0, &mut self.session)], || self.now);
        }
    }

    /// Answers of the front end's are not looked at: it may be told that it asks for nonsense.
    fn step(&mut self, step: &Step<'_>) {
        let file = |wanted: bool| wanted.then(|| FILES.event.try_clone().expect("a file can be used twice"));
        match *step {
            Step::Start { queue } => self.start_queue(queue),
            Step::Features(features) => drop(self.session.frontend().set_features(features)),
            Step::Memory(ref regions) => self.set_memory(regions),
            Step::QueueSize { queue, size } => drop(self.session.frontend().set_vring_num(queue.into(), size)),
            Step::QueuePlace { queue, descriptors, available, used } => {
                let [descriptors, available, used] = [descriptors, available, used].map(|place| place.get(FRONTEND));
                let flags = VhostUserVringAddrFlags::empty();
                let mut frontend = self.session.frontend();
                drop(frontend.set_vring_addr(queue.into(), flags, descriptors, used, available, 0));
            }
            Step::QueuePosition { queue, position } => {
                drop(self.session.frontend().set_vring_base(queue.into(), position));
            }
            Step::Stop { queue } => drop(self.session.frontend().get_vring_base(queue.into())),
            Step::Kick { queue, file: wanted } => {
                drop(self.session.frontend().set_vring_kick(queue % 3, file(wanted)));
            }
            Step::Call { queue, file: wanted } => {
                drop(self.session.frontend().set_vring_call(queue % 3, file(wanted)));
            }
            Step::Enable { queue, enable } => {
                drop(self.session.frontend().set_vring_enable(u32::from(queue % 3), enable));
            }
            Step::Config { offset, size } => {
                // The decoder of the messages lets no more through.
                let config =
                    self.session.frontend().get_config(offset.into(), size.into(), VhostUserConfigFlags::empty());
                assert_eq!(config.expect("a part of the space").len(), usize::from(size));
            }
            Step::Reset => drop(self.session.frontend().reset_device()),
            Step::Write { at, bytes } => FILES.write(at.into(), bytes),
            Step::Message { queue, buffer, bytes: [kind, line, value, other] } => {
                let place = base(queue) + BUFFERS + u64::from(buffer % 64) * 16;
                FILES.write(place, &[kind % 8, 0, line, 0, value % 10, 0, 0, other & other >> 4]);
            }
            Step::Descriptor { queue, index, address, length, flags, next } => {
                FILES.write_descriptor(
                    queue,
                    u16::from(index) % (2 * QUEUE_SIZE),
                    address.get(GUEST),
                    length.into(),
                    u16::from(flags % 8),
                    next.into(),
                );
            }
            Step::Chain { queue, index, readable, writable } => {
                FILES.write_chain(queue, index.into(), u32::from(readable % 10), u32::from(writable % 10));
            }
            Step::Offer { queue, head } => self.offer(queue, if head > 0x100 { head } else { head % QUEUE_SIZE }),
            Step::AvailableIndex { queue, index } => self.write_available_index(queue, index),
            _ => self.happen(step),
        }
    }

    fn set_memory(&mut self, regions: &[Region]) {
        let regions: Vec<_> = regions
            .iter()
            .take(4)
            .map(|region| match *region {
                Region::Usual => VhostUserMemoryRegion::new(GUEST, SIZE, FRONTEND, GUARD),
                Region::Part { guest, pages, offset } => {
                    // No more than the guest's own: beyond it are the guards.
                    let offset = u64::from(offset) % (SIZE / 0x1000);
                    let size = (u64::from(pages) * 0x1000).clamp(0x1000, SIZE - offset * 0x1000);
                    let guest = u64::from(guest) << 12;
                    VhostUserMemoryRegion::new(guest, size, guest, GUARD + offset * 0x1000)
                }
                Region::Any { guest, size, frontend, offset } => {
                    // Of the guards nobody may write, so they may not be shared.
                    let offset = offset.max(GUARD + SIZE) & !0xfff;
                    VhostUserMemoryRegion::new(guest, size.max(GUARD + 1), frontend, offset)
                }
            })
            .collect();
        let file = || FILES.memory.try_clone().expect("a file can be used twice");
        let files = regions.iter().map(|_| file()).collect();
        drop(self.session.frontend().set_mem_table(&regions, files, None));
    }

    fn happen(&mut self, step: &Step<'_>) {
        let line = |line: u8| LineId(u16::from(line) % self.lines);
        match *step {
            Step::Serve => self.serve(),
            Step::Advance { milliseconds } => {
                self.now += Duration::from_millis(milliseconds.into());
                self.world.advance(self.now);
            }
            Step::Drive { line: number, level } => {
                let place = Place { chip: 0, line: line(number) };
                self.world.drive(self.now, place, level.map(Level::from)).expect("the line exists");
            }
            _ => {
                let lines = self.lines;
                let chip = self.world.chip_mut(0).expect("there is one");
                match *step {
                    Step::Mute { line, mute } => chip.set_mute(LineId(u16::from(line) % lines), mute),
                    Step::Stall(stalled) => chip.set_stalled(stalled),
                    Step::Spoil { fault, value } => {
                        let byte = value.to_le_bytes()[0];
                        let fault = match fault % 7 {
                            0 => AnswerFault::Status(byte),
                            1 => AnswerFault::Value(byte),
                            2 => AnswerFault::Length(value),
                            3 => AnswerFault::Id(value),
                            4 => AnswerFault::IdPlus(value),
                            5 => AnswerFault::Twice,
                            _ => AnswerFault::Silent,
                        };
                        self.spoilt |= chip.spoil_answers(fault, 1, Requests::ANY).is_ok();
                    }
                    Step::SpoilQueue { queue, by } => {
                        chip.spoil_queue(queue.into(), by.map_or(QueueFault::Interrupt, QueueFault::Jump));
                        self.spoilt = true;
                    }
                    Step::ReturnEvents(times) => _ = chip.return_events(times.into()),
                    Step::Send { kind, line, value } => {
                        _ = chip.send(Message { kind, line: LineId(line.into()), value });
                    }
                    _ => (),
                }
            }
        }
    }

    /// A driver comes that keeps the rules, and asks for the direction of line 0.
    fn expect_service(&mut self) {
        if self.spoilt {
            return;
        }
        let chip = self.world.chip_mut(0).expect("there is one");
        chip.set_stalled(false);
        chip.set_mute(LineId(0), false);
        self.busy = false;
        self.session.frontend().reset_device().expect("a device can be reset");
        FILES.write(0, &ZEROES);
        self.start();
        let buffer = |queue: bool, index: u64| base(queue) + BUFFERS + index * 16;
        if self.draft {
            let request = Message { kind: 4, line: LineId(0), value: 0 };
            FILES.write_chain(false, 0, 0, 8);
            self.offer(false, 0);
            FILES.write(buffer(true, 0), &request.encode());
            FILES.write_chain(true, 0, 8, 0);
            self.offer(true, 0);
            self.serve();
            assert_eq!(FILES.read::<2>(USED + 2), [1, 0], "one answer");
            let expected = Message { kind: self.marking.apply(4), line: LineId(0), value: 1 };
            assert_eq!(FILES.read::<8>(buffer(false, 0)), expected.encode(), "the line is no output");
        } else {
            FILES.write(buffer(false, 0), &[2, 0, 0, 0, 0, 0, 0, 0]);
            FILES.write(buffer(false, 1), &[0xaa; 2]);
            FILES.write_chain(false, 0, 8, 2);
            self.offer(false, 0);
            self.serve();
            assert_eq!(FILES.read::<2>(USED + 2), [1, 0], "one answer");
            assert_eq!(FILES.read::<2>(buffer(false, 1)), [0, 0], "the line has no direction");
        }
    }
}
