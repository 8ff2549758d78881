//! Tests of real lines: a small Linux machine with simulated GPIO chips boots under QEMU, and the program in it
//! (`tests/in-vm`) does one case with `vgpio` on the kernel's own lines.
//!
//! `scripts/test --bridge` runs them; `scripts/bridge` brings what they need. `scripts/bridge --measure` measures.
#![allow(clippy::arithmetic_side_effects, reason = "an overflow in a test is a failure")]

mod initrd;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use hil::bridge::{CASES, FAILED, MEASURE, PASSED, REACTION, RESULT, SCENARIO, board};
use hil::scene::qemu_folder;
use initrd::Initrd;
use libtest_mimic::{Arguments, Failed, Measurement, Trial};
use vgpio::qemu::board::{Board, project};

/// Ends a hang. A machine in which all is emulated takes its time, and so does a guest inside it.
const PATIENCE: Duration = Duration::from_mins(10);

/// What `scripts/bridge` has brought.
struct Machine {
    folder: PathBuf,
    programs: PathBuf,
    accelerator: String,
}

impl Machine {
    fn find() -> anyhow::Result<Self> {
        let folder = project().join(".tools/bridge");
        let missing = "There is no machine to run it in: scripts/bridge makes one";
        let accelerator = fs::read_to_string(folder.join("accelerator")).context(missing)?.trim().to_owned();
        let output = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| project().join("target"), PathBuf::from);
        let programs = output.join("bridge/x86_64-unknown-linux-musl/release");
        ensure!(programs.join("in-vm").is_file(), missing);
        Ok(Self { folder, programs, accelerator })
    }

    fn initrd(&self, case: &str) -> anyhow::Result<Initrd> {
        let mut initrd = Initrd::new();
        initrd.file("init", &self.programs.join("in-vm"))?;
        initrd.file("vgpio", &self.programs.join("vgpio"))?;
        for module in ["configfs.ko", "gpio-sim.ko"] {
            initrd.file(module, &self.folder.join(module))?;
        }
        let peer = self.folder.join("peer/bin/vhost-device-gpio");
        if case == MEASURE && peer.is_file() {
            initrd.file("peer", &peer)?;
        }
        if let Some(board) = board(case) {
            let board = Board::load(board)?;
            initrd.file(SCENARIO, &project().join("tests/bridge/real.toml"))?;
            // Where `vgpio` looks for them.
            let description = project().join("boards").join(&board.name).join("board.toml");
            for file in [description, board.image()] {
                initrd.file(&file.to_string_lossy(), &file)?;
            }
            initrd.qemu(&qemu_folder().join(&board.binary))?;
        }
        Ok(initrd)
    }

    /// Boots it with a case; gives the console.
    fn run(&self, case: &str) -> anyhow::Result<Vec<String>> {
        let folder = tempfile::tempdir()?;
        let initrd = folder.path().join("initrd");
        fs::write(&initrd, self.initrd(case)?.finish()?)?;
        let memory = if board(case).is_some() { "1536M" } else { "512M" };
        let program = self.folder.join("qemu-system-x86_64");
        let child = Command::new(&program)
            .args(["-M", "q35", "-cpu", "max", "-m", memory, "-smp", "2", "-accel", &self.accelerator])
            .args(["-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot"])
            .arg("-kernel")
            .arg(self.folder.join("vmlinuz"))
            .arg("-initrd")
            .arg(&initrd)
            .arg("-append")
            .arg(format!("console=ttyS0 panic=-1 loglevel=4 -- {case}"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("Cannot start {}", program.display()))?;
        console(child)
    }
}

/// Everything that the machine prints until it ends.
fn console(mut child: Child) -> anyhow::Result<Vec<String>> {
    let output = child.stdout.take().context("There is no console")?;
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        let lines = BufReader::new(output).split(b'\n').map_while(Result::ok);
        lines.map(|line| String::from_utf8_lossy(&line).trim_end().to_owned()).try_for_each(|line| sender.send(line))
    });
    let begin = Instant::now();
    let mut console = Vec::new();
    let hangs = loop {
        match lines.recv_timeout(PATIENCE.saturating_sub(begin.elapsed())) {
            Ok(line) => console.push(line),
            Err(mpsc::RecvTimeoutError::Disconnected) => break false,
            Err(mpsc::RecvTimeoutError::Timeout) => break true,
        }
    };
    // It may have ended by itself.
    let _ = child.kill();
    child.wait()?;
    ensure!(!hangs, "It did not end within {PATIENCE:?}:\n{}", console.join("\n"));
    Ok(console)
}

fn check(case: &str) -> anyhow::Result<Vec<String>> {
    let console = Machine::find()?.run(case)?;
    if console.iter().any(|line| line == PASSED) && !console.iter().any(|line| line == FAILED) {
        return Ok(console);
    }
    bail!("The machine said:\n{}", console.join("\n"))
}

/// This project's figure from a row of the table.
fn reaction(row: &str) -> Option<Measurement> {
    let milliseconds: f64 = row.strip_prefix("| ")?.strip_prefix(REACTION)?.split(' ').nth(2)?.parse().ok()?;
    let time = Duration::try_from_secs_f64(milliseconds * 1e-3).ok()?;
    Some(Measurement { avg: time.as_nanos().try_into().ok()?, variance: 0 })
}

fn main() {
    let failed = |error: anyhow::Error| Failed::from(format!("{error:#}"));
    let mut trials: Vec<_> = CASES
        .iter()
        .map(|case| {
            let lacks_image =
                board(case).is_some_and(|board| !Board::load(board).is_ok_and(|board| board.image().is_file()));
            let trial = Trial::test(format!("hil::bridge::{case}"), move || check(case).map(|_| ()).map_err(failed));
            trial.with_ignored_flag(lacks_image)
        })
        .collect();
    let mut arguments = Arguments::from_args();
    let measure = Trial::bench(format!("hil::bridge::{MEASURE}"), move |_| {
        let console = check(MEASURE).map_err(failed)?;
        let results: Vec<_> = console.iter().filter_map(|line| line.strip_prefix(RESULT)).collect();
        eprintln!("{}", results.join("\n"));
        Ok(results.iter().find_map(|line| reaction(line)))
    });
    if arguments.bench {
        trials.push(measure);
    }
    // Each machine keeps two processors busy while it boots.
    arguments.test_threads.get_or_insert(2);
    libtest_mimic::run(&arguments, trials).exit();
}
