//! First figures of the images: how soon they are up, how fast they change a line, how large they are, how little memory
//! they need. Five runs each; minimum, median and maximum. Not a test: nothing depends on the figures.

#![allow(clippy::arithmetic_side_effects, reason = "figures, none of them large")]

use std::time::{Duration, Instant};

use anyhow::Context;
use gpio_model::observe::Activity;
use gpio_model::ratified::Options;
use hil::scene::{PATIENCE, Running, Scene, Setting};
use vgpio::chip::Chip;
use vgpio::qemu::command::Presentation;
use vgpio::record::Record;
use virtio_gpio::messages::ratified::Request;

const RUNS: usize = 5;
const BLINKS: u32 = 2000;
const BOARDS: [&str; 2] = ["qemu-virt-aarch64", "qemu-virt-riscv64"];

fn main() -> anyhow::Result<()> {
    for board in BOARDS {
        let setting = Setting { board, modern: true };
        println!("{board}");
        let mut boots = Vec::new();
        let mut rates = Vec::new();
        for _ in 0..RUNS {
            let begin = Instant::now();
            let mut running = scene(setting)?.append(&format!("watch=none count={BLINKS} period=2us")).start()?;
            running.expect("a request", |records| records.iter().any(is_set).then_some(()))?;
            boots.push(begin.elapsed().as_secs_f64() * 1e3);
            running.expect_exit(0)?;
            rates.push(rate(&running).context("too few requests")?);
        }
        print("start of QEMU to the first request of the application, ms", boots);
        print("SET_VALUE requests of the blinking application, per second", rates);
        let command = hil::scene::command(setting)?;
        let raw = std::fs::metadata(command.image.with_extension("bin"))?.len();
        println!("  {:<60} {raw}", "raw image, bytes");
        println!("  {:<60} {} MiB", "least memory that it boots with", least_memory(setting)?);
    }
    Ok(())
}

fn scene(setting: Setting) -> anyhow::Result<Scene> {
    let chip = Chip::ratified(vec!["led0".into(), "button0".into()], Options::default())?;
    Scene::new(setting, vec![(chip, Presentation::Gpio)])
}

fn is_set(record: &Record) -> bool {
    matches!(record.activity, Activity::Request { request: Ok(Request::SetValue(..)), .. })
}

/// Requests per second between the first and the last one.
fn rate(running: &Running) -> Option<f64> {
    let records = running.trace.records();
    let mut requests = records.iter().filter(|record| is_set(record));
    let (first, last) = (requests.next()?, requests.next_back()?);
    let seconds = last.at.checked_sub(first.at).filter(|time| !time.is_zero())?.as_secs_f64();
    Some(f64::from(2 * BLINKS) / seconds)
}

fn print(what: &str, mut figures: Vec<f64>) {
    figures.sort_by(f64::total_cmp);
    let at = |index: usize| figures.get(index).copied().unwrap_or_default();
    println!("  {what:<60} {:.0} / {:.0} / {:.0}", at(0), at(RUNS / 2), at(RUNS - 1));
}

fn least_memory(setting: Setting) -> anyhow::Result<u32> {
    let mut least = 64;
    for memory in [32, 16, 12, 8, 6, 5, 4] {
        let mut running = scene(setting)?
            .append("watch=none count=1 period=20ms")
            .with_command(|mut command| {
                command.memory = memory;
                command
            })
            .start()?;
        let ended = running.guest.wait(PATIENCE.min(Duration::from_secs(10)));
        if !ended.is_ok_and(|status| status.success()) {
            break;
        }
        least = memory;
    }
    Ok(least)
}
