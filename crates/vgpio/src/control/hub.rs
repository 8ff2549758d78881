//! Gives every event its number, remembers the last ones, and hands them to the clients that want them.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gpio_model::observe::Activity;
use serde::Serialize;
use virtio_gpio::messages::draft;
use virtio_gpio::messages::ratified::{InvalidRequest, Request};

use super::message::{Answer, Edge, Edges, ErrorKind, Happening, Id, LineState, Said, Stamp, Topic};
use super::outbox::{Lost, Outbox};
use crate::record::{Record, Sink};
use crate::world::{Place, World};

/// Events that are remembered, for clients that come late or come back.
const REMEMBERED: usize = 65_536;
/// Bytes of the console that are remembered.
const REMEMBERED_TEXT: usize = 8 * 1024 * 1024;
/// Requests of one client that may wait for an edge.
const WAITS: usize = 256;

/// A client, in the order of their coming.
pub(crate) type Client = u64;

/// The one place that all events pass. Clones show the same.
///
/// Only the simulation's thread makes events and replies, so what it puts into the outboxes is in one order.
#[derive(Debug, Clone)]
pub(crate) struct Hub(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    /// The names of all lines of all chips.
    names: Vec<Vec<String>>,
    last: Stamp,
    memory: VecDeque<(Stamp, Event)>,
    /// Bytes of the console in it.
    text: usize,
    clients: Vec<Attendance>,
    came: Client,
    ended: bool,
}

/// An event as it is remembered: small, and not in words yet.
#[derive(Debug, Clone)]
enum Event {
    Activity { chip: usize, activity: Activity },
    Console(Arc<str>),
}

/// A client that is here.
#[derive(Debug)]
struct Attendance {
    client: Client,
    outbox: Outbox,
    subscription: Option<Subscription>,
    waits: Vec<Wait>,
}

/// What a client wants to hear of.
#[derive(Debug, Clone)]
pub(crate) struct Subscription {
    pub(crate) topics: Vec<Topic>,
    /// `None` for all lines.
    pub(crate) places: Option<HashSet<Place>>,
}

/// A request that waits for an edge.
#[derive(Debug, Clone)]
pub(crate) struct Wait {
    pub(crate) id: Option<Id>,
    pub(crate) place: Place,
    pub(crate) edges: Edges,
    pub(crate) deadline: Option<Instant>,
}

impl Hub {
    /// Watches a world from now on.
    pub(crate) fn install(world: &mut World) -> Self {
        let names = world.chips().iter().map(|chip| chip.names().to_vec()).collect();
        let hub = Self(Arc::new(Mutex::new(State {
            names,
            last: Stamp::default(),
            memory: VecDeque::new(),
            text: 0,
            clients: Vec::new(),
            came: 0,
            ended: false,
        })));
        world.watch(hub.clone());
        hub
    }

    /// A client has come. If the world has ended already, its outbox is closed.
    pub(crate) fn enter(&self, outbox: Outbox) -> Client {
        let mut state = self.lock();
        state.came = state.came.saturating_add(1);
        if state.ended {
            outbox.close();
        }
        let client = state.came;
        state.clients.push(Attendance { client, outbox, subscription: None, waits: Vec::new() });
        client
    }

    /// A client has gone.
    pub(crate) fn leave(&self, client: Client) {
        self.lock().clients.retain(|attendance| attendance.client != client);
    }

    /// Answers a request of a client, after all events so far.
    pub(crate) fn answer(&self, client: Client, id: Option<Id>, now: Duration, answer: Answer) {
        let mut state = self.lock();
        let stamp = Stamp { seq: state.last.seq, at_ns: nanos(now) };
        if let Some(attendance) = state.attendance(client) {
            attendance.outbox.reply(line(&Said::Reply { id, stamp, answer }));
        }
    }

    /// Changes what a client hears of. `since` is the number of an event: those after it come first, as far as they are
    /// remembered.
    pub(crate) fn subscribe(&self, client: Client, subscription: Option<Subscription>, since: Option<u64>) {
        let mut state = self.lock();
        if let (Some(subscription), Some(since)) = (&subscription, since) {
            state.repeat(client, subscription, since);
        }
        if let Some(attendance) = state.attendance(client) {
            attendance.subscription = subscription;
        }
    }

    /// Lets a request wait for an edge. Returns false if too many do.
    pub(crate) fn wait(&self, client: Client, wait: Wait) -> bool {
        let mut state = self.lock();
        let Some(attendance) = state.attendance(client) else { return true };
        if attendance.waits.len() >= WAITS {
            return false;
        }
        attendance.waits.push(wait);
        attendance.set_alarm();
        true
    }

