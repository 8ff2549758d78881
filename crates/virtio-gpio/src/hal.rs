//! The pins as `embedded-hal` pins: thin, with the driver's own error behind `embedded-hal`'s one kind.

use embedded_hal::digital::{Error as DigitalError, ErrorKind, ErrorType, InputPin, OutputPin, StatefulOutputPin};

use crate::error::Error;
use crate::messages::Level;
use crate::pins::{Input, Output};

impl DigitalError for Error {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Other
    }
}

impl ErrorType for Input<'_> {
    type Error = Error;
}

impl InputPin for Input<'_> {
    fn is_high(&mut self) -> Result<bool, Error> {
        self.level().map(bool::from)
    }

    fn is_low(&mut self) -> Result<bool, Error> {
        self.is_high().map(|high| !high)
    }
}

impl ErrorType for Output<'_> {
    type Error = Error;
}

impl OutputPin for Output<'_> {
    fn set_high(&mut self) -> Result<(), Error> {
        self.set(Level::High)
    }

    fn set_low(&mut self) -> Result<(), Error> {
        self.set(Level::Low)
    }
}

/// By what the driver has set; the line itself is read by [`Output::level`].
impl StatefulOutputPin for Output<'_> {
    fn is_set_high(&mut self) -> Result<bool, Error> {
        self.level_set().map(bool::from).ok_or(Error::OutcomeUnknown)
    }

    fn is_set_low(&mut self) -> Result<bool, Error> {
        self.is_set_high().map(|high| !high)
    }
}
