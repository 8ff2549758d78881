//! The command line.

pub(crate) mod arguments;
pub(crate) mod device;
pub(crate) mod get;
pub(crate) mod info;
mod lines;
pub(crate) mod monitor;
pub(crate) mod output;
pub(crate) mod run;
pub(crate) mod set;
mod surroundings;
mod terminal;
pub(crate) mod test;
pub(crate) mod wave;
mod ways;
