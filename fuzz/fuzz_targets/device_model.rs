//! See `fuzz::device_model`.
#![cfg_attr(fuzzing, no_main)]

fuzz::target!(device_model);
