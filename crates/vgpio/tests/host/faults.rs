//! The faults that a device can be given, each with what a healthy device does behind it.
use crate::driver::INTERRUPTS;
use crate::front_end::{Buffer, DriverQueue, FrontEnd, MODERN};
use crate::server::{Bench, EVENTS, RECEIVE, REQUESTS, TRANSMIT, drafted, ratified, serve};
use vgpio::chip::{Chip, WrongProtocol};
use vgpio::fault::{AnswerFault, QueueFault};
use vgpio::request::{Kind, Requests};
use virtio_gpio::messages::draft::{HOST_LEVEL, Message};
use virtio_gpio::messages::{Level, LineId};

/// `SET_VALUE` of line 0 and of line 1 to high.
const SET_0: [u8; 8] = [5, 0, 0, 0, 1, 0, 0, 0];
const SET_1: [u8; 8] = [5, 0, 1, 0, 1, 0, 0, 0];
/// `GET_DIRECTION` of line 0.
const GET: [u8; 8] = [2, 0, 0, 0, 0, 0, 0, 0];

fn with_chip<T: Send + 'static>(bench: &Bench, change: impl FnOnce(&mut Chip) -> T + Send + 'static) -> T {
    bench.server.with(|world, _| change(world.chip_mut(0).unwrap())).unwrap()
}

const SETS: Requests = Requests::of_kind(Kind::SetValue(None));

/// A bench whose device spoils its first answer to `SET_VALUE`.
fn spoiled(fault: AnswerFault) -> (Bench, FrontEnd) {
    let mut chip = ratified();
    chip.spoil_answers(fault, 1, SETS).unwrap();
    let bench = serve(chip);
    let front_end = FrontEnd::connect(&bench.socket, MODERN | INTERRUPTS);
    (bench, front_end)
}

fn send(queue: &mut DriverQueue, request: [u8; 8]) -> (u32, u32) {
    queue.send(0, &[Buffer::Readable(&request), Buffer::Writable(2)]);
    queue.used()
}

#[test]
fn answers_are_spoiled_as_often_as_asked_for_and_only_those() {
    for (fault, answer) in [(AnswerFault::Status(2), [2, 0]), (AnswerFault::Value(7), [0, 7])] {
        let (_bench, mut front_end) = spoiled(fault);
        let requests = &mut front_end.queues[REQUESTS];
        assert_eq!(requests.request(GET), [0, 0]);
        assert_eq!(requests.request(SET_0), answer, "{fault:?}");
        assert_eq!(requests.request(SET_0), [0, 0]);
    }
}

#[test]
fn used_elements_are_spoiled_and_the_next_is_not() {
    for (fault, used) in [
        (AnswerFault::Length(u32::MAX), (0, u32::MAX)),
        (AnswerFault::Id(5000), (5000, 2)),
        (AnswerFault::IdPlus(0x1_0000), (0x1_0000, 2)),
    ] {
        let (_bench, mut front_end) = spoiled(fault);
        let requests = &mut front_end.queues[REQUESTS];
        assert_eq!(send(requests, SET_0), used, "{fault:?}");
        assert_eq!(requests.request(GET), [0, 0], "{fault:?}");
    }
}

#[test]
fn a_chain_is_returned_twice() {
    let (_bench, mut front_end) = spoiled(AnswerFault::Twice);
    let requests = &mut front_end.queues[REQUESTS];
    assert_eq!(send(requests, SET_0), (0, 2));
    assert_eq!(requests.used(), (0, 2));
    assert_eq!(requests.request(GET), [0, 0]);
}

#[test]
fn an_interrupt_is_lost_and_the_answer_is_there() {
    let (bench, mut front_end) = spoiled(AnswerFault::Silent);
    let requests = &mut front_end.queues[REQUESTS];
    requests.send(0, &[Buffer::Readable(&SET_0), Buffer::Writable(2)]);
    while requests.try_used().is_none() {
        with_chip(&bench, |_| ());
    }
    // Behind one more errand the device has looked whether it has to interrupt.
    with_chip(&bench, |_| ());
    assert!(!requests.is_interrupted());
    requests.send(0, &[Buffer::Readable(&GET), Buffer::Writable(2)]);
    assert!(requests.wait_for_interrupt());
}

#[test]
fn a_mute_line_is_answered_late_and_the_others_at_once() {
    let bench = serve(ratified());
    let mut front_end = FrontEnd::connect(&bench.socket, MODERN);
    with_chip(&bench, |chip| chip.set_mute(LineId(1), true));
    let requests = &mut front_end.queues[REQUESTS];
    requests.send(0, &[Buffer::Readable(&SET_1), Buffer::Writable(2)]);
    requests.send(2, &[Buffer::Readable(&SET_0), Buffer::Writable(2)]);
    assert_eq!(requests.used(), (2, 2));
    with_chip(&bench, |chip| chip.set_mute(LineId(1), false));
    assert_eq!(requests.used(), (0, 2));
    let latch = with_chip(&bench, |chip| chip.bank().line(LineId(1)).unwrap().latch);
    assert_eq!(latch, Some(Level::High), "the request was carried out");
}

