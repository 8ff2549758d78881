//! The command line.

pub(crate) mod arguments;
pub(crate) mod device;
pub(crate) mod run;
pub(crate) mod wave;
