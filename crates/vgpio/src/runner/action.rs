//! What steps do to the world.

use std::time::Duration;

use anyhow::Context;
use virtio_gpio::messages::LineId;
use virtio_gpio::messages::draft::Message;

use crate::chip::Chip;
use crate::fault::QueueFault;
use crate::scenario::check::requests;
use crate::scenario::fault::{ChipName, Fault};
use crate::scenario::layout::{Layout, Unknown};
use crate::scenario::step::Step;
use crate::world::{Place, Stimulus, World};

/// Something to do to the world at its present time.
pub(super) type Action = Box<dyn FnOnce(&mut World, Duration) -> anyhow::Result<()> + Send>;

/// What a step does to the world; `None` for one that does nothing to it. `seed` is for what is random.
pub(super) fn of_step(step: &Step, layout: &Layout, seed: u64) -> anyhow::Result<Option<Action>> {
    let place = |line: &str| layout.line(line).map_err(failed);
    let (line, stimulus) = match step {
        Step::SetControl(control) => return Ok(Some(drive(place(&control.line)?, Some(control.value.0)))),
        Step::Release(line) => return Ok(Some(drive(place(line)?, None))),
        Step::Fault(fault) => return self::fault(fault, layout).map(Some),
        Step::Pulse(pulse) => (&pulse.line, Stimulus::Pulse { level: pulse.value.0, width: pulse.width.0 }),
        Step::Clock(clock) => {
            (&clock.line, Stimulus::Clock { period: clock.period.0, cycles: clock.cycles.map(u64::from) })
        }
        Step::Pwm(pwm) => {
            (&pwm.line, Stimulus::Pwm { period: pwm.period.0, high: pwm.high.0, cycles: pwm.cycles.map(u64::from) })
        }
        Step::Bounce(bounce) => (
            &bounce.line,
            Stimulus::Bounce {
                to: bounce.to.0,
                over: bounce.over.0,
                changes: bounce.changes,
                seed: bounce.seed.unwrap_or(seed),
            },
        ),
        _ => return Ok(None),
    };
    let place = place(line)?;
    Ok(Some(Box::new(move |world, now| Ok(world.stimulate(now, place, stimulus)?))))
}

fn drive(place: Place, level: Option<virtio_gpio::messages::Level>) -> Action {
    Box::new(move |world, now| Ok(world.drive(now, place, level)?))
}

/// Names are checked when a file is read, so this cannot happen.
fn failed(Unknown { message, .. }: Unknown) -> anyhow::Error {
    anyhow::Error::msg(message)
}

fn fault(fault: &Fault, layout: &Layout) -> anyhow::Result<Action> {
    let chip =
        |name: &Option<ChipName>| layout.chip(name.as_ref().map_or("gpio0", |name| name.as_str())).map_err(failed);
    Ok(match fault {
        Fault::Answer(answer) => {
            let place = answer.to.line.as_ref().map(|line| layout.line(line)).transpose().map_err(failed)?;
            let requests = requests(&answer.to, place.map(|place| place.line)).map_err(anyhow::Error::msg)?;
            let chip = match (&answer.chip, place) {
                (None, Some(place)) => place.chip,
                (name, _) => chip(name)?,
            };
            let (fault, times) = (answer.with.into(), answer.times);
            on_chip(chip, move |chip| Ok(chip.spoil_answers(fault, times, requests)?))
        }
        Fault::Mute(line) => mute(layout.line(line).map_err(failed)?, true),
        Fault::Unmute(line) => mute(layout.line(line).map_err(failed)?, false),
        Fault::Stall(of) => on_chip(chip(&of.chip)?, |chip| {
            chip.set_stalled(true);
            Ok(())
        }),
        Fault::Resume(of) => on_chip(chip(&of.chip)?, |chip| {
            chip.set_stalled(false);
            Ok(())
        }),
        Fault::Jump(jump) => {
            let (queue, by) = (jump.queue.number(), jump.by);
            on_chip(chip(&jump.chip)?, move |chip| {
                chip.spoil_queue(queue, QueueFault::Jump(by));
                Ok(())
            })
        }
        Fault::Interrupt(interrupt) => {
            let (queue, times) = (interrupt.queue.number(), interrupt.times);
            on_chip(chip(&interrupt.chip)?, move |chip| {
                for _ in 0..times {
                    chip.spoil_queue(queue, QueueFault::Interrupt);
                }
                Ok(())
            })
        }
        Fault::ReturnEvents(events) => {
            let times = events.times;
            on_chip(chip(&events.chip)?, move |chip| Ok(chip.return_events(times)?))
        }
        Fault::Message(message) => {
            let sent = Message { kind: message.kind, line: LineId(message.line), value: message.value };
            on_chip(chip(&message.chip)?, move |chip| Ok(chip.send(sent)?))
        }
    })
}

/// Something to do to one chip.
fn on_chip(number: usize, change: impl FnOnce(&mut Chip) -> anyhow::Result<()> + Send + 'static) -> Action {
    Box::new(move |world, _| change(world.chip_mut(number).context("There is no such chip")?))
}

fn mute(place: Place, mute: bool) -> Action {
    Box::new(move |world, _| {
        world.chip_mut(place.chip).context("There is no such chip")?.set_mute(place.line, mute);
        Ok(())
    })
}
