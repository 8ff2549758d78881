//! A scene: simulated devices, QEMU in front of them, and a guest that boots.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use gpio_model::observe::Activity;
use tempfile::TempDir;
use vgpio::chip::Chip;
use vgpio::control::client::Client;
use vgpio::control::keyboard::Keyboard;
use vgpio::control::socket::ControlSocket;
use vgpio::control::switchboard::Switchboard;
use vgpio::qemu::board::Board;
use vgpio::qemu::command::{Presentation, QemuCommand};
use vgpio::qemu::guest::{Guest, Output};
use vgpio::qemu::program::Program;
use vgpio::record::Record;
use vgpio::record::log::Log;
use vgpio::record::trace::Trace;
use vgpio::server::{self, Handle};
use vgpio::web::WebPage;
use vgpio::world::{Place, World};
use virtio_gpio::messages::ratified::Request;
use virtio_gpio::{Level, LineId, Protocol};

/// How long anything may take. Only a hang is longer: machines that run tests are slow.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Where and how a guest boots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// The board's folder below `boards/`.
    pub board: &'static str,
    /// Whether virtio-mmio is of version 2.
    pub modern: bool,
}

/// Everything needed to boot, before it does.
#[derive(Debug)]
pub struct Scene {
    command: QemuCommand,
    world: World,
    sockets: Vec<PathBuf>,
    controlled: bool,
    folder: TempDir,
    traced: bool,
}

/// A booted scene. Dropping it ends QEMU and the devices.
#[derive(Debug)]
pub struct Running {
    /// The guest; before the devices, so that it ends first.
    pub guest: Guest,
    /// The guest's console.
    pub console: Output,
    /// What the devices saw and did. Empty if the scene keeps no trace, as is the log.
    pub trace: Trace,
    /// The same together with the console, in one order; without devices there is nobody who keeps it.
    pub log: Log,
    /// The simulated devices.
    pub devices: Option<Handle>,
    /// Where clients can control the devices, and where that is.
    pub control: Option<(ControlSocket, PathBuf)>,
    /// The page for browsers, where the devices can be controlled.
    pub page: Option<WebPage>,
    _folder: TempDir,
}

/// The folder with QEMU, as set-up leaves it; `QEMU_DIR` overrides it.
pub fn qemu_folder() -> PathBuf {
    env::var_os("QEMU_DIR").map_or_else(|| vgpio::qemu::board::project().join(".tools/bin"), PathBuf::from)
}

/// The command line of a guest without devices.
///
/// # Errors
///
/// When QEMU is missing; the message says what to run.
pub fn command(setting: Setting) -> anyhow::Result<QemuCommand> {
    let board = Board::load(setting.board)?;
    let folder = qemu_folder();
    let program = Program::find(&board.binary, folder.is_dir().then_some(folder.as_path()))?;
    let mut command = QemuCommand::new(program, board);
    command.modern = setting.modern;
    Ok(command)
}

/// As what QEMU is to show a device of that protocol.
///
/// # Errors
///
/// When this QEMU cannot.
pub fn presentation(command: &QemuCommand, protocol: Protocol) -> anyhow::Result<Presentation> {
    match protocol {
        Protocol::Ratified => Ok(Presentation::Gpio),
        Protocol::Draft => command.program.presentation_of_draft(None, 256),
    }
}

impl Scene {
    /// A scene with these devices; the guest will call the *last* one `gpio0`, because QEMU gives the first one the
    /// highest address.
    ///
    /// # Errors
    ///
    /// When QEMU is missing.
    pub fn new(setting: Setting, devices: Vec<(Chip, Presentation)>) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("hil").tempdir().context("Cannot make a folder")?;
        let mut command = command(setting)?;
        let mut chips = Vec::new();
        let mut sockets = Vec::new();
        for (number, (chip, presentation)) in devices.into_iter().enumerate() {
            let socket = folder.path().join(format!("{number}.sock"));
            command = command.device(&socket, presentation);
            chips.push(chip);
            sockets.push(socket);
        }
        Ok(Self { command, world: World::new(chips), sockets, controlled: false, folder, traced: true })
    }

    /// The machine.
    pub(crate) fn board(&self) -> &Board {
        &self.command.board
    }

    /// Sets the guest's boot arguments.
    #[must_use]
    pub fn append(mut self, words: &str) -> Self {
        self.command = self.command.append(words);
        self
    }

    /// Lets clients control the devices and type into the guest's console, through a socket and a page.
    #[must_use]
    pub fn controlled(mut self) -> Self {
        self.controlled = true;
        self
    }

    /// Changes QEMU's command line.
    #[must_use]
    pub fn with_command(mut self, change: impl FnOnce(QemuCommand) -> QemuCommand) -> Self {
        self.command = change(self.command);
        self
    }

    /// Changes the world before it begins: wires, buttons.
    ///
    /// # Errors
    ///
    /// What `change` says.
    pub fn with_world(mut self, change: impl FnOnce(&mut World) -> anyhow::Result<()>) -> anyhow::Result<Self> {
        change(&mut self.world)?;
        Ok(self)
    }

    /// Keeps neither trace nor log: a run that lasts would fill the memory with it.
    #[must_use]
    pub fn without_trace(mut self) -> Self {
        self.traced = false;
        self
    }

    /// Starts the devices and boots the guest.
    ///
    /// # Errors
    ///
    /// When the image is missing, or either cannot be started.
    pub fn start(mut self) -> anyhow::Result<Running> {
        let image = &self.command.image;
        ensure!(image.is_file(), "There is no image at {}: run scripts/build", image.display());
        let trace = Trace::default();
        let log = Log::default();
        if self.traced {
            self.world.watch(trace.clone());
            self.world.watch(log.clone());
        }
        let devices = if self.sockets.is_empty() {
            None
        } else {
            let options = server::Options { sockets: self.sockets, ..server::Options::default() };
            Some(server::start(self.world, &options)?)
        };
        let (keyboard, cable) = Keyboard::new();
        let (mut control, mut page) = (None, None);
        if let Some(devices) = devices.as_ref().filter(|_| self.controlled) {
            let path = self.folder.path().join("control");
            let board = Switchboard::install(devices, Some(keyboard), || {})?;
            control = Some((ControlSocket::listen(board.clone(), &path)?, path));
            page = Some(WebPage::listen(board, 0)?);
        }
        let mut guest = match &devices {
            Some(devices) => Guest::start_heard(&self.command, devices.console())?,
            None => Guest::start(&self.command)?,
        };
        if self.controlled
            && let Some(input) = guest.take_input()
        {
            cable.plug_in(input)?;
        }
        Ok(Running { console: guest.output(), guest, trace, log, devices, control, page, _folder: self.folder })
    }
}

