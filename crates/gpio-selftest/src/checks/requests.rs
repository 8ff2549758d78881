//! What the driver owes on the request queue (VIRTIO 1.2, 5.18.6.8).

use alloc::vec::Vec;

use gpio_loopback::{Chain, Settings};
use gpio_model::ratified::Options;
use virtio_gpio::messages::ratified::Request;
use virtio_gpio::{Direction, InterruptType, Level, LineId};

use super::Check;
use crate::bench::{self, Desk, RATIFIED, Rig, legacy};
use crate::outcome::{Failure, Outcome, ensure, ensure_eq};
use InterruptType::{BothEdges, HighLevel, RisingEdge};
use Level::{High, Low};

pub(super) const CHECKS: &[Check] = &[
    ("R1 requests go on the request queue only", r1),
    ("R2 every message has a request and a response buffer", r2),
    ("R3 the request is complete, and readable only", r3),
    ("R4 the response is the device's to write", r4),
    ("R5 messages for the same and for other lines are under way at once", r5),
    ("R6 no interrupt message without the feature", r6),
    ("R7 no interrupt message for an output", r7),
    ("R8 the type is NONE at the end", r8),
    ("R9 from one type to another by way of NONE", r9),
];

const L0: LineId = LineId(0);

/// The names block of the machine that everything is sent to.
const NAMES: [&str; 1] = ["led"];
/// Its size: a NUL for each line.
const NAMES_SIZE: usize = 3 + bench::LINES as usize;

/// Every message that there is, as chains.
pub(super) fn everything(rig: &dyn Rig, mut test: impl FnMut(&[Chain]) -> Outcome) -> Outcome {
    let options = Options { names: bench::names(&NAMES)?, ..Options::default() };
    let machine = bench::ratified_with(Settings::new(RATIFIED), options);
    rig.with_chip(&machine, |desk| {
        let line = desk.line(0)?;
        line.direction()?;
        let mut pin = line.into_input()?;
        pin.level()?;
        pin.watch(BothEdges)?;
        desk.drive(0, High)?;
        let mut led = pin.into_output(Low)?;
        led.set(High)?;
        led.release()?;
        let _other = desk.watched(1, HighLevel)?;
        desk.pump()?;
        let chains = machine.take_chains();
        ensure!(chains.len() > 12, "the device saw {} messages only", chains.len());
        test(&chains)
    })
}

fn is_request(chain: &Chain) -> bool {
    chain.queue == 0
}

/// The types that were set, in order.
fn types(desk: &Desk<'_>) -> Outcome<Vec<InterruptType>> {
    let kind = |request| if let Request::SetInterruptType(_, kind) = request { Some(kind) } else { None };
    Ok(desk.requests()?.into_iter().filter_map(kind).collect())
}

fn r1(rig: &dyn Rig) -> Outcome {
    everything(rig, |chains| {
        for chain in chains {
            // Requests have eight bytes, events two.
            let size = if is_request(chain) { 8 } else { 2 };
            ensure_eq!(chain.readable.len(), size, "bytes of a message on queue {}", chain.queue);
        }
        Ok(())
    })
}

fn r2(rig: &dyn Rig) -> Outcome {
    everything(rig, |chains| {
        for chain in chains {
            let writable: Vec<bool> = chain.descriptors.iter().map(gpio_loopback::Descriptor::is_writable).collect();
            ensure_eq!(writable, [false, true], "which buffers of a chain the device may write");
        }
        Ok(())
    })
}

fn r3(rig: &dyn Rig) -> Outcome {
    everything(rig, |chains| {
        for chain in chains.iter().filter(|chain| is_request(chain)) {
            let bytes = <[u8; 8]>::try_from(chain.readable.as_slice());
            let request = bytes.map(Request::decode);
            ensure!(matches!(request, Ok(Ok(_))), "the device finds no request in {:02x?}", chain.readable);
        }
        Ok(())
    })
}

