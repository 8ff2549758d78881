//! The shell: what is typed reaches the device, and does not disturb what else goes on.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use gpio_model::draft;
use gpio_model::observe::Activity;
use gpio_model::ratified::Options;
use hil::scene::{Running, Scene, Setting, command};
use vgpio::chip::Chip;
use vgpio::qemu::command::{Presentation, QemuCommand};
use virtio_gpio::messages::draft::RequestType;
use virtio_gpio::messages::ratified::Request as R;
use virtio_gpio::{Direction as D, InterruptType as I, Level as L, LineId};

use crate::{Entry, Transports};

pub(crate) const CASES: &[Entry] = &[
    ("commands_reach_the_device", Transports::Both, commands),
    ("the_lines_of_the_application_change_hands", Transports::Modern, handover),
    ("typing_does_not_disturb_the_blinking", Transports::Modern, blinking),
    ("words_are_completed_and_errors_say_what_was_expected", Transports::Modern, completion),
    ("garbage_is_survived", Transports::Modern, garbage),
    ("a_device_is_reset_and_its_lines_restored", Transports::Modern, reset),
    ("a_virtio_console_is_a_second_terminal", Transports::Both, virtio_console),
    ("answers_are_kept_while_nobody_reads", Transports::Both, slow_reader),
    ("a_device_of_the_draft_obeys_too", Transports::Both, draft_device),
    ("without_shell_on_what_is_typed_is_ignored", Transports::Modern, off),
];

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

fn handover(setting: Setting) -> anyhow::Result<()> {
    let mut running = start(scene(setting)?.append("blink=led0,led1 watch=button0 period=40ms shell=on"))?;
    ask(&mut running, "set led0 1", "gpio0:0 led0 output high")?;
    ask(&mut running, "set button0 0", "gpio0:2 button0 output low")?;
    ask(&mut running, "watch led1", "gpio0:1 led1 input")?;
    ask(&mut running, "dir led1 none", "gpio0:1 led1 - -")?;
    // Nothing of the application's is left, and it goes on until it is told to end.
    ask(&mut running, "get led0", "gpio0:0 led0 output high")?;
    ask(&mut running, "quit", "edges=0 errors=0 resets=0")?;
    running.expect_exit(0)?;
    let after_handover = requests(&running, 0);
    let end = [R::SetValue(LineId(0), L::High), R::GetValue(LineId(0))];
    let found = after_handover.windows(2).filter(|pair| *pair == end).count();
    ensure!(found == 1, "led0 is not left alone after it was taken: {after_handover:#?}");
    Ok(())
}

fn blinking(setting: Setting) -> anyhow::Result<()> {
    let mut running = start(scene(setting)?.append("blink=led0 watch=none period=20ms count=40 shell=on"))?;
    for round in 0..10 {
        let level = if round % 2 == 0 { "high" } else { "low" };
        running.guest.type_in(&format!("set relay {level}\rlines\rget 2\rtoggle led1 3 1ms\rnonsense\r"))?;
    }
    running.expect_exit(0)?;
    running.expect_line("summary blinks=40 edges=0 errors=0 resets=0")?;
    let led = LineId(0);
    let mut expected = vec![R::SetValue(led, L::Low), R::SetDirection(led, D::Output)];
    expected.extend([R::SetValue(led, L::High), R::SetValue(led, L::Low)].repeat(40));
    expected.extend([R::SetValue(led, L::Low), R::SetDirection(led, D::None)]);
    let seen = requests(&running, 0);
    ensure!(seen == expected, "the blinking was disturbed: {seen:#?}");
    ensure!(requests(&running, 3).len() > 2, "no command was carried out:\n{}", running.text());
    Ok(())
}

fn completion(setting: Setting) -> anyhow::Result<()> {
    let mut running = start(scene(setting)?.append("blink=none watch=none shell=on"))?;
    ask(&mut running, "se\trel\thi\t", "gpio0:3 relay output high")?;
    ask(&mut running, "get l\t\t\x15lines", "led0 led1 loop0")?;
    ask(&mut running, "set relay 0\x7f1\x08\x08 0", "gpio0:3 relay output low")?;
    running.guest.type_in("\x1b[A\x1b[A\x1b[B\x7f1\r")?;
    let high = R::SetValue(LineId(3), L::High);
    running.expect("the command of before, changed", |records| {
        let is_high =
            |activity: &Activity| matches!(activity, Activity::Request { request, .. } if *request == Ok(high));
        (records.iter().filter(|record| is_high(&record.activity)).count() == 2).then_some(())
    })?;
    for (command, error) in [
        ("got led0", "error: unknown command \"got\": expected lines, get, set,"),
        ("get nosuch", "error: unknown line \"nosuch\": expected the name or the number of a line"),
        ("get 99", "error: unknown line \"99\": expected a line of gpio0 from 0 to 5"),
        ("get gpio7:0", "error: unknown line \"gpio7:0\": expected a chip from gpio0 to gpio0"),
        ("set led0 2", "error: bad level \"2\": expected 0, 1, low, high, off or on"),
        ("reset gpio3", "error: unknown device \"gpio3\": expected gpio0 to gpio0"),
    ] {
        ask(&mut running, command, error)?;
    }
    ask(&mut running, "exit", "errors=0 resets=0")?;
    running.expect_exit(0)
}

