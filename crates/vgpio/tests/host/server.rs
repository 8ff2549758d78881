//! The device behind its socket, against a front end whose every byte is written here.
use std::path::PathBuf;
use std::time::Duration;

use crate::driver::INTERRUPTS;
use crate::front_end::{Buffer, EVENT_INDEX, FrontEnd, LONG, MODERN, NEXT, WRITE};
use gpio_model::observe::Activity;
use gpio_model::{draft, ratified};
use tempfile::TempDir;
use vgpio::chip::Chip;
use vgpio::polling::Polling;
use vgpio::record::log::Log;
use vgpio::record::trace::Trace;
use vgpio::server::{self, Handle, Options};
use vgpio::world::{Place, Wire, World};
use virtio_gpio::messages::{Direction, Level, LineId};

/// The queues of the ratified protocol, and those of the draft.
pub(crate) const REQUESTS: usize = 0;
pub(crate) const EVENTS: usize = 1;
pub(crate) const RECEIVE: usize = 0;
pub(crate) const TRANSMIT: usize = 1;

pub(crate) struct Bench {
    pub(crate) server: Handle,
    pub(crate) trace: Trace,
    pub(crate) socket: PathBuf,
    _folder: TempDir,
}

pub(crate) fn serve(chip: Chip) -> Bench {
    serve_world(World::new(vec![chip]), false)
}

pub(crate) fn serve_world(world: World, persistent: bool) -> Bench {
    serve_with(world, &Options { persistent, ..Options::default() })
}

fn serve_with(mut world: World, options: &Options) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("s");
    let trace = Trace::default();
    world.watch(trace.clone());
    let server = server::start(world, &Options { sockets: vec![socket.clone()], ..options.clone() }).unwrap();
    Bench { server, trace, socket, _folder: folder }
}

pub(crate) fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

pub(crate) fn ratified() -> Chip {
    Chip::ratified(names(&["led", "", "in", ""]), ratified::Options::default()).unwrap()
}

pub(crate) fn drafted() -> Chip {
    Chip::draft(names(&["led", "", "in", ""]), draft::Options::default()).unwrap()
}

pub(crate) fn line(line: u16) -> Place {
    Place { chip: 0, line: LineId(line) }
}

