//! The program as a shell sees it. Where it takes a QEMU, it gets a script that stands in for one; what needs the real
//! QEMU is tested together with the guest's images.
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
#[cfg(feature = "web")]
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Instant;

use crate::front_end::{FrontEnd, LONG, MODERN};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};
use tempfile::TempDir;
use vgpio::control::client::Client;
use vgpio::control::message::{Happening, Request, Topic};
use vgpio::qemu::board::Board;
use vgpio::qemu::command::QemuCommand;
use vgpio::qemu::guest::Guest;
use vgpio::qemu::program::Program;

pub(crate) fn vgpio(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vgpio"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

pub(crate) fn run(arguments: &[&str]) -> Output {
    vgpio(arguments).output().unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Waits until something is so.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < LONG, "{what}: not within {LONG:?}");
        std::thread::yield_now();
    }
}

pub(crate) fn signal(child: &Child, signal: Signal) {
    kill_process(pid_of(child.id()), signal).unwrap();
}

pub(crate) fn pid_of(pid: u32) -> Pid {
    Pid::from_raw(pid.cast_signed()).unwrap()
}

/// A folder with a file that can be booted as little as any other, and with a script in the place of QEMU.
pub(crate) struct Stage {
    pub(crate) folder: TempDir,
    pub(crate) qemu: PathBuf,
}

impl Stage {
    pub(crate) fn new(script: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let qemu = folder.path().join("qemu");
        fs::write(&qemu, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&qemu, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(folder.path().join("image"), "").unwrap();
        Self { folder, qemu }
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// `vgpio run` on this stage; its files are made here, too.
    pub(crate) fn run(&self, more: &[&str]) -> Command {
        let (image, vcd, qemu) = (self.path("image"), self.path("a.vcd"), self.qemu.display().to_string());
        let mut command = vgpio(&["run", "--image", &image, "--vcd", &vcd, "--qemu", &qemu]);
        command.args(more).env("TMPDIR", self.folder.path());
        command
    }

    /// What is left behind of sockets and their folders.
    pub(crate) fn remains(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap().flatten();
        entries.map(|entry| entry.file_name().into_string().unwrap()).filter(|name| name.starts_with("vgpio")).collect()
    }
}

#[test]
fn device_ends_well_when_it_is_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("s");
    let mut device = vgpio(&["device", "--socket-path", &socket.display().to_string()]).spawn().unwrap();
    until("the socket is there", || socket.exists());
    signal(&device, Signal::TERM);
    assert_eq!(device.wait().unwrap().code(), Some(0));
    assert!(!socket.exists());
}

#[test]
fn device_ends_well_when_its_front_end_goes() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("s");
    let path = socket.display().to_string();
    let mut device = vgpio(&["device", "-s", &path, "--line", "led", "--line", "-", "--lines", "3"]).spawn().unwrap();
    until("the socket is there", || socket.exists());
    let mut front_end = FrontEnd::connect(&socket, MODERN);
    assert_eq!(front_end.config(0, 8), [3, 0, 0, 0, 6, 0, 0, 0], "three lines, one name");
    drop(front_end);
    assert_eq!(device.wait().unwrap().code(), Some(0));
    assert!(!socket.exists());
}

#[test]
fn device_shows_the_draft_as_described() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("s");
    let path = socket.display().to_string();
    let draft =
        ["device", "-s", &path, "--protocol", "draft", "--name", "panel", "--lines", "2", "--config-size", "64"];
    let mut device = vgpio(&draft).spawn().unwrap();
    until("the socket is there", || socket.exists());
    let mut front_end = FrontEnd::connect(&socket, MODERN);
    assert_eq!(front_end.config(0, 8), [1, 0, 2, 0, 0, 0, 0, 0]);
    assert_eq!(front_end.config(0x20, 8), *b"panel\0\0\0");
    drop(front_end);
    assert_eq!(device.wait().unwrap().code(), Some(0));
}

