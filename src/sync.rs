//! The lock for what main code and interrupt handlers share.

/// A value that main code and interrupt handlers use. Interrupts are masked while it is in use, so that a handler never
/// finds it taken.
#[derive(Debug)]
pub(crate) struct InterruptLock<T>(spin::Mutex<T>);

impl<T> InterruptLock<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(spin::Mutex::new(value))
    }

    /// Uses the value.
    ///
    /// # Panics
    ///
    /// If the value is in use already. With one processor and interrupts masked that can only be the caller itself, and
    /// to wait for it would be to wait for ever.
    pub(crate) fn with<R>(&self, use_value: impl FnOnce(&mut T) -> R) -> R {
        critical_section::with(|_| match self.0.try_lock() {
            Some(mut value) => use_value(&mut value),
            None => panic!("a lock is taken again by its holder"),
        })
    }
}