/// Everything but Enter, more than any buffer holds; then a command.
fn garbage(setting: Setting) -> anyhow::Result<()> {
    let mut running = start(scene(setting)?.append("blink=led0 watch=none period=20ms shell=on"))?;
    let text: String = (0_u32..40_000).filter_map(|n| char::from_u32(n.wrapping_mul(2_654_435_761) >> 20)).collect();
    for chunk in text.as_bytes().chunks(1000) {
        running.guest.type_in(&String::from_utf8_lossy(chunk))?;
    }
    running.guest.type_in(&"x".repeat(5000))?;
    insist(&mut running, "\x03\rget 2\r", "gpio0:2 button0 input low")?;
    running.expect_no_line("panic")?;
    insist(&mut running, "\x15exit\r", "errors=0 resets=0")?;
    running.expect_exit(0)
}

/// Types something until it is answered: what does not fit is dropped, and so may be this, as long as what was typed
/// before is still being read.
fn insist(running: &mut Running, keys: &str, answer: &str) -> anyhow::Result<()> {
    for _ in 0..100 {
        // The guest may have gone on the last time.
        let _ = running.guest.type_in(keys);
        if running.console.wait_for(Duration::from_secs(5), answer).is_ok() {
            return Ok(());
        }
    }
    anyhow::bail!("the shell does not answer {keys:?} any more:\n{}", running.text())
}

fn reset(setting: Setting) -> anyhow::Result<()> {
    let mut running = start(scene(setting)?.append("blink=none watch=button0 shell=on"))?;
    ask(&mut running, "set relay 1", "gpio0:3 relay output high")?;
    ask(&mut running, "reset", "gpio0 recovered")?;
    running.expect_line("WARN  gpio0: a reset was asked for; resetting it")?;
    running.expect_line("INFO  gpio0: recovered, every line is as it was")?;
    running.drive(0, 2, L::High)?;
    running.expect_line("edge gpio0:2 button0 rising level=1 count=1")?;
    ask(&mut running, "get relay", "gpio0:3 relay output high")?;
    ask(&mut running, "stats", "resets=1 free=")?;
    ask(&mut running, "exit", "summary blinks=0 edges=1 errors=0 resets=1")?;
    running.expect_exit(0)
}

/// Adds a virtio console, whose other end is a socket.
fn with_virtio_console(scene: Scene, path: &Path) -> Scene {
    let chardev = format!("socket,id=vc,path={},server=on,wait=off", path.display());
    scene.with_command(|command| {
        ["-device", "virtio-serial-device", "-chardev", &chardev, "-device", "virtconsole,chardev=vc"]
            .into_iter()
            .fold(command, QemuCommand::arg)
    })
}

/// Somebody at the virtio console.
struct Terminal {
    keys: UnixStream,
    answers: BufReader<UnixStream>,
}

impl Terminal {
    fn open(path: &Path) -> anyhow::Result<Self> {
        let keys = UnixStream::connect(path)?;
        keys.set_read_timeout(Some(hil::scene::PATIENCE))?;
        Ok(Self { answers: BufReader::new(keys.try_clone()?), keys })
    }

    /// Types a line, and waits for one that has `answer` in it.
    fn ask(&mut self, command: &str, answer: &str) -> anyhow::Result<()> {
        self.keys.write_all(format!("{command}\r").as_bytes())?;
        let mut seen = String::new();
        while !seen.contains(answer) {
            let read = self.answers.read_line(&mut seen);
            let length = read.with_context(|| format!("expected {answer:?} after {seen:?}"))?;
            ensure!(length > 0, "expected {answer:?}, saw {seen:?}");
        }
        Ok(())
    }
}