fn r4(rig: &dyn Rig) -> Outcome {
    everything(rig, |chains| {
        for chain in chains {
            let room = match chain.readable.first() {
                _ if !is_request(chain) => 1,
                Some(1) => NAMES_SIZE.saturating_add(1),
                _ => 2,
            };
            ensure_eq!(chain.room(), room, "bytes of room for the answer to {:02x?}", chain.readable);
            ensure_eq!(chain.writable.first(), Some(&0xff), "what stands in the room for an answer beforehand");
        }
        Ok(())
    })
}

fn r5(rig: &dyn Rig) -> Outcome {
    let machine = bench::ratified();
    rig.with_chip(&machine, |desk| {
        let (mut a, mut b) = (desk.output(0, Low)?, desk.output(1, Low)?);
        machine.take_chains();
        let pending = [a.start_set(High)?, a.start_set(Low)?, a.start_set(High)?, b.start_set(High)?];
        machine.run();
        ensure_eq!(machine.take_chains().len(), 4, "messages under way at once");
        desk.pump()?;
        for one in pending {
            one.wait()?;
        }
        ensure_eq!([0, 1].map(|line| machine.line(LineId(line)).level()), [High, High], "the levels at the end");
        Ok(())
    })
}

fn r6(rig: &dyn Rig) -> Outcome {
    for settings in [Settings::new(RATIFIED), legacy(RATIFIED)] {
        // The second queue does not even exist: a driver that set it up would fail.
        let settings = Settings { queue_limits: [64, 0], ..settings };
        let machine = bench::ratified_with(settings, Options { interrupts: false, ..Options::default() });
        rig.with_chip(&machine, |desk| {
            let mut pin = desk.input(0)?;
            ensure!(pin.watch(RisingEdge).is_err(), "a line is watched though the device has no interrupts");
            pin.unmask();
            drop(pin.into_output(High)?);
            desk.pump()?;
            ensure_eq!(types(desk)?, [], "interrupt messages");
            ensure!(machine.take_chains().iter().all(is_request), "something on the event queue");
            Ok(())
        })?;
    }
    Ok(())
}

fn r7(rig: &dyn Rig) -> Outcome {
    let machine = bench::ratified();
    rig.with_chip(&machine, |desk| {
        let led = desk.watched(0, BothEdges)?.into_output(High)?;
        let requests = desk.requests()?;
        let output = Request::SetDirection(L0, Direction::Output);
        let behind: Vec<_> = requests.iter().skip_while(|&&request| request != output).collect();
        ensure_eq!(behind, [&output], "from the message that makes it an output on");
        let before = Request::SetInterruptType(L0, InterruptType::None);
        ensure!(requests.contains(&before), "it still had an interrupt type when it became an output: {requests:?}");
        drop(led);
        desk.pump()?;
        ensure_eq!(desk.requests()?, [Request::SetDirection(L0, Direction::None)], "the end of an output");
        Ok(())
    })
}

fn r8(rig: &dyn Rig) -> Outcome {
    let machine = bench::ratified();
    rig.with_chip(&machine, |desk| {
        let end = [Request::SetInterruptType(L0, InterruptType::None), Request::SetDirection(L0, Direction::None)];
        let pin = desk.watched(0, RisingEdge)?;
        desk.requests()?;
        drop(pin);
        desk.pump()?;
        ensure_eq!(desk.requests()?, end, "the end of a watched line that is dropped");
        let pin = desk.watched(0, RisingEdge)?;
        desk.requests()?;
        pin.release()?;
        ensure_eq!(desk.requests()?, end, "the end of a watched line that is released");
        Ok(())
    })
}

fn r9(rig: &dyn Rig) -> Outcome {
    let machine = bench::ratified();
    rig.with_chip(&machine, |desk| {
        let mut pin = desk.watched(0, RisingEdge)?;
        desk.requests()?;
        pin.watch(HighLevel).map_err(Failure::from)?;
        ensure_eq!(types(desk)?, [InterruptType::None, HighLevel], "types on the way from one to another");
        Ok(())
    })
}
