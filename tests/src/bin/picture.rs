//! Makes a picture of a page: `cargo run -p hil --bin picture -- URL FILE [WIDTH HEIGHT] [dark]`. It waits until the page's
//! waveforms are full and an LED is lit.

use std::env;
use std::fs;

use anyhow::Context;
use hil::browser::Browser;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let words: Vec<_> = arguments.iter().map(String::as_str).filter(|word| *word != "dark").collect();
    let dark = words.len() < arguments.len();
    let (url, file, size) = match words.as_slice() {
        [url, file] => (*url, *file, (1280, 760)),
        [url, file, width, height] => (*url, *file, (width.parse()?, height.parse()?)),
        _ => anyhow::bail!("usage: picture URL FILE [WIDTH HEIGHT] [dark]"),
    };
    let mut browser = Browser::open(url, size, dark)?;
    browser.expect("live && present() > Number(document.getElementById('window').value)")?;
    browser.expect("document.querySelector('.led:not([hidden])[data-level=\"1\"]') !== null")?;
    let picture = data_encoding::BASE64.decode(browser.picture()?.as_bytes()).context("No picture")?;
    fs::write(file, picture).with_context(|| format!("Cannot write {file}"))
}
