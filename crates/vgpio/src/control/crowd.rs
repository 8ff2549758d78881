//! The clients that are connected, and their threads: one that hears a client and one that talks to it.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use super::switchboard::{Errand, Session};

/// Clients at once, on one socket.
const CLIENTS: usize = 64;
/// How long clients may take to read the rest when all is over.
const FAREWELL: Duration = Duration::from_millis(500);
/// Between two looks at whether they have.
const TICK: Duration = Duration::from_millis(2);

/// What came from a client.
#[derive(Debug)]
pub(crate) enum Heard {
    /// One or several requests.
    Text(String),
    /// Something that cannot be understood, and nothing behind it can.
    Noise(String),
}

/// All clients of one socket. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Crowd(Arc<Mutex<Vec<Member>>>);

struct Member {
    threads: Vec<JoinHandle<()>>,
    hang_up: Arc<dyn Fn() + Send + Sync>,
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member").field("threads", &self.threads).finish_non_exhaustive()
    }
}

impl Member {
    fn has_gone(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }
}

impl Crowd {
    /// Whether there is room for one more client.
    pub(crate) fn has_room(&self) -> bool {
        let mut members = self.lock();
        members.retain(|member| !member.has_gone());
        members.len() < CLIENTS
    }

    /// Takes a client in. `hear` waits for what it says and returns `None` when it has gone; `say` sends it a line,
    /// however long it takes to read it; `hang_up` cuts the connection, so that both come back.
    ///
    /// # Errors
    ///
    /// When there can be no more threads.
    pub(crate) fn admit(
        &self,
        session: Session,
        mut hear: impl FnMut() -> Option<Heard> + Send + 'static,
        mut say: impl FnMut(&str) -> io::Result<()> + Send + 'static,
        hang_up: impl Fn() + Send + Sync + 'static,
    ) -> io::Result<()> {
        let hang_up: Arc<dyn Fn() + Send + Sync> = Arc::new(hang_up);
        let talker = {
            let (session, hang_up) = (session.clone(), Arc::clone(&hang_up));
            move || {
                while let Errand::Send(line) = session.next() {
                    if say(&line).is_err() {
                        break;
                    }
                }
                session.leave();
                hang_up();
            }
        };
        let listener = move || {
            while let Some(heard) = hear() {
                let goes_on = match heard {
                    Heard::Text(text) => session.hear(&text),
                    Heard::Noise(message) => {
                        session.complain(&message);
                        false
                    }
                };
                if !goes_on {
                    // The talker hangs up after the last reply.
                    return;
                }
            }
            session.leave();
        };
        let talker = Builder::new().name("vgpio-talker".to_owned()).spawn(talker)?;
        let listener = Builder::new().name("vgpio-listener".to_owned()).spawn(listener)?;
        self.lock().push(Member { threads: vec![talker, listener], hang_up });
        Ok(())
    }

    /// Ends all connections. Clients get a moment to read what was said last.
    pub(crate) fn dismiss(&self) {
        let begin = Instant::now();
        let mut members = std::mem::take(&mut *self.lock());
        while members.iter().any(|member| !member.has_gone()) && begin.elapsed() < FAREWELL {
            std::thread::sleep(TICK);
        }
        for member in &mut members {
            (member.hang_up)();
            for thread in member.threads.drain(..) {
                if thread.join().is_err() {
                    log::error!("The thread of a control client ended with a panic");
                }
            }
        }
    }

    /// The list is whole after every step, so a panic of another holder of the lock does no harm.
    fn lock(&self) -> MutexGuard<'_, Vec<Member>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
