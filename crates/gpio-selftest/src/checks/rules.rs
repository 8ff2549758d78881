//! The rules of the ratified chapter's text that have no keyword of their own.

use alloc::vec;
use alloc::vec::Vec;

use gpio_loopback::{Settings, Tamper};
use gpio_model::Token;
use gpio_model::bank::Bank;
use gpio_model::names::Names;
use gpio_model::observe::Activity;
use gpio_model::ratified::{Device, Options};
use virtio_gpio::messages::ratified::{EventRequest, EventStatus, FEATURE_IRQ, Request};
use virtio_gpio::{Direction, Error, InterruptType, Level, LineId, Trigger};

use super::Check;
use super::requests::everything;
use crate::bench::{self, LINES, RATIFIED, Rig, legacy};
use crate::outcome::{Outcome, ensure, ensure_eq};
use InterruptType::{HighLevel, RisingEdge};
use Level::{High, Low};

pub(super) const CHECKS: &[Check] = &[
    ("B1 no message for a line that there is not", b1),
    ("B2 a line without a name has an empty string", b2),
    ("B3 names are 7-bit ASCII; others cost nothing but themselves", b3),
    ("B4 the room for the names is their size and a status", b4),
    ("B5 the names are asked for with zeroes", b5),
    ("B6 questions carry no value", b6),
    ("B7 the level is set before the line becomes an output", b7),
    ("B8 a line becomes an output of the level that was set", b8),
    ("B9 the answer to a setting has the value 0", b9),
    ("B10 a status is 0 or 1, or it is not believed", b10),
    ("B11 a type alone does not unmask", b11),
    ("B12 lines are masked at first", b12),
    ("B13 an interrupt masks its line", b13),
    ("B14 a pair for a disabled line comes straight back", b14),
    ("B15 a level that is still active fires again when it is unmasked", b15),
    ("B16 a latched edge fires when it is unmasked", b16),
    ("B17 the queues are set up before DRIVER_OK, the event queue with its feature only", b17),
];

const L0: LineId = LineId(0);
const L1: LineId = LineId(1);

fn b1(rig: &dyn Rig) -> Outcome {
    let machine = bench::ratified();
    rig.with_chip(&machine, |desk| {
        for line in [LINES, LINES.saturating_add(1), u16::MAX] {
            let answer = desk.chip.line(LineId(line)).map(|_| ());
            ensure_eq!(answer, Err(Error::NoSuchLine { line: LineId(line), lines: LINES }), "line {line}");
        }
        ensure_eq!(desk.requests()?, [], "requests for them");
        Ok(())
    })
}

fn b2(rig: &dyn Rig) -> Outcome {
    let options = Options { names: bench::names(&["", "led", "", "x"])?, ..Options::default() };
    let machine = bench::ratified_with(Settings::new(RATIFIED), options);
    rig.with_chip(&machine, |desk| {
        let names: Vec<_> = (0..LINES).map(|line| desk.chip.name(LineId(line))).collect();
        let found: Vec<_> = names.iter().map(Option::as_deref).collect();
        ensure_eq!(found, [None, Some("led"), None, Some("x"), None, None, None, None], "names");
        Ok(())
    })
}

fn b3(rig: &dyn Rig) -> Outcome {
    let options = Options { names: Names::from_raw(b"l\xe9d\0\x1b[2J\0ok\0".to_vec()), ..Options::default() };
    let machine = bench::ratified_with(Settings::new(RATIFIED), options);
    rig.with_chip(&machine, |desk| {
        let names: Vec<_> = (0..4).map(|line| desk.chip.name(LineId(line))).collect();
        let found: Vec<_> = names.iter().map(Option::as_deref).collect();
        ensure_eq!(found, [Some("l\\xe9d"), Some("\\x1b[2J"), Some("ok"), None], "names as they are shown");
        desk.output(0, High)?.release()?;
        Ok(())
    })
}

fn b4(rig: &dyn Rig) -> Outcome {
    names_chains(rig, |room, _| {
        ensure_eq!(room, 4 + usize::from(LINES), "bytes of room for a status and a block with one name of three bytes");
        Ok(())
    })
}

fn b5(rig: &dyn Rig) -> Outcome {
    names_chains(rig, |_, request| {
        ensure_eq!(request, [1, 0, 0, 0, 0, 0, 0, 0], "the request for the names");
        Ok(())
    })
}

