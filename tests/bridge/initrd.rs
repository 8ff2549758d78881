//! The files of the machine: an archive in the format of `cpio -H newc` (Linux: Documentation/driver-api/early-userspace).

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use hil::bridge::{DATA, LIBRARIES, QEMU};

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;

/// What OpenSBI is called where QEMU has it.
const FIRMWARE: &str = "opensbi-riscv64-generic-fw_dynamic.bin";

/// An archive that grows.
pub(crate) struct Initrd {
    bytes: Vec<u8>,
    entries: u32,
    directories: BTreeSet<String>,
}

impl Initrd {
    pub(crate) fn new() -> Self {
        Self { bytes: Vec::new(), entries: 0, directories: BTreeSet::new() }
    }

    /// Adds a file, and the folders that it is in.
    pub(crate) fn file(&mut self, name: &str, from: &Path) -> anyhow::Result<()> {
        let name = name.trim_start_matches('/');
        let content = fs::read(from).with_context(|| format!("Cannot read {}", from.display()))?;
        for (end, _) in name.match_indices('/') {
            let folder = &name[..end];
            if self.directories.insert(folder.to_owned()) {
                self.entry(folder, DIRECTORY, &[])?;
            }
        }
        self.entry(name, PROGRAM, &content)
    }

    /// Adds a QEMU and all that it loads. The program is one of the wrappers of set-up, or a real one.
    pub(crate) fn qemu(&mut self, program: &Path) -> anyhow::Result<()> {
        let Linked { loader, program, libraries } = Linked::look_at(program)?;
        // The name that is in the program.
        self.file("lib64/ld-linux-x86-64.so.2", &loader)?;
        self.file(&format!("{QEMU}/{}", name(&program)?), &program)?;
        for library in libraries {
            self.file(&format!("{LIBRARIES}/{}", name(&library)?), &library)?;
        }
        // The firmware of riscv64.
        let data = program.parent().and_then(Path::parent).unwrap_or(&program).join("share/qemu").join(FIRMWARE);
        if data.is_file() {
            self.file(&format!("{DATA}/{FIRMWARE}"), &data)?;
        }
        Ok(())
    }

    pub(crate) fn finish(mut self) -> anyhow::Result<Vec<u8>> {
        self.entry("TRAILER!!!", 0, &[])?;
        Ok(self.bytes)
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) -> anyhow::Result<()> {
        self.entries += 1;
        let (size, name_size) = (u32::try_from(content.len())?, u32::try_from(name.len())? + 1);
        let links = if mode == DIRECTORY { 2 } else { 1 };
        let fields = [self.entries, mode, 0, 0, links, 0, size, 0, 0, 0, 0, name_size, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
        Ok(())
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

fn name(file: &Path) -> anyhow::Result<Cow<'_, str>> {
    Ok(file.file_name().with_context(|| format!("{} has no name", file.display()))?.to_string_lossy())
}

/// A program and what it is linked with.
struct Linked {
    loader: PathBuf,
    program: PathBuf,
    libraries: Vec<PathBuf>,
}

impl Linked {
    fn look_at(wrapper: &Path) -> anyhow::Result<Self> {
        let unpacked = wrapper.parent().and_then(Path::parent).map(|tools| tools.join("qemu")).unwrap_or_default();
        let folder = unpacked.join("usr/lib/x86_64-linux-gnu");
        let (program, listed) = if folder.is_dir() {
            let (program, loader) = (
                unpacked.join("usr/bin").join(wrapper.file_name().unwrap_or_default()),
                folder.join("ld-linux-x86-64.so.2"),
            );
            let mut command = Command::new(loader);
            command.arg("--library-path").arg(&folder).arg("--list").arg(&program);
            (program, command.output()?)
        } else {
            let text = fs::read(wrapper)?;
            // A wrapper of set-up around the system's own has its path in quotes.
            let named = String::from_utf8_lossy(&text).split('\'').nth(1).map(PathBuf::from);
            let program = named.filter(|_| text.starts_with(b"#!")).unwrap_or_else(|| wrapper.to_owned());
            let listed = Command::new("ldd").arg(&program).output()?;
            (program, listed)
        };
        ensure!(listed.status.success(), "Cannot tell what {} is linked with", program.display());
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        let paths = listed.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from);
        let (loaders, libraries): (Vec<_>, _) =
            paths.partition(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("ld-linux")));
        // It has to be the one that belongs to the libraries; what is listed is the one that the program names.
        let own = folder.join("ld-linux-x86-64.so.2");
        let loader =
            if own.is_file() { own } else { loaders.into_iter().next().context("There is no program loader")? };
        Ok(Self { loader, program, libraries })
    }
}
