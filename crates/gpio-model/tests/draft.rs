//! The draft's device against the draft's text. Bytes are typed from its tables.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use gpio_model::bank::Bank;
use gpio_model::draft::{Device, EBUSY, Options, Refusal, WAITING_LIMIT};
use gpio_model::names::Names;
use gpio_model::observe::Activity;
use virtio_gpio::messages::draft::{Marking, Message, RequestType};
use virtio_gpio::messages::{Level, LineId};

/// -22 and -16 as le32.
const EINVAL_BYTES: [u8; 4] = [0xea, 0xff, 0xff, 0xff];
const EBUSY_BYTES: [u8; 4] = [0xf0, 0xff, 0xff, 0xff];

fn device_with(options: Options) -> Device {
    let mut device = Device::new(Bank::new(4), options);
    device.set_driver_ready(true);
    device
}

fn device() -> Device {
    device_with(Options::default())
}

fn receive(device: &mut Device) -> Option<[u8; 8]> {
    let message = device.next_message()?;
    device.message_sent();
    Some(message.encode())
}

/// Sends `type, line, value` and returns the value of the reply, whose type and line are checked.
fn send(device: &mut Device, kind: u8, line: u8, value: u8) -> [u8; 4] {
    device.transmit(&[kind, 0, line, 0, value, 0, 0, 0]);
    let reply = receive(device).unwrap();
    assert_eq!(reply[..4], [kind, 0x80, line, 0]);
    reply[4..].try_into().unwrap()
}

#[test]
fn each_request_has_its_reply() {
    let mut device = device();
    assert_eq!(send(&mut device, 1, 2, 0), [0, 0, 0, 0], "REQUEST");
    assert_eq!(send(&mut device, 4, 2, 0), [1, 0, 0, 0], "GET_DIRECTION: input at first");
    assert_eq!(send(&mut device, 3, 2, 1), [0, 0, 0, 0], "DIRECTION_OUTPUT, high");
    assert_eq!(send(&mut device, 4, 2, 0), [0, 0, 0, 0], "GET_DIRECTION: output");
    assert_eq!(send(&mut device, 5, 2, 0), [1, 0, 0, 0], "GET_VALUE");
    assert_eq!(send(&mut device, 6, 2, 0), [0, 0, 0, 0], "SET_VALUE: the new level");
    assert_eq!(send(&mut device, 6, 2, 1), [1, 0, 0, 0], "SET_VALUE: the new level");
    device.drive(LineId(3), Some(Level::High)).unwrap();
    assert_eq!(receive(&mut device), Some([0x11, 0, 3, 0, 1, 0, 0, 0]));
    assert_eq!(send(&mut device, 2, 3, 0), [0, 0, 0, 0], "DIRECTION_INPUT");
    assert_eq!(send(&mut device, 5, 3, 0), [1, 0, 0, 0], "GET_VALUE");
    assert_eq!(receive(&mut device), None);
}

#[test]
fn nonsense_is_answered_with_einval() {
    let mut device = device();
    assert_eq!(send(&mut device, 0, 0, 0), EINVAL_BYTES, "no such type");
    assert_eq!(send(&mut device, 7, 0, 0), EINVAL_BYTES, "no such type");
    assert_eq!(send(&mut device, 0x11, 0, 1), EINVAL_BYTES, "HOST_LEVEL is not for drivers");
    assert_eq!(send(&mut device, 1, 4, 0), EINVAL_BYTES, "no such line");
    assert_eq!(send(&mut device, 3, 0, 2), EINVAL_BYTES, "no such level");
    assert_eq!(send(&mut device, 6, 0, 1), EINVAL_BYTES, "not an output");
    assert_eq!(send(&mut device, 3, 0, 0), [0; 4]);
    assert_eq!(send(&mut device, 6, 0, 2), EINVAL_BYTES, "no such level");
    assert_eq!(send(&mut device, 5, 0, 0), [0; 4], "and nothing changed");
    device.transmit(&[5, 0, 0xff, 0xff, 0, 0, 0, 0]);
    assert_eq!(receive(&mut device), Some([5, 0x80, 0xff, 0xff, 0xea, 0xff, 0xff, 0xff]));
}

