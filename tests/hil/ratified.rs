//! The ratified protocol, as the device sees it. Tests carry the number of the conformance item that they show:
//! R and E for the driver's duties on the two queues, B for the rules of the text, V and F for the device's, which the
//! guest has to live with.

use anyhow::{Context, ensure};
use gpio_model::observe::Activity;
use gpio_model::ratified::Options;
use hil::scene::{Running, Scene, Setting};
use vgpio::chip::Chip;
use vgpio::qemu::command::Presentation;
use vgpio::record::Record;
use vgpio::record::log::Occurrence;
use vgpio::world::{Place, Wire};
use virtio_gpio::messages::ratified::{EventStatus, Request};
use virtio_gpio::{Direction, InterruptType, Level, LineId};

use crate::{Entry, Transports};

pub(crate) const CASES: &[Entry] = &[
    ("r1_r3_b7_blink_is_exactly_the_requests_of_the_specification", Transports::Both, blink),
    ("r7_r8_e2_e3_an_edge_is_enabled_unmasked_reported_and_ended", Transports::Both, edges),
    ("v8_short_pulses_are_two_edges", Transports::Both, pulses),
    ("v9_b15_a_level_fires_while_it_lasts", Transports::Modern, levels),
    ("edges_of_one_kind_are_the_only_ones_reported", Transports::Modern, one_kind),
    ("edges_come_from_the_guests_own_blinking", Transports::Both, wired),
    ("a_change_is_seen_before_the_line_that_tells_of_it", Transports::Both, ordered),
    ("r6_c4_without_interrupts_outputs_work_and_watch_says_so", Transports::Both, no_interrupts),
    ("c8_several_devices_work_at_once", Transports::Both, several),
    ("more_lines_blink_than_requests_can_be_under_way", Transports::Modern, many_blink),
    ("three_hundred_lines_work_by_name", Transports::Modern, many_lines),
    ("d1_all_lines_that_there_can_be", Transports::Modern, all_lines),
    ("d4_names_for_which_there_is_no_memory_are_left_out", Transports::Modern, names_beyond_memory),
];

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

fn scene(setting: Setting, lines: &[&str], options: Options) -> anyhow::Result<Scene> {
    let chip = Chip::ratified(names(lines), options)?;
    Scene::new(setting, vec![(chip, Presentation::Gpio)])
}

fn is_unmasked(line: u16) -> impl FnMut(&[Record]) -> Option<()> {
    move |records| records.iter().any(|r| r.activity == Activity::Unmasked(LineId(line))).then_some(())
}

fn blink(setting: Setting) -> anyhow::Result<()> {
    let mut running = scene(setting, &["led0", "", "x"], Options::default())?
        .append("watch=none count=3 period=40ms log=debug")
        .start()?;
    running.expect_exit(0)?;
    let transport = if setting.modern { "modern" } else { "legacy" };
    running.expect_line(&format!("GPIO (id 41, ratified), {transport}, irq "))?;
    running.expect_line("gpio0: \"\" 3 lines: led0 - x")?;
    running.expect_line("DEBUG blink gpio0:0 led0 level=1")?;
    running.expect_line("DEBUG blink gpio0:0 led0 level=0")?;
    running.expect_line("INFO  summary blinks=3 edges=0 errors=0 resets=0")?;
    let line = LineId(0);
    let set = |level| Request::SetValue(line, level);
    let mut expected = vec![set(Level::Low), Request::SetDirection(line, Direction::Output)];
    for _ in 0..3 {
        expected.extend([set(Level::High), set(Level::Low)]);
    }
    expected.extend([set(Level::Low), Request::SetDirection(line, Direction::None)]);
    let seen = running.accepted_requests(0)?;
    ensure!(seen == expected, "expected {expected:#?}, saw {seen:#?}");
    Ok(())
}

