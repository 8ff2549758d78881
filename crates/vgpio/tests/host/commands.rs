//! The commands for a running simulation. Their formats are those of libgpiod's tools, typed in from its manual pages.
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Output};

use crate::command_line::{run, stderr, until, vgpio};
use crate::front_end::{FrontEnd, MODERN};
use crate::server::REQUESTS;
use tempfile::TempDir;

/// A simulation with the lines `led0` (which a guest uses as an output), `button0`, and one without a name.
pub(crate) struct Simulation {
    device: Child,
    pub(crate) control: String,
    guest: FrontEnd,
    _folder: TempDir,
}

pub(crate) fn simulation() -> Simulation {
    let folder = tempfile::tempdir().unwrap();
    let (socket, control) = (folder.path().join("s"), folder.path().join("c"));
    let [path, control_path] = [&socket, &control].map(|path| path.display().to_string());
    let lines = ["--line", "led0", "--line", "button0", "--lines", "3"];
    let device = vgpio(&["device", "-s", &path, "--control", &control_path]).args(lines).spawn().unwrap();
    until("the sockets are there", || socket.exists() && UnixStream::connect(&control).is_ok());
    let mut guest = FrontEnd::connect(&socket, MODERN);
    assert_eq!(guest.queues[REQUESTS].request([3, 0, 0, 0, 1, 0, 0, 0]), [0, 0]);
    Simulation { device, control: control_path, guest, _folder: folder }
}

impl Simulation {
    fn with(&self, command: &str, arguments: &[&str]) -> Output {
        vgpio(&[command]).args(arguments).env("VGPIO_CONTROL", &self.control).output().unwrap()
    }

