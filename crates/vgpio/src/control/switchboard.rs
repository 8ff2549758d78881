//! What all clients share, and what one client's thread needs to take part.

use std::fmt;
use std::sync::Arc;

use super::hub::{Client, Hub, lost_in_words};
use super::keyboard::Keyboard;
use super::message::{Answer, ErrorKind};
use super::outbox::{Next, Outbox};
use super::{perform, request};
use crate::server::{Desk, Handle, Stopped};

/// Where all control clients of a simulation meet, whatever way they came. Clones are the same one.
#[derive(Clone)]
pub struct Switchboard {
    desk: Desk,
    pub(crate) hub: Hub,
    pub(crate) keyboard: Option<Keyboard>,
    pub(crate) quit: Arc<dyn Fn() + Send + Sync>,
}

impl fmt::Debug for Switchboard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Switchboard").field("keyboard", &self.keyboard).finish_non_exhaustive()
    }
}

impl Switchboard {
    /// Watches a served world from now on. `keyboard` types into the guest's console, where there is one; `quit` is
    /// called when a client asks for the end.
    ///
    /// # Errors
    ///
    /// [`Stopped`].
    pub fn install(
        server: &Handle,
        keyboard: Option<Keyboard>,
        quit: impl Fn() + Send + Sync + 'static,
    ) -> Result<Self, Stopped> {
        let hub = server.with(|world, _| Hub::install(world))?;
        Ok(Self { desk: server.desk(), hub, keyboard, quit: Arc::new(quit) })
    }

    /// A client has come.
    pub(crate) fn enter(&self) -> Session {
        let outbox = Outbox::default();
        let client = self.hub.enter(outbox.clone());
        Session { board: self.clone(), client, outbox }
    }
}

/// One client's part in it. Clones are the same one.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    board: Switchboard,
    client: Client,
    pub(crate) outbox: Outbox,
}

/// What is to be done for a client.
#[derive(Debug)]
pub(crate) enum Errand {
    /// Send it a line.
    Send(Arc<str>),
    /// It is over.
    HangUp,
}

impl Session {
    /// Takes what the client has said, one request or several that are carried out at one instant. Waits while the client
    /// does not take its replies. Returns false when it is over.
    pub(crate) fn hear(&self, text: &str) -> bool {
        if !self.outbox.wait_for_room() {
            return false;
        }
        let requests = request::read(text);
        let Self { board, client, .. } = self.clone();
        let performed = self.board.desk.post(move |world, now| {
            for (id, request) in requests {
                perform::perform(&board, client, (world, now), id, request);
            }
        });
        performed.is_ok()
    }

    /// Tells the client that it cannot be understood any more.
    pub(crate) fn complain(&self, message: &str) {
        let Self { board, client, outbox } = self.clone();
        let answer = Answer::Error { kind: ErrorKind::BadRequest, message: message.to_owned() };
        // If the simulation has ended, the client hears of that.
        let _ = self.board.desk.post(move |_, now| {
            board.hub.answer(client, None, now, answer);
            outbox.close();
        });
    }

    /// Waits for what is to be done next.
    pub(crate) fn next(&self) -> Errand {
        loop {
            return match self.outbox.next() {
                Next::Event(line) => Errand::Send(line),
                Next::Reply(line) => Errand::Send(line.into()),
                Next::Lost(lost) => Errand::Send(lost_in_words(lost).into()),
                Next::End => Errand::HangUp,
                Next::Alarm => {
                    let Self { board, client, .. } = self.clone();
                    // If the simulation has ended, the client hears of that.
                    let _ = self.board.desk.post(move |_, now| board.hub.expire(client, now));
                    continue;
                }
            };
        }
    }

    /// The client has gone, or is told to.
    pub(crate) fn leave(&self) {
        self.outbox.close();
        self.board.hub.leave(self.client);
    }
}