fn edges(setting: Setting) -> anyhow::Result<()> {
    let mut running = scene(setting, &["led0", "button0"], Options::default())?
        .append("blink=none watch=button0 for=3600s")
        .start()?;
    for (count, (level, edge)) in
        [(Level::High, "rising"), (Level::Low, "falling"), (Level::High, "rising")].iter().enumerate()
    {
        let unmasked = |records: &[Record]| {
            let times = records.iter().filter(|r| r.activity == Activity::Unmasked(LineId(1))).count();
            (times > count).then_some(())
        };
        running.expect("the line to be unmasked", unmasked)?;
        running.drive(0, 1, *level)?;
        running.expect_line(&format!("edge gpio0:1 button0 {edge} level={level} count={}", count + 1))?;
    }
    let seen = running.accepted_requests(1)?;
    let line = LineId(1);
    let enable = Request::SetInterruptType(line, InterruptType::BothEdges);
    let position = |request: &Request| seen.iter().position(|r| r == request);
    let input = position(&Request::SetDirection(line, Direction::Input)).context("never made an input")?;
    ensure!(input < position(&enable).context("never enabled")?, "enabled before it was an input: {seen:?}");
    // E2: unmasked only after the answer to the request that enables. E3, E4: never two buffers for one line.
    let mut enabled = false;
    let mut out = 0;
    for activity in running.activities(0) {
        match activity {
            Activity::Request { request, .. } if request == Ok(enable) => enabled = true,
            Activity::Unmasked(_) => {
                ensure!(enabled, "unmasked before it was enabled");
                out += 1;
                ensure!(out == 1, "two buffers for one line");
            }
            Activity::Event { .. } => out -= 1,
            _ => (),
        }
    }
    running.guest.end();
    Ok(())
}

/// R8, and the release of every line, at a regular end.
fn end_of_watch(running: &Running, line: u16) -> anyhow::Result<()> {
    let line_id = LineId(line);
    let seen = running.accepted_requests(line)?;
    let end =
        [Request::SetInterruptType(line_id, InterruptType::None), Request::SetDirection(line_id, Direction::None)];
    ensure!(seen.ends_with(&end), "expected the end {end:?}, saw {seen:?}");
    Ok(())
}

fn pulses(setting: Setting) -> anyhow::Result<()> {
    let mut running =
        scene(setting, &["led0", "button0"], Options::default())?.append("blink=led0 watch=button0 for=4s").start()?;
    running.expect("the line to be unmasked", is_unmasked(1))?;
    let devices = running.devices.as_ref().context("no devices")?;
    for _ in 0..5 {
        let before = running.console.lines().iter().filter(|line| line.contains("falling")).count();
        // Both changes between two looks at the queues: the second one is latched.
        devices.with(|world, now| {
            let place = Place { chip: 0, line: LineId(1) };
            world.drive(now, place, Some(Level::High)).and_then(|()| world.drive(now, place, Some(Level::Low)))
        })??;
        running.expect_line(&format!("falling level=0 count={}", 2 * (before + 1)))?;
    }
    running.expect_exit(0)?;
    running.expect_line("edges=10 errors=0 resets=0")?;
    let polarity: Vec<bool> = running
        .console
        .lines()
        .iter()
        .filter(|line| line.contains("edge gpio0:1"))
        .map(|line| line.contains("rising level=1"))
        .collect();
    ensure!(polarity == [true, false].repeat(5), "the edges do not alternate:\n{}", running.text());
    end_of_watch(&running, 1)
}

fn levels(setting: Setting) -> anyhow::Result<()> {
    let mut running = scene(setting, &["led0", "button0"], Options::default())?
        .append("blink=none watch=button0:high for=3s")
        .start()?;
    running.expect("the line to be unmasked", is_unmasked(1))?;
    running.drive(0, 1, Level::High)?;
    running.expect_line("edge gpio0:1 button0 high level=1 count=1")?;
    // Still high, so it fires again, by the guest's own pace.
    running.expect_line("edge gpio0:1 button0 high level=1 count=2")?;
    running.drive(0, 1, Level::Low)?;
    running.expect_exit(0)?;
    running.expect_no_line("level=0")?;
    end_of_watch(&running, 1)
}