    /// Answers the requests of a client that have waited for too long.
    pub(crate) fn expire(&self, client: Client, now: Duration) {
        let mut state = self.lock();
        let stamp = Stamp { seq: state.last.seq, at_ns: nanos(now) };
        let Some(attendance) = state.attendance(client) else { return };
        let present = Instant::now();
        let is_late = |wait: &Wait| wait.deadline.is_some_and(|deadline| deadline <= present);
        let (late, rest) = std::mem::take(&mut attendance.waits).into_iter().partition::<Vec<_>, _>(is_late);
        attendance.waits = rest;
        for wait in late {
            let message = "the edge did not come in time".to_owned();
            let answer = Answer::Error { kind: ErrorKind::TimedOut, message };
            attendance.outbox.reply(line(&Said::Reply { id: wait.id, stamp, answer }));
        }
        attendance.set_alarm();
    }

    /// The list of clients is whole after every step, so a panic of another holder of the lock does no harm.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for Hub {
    fn record(&mut self, record: &Record) {
        let is_event = matches!(
            record.activity,
            Activity::Changed(_) | Activity::Request { .. } | Activity::Message { .. } | Activity::Reset
        );
        if is_event {
            self.lock().take(record.at, Event::Activity { chip: record.chip, activity: record.activity });
        }
    }

    fn console(&mut self, at: Duration, line: &str) {
        self.lock().take(at, Event::Console(line.into()));
    }

    fn finish(&mut self, at: Duration) {
        let mut state = self.lock();
        state.ended = true;
        let stamp = state.stamp(at);
        let end: Arc<str> = line(&Said::Event { stamp, happening: Happening::End {} }).into();
        for attendance in &mut state.clients {
            attendance.outbox.event(stamp, &end);
            attendance.outbox.close();
        }
    }
}

impl State {
    fn attendance(&mut self, client: Client) -> Option<&mut Attendance> {
        self.clients.iter_mut().find(|attendance| attendance.client == client)
    }

    /// The stamp of the next event.
    fn stamp(&mut self, at: Duration) -> Stamp {
        self.last = Stamp { seq: self.last.seq.saturating_add(1), at_ns: nanos(at) };
        self.last
    }

    /// An event has happened.
    fn take(&mut self, at: Duration, event: Event) {
        let stamp = self.stamp(at);
        if self.clients.iter().any(|attendance| !attendance.waits.is_empty())
            && let Some((place, edge, state)) = event.edge(&self.names)
        {
            for attendance in &mut self.clients {
                attendance.fulfil(stamp, place, edge, &state);
            }
        }
        let mut wanted = self.clients.iter().filter(|attendance| {
            attendance.subscription.as_ref().is_some_and(|subscription| subscription.wants(&event))
        });
        if let Some(first) = wanted.next() {
            let line = event.in_words(stamp, &self.names).into();
            for attendance in std::iter::once(first).chain(wanted) {
                attendance.outbox.event(stamp, &line);
            }
        }
        self.text = self.text.saturating_add(event.text());
        self.memory.push_back((stamp, event));
        while self.memory.len() > REMEMBERED || self.text > REMEMBERED_TEXT {
            let Some((_, forgotten)) = self.memory.pop_front() else { break };
            self.text = self.text.saturating_sub(forgotten.text());
        }
    }

    /// Says once more what a client may have missed.
    fn repeat(&mut self, client: Client, subscription: &Subscription, since: u64) {
        let first = self.memory.front().map_or(self.last.seq.saturating_add(1), |(stamp, _)| stamp.seq);
        let forgotten = first.saturating_sub(since.saturating_add(1));
        let Some(attendance) = self.clients.iter().find(|attendance| attendance.client == client) else { return };
        if forgotten > 0 {
            let at_ns = self.memory.front().map_or(self.last.at_ns, |(stamp, _)| stamp.at_ns);
            let last = Stamp { seq: first.saturating_sub(1), at_ns };
            let happening = Happening::Lost { count: forgotten };
            attendance.outbox.reply(line(&Said::Event { stamp: last, happening }));
        }
        for (stamp, event) in self.memory.iter().filter(|(stamp, event)| stamp.seq > since && subscription.wants(event))
        {
            attendance.outbox.reply(event.in_words(*stamp, &self.names));
        }
    }
}

impl Attendance {
    /// Answers the requests that waited for this edge.
    fn fulfil(&mut self, stamp: Stamp, place: Place, edge: Edge, state: &LineState) {
        let outbox = &self.outbox;
        self.waits.retain(|wait| {
            let is_it = wait.place == place && wait.edges.include(edge);
            if is_it {
                let answer = Answer::Wait { edge, line: state.clone() };
                outbox.reply(line(&Said::Reply { id: wait.id, stamp, answer }));
            }
            !is_it
        });
        self.set_alarm();
    }

    fn set_alarm(&self) {
        self.outbox.set_alarm(self.waits.iter().filter_map(|wait| wait.deadline).min());
    }
}

