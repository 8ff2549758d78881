//! The event queue: what the driver owes (VIRTIO 1.2, 5.18.7.2), and what the device owes (5.18.7.3).

use alloc::vec;
use alloc::vec::Vec;

use gpio_loopback::{Machine, Tamper};
use gpio_model::observe::Activity;
use virtio_gpio::messages::ratified::{EventStatus, Request};
use virtio_gpio::{InterruptType, Level, LineId, Trigger};

use super::Check;
use crate::bench::{self, Desk, LINES, Rig};
use crate::outcome::{Failure, Outcome, ensure, ensure_eq};
use InterruptType::{BothEdges, FallingEdge, HighLevel, RisingEdge};
use Level::{High, Low};

pub(super) const CHECKS: &[Check] = &[
    ("E1 events need both a type and a buffer", e1),
    ("E2 a line is enabled before it is unmasked", e2),
    ("E3 each line has a buffer pair of its own", e3),
    ("E4 a line never has two pairs in the queue", e4),
    ("F1 no event unless enabled and unmasked", f1),
    ("F2 with type NONE the line's pair comes back, without an interrupt", f2),
];

const L0: LineId = LineId(0);

fn events(machine: &Machine) -> Vec<(LineId, EventStatus)> {
    let event = |activity: &Activity| match *activity {
        Activity::Event { line, status } => Some((line, status)),
        _ => None,
    };
    machine.take_activities().iter().filter_map(event).collect()
}

fn e1(rig: &dyn Rig) -> Outcome {
    let machine = bench::ratified();
    rig.with_chip(&machine, |desk| {
        let mut pin = desk.input(0)?;
        desk.drive(0, High)?;
        ensure_eq!(desk.triggers(), [], "events of a line without a type");
        pin.watch(HighLevel)?;
        desk.pump()?;
        ensure_eq!(desk.triggers(), [(0, Trigger::High)], "the event of a line with a type and a buffer");
        desk.pump()?;
        ensure_eq!(desk.triggers(), [], "events of a line without a buffer");
        Ok(())
    })
}

fn e2(rig: &dyn Rig) -> Outcome {
    let machine = bench::ratified();
    rig.with_chip(&machine, |desk| {
        let mut pin = desk.input(0)?;
        for kind in [RisingEdge, FallingEdge, HighLevel] {
            pin.watch(kind)?;
            desk.pump()?;
        }
        let mut enabled = false;
        let mut unmasked = 0u32;
        for activity in machine.take_activities() {
            match activity {
                Activity::Request { request: Ok(Request::SetInterruptType(_, kind)), accepted } => {
                    ensure!(accepted, "the device refuses the type {kind:?}");
                    enabled = kind != InterruptType::None;
                }
                Activity::Unmasked(_) => {
                    ensure!(enabled, "a buffer for a line without a type");
                    unmasked = unmasked.saturating_add(1);
                }
                _ => (),
            }
        }
        ensure!(unmasked >= 3, "the line was unmasked {unmasked} times");
        Ok(())
    })
}

/// Has all lines at work, with types that change, and looks at what the device saw.
fn busy(rig: &dyn Rig, mut test: impl FnMut(&Desk<'_>) -> Outcome) -> Outcome {
    let machine = bench::ratified();
    rig.with_chip(&machine, |desk| {
        let mut pins = vec![];
        for line in 0..LINES {
            pins.push(desk.watched(line, BothEdges)?);
        }
        for round in 0..20u32 {
            for line in 0..LINES {
                machine.drive(LineId(line), Some(round.is_multiple_of(2).into()));
            }
            desk.pump()?;
            if round.is_multiple_of(7) {
                let kind = if round.is_multiple_of(2) { RisingEdge } else { BothEdges };
                for pin in &mut pins {
                    pin.watch(kind)?;
                }
            }
            desk.pump()?;
            desk.triggers();
        }
        test(desk)
    })
}

fn e3(rig: &dyn Rig) -> Outcome {
    busy(rig, |desk| {
        let mut buffers = [None; LINES as usize];
        for chain in desk.machine.take_chains().iter().filter(|chain| chain.queue == 1) {
            let line = usize::from(chain.readable.first().copied().unwrap_or(u8::MAX));
            let status = chain.descriptors.last().map_or(0, |descriptor| descriptor.address);
            let own = buffers.get_mut(line).ok_or_else(|| Failure::new("a buffer for a line that there is not"))?;
            ensure!(*own.get_or_insert(status) == status, "the buffer of line {line} moves");
        }
        let mut places: Vec<u64> = buffers.into_iter().flatten().collect();
        places.sort_unstable();
        places.dedup();
        ensure_eq!(places.len(), usize::from(LINES), "different buffers");
        Ok(())
    })
}

fn e4(rig: &dyn Rig) -> Outcome {
    busy(rig, |desk| {
        let mut queued = [false; LINES as usize];
        for activity in desk.machine.take_activities() {
            let (line, now) = match activity {
                Activity::Unmasked(line) => (line, true),
                Activity::Event { line, .. } => (line, false),
                _ => continue,
            };
            if let Some(queued) = queued.get_mut(usize::from(line.0)) {
                ensure!(!(*queued && now), "two pairs for line {line}");
                *queued = now;
            }
        }
        Ok(())
    })?;
    // A device that keeps the pair of a line that was disabled: it is not queued again before it came back.
    let machine = bench::ratified();
    rig.with_chip(&machine, |desk| {
        let mut pin = desk.watched(0, RisingEdge)?;
        desk.pump()?;
        machine.take_chains();
        machine.tamper(1, [Tamper::Hold]);
        pin.watch(InterruptType::None)?;
        pin.watch(FallingEdge)?;
        desk.pump()?;
        ensure!(machine.take_chains().iter().all(|chain| chain.queue == 0), "a second pair for a line");
        machine.release_held(false);
        desk.pump()?;
        let pairs = machine.take_chains().iter().filter(|chain| chain.queue == 1).count();
        ensure_eq!(pairs, 1, "pairs once the first has come back");
        Ok(())
    })
}

fn f1(rig: &dyn Rig) -> Outcome {
    let machine = bench::ratified();
    rig.with_chip(&machine, |desk| {
        let _sensed = desk.input(0)?;
        let _masked = desk.watched(1, HighLevel)?;
        desk.pump()?;
        desk.drive(1, High)?;
        ensure_eq!(events(&machine), [(LineId(1), EventStatus::Valid)], "the event that masks the second line");
        for level in [High, Low, High] {
            for line in 0..3 {
                desk.drive(line, level)?;
            }
        }
        ensure_eq!(events(&machine), [], "events of lines without a type, masked, or not in use");
        Ok(())
    })
}

fn f2(rig: &dyn Rig) -> Outcome {
    let machine = bench::ratified();
    rig.with_chip(&machine, |desk| {
        let mut pin = desk.watched(0, RisingEdge)?;
        desk.pump()?;
        events(&machine);
        pin.watch(InterruptType::None)?;
        desk.pump()?;
        ensure_eq!(events(&machine), [(L0, EventStatus::Invalid)], "the pair of a line whose type became NONE");
        ensure_eq!(desk.triggers(), [], "events of it");
        let resources = desk.chip.resources();
        ensure!(resources.is_at_rest() && resources.standing == 0, "the driver has not got it back: {resources:?}");
        Ok(())
    })
}
