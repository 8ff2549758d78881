//! The command line of QEMU.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::board::Board;
use super::program::Program;

/// As what QEMU shows a vhost-user device to the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presentation {
    /// `vhost-user-gpio-device`: ID 41, two queues, 8 bytes of configuration.
    Gpio,
    /// `vhost-user-test-device`, of QEMU 10.2 and later: any ID, and up to 256 bytes of configuration.
    Generic {
        /// The device ID.
        virtio_id: u16,
        /// Bytes of the configuration space.
        config_size: u16,
    },
}

impl Presentation {
    /// Bytes of the configuration space that the guest can see.
    pub fn config_size(self) -> u16 {
        match self {
            Self::Gpio => 8,
            Self::Generic { config_size, .. } => config_size,
        }
    }

    /// The value of `-device`.
    fn device(self, chardev: &str) -> String {
        match self {
            Self::Gpio => format!("vhost-user-gpio-device,chardev={chardev}"),
            Self::Generic { virtio_id, config_size } => format!(
                "vhost-user-test-device,chardev={chardev},virtio-id={virtio_id},num_vqs=2,vq_size=64,config_size={config_size}"
            ),
        }
    }
}

/// Where the guest's serial port goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Console {
    /// To the terminal, together with QEMU's monitor: Ctrl-A C changes between them, Ctrl-A X ends QEMU. Ctrl-C is a
    /// signal, not a character for the guest.
    Terminal,
    /// The same through this process, which hears every line and can type, too.
    Relay,
    /// To standard input and output, and nothing else.
    Pipe,
}

/// What QEMU is started with.
#[derive(Debug, Clone)]
pub struct QemuCommand {
    /// The program.
    pub program: Program,
    /// The machine.
    pub board: Board,
    /// What is booted.
    pub image: PathBuf,
    /// The sockets of the devices, and as what they are shown. The guest finds the first one at the highest address.
    pub devices: Vec<(PathBuf, Presentation)>,
    /// The guest's boot arguments.
    pub append: String,
    /// Whether the virtio-mmio transport is of version 2 rather than 1.
    pub modern: bool,
    /// The guest's memory in MiB.
    pub memory: u32,
    /// Where the guest's serial port goes.
    pub console: Console,
    /// The file that takes QEMU's own messages; without it they go where this program's go.
    pub messages: Option<PathBuf>,
    /// More arguments, at the end.
    pub extra: Vec<OsString>,
}

impl QemuCommand {
    /// A guest without devices, on a modern transport, with 128 MiB of memory and its console on pipes.
    pub fn new(program: Program, board: Board) -> Self {
        Self {
            image: board.image(),
            program,
            board,
            devices: Vec::new(),
            append: String::new(),
            modern: true,
            memory: 128,
            console: Console::Pipe,
            messages: None,
            extra: Vec::new(),
        }
    }

    /// Adds a device.
    #[must_use]
    pub fn device(mut self, socket: &Path, presentation: Presentation) -> Self {
        self.devices.push((socket.to_owned(), presentation));
        self
    }

    /// Sets the boot arguments.
    #[must_use]
    pub fn append(mut self, words: &str) -> Self {
        words.clone_into(&mut self.append);
        self
    }

    /// Adds an argument of QEMU's own.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.extra.push(argument.into());
        self
    }

    /// The arguments, without the program.
    pub fn arguments(&self) -> Vec<OsString> {
        let Self { board, memory, .. } = self;
        let mut arguments: Vec<OsString> = Vec::new();
        let mut add = |words: &[&str]| arguments.extend(words.iter().map(OsString::from));
        add(&["-M", &format!("{},memory-backend=mem", board.machine), "-cpu", &board.cpu]);
        // The device's process must see the guest's memory.
        add(&["-m", &format!("{memory}M")]);
        add(&["-object", &format!("memory-backend-memfd,id=mem,size={memory}M,share=on")]);
        add(&["-nodefaults", "-no-user-config", "-display", "none"]);
        add(&board.arguments.iter().map(String::as_str).collect::<Vec<_>>());
        match self.console {
            Console::Terminal | Console::Relay => {
                add(&["-chardev", "stdio,id=console,mux=on,signal=on"]);
                add(&["-serial", "chardev:console", "-monitor", "chardev:console"]);
            }
            Console::Pipe => {
                add(&["-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console", "-monitor", "none"]);
            }
        }
        if self.modern {
            add(&["-global", "virtio-mmio.force-legacy=false"]);
        }
        for (number, (socket, presentation)) in self.devices.iter().enumerate() {
            let chardev = format!("gpio{number}");
            // A comma ends an option's value, unless it is doubled.
            let path = socket.display().to_string().replace(',', ",,");
            add(&["-chardev", &format!("socket,id={chardev},path={path}")]);
            add(&["-device", &presentation.device(&chardev)]);
        }
        arguments.push("-kernel".into());
        arguments.push(self.image.clone().into());
        if !self.append.is_empty() {
            arguments.extend(["-append".into(), OsString::from(&self.append)]);
        }
        arguments.extend(self.extra.iter().cloned());
        arguments
    }

    /// The whole command, as one would type it into a shell.
    pub fn shown(&self) -> String {
        let program = self.program.path().as_os_str().to_owned();
        let words = std::iter::once(program).chain(self.arguments());
        words.map(|word| quoted(&word.to_string_lossy())).collect::<Vec<_>>().join(" ")
    }
}

/// A word as one types it into a shell.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_when_a_shell_would_read_them_otherwise() {
        assert_eq!(quoted("virt,memory-backend=mem"), "virt,memory-backend=mem");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted(""), "''");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }

    #[test]
    fn generic_device_is_told_all_that_the_guest_shall_see() {
        let presentation = Presentation::Generic { virtio_id: 30, config_size: 256 };
        assert_eq!(
            presentation.device("c"),
            "vhost-user-test-device,chardev=c,virtio-id=30,num_vqs=2,vq_size=64,config_size=256"
        );
        assert_eq!(Presentation::Gpio.device("c"), "vhost-user-gpio-device,chardev=c");
    }
}
