//! The draft: the points that its text leaves open, or that its devices read differently, and how the driver reads them.

use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use gpio_loopback::{Machine, Settings, Tamper};
use gpio_model::bank::Bank;
use gpio_model::draft::{Device, EBUSY, EINVAL, Options, Refusal};
use virtio_gpio::messages::draft::{HOST_LEVEL, Marking, Message, RequestType};
use virtio_gpio::{Direction, Error, InterruptType, Level, LineId, Notice, Oddity, Protocol, SetupError, Trigger};

use super::Check;
use crate::bench::{self, DRAFT, Desk, LINES, Plan, RATIFIED, Rig, legacy};
use crate::outcome::{Outcome, ensure, ensure_eq};
use InterruptType::{BothEdges, FallingEdge, HighLevel, RisingEdge};
use Level::{High, Low};
use Trigger::{Falling, Rising};

pub(super) const CHECKS: &[Check] = &[
    ("D1 replies are known in each of the four markings", d1),
    ("D2 a reply to REQUEST that looks like an event is neither lost nor both", d2),
    ("D3 one request at a time; with more, replies in their order", d3),
    ("D4 a reply for the wrong line is taken where one request is under way", d4),
    ("D5 negative is an error before anything else", d5),
    ("D6 of a level bit 0 counts", d6),
    ("D7 SET_VALUE is answered by the level or by 0", d7),
    ("D8 an output begins with its level, and is set as an output only", d8),
    ("D9 REQUEST comes first, and a device that does not know it is used", d9),
    ("D10 a line that is no longer used becomes an input", d10),
    ("D11 edges are made from levels, of watched lines only", d11),
    ("D12 level interrupts are made from levels, again when unmasked", d12),
    ("D13 levels of outputs and of unknown lines are dropped", d13),
    ("D14 a receive buffer has eight bytes", d14),
    ("D15 a message that is too short means nothing", d15),
    ("D16 the used length of a request means nothing", d16),
    ("D17 there is always a receive buffer for the next message", d17),
    ("D18 a request is alone in its buffer", d18),
    ("D19 bytes behind the last whole message mean nothing", d19),
    ("D20 a refusal has any negative value", d20),
    ("D21 no message for interrupts", d21),
    ("D22 no device-specific feature", d22),
    ("D23 another version of the configuration is refused", d23),
    ("D24 names end where the configuration ends", d24),
    ("D25 a reply counts, whether the request has come back or not", d25),
];

const L0: LineId = LineId(0);

/// A completion of the receive queue with these contents.
fn message(kind: u16, line: u16, value: i32) -> Tamper {
    Tamper::Bytes(Message { kind, line: LineId(line), value }.encode().to_vec())
}

fn marked(marking: Marking) -> Machine {
    bench::draft_with(Settings::new(DRAFT), Options { marking, ..Options::default() })
}

fn oddities(desk: &Desk<'_>) -> Vec<Oddity> {
    let odd = |notice| if let Notice::Odd { oddity, .. } = notice { Some(oddity) } else { None };
    desk.notices().into_iter().filter_map(odd).collect()
}

fn d1(rig: &dyn Rig) -> Outcome {
    for marking in Marking::ALL {
        let machine = marked(marking);
        rig.with_chip(&machine, |desk| {
            let line = desk.line(3)?;
            ensure_eq!(line.direction(), Ok(Direction::Input), "the direction of a line that is not used, {marking:?}");
            let pin = line.into_input()?;
            desk.drive(3, High)?;
            ensure_eq!(pin.level(), Ok(High), "the level, {marking:?}");
            let mut led = pin.into_output(High)?;
            ensure_eq!(led.direction(), Ok(Direction::Output), "the direction of an output, {marking:?}");
            led.set(Low)?;
            led.release()?;
            let sent = [(1, 3, 0), (4, 3, 0), (2, 3, 0), (5, 3, 0), (3, 3, 1), (4, 3, 0), (6, 3, 0), (2, 3, 0)];
            ensure_eq!(desk.messages(), sent, "the messages, {marking:?}");
            ensure_eq!(desk.chip.statistics().timeouts, 0, "time-outs, {marking:?}");
            Ok(())
        })?;
    }
    Ok(())
}

