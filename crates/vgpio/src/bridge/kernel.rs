//! The kernel's GPIO chips, through their character devices (version 2 of that interface, Linux 5.10 and later).

use std::fs;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use gpiocdev::line::{self, EdgeDetection, EdgeKind, EventClock, Value};
use gpiocdev::request::{Config, Request};
use rustix::io::Errno;
use virtio_gpio::messages::Level;

use super::host::{Bias, ChipInfo, Drive, Host, HostEdge, HostError, HostLine, Mode, Problem, Setup};

/// What the kernel says of who uses a line.
const CONSUMER: &str = "vgpio";
/// Edges that the kernel keeps for each line until they are read; older ones are lost then.
const KERNEL_BUFFER: u32 = 1024;
/// Edges that are read at once.
const AT_ONCE: usize = 64;

/// The chips of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct Kernel;

impl Host for Kernel {
    fn chip(&mut self, chip: &str) -> Result<ChipInfo, HostError> {
        let chip = open(chip)?;
        let lines = chip.line_info_iter().map_err(host_error)?;
        let names = lines.map(|info| info.map(|info| info.name)).collect::<Result<_, _>>().map_err(host_error)?;
        Ok(ChipInfo { names })
    }

    fn chips(&mut self) -> Vec<String> {
        let paths = gpiocdev::chip::chips().unwrap_or_default();
        paths.iter().filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect()
    }

    fn request(&mut self, chip: &str, line: u32, setup: &Setup, mode: Mode) -> Result<Box<dyn HostLine>, HostError> {
        let path = find(chip)?;
        let mut builder = Request::from_config(config(line, setup, mode));
        let request = builder
            .on_chip(&path)
            .with_consumer(CONSUMER)
            .with_kernel_event_buffer_size(KERNEL_BUFFER)
            .request()
            .map_err(|error| match host_error(error) {
                HostError { problem: Problem::Busy(None), .. } => HostError::new(Problem::Busy(user(&path, line))),
                error => error,
            })?;
        let buffer = vec![0; request.edge_event_u64_size().saturating_mul(AT_ONCE)];
        Ok(Box::new(KernelLine { request, line, buffer, taken: 0 }))
    }
}

#[derive(Debug)]
struct KernelLine {
    request: Request,
    line: u32,
    buffer: Vec<u64>,
    /// The kernel's number of the last edge that was taken; it counts all edges of the line, those too that do not fit its
    /// buffer.
    taken: u32,
}

impl HostLine for KernelLine {
    fn reconfigure(&mut self, setup: &Setup, mode: Mode) -> Result<(), HostError> {
        self.request.reconfigure(&config(self.line, setup, mode)).map_err(host_error)
    }

    fn set(&mut self, level: Level) -> Result<(), HostError> {
        self.request.set_value(self.line, value(level)).map_err(host_error)
    }

    fn sense(&mut self) -> Result<Level, HostError> {
        Ok(Level::from(self.request.value(self.line).map_err(host_error)? == Value::Active))
    }

    fn edges(&mut self) -> Result<Vec<HostEdge>, HostError> {
        // To read where there is nothing would wait.
        if !self.request.has_edge_event().map_err(host_error)? {
            return Ok(Vec::new());
        }
        let words = self.request.read_edge_events_into_slice(&mut self.buffer).map_err(host_error)?;
        let read = self.buffer.get(..words).unwrap_or_default();
        let (request, taken) = (&self.request, &mut self.taken);
        let edge = |words| {
            let event = request.edge_event_from_slice(words).map_err(host_error)?;
            let at = Duration::from_nanos(event.timestamp_ns);
            let lost = event.line_seqno.wrapping_sub(*taken).wrapping_sub(1);
            *taken = event.line_seqno;
            Ok(HostEdge { at, level: Level::from(event.kind == EdgeKind::Rising), lost })
        };
        read.chunks_exact(self.request.edge_event_u64_size().max(1)).map(edge).collect()
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        self.request.as_fd()
    }
}

/// The settings of a line in the kernel's words.
fn config(line: u32, setup: &Setup, mode: Mode) -> Config {
    let mut config = Config::default();
    config.with_line(line);
    match mode {
        Mode::AsIs => config.as_is(),
        Mode::Input { edges } => {
            config.as_input();
            if edges {
                config.with_edge_detection(EdgeDetection::BothEdges).with_event_clock(EventClock::Monotonic);
                if !setup.debounce.is_zero() {
                    config.with_debounce_period(setup.debounce);
                }
            }
            &mut config
        }
        Mode::Output(level) => config.as_output(value(level)).with_drive(match setup.drive {
            Drive::PushPull => line::Drive::PushPull,
            Drive::OpenDrain => line::Drive::OpenDrain,
            Drive::OpenSource => line::Drive::OpenSource,
        }),
    };
    if mode == Mode::AsIs {
        // The kernel takes a bias only together with a direction.
        return config;
    }
    if let Some(bias) = setup.bias {
        config.with_bias(match bias {
            Bias::None => line::Bias::Disabled,
            Bias::Up => line::Bias::PullUp,
            Bias::Down => line::Bias::PullDown,
        });
    }
    if setup.active_low {
        config.as_active_low();
    }
    config
}

fn value(level: Level) -> Value {
    match level {
        Level::Low => Value::Inactive,
        Level::High => Value::Active,
    }
}

/// The file of a chip that somebody named by a number, a name, a path or a label.
fn find(chip: &str) -> Result<PathBuf, HostError> {
    let path = match chip {
        path if path.starts_with('/') => PathBuf::from(path),
        number if number.bytes().all(|byte| byte.is_ascii_digit()) => PathBuf::from(format!("/dev/gpiochip{number}")),
        name => Path::new("/dev").join(name),
    };
    if fs::exists(&path).unwrap_or(true) {
        return Ok(path);
    }
    let mut forbidden = false;
    for path in gpiocdev::chip::chips().unwrap_or_default() {
        match gpiocdev::Chip::from_path(&path).and_then(|chip| chip.info()).map_err(host_error) {
            Ok(info) if info.label == chip => return Ok(path),
            Ok(_) => {}
            Err(error) => forbidden |= error.problem == Problem::NotPermitted,
        }
    }
    // One that cannot be looked at may be the one that is meant.
    Err(HostError::new(if forbidden { Problem::NotPermitted } else { Problem::NoChip }))
}

fn open(chip: &str) -> Result<gpiocdev::Chip, HostError> {
    gpiocdev::Chip::from_path(find(chip)?).map_err(host_error)
}

/// The name of who uses a line; `None` where it has none.
fn user(chip: &Path, line: u32) -> Option<String> {
    let info = gpiocdev::Chip::from_path(chip).and_then(|chip| chip.line_info(line)).ok()?;
    Some(info.consumer).filter(|consumer| !consumer.is_empty())
}

#[expect(clippy::needless_pass_by_value, reason = "so it fits `map_err`")]
fn host_error(error: gpiocdev::Error) -> HostError {
    let number = match &error {
        gpiocdev::Error::Os(number) | gpiocdev::Error::Uapi(_, gpiocdev_uapi::Error::Os(number)) => number.0,
        _ => return HostError::new(Problem::Other(error.to_string())),
    };
    let problem = match Errno::from_raw_os_error(number) {
        Errno::BUSY => Problem::Busy(None),
        Errno::PERM | Errno::ACCESS => Problem::NotPermitted,
        Errno::NODEV | Errno::NOENT => Problem::NoChip,
        Errno::NXIO => Problem::NoEdges,
        _ => Problem::Other(error.to_string()),
    };
    HostError::of_kernel(problem, number)
}
