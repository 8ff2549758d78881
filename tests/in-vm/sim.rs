//! GPIO chips of the kernel's module gpio-sim.

use std::fs;
use std::path::{Path, PathBuf};

use vgpio::bridge::host::{Host, HostLine, Mode, Setup};
use vgpio::bridge::kernel::Kernel;

const CONFIG: &str = "/sys/kernel/config/gpio-sim";

/// A chip. It is gone when this is dropped.
pub(crate) struct Sim {
    label: &'static str,
    /// Where its lines can be driven and looked at from outside.
    lines: PathBuf,
}

impl Sim {
    /// A chip of that label with so many lines, the first of which have names.
    pub(crate) fn new(label: &'static str, count: u32, names: &[&str]) -> Self {
        Self::with_hog(label, count, names, None)
    }

    /// The same, with a line that the kernel uses itself, and as what.
    pub(crate) fn with_hog(label: &'static str, count: u32, names: &[&str], hog: Option<(u32, &str)>) -> Self {
        let device = Path::new(CONFIG).join(label);
        let bank = device.join("bank");
        fs::create_dir_all(&bank).unwrap();
        fs::write(bank.join("num_lines"), count.to_string()).unwrap();
        fs::write(bank.join("label"), label).unwrap();
        for (line, name) in names.iter().enumerate() {
            let line = bank.join(format!("line{line}"));
            fs::create_dir(&line).unwrap();
            fs::write(line.join("name"), name).unwrap();
        }
        if let Some((line, user)) = hog {
            let line = bank.join(format!("line{line}/hog"));
            fs::create_dir_all(&line).unwrap();
            fs::write(line.join("name"), user).unwrap();
            fs::write(line.join("direction"), "output-high").unwrap();
        }
        fs::write(device.join("live"), "1").unwrap();
        let read = |file: &Path| fs::read_to_string(file).unwrap().trim().to_owned();
        let lines = Path::new("/sys/devices/platform").join(read(&device.join("dev_name")));
        let lines = lines.join(read(&bank.join("chip_name")));
        Self { label, lines }
    }

    /// The file of its character device.
    pub(crate) fn file(&self) -> PathBuf {
        Path::new("/dev").join(self.lines.file_name().unwrap())
    }

    /// The number of its character device.
    pub(crate) fn number(&self) -> String {
        let name = self.file().file_name().unwrap().to_string_lossy().into_owned();
        name.trim_start_matches("gpiochip").to_owned()
    }

    /// The level of a line, whoever drives it.
    pub(crate) fn value(&self, line: u32) -> u8 {
        fs::read_to_string(self.lines.join(format!("sim_gpio{line}/value"))).unwrap().trim().parse().unwrap()
    }

    /// Pulls a line up or down from outside.
    pub(crate) fn pull(&self, line: u32, high: bool) {
        let pull = if high { "pull-up" } else { "pull-down" };
        fs::write(self.lines.join(format!("sim_gpio{line}/pull")), pull).unwrap();
    }

    /// Whether somebody has a line.
    pub(crate) fn is_taken(&self, line: u32) -> bool {
        gpiocdev::Chip::from_path(self.file()).unwrap().line_info(line).unwrap().used
    }

    /// Takes a line away from everybody else.
    pub(crate) fn take(&self, line: u32, mode: Mode) -> Box<dyn HostLine> {
        Kernel.request(self.label, line, &Setup::default(), mode).unwrap()
    }

    /// Pulls the chip out.
    pub(crate) fn remove(self) {
        drop(self);
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        let device = Path::new(CONFIG).join(self.label);
        fs::write(device.join("live"), "0").unwrap();
        let bank = device.join("bank");
        for entry in fs::read_dir(&bank).unwrap().flatten().filter(|entry| entry.file_type().unwrap().is_dir()) {
            let hog = entry.path().join("hog");
            if hog.exists() {
                fs::remove_dir(hog).unwrap();
            }
            fs::remove_dir(entry.path()).unwrap();
        }
        fs::remove_dir(bank).unwrap();
        fs::remove_dir(device).unwrap();
    }
}
