//! The thread that everything simulated runs on: it serves the sockets, looks at the queues and at real lines, and lets the
//! world go on.
//!
//! One thread, so that there is one order of all events over all devices, and no lock between a button and a queue.

use std::fmt;
use std::fs;
use std::hint;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ::vhost::vhost_user::{BackendReqHandler, Error as VhostError};
use anyhow::{Context, bail, ensure};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::time::{ClockId, clock_gettime};
use smallvec::{SmallVec, smallvec};

use crate::polling::{Pace, Polling};
use crate::vhost::{self, Frontend, Look, Session};
use crate::world::World;

/// What the server's thread is asked to do.
type Errand = Box<dyn FnOnce(&mut World, Duration) -> Next + Send>;

/// A list that needs no memory from the heap as long as one or two devices are served.
type Few<T> = SmallVec<[T; 8]>;

/// What comes after an errand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    GoOn,
    Stop,
}

/// How to serve.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// One socket for each device of the world, in their order.
    pub sockets: Vec<PathBuf>,
    /// Whether to wait for another front end when one has gone. Otherwise the server ends when the last one has gone, and
    /// the last [console](Handle::console).
    pub persistent: bool,
    /// Whether the queues are looked at before the thread sleeps until it is notified.
    pub polling: Polling,
}

/// A world that is being served. The server stops when this is dropped.
pub struct Handle {
    desk: Desk,
    connected: Arc<AtomicBool>,
    consoles: Arc<AtomicUsize>,
    laps: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

/// Where errands for the server's thread are left.
#[derive(Clone)]
pub(crate) struct Desk {
    errands: mpsc::Sender<Errand>,
    wake: Arc<OwnedFd>,
}

impl Desk {
    fn leave(&self, errand: Errand) -> Result<(), Stopped> {
        self.errands.send(errand).map_err(|_| Stopped)?;
        // The only failure is a counter that is full: then the thread is about to wake up anyway.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
        Ok(())
    }

    fn with<T: Send + 'static>(
        &self,
        errand: impl FnOnce(&mut World, Duration) -> T + Send + 'static,
    ) -> Result<T, Stopped> {
        let (sender, receiver) = mpsc::channel();
        self.leave(Box::new(move |world, now| {
            // Whoever asked may have gone; then nobody needs the result.
            let _ = sender.send(errand(world, now));
            Next::GoOn
        }))?;
        receiver.recv().map_err(|_| Stopped)
    }

    /// Leaves an errand, and does not wait for it.
    pub(crate) fn post(&self, errand: impl FnOnce(&mut World, Duration) + Send + 'static) -> Result<(), Stopped> {
        self.leave(Box::new(move |world, now| {
            errand(world, now);
            Next::GoOn
        }))
    }

    fn stop(&self) {
        // An error says that it has stopped already.
        let _ = self.leave(Box::new(|_, _| Next::Stop));
    }
}

/// A console whose lines the server waits for.
struct OpenConsole {
    desk: Desk,
    open: Arc<AtomicUsize>,
}

impl OpenConsole {
    fn new(desk: Desk, open: Arc<AtomicUsize>) -> Self {
        open.fetch_add(1, Ordering::AcqRel);
        Self { desk, open }
    }

    fn hand_over(&self, line: &str) {
        let line = line.to_owned();
        // An error says that there is no world any more, and nobody who keeps records.
        let _ = self.desk.with(move |world, now| world.console(now, &line));
    }
}

impl Drop for OpenConsole {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::AcqRel);
        // So that the server looks whether it has an end; an error says that it had one.
        let _ = self.desk.leave(Box::new(|_, _| Next::GoOn));
    }
}

/// Stops a server, from any thread.
#[derive(Clone)]
pub struct Stopper(Desk);

impl fmt::Debug for Stopper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stopper").finish_non_exhaustive()
    }
}

