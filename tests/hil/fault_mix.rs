//! Faults in an order that nobody chose: whatever comes together, the guest ends in order.

use std::time::Duration;

use anyhow::{Context, ensure};
use gpio_model::ratified::Options;
use hil::scene::{PATIENCE, Scene, Setting};
use vgpio::chip::{Chip, WrongProtocol};
use vgpio::fault::{AnswerFault, QueueFault};
use vgpio::qemu::command::Presentation;
use vgpio::world::Wire;
use virtio_gpio::LineId;

use crate::{Entry, Transports};

pub(crate) const CASES: &[Entry] = &[("a_mix_of_faults_neither_stops_nor_crashes_the_guest", Transports::Both, mix)];

/// Each run is a seed of its own.
const SEEDS: [u64; 2] = [1, 2];
const FAULTS: u32 = 80;
/// Time for the fault to be met, and sometimes for a reset to come half-way.
const PAUSE: Duration = Duration::from_millis(100);

/// Something that goes wrong, or is well again.
#[derive(Debug, Clone, Copy)]
enum Blow {
    Answers(AnswerFault, u32),
    Events(u32),
    Queue(usize, QueueFault),
    Mute(bool),
    Stalled(bool),
}

const BLOWS: [Blow; 16] = [
    Blow::Answers(AnswerFault::Status(1), 1),
    Blow::Answers(AnswerFault::Status(200), 2),
    Blow::Answers(AnswerFault::Value(7), 2),
    Blow::Answers(AnswerFault::Length(0), 1),
    Blow::Answers(AnswerFault::Length(u32::MAX), 1),
    Blow::Answers(AnswerFault::Silent, 5),
    Blow::Answers(AnswerFault::Id(1), 1),
    Blow::Answers(AnswerFault::Twice, 1),
    Blow::Events(3),
    Blow::Queue(0, QueueFault::Interrupt),
    Blow::Queue(1, QueueFault::Interrupt),
    Blow::Queue(1, QueueFault::Jump(300)),
    Blow::Mute(true),
    Blow::Mute(false),
    Blow::Stalled(true),
    Blow::Stalled(false),
];

impl Blow {
    fn strike(self, chip: &mut Chip) -> Result<(), WrongProtocol> {
        match self {
            Self::Answers(fault, times) => chip.spoil_answers(fault, times, |_| true)?,
            Self::Events(times) => chip.return_events(times)?,
            Self::Queue(queue, fault) => chip.spoil_queue(queue, fault),
            Self::Mute(mute) => chip.set_mute(LineId(0), mute),
            Self::Stalled(stalled) => chip.set_stalled(stalled),
        }
        Ok(())
    }
}

/// The next number of a sequence that looks random (Knuth's linear congruential generator; its high bits are good).
fn next(state: &mut u64) -> usize {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    usize::from((*state >> 48) as u16)
}

fn mix(setting: Setting) -> anyhow::Result<()> {
    for seed in SEEDS {
        mix_of(setting, seed).with_context(|| format!("seed {seed}"))?;
    }
    Ok(())
}

fn mix_of(setting: Setting, seed: u64) -> anyhow::Result<()> {
    let lines = ["led0", "led1", "loop0"].map(str::to_owned).to_vec();
    let chip = Chip::ratified(lines, Options::default())?;
    let mut running = Scene::new(setting, vec![(chip, Presentation::Gpio)])?
        .with_world(|world| Ok(world.wire(Wire::new(world.find("led1")?, world.find("loop0")?))?))?
        .append("blink=led0,led1 watch=loop0 period=20ms timeout=200ms for=9s")
        .start()?;
    running.expect_line("gpio0: ")?;
    let mut state = seed;
    for _ in 0..FAULTS {
        let blow = *BLOWS.get(next(&mut state) % BLOWS.len()).context("no such fault")?;
        // The devices stop with the guest, which may give the device up before all faults were there.
        let Ok(done) = running.with_chip(0, move |chip| blow.strike(chip)) else { break };
        done?;
        std::thread::sleep(PAUSE);
    }
    let status = running.guest.wait(PATIENCE).with_context(|| running.text())?;
    // 0 or 1 by what was lost; anything else is a crash.
    ensure!(matches!(status.code(), Some(0 | 1)), "{status}:\n{}", running.text());
    running.expect_line("summary blinks=")?;
    Ok(())
}
