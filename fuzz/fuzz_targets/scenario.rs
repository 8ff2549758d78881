//! See `fuzz::scenario`.
#![cfg_attr(fuzzing, no_main)]

fuzz::target!(scenario);
