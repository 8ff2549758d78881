//! A device process that is not ours: rust-vmm's `vhost-device-gpio`.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use hil::scene::{Scene, Setting};
use vgpio::qemu::command::Presentation;

use crate::{Entry, Transports};

pub(crate) const CASES: &[Entry] = &[("vhost_device_gpio_of_rust_vmm", Transports::Both, peer)];

/// Where `scripts/setup --only peer` puts it.
fn program() -> PathBuf {
    vgpio::qemu::board::project().join(".tools/peer/bin/vhost-device-gpio")
}

/// Whether there is a peer. The tests count as ignored otherwise.
pub(crate) fn is_there() -> bool {
    program().is_file()
}

/// A process that ends with the test.
struct Peer(Child);

impl Drop for Peer {
    fn drop(&mut self) {
        // If it has ended already there is nothing to do.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Four lines, wired in pairs: line 1 sees what line 0 drives, line 3 what line 2 does.
fn peer(setting: Setting) -> anyhow::Result<()> {
    let program = program();
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("peer");
    let _peer = Peer(
        Command::new(&program)
            .arg("-s")
            .arg(&socket)
            .args(["-c", "1", "-l", "4"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("Cannot start {}", program.display()))?,
    );
    let socket = folder.path().join("peer0");
    let begin = Instant::now();
    while !socket.exists() {
        ensure!(begin.elapsed() < hil::scene::PATIENCE, "{} does not listen", program.display());
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut running = Scene::new(setting, Vec::new())?
        .with_command(|command| command.device(&socket, Presentation::Gpio))
        .append("blink=line0,2 watch=1,line3:rising count=3 period=200ms")
        .start()?;
    running.expect_exit(0)?;
    running.expect_line("4 lines: line0 line1 line2 line3")?;
    running.expect_line("edge gpio0:1 line1 rising level=1")?;
    running.expect_line("edge gpio0:1 line1 falling level=0")?;
    running.expect_line("summary blinks=6 edges=9 errors=0 resets=0")?;
    Ok(())
}