fn one_kind(setting: Setting) -> anyhow::Result<()> {
    for (kind, level) in [("rising", Level::High), ("falling", Level::Low)] {
        let mut running = scene(setting, &["led0", "button0"], Options::default())?
            .append(&format!("shell=on blink=none watch=button0:{kind}"))
            .start()?;
        running.expect("the line to be unmasked", is_unmasked(1))?;
        for count in 1..=2 {
            for next in [Level::High, Level::Low] {
                running.drive(0, 1, next)?;
                if next == level {
                    running.expect_line(&format!("edge gpio0:1 button0 {kind} level={level} count={count}"))?;
                }
            }
        }
        running.exit()?;
        running.expect_line("summary blinks=0 edges=2 errors=0 resets=0")?;
    }
    Ok(())
}

fn wired(setting: Setting) -> anyhow::Result<()> {
    let mut running = scene(setting, &["led0", "loop0"], Options::default())?
        .with_world(|world| Ok(world.wire(Wire::new(world.find("led0")?, world.find("loop0")?))?))?
        .append("count=4 period=100ms")
        .start()?;
    running.expect_exit(0)?;
    running.expect_line("edge gpio0:1 loop0 rising level=1 count=7")?;
    running.expect_line("edge gpio0:1 loop0 falling level=0 count=8")?;
    running.expect_line("summary blinks=4 edges=8 errors=0 resets=0")?;
    end_of_watch(&running, 1)
}

/// Whoever sees that the guest says a level finds the change before it.
fn ordered(setting: Setting) -> anyhow::Result<()> {
    let mut running =
        scene(setting, &["led0"], Options::default())?.append("count=200 period=1ms log=debug").start()?;
    running.expect_exit(0)?;
    let mut changes = Vec::new();
    let mut said = 0;
    for event in running.log.events_from(0) {
        match event.what {
            Occurrence::Device { activity: Activity::Changed(change), .. } => changes.extend(change.new_level()),
            Occurrence::Console(line) if line.contains("blink gpio0:0 led0 level=") => {
                // The guest does not wait for its console: it may be further by now, but never less far.
                let change = changes.get(said);
                let right = change.is_some_and(|level| line.ends_with(&format!("level={level}")));
                ensure!(right, "{line:?} is about change {said}, which is {change:?}:\n{}", running.text());
                said += 1;
            }
            _ => {}
        }
    }
    ensure!(said == 400, "400 changes, but {said} lines about them:\n{}", running.text());
    let same = running.console.lines().iter().map(String::as_str).eq(running.log.console().iter().map(|line| &**line));
    ensure!(same, "the log has another console");
    Ok(())
}

fn no_interrupts(setting: Setting) -> anyhow::Result<()> {
    let options = || Options { interrupts: false, ..Options::default() };
    let mut running = scene(setting, &["led0", "button0"], options())?.append("count=2 period=20ms").start()?;
    running.expect_exit(0)?;
    running.expect_line("WARN  gpio0 cannot interrupt: none of its lines is watched")?;
    running.expect_line("summary blinks=2 edges=0 errors=0 resets=0")?;
    let asked = running.activities(0).into_iter().any(|activity| {
        matches!(activity, Activity::Request { request: Ok(Request::SetInterruptType(..)), .. } | Activity::Unmasked(_))
    });
    ensure!(!asked, "an interrupt message without the feature");
    let mut running = scene(setting, &["led0", "button0"], options())?.append("watch=button0").start()?;
    running.expect_exit(1)?;
    running.expect_line("cannot watch \"button0\": gpio0 cannot interrupt")?;
    Ok(())
}

fn several(setting: Setting) -> anyhow::Result<()> {
    let chip = |led: &str, button: &str| Chip::ratified(names(&[led, button]), Options::default());
    let devices = vec![(chip("led0", "b0")?, Presentation::Gpio), (chip("led1", "b1")?, Presentation::Gpio)];
    let mut running = Scene::new(setting, devices)?.append("count=10 period=200ms").start()?;
    // The first device has the highest address, and is therefore the last for the guest.
    running.expect_line("gpio0: \"\" 2 lines: led1 b1")?;
    running.expect_line("gpio1: \"\" 2 lines: led0 b0")?;
    running.expect("the second device's line to be unmasked", |records| {
        records.iter().any(|r| r.chip == 1 && r.activity == Activity::Unmasked(LineId(1))).then_some(())
    })?;
    running.expect("the first device's line to be unmasked", |records| {
        records.iter().any(|r| r.chip == 0 && r.activity == Activity::Unmasked(LineId(1))).then_some(())
    })?;
    running.drive(0, 1, Level::High)?;
    running.expect_line("edge gpio1:1 b0 rising level=1 count=1")?;
    running.drive(1, 1, Level::High)?;
    running.expect_line("edge gpio0:1 b1 rising level=1 count=1")?;
    running.expect_exit(0)?;
    running.expect_line("summary blinks=20 edges=2 errors=0 resets=0")?;
    Ok(())
}