    /// What a command prints that does what it should.
    fn prints(&self, command: &str, arguments: &[&str]) -> String {
        let output = self.with(command, arguments);
        assert_eq!(output.status.code(), Some(0), "{command} {arguments:?}: {}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// What a command says that cannot do what it should.
    fn complains(&self, command: &str, arguments: &[&str]) -> String {
        let output = self.with(command, arguments);
        assert_eq!(output.status.code(), Some(2), "{command} {arguments:?}: {}", stderr(&output));
        assert!(output.stdout.is_empty());
        stderr(&output)
    }
}

#[test]
fn info_is_printed_as_by_gpioinfo() {
    let simulation = simulation();
    assert_eq!(simulation.prints("set", &["button0=1"]), "");
    assert_eq!(
        simulation.prints("info", &[]),
        "gpiochip0 - 3 lines:\n\
         \tline   0:\t\"led0\"          \toutput consumer=\"guest\" level=0 driver=guest\n\
         \tline   1:\t\"button0\"       \tunused level=1 driver=outside\n\
         \tline   2:\tunnamed         \tunused level=0 driver=nobody\n"
    );
    assert_eq!(
        simulation.prints("info", &["--unquoted", "led0"]),
        "gpiochip0 0\tled0            \toutput consumer=guest level=0 driver=guest\n"
    );
    assert!(simulation.complains("info", &["--chip", "3"]).contains("no chip 3"));
}

#[test]
fn levels_are_read_as_by_gpioget_and_set_as_by_gpioset() {
    let simulation = simulation();
    assert_eq!(simulation.prints("set", &["--banner", "button0=on"]), "Setting line 'button0'...\n");
    assert_eq!(simulation.prints("get", &["led0", "button0"]), "\"led0\"=inactive \"button0\"=active\n");
    assert_eq!(simulation.prints("get", &["-c", "gpiochip0", "--numeric", "0", "button0", "2"]), "0 1 0\n");
    simulation.prints("set", &["-c", "0", "1=inactive", "2=1"]);
    assert_eq!(simulation.prints("get", &["-c0", "--unquoted", "1", "2"]), "1=inactive 2=active\n");
    simulation.prints("set", &["-c0", "2=release"]);
    assert_eq!(simulation.prints("get", &["-c0", "--numeric", "2"]), "0\n");

    assert!(simulation.complains("get", &["nosuch"]).contains("\"nosuch\""));
    assert!(simulation.complains("get", &["-c1", "led0"]).contains("gpio1"));
    assert!(simulation.complains("set", &["button0"]).contains("LINE=VALUE"));
    assert!(simulation.complains("set", &["button0=2"]).contains("expected 1"));
    assert!(simulation.complains("get", &[]).contains("LINE"));
}

/// A monitor that is ready.
fn monitor(simulation: &Simulation, arguments: &[&str]) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut command = vgpio(&["monitor", "--banner", "--control", &simulation.control]);
    let mut monitor = command.args(arguments).spawn().unwrap();
    let mut output = BufReader::new(monitor.stdout.take().unwrap());
    let mut banner = String::new();
    output.read_line(&mut banner).unwrap();
    assert!(banner.starts_with("Monitoring "), "{banner:?}");
    (monitor, output)
}

#[test]
fn edges_are_printed_as_by_gpiomon() {
    let mut simulation = simulation();
    let (mut child, output) = monitor(&simulation, &["-n", "3", "led0", "button0"]);
    simulation.prints("set", &["-t", "1,0", "button0=1"]);
    assert_eq!(simulation.guest.queues[REQUESTS].request([5, 0, 0, 0, 1, 0, 0, 0]), [0, 0]);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let lines: Vec<_> = output.lines().map(Result::unwrap).collect();
    let mut before = 0.0;
    let expected =
        ["rising\tgpiochip0 1 \"button0\"", "falling\tgpiochip0 1 \"button0\"", "rising\tgpiochip0 0 \"led0\""];
    assert_eq!(lines.len(), expected.len());
    for (line, expected) in lines.iter().zip(expected) {
        let (time, event) = line.split_once('\t').unwrap();
        assert_eq!(event, expected);
        let (_, digits) = time.split_once('.').unwrap();
        assert_eq!(digits.len(), 9, "nanoseconds");
        let time: f64 = time.parse().unwrap();
        assert!(time > before);
        before = time;
    }
}

#[test]
fn monitor_shows_what_was_asked_for() {
    let simulation = simulation();
    let (mut child, output) = monitor(&simulation, &["-e", "falling", "-n", "1", "-F", "%c|%o|%l|%e|%E|%%|%x|%"]);
    simulation.prints("set", &["-c0", "-t", "1,0", "2=1"]);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(output.lines().map(Result::unwrap).collect::<Vec<_>>(), ["gpiochip0|2|unnamed|2|falling|%|%x|%"]);
    let (mut child, _) = monitor(&simulation, &["--idle-timeout", "1"]);
    assert_eq!(child.wait().unwrap().code(), Some(0), "nothing came");
}

#[test]
fn monitor_ends_with_the_simulation() {
    let mut simulation = simulation();
    let (mut contented, _) = monitor(&simulation, &[]);
    let (mut waiting, _) = monitor(&simulation, &["-n", "1"]);
    UnixStream::connect(&simulation.control).unwrap().write_all(b"{\"request\":\"quit\"}\n").unwrap();
    assert_eq!(simulation.device.wait().unwrap().code(), Some(0));
    assert_eq!(contented.wait().unwrap().code(), Some(0));
    assert_eq!(waiting.wait().unwrap().code(), Some(1), "the edge did not come");
    assert!(simulation.complains("get", &["led0"]).contains("--control"));
}

#[test]
fn held_lines_are_let_go_again() {
    let simulation = simulation();
    simulation.prints("set", &["--hold-period", "1", "button0=1"]);
    assert!(simulation.prints("info", &["button0"]).contains("level=0 driver=nobody"));
}

#[test]
fn commands_need_a_simulation() {
    let output = run(&["get", "--control", "/nosuch/socket", "led0"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("/nosuch/socket") && stderr(&output).contains("--control"), "{}", stderr(&output));
    let output = vgpio(&["get", "led0"]).env_remove("VGPIO_CONTROL").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--control"), "{}", stderr(&output));
}