fn d2(rig: &dyn Rig) -> Outcome {
    for marking in Marking::ALL {
        let machine = marked(marking);
        rig.with_chip(&machine, |desk| {
            let _pin = desk.watched(2, BothEdges)?;
            // The events are there before the reply: one for a high level, one for another line than the one asked for.
            for level in [High, Low] {
                machine.drive(LineId(2), Some(level));
            }
            let _line = desk.line(4)?;
            ensure_eq!(desk.triggers(), [(2, Rising), (2, Falling)], "events around a REQUEST, {marking:?}");
            ensure_eq!(desk.chip.statistics().oddities, 0, "oddities, {marking:?}");
            Ok(())
        })?;
    }
    Ok(())
}

fn d3(rig: &dyn Rig) -> Outcome {
    // In the prose's marking a reply to REQUEST is known only where nothing else is under way.
    for (marking, allowed, under_way) in
        [(Marking::HighBit, 1, 1), (Marking::HighBit, 4, 4), (Marking::HostLevel, 4, 1)]
    {
        let machine = marked(marking);
        let mut plan = Plan::default();
        plan.options.draft_requests_in_flight = allowed;
        rig.with_plan(&machine, &plan, &mut |desk| {
            let mut led = desk.output(0, Low)?;
            machine.take_chains();
            let mut pending = vec![];
            for level in [High, Low, High, Low] {
                pending.push(led.start_set(level)?);
            }
            machine.run();
            ensure_eq!(machine.take_chains().len(), under_way, "requests under way, {allowed} allowed");
            for one in pending {
                one.wait()?;
            }
            ensure_eq!(machine.line(L0).level(), Low, "the level at the end, {allowed} allowed");
            ensure_eq!(desk.chip.statistics().oddities, 0, "oddities, {allowed} allowed");
            Ok(())
        })?;
    }
    Ok(())
}

fn d4(rig: &dyn Rig) -> Outcome {
    let machine = bench::draft();
    rig.with_chip(&machine, |desk| {
        let mut led = desk.output(3, Low)?;
        machine.tamper(0, [message(0x8006, 0, 1)]);
        led.set(High)?;
        ensure_eq!(oddities(desk), [Oddity::WrongLine { asked: LineId(3), answered: L0 }], "oddities");
        Ok(())
    })
}

fn d5(rig: &dyn Rig) -> Outcome {
    let machine = bench::draft();
    rig.with_chip(&machine, |desk| {
        let pin = desk.input(0)?;
        for (value, number) in [(-22, 22), (-1, 1), (i32::MIN, 0x8000_0000)] {
            machine.tamper(0, [message(0x8005, 0, value), message(0x8004, 0, value)]);
            ensure_eq!(pin.level(), Err(Error::Errno(number)), "a level of {value}");
            ensure_eq!(pin.direction(), Err(Error::Errno(number)), "a direction of {value}");
        }
        Ok(())
    })
}

fn d6(rig: &dyn Rig) -> Outcome {
    let machine = bench::draft();
    rig.with_chip(&machine, |desk| {
        let pin = desk.input(0)?;
        machine.tamper(0, [message(0x8005, 0, 3), message(0x8005, 0, 2), message(0x8004, 0, 2)]);
        ensure_eq!((pin.level(), pin.level()), (Ok(High), Ok(Low)), "levels of 3 and 2");
        ensure_eq!(oddities(desk).first(), Some(&Oddity::WideLevel(L0)), "what is told of them");
        ensure_eq!(pin.direction(), Err(Error::InvalidValue(2)), "a direction of 2");
        Ok(())
    })
}

fn d7(rig: &dyn Rig) -> Outcome {
    let machine = bench::draft();
    rig.with_chip(&machine, |desk| {
        let mut led = desk.output(1, Low)?;
        for value in [1, 0] {
            machine.tamper(0, [message(0x8006, 1, value)]);
            led.set(High)?;
        }
        Ok(())
    })
}