/// What the device is asked for while a chip is set up: room and request of each.
fn names_chains(rig: &dyn Rig, mut test: impl FnMut(usize, &[u8]) -> Outcome) -> Outcome {
    let options = Options { names: bench::names(&["led"])?, ..Options::default() };
    let machine = bench::ratified_with(Settings::new(RATIFIED), options);
    rig.with_chip(&machine, |_| {
        let chains = machine.take_chains();
        ensure_eq!(chains.len(), 1, "messages of the set-up");
        chains.iter().try_for_each(|chain| test(chain.room(), &chain.readable))
    })
}

fn b6(rig: &dyn Rig) -> Outcome {
    everything(rig, |chains| {
        let questions =
            chains.iter().filter(|chain| chain.queue == 0 && matches!(chain.readable.first(), Some(1 | 2 | 4)));
        let mut count = 0u32;
        for question in questions {
            ensure_eq!(question.readable.get(4..), Some([0; 4].as_slice()), "the value of a question");
            count = count.saturating_add(1);
        }
        ensure!(count >= 4, "there were {count} questions only");
        Ok(())
    })
}

fn b7(rig: &dyn Rig) -> Outcome {
    let machine = bench::ratified();
    rig.with_chip(&machine, |desk| {
        let _led = desk.output(0, High)?;
        let expected = [Request::SetValue(L0, High), Request::SetDirection(L0, Direction::Output)];
        ensure_eq!(desk.requests()?, expected, "messages that make an output");
        Ok(())
    })
}

fn b8(rig: &dyn Rig) -> Outcome {
    let machine = bench::ratified();
    rig.with_chip(&machine, |desk| {
        let _led = desk.output(0, High)?;
        let outputs = |activity: &Activity| match activity {
            Activity::Changed(change) if change.after.direction == Direction::Output => Some(change.after.level()),
            _ => None,
        };
        let levels: Vec<_> = machine.take_activities().iter().filter_map(outputs).collect();
        ensure_eq!(levels, [High], "levels of the line since it is an output");
        Ok(())
    })
}

fn b9(rig: &dyn Rig) -> Outcome {
    // The device's side, byte by byte; the driver does not look at what means nothing.
    let mut device = device();
    for (request, what) in [
        (Request::SetDirection(L0, Direction::Input), "SET_DIRECTION"),
        (Request::SetInterruptType(L0, RisingEdge), "SET_IRQ_TYPE"),
        (Request::SetInterruptType(L0, InterruptType::None), "SET_IRQ_TYPE to NONE"),
        (Request::SetValue(L0, High), "SET_VALUE"),
    ] {
        let mut answer = [0xee; 2];
        device.request(&request.encode(), &mut answer);
        ensure_eq!(answer, [0, 0], "the answer to {what}");
    }
    let machine = bench::ratified();
    rig.with_chip(&machine, |desk| {
        let mut led = desk.output(0, Low)?;
        machine.tamper(0, [Tamper::Bytes(vec![0, 77])]);
        Ok(led.set(High)?)
    })
}

fn b10(rig: &dyn Rig) -> Outcome {
    let machine = bench::ratified();
    rig.with_chip(&machine, |desk| {
        let mut led = desk.output(0, Low)?;
        for (status, expected) in
            [(1, Error::Refused), (2, Error::InvalidStatus(2)), (0x80, Error::InvalidStatus(0x80))]
        {
            machine.tamper(0, [Tamper::Bytes(vec![status, 0])]);
            ensure_eq!(led.set(High), Err(expected), "an answer with the status {status}");
        }
        Ok(led.set(High)?)
    })
}

fn device() -> Device {
    let mut device = Device::new(Bank::new(LINES), Options::default());
    device.set_features(FEATURE_IRQ);
    device
}

fn send(device: &mut Device, request: Request) -> Outcome {
    let mut answer = [0xee; 2];
    device.request(&request.encode(), &mut answer);
    ensure_eq!(answer, [0, 0], "the answer to {request:?}");
    Ok(())
}

fn b11(rig: &dyn Rig) -> Outcome {
    let mut device = device();
    send(&mut device, Request::SetDirection(L0, Direction::Input))?;
    send(&mut device, Request::SetInterruptType(L0, HighLevel))?;
    let driven = device.drive(L0, Some(High));
    ensure!(driven.is_ok() && device.pop_event().is_none(), "an event of a line for which there is no buffer");
    // The driver's side: behind each type comes a buffer.
    let machine = bench::ratified();
    rig.with_chip(&machine, |desk| {
        let _pin = desk.watched(0, HighLevel)?;
        desk.pump()?;
        let unmasked = |activity: &&Activity| matches!(activity, Activity::Unmasked(_));
        ensure_eq!(machine.take_activities().iter().filter(unmasked).count(), 1, "buffers behind a type");
        Ok(())
    })
}

