//! What scenario files may say, and how each kind of mistake is answered.
use std::fs;
use std::path::Path;

use insta::assert_snapshot;
use vgpio::qemu::board::project;
use vgpio::scenario::{File, schema};

/// Something that a scenario can be made of, so that it is right otherwise.
const CHIPS: &str = "chips = [{ lines = [\"led0\", \"button0\"] }]\n";

/// What a file with that text is answered with.
fn problems(text: &str) -> String {
    match File::parse(Path::new("blink.toml"), text.to_owned()) {
        Ok(_) => panic!("nothing is wrong with\n{text}"),
        Err(problems) => problems.to_string(),
    }
}

/// What each of some steps is answered with.
fn of_steps(steps: &[&str]) -> String {
    let of_step = |step: &&str| problems(&format!("{CHIPS}exit = 0\nsteps = [\n  {step},\n]\n"));
    steps.iter().map(of_step).collect::<Vec<_>>().join("\n\n")
}

#[test]
fn what_is_no_toml_is_shown_where_it_is() {
    assert_snapshot!(problems("exit = 0\nsteps = [ { expect-edges = [\"led0 rising\" } ]"));
}

#[test]
fn slips_of_the_pen_are_answered_with_what_was_meant() {
    let files = [
        "stps = []",
        "exit = 0\nprotocols = [\"ratifed\"]",
        "exit = 0\nboards = [\"qemu-virt-arch64\"]",
        "exit = \"0\"",
    ];
    let answers: Vec<_> = files.iter().map(|text| problems(text)).collect();
    let steps = of_steps(&[
        "{ wait-seral = \"GPIO\" }",
        "{ expect-pin = { line = \"led0\", vale = 1 } }",
        "{ wait-serial = { txt = \"GPIO\" } }",
        "{ expect-edges = [\"let0 rising\"] }",
    ]);
    assert_snapshot!(format!("{}\n\n{steps}", answers.join("\n\n")));
}

#[test]
fn what_is_missing_is_named() {
    assert_snapshot!(of_steps(&[
        "{ expect-pin = { line = \"led0\" } }",
        "{ bounce = { line = \"button0\", to = 1, changes = 3 } }",
        "{ }",
    ]));
}

#[test]
fn values_of_the_wrong_kind_are_answered_with_what_was_expected() {
    assert_snapshot!(of_steps(&[
        "{ delay = 5 }",
        "{ delay = \"5\" }",
        "{ set-control = { line = \"button0\", value = 2 } }",
        "{ expect-edges = [\"led0 up\"] }",
        "{ expect-duty = { line = \"led0\", duty = 50, tolerance = \"5%\" } }",
        "{ expect-duty = { line = \"led0\", duty = \"500%\", tolerance = \"5%\" } }",
        "{ wait-serial = 7 }",
        "{ fault = { answer = { to = {}, with = { status = 300 } } } }",
        "\"delay\"",
        "{ delay = \"5s\", release = \"led0\" }",
    ]));
}

#[test]
fn lines_and_chips_that_there_are_not_are_named() {
    let ambiguous =
        "exit = 0\nchips = [{ lines = [\"led0\"] }, { lines = [\"led0\"] }]\nsteps = [{ release = \"led0\" }]";
    let without = "exit = 0\nsteps = [{ release = \"led0\" }]";
    let wire = format!("exit = 0\n{CHIPS}wires = [{{ from = \"led0\", to = \"loop0\" }}]");
    let steps = of_steps(&["{ release = \"2\" }", "{ fault = { stall = { chip = \"gpio1\" } } }"]);
    let answers = [problems(ambiguous), problems(without), problems(&wire), steps];
    assert_snapshot!(answers.join("\n\n"));
}

