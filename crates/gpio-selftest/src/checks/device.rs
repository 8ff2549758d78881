//! What the device owes on the request queue (VIRTIO 1.2, 5.18.6.9), and what the driver does where that is not kept.

use alloc::vec;

use gpio_loopback::{Settings, Tamper};
use gpio_model::observe::Activity;
use gpio_model::ratified::Options;
use virtio_gpio::messages::ratified::Request;
use virtio_gpio::transport::Transport as _;
use virtio_gpio::{Direction, Error, InterruptType, Level, LineId, Trigger};

use super::Check;
use crate::bench::{self, RATIFIED, Rig, legacy};
use crate::outcome::{Outcome, ensure, ensure_eq};
use InterruptType::{HighLevel, RisingEdge};
use Level::{High, Low};

pub(super) const CHECKS: &[Check] = &[
    ("V1 a response is complete when it comes back, or it is not believed", v1),
    ("V2 the configuration is valid whenever it is read", v2),
    ("V3 without names their size is 0, and nobody asks for them", v3),
    ("V4 the names block is as long as it says, and names are found", v4),
    ("V5 a line's requests are carried out in their order", v5),
    ("V6 answers for different lines come in any order", v6),
    ("V7 direction NONE forgets the line's state", v7),
    ("V8 an edge of a masked line is latched", v8),
    ("V9 a level of a masked line is not latched", v9),
    ("V10 disabling forgets a latched edge", v10),
];

const L0: LineId = LineId(0);

fn v1(rig: &dyn Rig) -> Outcome {
    let machine = bench::ratified();
    rig.with_chip(&machine, |desk| {
        let pin = desk.input(0)?;
        machine.drive(L0, Some(High));
        ensure_eq!(pin.level(), Ok(High), "a level that was answered");
        machine.tamper(0, [Tamper::Unwritten]);
        ensure_eq!(pin.level(), Err(Error::InvalidStatus(0xff)), "an answer that was never written");
        machine.tamper(0, [Tamper::Bytes(vec![0])]);
        ensure_eq!(pin.level(), Err(Error::ShortResponse { length: 1 }), "an answer without its second byte");
        ensure_eq!(pin.level(), Ok(High), "the level behind that");
        Ok(())
    })
}

fn v2(rig: &dyn Rig) -> Outcome {
    for settings in [Settings::new(RATIFIED), legacy(RATIFIED)] {
        let machine = bench::ratified_with(settings, Options::default());
        // A configuration that changes while it is read is read again.
        machine.unsettle_config(2);
        rig.with_chip(&machine, |desk| {
            let registers = machine.registers();
            let fields = (registers.read_config_u16(0), registers.read_config_u16(2), registers.read_config_u32(4));
            ensure_eq!(fields, (bench::LINES, 0, 0), "the configuration while the driver is at work");
            ensure!(desk.chip.line(LineId(bench::LINES)).is_err(), "there are more lines than the configuration says");
            desk.output(bench::LINES.saturating_sub(1), High)?.release()?;
            Ok(())
        })?;
    }
    Ok(())
}

fn v3(rig: &dyn Rig) -> Outcome {
    let machine = bench::ratified();
    rig.with_chip(&machine, |desk| {
        ensure_eq!(machine.registers().read_config_u32(4), 0, "the names' size");
        ensure_eq!(desk.requests()?, [], "requests of the set-up");
        ensure!(desk.chip.name(L0).is_none(), "a line has a name");
        Ok(())
    })
}

fn v4(rig: &dyn Rig) -> Outcome {
    let options = Options { names: bench::names(&["led", "", "button"])?, ..Options::default() };
    let machine = bench::ratified_with(Settings::new(RATIFIED), options);
    rig.with_chip(&machine, |desk| {
        ensure_eq!(machine.registers().read_config_u32(4), 9 + u32::from(bench::LINES), "the names' size");
        ensure_eq!(["led", "button"].map(|name| desk.chip.find(name)), [Some(L0), Some(LineId(2))], "lines by name");
        Ok(())
    })
}