fn b12(rig: &dyn Rig) -> Outcome {
    let machine = bench::ratified();
    rig.with_chip(&machine, |desk| {
        for line in 0..LINES {
            desk.drive(line, High)?;
        }
        let event = |activity: &Activity| matches!(activity, Activity::Unmasked(_) | Activity::Event { .. });
        ensure!(
            !machine.take_activities().iter().any(event),
            "a line is unmasked, or has fired, and nobody asked for it"
        );
        ensure_eq!(desk.chip.resources().standing, 0, "buffers that lie with the device");
        Ok(())
    })
}

/// The lines that are unmasked when a level and an edge have fired.
fn unmasked(activities: &[Activity]) -> Vec<LineId> {
    let unmasked = |activity: &Activity| if let Activity::Unmasked(line) = activity { Some(*line) } else { None };
    activities.iter().filter_map(unmasked).collect()
}

fn b13(rig: &dyn Rig) -> Outcome {
    let machine = bench::ratified();
    rig.with_chip(&machine, |desk| {
        let _level = desk.watched(0, HighLevel)?;
        let _edge = desk.watched(1, RisingEdge)?;
        desk.pump()?;
        machine.take_activities();
        for line in [0, 1] {
            desk.drive(line, High)?;
        }
        // The edge is armed again at once, the level only when its consumer is done.
        ensure_eq!(unmasked(&machine.take_activities()), [L1], "lines that were armed again");
        for level in [Low, High] {
            desk.drive(0, level)?;
        }
        ensure_eq!(desk.triggers(), [(0, Trigger::High), (1, Trigger::Rising)], "events");
        Ok(())
    })
}

fn b14(rig: &dyn Rig) -> Outcome {
    let mut device = device();
    send(&mut device, Request::SetDirection(L0, Direction::Input))?;
    device.queue_event(Token(7), &EventRequest(L0).encode(), 1);
    ensure_eq!(device.pop_event(), Some((Token(7), EventStatus::Invalid)), "a pair for a line without a type");
    // The driver's side: it queues none.
    let machine = bench::ratified();
    rig.with_chip(&machine, |desk| {
        let mut pin = desk.input(0)?;
        pin.unmask();
        desk.pump()?;
        ensure_eq!(unmasked(&machine.take_activities()), [], "pairs for a line without a type");
        Ok(())
    })
}

fn b15(rig: &dyn Rig) -> Outcome {
    let machine = bench::ratified();
    rig.with_chip(&machine, |desk| {
        let mut pin = desk.watched(0, HighLevel)?;
        desk.pump()?;
        desk.drive(0, High)?;
        for _ in 0..3 {
            ensure_eq!(desk.triggers(), [(0, Trigger::High)], "the event of a level that is active");
            pin.unmask();
            desk.pump()?;
        }
        Ok(())
    })
}

fn b16(rig: &dyn Rig) -> Outcome {
    let machine = bench::ratified();
    rig.with_chip(&machine, |desk| {
        let _pin = desk.watched(0, RisingEdge)?;
        desk.pump()?;
        machine.take_activities();
        for level in [High, Low, High] {
            machine.drive(L0, Some(level));
        }
        // The first is on its way; the second waits for a buffer, and fires when there is one.
        let fired = |activities: &[Activity]| {
            activities.iter().filter(|activity| matches!(activity, Activity::Event { .. })).count()
        };
        ensure_eq!(fired(&machine.take_activities()), 1, "events before the line is unmasked");
        desk.pump()?;
        let activities = machine.take_activities();
        ensure_eq!((unmasked(&activities).len(), fired(&activities)), (2, 1), "buffers and events behind that");
        Ok(())
    })
}

fn b17(rig: &dyn Rig) -> Outcome {
    // The machine notes a queue that is set up at another time, and has no second queue where there is no feature.
    for settings in [Settings::new(RATIFIED), legacy(RATIFIED)] {
        for (interrupts, second) in [(true, 64), (false, 0)] {
            let settings = Settings { queue_limits: [64, second], ..settings.clone() };
            let machine = bench::ratified_with(settings, Options { interrupts, ..Options::default() });
            rig.with_chip(&machine, |desk| Ok(desk.output(0, High)?.release()?))?;
        }
    }
    Ok(())
}
