//! The device model of both protocols against a driver that sends anything: answers keep their form and say what the
//! lines are, and every buffer comes back at most once.

use std::collections::BTreeSet;

use arbitrary::{Arbitrary, Unstructured};
use gpio_model::bank::Bank;
use gpio_model::names::Names;
use gpio_model::{Token, draft, ratified};
use virtio_gpio::messages::draft::{HOST_LEVEL, Marking, Message};
use virtio_gpio::messages::ratified::Request;
use virtio_gpio::messages::{Direction, Level, LineId};

/// The bytes of one message: near to what makes sense, or any.
#[derive(Debug, Arbitrary)]
enum Bytes<'a> {
    Sense { kind: u8, line: u8, value: u8 },
    Any(&'a [u8]),
}

impl Bytes<'_> {
    fn get(&self) -> Vec<u8> {
        match self {
            Self::Sense { kind, line, value } => vec![kind % 8, 0, line % 12, 0, value % 10, 0, 0, 0],
            Self::Any(bytes) => bytes.to_vec(),
        }
    }
}

#[derive(Debug, Arbitrary)]
enum Step<'a> {
    Message { bytes: Bytes<'a>, room: u8 },
    Event { token: u8, line: u16, length: u8, room: u8 },
    Drive { line: u8, drive: Option<bool> },
    Send { kind: u16, line: u16, value: i32 },
    Mute { line: u8, mute: bool },
    NoBuffer,
    Reset { features: u64 },
}

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    draft: bool,
    lines: u8,
    names: &'a [u8],
    switches: u8,
    config_size: u16,
    marking: u8,
    steps: Vec<Step<'a>>,
}

/// Lets the driver do its steps.
pub fn run(data: &[u8]) {
    let Ok(input) = Input::arbitrary_take_rest(Unstructured::new(data)) else { return };
    if input.draft { with_draft(&input) } else { with_ratified(&input) }
}

fn switch(input: &Input<'_>, number: u8) -> bool {
    input.switches >> number & 1 != 0
}

fn with_ratified(input: &Input<'_>) {
    let quirks = ratified::Quirks {
        output_needs_value: switch(input, 0),
        same_type_is_error: switch(input, 1),
        needs_direction: switch(input, 2),
        edges_only: switch(input, 3),
    };
    let names = Names::from_raw(input.names.to_vec());
    let lines = u16::from(input.lines % 12);
    let options = ratified::Options { names, interrupts: !switch(input, 4), quirks };
    let mut device = ratified::Device::new(Bank::new(lines), options);
    device.set_features(1);
    let mut lent = BTreeSet::new();
    for step in &input.steps {
        match step {
            Step::Message { bytes, room } => request(&mut device, input, &bytes.get(), (*room).into()),
            Step::Event { token, line, length, room } => {
                let line = line.to_le_bytes();
                if lent.insert(u16::from(*token)) {
                    let readable = [line[0], line[1], 0];
                    let readable = &readable[..usize::from(*length).min(3)];
                    device.queue_event(Token((*token).into()), readable, (*room).into());
                }
            }
            Step::Drive { line, drive } => {
                let known = device.drive(LineId((*line).into()), drive.map(Level::from)).is_ok();
                assert_eq!(known, u16::from(*line) < lines);
            }
            Step::Reset { features } => {
                device.reset();
                device.set_features(*features);
                lent.clear();
            }
            Step::Send { .. } | Step::Mute { .. } | Step::NoBuffer => (),
        }
        while let Some((Token(token), _)) = device.pop_event() {
            assert!(lent.remove(&token), "chain {token} came back, and was not lent");
        }
        assert!(lent.len() <= lines.into(), "{lent:?} are kept, for {lines} lines");
    }
}