impl Subscription {
    fn wants(&self, event: &Event) -> bool {
        let topic = match event {
            Event::Activity { activity: Activity::Changed(_), .. } => Topic::Change,
            Event::Activity { .. } => Topic::Request,
            Event::Console(_) => Topic::Console,
        };
        let of_interest = |place| self.places.as_ref().is_none_or(|places| places.contains(&place));
        self.topics.contains(&topic) && event.place().is_none_or(of_interest)
    }
}

impl Event {
    /// Bytes of the console in it.
    fn text(&self) -> usize {
        match self {
            Self::Console(text) => text.len(),
            Self::Activity { .. } => 0,
        }
    }

    /// The line that it is about.
    fn place(&self) -> Option<Place> {
        let Self::Activity { chip, activity } = self else { return None };
        let line = match activity {
            Activity::Changed(change) => change.line,
            Activity::Request { request: Ok(request), .. } => request.line()?,
            Activity::Message { request, .. } => request.line,
            _ => return None,
        };
        Some(Place { chip: *chip, line })
    }

    /// If it is an edge: of which line, which one, and what the line is like now.
    fn edge(&self, names: &[Vec<String>]) -> Option<(Place, Edge, LineState)> {
        let Self::Activity { chip, activity: Activity::Changed(change) } = self else { return None };
        let place = Place { chip: *chip, line: change.line };
        Some((place, change.new_level()?.into(), LineState::new(place, name_of(names, place), change.after)))
    }

    /// The line that clients get.
    fn in_words(&self, stamp: Stamp, names: &[Vec<String>]) -> String {
        let happening = match self {
            Self::Console(text) => Happening::Console { text: text.to_string() },
            Self::Activity { chip, activity: Activity::Changed(change) } => {
                let place = Place { chip: *chip, line: change.line };
                let edge = change.new_level().map(Edge::from);
                Happening::Change { edge, line: LineState::new(place, name_of(names, place), change.after) }
            }
            Self::Activity { chip, activity: Activity::Request { request, accepted } } => {
                let (message, line, value) = ratified_in_words(*request);
                Happening::Request { chip: *chip, message, line, value, accepted: *accepted }
            }
            Self::Activity { chip, activity: Activity::Message { request, reply } } => Happening::Request {
                chip: *chip,
                message: draft_in_words(*request),
                line: Some(request.line.0),
                value: Some(request.value.into()),
                accepted: reply.value >= 0,
            },
            Self::Activity { chip, .. } => Happening::Reset { chip: *chip },
        };
        line(&Said::Event { stamp, happening })
    }
}

/// The line for a client that lost events.
pub(crate) fn lost_in_words(lost: Lost) -> String {
    line(&Said::Event { stamp: lost.last, happening: Happening::Lost { count: lost.count } })
}

/// A message as one line of JSON.
pub(crate) fn line(message: &impl Serialize) -> String {
    serde_json::to_string(message).unwrap_or_else(|error| {
        // Strings, numbers and structures of them: there is nothing in a message that JSON cannot say.
        log::error!("A message cannot be written: {error}");
        "{}".to_owned()
    })
}

fn name_of(names: &[Vec<String>], place: Place) -> String {
    names.get(place.chip).and_then(|names| names.get(usize::from(place.line.0))).cloned().unwrap_or_default()
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn ratified_in_words(request: Result<Request, InvalidRequest>) -> (String, Option<u16>, Option<i64>) {
    let request = match request {
        Ok(request) => request,
        Err(InvalidRequest::Type(kind)) => return (format!("type-{kind}"), None, None),
        Err(InvalidRequest::Value { kind, value }) => return (format!("type-{kind}"), None, Some(value.into())),
    };
    let name = match request {
        Request::LineNames => "line-names",
        Request::GetDirection(_) => "get-direction",
        Request::SetDirection(..) => "set-direction",
        Request::GetValue(_) => "get-value",
        Request::SetValue(..) => "set-value",
        Request::SetInterruptType(..) => "set-irq-type",
    };
    let [_, _, _, _, value @ ..] = request.encode();
    (name.to_owned(), request.line().map(|line| line.0), Some(u32::from_le_bytes(value).into()))
}

fn draft_in_words(request: draft::Message) -> String {
    use draft::RequestType;
    match RequestType::from_code(request.kind) {
        Some(RequestType::Request) => "request".to_owned(),
        Some(RequestType::DirectionInput) => "direction-input".to_owned(),
        Some(RequestType::DirectionOutput) => "direction-output".to_owned(),
        Some(RequestType::GetDirection) => "get-direction".to_owned(),
        Some(RequestType::GetValue) => "get-value".to_owned(),
        Some(RequestType::SetValue) => "set-value".to_owned(),
        None => format!("type-{}", request.kind),
    }
}
