//! See `fuzz::driver`.
#![cfg_attr(fuzzing, no_main)]

fuzz::target!(driver);