#[test]
fn chosen_requests_are_refused_with_the_chosen_error() {
    let refusals = vec![
        Refusal { request: RequestType::Request, line: Some(LineId(1)), error: EBUSY },
        Refusal { request: RequestType::GetValue, line: None, error: 5 },
    ];
    let mut device = device_with(Options { refusals, ..Options::default() });
    assert_eq!(send(&mut device, 1, 1, 0), EBUSY_BYTES);
    assert_eq!(send(&mut device, 1, 0, 0), [0; 4]);
    assert_eq!(send(&mut device, 5, 0, 0), [0xfb, 0xff, 0xff, 0xff]);
}

#[test]
fn value_on_input_can_be_allowed_and_is_remembered() {
    let mut device = device_with(Options { accept_value_on_input: true, ..Options::default() });
    assert_eq!(send(&mut device, 6, 0, 1), [1, 0, 0, 0]);
    assert_eq!(send(&mut device, 5, 0, 0), [0, 0, 0, 0], "the line is no output");
}

#[test]
fn replies_are_marked_as_chosen() {
    let replies = |marking, kind| {
        let mut device = device_with(Options { marking, ..Options::default() });
        device.transmit(&[kind, 0, 0, 0, 0, 0, 0, 0]);
        let reply = receive(&mut device).unwrap();
        [reply[0], reply[1]]
    };
    assert_eq!([1, 2, 5].map(|kind| replies(Marking::HighBit, kind)), [[1, 0x80], [2, 0x80], [5, 0x80]]);
    assert_eq!([1, 2, 5].map(|kind| replies(Marking::HighNibble, kind)), [[1, 0xf0], [2, 0xf0], [5, 0xf0]]);
    assert_eq!([1, 2, 5].map(|kind| replies(Marking::HostLevel, kind)), [[0x11, 0], [0x13, 0], [0x15, 0]]);
    assert_eq!([1, 2, 5].map(|kind| replies(Marking::Echo, kind)), [[1, 0], [2, 0], [5, 0]]);
}

#[test]
fn several_messages_in_a_buffer_are_answered_one_by_one() {
    let mut device = device();
    device.transmit(&[3, 0, 0, 0, 1, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0]);
    assert_eq!(receive(&mut device), Some([3, 0x80, 0, 0, 0, 0, 0, 0]));
    assert_eq!(receive(&mut device), Some([5, 0x80, 0, 0, 1, 0, 0, 0]));
    assert_eq!(receive(&mut device), None, "three bytes are no message");
    device.transmit(&[]);
    assert_eq!(receive(&mut device), None);
}

#[test]
fn levels_are_told_for_all_lines_but_outputs() {
    let mut device = device();
    device.drive(LineId(0), Some(Level::High)).unwrap();
    device.drive(LineId(0), Some(Level::High)).unwrap();
    device.drive(LineId(0), Some(Level::Low)).unwrap();
    assert_eq!(receive(&mut device), Some([0x11, 0, 0, 0, 1, 0, 0, 0]));
    assert_eq!(receive(&mut device), Some([0x11, 0, 0, 0, 0, 0, 0, 0]));
    assert_eq!(receive(&mut device), None, "a level that stays is not told");
    assert_eq!(send(&mut device, 3, 0, 1), [0; 4]);
    device.drive(LineId(0), Some(Level::High)).unwrap();
    assert_eq!(receive(&mut device), None, "outputs are the driver's own");
}

#[test]
fn levels_are_told_only_to_a_driver_that_is_there() {
    let mut device = Device::new(Bank::new(4), Options::default());
    device.drive(LineId(0), Some(Level::High)).unwrap();
    assert_eq!(receive(&mut device), None);
    device.set_driver_ready(true);
    device.drive(LineId(0), Some(Level::Low)).unwrap();
    assert_eq!(receive(&mut device), Some([0x11, 0, 0, 0, 0, 0, 0, 0]));
}

#[test]
fn configuration_has_the_layout_of_the_draft() {
    let names = Names::new(&["led0", "", "b", ""]).unwrap();
    let device = device_with(Options { device_name: "panel".into(), names, ..Options::default() });
    let mut expected = [0; 256];
    expected[..8].copy_from_slice(&[1, 0, 4, 0, 9, 0, 0, 0]);
    expected[0x20..0x25].copy_from_slice(b"panel");
    expected[0x40..0x49].copy_from_slice(b"led0\0\0b\0\0");
    assert_eq!(device.config_space(), expected);
}