impl Stopper {
    /// Tells the server to stop, and does not wait for it.
    pub fn stop(&self) {
        self.0.stop();
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

/// Puts each device of a world behind a vhost-user socket, and starts the world's clock.
///
/// # Errors
///
/// When a socket cannot be made; the message names it.
pub fn start(world: World, options: &Options) -> anyhow::Result<Handle> {
    let (devices, sockets) = (world.chips().len(), options.sockets.len());
    ensure!(devices == sockets, "There are {devices} devices, but {sockets} sockets for them");
    let ports = options.sockets.iter().map(|path| Port::new(path)).collect::<anyhow::Result<Vec<_>>>()?;
    let wake = Arc::new(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).context("Cannot make an eventfd")?);
    let (errands, inbox) = mpsc::channel();
    let connected = Arc::new(AtomicBool::new(false));
    let consoles = Arc::new(AtomicUsize::new(0));
    let laps = Arc::new(AtomicU64::new(0));
    let server = Server {
        world,
        ports,
        persistent: options.persistent,
        pace: Pace::new(options.polling),
        inbox,
        wake: Arc::clone(&wake),
        connected: Arc::clone(&connected),
        consoles: Arc::clone(&consoles),
        laps: Arc::clone(&laps),
        clock: Instant::now(),
        epoch: Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap_or_default(),
    };
    let thread = thread::Builder::new()
        .name("vgpio-server".to_owned())
        .spawn(move || server.run())
        .context("Cannot start a thread")?;
    Ok(Handle { desk: Desk { errands, wake }, connected, consoles, laps, thread: Some(thread) })
}

/// The server has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped;

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("The simulated device has stopped: its front end has gone, or it was told to")
    }
}

impl std::error::Error for Stopped {}

impl Handle {
    /// Does something with the world on the server's thread, at the world's present time, and waits for the result.
    ///
    /// # Errors
    ///
    /// [`Stopped`].
    pub fn with<T: Send + 'static>(
        &self,
        errand: impl FnOnce(&mut World, Duration) -> T + Send + 'static,
    ) -> Result<T, Stopped> {
        self.desk.with(errand)
    }

    /// Waits until the devices have looked at everything that drivers had made available before, and have given them
    /// everything for which there were buffers.
    ///
    /// # Errors
    ///
    /// [`Stopped`].
    pub fn settle(&self) -> Result<(), Stopped> {
        // The lap that is under way may have begun before; the one behind it has not.
        let enough = self.laps.load(Ordering::Relaxed).saturating_add(2);
        while self.laps.load(Ordering::Relaxed) < enough {
            self.with(|_, _| ())?;
        }
        Ok(())
    }

    /// Whether the server has stopped.
    pub fn has_stopped(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Whether a front end has ever been here.
    pub fn was_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// What hands the lines of a guest to the world, for [`crate::qemu::guest::Guest::start_heard`]. It returns when the
    /// world has the line, and everything before it: a change that the guest made, and had confirmed, before it printed
    /// the line is recorded before it. The thread that serves the queues takes the line, and it records what a request
    /// changed before it does anything else.
    ///
    /// The server does not end by itself before this is dropped: the last lines of a guest may come when its front end has
    /// gone. When it was stopped, lines are not recorded any more.
    pub fn console(&self) -> impl FnMut(&str) + Send + 'static {
        let console = OpenConsole::new(self.desk.clone(), Arc::clone(&self.consoles));
        move |line| console.hand_over(line)
    }

    /// What can stop the server from another thread.
    pub fn stopper(&self) -> Stopper {
        Stopper(self.desk.clone())
    }

    /// Where other threads can leave errands.
    pub(crate) fn desk(&self) -> Desk {
        self.desk.clone()
    }

    /// Waits until the last front end has gone, and the last console.
    pub fn wait(mut self) {
        self.join();
    }

    /// Stops the server; its sockets are removed.
    pub fn stop(self) {
        drop(self);
    }

    fn join(&mut self) {
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("The thread of the simulated device ended with a panic");
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.desk.stop();
        self.join();
    }
}

/// The socket of one device.
#[derive(Debug)]
struct Port {
    path: PathBuf,
    listener: UnixListener,
    connection: Option<Connection>,
    /// Whether a front end was here and has gone.
    served: bool,
}

impl Port {
    fn new(path: &Path) -> anyhow::Result<Self> {
        let listener = bind(path)?;
        listener.set_nonblocking(true).with_context(|| format!("Cannot use the socket {}", path.display()))?;
        Ok(Self { path: path.to_owned(), listener, connection: None, served: false })
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            log::warn!("Cannot remove the socket {}: {error}", self.path.display());
        }
    }
}

