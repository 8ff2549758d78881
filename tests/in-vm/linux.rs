//! What the first program of a Linux machine has to do.

use std::ffi::CString;
use std::fs::{self, File};
use std::time::{Duration, Instant};

use rustix::mount::{MountFlags, mount};
use rustix::system::{RebootCommand, finit_module, reboot};

/// Ends a hang, and nothing else.
const PATIENCE: Duration = Duration::from_mins(5);

/// Mounts what there is to mount, and loads the modules.
pub(crate) fn prepare() {
    for (kind, place) in [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev"), ("tmpfs", "/tmp")] {
        fs::create_dir_all(place).unwrap();
        mount(kind, place, kind, MountFlags::empty(), None).unwrap();
    }
    for module in ["configfs", "gpio-sim"] {
        let file = File::open(format!("/{module}.ko")).unwrap();
        finit_module(file, &CString::default(), 0).unwrap();
    }
    mount("configfs", "/sys/kernel/config", "configfs", MountFlags::empty(), None).unwrap();
}

/// The end of the machine.
pub(crate) fn power_off() -> ! {
    let error = reboot(RebootCommand::PowerOff);
    panic!("cannot switch off: {error:?}")
}

/// Waits until something is so.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < PATIENCE, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
