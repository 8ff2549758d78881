//! The page of `vgpio run --web`, in a browser, with a guest behind it.

use anyhow::{Context, ensure};
use gpio_model::ratified::Options;
use hil::browser::{Browser, program};
use hil::scene::{Running, Scene, Setting};
use vgpio::chip::Chip;
use vgpio::qemu::command::Presentation;

use crate::{Entry, Transports};

pub(crate) const CASES: &[Entry] = &[
    ("leds_blink_and_a_click_is_an_edge_in_the_guest", Transports::Modern, click),
    ("it_can_be_used_without_a_mouse", Transports::Modern, keys),
    ("loss_and_return_of_the_connection_are_shown", Transports::Modern, loss),
    ("several_chips_with_many_lines_fit", Transports::Modern, many),
];

/// Whether there is a browser. The tests count as ignored otherwise.
pub(crate) fn is_there() -> bool {
    program().is_some()
}

/// Devices with these lines, and a guest that is told these words, on a page.
fn open(setting: Setting, chips: &[&[&str]], append: &str) -> anyhow::Result<(Running, Browser)> {
    let mut devices = Vec::new();
    for names in chips {
        let names = names.iter().map(ToString::to_string).collect();
        devices.push((Chip::ratified(names, Options::default())?, Presentation::Gpio));
    }
    let running = Scene::new(setting, devices)?.append(append).controlled().start()?;
    let page = running.page.as_ref().context("There is no page")?;
    let mut browser = Browser::open(&page.url(), (1280, 760), false)?;
    browser.expect("live")?;
    Ok((running, browser))
}

/// The row of a line.
fn row(line: &str) -> String {
    format!("document.querySelector('.line[data-line=\"{line}\"]')")
}

/// Whether the console on the page has that text.
fn printed(text: &str) -> String {
    format!("document.getElementById('console').innerText.includes({text:?})")
}

fn click(setting: Setting) -> anyhow::Result<()> {
    let (running, mut browser) = open(setting, &[&["led0", "button0"]], "period=400ms watch=button0")?;
    for level in [1, 0, 1] {
        browser.expect(&format!("{}.dataset.level == {level}", row("led0")))?;
    }
    browser.expect(&format!("!{}.querySelector('.led').hidden", row("led0")))?;
    browser.expect(&format!("{}.querySelector('.switch').hidden", row("led0")))?;
    browser.expect(&format!("Number({}.querySelector('.edges').innerText) > 2", row("led0")))?;
    browser.expect("lines.get('0:0').steps.length > 3")?;

    browser.expect(&format!("{}.dataset.direction == 'input'", row("button0")))?;
    // From here on the guest listens to the button.
    running.expect("the line to be unmasked", unmasked(1))?;
    browser.click(".line[data-line=button0] .switch")?;
    browser.expect(&printed("edge gpio0:1 button0 rising level=1 count=1"))?;
    browser.expect(&format!("{}.querySelector('.switch').getAttribute('aria-checked') == 'true'", row("button0")))?;
    browser.click(".line[data-line=button0] .switch")?;
    browser.expect(&printed("edge gpio0:1 button0 falling level=0 count=2"))?;
    let errors = browser.evaluate("document.getElementById('notice').hidden")?;
    ensure!(errors == true, "the page complains");
    Ok(())
}

fn keys(setting: Setting) -> anyhow::Result<()> {
    let (running, mut browser) = open(setting, &[&["button0"]], "blink=none watch=button0 shell=on")?;
    running.expect("the line to be unmasked", unmasked(0))?;
    let focused = "document.activeElement.getAttribute('role') == 'switch'";
    let mut steps = 0;
    while browser.evaluate(focused)? != true {
        ensure!(steps < 20, "Tab does not lead to the switch");
        browser.press("Tab")?;
        steps += 1;
    }
    browser.press(" ")?;
    browser.expect(&printed("edge gpio0:0 button0 rising level=1 count=1"))?;
    browser.evaluate("document.getElementById('text').focus()")?;
    browser.type_in("help")?;
    browser.press("Enter")?;
    running.expect_line("help")?;
    browser.expect(&printed("help"))?;
    browser.expect("document.getElementById('text').value == ''")
}

fn loss(setting: Setting) -> anyhow::Result<()> {
    let (mut running, mut browser) = open(setting, &[&["led0"]], "period=100ms")?;
    browser.expect("lastSeq > 20")?;
    // It comes back when it is told to, so that there is time to see that it had gone.
    browser.evaluate("retry = 600000; socket.close()")?;
    browser.expect("document.getElementById('link').dataset.state == 'lost'")?;
    browser.evaluate("connect()")?;
    browser.expect("live && document.getElementById('notice').hidden")?;
    browser.expect("lines.get('0:0').steps.every((step, index, all) => !index || all[index - 1].at <= step.at)")?;
    running.page = None;
    browser.expect("document.getElementById('link').dataset.state == 'lost'")?;
    browser.expect("!document.getElementById('notice').hidden")?;
    Ok(())
}

fn many(setting: Setting) -> anyhow::Result<()> {
    let names: Vec<_> =
        (0..32).map(|line| if line % 2 == 0 { format!("led{line}") } else { format!("key{line}") }).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let (_running, mut browser) = open(setting, &[&names, &["lamp", ""]], "period=200ms")?;
    browser.expect("document.querySelectorAll('section.chip').length == 2")?;
    browser.expect("document.querySelectorAll('.line').length == 34")?;
    browser.expect("lines.get('0:30').count > 2")?;
    browser.expect("document.documentElement.scrollWidth <= innerWidth")
}

/// Whether a line was unmasked.
fn unmasked(line: u16) -> impl FnMut(&[vgpio::record::Record]) -> Option<()> {
    move |records| {
        let wanted = gpio_model::observe::Activity::Unmasked(virtio_gpio::LineId(line));
        records.iter().any(|record| record.activity == wanted).then_some(())
    }
}
