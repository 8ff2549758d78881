//! `vgpio test` as a shell and a CI see it: its options, reports and exit statuses. A script stands in for QEMU; what
//! scenarios say about guests is tested together with the images.
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use gpio_model::observe::Activity;
use gpio_model::ratified;
use roxmltree::{Document, Node};
use rustix::process::{Pid, Signal, test_kill_process};
use serde_json::Value as Json;
use vgpio::chip::Chip;
use vgpio::qemu::board::project;
use vgpio::record::trace::Trace;
use vgpio::runner::seed_of_step;
use vgpio::wave::{Value, Wave};
use vgpio::world::{Stimulus, World};
use virtio_gpio::messages::Level::High;

use crate::command_line::{Stage, pid_of, run, signal, stderr, terminal, until, vgpio};

/// A guest that says that it is there, and how to end it.
const GUEST: &str = "echo ready; exec cat";
/// One that notes its process ID, says that it is there, and goes on until it is ended by force.
pub(crate) const STUBBORN: &str = "trap '' TERM; echo $$ >>\"$TMPDIR/pids\"; echo ready; exec sleep 1000";
/// A scenario that a guest of these passes, on two boards with two transports.
const READY: &str = "steps = [{ wait-serial = \"ready\" }]\n";

impl Stage {
    /// Adds a scenario.
    pub(crate) fn with(self, name: &str, text: &str) -> Self {
        fs::write(self.folder.path().join(name), text).unwrap();
        self
    }

    /// `vgpio test` of all scenarios of this stage.
    pub(crate) fn test(&self, more: &[&str]) -> Command {
        let (image, qemu) = (self.path("image"), self.qemu.display().to_string());
        let mut command = vgpio(&["test", &self.path(""), "--image", &image, "--qemu", &qemu]);
        command.args(more).env("TMPDIR", self.folder.path());
        command
    }

    /// What it said, after it ended with that status.
    fn ends_with(&self, status: i32, more: &[&str]) -> Output {
        let output = self.test(more).output().unwrap();
        assert_eq!(output.status.code(), Some(status), "{more:?}: {}", stderr(&output));
        output
    }

    /// The objects of `--json -`.
    fn objects(&self, status: i32, more: &[&str]) -> Vec<Json> {
        objects(&self.ends_with(status, &[&["--json", "-"], more].concat()).stdout)
    }

    /// The processes of all guests that there were.
    pub(crate) fn guests(&self) -> Vec<Pid> {
        let pids = fs::read_to_string(self.path("pids")).unwrap_or_default();
        pids.lines().map(|pid| pid_of(pid.parse().unwrap())).collect()
    }

    /// Nothing runs any more, and no sockets are left.
    pub(crate) fn is_left_clean(&self) {
        assert!(!self.guests().is_empty(), "there was no guest");
        for guest in self.guests() {
            until("the guest has gone", || test_kill_process(guest).is_err());
        }
        assert_eq!(self.remains(), Vec::<String>::new());
    }
}

