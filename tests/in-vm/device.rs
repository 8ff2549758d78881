//! The process under test.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, Signal, kill_process};
use vgpio::control::client::Client;

use crate::front_end::{FrontEnd, MODERN};
use crate::linux::wait_until;

const PROGRAM: &str = "/vgpio";
/// Another project's device, where the machine has it.
const PEER: &str = "/peer";
/// Who may not do anything.
const NOBODY: u32 = 65534;

/// `vgpio device`. It ends when this is dropped.
pub(crate) struct Device {
    process: Child,
    folder: PathBuf,
    socket: PathBuf,
}

impl Device {
    /// Starts it with those words, and waits until it can be connected to.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::launch(arguments, false).listening()
    }

    /// The same, as somebody who may not do anything.
    pub(crate) fn start_as_nobody(arguments: &[&str]) -> Self {
        Self::launch(arguments, true).listening()
    }

    fn listening(self) -> Self {
        wait_until("the device listens", || self.socket.exists() && self.folder.join("c").exists());
        self
    }

    fn launch(arguments: &[&str], as_nobody: bool) -> Self {
        let folder = Self::folder_of_its_own();
        let socket = folder.join("s");
        let mut command = Command::new(PROGRAM);
        command.arg("device").arg("--persistent").arg("--socket-path").arg(&socket);
        command.arg("--control").arg(folder.join("c")).arg("--vcd").arg(folder.join("wave.vcd"));
        command.args(arguments);
        if as_nobody {
            std::os::unix::fs::chown(&folder, Some(NOBODY), Some(NOBODY)).unwrap();
            command.uid(NOBODY).gid(NOBODY);
        }
        Self::spawn(command, folder, socket)
    }

    /// Another project's device with all lines of the chip of that number.
    pub(crate) fn peer(chip: &str) -> Self {
        let folder = Self::folder_of_its_own();
        let mut command = Command::new(PEER);
        command.args(["--socket-count", "1", "--device-list", chip, "--socket-path"]).arg(folder.join("s"));
        // It numbers its sockets.
        let socket = folder.join("s0");
        let device = Self::spawn(command, folder, socket);
        wait_until("the peer listens", || device.socket.exists());
        device
    }

    /// Whether there is another project's device.
    pub(crate) fn has_peer() -> bool {
        Path::new(PEER).exists()
    }

    fn folder_of_its_own() -> PathBuf {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let folder = PathBuf::from(format!("/tmp/{}", COUNT.fetch_add(1, Ordering::Relaxed)));
        fs::create_dir(&folder).unwrap();
        folder
    }

    fn spawn(mut command: Command, folder: PathBuf, socket: PathBuf) -> Self {
        let log = File::create(folder.join("log")).unwrap();
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        Self { process, folder, socket }
    }

    /// Starts it in vain; gives the exit status, and what it said.
    pub(crate) fn fail(arguments: &[&str]) -> (Option<i32>, String) {
        let mut device = Self::launch(arguments, false);
        let status = device.process.wait().unwrap();
        (status.code(), device.log())
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn connect(&self, features: u64) -> FrontEnd {
        FrontEnd::connect(&self.socket, MODERN | features)
    }

    pub(crate) fn control(&self) -> Client {
        Client::connect(&self.folder.join("c")).unwrap()
    }

    /// What it has said so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap()
    }

    /// Waits until it has said something.
    pub(crate) fn expect_log(&self, text: &str) {
        wait_until(text, || self.log().contains(text));
    }

    /// How many threads it has.
    pub(crate) fn threads(&self) -> usize {
        fs::read_dir(format!("/proc/{}/task", self.process.id())).unwrap().count()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    /// Ends it as a service manager does.
    pub(crate) fn terminate(mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.process.wait().unwrap()
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Shows what all devices have said.
pub(crate) fn show_logs() {
    for entry in fs::read_dir("/tmp").into_iter().flatten().flatten() {
        if let Ok(log) = fs::read_to_string(entry.path().join("log")) {
            println!("{}: {log}", entry.path().display());
        }
    }
}