#[test]
fn mistakes_are_named_and_the_status_is_2() {
    for (arguments, named) in [
        (vec!["device", "--socket-path", "/nosuch/folder/s"], "/nosuch/folder/s"),
        (vec!["device", "-s", "s", "--line", "a", "--line", "a"], "\"a\" is given twice"),
        (vec!["device", "-s", "s", "--line", "a", "--wire", "a=b"], "\"b\""),
        (vec!["device", "-s", "s", "--wire", "0=8"], "line \"8\""),
        (vec!["device", "-s", "s", "--button", "0=5"], "a unit"),
        (vec!["device", "-s", "s", "--bounce", "0=5ms"], "no --button 0=PERIOD"),
        (vec!["device", "-s", "s", "--pwm", "9=5ms,10%"], "no line \"9\""),
        (vec!["device", "-s", "s", "--line", "a", "--lines", "0"], "there are 0 lines"),
        (vec!["wave", "/nosuch/file"], "/nosuch/file"),
        (vec!["wave", "/dev/null"], "no value change dump"),
        (vec!["wave", "Cargo.toml"], "Cargo.toml: line 1: unexpected character"),
        (vec!["run", "--board", "nosuch"], "qemu-virt-aarch64"),
        (vec!["run", "--qemu", "/nosuch/qemu"], "scripts/setup"),
        (vec!["run", "--qemu", "/bin/true", "--image", "/nosuch/image"], "scripts/build"),
    ] {
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&output).contains(named), "{arguments:?} should name {named:?}:\n{}", stderr(&output));
    }
}

