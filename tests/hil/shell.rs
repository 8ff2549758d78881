//! The shell: what is typed reaches the device, and does not disturb what else goes on.

use anyhow::{Context, ensure};
use gpio_model::observe::Activity;
use gpio_model::ratified::Options;
use hil::scene::{Running, Scene, Setting};
use vgpio::chip::Chip;
use vgpio::qemu::command::Presentation;
use virtio_gpio::messages::ratified::Request as R;
use virtio_gpio::{Direction as D, InterruptType as I, Level as L, LineId};

use crate::{Entry, Transports};

pub(crate) const CASES: &[Entry] = &[("commands_reach_the_device", Transports::Both, commands)];

const LINES: [&str; 6] = ["led0", "led1", "button0", "relay", "", "loop0"];

fn scene(setting: Setting) -> anyhow::Result<Scene> {
    let chip = Chip::ratified(LINES.map(str::to_owned).to_vec(), Options::default())?;
    Scene::new(setting, vec![(chip, Presentation::Gpio)])
}

/// Boots, and waits until the shell reads.
fn start(scene: Scene) -> anyhow::Result<Running> {
    let running = scene.start()?;
    running.expect_line("INFO  shell: ready")?;
    Ok(running)
}

/// Types a line, and waits for one that has `answer` in it.
fn ask(running: &mut Running, command: &str, answer: &str) -> anyhow::Result<()> {
    running.guest.type_in(&format!("{command}\r"))?;
    running.expect_line(answer).with_context(|| format!("as the answer to {command:?}"))?;
    Ok(())
}

/// The requests about one line, in order.
fn requests(running: &Running, line: u16) -> Vec<R> {
    let about = |activity| match activity {
        Activity::Request { request: Ok(request), .. } if request.line() == Some(LineId(line)) => Some(request),
        _ => None,
    };
    running.activities(0).into_iter().filter_map(about).collect()
}

fn commands(setting: Setting) -> anyhow::Result<()> {
    let mut running = start(scene(setting)?.append("blink=none watch=none shell=on"))?;
    ask(&mut running, "set relay 1", "gpio0:3 relay output high")?;
    ask(&mut running, "set 3 off", "gpio0:3 relay output low")?;
    ask(&mut running, "get button0", "gpio0:2 button0 input low")?;
    running.drive(0, 2, L::High)?;
    ask(&mut running, "get gpio0:button0", "gpio0:2 button0 input high")?;
    ask(&mut running, "dir loop0", "gpio0:5 loop0 none -")?;
    ask(&mut running, "dir loop0 in", "gpio0:5 loop0 input -")?;
    ask(&mut running, "dir loop0 out", "gpio0:5 loop0 output low")?;
    ask(&mut running, "dir loop0 none", "gpio0:5 loop0 - -")?;
    ask(&mut running, "watch 4", "gpio0:4 - input low watch=both edges=0")?;
    running.drive(0, 4, L::High)?;
    running.expect_line("edge gpio0:4 - rising level=1 count=1")?;
    ask(&mut running, "watch 4 falling", "gpio0:4 - input high watch=falling edges=1")?;
    running.drive(0, 4, L::Low)?;
    running.expect_line("edge gpio0:4 - falling level=0 count=2")?;
    ask(&mut running, "watch 4 none", "gpio0:4 - input low")?;
    ask(&mut running, "toggle led1 5 2ms", "gpio0:1 led1 output high")?;
    ask(&mut running, "lines", "gpio0:0 led0 - -")?;
    ask(&mut running, "stats", "all blinks=0 edges=2 errors=0")?;
    ask(&mut running, "help get", "get LINE: read a line")?;
    ask(&mut running, "exit", "summary blinks=0 edges=2 errors=0 resets=0")?;
    running.expect_exit(0)?;

    let [led1, button0, relay, unnamed, loop0] = [1, 2, 3, 4, 5].map(LineId);
    let toggles = [L::High, L::Low, L::High, L::Low, L::High].map(|level| R::SetValue(led1, level));
    let output = |line, level| vec![R::SetValue(line, level), R::SetDirection(line, D::Output)];
    let end_of_output = |line| vec![R::SetValue(line, L::Low), R::SetDirection(line, D::None)];
    for (line, expected) in [
        (LineId(0), vec![]),
        (led1, [output(led1, L::Low), toggles.to_vec(), end_of_output(led1)].concat()),
        (
            button0,
            vec![
                R::SetDirection(button0, D::Input),
                R::GetValue(button0),
                R::GetValue(button0),
                R::SetDirection(button0, D::None),
            ],
        ),
        (relay, [output(relay, L::High), vec![R::SetValue(relay, L::Low)], end_of_output(relay)].concat()),
        (
            loop0,
            [
                vec![R::GetDirection(loop0), R::SetDirection(loop0, D::Input)],
                output(loop0, L::Low),
                vec![R::SetDirection(loop0, D::None)],
            ]
            .concat(),
        ),
    ] {
        let seen = requests(&running, line.0);
        ensure!(seen == expected, "line {line}: expected {expected:#?}, saw {seen:#?}");
    }
    // Between the messages are questions for the level, whose number depends on the edges.
    let mut seen = requests(&running, unnamed.0);
    seen.retain(|request| !matches!(request, R::GetValue(_)));
    let kinds = [I::BothEdges, I::None, I::FallingEdge, I::None].map(|kind| R::SetInterruptType(unnamed, kind));
    let expected =
        [vec![R::SetDirection(unnamed, D::Input)], kinds.to_vec(), vec![R::SetDirection(unnamed, D::None)]].concat();
    ensure!(seen == expected, "expected {expected:#?}, saw {seen:#?}");
    Ok(())
}
