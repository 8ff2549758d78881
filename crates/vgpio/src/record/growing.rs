//! A list that one thread adds to while others read it and wait for more.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A list that grows. Clones are the same list.
pub(crate) struct Growing<T>(Arc<Shared<T>>);

struct Shared<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    items: Vec<T>,
    ended: bool,
}

/// Why a wait was in vain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Vain {
    /// How long was waited.
    pub(crate) waited: Duration,
    /// Whether nothing can come any more; otherwise the time was up.
    pub(crate) ended: bool,
}

impl<T> Clone for Growing<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for Growing<T> {
    fn default() -> Self {
        let state = Mutex::new(State { items: Vec::new(), ended: false });
        Self(Arc::new(Shared { state, changed: Condvar::new() }))
    }
}

impl<T> fmt::Debug for Growing<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("Growing").field("length", &state.items.len()).field("ended", &state.ended).finish()
    }
}

impl<T> Growing<T> {
    pub(crate) fn push(&self, item: T) {
        self.lock().items.push(item);
        self.0.changed.notify_all();
    }

    /// Nothing comes any more.
    pub(crate) fn end(&self) {
        self.lock().ended = true;
        self.0.changed.notify_all();
    }

    /// Looks at what is there. Nothing can be added meanwhile.
    pub(crate) fn with<R>(&self, look: impl FnOnce(&[T]) -> R) -> R {
        look(&self.lock().items)
    }

    /// Shows the list to `found`, again each time that it has grown, until that returns something.
    pub(crate) fn wait_for<R>(&self, patience: Duration, mut found: impl FnMut(&[T]) -> Option<R>) -> Result<R, Vain> {
        let begin = Instant::now();
        let mut state = self.lock();
        loop {
            if let Some(found) = found(&state.items) {
                return Ok(found);
            }
            let waited = begin.elapsed();
            match patience.checked_sub(waited).filter(|rest| !state.ended && !rest.is_zero()) {
                Some(rest) => {
                    (state, _) = self.0.changed.wait_timeout(state, rest).unwrap_or_else(PoisonError::into_inner);
                }
                None => return Err(Vain { waited, ended: state.ended }),
            }
        }
    }

    /// Shows each item from a position on to `found`, once, until that returns something.
    pub(crate) fn find_from<R>(
        &self,
        mut position: usize,
        patience: Duration,
        mut found: impl FnMut(usize, &T) -> Option<R>,
    ) -> Result<R, Vain> {
        self.wait_for(patience, |items| {
            items.get(position..)?.iter().find_map(|item| {
                let here = position;
                position = position.saturating_add(1);
                found(here, item)
            })
        })
    }

    /// A list is whole after every step, so a panic of another holder of the lock does no harm.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
