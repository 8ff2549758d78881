//! Pins: typed conversions, embedded-hal, many at once, the end of use.

mod common;

use common::{High, Low, drive, input, output, ratified, triggers, watched, with_chip};
use virtio_gpio::{InterruptType, Trigger};

#[test]
fn an_output_is_driven_and_an_input_read() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let mut led = output(chip, 0, Low);
        led.set(High).unwrap();
        assert_eq!(machine.line(led.id()).level(), High);
        let button = input(chip, 1);
        drive(&machine, chip, 1, High);
        assert_eq!(button.level(), Ok(High));
    });
}

#[test]
fn an_edge_is_delivered() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let _button = watched(chip, 1, InterruptType::BothEdges);
        drive(&machine, chip, 1, High);
        drive(&machine, chip, 1, Low);
        assert_eq!(triggers(chip), [(1, Trigger::Rising), (1, Trigger::Falling)]);
    });
}