fn virtio_console(setting: Setting) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("console.sock");
    let scene = scene(setting)?.append("blink=led0 watch=button0 period=100ms shell=on");
    let mut running = start(with_virtio_console(scene, &path))?;
    running.expect_line("is a second terminal")?;
    let mut terminal = Terminal::open(&path)?;
    terminal.ask("set rel\t 1", "gpio0:3 relay output high")?;
    terminal.ask("get 2", "gpio0:2 button0 input low watch=both edges=0")?;
    terminal.ask("got", "error: unknown command")?;
    // Many bytes at once, and what is typed on the console beside it.
    running.guest.type_in("set led1 1\r")?;
    terminal.ask(&format!("{}\x15get relay", "x".repeat(3000)), "gpio0:3 relay output high")?;
    running.expect_line("gpio0:1 led1 output high")?;
    running.expect_no_line("relay output high")?;
    terminal.ask("exit", "> exit")?;
    running.expect_exit(0)?;
    running.expect_line("errors=0 resets=0")?;
    Ok(())
}

/// QEMU drops what the socket has no room for, and a single byte takes as much room there as a line.
fn slow_reader(setting: Setting) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("console.sock");
    let scene = scene(setting)?.append("blink=none watch=none shell=on");
    let mut running = start(with_virtio_console(scene, &path))?;
    let mut terminal = Terminal::open(&path)?;
    let keys = format!("{}\x15help\rhelp\rset relay 1\r", "x".repeat(3000));
    terminal.keys.write_all(keys.as_bytes())?;
    let is_set = |activity| matches!(activity, Activity::Request { request: Ok(R::SetValue(LineId(3), _)), .. });
    running
        .expect("the line to be set", |records| records.iter().any(|record| is_set(record.activity)).then_some(()))?;
    let mut seen = String::new();
    while !seen.contains("gpio0:3 relay output high") {
        let length = terminal.answers.read_line(&mut seen).with_context(|| format!("after {seen:?}"))?;
        ensure!(length > 0, "the end after {seen:?}");
    }
    for command in ["get LINE: ", "set LINE ", "exit: "] {
        ensure!(seen.matches(command).count() == 2, "{command:?} is not there twice: {seen:?}");
    }
    terminal.ask("exit", "> exit")?;
    running.expect_exit(0)
}

/// Completion of names that a device of the draft tells, on both terminals; and what the device hears.
fn draft_device(setting: Setting) -> anyhow::Result<()> {
    let presentation = command(setting)?.program.presentation_of_draft(None, 256)?;
    let options = draft::Options { config_size: presentation.config_size().into(), ..draft::Options::default() };
    let chip = Chip::draft(LINES.map(str::to_owned).to_vec(), options)?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("console.sock");
    let scene = Scene::new(setting, vec![(chip, presentation)])?.append("blink=none watch=none shell=on");
    let mut running = start(with_virtio_console(scene, &path))?;
    ask(&mut running, "get l\t\t\x15lines", "led0 led1 loop0")?;
    ask(&mut running, "se\trel\thi\t", "gpio0:3 relay output high")?;
    ask(&mut running, "get but\t", "gpio0:2 button0 input low")?;
    running.drive(0, 2, L::High)?;
    ask(&mut running, "get button0", "gpio0:2 button0 input high")?;
    let mut terminal = Terminal::open(&path)?;
    terminal.ask("tog\tled1\t 3 2ms", "gpio0:1 led1 output high")?;
    terminal.ask("wat\t4", "gpio0:4 - input low watch=both edges=0")?;
    running.drive(0, 4, L::High)?;
    running.expect_line("edge gpio0:4 - rising level=1 count=1")?;
    terminal.ask("set relay low", "gpio0:3 relay output low")?;
    ask(&mut running, "exit", "summary blinks=0 edges=1 errors=0 resets=0")?;
    running.expect_exit(0)?;
    let of_relay = |activity| match activity {
        Activity::Message { request, .. } if request.line == LineId(3) => Some((request.kind, request.value)),
        _ => None,
    };
    let seen: Vec<_> = running.activities(0).into_iter().filter_map(of_relay).collect();
    let [out, set, input] =
        [RequestType::DirectionOutput, RequestType::SetValue, RequestType::DirectionInput].map(RequestType::code);
    let expected = [(RequestType::Request.code(), 0), (out, 1), (set, 0), (set, 0), (input, 0)];
    ensure!(seen == expected, "expected {expected:?}, saw {seen:?}");
    Ok(())
}

fn off(setting: Setting) -> anyhow::Result<()> {
    let mut running = scene(setting)?.append("blink=led0 watch=none period=20ms count=20").start()?;
    running.expect_line("gpio0: ")?;
    running.guest.type_in("set relay 1\rexit\r")?;
    running.expect_exit(0)?;
    running.expect_line("summary blinks=20 edges=0 errors=0 resets=0")?;
    running.expect_no_line("relay output")?;
    ensure!(requests(&running, 3).is_empty(), "a command was carried out");
    Ok(())
}
