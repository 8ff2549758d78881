//! `vgpio device`: just the simulated device.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use signal_hook::consts::TERM_SIGNALS;
use signal_hook::iterator::Signals;

use super::arguments::{WorldArguments, record_waveform};
use super::ways::WayArguments;
use vgpio::duration;
use vgpio::polling::Polling;
use vgpio::server::{self, Options};

/// Serve a simulated device on a vhost-user socket
///
/// QEMU connects to it, or any other front end; it ends when that goes. `vgpio run --print-command` shows both commands.
/// Exit status: 0 it was used or ended by you; 2 it could not be served.
#[derive(Debug, Args)]
pub(crate) struct DeviceArguments {
    /// The socket to listen on
    #[arg(short, long, value_name = "PATH")]
    socket_path: PathBuf,
    #[command(flatten)]
    world: WorldArguments,
    /// Record a waveform
    #[arg(long, value_name = "FILE")]
    vcd: Option<PathBuf>,
    #[command(flatten)]
    ways: WayArguments,
    /// Serve again when the front end has gone
    #[arg(long)]
    persistent: bool,
    /// Look at the queues for that long after the driver has sent something, before sleeping until it tells (0us, 1ms):
    /// answers come sooner, and a processor is busy meanwhile. Without it, for 100us, and only while the driver is as quick
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    poll: Option<Duration>,
}

pub(crate) fn device(arguments: DeviceArguments) -> anyhow::Result<ExitCode> {
    let mut world = arguments.world.world()?;
    if let Some(path) = &arguments.vcd {
        record_waveform(&mut world, path)?;
    }
    let mut signals = Signals::new(TERM_SIGNALS).context("Cannot listen to signals")?;
    let DeviceArguments { socket_path, persistent, poll, .. } = arguments;
    let polling = poll.map_or(Polling::Learnt, Polling::For);
    let options = Options { sockets: vec![socket_path], persistent, polling };
    let server = server::start(world, &options)?;
    let stopper = server.stopper();
    let quit = {
        let stopper = stopper.clone();
        move || stopper.stop()
    };
    let ways = arguments.ways.open(&server, None, quit)?;
    std::thread::Builder::new()
        .name("vgpio-signals".to_owned())
        .spawn(move || {
            if signals.forever().next().is_some() {
                stopper.stop();
            }
        })
        .context("Cannot start a thread")?;
    server.wait();
    drop(ways);
    Ok(ExitCode::SUCCESS)
}