fn objects(text: &[u8]) -> Vec<Json> {
    std::str::from_utf8(text).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn lines(output: &Output) -> Vec<String> {
    String::from_utf8(output.stdout.clone()).unwrap().lines().map(str::to_owned).collect()
}

fn list(more: &[&str]) -> Vec<String> {
    let scenarios = project().join("tests/scenarios").display().to_string();
    let output = run(&[&["test", &scenarios, "--list"], more].concat());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    lines(&output)
}

#[test]
fn list_shows_each_board_protocol_and_transport_and_filters_choose() {
    let open = "chips = [{ lines = [\"led0\"] }]\nsteps = [{ wait-serial = \"ready\" }]\n";
    let fixed = format!("boards = [\"qemu-virt-riscv64\"]\ntransports = [\"legacy\"]\n{READY}");
    let stage = Stage::new("exit 9").with("open.toml", open).with("fixed.toml", &fixed);
    let all = lines(&stage.ends_with(0, &["--list"]));
    let mut expected = vec!["fixed/qemu-virt-riscv64/fixed/legacy".to_owned()];
    for board in ["qemu-virt-aarch64", "qemu-virt-riscv64"] {
        for protocol in ["ratified", "draft"] {
            expected.extend(["modern", "legacy"].map(|transport| format!("open/{board}/{protocol}/{transport}")));
        }
    }
    assert_eq!(all, expected);
    let some = lines(&stage.ends_with(0, &["--list", "--filter", "draft", "--filter", "aarch64/"]));
    assert_eq!(some, ["modern", "legacy"].map(|transport| format!("open/qemu-virt-aarch64/draft/{transport}")));
    for command in [&["--list"][..], &[]] {
        let output = stage.ends_with(2, &[command, &["--filter", "nosuch"]].concat());
        assert!(stderr(&output).contains("No case matches"), "{}", stderr(&output));
    }
}

#[test]
fn shards_are_all_cases_and_none_twice() {
    let all = list(&[]);
    assert!(all.len() > 100, "the project's scenarios");
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len(), "a case is there twice");
    for of in [1, 2, 3, 7] {
        let parts: Vec<_> = (1..=of).map(|part| list(&["--shard", &format!("{part}/{of}")])).collect();
        let mut together = parts.concat();
        assert_eq!(together.len(), all.len(), "of {of}");
        together.sort_unstable();
        let mut sorted = all.clone();
        sorted.sort_unstable();
        assert_eq!(together, sorted, "of {of}");
        assert!(parts.iter().all(|part| part.len().abs_diff(all.len() / of) <= 1), "parts of {of} are not alike");
    }
    let filtered = list(&["--filter", "blink-"]).len() + list(&["--filter", "riscv64/draft", "--shard", "1/2"]).len();
    assert_eq!(filtered, list(&["--filter", "blink-"]).len() + list(&["--filter", "riscv64/draft"]).len().div_ceil(2));
}

#[test]
fn seeds_count_up_from_what_is_given() {
    let stage = Stage::new(GUEST).with("a.toml", &format!("seed = 40\n{READY}"));
    let seeds = |more: &[&str]| -> Vec<u64> {
        let more = [&["--filter", "aarch64/fixed/modern", "--jobs", "1"], more].concat();
        stage.objects(0, &more).iter().filter_map(|object| object["seed"].as_u64()).collect()
    };
    assert_eq!(seeds(&[]), [40]);
    assert_eq!(seeds(&["--repeat", "3"]), [40, 41, 42]);
    assert_eq!(seeds(&["--repeat", "2", "--seed", "7"]), [7, 8]);
}

#[test]
fn so_many_jobs_run_at_once() {
    // Each waits for three others. Fewer at once would wait for ever.
    let meeting =
        "echo >\"$TMPDIR/here.$$\"; until [ $(ls \"$TMPDIR\" | grep -c here) -ge 4 ]; do sleep 0.01; done; echo ready";
    Stage::new(meeting).with("a.toml", READY).ends_with(0, &["--jobs", "4"]);
    // None may meet another.
    let alone = "mkdir \"$TMPDIR/lock\" || exit 1; echo ready; sleep 0.05; rmdir \"$TMPDIR/lock\"";
    Stage::new(alone).with("a.toml", &format!("exit = 0\n{READY}")).ends_with(0, &["--jobs", "1"]);
}

/// Of four cases three pass; the guest of one fails. Its console has all that XML does not like.
fn mixed() -> Stage {
    let guest = "echo ready; printf 'bad \\033[31m \\001 ]]> <&>\" \\377\\n'; case \"$*\" in *force-legacy*) exit 0;; esac; exit 1";
    let text = format!("exit = 0\nboards = [\"qemu-virt-aarch64\", \"qemu-virt-riscv64\"]\n{READY}");
    Stage::new(guest)
        .with("a.toml", &text)
        .with("b.toml", "transports = [\"modern\"]\nsteps = [{ wait-serial = \"bad\" }]\n")
}

#[test]
fn status_is_that_of_the_worst_case() {
    let stage = mixed();
    stage.ends_with(0, &["--filter", "modern"]);
    let output = stage.ends_with(1, &[]);
    let text = stderr(&output);
    assert!(
        output.stdout.is_empty() && !text.contains('\u{1b}'),
        "colours in a pipe, or people told where programs read"
    );
    assert_eq!(text.lines().filter(|line| line.starts_with("PASS ")).count(), 4, "{text}");
    assert_eq!(text.lines().filter(|line| line.starts_with("FAIL a/")).count(), 2, "{text}");
    assert!(text.trim_end().lines().last().unwrap().starts_with("vgpio: 4 passed, 2 failed ("), "{text}");
    // What cannot be kept is a case that could not be run, and a failure weighs more.
    let keep = ["--keep", "/dev/null/folder"];
    let output = stage.ends_with(2, &[&keep[..], &["--filter", "modern"]].concat());
    assert!(stderr(&output).contains("Cannot keep anything in /dev/null/folder"), "{}", stderr(&output));
}

