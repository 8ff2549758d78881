//! Recurses for ever: the image has to say "stack overflow" and end with status 101.
#![cfg_attr(target_os = "none", no_std, no_main)]

use guest::platform::{ExitCode, Machine};

guest::entry!(run);

#[expect(unconditional_recursion, reason = "this is what must fault")]
fn recurse(caller: &[u64; 64]) -> u64 {
    let frame = core::hint::black_box(*caller);
    // To look at the result keeps this from becoming a loop.
    core::hint::black_box(recurse(&frame))
}

fn run(_machine: &'static Machine) -> ExitCode {
    let result = recurse(&[0; 64]);
    log::error!("the recursion ended with {result}");
    ExitCode::Failure
}
