//! The self-test for ports, on the image's own seams and on broken ones: `examples/selftest.rs`.

use anyhow::{Context, ensure};
use gpio_selftest::sabotage::Mistake;
use hil::scene::{Running, Scene, Setting, command};
use vgpio::qemu::command::QemuCommand;

use crate::{Entry, Transports};

pub(crate) const CASES: &[Entry] = &[
    ("every_check_passes_on_the_images_seams", Transports::Modern, passes),
    ("every_check_passes_where_caches_are_kept_in_step_by_hand", Transports::Modern, cached),
    ("every_check_passes_where_stores_are_seen_late", Transports::Modern, weak),
    ("a_mistake_in_each_seam_is_found_by_name", Transports::Modern, mistakes),
];

/// A mistake in each seam. All others are tried on the host: `gpio-selftest`'s own tests.
const MISTAKES: [Mistake; 5] = [
    Mistake::ClockStandsStill,
    Mistake::NoClean,
    Mistake::NoRelease,
    Mistake::NoNotification,
    Mistake::AcknowledgesBehindHandler,
];

/// Boots the example, without devices, and waits for its end.
fn run(setting: Setting, words: &str, code: i32) -> anyhow::Result<Running> {
    let image = command(setting)?.image.with_file_name("examples").join("selftest.elf");
    ensure!(image.is_file(), "There is no image at {}: run scripts/build --examples", image.display());
    let scene = Scene::new(setting, Vec::new())?.append(words);
    let mut running = scene.with_command(|command| QemuCommand { image, ..command }).start()?;
    running.expect_exit(code)?;
    Ok(running)
}

/// What one run of the self-test printed: its points, each with whether it is ok, and all behind the number.
fn points(tap: &str) -> anyhow::Result<Vec<(bool, String)>> {
    let mut plan = None;
    let mut points = Vec::new();
    for line in tap.lines() {
        if let Some(count) = line.strip_prefix("1..") {
            plan = Some(count.parse::<usize>()?);
        }
        let Some((ok, rest)) = line.split_once("ok ").filter(|(ok, _)| matches!(*ok, "" | "not ")) else { continue };
        let (number, name) = rest.split_once(" - ").with_context(|| format!("no name: {line}"))?;
        points.push((ok.is_empty(), name.to_owned()));
        ensure!(number.parse() == Ok(points.len()), "the number is another than {}: {line}", points.len());
    }
    ensure!(plan == Some(points.len()), "planned are {plan:?} points, and there are {}:\n{tap}", points.len());
    Ok(points)
}

/// All runs.
fn runs(running: &Running) -> anyhow::Result<Vec<Vec<(bool, String)>>> {
    let text = running.console.lines().join("\n");
    text.split("TAP version 14").skip(1).map(points).collect()
}

/// One run, in which nothing failed and so much was skipped.
fn whole(setting: Setting, words: &str, skipped: usize) -> anyhow::Result<()> {
    let running = run(setting, words, 0)?;
    let [points] = &runs(&running)?[..] else {
        anyhow::bail!("there is more or less than one run:\n{}", running.text())
    };
    let failed: Vec<_> = points.iter().filter(|(ok, _)| !ok).collect();
    ensure!(failed.is_empty(), "{failed:?}");
    let left_out: Vec<_> = points.iter().filter(|(_, name)| name.contains("# SKIP")).collect();
    ensure!(left_out.len() == skipped, "{left_out:#?}");
    ensure!(
        points.iter().any(|(_, name)| name.starts_with("B17 "))
            && points.iter().any(|(_, name)| name.starts_with("D25 "))
    );
    Ok(())
}

/// What a coherent machine does not show is skipped: caches and fences.
fn passes(setting: Setting) -> anyhow::Result<()> {
    whole(setting, "", 8)
}

fn cached(setting: Setting) -> anyhow::Result<()> {
    whole(setting, "selftest-memory=cached", 5)
}

fn weak(setting: Setting) -> anyhow::Result<()> {
    whole(setting, "selftest-memory=weak", 3)
}

fn mistakes(setting: Setting) -> anyhow::Result<()> {
    let names = MISTAKES.map(Mistake::name).join(",");
    let running = run(setting, &format!("selftest-break={names}"), 1)?;
    let runs = runs(&running)?;
    ensure!(runs.len() == MISTAKES.len(), "{} runs", runs.len());
    for (mistake, points) in MISTAKES.into_iter().zip(runs) {
        let first = points.iter().find(|(ok, _)| !ok).with_context(|| format!("{mistake} is not found"))?;
        ensure!(first.1 == mistake.found_by(), "{mistake} is found by {first:?}");
    }
    Ok(())
}
