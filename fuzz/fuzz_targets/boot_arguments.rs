//! See `fuzz::boot_arguments`.
#![cfg_attr(fuzzing, no_main)]

fuzz::target!(boot_arguments);
