//! A running QEMU.

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};

use super::command::{Console, QemuCommand};
use crate::record::growing::Growing;

/// How long QEMU may take to end after it was asked to.
const GRACE: Duration = Duration::from_secs(2);
/// Bytes of a line after which it is taken to have ended: a guest need not print ends of lines.
const LONGEST: u64 = 16 * 1024;
/// Between two looks at whether QEMU has ended.
const TICK: Duration = Duration::from_millis(5);

/// A running QEMU. It is ended when this is dropped.
#[derive(Debug)]
pub struct Guest {
    child: Child,
    output: Option<Output>,
    reader: Option<JoinHandle<()>>,
    input: Option<ChildStdin>,
    status: Option<ExitStatus>,
}

/// QEMU did not end in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StillRunning;

impl fmt::Display for StillRunning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("The guest did not end in time")
    }
}

impl std::error::Error for StillRunning {}

impl Guest {
    /// Starts QEMU. It does not outlive the thread that called this, even if that is killed, where the system has
    /// `setpriv`.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn start(command: &QemuCommand) -> anyhow::Result<Self> {
        Self::start_heard(command, |_| {})
    }

    /// Starts QEMU in the same manner. Each line that the guest prints goes to `hear` first, and can be seen by others
    /// only when that has returned. [`crate::server::Handle::console`] is one that tells the world.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn start_heard(command: &QemuCommand, hear: impl FnMut(&str) + Send + 'static) -> anyhow::Result<Self> {
        let program = command.program.path();
        let mut process = bound_to_this_thread(program);
        process.args(command.arguments());
        if command.console != Console::Terminal {
            process.stdin(Stdio::piped()).stdout(Stdio::piped());
        }
        if command.console == Console::Pipe {
            // Ctrl-C is for whoever looks at the guest, and decides what becomes of it.
            process.process_group(0);
        }
        if let Some(path) = &command.messages {
            let file = File::create(path).with_context(|| format!("Cannot write {}", path.display()))?;
            process.stderr(file);
        }
        let mut child = process.spawn().with_context(|| format!("Cannot start {}", program.display()))?;
        let (output, reader) = match (child.stdout.take(), command.console) {
            (Some(pipe), Console::Relay) => (None, Some(read_lines(Tee(pipe), hear, || {})?)),
            (Some(pipe), _) => {
                let (output, reader) = Output::collect(pipe, hear)?;
                (Some(output), Some(reader))
            }
            (None, _) => (None, None),
        };
        let input = child.stdin.take();
        Ok(Self { child, output, reader, input, status: None })
    }

    /// The number of QEMU's process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What types into the guest's console; `None` when that is a terminal, or when this was asked before.
    pub fn take_input(&mut self) -> Option<ChildStdin> {
        self.input.take()
    }

    /// What the guest has printed; empty when its console is or goes to a terminal.
    pub fn output(&self) -> Output {
        self.output.clone().unwrap_or_default()
    }

    /// Types something into the guest's console.
    ///
    /// # Errors
    ///
    /// When the console is a terminal, or the guest has gone.
    pub fn type_in(&mut self, text: &str) -> io::Result<()> {
        let input = self.input.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        input.write_all(text.as_bytes())?;
        input.flush()
    }

    /// The exit status, if QEMU has ended.
    ///
    /// # Errors
    ///
    /// When the system does not tell.
    pub fn try_status(&mut self) -> io::Result<Option<ExitStatus>> {
        if self.status.is_none() {
            self.status = self.child.try_wait()?;
            if self.status.is_some() {
                self.join_reader();
            }
        }
        Ok(self.status)
    }

    /// Waits until QEMU ends by itself.
    ///
    /// # Errors
    ///
    /// [`StillRunning`] when it does not within `patience`, or when the system does not tell.
    pub fn wait(&mut self, patience: Duration) -> anyhow::Result<ExitStatus> {
        let deadline = Instant::now().checked_add(patience).context("A time that no clock can show")?;
        loop {
            if let Some(status) = self.try_status()? {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                return Err(StillRunning.into());
            }
            std::thread::sleep(TICK);
        }
    }

    /// Ends QEMU: with a request first, by force if it does not follow.
    pub fn end(&mut self) {
        if self.try_status().is_ok_and(|status| status.is_some()) {
            return;
        }
        let asked = Pid::from_raw(self.child.id().cast_signed()).map(|pid| kill_process(pid, Signal::TERM));
        if matches!(asked, Some(Ok(()))) && self.wait(GRACE).is_ok() {
            return;
        }
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            log::error!("Cannot end QEMU: {error}");
        }
        self.join_reader();
    }

    fn join_reader(&mut self) {
        if let Some(reader) = self.reader.take()
            && reader.join().is_err()
        {
            log::error!("The thread that reads the guest's console ended with a panic");
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.end();
    }
}

