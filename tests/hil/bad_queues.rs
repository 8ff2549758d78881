//! Ratified devices that break the rules of the used ring or of interrupts: the queue is given up, the device is reset,
//! and everything goes on.

use anyhow::{Context, ensure};
use gpio_model::observe::Activity;
use gpio_model::ratified::Options;
use hil::scene::{Running, Scene, Setting};
use vgpio::chip::Chip;
use vgpio::fault::{AnswerFault, QueueFault};
use vgpio::qemu::command::Presentation;
use vgpio::request::Requests;
use virtio_gpio::messages::ratified::Request;
use virtio_gpio::{Level, LineId};

use crate::{Entry, Transports};

pub(crate) const CASES: &[Entry] = &[
    ("a1_a2_a3_a4_a5_a_used_id_that_means_nothing_breaks_the_queue", Transports::Both, wrong_ids),
    ("a7_a8_a_used_index_that_jumps_breaks_the_queue", Transports::Modern, jumps),
    ("b4_b6_interrupts_without_a_reason_do_no_harm", Transports::Modern, spurious),
    ("b7_answers_without_an_interrupt_are_found", Transports::Modern, lost_interrupts),
];

fn chip() -> anyhow::Result<Chip> {
    Ok(Chip::ratified(vec!["led0".into(), "led1".into(), "button0".into()], Options::default())?)
}

const FIRST_BEAT: Request = Request::SetValue(LineId(0), Level::High);

fn wrong_ids(setting: Setting) -> anyhow::Result<()> {
    for (fault, message) in [
        (AnswerFault::Id(5000), "queue 0 broken: used id 5000 is out of range; resetting it"),
        (AnswerFault::Id(u32::MAX), "queue 0 broken: used id 4294967295 is out of range; resetting it"),
        // The low half is right.
        (AnswerFault::IdPlus(0x1_0000), " is out of range; resetting it"),
        // Neither of two requests uses it.
        (AnswerFault::Id(40), "queue 0 broken: used id 40 is not in flight; resetting it"),
        // The second descriptor of the chain.
        (AnswerFault::IdPlus(1), " is not in flight; resetting it"),
        // It may be seen as one element too many before it is seen as the same one.
        (AnswerFault::Twice, "queue 0 broken: used i"),
    ] {
        let mut chip = chip()?;
        chip.spoil_answers(fault, 1, FIRST_BEAT)?;
        let mut running =
            Scene::new(setting, vec![(chip, Presentation::Gpio)])?.append("watch=none count=3 period=100ms").start()?;
        running.expect_exit(0).with_context(|| format!("{fault:?}"))?;
        running.expect_line(message)?;
        running.expect_line("gpio0: recovered, every line is as it was")?;
        let summary = running.expect_line("summary blinks=6 edges=0 ").with_context(|| format!("{fault:?}"))?;
        ensure!(summary.contains("resets=1"), "{fault:?}: {summary}");
    }
    Ok(())
}

fn jumps(setting: Setting) -> anyhow::Result<()> {
    for (queue, by) in [(0, 1000), (0, u16::MAX), (1, 2), (1, 1000)] {
        let mut running = Scene::new(setting, vec![(chip()?, Presentation::Gpio)])?
            .append("shell=on watch=button0 period=200ms log=debug")
            .start()?;
        running.expect_line("blink gpio0:1 led1 level=1")?;
        running.with_chip(0, move |chip| chip.spoil_queue(queue, QueueFault::Jump(by)))?;
        running.expect_line(&format!("WARN  gpio0: queue {queue} broken: used index jumped from "))?;
        running.expect_line("gpio0: recovered, every line is as it was")?;
        running.expect("the line to be unmasked after the reset", |records| {
            let reset = records.iter().rposition(|record| record.activity == Activity::Reset)?;
            let after = records.get(reset..)?;
            after.iter().any(|record| record.activity == Activity::Unmasked(LineId(2))).then_some(())
        })?;
        running.drive(0, 2, Level::High)?;
        running.expect_line("edge gpio0:2 button0 rising level=1 count=1")?;
        expect_blinking(&running)?;
        running.exit().with_context(|| format!("queue {queue}, {by}"))?;
        let summary = running.expect_line("summary blinks=")?;
        ensure!(summary.contains(" edges=1 ") && summary.contains("resets=1"), "{summary}");
    }
    Ok(())
}

/// The guest goes on with its work from here on: a line goes up and down.
fn expect_blinking(running: &Running) -> anyhow::Result<()> {
    let seen = running.activities(0).len();
    running.expect("the blinking to go on", |records| {
        let new = records.get(seen..)?;
        let set = |level| Ok(Request::SetValue(LineId(0), level));
        let is_set = |level| {
            let sets = |activity| matches!(activity, Activity::Request { request, .. } if request == set(level));
            new.iter().any(|record| sets(record.activity))
        };
        (is_set(Level::High) && is_set(Level::Low)).then_some(())
    })
}

fn spurious(setting: Setting) -> anyhow::Result<()> {
    let mut running = Scene::new(setting, vec![(chip()?, Presentation::Gpio)])?
        .append("shell=on watch=button0 period=400ms log=debug")
        .start()?;
    running.expect_line("blink gpio0:1 led1 level=1")?;
    // B6 asks for 100,000; QEMU makes one of those that come at once.
    for _ in 0..1000 {
        running.with_chip(0, |chip| {
            for number in 0..100 {
                chip.spoil_queue(number % 2, QueueFault::Interrupt);
            }
        })?;
    }
    running.drive(0, 2, Level::High)?;
    running.expect_line("edge gpio0:2 button0 rising level=1 count=1")?;
    expect_blinking(&running)?;
    running.exit()?;
    let summary = running.expect_line("summary blinks=")?;
    ensure!(summary.contains(" edges=1 errors=0 resets=0"), "{summary}");
    Ok(())
}

fn lost_interrupts(setting: Setting) -> anyhow::Result<()> {
    let mut chip = chip()?;
    chip.spoil_answers(AnswerFault::Silent, u32::MAX, Requests::ANY)?;
    let mut running = Scene::new(setting, vec![(chip, Presentation::Gpio)])?
        .append("watch=button0 count=5 period=100ms timeout=2s")
        .start()?;
    running.expect_exit(0)?;
    running.expect_line("summary blinks=10 edges=0 errors=0 resets=0")?;
    Ok(())
}