fn v5(rig: &dyn Rig) -> Outcome {
    let machine = bench::ratified();
    rig.with_chip(&machine, |desk| {
        let mut led = desk.output(0, Low)?;
        desk.requests()?;
        let levels = [High, Low, High, Low, High];
        let mut pending = vec![];
        for level in levels {
            pending.push(led.start_set(level)?);
        }
        for one in pending {
            one.wait()?;
        }
        ensure_eq!(desk.requests()?, levels.map(|level| Request::SetValue(L0, level)), "the order of requests");
        ensure_eq!(machine.line(L0).level(), High, "the level at the end");
        Ok(())
    })
}

fn v6(rig: &dyn Rig) -> Outcome {
    let machine = bench::ratified();
    rig.with_chip(&machine, |desk| {
        let (a, b) = (desk.input(0)?, desk.input(1)?);
        machine.drive(L0, Some(High));
        machine.tamper(0, [Tamper::Hold, Tamper::Hold]);
        let (first, second) = (a.start_level()?, b.start_level()?);
        machine.run();
        machine.release_held(true);
        desk.pump()?;
        ensure_eq!((first.wait(), second.wait()), (Ok(High), Ok(Low)), "the levels of two lines, answered last first");
        Ok(())
    })
}

fn v7(rig: &dyn Rig) -> Outcome {
    let machine = bench::ratified();
    rig.with_chip(&machine, |desk| {
        desk.output(0, High)?.release()?;
        let line = machine.line(L0);
        ensure_eq!((line.direction, line.latch), (Direction::None, None), "direction and level of a released line");
        let pin = desk.watched(0, RisingEdge)?;
        desk.pump()?;
        // The second rise finds the line masked: the driver has not had its buffer back yet.
        for level in [High, Low, High] {
            machine.drive(L0, Some(level));
        }
        pin.release()?;
        desk.pump()?;
        desk.triggers();
        let _again = desk.watched(0, RisingEdge)?;
        desk.pump()?;
        ensure_eq!(desk.triggers(), [], "events of before, on a line that is in use anew");
        Ok(())
    })
}

fn v8(rig: &dyn Rig) -> Outcome {
    let machine = bench::ratified();
    rig.with_chip(&machine, |desk| {
        let _pin = desk.watched(0, RisingEdge)?;
        desk.pump()?;
        for level in [High, Low, High] {
            machine.drive(L0, Some(level));
        }
        desk.pump()?;
        ensure_eq!(
            desk.triggers(),
            [(0, Trigger::Rising), (0, Trigger::Rising)],
            "events of two rises, the second while the line was masked"
        );
        Ok(())
    })
}

fn v9(rig: &dyn Rig) -> Outcome {
    let machine = bench::ratified();
    rig.with_chip(&machine, |desk| {
        let mut pin = desk.watched(0, HighLevel)?;
        desk.pump()?;
        desk.drive(0, High)?;
        ensure_eq!(desk.triggers(), [(0, Trigger::High)], "the level's event");
        for level in [Low, High, Low] {
            desk.drive(0, level)?;
        }
        pin.unmask();
        desk.pump()?;
        ensure_eq!(desk.triggers(), [], "events of a level that is over");
        Ok(())
    })
}

fn v10(rig: &dyn Rig) -> Outcome {
    let machine = bench::ratified();
    rig.with_chip(&machine, |desk| {
        let mut pin = desk.watched(0, RisingEdge)?;
        desk.pump()?;
        for level in [High, Low, High] {
            machine.drive(L0, Some(level));
        }
        pin.watch(InterruptType::None)?;
        desk.triggers();
        machine.take_activities();
        pin.watch(RisingEdge)?;
        desk.pump()?;
        ensure_eq!(desk.triggers(), [], "events of an edge that was latched before the line was disabled");
        let event = |activity: &Activity| matches!(activity, Activity::Event { .. });
        ensure!(!machine.take_activities().iter().any(event), "the device has told of it");
        Ok(())
    })
}
