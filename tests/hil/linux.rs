//! A guest that is not ours: Linux on our simulated device, through its own driver and its character device.

use anyhow::ensure;
use gpio_model::observe::Activity;
use gpio_model::ratified::Options;
use hil::scene::{Running, Scene, Setting};
use vgpio::chip::Chip;
use vgpio::qemu::command::Presentation;
use vgpio::record::Record;
use vgpio::world::Wire;
use virtio_gpio::messages::ratified::Request;
use virtio_gpio::{Direction, InterruptType, Level, LineId};

use crate::{Entry, Transports};

pub(crate) const CASES: &[Entry] = &[
    ("names_and_directions_are_those_of_the_device", Transports::Both, names),
    ("outputs_are_set_in_order_and_released", Transports::Both, outputs),
    ("inputs_are_read_and_turned_round", Transports::Both, inputs),
    ("edges_arrive_in_order", Transports::Both, edges),
    ("edges_of_one_kind_are_the_only_ones_reported", Transports::Modern, one_kind),
    ("a_storm_of_edges_ends_with_the_last_level", Transports::Modern, storm),
    ("several_lines_change_in_one_call", Transports::Modern, several_lines),
];

/// Seven lines: two outputs, two wired inputs, two buttons, one without a name.
fn scene(setting: Setting) -> anyhow::Result<Scene> {
    let names = ["led0", "led1", "", "loop0", "button0", "button1", "x"];
    let chip = Chip::ratified(names.iter().map(ToString::to_string).collect(), Options::default())?;
    Scene::new(setting, vec![(chip, Presentation::Gpio)])
}

/// The program came to its end, and Linux has switched the machine off.
fn expect_end(running: &mut Running) -> anyhow::Result<()> {
    running.expect_line("linux: done")?;
    running.expect_exit(0)?;
    running.expect_no_line("virtio_gpio virtio")
}

/// The messages of the program about edges, in order.
fn reported(running: &Running) -> Vec<String> {
    let lines = running.console.lines();
    lines.iter().filter_map(|line| line.split_once("linux: edge ").map(|(_, edge)| edge.to_owned())).collect()
}

/// Waits until the line was unmasked that many times.
fn unmasked(running: &Running, line: u16, times: usize) -> anyhow::Result<()> {
    running.expect("the line to be unmasked", |records: &[Record]| {
        let unmasked = records.iter().filter(|r| r.activity == Activity::Unmasked(LineId(line)));
        (unmasked.count() >= times).then_some(())
    })
}

fn names(setting: Setting) -> anyhow::Result<()> {
    let mut running = scene(setting)?.linux("info request:0:out:1 info")?.start()?;
    expect_end(&mut running)?;
    running.expect_line("linux: chip gpiochip0 ")?;
    running.expect_line("lines=7")?;
    for line in ["0 led0 in free", "2 - in free", "3 loop0 in free", "6 x in free", "0 led0 out used"] {
        running.expect_line(&format!("linux: line {line}"))?;
    }
    let asked =
        |activity: &Activity| matches!(activity, Activity::Request { request: Ok(Request::LineNames), accepted: true });
    ensure!(running.activities(0).iter().any(asked), "the names came from elsewhere");
    Ok(())
}

fn outputs(setting: Setting) -> anyhow::Result<()> {
    let mut running =
        scene(setting)?.linux("request:0:out:1 set:0:0 set:0:1 get:0 set:0:0 get:0 release:0")?.start()?;
    expect_end(&mut running)?;
    running.expect_line("linux: get 0 1")?;
    running.expect_line("linux: get 0 0")?;
    let line = LineId(0);
    let seen: Vec<_> = running
        .accepted_requests(0)?
        .into_iter()
        .filter(|request| !matches!(request, Request::GetDirection(_)))
        .collect();
    let set = |level| Request::SetValue(line, level);
    let output = Request::SetDirection(line, Direction::Output);
    let expected = [set(Level::High), output, set(Level::Low), set(Level::High), set(Level::Low)];
    let changes: Vec<_> = seen.iter().copied().filter(|request| !matches!(request, Request::GetValue(_))).collect();
    ensure!(changes.starts_with(&expected), "expected {expected:?}, saw {seen:?}");
    // Nobody else has the line: the driver gives it back to the device.
    ensure!(changes.get(expected.len()..) == Some(&[Request::SetDirection(line, Direction::None)]), "saw {seen:?}");
    let levels = running.activities(0).into_iter().filter_map(|activity| match activity {
        Activity::Changed(change) if change.line == line => change.new_level(),
        _ => None,
    });
    let levels: Vec<_> = levels.collect();
    ensure!(levels == [Level::High, Level::Low, Level::High, Level::Low], "the line went through {levels:?}");
    Ok(())
}

