//! One descriptor for all lines.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{Timespec, epoll};
use virtio_gpio::messages::LineId;

/// Waits for many lines at once.
#[derive(Debug)]
pub(super) struct Poller(OwnedFd);

/// Lines that are looked at before everything else has its turn.
const AT_ONCE: usize = 64;

impl Poller {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(epoll::create(epoll::CreateFlags::CLOEXEC)?))
    }

    /// Waits for that line, too, until its descriptor is closed.
    pub(super) fn add(&self, line: LineId, fd: BorrowedFd<'_>) -> io::Result<()> {
        Ok(epoll::add(&self.0, fd, epoll::EventData::new_u64(line.0.into()), epoll::EventFlags::IN)?)
    }

    /// The lines that something has happened on.
    pub(super) fn ready(&self) -> Vec<LineId> {
        let mut events = [MaybeUninit::<epoll::Event>::uninit(); AT_ONCE];
        match epoll::wait(&self.0, &mut events, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
            Ok((events, _)) => {
                events.iter().filter_map(|event| u16::try_from(event.data.u64()).ok().map(LineId)).collect()
            }
            Err(error) => {
                if error != rustix::io::Errno::INTR {
                    log::error!("Cannot look for edges of real lines: {error}");
                }
                Vec::new()
            }
        }
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