#[test]
fn json_has_an_object_for_each_case_and_one_for_all() {
    let stage = mixed();
    let all = stage.objects(1, &["--jobs", "1"]);
    assert!(all.iter().all(|object| object["schema"] == "vgpio.test/1"));
    let (summary, cases) = all.split_last().unwrap();
    assert_eq!(summary["event"], "summary");
    for (key, count) in [("passed", 4), ("failed", 2), ("broken", 0), ("interrupted", 0)] {
        assert_eq!(summary[key], count, "{key}");
    }
    let names: Vec<_> = cases.iter().map(|case| case["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(names, lines(&stage.ends_with(0, &["--list"])));
    let failed = cases.iter().find(|case| case["verdict"] == "failed").unwrap();
    assert_eq!(failed["name"], "a/qemu-virt-aarch64/fixed/legacy");
    let failure = &failed["failure"];
    assert_eq!(failure["what"], "exit");
    assert!(failure["place"].as_str().unwrap().ends_with("a.toml:1:8"), "{failure}");
    assert!(failure["seen"].as_str().unwrap().contains("exit status: 1"), "{failure}");
    assert_eq!(failure["console"][0], "ready");
    assert!(failed["qemu"].as_str().unwrap().starts_with(&stage.qemu.display().to_string()), "{failed}");

    // The command that runs it again does that.
    let again = failed["again"].as_str().unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_vgpio")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let output = Command::new("sh").args(["-c", again]).env("PATH", path).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{again}: {}", stderr(&output));
    assert!(stderr(&output).contains("FAIL a/qemu-virt-aarch64/fixed/legacy"), "{}", stderr(&output));
    assert!(stderr(&output).contains("0 passed, 1 failed"), "{}", stderr(&output));

    let output = stage.ends_with(2, &["--json", "/dev/full", "--filter", "modern"]);
    assert!(stderr(&output).contains("Cannot write JSON"), "{}", stderr(&output));
}

/// The attribute of an element, which must be there.
fn attribute<'a>(node: Node<'a, '_>, name: &str) -> &'a str {
    node.attribute(name).unwrap_or_else(|| panic!("<{}> has no {name}", node.tag_name().name()))
}

fn children<'a>(node: Node<'a, 'a>, name: &'static str) -> Vec<Node<'a, 'a>> {
    node.children().filter(|child| child.has_tag_name(name)).collect()
}

/// In the form that Jenkins, GitLab and the like take: `testsuites`, `testsuite`, `testcase`, with numbers that are right.
#[test]
fn junit_is_as_others_read_it() {
    let stage = mixed();
    let report = stage.path("report.xml");
    stage.ends_with(1, &["--junit", &report]);
    let text = fs::read_to_string(&report).unwrap();
    let document = Document::parse(&text).unwrap();
    let root = document.root_element();
    assert!(root.has_tag_name("testsuites"));
    let suites = children(root, "testsuite");
    assert_eq!(
        suites.iter().map(|suite| attribute(*suite, "name")).collect::<BTreeSet<_>>(),
        BTreeSet::from(["a", "b"])
    );
    for node in suites.iter().copied().chain([root]) {
        let of = |element: &'static str| node.descendants().filter(|inner| inner.has_tag_name(element)).count();
        for (name, element) in [("tests", "testcase"), ("failures", "failure"), ("errors", "error")] {
            assert_eq!(attribute(node, name), of(element).to_string(), "{name} of {}", attribute(node, "name"));
        }
    }
    assert_eq!(attribute(root, "tests"), "6");
    assert_eq!(attribute(root, "failures"), "2");
    let mut names = BTreeSet::new();
    for case in suites.iter().flat_map(|suite| children(*suite, "testcase")) {
        assert!(attribute(case, "time").parse::<f64>().unwrap() >= 0.0);
        let name = attribute(case, "name");
        assert!(name.starts_with(&format!("{}/", attribute(case, "classname"))), "{name}");
        assert!(names.insert(name.to_owned()), "{name} twice");
        let console = children(case, "system-out")[0].text().unwrap();
        assert!(console.contains("ready") && console.contains("]]> <&>\""), "{console}");
        let failures = children(case, "failure");
        assert_eq!(failures.len(), usize::from(name.contains("/legacy")), "{name}");
        for failure in failures {
            assert!(attribute(failure, "message").contains("expected the guest to end with the exit status 0"));
            assert_eq!(attribute(failure, "type"), "failed");
            assert!(failure.text().unwrap().contains("again:"), "{failure:?}");
        }
    }
    assert_eq!(names.len(), 6);
    let output = stage.ends_with(2, &["--junit", "/nosuch/report.xml", "--filter", "modern"]);
    assert!(stderr(&output).contains("Cannot write /nosuch/report.xml"), "{}", stderr(&output));
}