impl Running {
    /// Waits for a console line with that text in it.
    ///
    /// # Errors
    ///
    /// With everything that the guest printed, when it does not come.
    pub fn expect_line(&self, text: &str) -> anyhow::Result<String> {
        self.console.wait_for(PATIENCE, text).with_context(|| format!("Expected a console line with {text:?}"))
    }

    /// Waits until the guest has ended, and expects that exit status.
    ///
    /// # Errors
    ///
    /// With everything that the guest printed.
    pub fn expect_exit(&mut self, code: i32) -> anyhow::Result<()> {
        let status = self.guest.wait(PATIENCE).with_context(|| format!("The console:\n{}", self.text()))?;
        ensure!(
            status.code() == Some(code),
            "Expected exit status {code}, saw {status}. The console:\n{}",
            self.text()
        );
        Ok(())
    }

    /// Ends a guest whose shell is on, once everything is done that it was started for, and expects that it ends well.
    ///
    /// # Errors
    ///
    /// With everything that the guest printed.
    pub fn exit(&mut self) -> anyhow::Result<()> {
        self.expect_line("INFO  shell: ready")?;
        self.guest.type_in("exit\r")?;
        self.expect_exit(0)
    }

    /// Everything on the console.
    pub fn text(&self) -> String {
        self.console.lines().join("\n")
    }

    /// Fails if a console line has that text in it.
    ///
    /// # Errors
    ///
    /// With everything that the guest printed.
    pub fn expect_no_line(&self, text: &str) -> anyhow::Result<()> {
        let console = self.text();
        ensure!(!console.contains(text), "Expected no console line with {text:?}. The console:\n{console}");
        Ok(())
    }

    /// Waits until something happened in a device, and returns what `found` makes of all that did.
    ///
    /// # Errors
    ///
    /// With the end of the trace and the console, when it does not happen.
    pub fn expect<T>(&self, what: &str, found: impl FnMut(&[Record]) -> Option<T>) -> anyhow::Result<T> {
        let seen = self.trace.wait_for(PATIENCE, found);
        seen.with_context(|| format!("Expected {what}. The console:\n{}", self.text()))
    }

    /// Drives a line from outside.
    ///
    /// # Errors
    ///
    /// When there is no such line, or the devices have stopped.
    pub fn drive(&self, chip: usize, line: u16, level: Level) -> anyhow::Result<()> {
        let place = Place { chip, line: LineId(line) };
        let devices = self.devices.as_ref().context("There are no devices")?;
        Ok(devices.with(move |world, now| world.drive(now, place, Some(level)))??)
    }

    /// A client of the control socket.
    ///
    /// # Errors
    ///
    /// When the scene is not controlled.
    pub fn client(&self) -> anyhow::Result<Client> {
        let (_, path) = self.control.as_ref().context("The scene is not controlled")?;
        Client::connect(path)
    }

    /// Changes what one device does.
    ///
    /// # Errors
    ///
    /// When there is no such device, or the devices have stopped.
    pub fn with_chip<T: Send + 'static>(
        &self,
        chip: usize,
        change: impl FnOnce(&mut Chip) -> T + Send + 'static,
    ) -> anyhow::Result<T> {
        let devices = self.devices.as_ref().context("There are no devices")?;
        devices.with(move |world, _| world.chip_mut(chip).map(change))?.context("There is no such device")
    }

    /// What happened in one device so far.
    pub fn activities(&self, chip: usize) -> Vec<Activity> {
        self.trace.records().iter().filter(|record| record.chip == chip).map(|record| record.activity).collect()
    }

    /// The requests about one line of the first device, a ratified one, in order.
    ///
    /// # Errors
    ///
    /// When one of them was refused, or there were chains that are no request at all.
    pub fn accepted_requests(&self, line: u16) -> anyhow::Result<Vec<Request>> {
        let mut requests = Vec::new();
        for activity in self.activities(0) {
            match activity {
                Activity::Request { request: Ok(request), accepted } if request.line() == Some(LineId(line)) => {
                    ensure!(accepted, "{request:?} was refused");
                    requests.push(request);
                }
                Activity::Request { request: Err(invalid), .. } => anyhow::bail!("{invalid:?} is no request"),
                Activity::Malformed { .. } => anyhow::bail!("{activity:?}"),
                _ => (),
            }
        }
        Ok(requests)
    }
}
