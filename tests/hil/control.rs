//! The control socket, with a guest: what a client hears, and what it can do to the guest.

use anyhow::{Context, ensure};
use gpio_model::observe::Activity;
use gpio_model::ratified::Options;
use hil::scene::{PATIENCE, Running, Scene, Setting};
use vgpio::chip::Chip;
use vgpio::control::client::Client;
use vgpio::control::message::{Bit, Edge, Happening, Request, Topic};
use vgpio::qemu::command::Presentation;
use virtio_gpio::{Level, LineId};

use crate::{Entry, Transports};

pub(crate) const CASES: &[Entry] = &[
    ("whoever_hears_a_line_has_heard_every_change_before_it", Transports::Both, ordered),
    ("a_client_presses_a_button_and_hears_what_the_guest_says", Transports::Modern, pressed),
];

fn controlled(setting: Setting, append: &str) -> anyhow::Result<(Running, Client)> {
    let names = ["led0", "button0"].map(str::to_owned).to_vec();
    let chip = Chip::ratified(names, Options::default())?;
    let scene = Scene::new(setting, vec![(chip, Presentation::Gpio)])?;
    let running = scene.append(append).controlled().start()?;
    let mut client = running.client()?;
    // From the first event on, also if some came before this.
    client.ask(Request::Subscribe { events: vec![Topic::Change, Topic::Console], lines: None, since: Some(0) })?;
    Ok((running, client))
}

/// The guest prints a line after each change that it made. A client must never hear the line before the change.
fn ordered(setting: Setting) -> anyhow::Result<()> {
    let (mut running, mut client) = controlled(setting, "watch=none count=200 period=1ms log=debug")?;
    let (mut changes, mut lines) = (0, 0);
    loop {
        let (_, happening) = client.event(Some(PATIENCE))?.context("Expected an event")?;
        match happening {
            Happening::Change { edge: Some(_), line } if line.name == "led0" => changes += 1,
            Happening::Console { text } if text.contains("blink gpio0:0 led0") => {
                lines += 1;
                ensure!(changes >= lines, "line {lines} of the guest came after {changes} changes: {text}");
            }
            Happening::Console { text } if text.contains("summary") => break,
            Happening::Lost { count } => anyhow::bail!("{count} events were lost"),
            Happening::End {} => break,
            _ => {}
        }
    }
    // The last lines may come when the devices are gone already.
    ensure!(lines > 300, "The console was not heard to its end: {lines} lines");
    running.expect_exit(0)
}

fn pressed(setting: Setting) -> anyhow::Result<()> {
    let (running, mut client) = controlled(setting, "blink=none watch=button0")?;
    running.expect("the line to be unmasked", |records| {
        records.iter().any(|record| record.activity == Activity::Unmasked(LineId(1))).then_some(())
    })?;
    for (level, edge, line) in [
        (Level::High, Edge::Rising, "edge gpio0:1 button0 rising level=1 count=1"),
        (Level::Low, Edge::Falling, "edge gpio0:1 button0 falling level=0 count=2"),
    ] {
        client.ask(Request::Set { line: "button0".to_owned(), level: Bit(level) })?;
        let mut pressed = false;
        loop {
            match client.event(Some(PATIENCE))?.with_context(|| format!("Expected {line:?}"))?.1 {
                Happening::Change { edge: Some(seen), line } if line.name == "button0" => pressed = seen == edge,
                Happening::Console { text } if text.contains(line) => break,
                _ => {}
            }
        }
        ensure!(pressed, "the guest told of an edge that the client had not heard of");
    }
    Ok(())
}