fn d8(rig: &dyn Rig) -> Outcome {
    // A device that refuses SET_VALUE for a line that is no output: the model's default.
    let machine = bench::draft();
    rig.with_chip(&machine, |desk| {
        let mut led = desk.input(0)?.into_output(High)?;
        led.set(Low)?;
        ensure_eq!(
            desk.messages(),
            [(1, 0, 0), (2, 0, 0), (3, 0, 1), (6, 0, 0)],
            "messages from an input to an output"
        );
        Ok(())
    })
}

fn d9(rig: &dyn Rig) -> Outcome {
    for (error, expected) in [(EBUSY, Err(Error::Errno(16))), (EINVAL, Ok(())), (38, Ok(())), (4, Ok(()))] {
        let refusals = vec![Refusal { request: RequestType::Request, line: Some(L0), error }];
        let machine = bench::draft_with(Settings::new(DRAFT), Options { refusals, ..Options::default() });
        rig.with_chip(&machine, |desk| {
            ensure_eq!(desk.chip.line(L0).map(|_| ()), expected, "a line whose REQUEST is answered by -{error}");
            let _other = desk.line(1)?;
            ensure_eq!(desk.messages(), [(1, 0, 0), (1, 1, 0)], "the first message for each line");
            Ok(())
        })?;
    }
    Ok(())
}

fn d10(rig: &dyn Rig) -> Outcome {
    let machine = bench::draft();
    rig.with_chip(&machine, |desk| {
        let led = desk.output(0, High)?;
        desk.messages();
        led.release()?;
        ensure_eq!(desk.messages(), [(2, 0, 0)], "messages at the end of use");
        drop(desk.output(1, High)?);
        desk.pump()?;
        ensure_eq!(desk.messages().last(), Some(&(2, 1, 0)), "the last message for an output that is dropped");
        Ok(())
    })
}

fn d11(rig: &dyn Rig) -> Outcome {
    let both = [Rising, Falling, Rising, Falling];
    for (kind, expected) in
        [(RisingEdge, [Rising; 2].as_slice()), (FallingEdge, [Falling; 2].as_slice()), (BothEdges, both.as_slice())]
    {
        let machine = bench::draft();
        rig.with_chip(&machine, |desk| {
            let _pin = desk.watched(2, kind)?;
            let _sensed = desk.input(3)?;
            for level in [High, Low, High, Low] {
                machine.drive(LineId(2), Some(level));
                machine.drive(LineId(3), Some(level));
            }
            // A device that repeats itself makes no edges by that.
            machine.send(Message { kind: HOST_LEVEL, line: LineId(2), value: 0 });
            desk.pump()?;
            let expected: Vec<_> = expected.iter().map(|&trigger| (2, trigger)).collect();
            ensure_eq!(desk.triggers(), expected, "events of a line watched for {kind:?}");
            Ok(())
        })?;
    }
    Ok(())
}

fn d12(rig: &dyn Rig) -> Outcome {
    let machine = bench::draft();
    rig.with_chip(&machine, |desk| {
        let mut pin = desk.watched(2, HighLevel)?;
        ensure_eq!(desk.triggers(), [], "events of a level that is not active");
        desk.drive(2, High)?;
        ensure_eq!(desk.triggers(), [(2, Trigger::High)], "the event of a level");
        desk.drive(2, Low)?;
        desk.drive(2, High)?;
        ensure_eq!(desk.triggers(), [], "events of a masked level");
        pin.unmask();
        desk.pump()?;
        ensure_eq!(desk.triggers(), [(2, Trigger::High)], "the event of a level that is active when it is unmasked");
        desk.drive(2, Low)?;
        pin.unmask();
        desk.pump()?;
        ensure_eq!(desk.triggers(), [], "events of a level that is over when it is unmasked");
        Ok(())
    })
}

fn d13(rig: &dyn Rig) -> Outcome {
    let machine = bench::draft();
    rig.with_chip(&machine, |desk| {
        let _led = desk.output(0, Low)?;
        let _sensed = desk.input(1)?;
        for line in [0, 1, 2, LINES, u16::MAX] {
            machine.send(Message { kind: HOST_LEVEL, line: LineId(line), value: 1 });
        }
        desk.pump()?;
        ensure_eq!(desk.triggers(), [], "events");
        ensure_eq!(desk.chip.statistics().oddities, 5, "what was counted of five");
        Ok(())
    })
}

