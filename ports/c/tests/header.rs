//! The header in the repository is the one that the sources make.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is how a test fails")]

use std::fs;
use std::path::Path;

/// Set: writes the header instead of comparing it.
const WRITE: &str = "WRITE_HEADER";

#[test]
fn header_is_current() {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(crate_folder.join("cbindgen.toml")).expect("the configuration is valid");
    let modules = ["runtime", "status", "seams", "storage", "device", "chip", "pins", "lines", "selftest"];
    let builder = cbindgen::Builder::new().with_config(config);
    let sources = modules.iter().map(|module| crate_folder.join("src").join(module).with_extension("rs"));
    let mut made = Vec::new();
    sources.fold(builder, cbindgen::Builder::with_src).generate().expect("the sources are valid").write(&mut made);
    let made = String::from_utf8(made).unwrap();
    let path = crate_folder.join("include/virtio_gpio.h");
    if std::env::var_os(WRITE).is_some() {
        fs::write(&path, &made).unwrap();
    }
    let there = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(there, made, "{} is not current: run this test with {WRITE}=yes", path.display());
}
