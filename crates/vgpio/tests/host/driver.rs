//! The requests of both protocols, as bytes.

use crate::front_end::{Buffer, DriverQueue, FrontEnd};

/// `VIRTIO_GPIO_F_IRQ`.
pub(crate) const INTERRUPTS: u64 = 1;

/// Answers of the ratified protocol.
pub(crate) const OK: [u8; 2] = [0, 0];
pub(crate) const REFUSED: [u8; 2] = [1, 0];
/// Directions.
pub(crate) const NONE: u8 = 0;
pub(crate) const OUTPUT: u8 = 1;
pub(crate) const INPUT: u8 = 2;
/// Interrupt types.
pub(crate) const FALLING: u8 = 2;
pub(crate) const BOTH: u8 = 3;
pub(crate) const HIGH_LEVEL: u8 = 4;

pub(crate) fn get_direction(queue: &mut DriverQueue, line: u8) -> [u8; 2] {
    queue.request([2, 0, line, 0, 0, 0, 0, 0])
}

pub(crate) fn direction(queue: &mut DriverQueue, line: u8, direction: u8) -> [u8; 2] {
    queue.request([3, 0, line, 0, direction, 0, 0, 0])
}

pub(crate) fn get(queue: &mut DriverQueue, line: u8) -> [u8; 2] {
    queue.request([4, 0, line, 0, 0, 0, 0, 0])
}

pub(crate) fn set(queue: &mut DriverQueue, line: u8, level: u8) -> [u8; 2] {
    queue.request([5, 0, line, 0, level, 0, 0, 0])
}

pub(crate) fn interrupt_type(queue: &mut DriverQueue, line: u8, kind: u8) -> [u8; 2] {
    queue.request([6, 0, line, 0, kind, 0, 0, 0])
}

/// Makes a line an output of that level.
pub(crate) fn output(queue: &mut DriverQueue, line: u8, level: u8) {
    assert_eq!(set(queue, line, level), OK);
    assert_eq!(direction(queue, line, OUTPUT), OK);
}

/// Makes a line an input that interrupts.
pub(crate) fn listen(queue: &mut DriverQueue, line: u8, kind: u8) {
    assert_eq!(direction(queue, line, INPUT), OK);
    assert_eq!(interrupt_type(queue, line, kind), OK);
}

/// Asks for the next interrupt of a line.
pub(crate) fn unmask(events: &mut DriverQueue, line: u8) {
    events.send(0, &[Buffer::Readable(&[line, 0]), Buffer::Writable(1)]);
}

/// Waits for it; false when the buffer came back without one.
pub(crate) fn interrupt(events: &mut DriverQueue) -> bool {
    assert_eq!(events.used(), (0, 1));
    let [status] = events.read(1);
    status == 1
}

/// Types of the draft's messages.
pub(crate) const CLAIM: u8 = 1;
pub(crate) const TO_INPUT: u8 = 2;
pub(crate) const TO_OUTPUT: u8 = 3;
pub(crate) const GET: u8 = 5;

/// Sends a message of the draft; gives the reply's value.
pub(crate) fn message(front_end: &mut FrontEnd, kind: u8, line: u8, value: u8) -> i32 {
    let [receive, transmit] = &mut front_end.queues;
    receive.send(0, &[Buffer::Writable(8)]);
    transmit.send(0, &[Buffer::Readable(&[kind, 0, line, 0, value, 0, 0, 0])]);
    assert_eq!(receive.used(), (0, 8));
    assert_eq!(transmit.used(), (0, 0));
    let [_, _, _, _, value @ ..] = receive.read::<8>(0);
    i32::from_le_bytes(value)
}

/// Waits for a level that the draft's device tells by itself: the line, and the level.
pub(crate) fn told(front_end: &mut FrontEnd) -> (u8, u8) {
    let receive = &mut front_end.queues[0];
    receive.send(0, &[Buffer::Writable(8)]);
    assert_eq!(receive.used(), (0, 8));
    let [kind, 0, line, 0, level, 0, 0, 0] = receive.read::<8>(0) else { panic!("no message of the draft") };
    assert_eq!(kind, 0x11, "HOST_LEVEL");
    (line, level)
}
