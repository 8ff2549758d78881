//! A QEMU program: where it is, and what it can do.

use std::env;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};

use super::board::project;
use super::command::Presentation;

/// QEMU for one architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    path: PathBuf,
}

impl Program {
    /// Finds the program of a board: `given` is the program or a folder that has it; otherwise it is searched for in
    /// `PATH`, and then where `scripts/setup` puts it.
    ///
    /// # Errors
    ///
    /// When there is none; the message says what to do.
    pub fn find(binary: &str, given: Option<&Path>) -> anyhow::Result<Self> {
        let path = match given {
            Some(folder) if folder.is_dir() => folder.join(binary),
            Some(program) => program.to_owned(),
            None => {
                let folders = env::var_os("PATH").unwrap_or_default();
                let folders = env::split_paths(&folders).chain([project().join(".tools/bin")]);
                let found = folders.map(|folder| folder.join(binary)).find(|path| path.is_file());
                found.with_context(|| {
                    format!("There is no {binary} in PATH, and none in .tools/bin: run scripts/setup, or install QEMU")
                })?
            }
        };
        ensure!(path.is_file(), "There is no QEMU at {}: run scripts/setup", path.display());
        Ok(Self { path })
    }

    /// The program's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The version.
    ///
    /// # Errors
    ///
    /// When the program cannot be run or does not tell.
    pub fn version(&self) -> anyhow::Result<Version> {
        let shown = self.path.display();
        let output = Command::new(&self.path)
            .arg("--version")
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("Cannot run {shown}"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        Version::parse(&text).with_context(|| format!("{shown} does not tell its version: {text:?}"))
    }

    /// Whether users can create the generic vhost-user device, to which they say what the guest is to see.
    fn has_generic_device(&self) -> bool {
        // QEMU's exit status does not tell: it is 0 also for a device that there is not. The list of `-device help` may fail
        // for reasons of other devices.
        Command::new(&self.path)
            .args(["-M", "virt", "-nodefaults", "-device", "vhost-user-test-device,help"])
            .stdin(Stdio::null())
            .output()
            .is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("virtio-id="))
    }

    /// How this QEMU can show a device of the draft to a guest: with the ID (30 by default) and the configuration space
    /// that are wanted, if it has the generic device; with 8 bytes under the ID 41, if it has the GPIO device in the form
    /// of 9.0 and later.
    ///
    /// # Errors
    ///
    /// When it can do neither.
    pub fn presentation_of_draft(&self, virtio_id: Option<u16>, config_size: u16) -> anyhow::Result<Presentation> {
        if self.has_generic_device() {
            let draft = u16::try_from(virtio_gpio::messages::draft::DEVICE_ID)?;
            return Ok(Presentation::Generic { virtio_id: virtio_id.unwrap_or(draft), config_size });
        }
        let version = self.version()?;
        if version < Version::FIRST_GENERIC_BASE {
            bail!(
                "QEMU {version} cannot show a device of the draft: 9.0 or later is needed, 10.2 or later for its names"
            );
        }
        if let Some(id @ (0..=40 | 42..)) = virtio_id {
            bail!(
                "QEMU {version} can show a device of the draft under the ID 41 only: 10.2 or later is needed for {id}"
            );
        }
        Ok(Presentation::Gpio)
    }
}

/// The first two parts of a version number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The first part.
    pub major: u32,
    /// The second part.
    pub minor: u32,
}

impl Version {
    /// From here on the GPIO device is a thin layer that passes queues, features and configuration through.
    const FIRST_GENERIC_BASE: Self = Self { major: 9, minor: 0 };

    fn parse(text: &str) -> Option<Self> {
        let (_, version) = text.split_once("version ")?;
        let mut parts = version.split(|c: char| !c.is_ascii_digit());
        Some(Self { major: parts.next()?.parse().ok()?, minor: parts.next()?.parse().ok()? })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_read_from_what_qemu_says() {
        let text = "QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2~bpo12+1)\nCopyright (c) 2003-2025";
        assert_eq!(Version::parse(text), Some(Version { major: 10, minor: 0 }));
        assert!(Version { major: 7, minor: 2 } < Version::FIRST_GENERIC_BASE);
        assert_eq!(Version::parse("no such thing"), None);
    }

    #[test]
    fn missing_program_is_named() {
        let error = Program::find("qemu-system-nosuch", None).unwrap_err().to_string();
        assert!(error.contains("qemu-system-nosuch") && error.contains("scripts/setup"), "{error}");
        assert!(Program::find("x", Some(Path::new("/nosuch/qemu"))).is_err());
    }
}
