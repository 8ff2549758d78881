//! See `fuzz::web`.
#![cfg_attr(fuzzing, no_main)]

fuzz::target!(web);
