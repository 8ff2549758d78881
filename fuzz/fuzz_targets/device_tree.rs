//! See `fuzz::device_tree`.
#![cfg_attr(fuzzing, no_main)]

fuzz::target!(device_tree);
