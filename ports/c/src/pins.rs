//! The lines in use: the driver's pins, behind numbers.

use core::cell::Cell;
use core::fmt;

use critical_section::Mutex;
use virtio_gpio::{Error, Input, Output};

use crate::status::VirtioGpioStatus;

/// A line in use: a number that is none of a line released before. 0 is never one.
pub type VirtioGpioLine = u32;

/// What a slot has.
enum Pin {
    Free,
    /// A call works on it.
    Taken,
    Input(Input<'static>),
    Output(Output<'static>),
}

/// A place for one line. Whoever works on the pin takes it out meanwhile, so that two never do.
pub(crate) struct Slot(Mutex<State>);

struct State {
    /// How often the slot was used. Never 0.
    generation: Cell<u16>,
    pin: Cell<Pin>,
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").finish_non_exhaustive()
    }
}

impl Slot {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(State { generation: Cell::new(1), pin: Cell::new(Pin::Free) }))
    }

    /// Takes the pin of a handle of that generation.
    fn take(&self, generation: u16) -> Result<Pin, VirtioGpioStatus> {
        critical_section::with(|section| {
            let state = self.0.borrow(section);
            if state.generation.get() != generation {
                return Err(VirtioGpioStatus::BadHandle);
            }
            match state.pin.replace(Pin::Taken) {
                Pin::Taken => Err(VirtioGpioStatus::Busy),
                Pin::Free => {
                    state.pin.set(Pin::Free);
                    Err(VirtioGpioStatus::BadHandle)
                }
                pin => Ok(pin),
            }
        })
    }

    /// Takes the slot, if it is free. Gives its generation.
    fn reserve(&self) -> Option<u16> {
        critical_section::with(|section| {
            let state = self.0.borrow(section);
            let pin = state.pin.replace(Pin::Taken);
            if matches!(pin, Pin::Free) {
                return Some(state.generation.get());
            }
            state.pin.set(pin);
            None
        })
    }

    fn put(&self, pin: Pin) {
        critical_section::with(|section| self.0.borrow(section).pin.set(pin));
    }

    /// Makes the slot free. Its old handles lead nowhere from now on.
    fn free(&self) {
        critical_section::with(|section| {
            let state = self.0.borrow(section);
            let next = state.generation.get().checked_add(1).unwrap_or(1);
            state.generation.set(next);
            state.pin.set(Pin::Free);
        });
    }
}

/// The slots of a chip.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pins(&'static [Slot]);

impl Pins {
    pub(crate) fn new(slots: &'static [Slot]) -> Self {
        Self(slots)
    }

    fn slot(self, handle: VirtioGpioLine) -> Result<(&'static Slot, u16), VirtioGpioStatus> {
        let [index0, index1, generation0, generation1] = handle.to_le_bytes();
        let slot = self.0.get(usize::from(u16::from_le_bytes([index0, index1])));
        Ok((slot.ok_or(VirtioGpioStatus::BadHandle)?, u16::from_le_bytes([generation0, generation1])))
    }

    /// Makes a pin in a free slot.
    fn add(self, make: impl FnOnce() -> Result<Pin, Error>) -> Result<VirtioGpioLine, VirtioGpioStatus> {
        let mut slots = (0..=u16::MAX).zip(self.0);
        let found = slots.find_map(|(index, slot)| slot.reserve().map(|generation| (index, slot, generation)));
        let (index, slot, generation) = found.ok_or(VirtioGpioStatus::TooManyLines)?;
        match make() {
            Ok(pin) => {
                slot.put(pin);
                Ok(u32::from(generation) << 16 | u32::from(index))
            }
            Err(error) => {
                slot.put(Pin::Free);
                Err(error.into())
            }
        }
    }

    pub(crate) fn add_input(
        self,
        make: impl FnOnce() -> Result<Input<'static>, Error>,
    ) -> Result<VirtioGpioLine, VirtioGpioStatus> {
        self.add(|| make().map(Pin::Input))
    }

    pub(crate) fn add_output(
        self,
        make: impl FnOnce() -> Result<Output<'static>, Error>,
    ) -> Result<VirtioGpioLine, VirtioGpioStatus> {
        self.add(|| make().map(Pin::Output))
    }

