//! The ratified device against the specification: VIRTIO 1.2, section 5.18. Bytes are typed from its tables. Each test
//! that stands for a statement of the text carries its number: V for the device's normative statements on `requestq`
//! (5.18.6.9, in their order), F for those on `eventq` (5.18.7.3), B for statements of the prose.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use gpio_model::Token;
use gpio_model::bank::Bank;
use gpio_model::names::Names;
use gpio_model::observe::Activity;
use gpio_model::ratified::{Device, Options, Quirks};
use virtio_gpio::messages::ratified::EventStatus::{Invalid, Valid};
use virtio_gpio::messages::{Direction, Level, LineId};

const OK: [u8; 2] = [0, 0];
const ERR: [u8; 2] = [1, 0];
/// The interrupt types (5.18.6.7).
const NONE: u8 = 0;
const RISING: u8 = 1;
const FALLING: u8 = 2;
const BOTH: u8 = 3;
const HIGH_LEVEL: u8 = 4;
const LOW_LEVEL: u8 = 8;

fn device() -> Device {
    device_with(Options::default())
}

fn device_with(options: Options) -> Device {
    let mut device = Device::new(Bank::new(4), options);
    device.set_features(1);
    device
}

/// Sends `type, line, value` and returns the two bytes of the response.
fn send(device: &mut Device, kind: u8, line: u8, value: u8) -> [u8; 2] {
    let mut response = [0xaa; 2];
    let written = device.request(&[kind, 0, line, 0, value, 0, 0, 0], &mut response);
    assert_eq!(written, 2, "the used length is what was written");
    response
}

fn direction(device: &mut Device, line: u8) -> [u8; 2] {
    send(device, 2, line, 0)
}

fn set_direction(device: &mut Device, line: u8, value: u8) -> [u8; 2] {
    send(device, 3, line, value)
}

fn level(device: &mut Device, line: u8) -> [u8; 2] {
    send(device, 4, line, 0)
}

fn set_value(device: &mut Device, line: u8, value: u8) -> [u8; 2] {
    send(device, 5, line, value)
}

fn set_type(device: &mut Device, line: u8, value: u8) -> [u8; 2] {
    send(device, 6, line, value)
}

fn unmask(device: &mut Device, pair: u16, line: u8) {
    device.queue_event(Token(pair), &[line, 0], 1);
}

fn drive(device: &mut Device, line: u16, level: Level) {
    device.drive(LineId(line), Some(level)).unwrap();
}

fn input(device: &mut Device, line: u8, kind: u8) {
    assert_eq!(set_direction(device, line, 2), OK);
    assert_eq!(set_type(device, line, kind), OK);
}

#[test]
fn v1_every_byte_of_the_response_is_written() {
    let mut device = device();
    for request in [[2, 0, 1, 0, 0, 0, 0, 0], [9, 0, 1, 0, 0, 0, 0, 0], [2, 0, 4, 0, 0, 0, 0, 0]] {
        let mut response = [0xaa; 5];
        assert_eq!(device.request(&request, &mut response), 2);
        assert!(response[0] <= 1 && response[1] == 0, "{response:?}");
        assert_eq!(response[2..], [0xaa; 3], "and nothing behind it");
    }
}