#[test]
fn configuration_is_as_long_as_asked_for() {
    let bench = serve(ratified());
    let mut front_end = FrontEnd::connect(&bench.socket, MODERN | INTERRUPTS);
    assert_eq!(front_end.config(0, 8), [4, 0, 0, 0, 9, 0, 0, 0]);
    assert_eq!(front_end.config(4, 4), [9, 0, 0, 0]);
    assert_eq!(front_end.config(0, 12), [4, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(front_end.config(200, 2), [0, 0]);
}

#[test]
fn requests_reach_the_world_and_answers_have_their_length() {
    let bench = serve(ratified());
    let mut front_end = FrontEnd::connect(&bench.socket, MODERN);
    let requests = &mut front_end.queues[REQUESTS];
    assert_eq!(requests.request([5, 0, 0, 0, 1, 0, 0, 0]), [0, 0]);
    assert_eq!(requests.request([3, 0, 0, 0, 1, 0, 0, 0]), [0, 0]);
    assert_eq!(requests.request([4, 0, 0, 0, 0, 0, 0, 0]), [0, 1]);
    let level = bench.server.with(|world, _| world.level(line(0)).unwrap()).unwrap();
    assert_eq!(level, Level::High);
    bench
        .trace
        .wait_for(LONG, |records| {
            records.iter().find_map(|record| match record.activity {
                Activity::Changed(change) if change.new_level() == Some(Level::High) => Some(change.after.direction),
                _ => None,
            })
        })
        .map(|direction| assert_eq!(direction, Direction::Output))
        .unwrap();
}

#[test]
fn messages_may_be_spread_over_descriptors_in_any_way() {
    let bench = serve(ratified());
    let mut front_end = FrontEnd::connect(&bench.socket, MODERN);
    let requests = &mut front_end.queues[REQUESTS];
    let parts = [
        Buffer::Readable(&[1, 0, 0]),
        Buffer::Readable(&[0, 0, 0, 0, 0]),
        Buffer::Writable(1),
        Buffer::Writable(3),
        Buffer::Writable(50),
    ];
    requests.send(0, &parts);
    assert_eq!(requests.used(), (0, 10));
    assert_eq!(requests.read(2), [0, 0xaa]);
    assert_eq!(requests.read(3), *b"led\xaa");
    assert_eq!(requests.read(4), *b"\0\0in\0\0\xaa");
}

#[test]
fn edge_travels_along_the_wire_into_an_event_buffer() {
    let mut world = World::new(vec![ratified()]);
    world.wire(Wire::new(line(0), line(2))).unwrap();
    let bench = serve_world(world, false);
    let mut front_end = FrontEnd::connect(&bench.socket, MODERN | INTERRUPTS);
    let [requests, events] = &mut front_end.queues;
    assert_eq!(requests.request([3, 0, 0, 0, 1, 0, 0, 0]), [0, 0]);
    assert_eq!(requests.request([3, 0, 2, 0, 2, 0, 0, 0]), [0, 0]);
    assert_eq!(requests.request([6, 0, 2, 0, 1, 0, 0, 0]), [0, 0]);
    events.send(4, &[Buffer::Readable(&[2, 0]), Buffer::Writable(1)]);
    assert_eq!(requests.request([5, 0, 0, 0, 1, 0, 0, 0]), [0, 0]);
    assert_eq!(events.used(), (4, 1));
    assert_eq!(events.read(5), [1, 0xaa], "one byte: an interrupt happened");
    assert_eq!(requests.request([6, 0, 2, 0, 0, 0, 0, 0]), [0, 0]);
    events.send(4, &[Buffer::Readable(&[2, 0]), Buffer::Writable(1)]);
    assert_eq!(events.used(), (4, 1));
    assert_eq!(events.read(5), [0, 0xaa], "none happened");
}

#[test]
fn what_a_batch_changes_runs_along_the_wires_request_by_request() {
    let mut world = World::new(vec![ratified()]);
    world.wire(Wire::new(line(0), line(2))).unwrap();
    let bench = serve_world(world, false);
    bench.server.with(|world, _| world.chip_mut(0).unwrap().set_stalled(true)).unwrap();
    let mut front_end = FrontEnd::connect(&bench.socket, MODERN);
    let requests = &mut front_end.queues[REQUESTS];
    let batch =
        [[3, 0, 0, 0, 1, 0, 0, 0], [5, 0, 0, 0, 1, 0, 0, 0], [4, 0, 2, 0, 0, 0, 0, 0], [5, 0, 0, 0, 0, 0, 0, 0]];
    for (request, head) in batch.iter().zip([0, 2, 4, 6]) {
        requests.send(head, &[Buffer::Readable(request), Buffer::Writable(2)]);
    }
    bench.server.with(|world, _| world.chip_mut(0).unwrap().set_stalled(false)).unwrap();
    for head in [0, 2, 4, 6] {
        assert_eq!(requests.used(), (head, 2), "in their order");
    }
    assert_eq!(requests.read(5), [0, 1], "between the two writes the wire was high");
}

/// A driver of which the device takes several requests together sees all answers with one update, and hears of them once.
#[test]
fn a_batch_is_announced_once() {
    for features in [MODERN, MODERN | EVENT_INDEX] {
        let bench = serve(ratified());
        let mut front_end = FrontEnd::connect(&bench.socket, features);
        bench.server.with(|world, _| world.chip_mut(0).unwrap().set_stalled(true)).unwrap();
        let requests = &mut front_end.queues[REQUESTS];
        for head in [0, 2, 4] {
            requests.send(head, &[Buffer::Readable(&[2, 0, 0, 0, 0, 0, 0, 0]), Buffer::Writable(2)]);
        }
        bench.server.with(|world, _| world.chip_mut(0).unwrap().set_stalled(false)).unwrap();
        bench.server.settle().unwrap();
        assert_eq!([0, 2, 4].map(|_| requests.try_used()), [0, 2, 4].map(|head| Some((head, 2))));
        assert_eq!(requests.interrupts(), 1);
    }
}

#[test]
fn a_device_that_polls_need_not_be_told() {
    for features in [MODERN, MODERN | EVENT_INDEX] {
        let bench = serve_with(
            World::new(vec![ratified()]),
            &Options { polling: Polling::For(100 * LONG), ..Options::default() },
        );
        let mut front_end = FrontEnd::connect(&bench.socket, features);
        let requests = &mut front_end.queues[REQUESTS];
        assert_eq!(requests.request([2, 0, 0, 0, 0, 0, 0, 0]), [0, 0]);
        requests.silent = true;
        for _ in 0..100 {
            requests.want_interrupt_after(0);
            assert_eq!(requests.request([2, 0, 0, 0, 0, 0, 0, 0]), [0, 0]);
        }
        assert_eq!(requests.need_not_tell(), features & EVENT_INDEX == 0, "without the event index there is a flag");
    }
}

#[test]
fn a_device_that_rests_asks_to_be_told() {
    let bench = serve_with(
        World::new(vec![ratified()]),
        &Options { polling: Polling::For(Duration::from_micros(1)), ..Options::default() },
    );
    let mut front_end = FrontEnd::connect(&bench.socket, MODERN);
    let requests = &mut front_end.queues[REQUESTS];
    for _ in 0..20 {
        assert_eq!(requests.request([2, 0, 0, 0, 0, 0, 0, 0]), [0, 0]);
        bench.server.settle().unwrap();
    }
    assert!(!requests.need_not_tell());
}

#[test]
fn a_stalled_device_answers_later() {
    let bench = serve(ratified());
    let mut front_end = FrontEnd::connect(&bench.socket, MODERN);
    bench.server.with(|world, _| world.chip_mut(0).unwrap().set_stalled(true)).unwrap();
    let requests = &mut front_end.queues[REQUESTS];
    requests.send(0, &[Buffer::Readable(&[2, 0, 0, 0, 0, 0, 0, 0]), Buffer::Writable(2)]);
    // The device looks at its queues before it runs an errand's successor: after two errands it has seen the kick.
    bench.server.with(|_, _| ()).unwrap();
    bench.server.with(|_, _| ()).unwrap();
    assert_eq!(requests.try_used(), None);
    bench.server.with(|world, _| world.chip_mut(0).unwrap().set_stalled(false)).unwrap();
    assert_eq!(requests.used(), (0, 2));
}

/// Each entry is something that no driver may do; the device must give the chain back if it can, and go on.
#[test]
fn broken_chains_come_back_and_do_no_harm() {
    let bench = serve(ratified());
    let mut front_end = FrontEnd::connect(&bench.socket, MODERN | INTERRUPTS);
    let [requests, events] = &mut front_end.queues;
    let good = [2, 0, 0, 0, 0, 0, 0, 0];

    requests.send(0, &[Buffer::Readable(&good)]);
    assert_eq!(requests.used(), (0, 0), "no room for an answer");
    requests.send(0, &[Buffer::Writable(2)]);
    assert_eq!((requests.used(), requests.read(0)), ((0, 2), [1, 0]), "no request");
    requests.send(0, &[Buffer::Readable(&[0; 200]), Buffer::Writable(2)]);
    assert_eq!((requests.used(), requests.read(1)), ((0, 2), [1, 0]), "a request of 200 bytes");
    requests.send(0, &[Buffer::Readable(&good), Buffer::Writable(1)]);
    assert_eq!((requests.used(), requests.read(1)), ((0, 1), [1]), "room for one byte");

    let buffer = requests.buffer(0);
    requests.set_descriptor(0, buffer, 8, NEXT, 0);
    requests.offer(0);
    assert_eq!(requests.used(), (0, 0), "a chain that bites its tail");
    requests.set_descriptor(0, buffer, 8, NEXT, 9999);
    requests.offer(0);
    assert_eq!(requests.used(), (0, 0), "a next descriptor outside the table");
    requests.set_descriptor(0, 0, 8, NEXT, 1);
    requests.set_descriptor(1, buffer, 2, WRITE, 0);
    requests.offer(0);
    assert_eq!((requests.used(), requests.read(0)), ((0, 2), [1, 0]), "a request outside the memory");
    requests.set_descriptor(0, buffer, 8, NEXT, 1);
    requests.set_descriptor(1, u64::MAX - 1, 2, WRITE, 0);
    requests.offer(0);
    assert_eq!(requests.used(), (0, 0), "room outside the memory");
    requests.set_descriptor(0, buffer, u32::MAX, NEXT, 1);
    requests.set_descriptor(1, buffer, u32::MAX, WRITE, 0);
    requests.offer(0);
    assert_eq!(requests.used().0, 0, "buffers larger than the memory");

    events.send(0, &[Buffer::Readable(&[0xff, 0xff]), Buffer::Writable(1)]);
    assert_eq!((events.used(), events.read(1)), ((0, 1), [0]), "no such line");
    events.send(0, &[Buffer::Readable(&[0, 0])]);
    assert_eq!(events.used(), (0, 0), "no room for the status");

    // There is nothing to give back for a head that does not exist.
    requests.offer(9999);
    assert_eq!(requests.request([2, 0, 0, 0, 0, 0, 0, 0]), [0, 0], "and the device still works");
    assert_eq!(requests.request([2, 0, 0xff, 0xff, 0, 0, 0, 0]), [1, 0]);
}

#[test]
fn a_pause_keeps_the_lines_and_a_new_driver_begins_anew() {
    let bench = serve(ratified());
    let mut front_end = FrontEnd::connect(&bench.socket, MODERN | INTERRUPTS);
    assert_eq!(front_end.queues[REQUESTS].request([3, 0, 2, 0, 2, 0, 0, 0]), [0, 0]);
    assert_eq!(front_end.queues[REQUESTS].request([6, 0, 2, 0, 3, 0, 0, 0]), [0, 0]);
    front_end.queues[EVENTS].send(0, &[Buffer::Readable(&[2, 0]), Buffer::Writable(1)]);
    bench
        .trace
        .wait_for(LONG, |records| {
            records.iter().find(|record| record.activity == Activity::Unmasked(LineId(2))).copied()
        })
        .unwrap();

    let positions = front_end.stop();
    assert_eq!(positions, [2, 1]);
    front_end.start(positions);
    assert_eq!(front_end.queues[REQUESTS].request([2, 0, 2, 0, 0, 0, 0, 0]), [0, 2], "after a pause");
    bench.server.with(|world, now| world.drive(now, line(2), Some(Level::High)).unwrap()).unwrap();
    assert_eq!(front_end.queues[EVENTS].used(), (0, 1), "the pair of before the pause");

    front_end.stop();
    front_end.forget();
    front_end.start([0, 0]);
    assert_eq!(front_end.queues[REQUESTS].request([2, 0, 2, 0, 0, 0, 0, 0]), [0, 0], "a new driver");
}

#[test]
fn what_is_sent_before_the_queues_are_enabled_is_not_lost() {
    let bench = serve(ratified());
    let mut front_end = FrontEnd::connect(&bench.socket, MODERN);
    let positions = front_end.stop();
    front_end.queues[REQUESTS].send(0, &[Buffer::Readable(&[2, 0, 0, 0, 0, 0, 0, 0]), Buffer::Writable(2)]);
    front_end.start(positions);
    assert_eq!(front_end.queues[REQUESTS].used(), (0, 2));
}

#[test]
fn event_index_holds_with_wrapping_counters() {
    let bench = serve(ratified());
    let mut front_end = FrontEnd::connect(&bench.socket, MODERN | EVENT_INDEX);
    front_end.jump_to(u16::MAX - 20);
    let requests = &mut front_end.queues[REQUESTS];
    for round in 0..60 {
        requests.want_interrupt_after(0);
        let answer = requests.request([5, 0, 0, 0, round % 2, 0, 0, 0]);
        assert_eq!(answer, [0, 0], "round {round}");
    }
    for round in 0..20 {
        // Two chains, and an interrupt for the second only.
        requests.want_interrupt_after(1);
        requests.send(0, &[Buffer::Readable(&[2, 0, 0, 0, 0, 0, 0, 0]), Buffer::Writable(2)]);
        requests.send(2, &[Buffer::Readable(&[2, 0, 1, 0, 0, 0, 0, 0]), Buffer::Writable(2)]);
        assert_eq!([requests.used(), requests.used()], [(0, 2), (2, 2)], "round {round}");
    }
}

#[test]
fn draft_replies_wait_for_a_receive_buffer() {
    let bench = serve(drafted());
    let mut front_end = FrontEnd::connect(&bench.socket, MODERN);
    assert_eq!(front_end.config(0, 8), [1, 0, 4, 0, 9, 0, 0, 0]);
    assert_eq!(front_end.config(0x40, 9), *b"led\0\0in\0\0");
    let message = [3, 0, 0, 0, 1, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0];
    front_end.queues[TRANSMIT].send(0, &[Buffer::Readable(&message)]);
    assert_eq!(front_end.queues[TRANSMIT].used(), (0, 0));
    let receive = &mut front_end.queues[RECEIVE];
    receive.send(2, &[Buffer::Writable(8)]);
    receive.send(3, &[Buffer::Writable(300)]);
    receive.send(4, &[Buffer::Writable(8)]);
    assert_eq!(receive.used(), (2, 8));
    assert_eq!(receive.used(), (3, 8));
    assert_eq!(receive.read(2), [3, 0x80, 0, 0, 0, 0, 0, 0]);
    assert_eq!(receive.read(3), [5, 0x80, 0, 0, 1, 0, 0, 0]);
    bench.server.with(|world, now| world.drive(now, line(2), Some(Level::High)).unwrap()).unwrap();
    assert_eq!(receive.used(), (4, 8));
    assert_eq!(receive.read(4), [0x11, 0, 2, 0, 1, 0, 0, 0], "a level without a question");
    bench.server.settle().unwrap();
    assert!(!receive.need_not_tell(), "the next buffer may be waited for");
}

#[test]
fn draft_in_its_original_form_loses_what_has_no_buffer() {
    let options = draft::Options { lose_without_buffer: true, ..draft::Options::default() };
    let bench = serve(Chip::draft(names(&["", ""]), options).unwrap());
    let mut front_end = FrontEnd::connect(&bench.socket, MODERN);
    front_end.queues[TRANSMIT].send(0, &[Buffer::Readable(&[3, 0, 0, 0, 1, 0, 0, 0])]);
    assert_eq!(front_end.queues[TRANSMIT].used(), (0, 0));
    bench
        .trace
        .wait_for(LONG, |records| records.iter().find(|record| matches!(record.activity, Activity::Lost(_))).copied())
        .unwrap();
    front_end.queues[RECEIVE].send(2, &[Buffer::Writable(8)]);
    front_end.queues[TRANSMIT].send(0, &[Buffer::Readable(&[5, 0, 0, 0, 0, 0, 0, 0])]);
    assert_eq!(front_end.queues[RECEIVE].used(), (2, 8));
    assert_eq!(
        front_end.queues[RECEIVE].read(2),
        [5, 0x80, 0, 0, 1, 0, 0, 0],
        "the first one was executed all the same"
    );
}

#[test]
fn server_ends_with_its_front_end_and_removes_its_socket() {
    let bench = serve(ratified());
    assert!(!bench.server.was_connected());
    let front_end = FrontEnd::connect(&bench.socket, MODERN);
    assert!(bench.server.was_connected());
    drop(front_end);
    bench.server.wait();
    assert!(!bench.socket.exists());
}

#[test]
fn persistent_server_serves_again() {
    let bench = serve_world(World::new(vec![ratified()]), true);
    for _ in 0..2 {
        let mut front_end = FrontEnd::connect(&bench.socket, MODERN);
        assert_eq!(front_end.queues[REQUESTS].request([2, 0, 0, 0, 0, 0, 0, 0]), [0, 0]);
        assert_eq!(front_end.queues[REQUESTS].request([3, 0, 0, 0, 2, 0, 0, 0]), [0, 0]);
    }
    bench.server.stop();
    assert!(!bench.socket.exists());
}

#[test]
fn socket_in_use_is_refused_and_a_stale_one_replaced() {
    let bench = serve(ratified());
    let options = Options { sockets: vec![bench.socket.clone()], ..Options::default() };
    let error = server::start(World::new(vec![ratified()]), &options).unwrap_err().to_string();
    assert!(error.contains("in use"), "{error}");
    let stale = bench.socket.with_file_name("stale");
    drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
    let options = Options { sockets: vec![stale.clone()], ..Options::default() };
    server::start(World::new(vec![ratified()]), &options).unwrap().stop();
    assert!(!stale.exists());
}

#[test]
fn world_goes_on_by_itself() {
    let mut world = World::new(vec![ratified()]);
    let button = vgpio::world::Button {
        place: line(2),
        first: Duration::from_millis(1),
        pressed: Duration::from_millis(1),
        released: Duration::from_millis(1),
        bounce: None,
    };
    world.button(button).unwrap();
    let bench = serve_world(world, false);
    bench
        .trace
        .wait_for(LONG, |records| {
            let edges = records.iter().filter_map(|record| match record.activity {
                Activity::Changed(change) => change.new_level(),
                _ => None,
            });
            let edges: Vec<_> = edges.take(4).collect();
            (edges.len() == 4).then_some(edges)
        })
        .map(|edges| assert_eq!(edges, [Level::High, Level::Low, Level::High, Level::Low]))
        .unwrap();
}

#[test]
fn last_lines_of_a_guest_are_recorded_when_its_front_end_has_gone() {
    let mut world = World::new(vec![ratified()]);
    let log = Log::default();
    world.watch(log.clone());
    let bench = serve_world(world, false);
    let mut console = bench.server.console();
    drop(FrontEnd::connect(&bench.socket, MODERN));
    for number in 0..1000 {
        console(&number.to_string());
    }
    drop(console);
    bench.server.wait();
    assert_eq!(log.console().len(), 1000);
}
