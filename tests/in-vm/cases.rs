//! What is done to real lines, with the kernel's chips behind them.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use rustix::process::Signal;
use vgpio::bridge::host::Mode;
use vgpio::control::client::Refused;
use vgpio::control::message::{Answer, Bit, ErrorKind, Happening, Request, Topic};
use virtio_gpio::Level;

use crate::device::Device;
use crate::driver::{
    BOTH, CLAIM, FALLING, GET, HIGH_LEVEL, INPUT, INTERRUPTS, NONE, OK, OUTPUT, REFUSED, TO_INPUT, TO_OUTPUT,
    direction, get, get_direction, interrupt, interrupt_type, listen, message, output, set, told, unmask,
};
use crate::front_end::Buffer;
use crate::linux::wait_until;
use crate::measure::edges;
use crate::sim::Sim;

const NAMES: &[&str] = &["LED", "BUTTON", "", "RELAY"];

/// Every operation of the ratified protocol.
pub(crate) fn ratified() {
    let sim = Sim::new("a", 8, NAMES);
    let device = Device::start(&["--line", "sim", "--chip", "a:0-3"]);
    let mut front_end = device.connect(INTERRUPTS);
    let [requests, events] = &mut front_end.queues;

    let names = b"\0sim\0LED\0BUTTON\0\0RELAY\0";
    requests.send(0, &[Buffer::Readable(&[1, 0, 0, 0, 0, 0, 0, 0]), Buffer::Writable(names.len().try_into().unwrap())]);
    assert_eq!(requests.used().1 as usize, names.len());
    assert_eq!(&requests.read::<23>(1), names);

    for line in [1, 2, 3, 4] {
        assert_eq!(get_direction(requests, line), [0, NONE]);
        assert!(!sim.is_taken(u32::from(line) - 1));
    }
    output(requests, 1, 1);
    assert_eq!((sim.value(0), sim.is_taken(0)), (1, true));
    for level in [0, 1, 0] {
        assert_eq!(set(requests, 1, level), OK);
        assert_eq!(sim.value(0), level);
        assert_eq!(get(requests, 1), [0, level]);
    }
    assert_eq!(direction(requests, 1, NONE), OK);
    assert!(!sim.is_taken(0));
    assert_eq!(direction(requests, 5, OUTPUT), REFUSED, "it was not named");

    assert_eq!(direction(requests, 2, INPUT), OK);
    for high in [true, false] {
        sim.pull(1, high);
        assert_eq!(get(requests, 2), [0, u8::from(high)]);
    }

    assert_eq!(interrupt_type(requests, 2, BOTH), OK);
    for high in [true, false, true, false] {
        unmask(events, 2);
        sim.pull(1, high);
        assert!(interrupt(events));
        assert_eq!(get(requests, 2), [0, u8::from(high)]);
    }
    assert_eq!(interrupt_type(requests, 2, NONE), OK);

    assert_eq!(interrupt_type(requests, 2, FALLING), OK);
    unmask(events, 2);
    sim.pull(1, true);
    assert_eq!(get(requests, 2), [0, 1]);
    assert_eq!(events.try_used(), None, "that was the other edge");
    sim.pull(1, false);
    assert!(interrupt(events));
    unmask(events, 2);
    assert_eq!(interrupt_type(requests, 2, NONE), OK);
    assert!(!interrupt(events));

    assert_eq!(interrupt_type(requests, 2, HIGH_LEVEL), OK);
    unmask(events, 2);
    sim.pull(1, true);
    for _ in 0..5 {
        assert!(interrupt(events), "it holds");
        unmask(events, 2);
    }
    assert!(interrupt(events));
    sim.pull(1, false);
    unmask(events, 2);
    assert_eq!(get(requests, 2), [0, 0]);
    assert_eq!(interrupt_type(requests, 2, NONE), OK);
    assert!(!interrupt(events), "it does not hold any more");

    timestamps(&sim, &device);
    assert_eq!(device.terminate().code(), Some(0));
}