#[test]
fn v2_v3_configuration_says_zero_names_where_there_are_none() {
    assert_eq!(device().config_space(), [4, 0, 0, 0, 0, 0, 0, 0]);
    let large = Device::new(Bank::new(300), Options::default());
    assert_eq!(large.config_space(), [0x2c, 0x01, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn v3_asking_for_names_that_do_not_exist_is_an_error() {
    let mut response = [0xaa; 3];
    assert_eq!(device().request(&[1, 0, 0, 0, 0, 0, 0, 0], &mut response), 2);
    assert_eq!(response, [1, 0, 0xaa]);
}

#[test]
fn v4_b2_b4_names_block_is_exact() {
    let names = Names::new(&["led0", "", "b", ""]).unwrap();
    let mut device = device_with(Options { names, ..Options::default() });
    assert_eq!(device.config_space(), [4, 0, 0, 0, 9, 0, 0, 0]);
    let mut response = [0xaa; 12];
    assert_eq!(device.request(&[1, 0, 0, 0, 0, 0, 0, 0], &mut response), 10);
    assert_eq!(&response, b"\0led0\0\0b\0\0\xaa\xaa");
    let mut short = [0xaa; 9];
    assert_eq!(device.request(&[1, 0, 0, 0, 0, 0, 0, 0], &mut short), 2, "a block that does not fit is an error");
    assert_eq!(short[..2], ERR);
}

#[test]
fn v5_requests_for_a_line_are_executed_in_their_order() {
    let mut device = device();
    assert_eq!(set_direction(&mut device, 0, 1), OK);
    for value in [1, 0, 1, 1, 0] {
        assert_eq!(set_value(&mut device, 0, value), OK);
        assert_eq!(level(&mut device, 0), [0, value]);
    }
}

#[test]
fn v7_direction_none_forgets_value_type_and_latched_edge() {
    let mut device = device();
    set_value(&mut device, 0, 1);
    input(&mut device, 0, RISING);
    drive(&mut device, 0, Level::High);
    assert_eq!(set_direction(&mut device, 0, 0), OK);
    assert_eq!(direction(&mut device, 0), [0, 0]);

    device.drive(LineId(0), None).unwrap();
    assert_eq!(set_direction(&mut device, 0, 1), OK, "which an armed line would refuse");
    assert_eq!(level(&mut device, 0), [0, 0], "the remembered value is gone");

    assert_eq!(set_direction(&mut device, 0, 0), OK);
    input(&mut device, 0, RISING);
    unmask(&mut device, 7, 0);
    assert_eq!(device.pop_event(), None, "the latched edge is gone");
}

#[test]
fn v7_direction_none_hands_the_pair_back() {
    let mut device = device();
    input(&mut device, 0, RISING);
    unmask(&mut device, 7, 0);
    assert_eq!(set_direction(&mut device, 0, 0), OK);
    assert_eq!(device.pop_event(), Some((Token(7), Invalid)));
    assert_eq!(device.pop_event(), None);
}

#[test]
fn v8_b11_b12_b16_edge_is_latched_while_masked() {
    let mut device = device();
    input(&mut device, 0, RISING);
    drive(&mut device, 0, Level::High);
    assert_eq!(device.pop_event(), None, "masked");
    unmask(&mut device, 7, 0);
    assert_eq!(device.pop_event(), Some((Token(7), Valid)), "B16: fires after unmask");
    unmask(&mut device, 8, 0);
    assert_eq!(device.pop_event(), None, "once");
}

#[test]
fn v8_several_edges_while_masked_are_one_interrupt() {
    let mut device = device();
    input(&mut device, 0, BOTH);
    for step in [Level::High, Level::Low, Level::High, Level::Low] {
        drive(&mut device, 0, step);
    }
    unmask(&mut device, 7, 0);
    assert_eq!(device.pop_event(), Some((Token(7), Valid)));
    unmask(&mut device, 8, 0);
    assert_eq!(device.pop_event(), None);
}

#[test]
fn v8_edges_of_the_other_polarity_are_not_latched() {
    for (kind, first, second) in [(RISING, Level::Low, Level::High), (FALLING, Level::High, Level::Low)] {
        let mut device = device();
        drive(&mut device, 0, second);
        input(&mut device, 0, kind);
        drive(&mut device, 0, first);
        unmask(&mut device, 7, 0);
        assert_eq!(device.pop_event(), None, "type {kind}");
        drive(&mut device, 0, second);
        assert_eq!(device.pop_event(), Some((Token(7), Valid)), "type {kind}");
    }
}

#[test]
fn v9_level_is_not_latched_while_masked() {
    for (kind, active, idle) in [(HIGH_LEVEL, Level::High, Level::Low), (LOW_LEVEL, Level::Low, Level::High)] {
        let mut device = device();
        drive(&mut device, 0, idle);
        input(&mut device, 0, kind);
        drive(&mut device, 0, active);
        drive(&mut device, 0, idle);
        unmask(&mut device, 7, 0);
        assert_eq!(device.pop_event(), None, "type {kind}");
        drive(&mut device, 0, active);
        assert_eq!(device.pop_event(), Some((Token(7), Valid)), "type {kind}");
    }
}

#[test]
fn v10_none_discards_a_latched_edge() {
    let mut device = device();
    input(&mut device, 0, RISING);
    drive(&mut device, 0, Level::High);
    assert_eq!(set_type(&mut device, 0, NONE), OK);
    assert_eq!(set_type(&mut device, 0, RISING), OK);
    unmask(&mut device, 7, 0);
    assert_eq!(device.pop_event(), None);
}

#[test]
fn f1_no_event_unless_enabled_and_unmasked() {
    let mut device = device();
    assert_eq!(set_direction(&mut device, 0, 2), OK);
    drive(&mut device, 0, Level::High);
    assert_eq!(device.pop_event(), None, "neither");
    assert_eq!(set_type(&mut device, 0, BOTH), OK);
    drive(&mut device, 0, Level::Low);
    assert_eq!(device.pop_event(), None, "B11, B12: a type alone does not unmask");
}

#[test]
fn f2_none_hands_the_pair_back_without_an_interrupt() {
    let mut device = device();
    input(&mut device, 0, RISING);
    unmask(&mut device, 7, 0);
    assert_eq!(set_type(&mut device, 0, NONE), OK);
    assert_eq!(device.pop_event(), Some((Token(7), Invalid)));
    drive(&mut device, 0, Level::High);
    assert_eq!(device.pop_event(), None);
}

#[test]
fn b1_lines_beyond_the_last_are_an_error() {
    let mut device = device();
    for line in [4, 5, 0xff] {
        for kind in 2..=6 {
            assert_eq!(send(&mut device, kind, line, 1), ERR, "type {kind}, line {line}");
        }
        unmask(&mut device, u16::from(line), line);
        assert_eq!(device.pop_event(), Some((Token(u16::from(line)), Invalid)));
    }
    let mut response = [0xaa; 2];
    assert_eq!(device.request(&[4, 0, 0xff, 0xff, 0, 0, 0, 0], &mut response), 2);
    assert_eq!(response, ERR);
}

#[test]
fn b5_b6_unused_fields_of_a_request_are_not_looked_at() {
    let mut device = device();
    assert_eq!(send(&mut device, 2, 0, 7), [0, 0]);
    assert_eq!(send(&mut device, 4, 0, 7), [0, 0]);
}

#[test]
fn b7_b8_value_set_before_the_direction_is_applied_with_it() {
    let mut changes = Vec::new();
    let mut device = Device::with_observer(Bank::new(4), Options::default(), |activity| {
        if let Activity::Changed(change) = activity {
            changes.push((change.after.direction, change.after.level()));
        }
    });
    let mut response = [0; 2];
    device.request(&[5, 0, 0, 0, 1, 0, 0, 0], &mut response);
    device.request(&[3, 0, 0, 0, 1, 0, 0, 0], &mut response);
    device.request(&[3, 0, 0, 0, 2, 0, 0, 0], &mut response);
    device.request(&[3, 0, 0, 0, 1, 0, 0, 0], &mut response);
    let (high, low) = ((Direction::Output, Level::High), (Direction::Input, Level::Low));
    assert_eq!(changes, [high, low, high], "no low level in between");
}

#[test]
fn b9_b10_responses_of_set_requests_carry_zero() {
    let mut device = device();
    assert_eq!(set_value(&mut device, 0, 1), OK);
    assert_eq!(set_direction(&mut device, 0, 1), OK);
    assert_eq!(level(&mut device, 0), [0, 1]);
    assert_eq!(direction(&mut device, 0), [0, 1]);
    assert_eq!(set_direction(&mut device, 0, 2), OK);
    assert_eq!(direction(&mut device, 0), [0, 2]);
    assert_eq!(set_type(&mut device, 0, BOTH), OK);
}

#[test]
fn b13_an_interrupt_masks_the_line() {
    let mut device = device();
    input(&mut device, 0, BOTH);
    unmask(&mut device, 7, 0);
    drive(&mut device, 0, Level::High);
    drive(&mut device, 0, Level::Low);
    assert_eq!(device.pop_event(), Some((Token(7), Valid)));
    assert_eq!(device.pop_event(), None);
    unmask(&mut device, 8, 0);
    assert_eq!(device.pop_event(), Some((Token(8), Valid)), "the second edge was latched");
}

#[test]
fn b14_pair_for_a_disabled_line_comes_straight_back() {
    let mut device = device();
    unmask(&mut device, 7, 0);
    assert_eq!(device.pop_event(), Some((Token(7), Invalid)));
    assert_eq!(set_direction(&mut device, 0, 2), OK);
    unmask(&mut device, 8, 0);
    assert_eq!(device.pop_event(), Some((Token(8), Invalid)));
}

#[test]
fn b15_level_that_is_still_active_fires_again_after_unmask() {
    let mut device = device();
    drive(&mut device, 0, Level::High);
    input(&mut device, 0, HIGH_LEVEL);
    for pair in 0..3 {
        unmask(&mut device, pair, 0);
        assert_eq!(device.pop_event(), Some((Token(pair), Valid)));
    }
    drive(&mut device, 0, Level::Low);
    unmask(&mut device, 3, 0);
    assert_eq!(device.pop_event(), None);
}

#[test]
fn second_pair_for_a_line_comes_straight_back() {
    let mut device = device();
    input(&mut device, 0, RISING);
    unmask(&mut device, 7, 0);
    unmask(&mut device, 8, 0);
    assert_eq!(device.pop_event(), Some((Token(8), Invalid)));
    drive(&mut device, 0, Level::High);
    assert_eq!(device.pop_event(), Some((Token(7), Valid)), "the first one is still armed");
}

#[test]
fn r9_another_type_only_by_way_of_none() {
    let mut device = device();
    input(&mut device, 0, RISING);
    assert_eq!(set_type(&mut device, 0, FALLING), ERR);
    unmask(&mut device, 7, 0);
    drive(&mut device, 0, Level::High);
    assert_eq!(device.pop_event(), Some((Token(7), Valid)), "the old type is kept");
    assert_eq!(set_type(&mut device, 0, RISING), OK, "the same type again does no harm");
    assert_eq!(set_type(&mut device, 0, NONE), OK);
    assert_eq!(set_type(&mut device, 0, NONE), OK);
    assert_eq!(set_type(&mut device, 0, FALLING), OK);
}

#[test]
fn r6_interrupt_messages_need_the_feature() {
    let mut device = Device::new(Bank::new(4), Options::default());
    device.set_features(0);
    assert_eq!(set_type(&mut device, 0, RISING), ERR);
    let mut device = Device::new(Bank::new(4), Options { interrupts: false, ..Options::default() });
    assert_eq!(device.offered_features(), 0);
    device.set_features(1);
    assert_eq!(set_type(&mut device, 0, RISING), ERR, "a feature that was not offered cannot be accepted");
}

#[test]
fn r7_outputs_do_not_interrupt() {
    let mut device = device();
    assert_eq!(set_direction(&mut device, 0, 1), OK);
    for kind in [NONE, RISING, HIGH_LEVEL] {
        assert_eq!(set_type(&mut device, 0, kind), ERR);
    }
    assert_eq!(set_direction(&mut device, 0, 2), OK);
    assert_eq!(set_type(&mut device, 0, RISING), OK);
    assert_eq!(set_direction(&mut device, 0, 1), ERR, "while a type is set");
    assert_eq!(direction(&mut device, 0), [0, 2]);
}

#[test]
fn undefined_types_values_and_messages_are_an_error_and_change_nothing() {
    let mut device = device();
    for (kind, value) in [(0, 0), (7, 0), (3, 3), (5, 2), (6, 5), (6, 6), (6, 7), (6, 9), (6, 0x0c)] {
        assert_eq!(send(&mut device, kind, 0, value), ERR, "type {kind}, value {value}");
    }
    assert_eq!(direction(&mut device, 0), [0, 0]);
    assert_eq!(level(&mut device, 0), [0, 0]);
}

#[test]
fn buffers_of_the_wrong_size_are_answered_as_far_as_there_is_room() {
    let mut device = device();
    let set_output = [3, 0, 0, 0, 1, 0, 0, 0];
    assert_eq!(device.request(&set_output, &mut []), 0);
    let mut one = [0xaa];
    assert_eq!(device.request(&set_output, &mut one), 1);
    assert_eq!(one, [1]);
    for size in [0, 1, 7] {
        let mut response = [0xaa; 2];
        assert_eq!(device.request(&set_output[..size], &mut response), 2);
        assert_eq!(response, ERR);
    }
    let mut response = [0xaa; 2];
    assert_eq!(device.request(&[3, 0, 0, 0, 1, 0, 0, 0, 0], &mut response), 2);
    assert_eq!(response, ERR);
    assert_eq!(direction(&mut device, 0), [0, 0], "and nothing was executed");
}

#[test]
fn event_buffers_of_the_wrong_size_come_straight_back() {
    let mut device = device();
    input(&mut device, 0, RISING);
    for (pair, (readable, writable)) in
        [([0].as_slice(), 1), (&[], 1), (&[0, 0, 0], 1), (&[0, 0], 0)].iter().enumerate()
    {
        let pair = Token(pair.try_into().unwrap());
        device.queue_event(pair, readable, *writable);
        assert_eq!(device.pop_event(), Some((pair, Invalid)));
    }
    drive(&mut device, 0, Level::High);
    assert_eq!(device.pop_event(), None, "none of them unmasked the line");
}

#[test]
fn reset_forgets_the_driver_but_not_the_outside() {
    let mut device = device();
    drive(&mut device, 1, Level::High);
    set_value(&mut device, 0, 1);
    assert_eq!(set_direction(&mut device, 0, 1), OK);
    input(&mut device, 1, FALLING);
    unmask(&mut device, 7, 1);
    device.reset();
    assert_eq!(device.pop_event(), None, "pairs are forgotten, not returned");
    assert_eq!(set_type(&mut device, 1, RISING), ERR, "so are the features");
    assert_eq!(direction(&mut device, 0), [0, 0]);
    assert_eq!(level(&mut device, 0), [0, 0]);
    assert_eq!(level(&mut device, 1), [0, 1], "the outside still drives");
}

#[test]
fn strict_devices_refuse_what_the_text_leaves_open() {
    let mut device = device_with(Options { quirks: Quirks::VHOST_DEVICE, ..Options::default() });
    assert_eq!(level(&mut device, 0), ERR, "no direction yet");
    assert_eq!(set_direction(&mut device, 0, 1), ERR, "no value yet");
    assert_eq!(set_value(&mut device, 0, 1), OK);
    assert_eq!(set_direction(&mut device, 0, 1), OK);
    assert_eq!(level(&mut device, 0), [0, 1]);
    assert_eq!(set_type(&mut device, 1, RISING), ERR, "no direction yet");
    assert_eq!(set_direction(&mut device, 1, 2), OK);
    assert_eq!(set_type(&mut device, 1, NONE), ERR);
    assert_eq!(set_type(&mut device, 1, HIGH_LEVEL), ERR);
    assert_eq!(set_type(&mut device, 1, RISING), OK);
    assert_eq!(set_type(&mut device, 1, RISING), ERR);
}

#[test]
fn observer_hears_of_causes_before_effects() {
    let mut seen = Vec::new();
    let mut device = Device::with_observer(Bank::new(4), Options::default(), |activity| {
        seen.push(match activity {
            Activity::Reset => "reset",
            Activity::Changed(_) => "changed",
            Activity::Request { accepted: true, .. } => "request",
            Activity::Request { accepted: false, .. } => "refused",
            Activity::Malformed { .. } => "malformed",
            Activity::Unmasked(_) => "unmasked",
            Activity::Event { .. } => "event",
            _ => "draft",
        });
    });
    device.set_features(1);
    let mut response = [0; 2];
    device.request(&[3, 0, 0, 0, 2, 0, 0, 0], &mut response);
    device.request(&[6, 0, 0, 0, 1, 0, 0, 0], &mut response);
    device.queue_event(Token(0), &[0, 0], 1);
    device.drive(LineId(0), Some(Level::High)).unwrap();
    device.queue_event(Token(0), &[0, 0], 1);
    device.request(&[3, 0, 0, 0, 0, 0, 0, 0], &mut response);
    device.request(&[3, 0, 9, 0, 0, 0, 0, 0], &mut response);
    device.request(&[], &mut response);
    let expected = "request changed request unmasked changed event unmasked request event changed refused malformed";
    assert_eq!(seen.join(" "), expected);
}
