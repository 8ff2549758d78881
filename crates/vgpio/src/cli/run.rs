//! `vgpio run`: a simulated world, QEMU, and a guest between them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Args;
use signal_hook::consts::{SIGCHLD, SIGCONT, SIGHUP, SIGINT, SIGPIPE, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

use super::arguments::{Protocol, WorldArguments, from_here, record_waveform};
use super::output::{print, say, when_nobody_reads};
use super::surroundings::{Periodic, WireArgument};
use super::terminal::{self, Terminal};
use super::ways::WayArguments;
use vgpio::control::keyboard::Keyboard;
use vgpio::qemu::board::{Board, project};
use vgpio::qemu::command::{Console, Presentation, QemuCommand, quoted};
use vgpio::qemu::guest::Guest;
use vgpio::qemu::program::Program;
use vgpio::record::tally::Tally;
use vgpio::server::{self, Options};

/// How long a guest that was told to end by itself may take longer.
const GRACE: Duration = Duration::from_secs(15);

/// Boot a guest in QEMU with a simulated device
///
/// Without --line or --lines the device has 8 lines: two LEDs, two buttons that the world presses, and an input that led0
/// is wired to. Ctrl-C and Ctrl-A X end it, and so does a pipe that nobody reads any more. Exit status: 0 the guest ended
/// well or was ended by you; 1 it failed; 2 it could not be run.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct RunArguments {
    /// The board, a folder of boards/
    #[arg(long, default_value = "qemu-virt-aarch64")]
    board: String,
    #[command(flatten)]
    world: WorldArguments,
    /// Let the guest end by itself after that time
    #[arg(long = "for", value_name = "SECONDS")]
    seconds: Option<u32>,
    /// The image to boot [default: target/images/BOARD/guest.elf]
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// QEMU's program, or the folder that has it [default: search PATH, then .tools/bin]
    #[arg(long, value_name = "PATH")]
    qemu: Option<PathBuf>,
    /// The guest's boot arguments
    #[arg(long, value_name = "WORDS")]
    append: Option<String>,
    /// Use virtio-mmio of version 1
    #[arg(long)]
    legacy: bool,
    /// Use virtio-mmio of version 2, the default
    #[arg(long, conflicts_with = "legacy")]
    modern: bool,
    /// The device ID that the guest sees (draft) [default: 30]
    #[arg(long, value_name = "ID")]
    virtio_id: Option<u16>,
    /// Where the waveform goes [default: target/vgpio/BOARD.vcd]
    #[arg(long, value_name = "FILE")]
    vcd: Option<PathBuf>,
    #[command(flatten)]
    ways: WayArguments,
    /// Show the commands that do the same by hand, and do nothing
    #[arg(long)]
    print_command: bool,
    /// More arguments for QEMU
    #[arg(last = true, value_name = "QEMU ARGUMENTS")]
    extra: Vec<OsString>,
}