/// While the process stands still the kernel goes on: the times of the edges are those of the kernel.
fn timestamps(sim: &Sim, device: &Device) {
    const APART: Duration = Duration::from_millis(300);
    let mut client = device.control();
    let lines = Some(vec!["BUTTON".to_owned()]);
    client.ask(Request::Subscribe { events: vec![Topic::Change], lines, since: None }).unwrap();
    device.signal(Signal::STOP);
    sim.pull(1, true);
    std::thread::sleep(APART);
    sim.pull(1, false);
    device.signal(Signal::CONT);
    let mut times = Vec::new();
    while times.len() < 2 {
        let (stamp, Happening::Change { line, .. }) = client.event(None).unwrap().unwrap() else { continue };
        times.push((stamp.at_ns, u8::from(line.level.0 == Level::High)));
    }
    assert_eq!([times[0].1, times[1].1], [1, 0]);
    let apart = Duration::from_nanos(times[1].0 - times[0].0);
    assert!(apart >= APART, "{apart:?}");
}

/// What is configured about a line.
pub(crate) fn pads() {
    let sim = Sim::new("a", 8, NAMES);
    let device = Device::start(&[
        "--chip",
        "a:0=up/pull-up",
        "--chip",
        "a:1=down/pull-down",
        "--chip",
        "a:2=low/active-low",
        "--chip",
        "a:3=open/open-drain",
        "--chip",
        "a:4=quiet/debounce=50ms",
        "--chip",
        "a:5=ear/input-only",
    ]);
    let mut front_end = device.connect(INTERRUPTS);
    let [requests, events] = &mut front_end.queues;
    for (line, level) in [(0, 1), (1, 0)] {
        sim.pull(line.into(), level == 0);
        assert_eq!(direction(requests, line, INPUT), OK);
        assert_eq!(get(requests, line), [0, level], "the bias");
    }
    output(requests, 2, 1);
    assert_eq!((sim.value(2), get(requests, 2)), (0, [0, 1]), "the opposite");
    assert_eq!(direction(requests, 2, INPUT), OK);
    sim.pull(2, true);
    assert_eq!(get(requests, 2), [0, 0]);

    output(requests, 3, 1);
    for high in [true, false] {
        sim.pull(3, high);
        assert_eq!((sim.value(3), get(requests, 3)), (u8::from(high), [0, u8::from(high)]), "nobody drives it");
    }
    sim.pull(3, true);
    assert_eq!(set(requests, 3, 0), OK);
    assert_eq!((sim.value(3), get(requests, 3)), (0, [0, 0]));

    listen(requests, 4, BOTH);
    unmask(events, 4);
    sim.pull(4, true);
    sim.pull(4, false);
    sim.pull(4, true);
    assert!(interrupt(events));
    assert_eq!(get(requests, 4), [0, 1]);
    unmask(events, 4);
    assert_eq!(interrupt_type(requests, 4, NONE), OK);
    assert!(!interrupt(events), "the others were too short");

    assert_eq!(direction(requests, 5, OUTPUT), REFUSED);
    device.expect_log("ear (a:5): the guest may only listen to it");
    assert!(!sim.is_taken(5));
    assert_eq!(direction(requests, 5, INPUT), OK);
}

/// Every operation of the draft.
pub(crate) fn draft() {
    let sim = Sim::with_hog("a", 8, NAMES, Some((3, "heating")));
    let device = Device::start(&["--protocol", "draft", "--chip", "a:0-3"]);
    let mut front_end = device.connect(0);
    let front_end = &mut front_end;
    assert_eq!(message(front_end, CLAIM, 3, 0), -16, "EBUSY");
    device.expect_log("RELAY (a:3): it is in use by \"heating\"");
    assert_eq!(message(front_end, CLAIM, 0, 0), 0);
    assert!(sim.is_taken(0));
    assert_eq!(message(front_end, TO_OUTPUT, 0, 1), 0);
    assert_eq!((sim.value(0), message(front_end, GET, 0, 0)), (1, 1));
    assert_eq!(message(front_end, 6, 0, 0), 0);
    assert_eq!((sim.value(0), message(front_end, GET, 0, 0)), (0, 0));
    assert_eq!(message(front_end, TO_INPUT, 1, 0), 0);
    for high in [true, false, true] {
        sim.pull(1, high);
        assert_eq!(told(front_end), (1, u8::from(high)));
    }
    assert_eq!(message(front_end, GET, 1, 0), 1);
    front_end.stop();
    wait_until("the lines are given back", || !sim.is_taken(0) && !sim.is_taken(1));
}

