//! The porting guide's code is the port that boots: all of it, in order, to the letter.

use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    let path = vgpio::qemu::board::project().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The code blocks of one language.
fn blocks(guide: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    guide.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn the_guides_code_is_the_ports() {
    let guide = read("docs/porting.md");
    let port = read("ports/tiny/src/main.rs");
    assert_eq!(blocks(&guide, "rust").join("\n"), port);
    let code = port.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//")).count();
    assert!(guide.contains(&format!("{code} lines without comments")), "the port has {code} lines");
}

/// The part about the self-test has its code from a test, too.
#[test]
fn the_guides_self_test_is_tested() {
    let [code] = &blocks(&read("docs/porting.md"), "rs")[..] else { panic!("there is one such block") };
    assert!(read("crates/gpio-selftest/tests/kernel.rs").contains(code.as_str()));
}

#[test]
fn what_is_beside_the_code_is_the_ports_as_well() {
    let guide = read("docs/porting.md");
    let [manifest] = &blocks(&guide, "toml")[..] else { panic!("there is one manifest") };
    assert!(read("ports/tiny/Cargo.toml").ends_with(manifest));
    assert_eq!(blocks(&guide, "text"), [read("ports/tiny/link.ld"), read("ports/tiny/build.rs")]);
}

/// Every file that the guide names is there: below the driver's sources, in its package, or in the repository.
#[test]
fn the_files_that_the_guide_names_are_there() {
    let guide = read("docs/porting.md");
    let words = guide.split('`').filter(|word| word.contains('/') && !word.contains([' ', '*', '\n']));
    let root = vgpio::qemu::board::project();
    let places = ["crates/virtio-gpio/src", "crates/virtio-gpio", ""];
    let named: Vec<&str> = words.filter(|word| Path::new(word).extension().is_some_and(|kind| kind == "rs")).collect();
    assert!(named.len() > 10, "{named:?}");
    for name in named {
        assert!(places.iter().any(|place| root.join(place).join(name).is_file()), "there is no {name}");
    }
}
