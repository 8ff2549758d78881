//! Scenarios that must fail: each kind of expectation, and what the report says. The report is compared to a snapshot,
//! without what differs from run to run.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, ensure};
use vgpio::report::{Told, text};
use vgpio::runner::case::{Report, Verdict};
use vgpio::runner::matrix::{self, Case, Selection};
use vgpio::runner::{self, Interruption, Listener};
use vgpio::scenario::File;

/// A name, and the steps of which the last one fails.
pub(crate) const CASES: &[(&str, &str)] = &[
    ("wait_serial", r#"{ wait-serial = { text = "no such line", within = "50ms" } }"#),
    ("wait_serial_until_the_end", r#"{ write-serial = "exit\n" }, { wait-serial = "no such line" }"#),
    (
        "expect_serial",
        r#"{ write-serial = "get button0\n" }, { expect-serial = { among = "gpio0:1", lines = ["output"] } }"#,
    ),
    (
        "fail_serial",
        r#"{ fail-serial = "button0 input" }, { write-serial = "get button0\n" }, { wait-serial = "no such line" }"#,
    ),
    (
        "expect_pin",
        r#"{ set-control = { line = "button0", value = 1 } }, { expect-pin = { line = "button0", value = 0 } }"#,
    ),
    ("expect_pin_direction", r#"{ expect-pin = { line = "led0", value = 0, direction = "output", within = "50ms" } }"#),
    (
        "expect_edges",
        r#"{ pulse = { line = "button0", width = "1ms" } }, { expect-edges = ["button0 rising", "button0 rising"] }"#,
    ),
    (
        "expect_edges_quiet",
        r#"{ set-control = { line = "button0", value = 1 } }, { expect-edges = { edges = ["led0 rising"], quiet = ["button0"] } }"#,
    ),
    ("expect_edges_too_late", r#"{ expect-edges = { edges = ["led0 rising"], within = "50ms" } }"#),
    (
        "expect_count",
        r#"{ pulse = { line = "button0", width = "1ms" } }, { expect-count = { line = "button0", until = { time = "500ms" }, exactly = 3 } }"#,
    ),
    (
        "expect_count_too_many",
        r#"{ pulse = { line = "button0", width = "1ms" } }, { expect-count = { line = "button0", until = "exit", max = 1 } }"#,
    ),
    (
        "expect_frequency",
        r#"{ clock = { line = "button0", period = "4ms" } }, { expect-frequency = { line = "button0", hz = 1, tolerance = "20%", periods = 2 } }"#,
    ),
    (
        "expect_duty",
        r#"{ pwm = { line = "button0", period = "400ms", high = "4ms" } }, { expect-duty = { line = "button0", duty = "90%", tolerance = "5%", periods = 1 } }"#,
    ),
    (
        "expect_silence",
        r#"{ set-control = { line = "button0", value = 1 } }, { expect-silence = { lines = ["button0"], until = { time = "50ms" } } }"#,
    ),
    (
        "expect_request",
        r#"{ write-serial = "set led0 1\nexit\n" }, { expect-request = { line = "button0", interrupt = "both" } }"#,
    ),
    ("expect_exit", r#"{ write-serial = "exit\n" }, { expect-exit = 3 }"#),
    ("write_serial", r#"{ write-serial = "exit\n" }, { expect-exit = 0 }, { write-serial = "help\n" }"#),
    ("timeout", r#"{ expect-edges = ["led0 rising"] }"#),
];

/// Runs a scenario with these steps, and compares what is told of it.
pub(crate) fn check(name: &str, steps: &str) -> anyhow::Result<()> {
    let text = format!(
        "boards = [\"qemu-virt-aarch64\"]\nprotocols = [\"ratified\"]\ntransports = [\"modern\"]\n\
         append = \"shell=on blink=none watch=none\"\ntimeout = \"{}\"\n\
         chips = [{{ lines = [\"led0\", \"button0\"] }}]\nsteps = [\n  {{ wait-serial = \"shell: ready\" }},\n  {steps},\n]\n",
        // Long enough for the boot, where the time-out itself is not what is to be seen.
        if name == "timeout" { "10s" } else { "60s" },
    );
    let file = File::parse(Path::new(&format!("{name}.toml")), text)?;
    let told = run(file)?;
    ensure!(
        matches!(told.report.verdict, Verdict::Failed(_)),
        "It is {}, not failed:\n{}",
        told.word(),
        text::details(&told)
    );
    let mut settings = insta::Settings::clone_current();
    for (what, shown) in [
        // Times of the guest, of the world, and how long something took.
        (r"\[ +[0-9]+\.[0-9]{6}\]", "[TIME]"),
        (r"\+[0-9.]+(us|ms|s)", "+TIME"),
        (r"from [0-9.]+ s to [0-9.]+ s", "from TIME to TIME"),
        (r"[0-9.]+ Hz: .*", "FREQUENCY"),
        (r"seen:      [0-9.]+%: .*", "seen:      DUTY"),
        // The picture: the names of the lines, and who drives them.
        (r"(?m)^    ( *[0-9.]+ [mµu]?s)+ *\n", ""),
        (r"(?m)^    [ ─┬]+\n", ""),
        (r"(?m)^    (led0|button0)( +guest| +outside)? +[^|\n]*[▁▔·│╱╲▒].*$", "    $1$2 (picture)"),
        // What was typed is echoed when the guest comes to it.
        (r"(?m)^    \| (.*\r)?> .*\n", ""),
        // How far the guest has come differs from run to run.
        (r"(?m)^    \| .*(shell: ready|gpio0:[01] [a-z0-9]+ (input|output|none)).*\n", ""),
        (
            r"seen:      (no console line|one console line, without it|[0-9]+ console lines, none with it)",
            "seen:      LINES",
        ),
        (r"(QEMU:      ).*qemu-system", "${1}qemu-system"),
        (r"-kernel [^ ]*/target", "-kernel target"),
        (r"guest [0-9.]+ on", "guest on"),
        (r" --qemu [^ \n]*", ""),
    ] {
        settings.add_filter(what, shown);
    }
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text::details(&told)));
    Ok(())
}

fn run(file: File) -> anyhow::Result<Told> {
    struct Hearing(Option<Told>);

    impl Listener for Hearing {
        fn begins(&mut self, _: &Case) {}

        fn ended(&mut self, case: &Case, report: Report) {
            self.0 = Some(Told::new(case, report, &[]));
        }
    }

    let qemu = hil::scene::qemu_folder();
    let selection = Selection { qemu: qemu.is_dir().then_some(qemu), ..Selection::default() };
    let cases = matrix::cases(&[Arc::new(file)], &selection)?;
    let mut hearing = Hearing(None);
    runner::run(&cases, 1, None, &Interruption::default(), &mut hearing);
    hearing.0.context("Nothing is told of it")
}