fn d14(rig: &dyn Rig) -> Outcome {
    let machine = bench::draft();
    rig.with_chip(&machine, |desk| {
        let mut led = desk.output(0, Low)?;
        // The device says how many of sixteen bytes there was room for.
        let mut bytes = Message { kind: 0x8006, line: L0, value: 1 }.encode().to_vec();
        bytes.resize(16, 0xee);
        machine.tamper(0, [Tamper::Bytes(bytes)]);
        led.set(High)?;
        ensure_eq!(desk.chip.statistics().oddities, 0, "oddities");
        Ok(())
    })
}

fn d15(rig: &dyn Rig) -> Outcome {
    let machine = bench::draft();
    let mut plan = Plan::default();
    plan.options.timeout = Duration::from_millis(50);
    rig.with_plan(&machine, &plan, &mut |desk| {
        let mut led = desk.output(0, Low)?;
        machine.tamper(0, [Tamper::Length(7)]);
        ensure_eq!(led.set(High), Err(Error::Timeout), "a request whose reply has seven bytes");
        Ok(())
    })
}

fn d16(rig: &dyn Rig) -> Outcome {
    let machine = bench::draft();
    rig.with_chip(&machine, |desk| {
        let mut led = desk.output(0, Low)?;
        for length in [0, 8, 77] {
            machine.tamper(1, [Tamper::Length(length)]);
            led.set(High)?;
        }
        ensure_eq!(desk.chip.statistics().resets, 0, "resets");
        Ok(())
    })
}

fn d17(rig: &dyn Rig) -> Outcome {
    let options = Options { lose_without_buffer: true, ..Options::default() };
    let machine = bench::draft_with(Settings::new(DRAFT), options);
    rig.with_chip(&machine, |desk| {
        let mut led = desk.output(0, Low)?;
        let _pin = desk.watched(2, BothEdges)?;
        for _ in 0..20 {
            // As many as there are buffers, at once.
            for level in [High, Low].into_iter().cycle().take(16) {
                machine.drive(LineId(2), Some(level));
            }
            desk.pump()?;
            ensure_eq!(desk.triggers().len(), 16, "events of sixteen messages at once");
        }
        Ok(led.set(High)?)
    })
}

fn d18(rig: &dyn Rig) -> Outcome {
    let machine = bench::draft();
    rig.with_chip(&machine, |desk| {
        let mut led = desk.output(0, Low)?;
        led.set(High)?;
        led.level()?;
        let chains = machine.take_chains();
        ensure!(chains.len() >= 4, "the device saw {} requests only", chains.len());
        for chain in chains {
            ensure_eq!(
                (chain.queue, chain.readable.len(), chain.room()),
                (1, 8, 0),
                "queue, bytes, and room of a request"
            );
        }
        Ok(())
    })
}

