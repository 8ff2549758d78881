//! See `fuzz::names`.
#![cfg_attr(fuzzing, no_main)]

fuzz::target!(names);
