//! The command line of `vgpio`.
fn main() {}
