//! What scenario files may say, and how each kind of mistake is answered.
use std::path::Path;

use vgpio::scenario::File;

/// What a file with that text is answered with.
fn problems(text: &str) -> String {
    match File::parse(Path::new("blink.toml"), text.to_owned()) {
        Ok(_) => panic!("nothing is wrong with {text}"),
        Err(problems) => problems.to_string(),
    }
}

#[test]
fn probe() {
    for text in [
        "steps = [\n  { wait-seral = \"x\" },\n]",
        "exit = 0\nsteps = [ { expect-pin = { line = \"led0\", vale = 1 } } ]",
        "exit = 0\nsteps = [ { expect-pin = { line = \"led0\" } } ]",
        "exit = 0\nsteps = [ { delay = 5 } ]",
        "exit = 0\nsteps = [ { delay = \"5\" } ]",
        "exit = 0\nsteps = [ { delay = \"5s\", pulse = 4 } ]",
        "exit = 0\nsteps = [ { } ]",
        "exit = 0\nsteps = [ { wait-serial = { txt = \"x\" } } ]",
        "exit = 0\nsteps = [ { wait-serial = 7 } ]",
        "exit = 0\nsteps = [ { expect-edges = [\"led0 up\"] } ]",
        "exit = 0\nsteps = [ { expect-edges = [\"led0 rising\"] } ]\n[[chips]]\nlines = [\"led1\"]\n",
        "exit = 0\nsteps = [ { expect-edges = [\"led0 rising\" } ]",
        "exit = \"0\"",
        "protocols = [\"ratifed\"]",
        "steps = [ { fault = { answer = { to = { line = \"led0\" }, with = { status = 300 } } } } ]",
        "steps = [ { set-control = { line = \"led0\", value = 2 } } ]",
        "steps = [ \"delay\" ]",
        "stps = []",
    ] {
        println!("----\n{text}\n=>\n{}", problems(text));
    }
}