/// What is skipped is not run, is told as that everywhere, and costs nothing of the verdict.
#[test]
fn scenarios_that_need_what_the_guest_lacks_are_skipped_by_name() {
    let shell = "needs = [\"shell\"]\nsteps = [{ wait-serial = \"no such line\" }]\n";
    let arguments = "append = \"blink=none\"\nsteps = [{ wait-serial = \"no such line\" }]\n";
    let stage = Stage::new(GUEST).with("a.toml", READY).with("b.toml", shell).with("c.toml", arguments);
    let report = stage.path("report.xml");
    let without = ["--without", "shell", "--without", "boot-arguments"];
    let more = ["--json", "-", "--junit", &report, "--filter", "aarch64/fixed/modern"];
    let output = stage.ends_with(0, &[&without[..], &more].concat());
    let text = stderr(&output);
    for line in [
        "SKIP b/qemu-virt-aarch64/fixed/modern: needs shell",
        "SKIP c/qemu-virt-aarch64/fixed/modern: needs boot-arguments",
    ] {
        assert!(text.lines().any(|told| told == line), "{line}: {text}");
    }
    assert!(text.contains("vgpio: 1 passed, 0 failed, 2 skipped ("), "{text}");
    let objects = objects(&output.stdout);
    let (summary, cases) = objects.split_last().unwrap();
    assert_eq!((&summary["passed"], &summary["skipped"]), (&1.into(), &2.into()));
    let skipped = cases.iter().find(|case| case["verdict"] == "skipped" && case["reason"] == "needs shell");
    assert!(skipped.is_some(), "{cases:?}");
    let text = fs::read_to_string(&report).unwrap();
    let document = Document::parse(&text).unwrap();
    let skipped = document.descendants().filter(|node| node.has_tag_name("skipped"));
    let reasons: BTreeSet<_> = skipped.map(|node| attribute(node, "message")).collect();
    assert_eq!(reasons, BTreeSet::from(["needs boot-arguments", "needs shell"]));
}

#[test]
fn what_a_case_leaves_behind_is_kept() {
    let stage = Stage::new(GUEST).with("a.toml", &format!("transports = [\"modern\"]\n{READY}"));
    let keep = stage.path("kept");
    stage.ends_with(0, &["--keep", &keep, "--repeat", "2"]);
    for board in ["qemu-virt-aarch64", "qemu-virt-riscv64"] {
        for seed in [1, 2] {
            let read = |file: &str| fs::read(format!("{keep}/a/{board}/fixed/modern/{seed}/{file}")).unwrap();
            assert_eq!(read("console.log"), b"ready\n");
            assert!(Wave::read(read("wave.vcd").as_slice()).is_ok());
            let command = String::from_utf8(read("qemu.txt")).unwrap();
            let printed = lines(&stage.ends_with(0, &["--print-command", "--filter", board]));
            assert_eq!(printed, [format!("# a/{board}/fixed/modern"), command.trim_end().to_owned()]);
        }
    }
    assert_eq!(stage.remains(), Vec::<String>::new());
}

/// Also a guest that does not end when it is asked to.
#[test]
fn ctrl_c_stops_all_and_writes_the_reports() {
    for (kind, status) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let stage = Stage::new(STUBBORN).with("a.toml", "steps = [{ wait-serial = \"no such line\" }]\n");
        let junit = stage.path("report.xml");
        let test = stage.test(&["--jobs", "2", "--json", "-", "--junit", &junit]).spawn().unwrap();
        until("two guests run", || stage.guests().len() == 2);
        signal(&test, kind);
        let output = test.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(status), "{}", stderr(&output));
        stage.is_left_clean();
        assert_eq!(stage.guests().len(), 2, "another one began");
        let all = objects(&output.stdout);
        let verdicts: Vec<_> = all.iter().filter_map(|object| object["verdict"].as_str()).collect();
        assert_eq!(verdicts, ["interrupted"; 2]);
        assert_eq!(all.last().unwrap()["interrupted"], 4, "all that did not end by themselves");
        let report = fs::read_to_string(&junit).unwrap();
        assert_eq!(attribute(Document::parse(&report).unwrap().root_element(), "errors"), "2");
        assert!(stderr(&output).contains("4 stopped or never begun"), "{}", stderr(&output));
    }
}

