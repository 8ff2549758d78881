//! The Unix socket that clients connect to.

use std::fs;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use rustix::event::{PollFd, PollFlags, poll};

use super::crowd::{Crowd, Heard};
use super::hub::line;
use super::message::{self, Answer, Said, Stamp};
use super::switchboard::Switchboard;
use crate::server::bind;

/// Bytes of the longest line that a client may send.
const LONGEST: u64 = 64 * 1024;

/// After a failure that may go away, such as a lack of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// A socket that clients can connect to. It is removed, and they are sent away, when this is dropped.
#[derive(Debug)]
pub struct ControlSocket {
    path: PathBuf,
    listener: Arc<UnixListener>,
    acceptor: Option<JoinHandle<()>>,
    crowd: Crowd,
}

impl ControlSocket {
    /// Listens on a socket. One that nobody listens on any more is replaced.
    ///
    /// # Errors
    ///
    /// When the socket cannot be made; the message names it.
    pub fn listen(board: Switchboard, path: &Path) -> anyhow::Result<Self> {
        let listener = Arc::new(bind(path)?);
        let crowd = Crowd::default();
        let accept = {
            let (listener, crowd) = (Arc::clone(&listener), crowd.clone());
            move || {
                loop {
                    match listener.accept().and_then(|(stream, _)| admit(&board, &crowd, stream)) {
                        Ok(()) => {}
                        // The socket was shut down.
                        Err(error) if error.kind() == ErrorKind::InvalidInput => break,
                        Err(error) => {
                            log::warn!("Cannot take in a control client: {error}");
                            std::thread::sleep(PAUSE);
                        }
                    }
                }
            }
        };
        let acceptor = std::thread::Builder::new().name("vgpio-control".to_owned()).spawn(accept);
        let acceptor = Some(acceptor.context("Cannot start a thread")?);
        Ok(Self { path: path.to_owned(), listener, acceptor, crowd })
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            log::warn!("Cannot remove the socket {}: {error}", self.path.display());
        }
        // It wakes the thread that accepts.
        if let Err(error) = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both) {
            log::error!("Cannot close the socket {}: {error}", self.path.display());
            return;
        }
        if let Some(acceptor) = self.acceptor.take()
            && acceptor.join().is_err()
        {
            log::error!("The thread of the control socket ended with a panic");
        }
        self.crowd.dismiss();
    }
}

fn admit(board: &Switchboard, crowd: &Crowd, mut stream: UnixStream) -> io::Result<()> {
    if !crowd.has_room() {
        let message = "too many clients are connected".to_owned();
        let answer = Answer::Error { kind: message::ErrorKind::TooMany, message };
        let refusal = line(&Said::Reply { id: None, stamp: Stamp::default(), answer });
        // Whether the client hears it is its own business.
        let _ = writeln!(stream, "{refusal}");
        return Ok(());
    }
    let (ear, mut mouth) = (stream.try_clone()?, stream.try_clone()?);
    let mut ear = BufReader::new(ear);
    crowd.admit(
        board.enter(),
        move || hear(&mut ear),
        move |line| mouth.write_all(format!("{line}\n").as_bytes()),
        // An error says that the client has hung up first.
        move || _ = stream.shutdown(Shutdown::Both),
    )
}

/// The next line of a client. One that only listens from now on has not gone yet.
fn hear(ear: &mut BufReader<UnixStream>) -> Option<Heard> {
    let mut line = Vec::new();
    loop {
        let read = ear.by_ref().take(LONGEST).read_until(b'\n', &mut line);
        match read {
            Ok(0) | Err(_) => {
                wait_for_end(ear.get_ref());
                return None;
            }
            Ok(_) if line.ends_with(b"\n") => {}
            Ok(length) if u64::try_from(length).is_ok_and(|length| length < LONGEST) => {}
            Ok(_) => return Some(Heard::Noise(format!("a line of more than {LONGEST} bytes"))),
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            line.clear();
            continue;
        }
        return Some(match String::from_utf8(line) {
            Ok(text) => Heard::Text(text),
            Err(error) => Heard::Noise(format!("not UTF-8: {error}")),
        });
    }
}

/// Waits until nothing can be sent to the client either.
fn wait_for_end(stream: &UnixStream) {
    let mut fds = [PollFd::new(stream, PollFlags::empty())];
    // An end is all that it can report, and after an error there is nothing better to do than to let go.
    while matches!(poll(&mut fds, None), Ok(0) | Err(rustix::io::Errno::INTR)) {}
}