/// One request, and what its answer must be.
fn request(device: &mut ratified::Device, input: &Input<'_>, readable: &[u8], room: usize) {
    const UNTOUCHED: u8 = 0xaa;
    let mut response = vec![UNTOUCHED; room];
    let written = device.request(readable, &mut response);
    assert!(written <= room);
    assert!(response[written..].iter().all(|byte| *byte == UNTOUCHED), "more was written than is said");
    let request = <[u8; 8]>::try_from(readable).ok().and_then(|bytes| Request::decode(bytes).ok());
    let accepted = response.first() == Some(&0);
    assert!(written == 0 || response[0] <= 1);
    if request == Some(Request::LineNames) && accepted {
        assert_eq!(&response[1..written], input.names);
        return;
    }
    assert_eq!(written, room.min(2));
    let Some(request) = request.filter(|_| accepted && written == 2) else { return };
    let line = *device.bank().line(request.line().unwrap_or(LineId(0))).expect("an accepted request is for a line");
    match request {
        Request::LineNames => (),
        Request::GetDirection(_) => assert_eq!(response[1], direction_code(line.direction)),
        Request::GetValue(_) => assert_eq!(response[1], line.level().bit()),
        Request::SetDirection(_, direction) => assert_eq!(line.direction, direction),
        Request::SetValue(_, level) => assert_eq!(line.latch, Some(level)),
        Request::SetInterruptType(id, kind) => assert_eq!(device.interrupt_type(id), Ok(kind)),
    }
}

fn direction_code(direction: Direction) -> u8 {
    match direction {
        Direction::None => 0,
        Direction::Output => 1,
        Direction::Input => 2,
    }
}

fn with_draft(input: &Input<'_>) {
    let lines = u16::from(input.lines % 12);
    let options = draft::Options {
        names: Names::from_raw(input.names.to_vec()),
        config_size: input.config_size.into(),
        marking: Marking::ALL[usize::from(input.marking) % 4],
        accept_value_on_input: switch(input, 0),
        lose_without_buffer: switch(input, 1),
        ..draft::Options::default()
    };
    let marking = options.marking;
    let mut device = draft::Device::new(Bank::new(lines), options);
    assert!(device.config_space().len() >= 8);
    device.set_driver_ready(true);
    let mut mute = BTreeSet::new();
    for step in &input.steps {
        match step {
            Step::Message { bytes, room } => {
                // Some messages in one chain, and bytes behind the last.
                let bytes = bytes.get().repeat(usize::from(room % 4));
                device.transmit(&bytes);
                if room & 0x80 == 0 {
                    answers(&mut device, &bytes, marking, &mute);
                }
            }
            Step::Drive { line, drive } => {
                let known = device.drive(LineId((*line).into()), drive.map(Level::from)).is_ok();
                assert_eq!(known, u16::from(*line) < lines);
            }
            Step::Send { kind, line, value } => {
                device.send(Message { kind: *kind, line: LineId(*line), value: *value });
            }
            Step::Mute { line, mute: on } => {
                device.set_mute(LineId((*line).into()), *on);
                if *on {
                    mute.insert(u16::from(*line))
                } else {
                    mute.remove(&u16::from(*line))
                };
            }
            Step::NoBuffer => device.no_receive_buffer(),
            Step::Reset { features } => {
                device.reset();
                assert_eq!(device.next_message(), None);
                device.set_driver_ready(features & 1 == 0);
            }
            Step::Event { .. } => (),
        }
    }
    let waiting = std::iter::from_fn(|| {
        let message = device.next_message()?;
        device.message_sent();
        Some(message)
    });
    assert!(waiting.count() <= draft::WAITING_LIMIT);
}

/// Takes what waits. The last replies are those to the messages, in their order, unless there was no room for them.
fn answers(device: &mut draft::Device, bytes: &[u8], marking: Marking, mute: &BTreeSet<u16>) {
    let mut replies = Vec::new();
    while let Some(message) = device.next_message() {
        replies.push((message.kind, message.line));
        device.message_sent();
    }
    if replies.len() >= draft::WAITING_LIMIT {
        return;
    }
    let expected = bytes.as_chunks::<8>().0.iter().map(|bytes| Message::decode(*bytes));
    let expected = expected.filter(|message| !mute.contains(&message.line.0));
    let mut found = replies.iter().rev();
    for message in expected.collect::<Vec<_>>().into_iter().rev() {
        let reply = (marking.apply(message.kind), message.line);
        // Levels may be told of in between.
        let next = found.by_ref().find(|found| **found == reply || found.0 != HOST_LEVEL);
        assert_eq!(next, Some(&reply), "the reply to {message:?}");
    }
}