/// Lines that are busy or forbidden are an error for the guest, and a sentence in the log.
pub(crate) fn refused() {
    let sim = Sim::with_hog("a", 8, NAMES, Some((3, "heating")));
    let device = Device::start(&["--chip", "a:0-3"]);
    let mut front_end = device.connect(INTERRUPTS);
    let requests = &mut front_end.queues[0];
    assert_eq!(direction(requests, 3, OUTPUT), REFUSED);
    device.expect_log("RELAY (a:3): it is in use by \"heating\": end that, and let the guest try again");
    let other = sim.take(1, Mode::Input { edges: false });
    assert_eq!(direction(requests, 1, INPUT), REFUSED);
    assert_eq!(direction(requests, 0, OUTPUT), OK, "the others work");
    drop(other);
    assert_eq!(direction(requests, 1, INPUT), OK, "it is free");
    device.expect_log("BUTTON (a:1): it works again");
    drop(device);

    let (status, message) = Device::fail(&["--chip", "b:0"]);
    assert_eq!(status, Some(2));
    assert!(message.contains("There is no GPIO chip \"b\" on this host; there are: gpiochip"), "{message}");
    let (status, message) = Device::fail(&["--chip", "a:8"]);
    assert_eq!(status, Some(2));
    assert!(message.contains("a has 8 lines, counted from 0: there is no line 8"), "{message}");
    let (status, message) = Device::fail(&["--chip", "a:3/hold"]);
    assert_eq!(status, Some(2));
    assert!(message.contains("RELAY (a:3): it is in use by \"heating\""), "{message}");

    let permit = |mode| std::fs::set_permissions(sim.file(), std::fs::Permissions::from_mode(mode)).unwrap();
    permit(0o666);
    let device = Device::start_as_nobody(&["--line", "sim", "--chip", "a:0"]);
    let mut front_end = device.connect(INTERRUPTS);
    let requests = &mut front_end.queues[0];
    permit(0o600);
    assert_eq!(direction(requests, 1, OUTPUT), REFUSED);
    device.expect_log("LED (a:0): this process may not use the chip: give its user access");
    assert_eq!(direction(requests, 0, OUTPUT), OK, "the others work");
    permit(0o666);
    assert_eq!(direction(requests, 1, OUTPUT), OK);
}

/// A chip that is pulled out while its lines are in use, and comes back.
pub(crate) fn removed() {
    let first = Sim::new("a", 8, NAMES);
    let other = Sim::new("b", 8, &[]);
    let device = Device::start(&["--chip", "a:0-1", "--chip", "b:0=out,1=in"]);
    let mut front_end = device.connect(INTERRUPTS);
    let [requests, events] = &mut front_end.queues;
    output(requests, 0, 1);
    listen(requests, 1, BOTH);
    output(requests, 2, 0);
    listen(requests, 3, BOTH);
    first.remove();
    device.expect_log("BUTTON (a:1): its chip is not there");
    assert_eq!(set(requests, 0, 0), REFUSED);
    assert_eq!(get(requests, 0), REFUSED);
    assert_eq!(get(requests, 1), REFUSED);

    assert_eq!(set(requests, 2, 1), OK);
    assert_eq!(other.value(0), 1);
    unmask(events, 3);
    other.pull(1, true);
    assert!(interrupt(events), "the other chip works");

    let again = Sim::new("a", 8, NAMES);
    // Without the guest's doing, because one that waits for an interrupt does nothing.
    wait_until("the lines are taken again", || again.is_taken(0) && again.is_taken(1));
    wait_until("the output is what it was", || again.value(0) == 1);
    device.expect_log("LED (a:0): it works again");
    // The level that was lost may have been an edge.
    unmask(events, 1);
    again.pull(1, true);
    assert!(interrupt(events));
    assert_eq!(get(requests, 1), [0, 1]);
    assert_eq!(set(requests, 0, 0), OK);
    assert_eq!(again.value(0), 0);
}