#[test]
fn event_buffers_come_back_at_once() {
    let bench = serve(ratified());
    let mut front_end = FrontEnd::connect(&bench.socket, MODERN | INTERRUPTS);
    with_chip(&bench, |chip| chip.return_events(1)).unwrap();
    assert_eq!(front_end.queues[REQUESTS].request([6, 0, 2, 0, 1, 0, 0, 0]), [0, 0]);
    let events = &mut front_end.queues[EVENTS];
    events.send(0, &[Buffer::Readable(&[2, 0]), Buffer::Writable(1)]);
    assert_eq!(events.used(), (0, 1));
    assert_eq!(events.read(1), [0], "no interrupt");
    events.send(0, &[Buffer::Readable(&[2, 0]), Buffer::Writable(1)]);
    with_chip(&bench, |_| ());
    let line = vgpio::world::Place { chip: 0, line: LineId(2) };
    bench.server.with(move |world, now| world.drive(now, line, Some(Level::High)).unwrap()).unwrap();
    assert_eq!(events.used(), (0, 1));
    assert_eq!(events.read(1), [1], "an interrupt");
}

#[test]
fn queues_are_spoiled_on_their_own() {
    let bench = serve(ratified());
    let mut front_end = FrontEnd::connect(&bench.socket, MODERN | INTERRUPTS);
    with_chip(&bench, |chip| chip.spoil_queue(EVENTS, QueueFault::Interrupt));
    assert!(front_end.queues[EVENTS].wait_for_interrupt());
    assert_eq!(front_end.queues[EVENTS].try_used(), None);
    with_chip(&bench, |chip| chip.spoil_queue(EVENTS, QueueFault::Jump(2)));
    assert!(front_end.queues[EVENTS].wait_for_interrupt());
    assert!(front_end.queues[EVENTS].try_used().is_some());
    assert!(front_end.queues[EVENTS].try_used().is_some());
    assert_eq!(front_end.queues[EVENTS].try_used(), None);
}

#[test]
fn an_element_names_any_chain() {
    let bench = serve(ratified());
    let mut front_end = FrontEnd::connect(&bench.socket, MODERN | INTERRUPTS);
    with_chip(&bench, |chip| chip.spoil_queue(EVENTS, QueueFault::Element(77)));
    assert_eq!(front_end.queues[EVENTS].used(), (77, 1));
}

#[test]
fn a_status_is_rewritten_after_the_chain_was_returned() {
    let (bench, mut front_end) = spoiled(AnswerFault::Rewritten(9));
    let requests = &mut front_end.queues[REQUESTS];
    send(requests, SET_0);
    // Behind one more errand the device has done all that it had to do.
    with_chip(&bench, |_| ());
    assert_eq!(requests.read(1), [9, 0]);
}

#[test]
fn a_queue_that_was_scribbled_on_works_with_what_comes_after() {
    let bench = serve(ratified());
    let mut front_end = FrontEnd::connect(&bench.socket, MODERN);
    let requests = &mut front_end.queues[REQUESTS];
    assert_eq!(requests.request(SET_0), [0, 0]);
    with_chip(&bench, |chip| chip.spoil_queue(REQUESTS, QueueFault::Scribble));
    with_chip(&bench, |_| ());
    assert_eq!(front_end.queues[REQUESTS].request(GET), [0, 0]);
}

#[test]
fn a_draft_device_sends_what_it_is_told_to() {
    let bench = serve(drafted());
    let mut front_end = FrontEnd::connect(&bench.socket, MODERN);
    front_end.queues[RECEIVE].send(0, &[Buffer::Writable(8)]);
    let message = Message { kind: HOST_LEVEL, line: LineId(0xffff), value: 1 };
    with_chip(&bench, move |chip| chip.send(message)).unwrap();
    assert_eq!(front_end.queues[RECEIVE].used(), (0, 8));
    assert_eq!(front_end.queues[RECEIVE].read(0), [0x11, 0, 0xff, 0xff, 1, 0, 0, 0]);
    with_chip(&bench, |chip| chip.set_mute(LineId(0), true));
    front_end.queues[RECEIVE].send(0, &[Buffer::Writable(8)]);
    front_end.queues[TRANSMIT].send(0, &[Buffer::Readable(&[1, 0, 0, 0, 0, 0, 0, 0])]);
    front_end.queues[TRANSMIT].used();
    front_end.queues[TRANSMIT].send(0, &[Buffer::Readable(&[1, 0, 1, 0, 0, 0, 0, 0])]);
    assert_eq!(front_end.queues[RECEIVE].used(), (0, 8));
    assert_eq!(front_end.queues[RECEIVE].read(0), [1, 0x80, 1, 0, 0, 0, 0, 0], "line 1 is the first to be answered");
}

#[test]
fn each_protocol_has_its_own_faults() {
    let message = Message { kind: HOST_LEVEL, line: LineId(0), value: 1 };
    assert_eq!(ratified().send(message), Err(WrongProtocol));
    assert_eq!(drafted().return_events(1), Err(WrongProtocol));
    assert_eq!(drafted().spoil_answers(AnswerFault::Twice, 1, SETS), Err(WrongProtocol));
}