#[test]
fn steps_that_make_no_sense_are_refused() {
    assert_snapshot!(of_steps(&[
        "{ wait-serial = \"\" }",
        "{ expect-edges = [] }",
        "{ expect-serial = [] }",
        "{ expect-silence = { lines = [], until = \"exit\" } }",
        "{ expect-silence = { lines = [\"led0\"], until = { time = \"0ms\" } } }",
        "{ expect-count = { line = \"led0\", until = \"exit\" } }",
        "{ expect-count = { line = \"led0\", until = \"exit\", exactly = 3, min = 1 } }",
        "{ expect-count = { line = \"led0\", until = \"exit\", min = 3, max = 1 } }",
        "{ expect-frequency = { line = \"led0\", hz = 0, tolerance = \"5%\" } }",
        "{ expect-duty = { line = \"led0\", duty = \"50%\", tolerance = \"5%\", periods = 0 } }",
        "{ clock = { line = \"button0\", period = \"0ms\" } }",
        "{ pwm = { line = \"button0\", period = \"1ms\", high = \"2ms\" } }",
        "{ expect-request = { line = \"led0\", value = 1, direction = \"output\" } }",
    ]));
}

#[test]
fn what_one_protocol_does_not_have_is_refused_where_a_chip_may_speak_it() {
    assert_snapshot!(of_steps(&[
        "{ expect-request = { line = \"button0\", interrupt = \"both\" } }",
        "{ expect-request = { request = \"claim\", line = \"led0\" } }",
        "{ fault = { answer = { to = { line = \"led0\" }, with = \"twice\" } } }",
        "{ fault = { return-events = { times = 2 } } }",
        "{ fault = { message = { type = 17, line = 0, value = 1 } } }",
    ]));
}

#[test]
fn heads_that_make_no_sense_are_refused() {
    let files = [
        "",
        "exit = 0\nname = \"a b\"",
        "exit = 0\nprotocols = []",
        "exit = 0\ntimeout = \"0s\"",
        "exit = 0\nchips = [{}]",
        "exit = 0\nchips = [{ lines = [\"a\", \"a\"] }]",
        "exit = 0\nchips = [{ lines = [\"a\", \"b\"], count = 1 }]",
        "exit = 0\nchips = [{ lines = [\"a:b\"] }]",
        "exit = 0\nsetup = [{ wait-serial = \"GPIO\" }]",
    ];
    assert_snapshot!(files.map(problems).join("\n\n"));
}

/// Of a file as a whole, too: several files can be wrong at once. An empty one did it, which a fuzz target tried.
#[test]
fn a_problem_without_a_place_names_its_file() {
    assert!(problems("").contains("--> blink.toml"), "{}", problems(""));
    let unreadable = File::read(Path::new("no-such-folder/blink.toml")).map(drop).unwrap_err().to_string();
    assert!(unreadable.contains("--> no-such-folder/blink.toml"), "{unreadable}");
}

#[test]
fn the_schema_in_the_docs_is_that_of_the_program() {
    let kept = fs::read_to_string(project().join("docs/scenario.schema.json")).unwrap();
    assert_eq!(kept.trim(), schema().unwrap(), "update it: vgpio test --schema > docs/scenario.schema.json");
}

#[test]
fn examples_in_the_docs_are_scenarios() {
    let text = fs::read_to_string(project().join("docs/scenarios.md")).unwrap();
    let mut whole = 0;
    for (number, block) in text.split("```toml\n").skip(1).enumerate() {
        let example = block.split("```").next().unwrap();
        // Steps alone are examples of steps.
        let steps = "exit = 0\nchips = [{ lines = [\"led0\", \"led1\", \"button0\", \"loop0\"] }]\n";
        let text = if example.contains("steps = [") {
            whole += 1;
            example.to_owned()
        } else {
            let protocol = if example.contains("message =") { "draft" } else { "ratified" };
            format!("{steps}protocols = [\"{protocol}\"]\nsteps = [\n{example}]\n")
        };
        if let Err(problems) = File::parse(Path::new("docs/scenarios.md"), text) {
            panic!("example {number}:\n{problems}");
        }
    }
    assert!(whole > 0, "there is no whole scenario in it");
}
