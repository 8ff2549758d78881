//! What is to be sent to one client. The simulation's thread puts lines in and never waits; the client's thread takes them
//! out as fast as the client reads. For a client that is too slow, events are left out and counted.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::message::Stamp;

/// Events that may wait for a client. A client that is further behind loses some.
const EVENTS: usize = 8192;
/// The same in bytes: a line of the guest's console may be long.
const BYTES: usize = 8 * 1024 * 1024;
/// Replies that may wait before no more requests are taken from the client.
const REPLIES: usize = 256;

/// What waits for one client. Clones show the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outbox(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<Line>,
    events: usize,
    bytes: usize,
    replies: usize,
    /// Events left out since the last line that was put in.
    lost: Option<Lost>,
    alarm: Option<Instant>,
    closed: bool,
}

#[derive(Debug)]
enum Line {
    /// Shared with other clients.
    Event(Arc<str>),
    Reply(String),
}

/// Events that were left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lost {
    /// How many.
    pub(crate) count: u64,
    /// The last one of them.
    pub(crate) last: Stamp,
}

/// What the client's thread has to do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Send a line.
    Event(Arc<str>),
    /// Send a line.
    Reply(String),
    /// Say that events were left out.
    Lost(Lost),
    /// It is the time that was set with [`Outbox::set_alarm`].
    Alarm,
    /// Nothing more will come.
    End,
}

impl Outbox {
    /// An event that the client wants.
    pub(crate) fn event(&self, stamp: Stamp, line: &Arc<str>) {
        let mut state = self.lock();
        // Once some are lost, all are until the client has caught up: one gap is easier to deal with than many.
        if state.lost.is_some() || state.events >= EVENTS || state.bytes >= BYTES {
            let count = state.lost.map_or(0, |lost| lost.count).saturating_add(1);
            state.lost = Some(Lost { count, last: stamp });
        } else {
            state.events = state.events.saturating_add(1);
            state.bytes = state.bytes.saturating_add(line.len());
            state.lines.push_back(Line::Event(Arc::clone(line)));
        }
        self.0.changed.notify_all();
    }

    /// A reply, or something else that the client asked for. It is never lost.
    pub(crate) fn reply(&self, line: String) {
        let mut state = self.lock();
        state.replies = state.replies.saturating_add(1);
        state.lines.push_back(Line::Reply(line));
        self.0.changed.notify_all();
    }

    /// When [`Outbox::next`] shall come back with [`Next::Alarm`].
    pub(crate) fn set_alarm(&self, at: Option<Instant>) {
        self.lock().alarm = at;
        self.0.changed.notify_all();
    }

    /// Nothing is put in any more; what is in can still be taken out.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.0.changed.notify_all();
    }

    /// Waits until the client has taken enough of its replies, or until nothing more will come. Returns whether more
    /// can be put in.
    pub(crate) fn wait_for_room(&self) -> bool {
        let mut state = self.lock();
        while state.replies >= REPLIES && !state.closed {
            state = self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        !state.closed
    }

    /// Waits for the next thing to do.
    pub(crate) fn next(&self) -> Next {
        let mut state = self.lock();
        loop {
            if let Some(line) = state.lines.pop_front() {
                self.0.changed.notify_all();
                return match line {
                    Line::Event(line) => {
                        state.events = state.events.saturating_sub(1);
                        state.bytes = state.bytes.saturating_sub(line.len());
                        Next::Event(line)
                    }
                    Line::Reply(line) => {
                        state.replies = state.replies.saturating_sub(1);
                        Next::Reply(line)
                    }
                };
            }
            if let Some(lost) = state.lost.take() {
                return Next::Lost(lost);
            }
            if state.closed {
                return Next::End;
            }
            state = match state.alarm.map(|alarm| alarm.saturating_duration_since(Instant::now())) {
                Some(rest) if rest.is_zero() => {
                    state.alarm = None;
                    return Next::Alarm;
                }
                Some(rest) => self.0.changed.wait_timeout(state, rest).unwrap_or_else(PoisonError::into_inner).0,
                None => self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// The state is whole after every step, so a panic of another holder of the lock does no harm.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(seq: usize) -> Stamp {
        Stamp { seq: seq as u64, at_ns: 0 }
    }

    #[test]
    fn lines_come_out_in_their_order_and_the_end_after_all_of_them() {
        let outbox = Outbox::default();
        outbox.event(stamp(1), &"a".into());
        outbox.reply("b".to_owned());
        outbox.close();
        assert_eq!(outbox.next(), Next::Event("a".into()));
        assert_eq!(outbox.next(), Next::Reply("b".to_owned()));
        assert_eq!(outbox.next(), Next::End);
    }

    #[test]
    fn what_does_not_fit_is_one_gap_that_is_counted() {
        let outbox = Outbox::default();
        for number in 1..=EVENTS + 10 {
            outbox.event(stamp(number), &"e".into());
        }
        outbox.reply("r".to_owned());
        assert_eq!(outbox.next(), Next::Event("e".into()));
        outbox.event(stamp(EVENTS + 11), &"late".into());
        for _ in 1..EVENTS {
            assert_eq!(outbox.next(), Next::Event("e".into()));
        }
        assert_eq!(outbox.next(), Next::Reply("r".to_owned()), "never lost");
        assert_eq!(outbox.next(), Next::Lost(Lost { count: 11, last: stamp(EVENTS + 11) }));
        outbox.event(stamp(EVENTS + 12), &"again".into());
        assert_eq!(outbox.next(), Next::Event("again".into()));
    }

    #[test]
    fn alarm_rings_once() {
        let outbox = Outbox::default();
        outbox.set_alarm(Some(Instant::now()));
        assert_eq!(outbox.next(), Next::Alarm);
        outbox.close();
        assert_eq!(outbox.next(), Next::End);
    }
}