/// A command whose process is killed when this thread ends, whatever ends it.
fn bound_to_this_thread(program: &Path) -> Command {
    let found = std::env::var_os("PATH")
        .and_then(|folders| std::env::split_paths(&folders).map(|folder| folder.join("setpriv")).find(|p| p.is_file()));
    match found {
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "KILL", "--"].map(OsStr::new)).arg(program);
            command
        }
        None => Command::new(program),
    }
}

/// Reads lines on a thread of its own until the pipe ends.
fn read_lines(
    pipe: impl Read + Send + 'static,
    mut take: impl FnMut(&str) + Send + 'static,
    end: impl FnOnce() + Send + 'static,
) -> anyhow::Result<JoinHandle<()>> {
    let read = move || {
        let mut pipe = BufReader::new(pipe);
        let mut line = Vec::new();
        // An error is an end, too.
        while pipe.by_ref().take(LONGEST).read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            take(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']));
            line.clear();
        }
        end();
    };
    std::thread::Builder::new().name("vgpio-console".to_owned()).spawn(read).context("Cannot start a thread")
}

/// What comes through a pipe, and goes to standard output at once, half lines too.
struct Tee(ChildStdout);

impl Read for Tee {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.0.read(buffer)?;
        let mut out = io::stdout().lock();
        // If nobody looks at it any more, the guest goes on all the same.
        let _ = out.write_all(buffer.get(..length).unwrap_or_default()).and_then(|()| out.flush());
        Ok(length)
    }
}

/// The lines that the guest has printed so far. Clones show the same.
#[derive(Debug, Clone, Default)]
pub struct Output(Growing<String>);

/// A line that was waited for did not come.
#[derive(Debug)]
pub struct NoSuchLine {
    /// Whether the guest has ended; otherwise the time was up.
    pub ended: bool,
    /// Everything that the guest printed.
    pub lines: Vec<String>,
}

impl fmt::Display for NoSuchLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = if self.ended { "The guest ended" } else { "The time was up" };
        writeln!(f, "{why} before the line that was waited for. The console:")?;
        self.lines.iter().try_for_each(|line| writeln!(f, "  | {line}"))
    }
}

impl std::error::Error for NoSuchLine {}

impl Output {
    /// Reads lines on a thread of its own until the pipe ends.
    fn collect(
        pipe: ChildStdout,
        mut hear: impl FnMut(&str) + Send + 'static,
    ) -> anyhow::Result<(Self, JoinHandle<()>)> {
        let output = Self::default();
        let (lines, end) = (output.0.clone(), output.0.clone());
        let keep = move |line: &str| {
            hear(line);
            lines.push(line.to_owned());
        };
        let thread = read_lines(pipe, keep, move || end.end())?;
        Ok((output, thread))
    }

    /// All lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.0.with(<[String]>::to_vec)
    }

    /// Waits for a line that has `text` in it, and returns it.
    ///
    /// # Errors
    ///
    /// [`NoSuchLine`] when it does not come within `patience`, or when the guest ends without it.
    pub fn wait_for(&self, patience: Duration, text: &str) -> Result<String, NoSuchLine> {
        let lines = self.wait_for_from(0, patience, text)?;
        Ok(lines.into_iter().next_back().unwrap_or_default())
    }

    /// Waits for a line that has `text` in it, and returns all lines from the one of that number up to it.
    ///
    /// # Errors
    ///
    /// [`NoSuchLine`] when it does not come within `patience`, or when the guest ends without it.
    pub fn wait_for_from(&self, first: usize, patience: Duration, text: &str) -> Result<Vec<String>, NoSuchLine> {
        let found = self.0.find_from(first, patience, |position, line| line.contains(text).then_some(position));
        let last = found.map_err(|vain| NoSuchLine { ended: vain.ended, lines: self.lines() })?;
        Ok(self.0.with(|lines| lines.get(first..=last).unwrap_or_default().to_vec()))
    }
}