fn d19(_: &dyn Rig) -> Outcome {
    // The device's side, byte by byte; D18 has the driver's.
    let mut device = Device::new(Bank::new(LINES), Options::default());
    device.set_driver_ready(true);
    device.transmit(&[1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    ensure_eq!(
        device.next_message(),
        Some(Message { kind: 0x8001, line: L0, value: 0 }),
        "the reply to a whole message"
    );
    device.message_sent();
    ensure_eq!(device.next_message(), None, "the reply to a message of seven bytes");
    Ok(())
}

fn d20(rig: &dyn Rig) -> Outcome {
    let mut device = Device::new(Bank::new(LINES), Options::default());
    device.transmit(&[9, 0, 0, 0, 0, 0, 0, 0]);
    let refused = Message { kind: 0x8009, line: L0, value: EINVAL.saturating_neg() };
    ensure_eq!(device.next_message(), Some(refused), "the reply to a request of an unknown type");
    for error in [1, 95, 4095] {
        let refusals = vec![Refusal { request: RequestType::GetValue, line: None, error }];
        let machine = bench::draft_with(Settings::new(DRAFT), Options { refusals, ..Options::default() });
        rig.with_chip(&machine, |desk| {
            let expected = Err(Error::Errno(error.unsigned_abs()));
            ensure_eq!(desk.input(0)?.level(), expected, "a request that is answered by -{error}");
            Ok(())
        })?;
    }
    Ok(())
}

/// A later text's features, which other texts know nothing of.
fn with_features() -> Settings {
    let settings = Settings::new(DRAFT);
    Settings { features: settings.features | 3, ..settings }
}

fn d21(rig: &dyn Rig) -> Outcome {
    let machine = bench::draft_with(with_features(), Options::default());
    rig.with_chip(&machine, |desk| {
        let mut pin = desk.watched(0, HighLevel)?;
        pin.watch(BothEdges)?;
        desk.drive(0, High)?;
        ensure_eq!(desk.triggers(), [(0, Rising)], "events");
        let sent = desk.messages();
        ensure!(
            sent.iter().all(|(kind, ..)| (1..=6).contains(kind)),
            "a message that the draft does not have: {sent:?}"
        );
        Ok(())
    })
}

fn d22(rig: &dyn Rig) -> Outcome {
    let machine = bench::draft_with(with_features(), Options::default());
    rig.with_chip(&machine, |_| {
        ensure_eq!(machine.driver_features() & 0xff_ffff, 0, "device-specific features that were accepted");
        Ok(())
    })
}

fn d23(rig: &dyn Rig) -> Outcome {
    for (config, expected) in [
        ([2, 0, 8, 0, 0, 0, 0, 0], SetupError::DraftVersion(2)),
        ([1, 0, 0, 0, 0, 0, 0, 0], SetupError::NoLines),
        ([0, 0, 0, 0, 0, 0, 0, 0], SetupError::NotGpio(DRAFT)),
    ] {
        let settings = Settings { config: Some(config.to_vec()), ..Settings::new(DRAFT) };
        let machine = bench::draft_with(settings, Options::default());
        ensure_eq!(rig.refusal(&machine)?, Some(expected), "a device with the configuration {config:?}");
    }
    // Under each of its two IDs, modern and legacy, it is known by its configuration.
    for settings in [Settings::new(DRAFT), Settings::new(RATIFIED), legacy(DRAFT), legacy(RATIFIED)] {
        let machine = bench::draft_with(settings, Options::default());
        rig.with_chip(&machine, |desk| {
            ensure_eq!(desk.chip.protocol(), Protocol::Draft, "the protocol");
            Ok(desk.output(0, High)?.release()?)
        })?;
    }
    Ok(())
}

fn d24(rig: &dyn Rig) -> Outcome {
    for (size, named) in [(256, true), (0x40, false), (8, false)] {
        let options = Options {
            device_name: "simulator".into(),
            names: bench::names(&["led0", "x"])?,
            config_size: size,
            ..Options::default()
        };
        let machine = bench::draft_with(Settings::new(DRAFT), options);
        rig.with_chip(&machine, |desk| {
            let name = (size >= 0x40).then_some("simulator");
            ensure_eq!(desk.chip.device_name().as_deref(), name, "the device's name in {size} bytes");
            ensure_eq!(desk.chip.find("x").is_some(), named, "whether lines have names in {size} bytes");
            Ok(desk.output(0, High)?.release()?)
        })?;
    }
    Ok(())
}

fn d25(rig: &dyn Rig) -> Outcome {
    let machine = bench::draft();
    rig.with_chip(&machine, |desk| {
        let mut led = desk.output(0, Low)?;
        machine.tamper(1, [Tamper::Hold]);
        led.set(High)?;
        let kept = desk.chip.resources();
        ensure!(!kept.is_at_rest(), "the request's buffer counts as free while the device has it: {kept:?}");
        machine.release_held(false);
        desk.pump()?;
        led.set(Low)?;
        desk.pump()?;
        let free = desk.chip.resources();
        ensure!(free.is_at_rest(), "the request's buffer has not come back: {free:?}");
        Ok(())
    })
}
