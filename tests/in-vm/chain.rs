//! The whole chain: a simulated chip of this kernel, `vgpio`, QEMU, and the project's image as its guest.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use hil::bridge::{LIBRARIES, QEMU};
use vgpio::qemu::board::Board;
use virtio_gpio::Protocol;

use crate::device::Device;
use crate::linux::wait_until;
use crate::sim::Sim;

/// The guest blinks a line and logs the edges of another.
pub(crate) fn chain(protocol: Protocol, board: &Board) {
    let (protocol, shown) = match protocol {
        Protocol::Ratified => ("ratified", "vhost-user-gpio-device,chardev=gpio"),
        Protocol::Draft => {
            ("draft", "vhost-user-test-device,chardev=gpio,virtio-id=30,num_vqs=2,vq_size=64,config_size=256")
        }
    };
    let sim = Sim::new("a", 8, &["LED", "BUTTON"]);
    let device = Device::start(&["--protocol", protocol, "--chip", "a:0=led0,1=button0"]);
    let mut guest = Command::new(Path::new(QEMU).join(&board.binary))
        .env("LD_LIBRARY_PATH", LIBRARIES)
        .args([
            "-M",
            &format!("{},memory-backend=mem", board.machine),
            "-cpu",
            &board.cpu,
            "-m",
            "128M",
            "-accel",
            "tcg",
        ])
        .args(["-object", "memory-backend-memfd,id=mem,size=128M,share=on"])
        .args(["-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-monitor", "none"])
        .args(["-global", "virtio-mmio.force-legacy=false"])
        .arg("-chardev")
        .arg(format!("socket,id=gpio,path={}", device.socket().display()))
        .args(["-device", shown, "-kernel"])
        .arg(board.image())
        .args(["-append", "blink=led0 watch=button0 period=500ms timeout=30s"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let console = Arc::new(Mutex::new(Vec::new()));
    let (output, lines) = (guest.stdout.take().unwrap(), Arc::clone(&console));
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            println!("  guest: {line}");
            lines.lock().unwrap().push(line);
        }
    });
    // It listens to the one line before it blinks the other.
    for level in [1, 0, 1] {
        wait_until("the guest blinks", || {
            assert_eq!(guest.try_wait().unwrap(), None, "QEMU ended");
            sim.value(0) == level
        });
    }
    let said = |text: &str| console.lock().unwrap().iter().any(|line| line.contains(text));
    for (count, edge) in [(1, "rising level=1"), (2, "falling level=0"), (3, "rising level=1")] {
        sim.pull(1, count % 2 == 1);
        let line = format!("edge gpio0:1 button0 {edge} count={count}");
        wait_until(&line, || said(&line));
    }
    assert!(sim.is_taken(0) && sim.is_taken(1));
    guest.kill().unwrap();
    guest.wait().unwrap();
    wait_until("the lines are given back", || !sim.is_taken(0) && !sim.is_taken(1));
}