pub(crate) fn run(mut arguments: RunArguments) -> anyhow::Result<ExitCode> {
    if arguments.world.names.is_empty() && arguments.world.lines.is_none() && arguments.world.real.is_empty() {
        furnish(&mut arguments.world);
    }
    let board = Board::load(&arguments.board)?;
    let program = Program::find(&board.binary, arguments.qemu.as_deref())?;
    let presentation = match arguments.world.protocol {
        Protocol::Ratified => Presentation::Gpio,
        Protocol::Draft => {
            let presentation = program.presentation_of_draft(arguments.virtio_id, arguments.world.config_size)?;
            arguments.world.config_size = presentation.config_size();
            say(describe(presentation));
            presentation
        }
    };
    let names_are_visible = arguments.world.protocol == Protocol::Ratified || presentation != Presentation::Gpio;
    let mut command = QemuCommand::new(program, board).append(&boot_arguments(&arguments, names_are_visible));
    command.image = arguments.image.clone().unwrap_or_else(|| from_here(&command.image));
    command.modern = !arguments.legacy;
    command.extra = std::mem::take(&mut arguments.extra);
    if arguments.print_command {
        print_commands(&arguments.world, command, presentation)?;
        return Ok(ExitCode::SUCCESS);
    }
    let shown = command.image.display();
    ensure!(command.image.is_file(), "There is no image {shown}: build it with scripts/build {}", arguments.board);

    let mut world = arguments.world.world()?;
    let tally = Tally::default();
    world.watch(tally.clone());
    let default_vcd = || from_here(&project().join("target/vgpio").join(format!("{}.vcd", arguments.board)));
    let vcd = arguments.vcd.unwrap_or_else(default_vcd);
    record_waveform(&mut world, &vcd)?;
    let names = world.chips().first().map(|chip| chip.names().to_vec()).unwrap_or_default();

    // From here on a signal ends this function, not the process.
    let (signals, signalled) = listen_to_signals()?;
    let terminal = Terminal::open();
    // The path of a socket has to be short, so it is not in the project's folder.
    let folder = tempfile::Builder::new().prefix("vgpio").tempdir().context("Cannot make a folder for the socket")?;
    let socket = folder.path().join("gpio.sock");
    let server = server::start(world, &Options { sockets: vec![socket.clone()], ..Options::default() })?;
    let (keyboard, cable) = Keyboard::new();
    let quit = {
        let signals = signals.clone();
        // An error says that the end has come already.
        move || _ = signals.send(SIGTERM)
    };
    let ways = arguments.ways.open(&server, Some(keyboard.clone()), quit)?;
    let mut command = command.device(&socket, presentation);
    command.console = Console::Relay;
    let mut guest = Guest::start_heard(&command, server.console())?;
    let readers = signals.clone();
    when_nobody_reads(move || _ = readers.send(SIGPIPE))?;
    if let Some(input) = guest.take_input() {
        cable.plug_in(input)?;
    }
    terminal::pass_on(keyboard)?;
    let patience = arguments.seconds.map(|seconds| Duration::from_secs(seconds.into()).saturating_add(GRACE));
    let end = wait(&mut guest, &signalled, patience, &terminal)?;
    guest.end();
    let connected = server.was_connected();
    server.stop();
    drop(ways);
    say(summary(&vcd, &names, &tally));
    Ok(judge(end, connected))
}

/// Two LEDs, two buttons of different periods, and an LED that is wired to an input.
fn furnish(world: &mut WorldArguments) {
    let names = ["led0", "led1", "button0", "button1", "loop0"];
    world.names = names.map(str::to_owned).to_vec();
    world.lines = Some(8);
    let around = &mut world.surroundings;
    around.wires.push(WireArgument::new("led0", "loop0"));
    around.buttons.push(Periodic::new("button0", Duration::from_millis(1400)));
    around.buttons.push(Periodic::new("button1", Duration::from_millis(2200)));
}

/// What the guest is told; by default to blink all LEDs, by their numbers if it cannot see their names.
fn boot_arguments(arguments: &RunArguments, names_are_visible: bool) -> String {
    let default = || {
        let leds = arguments.world.names.iter().enumerate().filter(|(_, name)| name.starts_with("led"));
        let leds: Vec<_> =
            leds.map(|(line, name)| if names_are_visible { name.clone() } else { line.to_string() }).collect();
        let blink = (!leds.is_empty()).then(|| format!("blink={}", leds.join(",")));
        blink.into_iter().chain(["period=500ms".to_owned(), "log=debug".to_owned()]).collect::<Vec<_>>().join(" ")
    };
    let words = arguments.append.clone().unwrap_or_else(default);
    let end = arguments.seconds.map(|seconds| format!("for={seconds}s"));
    [Some(words), end].into_iter().flatten().filter(|words| !words.is_empty()).collect::<Vec<_>>().join(" ")
}