/// Listens on a socket. One that nobody listens on any more is replaced.
pub(crate) fn bind(path: &Path) -> anyhow::Result<UnixListener> {
    let shown = path.display();
    if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket()) {
        match UnixStream::connect(path) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                fs::remove_file(path).with_context(|| format!("Cannot replace the socket {shown}"))?;
            }
            _ => bail!("The socket {shown} is in use by another process: give another path, or end that one"),
        }
    }
    UnixListener::bind(path).with_context(|| format!("Cannot listen on the socket {shown}"))
}

/// A front end that is here.
struct Connection {
    requests: BackendReqHandler<Mutex<Frontend>>,
    /// What to wait for.
    stream: UnixStream,
    session: Session,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("session", &self.session).finish_non_exhaustive()
    }
}

/// What the thread can be woken by.
#[derive(Debug, Clone, Copy)]
enum Source {
    Errands,
    Listener(usize),
    Connection(usize),
    Kick {
        port: usize,
        ring: usize,
    },
    /// The real lines of a device.
    Lines(usize),
}

struct Server {
    world: World,
    ports: Vec<Port>,
    persistent: bool,
    pace: Pace,
    inbox: mpsc::Receiver<Errand>,
    wake: Arc<OwnedFd>,
    connected: Arc<AtomicBool>,
    /// How many consoles are open.
    consoles: Arc<AtomicUsize>,
    /// How often all queues were looked at until there was nothing to do.
    laps: Arc<AtomicU64>,
    clock: Instant,
    /// What `CLOCK_MONOTONIC` was when the world began.
    epoch: Duration,
}

impl Server {
    fn run(mut self) {
        loop {
            self.go_on();
            if self.world.attention().is_some_and(|after| after.is_zero()) {
                for chip in 0..self.world.chips().len() {
                    self.world.attend(self.epoch, self.clock.elapsed(), chip);
                }
            }
            self.world.settle(self.clock.elapsed());
            let busy = self.serve();
            if !busy {
                self.laps.fetch_add(1, Ordering::Relaxed);
            }
            if self.is_over() {
                break;
            }
            let ready = match self.wait(busy) {
                Ok(ready) => ready,
                Err(error) => {
                    log::error!("Cannot wait for the front end: {error}");
                    break;
                }
            };
            if ready.into_iter().any(|source| self.handle(source) == Next::Stop) {
                break;
            }
        }
        for chip in 0..self.world.chips().len() {
            self.catch_up(chip);
        }
        self.world.finish(self.clock.elapsed());
    }

    /// Takes what has happened on the real lines of a device before they are given back: the kernel forgets it then.
    fn catch_up(&mut self, chip: usize) {
        /// More than the kernel keeps; a line that does not come to rest has to be left, too.
        const LOOKS: usize = 32;
        for _ in 0..LOOKS {
            if !self.world.attend(self.epoch, self.clock.elapsed(), chip) {
                break;
            }
        }
    }

    /// Whether nobody is there any more, and nobody is waited for.
    fn is_over(&self) -> bool {
        let has_gone = |port: &Port| port.served && port.connection.is_none();
        !self.persistent && self.ports.iter().all(has_gone) && self.consoles.load(Ordering::Acquire) == 0
    }

    /// Lets the world do what is due, or as much of it as is enough for now.
    fn go_on(&mut self) {
        /// So that a world with more to do than there is time for does not keep the front ends waiting.
        const AT_ONCE: usize = 1024;
        for _ in 0..AT_ONCE {
            if !self.world.step(self.clock.elapsed()) {
                break;
            }
        }
    }

