//! Faults in an order that nobody chose: whatever comes together, the guest ends in order.

use std::env;
use std::time::Duration;

use anyhow::{Context, ensure};
use fastrand::Rng;
use gpio_model::ratified::Options;
use hil::scene::{PATIENCE, Scene, Setting};
use hil::soak::Blow;
use vgpio::chip::Chip;
use vgpio::qemu::command::Presentation;
use vgpio::world::Wire;
use virtio_gpio::Protocol;

use crate::{Entry, Transports};

pub(crate) const CASES: &[Entry] = &[("a_mix_of_faults_neither_stops_nor_crashes_the_guest", Transports::Both, mix)];

/// An environment variable that gives the one seed to run.
const SEED_VARIABLE: &str = "FAULT_MIX_SEED";
/// Each run is a seed of its own.
const SEEDS: [u64; 2] = [1, 2];
const FAULTS: u32 = 60;
/// Time for the fault to be met, and sometimes for a reset to come half-way.
const PAUSE: Duration = Duration::from_millis(100);

fn mix(setting: Setting) -> anyhow::Result<()> {
    let chosen = env::var(SEED_VARIABLE).ok();
    let chosen =
        chosen.map(|seed| seed.parse().with_context(|| format!("{SEED_VARIABLE} is no number"))).transpose()?;
    for seed in chosen.map_or(SEEDS.to_vec(), |seed| vec![seed]) {
        let repeat = || format!("seed {seed}; to repeat it: {SEED_VARIABLE}={seed} cargo test -p hil -- fault_mix");
        mix_of(setting, seed).with_context(repeat)?;
    }
    Ok(())
}

fn mix_of(setting: Setting, seed: u64) -> anyhow::Result<()> {
    let lines = ["led0", "led1", "loop0"].map(str::to_owned).to_vec();
    let chip = Chip::ratified(lines, Options::default())?;
    let mut running = Scene::new(setting, vec![(chip, Presentation::Gpio)])?
        .with_world(|world| Ok(world.wire(Wire::new(world.find("led1")?, world.find("loop0")?))?))?
        .append("blink=led0,led1 watch=loop0 period=20ms timeout=200ms for=7s")
        .start()?;
    running.expect_line("gpio0: ")?;
    let mut rng = Rng::with_seed(seed);
    for _ in 0..FAULTS {
        let blow = Blow::draw(&mut rng, Protocol::Ratified, 3);
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