#[test]
fn guests_do_not_outlive_a_test_that_is_killed() {
    let stage = Stage::new(STUBBORN).with("a.toml", "steps = [{ wait-serial = \"no such line\" }]\n");
    let mut test = stage.test(&["--jobs", "2"]).spawn().unwrap();
    until("two guests run", || stage.guests().len() == 2);
    test.kill().unwrap();
    test.wait().unwrap();
    for guest in stage.guests() {
        until("the guest has gone", || test_kill_process(guest).is_err());
    }
}

#[test]
fn what_cannot_be_run_is_said_before_anything_runs() {
    let stage = Stage::new("echo >\"$TMPDIR/pids\"").with("a.toml", READY);
    let bad = Stage::new("").with("good.toml", READY).with("bad.toml", "steps = [\n  { wait-seral = \"ready\" },\n]\n");
    let twice = Stage::new("").with("a.toml", READY).with("b.toml", &format!("name = \"a\"\n{READY}"));
    let nothing = Stage::new("");
    let of_file = ["test", "/nosuch/scenario.toml"];
    for (output, named) in [
        (stage.test(&["--shard", "0/4"]).output().unwrap(), "the parts are counted from 1 to 4"),
        (stage.test(&["--shard", "5/4"]).output().unwrap(), "the parts are counted from 1 to 4"),
        (stage.test(&["--shard", "half"]).output().unwrap(), "1/4"),
        (stage.test(&["--repeat", "0"]).output().unwrap(), "--repeat"),
        (stage.test(&["--jobs", "0"]).output().unwrap(), "--jobs"),
        (stage.test(&["--seed", "some"]).output().unwrap(), "--seed"),
        (stage.test(&["--filtre", "a"]).output().unwrap(), "--filter"),
        (stage.test(&["--json", "/nosuch/report.json"]).output().unwrap(), "Cannot write /nosuch/report.json"),
        (vgpio(&["test", &stage.path("a.toml"), "--qemu", "/nosuch"]).output().unwrap(), "scripts/setup"),
        (
            vgpio(&["test", &stage.path("a.toml"), "--qemu", &stage.qemu.display().to_string(), "--image", "/nosuch"])
                .output()
                .unwrap(),
            "There is no image /nosuch",
        ),
        (bad.test(&[]).output().unwrap(), "bad.toml:2:5"),
        (bad.test(&[]).output().unwrap(), "wait-serial"),
        (bad.test(&[]).output().unwrap(), "vgpio: 1 of 2 scenarios cannot be used"),
        (twice.test(&[]).output().unwrap(), "Two scenarios are called \"a\""),
        (nothing.test(&[]).output().unwrap(), "There are no scenarios (files named *.toml) in"),
        (run(&of_file), "There is no scenario /nosuch/scenario.toml"),
    ] {
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(named), "should name {named:?}:\n{text}");
        assert!(output.stdout.is_empty() && !text.contains("panicked"), "{text}");
    }
    assert!(stage.guests().is_empty());
}

/// A contact that bounces, with everything random from the scenario's seed.
const BOUNCE: Stimulus = Stimulus::Bounce { to: High, over: Duration::from_millis(40), changes: 9, seed: 0 };

/// When the edges of that are due.
fn plan(seed: u64) -> Vec<Duration> {
    let Stimulus::Bounce { to, over, changes, .. } = BOUNCE else { unreachable!() };
    let chip = Chip::ratified(vec!["button0".to_owned()], ratified::Options::default()).unwrap();
    let mut world = World::new(vec![chip]);
    let trace = Trace::default();
    world.watch(trace.clone());
    let seed = seed_of_step(seed, 0);
    let place = world.find("button0").unwrap();
    world.stimulate(Duration::ZERO, place, Stimulus::Bounce { to, over, changes, seed }).unwrap();
    world.run_until(over);
    let levels = trace.records().into_iter().filter(|record| matches!(record.activity, Activity::Changed(_)));
    levels.map(|record| record.at).collect()
}

