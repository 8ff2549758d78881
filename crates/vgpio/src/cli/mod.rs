//! The command line.

pub(crate) mod arguments;
pub(crate) mod device;
pub(crate) mod run;
mod surroundings;
pub(crate) mod test;
pub(crate) mod wave;