#[test]
fn configuration_is_cut_to_its_size() {
    let names = Names::new(&["led0", "", "b", ""]).unwrap();
    let with_size = |config_size| {
        let options = Options { device_name: "panel".into(), names: names.clone(), config_size, ..Options::default() };
        device_with(options).config_space().to_vec()
    };
    assert_eq!(with_size(8), [1, 0, 4, 0, 0, 0, 0, 0], "no room for names: none are announced");
    assert_eq!(with_size(0), with_size(8));
    let short = with_size(0x40 + 7);
    assert_eq!(short[..8], [1, 0, 4, 0, 6, 0, 0, 0], "whole names only");
    assert_eq!(short[0x40..], *b"led0\0\0\0");
}

#[test]
fn device_name_is_closed_by_a_nul() {
    let device = device_with(Options { device_name: "x".repeat(40), ..Options::default() });
    assert_eq!(device.config_space()[0x20..0x40], *b"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\0");
}

#[test]
fn messages_wait_for_a_buffer() {
    let mut device = device();
    device.transmit(&[1, 0, 0, 0, 0, 0, 0, 0]);
    device.no_receive_buffer();
    assert_eq!(receive(&mut device), Some([1, 0x80, 0, 0, 0, 0, 0, 0]));
}

#[test]
fn original_behaviour_executes_and_then_loses_the_reply() {
    let mut device = device_with(Options { lose_without_buffer: true, ..Options::default() });
    device.transmit(&[3, 0, 0, 0, 1, 0, 0, 0]);
    device.no_receive_buffer();
    assert_eq!(receive(&mut device), None);
    assert_eq!(send(&mut device, 5, 0, 0), [1, 0, 0, 0], "the request was executed all the same");
}

#[test]
fn waiting_messages_are_bounded_and_the_loss_is_told() {
    let mut lost = 0;
    let mut device = Device::with_observer(Bank::new(1), Options::default(), |activity| {
        if let Activity::Lost(_) = activity {
            lost += 1;
        }
    });
    for _ in 0..WAITING_LIMIT + 3 {
        device.message([5, 0, 0, 0, 0, 0, 0, 0]);
    }
    let mut waiting = 0;
    while device.next_message().is_some() {
        device.message_sent();
        waiting += 1;
    }
    drop(device);
    assert_eq!((waiting, lost), (WAITING_LIMIT, 3));
}

#[test]
fn reset_forgets_the_driver_but_not_the_outside() {
    let mut device = device();
    device.drive(LineId(1), Some(Level::High)).unwrap();
    device.transmit(&[3, 0, 0, 0, 1, 0, 0, 0]);
    device.reset();
    assert_eq!(receive(&mut device), None);
    device.drive(LineId(2), Some(Level::High)).unwrap();
    assert_eq!(receive(&mut device), None, "no driver is there to be told");
    assert_eq!(send(&mut device, 4, 0, 0), [1, 0, 0, 0]);
    assert_eq!(send(&mut device, 5, 0, 0), [0, 0, 0, 0]);
    assert_eq!(send(&mut device, 5, 1, 0), [1, 0, 0, 0]);
}

#[test]
fn any_message_can_be_sent_to_imitate_a_faulty_device() {
    let mut device = device();
    device.send(Message { kind: 0x11, line: LineId(0xffff), value: 1 });
    assert_eq!(receive(&mut device), Some([0x11, 0, 0xff, 0xff, 1, 0, 0, 0]));
}

#[test]
fn a_mute_line_is_carried_out_without_a_reply() {
    let mut device = device();
    device.set_mute(LineId(1), true);
    device.transmit(&[3, 0, 1, 0, 1, 0, 0, 0]);
    assert_eq!(receive(&mut device), None);
    assert_eq!(device.bank().line(LineId(1)).unwrap().level(), Level::High, "an output that is high");
    assert_eq!(send(&mut device, 5, 0, 0), [0; 4], "other lines reply");
    device.set_mute(LineId(1), false);
    assert_eq!(send(&mut device, 5, 1, 0), [1, 0, 0, 0], "GET_VALUE");
    assert_eq!(receive(&mut device), None, "what was lost stays lost");
}