/// A chip that was not there at first.
pub(crate) fn appears() {
    let device = Device::start(&["--line", "sim", "--chip", "later:0=led,1=button/hotplug"]);
    let mut front_end = device.connect(INTERRUPTS);
    let [requests, events] = &mut front_end.queues;
    assert_eq!(direction(requests, 1, OUTPUT), REFUSED);
    device.expect_log("led (later:0): its chip is not there");
    assert_eq!(direction(requests, 0, OUTPUT), OK);
    let sim = Sim::new("later", 4, &[]);
    output(requests, 1, 1);
    assert_eq!(sim.value(0), 1);
    listen(requests, 2, BOTH);
    unmask(events, 2);
    sim.pull(1, true);
    assert!(interrupt(events));
}

/// However a guest goes, its lines are given back in their safe state.
pub(crate) fn left() {
    let sim = Sim::new("a", 8, NAMES);
    let device = Device::start(&["--chip", "a:0=led", "--chip", "a:1=button", "--chip", "a:2=motor/safe=high/hold"]);
    let is_safe = || !sim.is_taken(0) && !sim.is_taken(1) && sim.is_taken(2) && sim.value(2) == 1;
    assert!(is_safe(), "before a guest is there");
    let use_all = |requests: &mut crate::front_end::DriverQueue| {
        output(requests, 0, 1);
        listen(requests, 1, BOTH);
        output(requests, 2, 0);
        assert_eq!((sim.value(0), sim.value(2)), (1, 0));
    };

    let mut front_end = device.connect(INTERRUPTS);
    use_all(&mut front_end.queues[0]);
    for line in 0..3 {
        assert_eq!(direction(&mut front_end.queues[0], line, NONE), OK);
    }
    assert!(is_safe(), "the guest left the lines");

    use_all(&mut front_end.queues[0]);
    front_end.stop();
    wait_until("a reset gives the lines back", is_safe);
    front_end.forget();
    front_end.start([0, 0]);
    assert_eq!(get_direction(&mut front_end.queues[0], 0), [0, NONE]);

    use_all(&mut front_end.queues[0]);
    let positions = front_end.stop();
    wait_until("a pause gives the lines back", is_safe);
    front_end.start(positions);
    assert_eq!(get(&mut front_end.queues[0], 0), [0, 1]);
    assert_eq!((sim.value(0), sim.is_taken(1), sim.value(2)), (1, true, 0), "it goes on");

    drop(front_end);
    wait_until("a guest that is gone gives the lines back", is_safe);

    let mut front_end = device.connect(INTERRUPTS);
    use_all(&mut front_end.queues[0]);
    assert_eq!(device.terminate().code(), Some(0));
    assert!(!sim.is_taken(0) && !sim.is_taken(1) && !sim.is_taken(2));
}

/// One thread, however many lines are armed; each of them is heard.
pub(crate) fn threads() {
    const LINES: u8 = 200;
    let sim = Sim::new("a", LINES.into(), &[]);
    let device = Device::start(&["--chip", "a"]);
    let mut front_end = device.connect(INTERRUPTS);
    let [requests, events] = &mut front_end.queues;
    listen(requests, 0, BOTH);
    let before = device.threads();
    for line in 1..LINES {
        listen(requests, line, BOTH);
    }
    assert_eq!(device.threads(), before);
    for line in 0..LINES {
        unmask(events, line);
        sim.pull(line.into(), true);
        assert!(interrupt(events));
        assert_eq!(get(requests, line), [0, 1]);
    }
    assert_eq!(device.threads(), before);
    println!("{before} threads for {LINES} lines");
}

