//! See `fuzz::vgpio_device`.
#![cfg_attr(fuzzing, no_main)]

fuzz::target!(vgpio_device);
