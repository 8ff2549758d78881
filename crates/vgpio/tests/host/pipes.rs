//! Pipes that nobody reads any more, as `vgpio … | head` leaves them: every command ends quietly, and takes along what it
//! started.
use std::fs;
use std::io::{BufRead, BufReader, PipeWriter, Read, pipe};
use std::process::{Command, Stdio};

use crate::command_line::{Stage, pid_of, vgpio};
use crate::commands::simulation;
use crate::scenario_runs::STUBBORN;
use rustix::process::test_kill_process;

/// The end of a pipe that has no other end.
fn broken() -> PipeWriter {
    pipe().unwrap().1
}

/// Runs a command that nobody hears on standard output; returns its status, and what it says on standard error.
fn unread(command: &mut Command) -> (Option<i32>, String) {
    let output = command.stdout(broken()).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn what_is_printed_at_once_may_stay_unread() {
    let stage = Stage::new("exit 9").with("a.toml", "steps = [{ wait-serial = \"ready\" }]\n");
    let vcd = stage.path("a.vcd");
    fs::write(&vcd, "$timescale 1 us $end $var wire 1 ! led0 $end $enddefinitions $end #0 0! #5 1! #9\n").unwrap();
    let simulation = simulation();
    let of_simulation = |command: &str, line: &str| vgpio(&[command, "--control", &simulation.control, line]);
    for mut command in [
        stage.test(&["--list"]),
        stage.test(&["--schema"]),
        stage.test(&["--print-command"]),
        vgpio(&["wave", &vcd]),
        vgpio(&["wave", &vcd, "--svg"]),
        vgpio(&["wave", &vcd, "--json"]),
        of_simulation("info", "led0"),
        of_simulation("get", "led0"),
        stage.run(&["--print-command"]),
        vgpio(&["--help"]),
        vgpio(&["test", "--help"]),
    ] {
        let (status, text) = unread(&mut command);
        assert_eq!((status, text.as_str()), (Some(0), ""), "{command:?}");
    }
}

/// The reader goes while there is more to come.
#[test]
fn monitor_ends_with_its_reader() {
    let simulation = simulation();
    let mut monitor = vgpio(&["monitor", "--banner", "--control", &simulation.control]).spawn().unwrap();
    let mut output = BufReader::new(monitor.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    drop(output);
    let set = vgpio(&["set", "--control", &simulation.control, "button0=1"]).status().unwrap();
    assert!(set.success());
    let output = monitor.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}

/// A guest that prints nothing more keeps no run alive.
#[test]
fn run_ends_with_the_reader_of_the_console() {
    let stage = Stage::new("echo $$; exec sleep 1000");
    let mut run = stage.run(&[]).spawn().unwrap();
    let mut console = BufReader::new(run.stdout.take().unwrap());
    let mut line = String::new();
    console.read_line(&mut line).unwrap();
    let qemu = pid_of(line.trim().parse().unwrap());
    drop(console);
    assert_eq!(run.wait().unwrap().code(), Some(0));
    assert!(test_kill_process(qemu).is_err(), "QEMU is still there");
    let mut text = String::new();
    run.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(text.starts_with("vgpio: waveform ") && text.lines().count() == 1, "{text}");
    assert_eq!(stage.remains(), Vec::<String>::new());
}

/// `vgpio test 2>&1 | head`, and `vgpio test --json - | head`: some cases still run, and others are to come.
#[test]
fn tests_stop_when_nobody_reads_what_is_told() {
    // The first case passes, so that there is something to tell; the others would go on for ever.
    let passes = "boards = [\"qemu-virt-aarch64\"]\ntransports = [\"modern\"]\nsteps = [{ wait-serial = \"ready\" }]\n";
    for is_json in [true, false] {
        let stage = Stage::new(STUBBORN)
            .with("a.toml", passes)
            .with("b.toml", "steps = [{ wait-serial = \"no such line\" }]\n");
        let junit = stage.path("report.xml");
        let mut test = stage.test(&["--jobs", "2", "--junit", &junit]);
        if is_json {
            test.args(["--json", "-"]).stdout(broken()).stderr(Stdio::null());
        } else {
            test.stderr(broken());
        }
        assert_eq!(test.status().unwrap().code(), Some(141), "as a shell says SIGPIPE");
        stage.is_left_clean();
        assert!(fs::read_to_string(&junit).unwrap().contains("</testsuites>"));
    }
}

/// People are told on standard error; nothing is printed.
#[test]
fn tests_do_not_need_standard_output() {
    let stage = Stage::new("echo ready; exec cat").with("a.toml", "steps = [{ wait-serial = \"ready\" }]\n");
    let (status, text) = unread(&mut stage.test(&[]));
    assert_eq!(status, Some(0), "{text}");
    assert!(text.contains("4 passed, 0 failed"), "{text}");
}