/// What is planned is the same to the nanosecond. A busy machine comes later to it, but never earlier, in no other order,
/// and leaves nothing out.
#[test]
fn same_seed_gives_the_same_waveform_in_a_scenario() {
    let edges: Vec<_> = (0..9).map(|n| format!("\"button0 {}\"", ["rising", "falling"][n % 2])).collect();
    let text = format!(
        "boards = [\"qemu-virt-aarch64\"]\nprotocols = [\"ratified\"]\ntransports = [\"modern\"]\n\
         chips = [{{ lines = [\"button0\"] }}]\n\
         setup = [{{ bounce = {{ line = \"button0\", to = 1, over = \"40ms\", changes = 9 }} }}]\n\
         steps = [{{ expect-edges = [{}] }}]\n",
        edges.join(", ")
    );
    let stage = Stage::new(GUEST).with("a.toml", &text);
    let keep = stage.path("kept");
    stage.ends_with(0, &["--keep", &keep, "--seed", "5", "--repeat", "3"]);
    assert_eq!(plan(5), plan(5));
    for seed in [5, 6, 7] {
        let kept = format!("{keep}/a/qemu-virt-aarch64/ratified/modern/{seed}/wave.vcd");
        let wave = Wave::read(fs::read(kept).unwrap().as_slice()).unwrap();
        let level = &wave.lines[wave.find("button0").unwrap()].level;
        assert_eq!(level.at(Duration::ZERO), Value::High, "the first edge is the state at the beginning");
        let (seen, due) = (level.between(Duration::ZERO, wave.end), plan(seed));
        let seen: Vec<_> = seen.map(|change| change.at).collect();
        assert_eq!(seen.len(), 8, "seed {seed}: {seen:?}");
        assert_eq!(due.len(), 9);
        // The file has whole microseconds.
        let is_late = |(seen, due): (&Duration, &Duration)| seen.as_micros() >= due.as_micros();
        assert!(seen.iter().zip(&due[1..]).all(is_late), "seed {seed}: {seen:?}, planned for {due:?}");
        assert!(seed == 5 || due != plan(5), "seed {seed} is no other one");
    }
}

#[test]
fn progress_is_drawn_on_a_terminal() {
    let stage = Stage::new(GUEST).with("a.toml", READY);
    let (mut screen, name) = terminal();
    let mut test = stage.test(&[]);
    for variable in ["CI", "NO_COLOR"] {
        test.env_remove(variable);
    }
    test.env("TERM", "xterm").stderr(File::options().write(true).open(name).unwrap());
    let mut child = test.spawn().unwrap();
    // It holds the other end as well.
    drop(test);
    let mut shown = Vec::new();
    // Until nobody has the other end any more, which is an error here.
    let mut part = [0; 4096];
    while let Ok(length @ 1..) = screen.read(&mut part) {
        shown.extend_from_slice(&part[..length]);
    }
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let screen = String::from_utf8_lossy(&shown);
    assert!(
        screen.contains("/4 ") && screen.contains("\u{1b}[32mPASS a/") && screen.contains("4 passed"),
        "{screen:?}"
    );
}

/// Then it is not the guest that failed.
#[test]
fn qemu_that_does_not_start_is_not_a_failed_check() {
    let stage = Stage::new("echo 'qemu: no such device' >&2; exit 1").with("a.toml", READY);
    let output = stage.ends_with(2, &["--filter", "aarch64"]);
    let text = stderr(&output);
    assert!(text.contains("it could not be run: QEMU ended by itself: qemu: no such device"), "{text}");
    assert!(text.contains("0 passed, 0 failed, 2 could not be run"), "{text}");
}

/// A pipe that is read to its end, and standard input that nobody can answer from: as in CI.
#[test]
fn nothing_is_asked_and_nothing_is_drawn_in_ci() {
    let stage = Stage::new(GUEST).with("a.toml", READY);
    let output = stage.test(&[]).env("CI", "true").stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let text = stderr(&output);
    assert_eq!(text.lines().count(), 5, "a line for each case, and one for all:\n{text}");
    assert!(!text.contains(['\r', '\u{1b}']), "{text:?}");
}
