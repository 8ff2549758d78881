//! Simulated time, as the driver's clock: while the driver waits, the device works.

use core::time::Duration;

use virtio_gpio::clock::{Clock, Instant};

use crate::machine::Machine;

/// What a look at the device costs: so that a driver that waits for something that never comes gets to its deadline.
const LOOK: Duration = Duration::from_micros(1);

/// The clock of a machine.
#[derive(Debug, Clone)]
pub struct MachineClock(pub(crate) Machine);

impl Clock for MachineClock {
    fn now(&self) -> Instant {
        self.0.now()
    }

    fn relax(&self) {
        self.0.pass(LOOK);
        self.0.run();
        self.0.raise_interrupt();
    }

    fn wait(&self, deadline: Instant, idle: &dyn Fn() -> bool) {
        self.relax();
        if idle() {
            let until = self.0.next_activity().map_or(deadline, |next| next.min(deadline));
            self.0.pass(until.since(self.0.now()));
            self.0.run();
            self.0.raise_interrupt();
        }
    }
}