    /// Works on a pin, which may become another one.
    fn work<T>(
        self,
        handle: VirtioGpioLine,
        work: impl FnOnce(Pin) -> (Pin, Result<T, VirtioGpioStatus>),
    ) -> Result<T, VirtioGpioStatus> {
        let (slot, generation) = self.slot(handle)?;
        let (pin, result) = work(slot.take(generation)?);
        slot.put(pin);
        result
    }

    /// Works on an input.
    pub(crate) fn input<T>(
        self,
        handle: VirtioGpioLine,
        work: impl FnOnce(&mut Input<'static>) -> Result<T, Error>,
    ) -> Result<T, VirtioGpioStatus> {
        self.either(handle, work, |_| Err(VirtioGpioStatus::WrongDirection))
    }

    /// Works on an output.
    pub(crate) fn output<T>(
        self,
        handle: VirtioGpioLine,
        work: impl FnOnce(&mut Output<'static>) -> Result<T, Error>,
    ) -> Result<T, VirtioGpioStatus> {
        self.work(handle, |mut pin| {
            let result = match &mut pin {
                Pin::Output(output) => work(output).map_err(Into::into),
                _ => Err(VirtioGpioStatus::WrongDirection),
            };
            (pin, result)
        })
    }

    /// Works on whatever the pin is.
    pub(crate) fn either<T>(
        self,
        handle: VirtioGpioLine,
        input: impl FnOnce(&mut Input<'static>) -> Result<T, Error>,
        output: impl FnOnce(&mut Output<'static>) -> Result<T, VirtioGpioStatus>,
    ) -> Result<T, VirtioGpioStatus> {
        self.work(handle, |mut pin| {
            let result = match &mut pin {
                Pin::Input(pin) => input(pin).map_err(Into::into),
                Pin::Output(pin) => output(pin),
                Pin::Free | Pin::Taken => Err(VirtioGpioStatus::BadHandle),
            };
            (pin, result)
        })
    }

    /// Makes an input of an output. One that is an input already stays as it is.
    pub(crate) fn turn_in(self, handle: VirtioGpioLine) -> Result<(), VirtioGpioStatus> {
        self.work(handle, |pin| match pin {
            Pin::Output(output) => match output.into_input() {
                Ok(input) => (Pin::Input(input), Ok(())),
                Err(rejected) => (Pin::Output(rejected.pin), Err(rejected.error.into())),
            },
            pin => (pin, Ok(())),
        })
    }

    /// Makes an output of an input; sets one that is an output already.
    pub(crate) fn turn_out(self, handle: VirtioGpioLine, level: virtio_gpio::Level) -> Result<(), VirtioGpioStatus> {
        self.work(handle, |pin| match pin {
            Pin::Input(input) => match input.into_output(level) {
                Ok(output) => (Pin::Output(output), Ok(())),
                Err(rejected) => (Pin::Input(rejected.pin), Err(rejected.error.into())),
            },
            Pin::Output(mut output) => {
                let result = output.set(level).map_err(Into::into);
                (Pin::Output(output), result)
            }
            pin => (pin, Err(VirtioGpioStatus::BadHandle)),
        })
    }

    /// Ends the use of a line. It is over in any case.
    pub(crate) fn release(self, handle: VirtioGpioLine) -> Result<(), VirtioGpioStatus> {
        let (slot, generation) = self.slot(handle)?;
        let result = match slot.take(generation)? {
            Pin::Input(input) => input.release(),
            Pin::Output(output) => output.release(),
            Pin::Free | Pin::Taken => Ok(()),
        };
        slot.free();
        result.map_err(Into::into)
    }

    /// Ends the use of all lines, without waiting for the device. Of none, where a call works on one.
    pub(crate) fn forget_all(self) -> Result<(), VirtioGpioStatus> {
        critical_section::with(|section| {
            let pins = || self.0.iter().map(|slot| &slot.0.borrow(section).pin);
            let is_taken = |pin: &Cell<Pin>| {
                let now = pin.replace(Pin::Taken);
                let taken = matches!(now, Pin::Taken);
                pin.set(now);
                taken
            };
            if pins().any(is_taken) {
                return Err(VirtioGpioStatus::Busy);
            }
            pins().for_each(|pin| pin.set(Pin::Free));
            Ok(())
        })
    }
}