#[test]
fn run_says_when_qemu_does_not_start() {
    let stage = Stage::new("echo 'no such option' >&2; exit 1");
    let output = stage.run(&[]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = stderr(&output);
    assert!(text.contains("no such option") && text.contains("before it connected"), "{text}");
    assert!(stage.remains().is_empty());
}

#[test]
fn run_gives_qemu_the_board_the_device_and_what_it_is_told() {
    let stage = Stage::new("printf '%s\\n' \"$@\"");
    let output = stage.run(&["--for", "7", "--append", "blink=0", "--", "-snapshot"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    let words: Vec<_> = text.lines().collect();
    for pair in [["-M", "virt,memory-backend=mem"], ["-cpu", "cortex-a57"], ["-append", "blink=0 for=7s"]] {
        assert!(words.windows(2).any(|words| words == pair), "{pair:?} is missing in {words:?}");
    }
    assert!(words.contains(&"vhost-user-gpio-device,chardev=gpio0"), "{words:?}");
    assert!(words.contains(&"virtio-mmio.force-legacy=false"), "{words:?}");
    assert_eq!(words.last(), Some(&"-snapshot"));
    let output = stage.run(&["--legacy"]).output().unwrap();
    assert!(!String::from_utf8(output.stdout).unwrap().contains("force-legacy"));
}

#[test]
fn run_shows_the_commands_that_do_the_same() {
    let stage = Stage::new("exit 9");
    let output = stage.run(&["--print-command"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    let (device, qemu) = text.trim_end().split_once('\n').unwrap();
    assert!(qemu.starts_with(&stage.path("qemu")), "{qemu}");
    let socket = stage.path("s");
    let device = device.replace("gpio.sock", &socket);
    let words: Vec<_> = device.split(' ').skip(1).collect();
    let mut device = vgpio(&words).spawn().unwrap();
    until("the socket is there", || Path::new(&socket).exists());
    let mut front_end = FrontEnd::connect(Path::new(&socket), MODERN);
    assert_eq!(front_end.config(0, 2), [8, 0], "the command works");
    drop(front_end);
    assert_eq!(device.wait().unwrap().code(), Some(0));
}

/// A QEMU that says its process ID and then does nothing; it ends when it is asked to.
const SLEEPER: &str = "echo $$; exec sleep 1000";
/// One that does not even end then.
const STUBBORN: &str = "trap '' TERM; echo $$; exec sleep 1000";

/// Starts a run and waits for the process ID that the script prints.
fn start(stage: &Stage) -> (Child, Pid) {
    let mut run = stage.run(&[]).spawn().unwrap();
    let mut line = String::new();
    // Its reader stays: without one the run would end.
    BufReader::new(run.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    (run, pid_of(line.trim().parse().unwrap()))
}

#[test]
fn run_ends_qemu_when_it_is_told_to_end() {
    for (script, kind) in
        [(SLEEPER, Signal::TERM), (SLEEPER, Signal::INT), (SLEEPER, Signal::HUP), (STUBBORN, Signal::TERM)]
    {
        let stage = Stage::new(script);
        let (mut run, qemu) = start(&stage);
        signal(&run, kind);
        assert_eq!(run.wait().unwrap().code(), Some(0), "{kind:?}");
        assert!(test_kill_process(qemu).is_err(), "QEMU is still there after {kind:?}");
        assert!(stage.remains().is_empty());
        let mut text = String::new();
        run.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        assert!(text.contains("a.vcd"), "where the waveform is: {text}");
    }
}

/// A terminal: what a person has of it, and the file that a program has.
pub(crate) fn terminal() -> (File, String) {
    let terminal = File::from(openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap());
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap().into_string().unwrap();
    (terminal, name)
}

/// On a terminal every key goes to the guest at once, Ctrl-C ends the run, and the settings are put back.
#[test]
fn run_uses_the_terminal_and_puts_it_back() {
    let (mut terminal, name) = terminal();
    let ours = || File::options().read(true).write(true).open(&name).unwrap();
    let before = tcgetattr(ours()).unwrap();
    // Ctrl-C is for all that use the terminal; a QEMU would end then, too, but in an order of its own.
    let stage = Stage::new("trap '' INT; exec cat");
    let run = stage.run(&[]);
    let mut command = Command::new("setsid");
    command.args(["--ctty", "--wait"]).arg(run.get_program()).args(run.get_args());
    let mut run = command.stdin(ours()).stdout(ours()).stderr(Stdio::null()).spawn().unwrap();
    let modes = || tcgetattr(ours()).unwrap().local_modes;
    until("the terminal passes on keys", || !modes().intersects(LocalModes::ICANON | LocalModes::ECHO));
    assert!(modes().contains(LocalModes::ISIG));
    terminal.write_all(b"k").unwrap();
    let mut shown = [0];
    terminal.read_exact(&mut shown).unwrap();
    assert_eq!(&shown, b"k", "without an end of line");
    terminal.write_all(b"\x03").unwrap();
    assert_eq!(run.wait().unwrap().code(), Some(0));
    assert_eq!(modes(), before.local_modes);
}

/// It prints for ever what is typed into it, and lets go when there is no more.
#[test]
fn run_can_be_controlled_and_typed_into() {
    let stage = Stage::new("exec cat");
    let control = stage.path("control");
    let mut run = stage.run(&["--control", &control]).stdin(Stdio::piped()).spawn().unwrap();
    let mut console = BufReader::new(run.stdout.take().unwrap());
    let mut line = String::new();
    run.stdin.take().unwrap().write_all(b"from the terminal\n").unwrap();
    console.read_line(&mut line).unwrap();
    assert_eq!(line, "from the terminal\n");
    let mut client = Client::connect(Path::new(&control)).unwrap();
    client.ask(Request::Subscribe { events: vec![Topic::Console], lines: None, since: Some(0) }).unwrap();
    client.ask(Request::WriteSerial { text: "from a client\n".to_owned() }).unwrap();
    for expected in ["from the terminal", "from a client"] {
        let (_, Happening::Console { text }) = client.event(Some(LONG)).unwrap().unwrap() else { panic!("no line") };
        assert_eq!(text, expected);
    }
    client.ask(Request::Quit {}).unwrap();
    assert_eq!(run.wait().unwrap().code(), Some(0));
    assert!(!Path::new(&control).exists());
}

#[test]
#[cfg(feature = "web")]
fn run_says_where_its_page_is() {
    let stage = Stage::new(SLEEPER);
    let mut run = stage.run(&["--web"]).spawn().unwrap();
    let mut said = BufReader::new(run.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    let (_, address) = line.trim_end().rsplit_once("http://").unwrap();
    let host = address.trim_end_matches('/');
    let mut page = TcpStream::connect(host).unwrap();
    write!(page, "GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").unwrap();
    let mut text = String::new();
    page.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.ends_with("</html>\n"), "{text}");
    signal(&run, Signal::TERM);
    assert_eq!(run.wait().unwrap().code(), Some(0));
}

#[test]
fn run_takes_qemu_along_when_it_is_killed() {
    let stage = Stage::new(SLEEPER);
    let (mut run, qemu) = start(&stage);
    run.kill().unwrap();
    run.wait().unwrap();
    until("QEMU ends", || test_kill_process(qemu).is_err());
}

#[test]
fn run_notices_that_qemu_died() {
    let stage = Stage::new(SLEEPER);
    let (mut run, qemu) = start(&stage);
    kill_process(qemu, Signal::KILL).unwrap();
    assert_eq!(run.wait().unwrap().code(), Some(2));
    let mut text = String::new();
    run.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(text.contains("QEMU died"), "{text}");
}

#[test]
fn draft_needs_a_qemu_that_can_show_it() {
    let version = |version| format!("[ \"$1\" = --version ] && echo 'QEMU emulator version {version}' ; exit 0");
    let output = Stage::new(&version("7.2.22")).run(&["--protocol", "draft"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = stderr(&output);
    assert!(text.contains("7.2") && text.contains("9.0 or later") && text.lines().count() == 1, "{text}");

    let output = Stage::new(&version("10.0.2")).run(&["--protocol", "draft", "--print-command"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("--config-size 8") && text.contains("vhost-user-gpio-device"), "{text}");
    assert!(text.contains("blink=0,1"), "the guest sees no names there: {text}");

    let capable = Stage::new("echo 'vhost-user-test-device options:'; echo '  virtio-id=<uint16>'");
    let output = capable.run(&["--protocol", "draft", "--print-command", "--virtio-id", "41"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("vhost-user-test-device,chardev=gpio0,virtio-id=41,num_vqs=2,vq_size=64,config_size=256"),
        "{text}"
    );
}

#[test]
fn lines_of_a_guest_are_heard_before_they_are_seen() {
    let stage = Stage::new("echo one; echo two");
    let board = Board::load("qemu-virt-aarch64").unwrap();
    let program = Program::find(&board.binary, Some(&stage.qemu)).unwrap();
    let (heard, hear) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel();
    let guest = Guest::start_heard(&QemuCommand::new(program, board), move |line| {
        heard.send(line.to_owned()).unwrap();
        may_go_on.recv().unwrap();
    })
    .unwrap();
    for (line, seen) in [("one", vec![]), ("two", vec!["one"])] {
        assert_eq!(hear.recv_timeout(LONG).unwrap(), line);
        assert_eq!(guest.output().lines(), seen);
        go_on.send(()).unwrap();
    }
    assert_eq!(guest.output().wait_for(LONG, "two").unwrap(), "two");
}

#[test]
fn wave_draws_what_a_device_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (socket, vcd, picture) = (path("s"), path("a.vcd"), path("a.svg"));
    let mut device =
        vgpio(&["device", "-s", &socket, "--line", "led", "--line", "in", "--button", "in=2ms", "--vcd", &vcd])
            .spawn()
            .unwrap();
    until("the socket is there", || Path::new(&socket).exists());
    drop(FrontEnd::connect(Path::new(&socket), MODERN));
    assert_eq!(device.wait().unwrap().code(), Some(0));

    let output = run(&["wave", &vcd, "--lines", "in,led", "--width", "60"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let rows: Vec<_> = text.lines().collect();
    assert!(rows[2].starts_with("in ") && rows[3].starts_with("led "), "{text}");
    assert!(!text.contains('\u{1b}'), "colours in a pipe:\n{text}");
    assert_eq!(run(&["wave", &vcd, "--svg", &picture]).status.code(), Some(0));
    let printed = run(&["wave", &vcd, "--svg"]).stdout;
    assert!(printed.starts_with(b"<svg ") && fs::read(&picture).unwrap() == printed);

    let json = String::from_utf8(run(&["wave", &vcd, "--json", "--lines", "in"]).stdout).unwrap();
    let line: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&line["line"], &line["schema"]), (&"in".into(), &"vgpio.wave/1".into()), "{json}");
    let mistake = run(&["wave", &vcd, "--json", "--svg"]);
    assert_eq!(mistake.status.code(), Some(2), "one or the other");

    let coloured = vgpio(&["wave", &vcd, "--lines", "in"]).env("CLICOLOR_FORCE", "1").output().unwrap();
    assert!(coloured.stdout.contains(&0x1b));
    let plain = vgpio(&["wave", &vcd, "--lines", "in"]).env("NO_COLOR", "1").output().unwrap();
    assert!(!plain.stdout.contains(&0x1b));
}

/// The unit for systemd starts what its head says: the lines come from a file, in one variable, which systemd splits at spaces.
#[test]
fn the_unit_gives_arguments_that_are_understood() {
    let unit = include_str!("../../systemd/vgpio@.service");
    let after = |key: &str| unit.lines().find_map(|line| line.split_once(key)).unwrap().1;
    let lines = after("echo 'LINES=").split_once('\'').unwrap().0;
    // No real chip may have this name, lest the test does something to it.
    let lines = lines.replace("gpiochip0", "nosuch");
    let words: Vec<_> = after("ExecStart=/usr/local/bin/vgpio ").split_whitespace().collect();
    assert_eq!(words.last(), Some(&"$LINES"));
    let words = words[..words.len() - 1].iter().copied().chain(lines.split_whitespace());
    let output = run(&words.collect::<Vec<_>>());
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("There is no GPIO chip \"nosuch\" on this host"), "{}", stderr(&output));
}