fn inputs(setting: Setting) -> anyhow::Result<()> {
    let mut running = scene(setting)?
        .with_world(|world| {
            world.wire(Wire::new(world.find("led0")?, world.find("loop0")?))?;
            world.drive(std::time::Duration::ZERO, world.find("button0")?, Some(Level::High))?;
            Ok(())
        })?
        .linux("request:3:in request:4,5:in get:0 get:1 request:0:out:1 get:0 set:2:0 get:0 configure:2:in get:2 configure:2:out:1 get:0")?
        .start()?;
    expect_end(&mut running)?;
    let got: Vec<_> = running.console.lines().into_iter().filter(|line| line.contains("linux: get")).collect();
    let expected =
        ["get 0 0", "get 1 10", "get 0 1", "get 0 0", "get 2 0", "get 0 1"].map(|got| format!("linux: {got}"));
    ensure!(got == expected, "expected {expected:?}, saw {got:?}");
    let turns: Vec<_> = running
        .accepted_requests(0)?
        .into_iter()
        .filter_map(|request| match request {
            Request::SetDirection(_, direction) => Some(direction),
            _ => None,
        })
        .collect();
    let expected = [Direction::Output, Direction::Input, Direction::Output];
    ensure!(turns.starts_with(&expected), "expected {expected:?}, saw {turns:?}");
    Ok(())
}

fn edges(setting: Setting) -> anyhow::Result<()> {
    let mut running = scene(setting)?.linux("request:4,5:both edges:0:6 release:0")?.start()?;
    // Linux promises edges from the end of the request on.
    running.expect_line("linux: request 0")?;
    // The line, its new level, and how often it must have been unmasked before.
    let changes = [
        (4, Level::High, 1),
        (5, Level::High, 1),
        (4, Level::Low, 2),
        (4, Level::High, 3),
        (5, Level::Low, 2),
        (4, Level::Low, 4),
    ];
    for ((line, level, times), number) in changes.into_iter().zip(1..) {
        unmasked(&running, line, times)?;
        running.drive(0, line, level)?;
        let edge = if level == Level::High { "rising" } else { "falling" };
        running.expect_line(&format!("linux: edge {line} {edge} seqno={number}"))?;
    }
    expect_end(&mut running)?;
    ensure!(reported(&running).len() == changes.len(), "saw {:?}", reported(&running));
    let seen = running.accepted_requests(4)?;
    let kind = |kind| Request::SetInterruptType(LineId(4), kind);
    let both = seen.iter().position(|request| *request == kind(InterruptType::BothEdges));
    let none = seen.iter().rposition(|request| *request == kind(InterruptType::None));
    ensure!(both.is_some() && both < none, "the interrupt was not enabled and disabled again: {seen:?}");
    Ok(())
}

fn one_kind(setting: Setting) -> anyhow::Result<()> {
    for (kind, wanted) in [("rising", Level::High), ("falling", Level::Low)] {
        let mut running = scene(setting)?.linux(&format!("request:4:{kind} edges:0:2 quiet:0:100"))?.start()?;
        running.expect_line("linux: request 0")?;
        let mut times = 0;
        for level in [Level::High, Level::Low, Level::High, Level::Low] {
            if level == wanted {
                unmasked(&running, 4, times + 1)?;
            }
            running.drive(0, 4, level)?;
            if level == wanted {
                times += 1;
                // Linux merges edges that come before its thread for the last one has run.
                running.expect_line(&format!("linux: edge 4 {kind} seqno={times}"))?;
            }
        }
        expect_end(&mut running)?;
        running.expect_line("linux: quiet 0")?;
        let expected = [1, 2].map(|number| format!("4 {kind} seqno={number}"));
        ensure!(reported(&running) == expected, "expected {expected:?}, saw {:?}", reported(&running));
    }
    Ok(())
}

/// The world changes a line faster than any driver can follow. The device latches one edge, so that the last level is
/// always reported: whoever counts on that never misses a button.
fn storm(setting: Setting) -> anyhow::Result<()> {
    const EDGES: u32 = 2001;
    let mut running = scene(setting)?.linux("request:4:both count:0:3000:1 get:0 edges:0:1")?.start()?;
    running.expect_line("linux: request 0")?;
    for edge in 0..EDGES {
        running.drive(0, 4, if edge % 2 == 0 { Level::High } else { Level::Low })?;
    }
    let counted = running.expect_line("linux: count round=0 edges=")?;
    running.expect_line("linux: get 0 1")?;
    let counted: u32 = counted.split(['=', ' ']).nth(5).unwrap_or_default().parse()?;
    ensure!((1..=EDGES).contains(&counted), "{EDGES} edges became {counted}");
    // The line still works.
    running.drive(0, 4, Level::Low)?;
    expect_end(&mut running)?;
    ensure!(reported(&running) == [format!("4 falling seqno={}", counted + 1)], "saw {:?}", reported(&running));
    Ok(())
}

fn several_lines(setting: Setting) -> anyhow::Result<()> {
    let mut running = scene(setting)?
        .with_world(|world| {
            world.wire(Wire::new(world.find("led0")?, world.find("loop0")?))?;
            Ok(world.wire(Wire::new(world.find("led1")?, world.find("button0")?))?)
        })?
        .linux("request:0,1:out request:3,4:in set:0:11 get:1 set:0:01 get:1 set:0:10 get:1")?
        .start()?;
    expect_end(&mut running)?;
    let got: Vec<_> = running.console.lines().into_iter().filter(|line| line.contains("linux: get")).collect();
    let expected = ["11", "01", "10"].map(|got| format!("linux: get 1 {got}"));
    ensure!(got == expected, "expected {expected:?}, saw {got:?}");
    Ok(())
}