fn describe(presentation: Presentation) -> String {
    match presentation {
        Presentation::Generic { virtio_id, config_size } => format!(
            "the draft's device, as vhost-user-test-device with the ID {virtio_id} and {config_size} bytes of configuration"
        ),
        Presentation::Gpio => {
            "the draft's device, as vhost-user-gpio-device with the ID 41: this QEMU shows 8 bytes of \
             configuration, so there are no names (10.2 and later can show them)"
                .to_owned()
        }
    }
}

fn print_commands(world: &WorldArguments, command: QemuCommand, presentation: Presentation) -> anyhow::Result<()> {
    let socket = Path::new("gpio.sock");
    let device: Vec<_> = world.shown().iter().map(|word| quoted(word)).collect();
    print(format_args!("vgpio device --socket-path {} {}", socket.display(), device.join(" ")))?;
    let mut command = command.device(socket, presentation);
    command.console = Console::Terminal;
    print(command.shown())
}

fn listen_to_signals() -> anyhow::Result<(mpsc::Sender<i32>, mpsc::Receiver<i32>)> {
    let signals = [SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGCHLD, SIGCONT];
    let mut signals = Signals::new(signals).context("Cannot listen to signals")?;
    let (sender, receiver) = mpsc::channel();
    let of_system = sender.clone();
    std::thread::Builder::new()
        .name("vgpio-signals".to_owned())
        .spawn(move || signals.forever().try_for_each(|signal| of_system.send(signal)))
        .context("Cannot start a thread")?;
    Ok((sender, receiver))
}

/// How a run came to its end.
#[derive(Debug, Clone, Copy)]
enum End {
    Guest(ExitStatus),
    Asked,
    TimeUp(Duration),
}

fn wait(
    guest: &mut Guest,
    signals: &mpsc::Receiver<i32>,
    patience: Option<Duration>,
    terminal: &Terminal,
) -> anyhow::Result<End> {
    let begin = Instant::now();
    loop {
        if let Some(status) = guest.try_status()? {
            return Ok(End::Guest(status));
        }
        let signal = match patience {
            None => signals.recv().ok(),
            Some(patience) => match signals.recv_timeout(patience.saturating_sub(begin.elapsed())) {
                Err(mpsc::RecvTimeoutError::Timeout) => return Ok(End::TimeUp(patience)),
                other => other.ok(),
            },
        };
        match signal {
            Some(SIGCHLD) => {}
            // The shell has used the terminal meanwhile.
            Some(SIGCONT) => terminal.make_raw(),
            _ => return Ok(End::Asked),
        }
    }
}

fn judge(end: End, connected: bool) -> ExitCode {
    let (code, message) = match end {
        End::Asked => (0, None),
        End::TimeUp(patience) => (1, Some(format!("the guest did not end by itself within {patience:?}"))),
        End::Guest(status) => match status.code() {
            Some(0) => (0, None),
            Some(_) if connected => (1, None),
            Some(code) => (
                2,
                Some(format!(
                    "QEMU ended with status {code} before it connected to the device: its message above says why; \
                     --print-command shows what it was started with"
                )),
            ),
            None => (2, Some(format!("QEMU died: {status}; run it by hand to see why, --print-command shows how"))),
        },
    };
    if let Some(message) = message {
        say(message);
    }
    ExitCode::from(code)
}

/// One line: where the waveform is, and the edges of each line that had some.
fn summary(vcd: &Path, names: &[String], tally: &Tally) -> String {
    let edges = tally.edges().into_iter().next().unwrap_or_default();
    let name = |line: usize| names.get(line).filter(|name| !name.is_empty()).cloned();
    let edges: Vec<_> = edges
        .iter()
        .enumerate()
        .filter(|(_, edges)| edges.rising.saturating_add(edges.falling) > 0)
        .map(|(line, edges)| {
            let name = name(line).unwrap_or_else(|| format!("line {line}"));
            format!("{name} {} rising {} falling", edges.rising, edges.falling)
        })
        .collect();
    let edges = if edges.is_empty() { "none".to_owned() } else { edges.join(", ") };
    format!("waveform {}; {} requests; edges: {edges}", vcd.display(), tally.requests())
}