/// The control socket watches real lines, and drives those for which that was allowed.
pub(crate) fn control() {
    let sim = Sim::new("a", 8, NAMES);
    let device = Device::start(&["--chip", "a:0=led", "--chip", "a:3=relay/control"]);
    let mut client = device.control();
    let set = |line: &str| Request::Set { line: line.to_owned(), level: Bit(Level::High) };
    let refused = client.ask(set("led")).unwrap_err();
    let refused = refused.downcast_ref::<Refused>().unwrap();
    assert_eq!(refused.kind, ErrorKind::NotAllowed);
    assert!(!sim.is_taken(0));
    let (_, Answer::Set(line)) = client.ask(set("relay")).unwrap() else { panic!("another answer") };
    assert_eq!(line.host.as_deref(), Some("a:3"));
    assert_eq!(sim.value(3), 1);
    client.ask(Request::Release { line: "relay".to_owned() }).unwrap();
    assert!(!sim.is_taken(3));

    client.ask(Request::Subscribe { events: vec![Topic::Change], lines: None, since: None }).unwrap();
    let mut front_end = device.connect(INTERRUPTS);
    output(&mut front_end.queues[0], 0, 1);
    let mut seen = false;
    while !seen {
        let (_, happening) = client.event(None).unwrap().unwrap();
        seen =
            matches!(happening, Happening::Change { line, .. } if line.name == "led" && line.level == Bit(Level::High));
    }
}

/// What the kernel keeps of a line's edges until they are read.
const KEPT: usize = 1024;

/// Edges that come while nobody reads them: those that do not fit the kernel's buffer are told of, once, and the level is right.
pub(crate) fn overrun() {
    const PULLS: usize = KEPT + 301;
    let sim = Sim::new("a", 8, NAMES);
    let device = Device::start(&["--chip", "a:0-3"]);
    let mut front_end = device.connect(INTERRUPTS);
    let [requests, events] = &mut front_end.queues;
    // The kernel's numbers of the edges go on when the line was something else in between, and nothing is lost.
    for _ in 0..2 {
        listen(requests, 1, BOTH);
        unmask(events, 1);
        sim.pull(1, true);
        assert!(interrupt(events));
        sim.pull(1, false);
        assert_eq!(interrupt_type(requests, 1, NONE), OK);
        output(requests, 1, 0);
    }
    listen(requests, 1, BOTH);
    unmask(events, 1);
    device.signal(Signal::STOP);
    pull_slowly(&sim, 1, PULLS);
    device.signal(Signal::CONT);
    assert!(interrupt(events));
    assert_eq!(get(requests, 1), [0, 1]);
    device.expect_log(" edges are lost: they came faster than they could be read");
    sim.pull(1, false);
    assert_eq!(get(requests, 1), [0, 0]);
    let folder = device.folder().to_owned();
    let log = device.log();
    assert!(device.terminate().success());
    assert_eq!(log.matches("are lost").count(), 1, "{log}");
    let (count, _) = log.split_once("BUTTON (a:1): ").unwrap().1.split_once(" edges are lost").unwrap();
    let lost: usize = count.parse().unwrap();
    // The kernel sees some of them as one where its own thread is late.
    assert!((1..=PULLS - KEPT).contains(&lost), "{lost} lost");
    let recorded = edges(&std::fs::read_to_string(folder.join("wave.vcd")).unwrap(), "BUTTON");
    assert!((KEPT..KEPT + 32).contains(&recorded), "{recorded} recorded");
}

/// Edges that nobody has read when the device has to end are recorded.
pub(crate) fn end() {
    const PULLS: usize = 301;
    let sim = Sim::new("a", 8, NAMES);
    let device = Device::start(&["--chip", "a:0-3"]);
    let mut front_end = device.connect(INTERRUPTS);
    listen(&mut front_end.queues[0], 1, BOTH);
    device.signal(Signal::STOP);
    pull_slowly(&sim, 1, PULLS);
    device.signal(Signal::TERM);
    device.signal(Signal::CONT);
    let folder = device.folder().to_owned();
    assert!(device.terminate().success());
    let recorded = edges(&std::fs::read_to_string(folder.join("wave.vcd")).unwrap(), "BUTTON");
    // The kernel sees some of them as one where its own thread is late.
    assert!((PULLS * 9 / 10..=PULLS).contains(&recorded), "{recorded} recorded");
}

/// Changes a line that is low so often, and so that the kernel sees each change.
fn pull_slowly(sim: &Sim, line: u32, pulls: usize) {
    for pull in 0..pulls {
        sim.pull(line, pull % 2 == 0);
        std::thread::sleep(Duration::from_millis(2));
    }
}