    /// Waits until something is to be done; returns what woke the thread.
    fn wait(&mut self, busy: bool) -> io::Result<Few<Source>> {
        let timeout = if busy {
            Some(Duration::ZERO)
        } else {
            let due = self.world.next_due().map(|due| due.saturating_sub(self.clock.elapsed()));
            [due, self.world.attention()].into_iter().flatten().min()
        };
        let guards: Few<_> = self
            .ports
            .iter()
            .map(|port| port.connection.as_ref().map(|connection| connection.session.frontend()))
            .collect();
        let mut sources: Few<(Source, BorrowedFd<'_>)> = smallvec![(Source::Errands, self.wake.as_fd())];
        sources.extend(self.world.bridges().map(|(chip, fd)| (Source::Lines(chip), fd)));
        for (number, (port, frontend)) in self.ports.iter().zip(&guards).enumerate() {
            let (Some(connection), Some(frontend)) = (&port.connection, frontend) else {
                sources.push((Source::Listener(number), port.listener.as_fd()));
                continue;
            };
            sources.push((Source::Connection(number), connection.stream.as_fd()));
            for (ring, state) in frontend.rings.iter().enumerate().filter(|(_, state)| state.is_running()) {
                if let Some(kick) = &state.kick {
                    sources.push((Source::Kick { port: number, ring }, kick.as_fd()));
                }
            }
        }
        let mut fds: Few<_> = sources.iter().map(|(_, fd)| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
        let timeout = timeout.map(|timeout| Timespec::try_from(timeout).unwrap_or(Timespec { tv_sec: 60, tv_nsec: 0 }));
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready = sources.iter().zip(&fds).filter(|(_, fd)| !fd.revents().is_empty());
        Ok(ready.map(|((source, _), _)| *source).collect())
    }

    fn handle(&mut self, source: Source) -> Next {
        match source {
            Source::Errands => return self.run_errands(),
            Source::Lines(chip) => {
                self.world.attend(self.epoch, self.clock.elapsed(), chip);
            }
            Source::Listener(port) => self.accept(port),
            Source::Connection(port) => self.handle_message(port),
            Source::Kick { port, ring } => {
                if let Some(connection) = self.ports.get(port).and_then(|port| port.connection.as_ref())
                    && let Some(ring) = connection.session.frontend().rings.get_mut(ring)
                {
                    ring.drain_kick();
                }
            }
        }
        Next::GoOn
    }

    fn run_errands(&mut self) -> Next {
        // An error says that somebody else has reset the counter: nobody else does.
        let _ = rustix::io::read(&self.wake, &mut [0; 8]);
        while let Ok(errand) = self.inbox.try_recv() {
            let next = errand(&mut self.world, self.clock.elapsed());
            self.world.settle(self.clock.elapsed());
            if next == Next::Stop {
                return Next::Stop;
            }
        }
        Next::GoOn
    }

    fn accept(&mut self, number: usize) {
        let (Some(port), Some(chip)) = (self.ports.get_mut(number), self.world.chips().get(number)) else { return };
        let attempt = || -> anyhow::Result<Connection> {
            let (stream, _) = port.listener.accept()?;
            stream.set_nonblocking(false)?;
            let session = Session::new(chip)?;
            let requests = BackendReqHandler::from_stream(stream.try_clone()?, session.share_frontend());
            Ok(Connection { requests, stream, session })
        };
        match attempt() {
            Ok(connection) => {
                log::debug!("{}: a front end is here", port.path.display());
                self.connected.store(true, Ordering::Relaxed);
                port.connection = Some(connection);
            }
            Err(error) => log::warn!("{}: cannot accept a front end: {error:#}", port.path.display()),
        }
    }

    fn handle_message(&mut self, number: usize) {
        let Some(port) = self.ports.get_mut(number) else { return };
        let Some(connection) = &mut port.connection else { return };
        let Err(error) = connection.requests.handle_request() else { return };
        match error {
            VhostError::Disconnected | VhostError::PartialMessage | VhostError::SocketBroken(_) => {
                log::debug!("{}: the front end has gone", port.path.display());
            }
            error => log::error!("{}: the front end is shut out: {error}", port.path.display()),
        }
        port.connection = None;
        port.served = true;
        self.catch_up(number);
        self.world.leave(self.clock.elapsed(), number);
    }

    /// Looks at all queues until there is nothing to do, or until it was enough for now: then it returns true.
    fn serve(&mut self) -> bool {
        /// Looks in a row, before everything else has its turn.
        const LOOKS: usize = 64;
        let Self { world, ports, clock, pace, .. } = self;
        let sessions = ports.iter_mut().enumerate();
        let mut sessions: Few<_> =
            sessions.filter_map(|(number, port)| Some((number, &mut port.connection.as_mut()?.session))).collect();
        let now = || clock.elapsed();
        for _ in 0..LOOKS {
            match vhost::look(world, &mut sessions, now) {
                Look::Sent => pace.sent(now(), time_worked),
                Look::Told => pace.told(now(), time_worked),
                Look::Nothing if !pace.goes_on(now()) => return vhost::serve(world, &mut sessions, now),
                Look::Nothing if world.next_due().is_some_and(|due| due <= now()) => break,
                Look::Nothing => hint::spin_loop(),
            }
        }
        true
    }
}

/// For how long this thread has had a processor.
fn time_worked() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}