fn many_blink(setting: Setting) -> anyhow::Result<()> {
    const LINES: usize = 100;
    let lines: Vec<_> = (0..LINES).map(|line| format!("led{line}")).collect();
    let chip = Chip::ratified(lines, Options::default())?;
    let mut running =
        Scene::new(setting, vec![(chip, Presentation::Gpio)])?.append("watch=none count=2 period=400ms").start()?;
    running.expect_exit(0)?;
    running.expect_line("summary blinks=200 edges=0 errors=0 resets=0")?;
    Ok(())
}

fn many_lines(setting: Setting) -> anyhow::Result<()> {
    let lines: Vec<String> = (0..300).map(|n| format!("line{n}")).collect();
    let chip = Chip::ratified(lines, Options::default())?;
    let mut running = Scene::new(setting, vec![(chip, Presentation::Gpio)])?
        .append("blink=line0,line299 watch=line298:rising,line256 count=2 period=400ms")
        .start()?;
    running.expect_line("300 lines: line0 line1")?;
    for (line, text) in [(298, "edge gpio0:298 line298 rising level=1"), (256, "edge gpio0:256 line256 rising level=1")]
    {
        running.expect("the line to be unmasked", is_unmasked(line))?;
        running.drive(0, line, Level::High)?;
        running.expect_line(text)?;
    }
    running.expect_exit(0)?;
    running.expect_line("summary blinks=4 edges=2 errors=0 resets=0")?;
    let high = |line| {
        running.activities(0).into_iter().any(|activity| {
            matches!(activity, Activity::Request { request, .. } if request == Ok(Request::SetValue(LineId(line), Level::High)))
        })
    };
    ensure!(high(0) && high(299), "both lines blink");
    Ok(())
}

fn all_lines(setting: Setting) -> anyhow::Result<()> {
    let chip = Chip::ratified(vec![String::new(); 65535], Options::default())?;
    let mut running = Scene::new(setting, vec![(chip, Presentation::Gpio)])?
        .append("blink=65534 watch=65533 count=1 period=400ms")
        .start()?;
    running.expect_line("65535 lines: - -")?;
    running.expect("the line to be unmasked", is_unmasked(65533))?;
    running.drive(0, 65533, Level::High)?;
    running.expect_line("edge gpio0:65533 - rising level=1 count=1")?;
    running.expect_exit(0)?;
    // An interrupted buffer that is queued again may be given back by the end; what matters is that none is lost.
    let invalid = running
        .activities(0)
        .into_iter()
        .filter(|activity| matches!(activity, Activity::Event { status: EventStatus::Invalid, .. }));
    ensure!(invalid.count() <= 1, "more than the one buffer that the end gives back");
    Ok(())
}

/// Three mebibytes of names, and a machine with eight mebibytes of memory, of which four are the heap.
fn names_beyond_memory(setting: Setting) -> anyhow::Result<()> {
    let long_names = (0..65535).map(|line| format!("x{line:047}")).collect();
    let greedy = Chip::ratified(long_names, Options::default())?;
    let modest = Chip::ratified(names(&["led0"]), Options::default())?;
    let mut running = Scene::new(setting, vec![(modest, Presentation::Gpio), (greedy, Presentation::Gpio)])?
        .with_command(|mut command| {
            command.memory = 8;
            command
        })
        .append("watch=none count=3 period=40ms")
        .start()?;
    running.expect_exit(0)?;
    running.expect_line("gpio0: \"\" 65535 lines: - -")?;
    running.expect_line("its lines can be used by number")?;
    running.expect_line("summary blinks=3 edges=0 errors=0 resets=0")?;
    running.expect_no_line("panic")?;
    Ok(())
}
