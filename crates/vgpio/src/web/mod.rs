//! A page to look at, for `vgpio run --web`: LEDs, switches, waveforms and the console, live.
//!
//! The page is one file (`page.html`). It talks to us over a WebSocket, in the messages of [`crate::control`], and is one
//! more client. Both are for this machine only: we listen on its loopback address, and refuse what a browser brings from
//! pages of others (`http`).

#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod http;

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};

use crate::control::crowd::{Crowd, Heard};
use crate::control::switchboard::Switchboard;

/// Bytes of the longest message that the page may send.
const LONGEST: usize = 64 * 1024;
/// How long a browser may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(10);
/// Connections at once that have not said yet what they want.
const UNDECIDED: usize = 32;
/// After a failure that may go away, such as a lack of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// A page that browsers on this machine can open. They are sent away when this is dropped.
#[derive(Debug)]
pub struct WebPage {
    address: SocketAddr,
    listener: Arc<TcpListener>,
    acceptor: Option<JoinHandle<()>>,
    crowd: Crowd,
}

impl WebPage {
    /// Listens on a port of the loopback address; on any free one if that is 0.
    ///
    /// # Errors
    ///
    /// When the port cannot be used; the message names it.
    pub fn listen(board: Switchboard, port: u16) -> anyhow::Result<Self> {
        let cannot = || format!("Cannot listen on port {port} of this machine");
        let listener = Arc::new(TcpListener::bind((Ipv4Addr::LOCALHOST, port)).with_context(cannot)?);
        let address = listener.local_addr().with_context(cannot)?;
        let crowd = Crowd::default();
        let acceptor = Acceptor { board, crowd: crowd.clone(), address, undecided: Arc::new(AtomicUsize::new(0)) };
        let accept = {
            let listener = Arc::clone(&listener);
            move || acceptor.run(&listener)
        };
        let thread = std::thread::Builder::new().name("vgpio-web".to_owned()).spawn(accept);
        Ok(Self { address, listener, acceptor: Some(thread.context("Cannot start a thread")?), crowd })
    }

    /// What to type into a browser.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }
}

impl Drop for WebPage {
    fn drop(&mut self) {
        // It wakes the thread that accepts.
        if let Err(error) = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both) {
            log::error!("Cannot close the port of the page: {error}");
            return;
        }
        if let Some(acceptor) = self.acceptor.take()
            && acceptor.join().is_err()
        {
            log::error!("The thread of the page ended with a panic");
        }
        self.crowd.dismiss();
    }
}

/// What every connection needs.
#[derive(Debug, Clone)]
struct Acceptor {
    board: Switchboard,
    crowd: Crowd,
    address: SocketAddr,
    undecided: Arc<AtomicUsize>,
}

impl Acceptor {
    fn run(&self, listener: &TcpListener) {
        loop {
            match listener.accept().and_then(|(stream, _)| self.begin(stream)) {
                Ok(()) => {}
                // The socket was shut down.
                Err(error) if error.kind() == ErrorKind::InvalidInput => break,
                Err(error) => {
                    log::warn!("Cannot take in a browser: {error}");
                    std::thread::sleep(PAUSE);
                }
            }
        }
    }

    /// Lets a connection say what it wants, on a thread of its own.
    fn begin(&self, stream: TcpStream) -> io::Result<()> {
        if self.undecided.fetch_add(1, Ordering::AcqRel) >= UNDECIDED {
            self.undecided.fetch_sub(1, Ordering::AcqRel);
            return Ok(());
        }
        let acceptor = self.clone();
        let receive = move || {
            if let Err(error) = acceptor.receive(stream) {
                log::debug!("A browser has gone: {error}");
            }
            acceptor.undecided.fetch_sub(1, Ordering::AcqRel);
        };
        let started = std::thread::Builder::new().name("vgpio-browser".to_owned()).spawn(receive);
        if started.is_err() {
            self.undecided.fetch_sub(1, Ordering::AcqRel);
        }
        started.map(drop)
    }

    fn receive(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let is_socket = http::receive(&mut stream, self.address.port(), || self.crowd.has_room())?;
        if is_socket { self.admit(stream) } else { Ok(()) }
    }

    fn admit(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_read_timeout(None)?;
        stream.set_write_timeout(None)?;
        let config = WebSocketConfig::default().max_message_size(Some(LONGEST)).max_frame_size(Some(LONGEST));
        let ear = WebSocket::from_raw_socket(Ear(stream.try_clone()?), Role::Server, Some(config));
        let mouth = Arc::new(Mutex::new(WebSocket::from_raw_socket(stream.try_clone()?, Role::Server, Some(config))));
        let (mut ear, pong) = (ear, Arc::clone(&mouth));
        self.crowd.admit(
            self.board.enter(),
            move || hear(&mut ear, &pong),
            move |line| say(&mouth, Message::text(line)),
            // An error says that the browser has hung up first.
            move || _ = stream.shutdown(Shutdown::Both),
        )
    }
}

/// The half of a connection that is heard. A WebSocket wants to answer some messages by itself, but only the other half
/// may: whole messages of two threads must not mix.
struct Ear(TcpStream);

impl Read for Ear {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Ear {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

type Mouth = Mutex<WebSocket<TcpStream>>;

/// The next thing that the page says.
fn hear(ear: &mut WebSocket<Ear>, mouth: &Mouth) -> Option<Heard> {
    loop {
        return match ear.read() {
            Ok(Message::Text(text)) => Some(Heard::Text(text.as_str().to_owned())),
            Ok(Message::Binary(_)) => Some(Heard::Noise("a binary message".to_owned())),
            Ok(Message::Ping(payload)) => {
                say(mouth, Message::Pong(payload)).ok()?;
                continue;
            }
            Ok(Message::Pong(_) | Message::Frame(_)) => continue,
            Ok(Message::Close(frame)) => {
                // Only politeness: the connection ends all the same.
                let _ = say(mouth, Message::Close(frame));
                None
            }
            Err(Error::Capacity(error)) => Some(Heard::Noise(error.to_string())),
            Err(_) => None,
        };
    }
}

fn say(mouth: &Mouth, message: Message) -> io::Result<()> {
    // A socket in the middle of a message is of no use, whoever left it so; the error says so, too.
    let mut mouth = mouth.lock().unwrap_or_else(PoisonError::into_inner);
    mouth.send(message).map_err(|error| match error {
        Error::Io(error) => error,
        error => io::Error::other(error),
    })
}
