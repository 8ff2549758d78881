//! The control socket: what clients ask for, hear, and can do wrong.
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use crate::front_end::{FrontEnd, LONG, MODERN};
use crate::server::{Bench, REQUESTS, ratified, serve};
use serde_json::{Value, json};
use vgpio::control::client::{Client, Refused};
use vgpio::control::keyboard::{Cable, Keyboard};
use vgpio::control::message::{Answer, Bit, Driver, Edge, Edges, ErrorKind, Happening, Request, Stamp, Topic, Use};
use vgpio::control::socket::ControlSocket;
use vgpio::control::switchboard::Switchboard;
use vgpio::world::Place;
use virtio_gpio::messages::{Level, LineId};

/// A device with a control socket. Its lines are `led`, an unnamed one, `in`, and another unnamed one.
struct Controlled {
    socket: ControlSocket,
    path: PathBuf,
    bench: Bench,
    quit: mpsc::Receiver<()>,
    cable: Cable,
}

fn controlled() -> Controlled {
    let bench = serve(ratified());
    let path = bench.socket.with_file_name("control");
    let (quitter, quit) = mpsc::channel();
    let (keyboard, cable) = Keyboard::new();
    let board = Switchboard::install(&bench.server, Some(keyboard), move || _ = quitter.send(())).unwrap();
    let socket = ControlSocket::listen(board, &path).unwrap();
    Controlled { socket, path, bench, quit, cable }
}

impl Controlled {
    fn client(&self) -> Client {
        Client::connect(&self.path).unwrap()
    }

    /// Drives `in` from outside, to and fro.
    fn toggle(&self, times: u64) {
        self.bench
            .server
            .with(move |world, now| {
                for number in 0..times {
                    let level = if number % 2 == 0 { Level::High } else { Level::Low };
                    world.drive(now, Place { chip: 0, line: LineId(2) }, Some(level)).unwrap();
                }
            })
            .unwrap();
    }
}

fn subscribe(topics: &[Topic], since: Option<u64>) -> Request {
    Request::Subscribe { events: topics.to_vec(), lines: None, since }
}

fn set(line: &str, level: Level) -> Request {
    Request::Set { line: line.into(), level: Bit(level) }
}

fn event(client: &mut Client) -> (Stamp, Happening) {
    client.event(Some(LONG)).unwrap().unwrap()
}

/// The number and the edge of the next change.
fn change(client: &mut Client) -> (u64, Option<Edge>) {
    match event(client) {
        (stamp, Happening::Change { edge, .. }) => (stamp.seq, edge),
        other => panic!("expected a change, saw {other:?}"),
    }
}

fn refusal(answer: anyhow::Result<(Stamp, Answer)>) -> ErrorKind {
    answer.unwrap_err().downcast::<Refused>().unwrap().kind
}

/// A client that is no program of ours.
struct Raw(BufReader<UnixStream>);

impl Raw {
    fn connect(path: &Path) -> Self {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        Self(BufReader::new(stream))
    }

    fn send(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).unwrap();
    }

    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
    }

    /// Whether the other side has hung up, after everything that it said.
    fn has_ended(&mut self) -> bool {
        let mut rest = String::new();
        self.0.read_to_string(&mut rest).is_ok() && rest.is_empty()
    }
}

#[test]
fn lines_are_found_by_name_and_by_number() {
    let stage = controlled();
    let mut client = stage.client();
    let (_, Answer::Info { chips }) = client.ask(Request::Info {}).unwrap() else { panic!("no answer to info") };
    assert_eq!(chips.len(), 1);
    let names: Vec<_> = chips[0].lines.iter().map(|line| line.name.as_str()).collect();
    assert_eq!(names, ["led", "", "in", ""]);

    let (_, Answer::Set(line)) = client.ask(set("2", Level::High)).unwrap() else { panic!("no answer to set") };
    assert_eq!((line.name.as_str(), line.level, line.driver), ("in", Bit(Level::High), Driver::Outside));
    let (_, Answer::Get(line)) = client.ask(Request::Get { line: "gpio0:in".into() }).unwrap() else {
        panic!("no answer to get")
    };
    assert_eq!((line.line, line.level, line.outside), (2, Bit(Level::High), Some(Bit(Level::High))));
    let (_, Answer::Release(line)) = client.ask(Request::Release { line: "in".into() }).unwrap() else {
        panic!("no answer to release")
    };
    assert_eq!((line.level, line.driver), (Bit(Level::Low), Driver::Nobody));

    for (request, kind) in [
        (Request::Get { line: "out".into() }, ErrorKind::UnknownLine),
        (Request::Get { line: String::new() }, ErrorKind::UnknownLine),
        (Request::Get { line: "4".into() }, ErrorKind::UnknownLine),
        (Request::Get { line: "gpio1:0".into() }, ErrorKind::UnknownLine),
        (Request::Mute { line: "4".into(), on: true }, ErrorKind::UnknownLine),
        (Request::Stall { chip: 1, on: true }, ErrorKind::UnknownChip),
        (Request::Hello { version: Some(2) }, ErrorKind::BadVersion),
    ] {
        assert_eq!(refusal(client.ask(request.clone())), kind, "{request:?}");
    }
}

#[test]
fn what_a_guest_does_is_heard_in_its_order() {
    let stage = controlled();
    let mut client = stage.client();
    client.ask(subscribe(&[Topic::Change, Topic::Request], None)).unwrap();
    let mut guest = FrontEnd::connect(&stage.bench.socket, MODERN);
    assert_eq!(guest.queues[REQUESTS].request([3, 0, 0, 0, 1, 0, 0, 0]), [0, 0], "an output");
    assert_eq!(guest.queues[REQUESTS].request([5, 0, 0, 0, 1, 0, 0, 0]), [0, 0], "high");
    assert_eq!(guest.queues[REQUESTS].request([5, 0, 9, 0, 1, 0, 0, 0]), [1, 0], "no such line");
    let mut seen = Vec::new();
    while seen.len() < 5 {
        match event(&mut client).1 {
            Happening::Request { message, line, value, accepted, .. } => {
                seen.push(format!("{message} {line:?} {value:?} {accepted}"));
            }
            Happening::Change { edge, line } => seen.push(format!("{edge:?} {:?} {:?}", line.direction, line.driver)),
            Happening::Reset { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(
        seen,
        [
            "set-direction Some(0) Some(1) true",
            "None Output Guest",
            "set-value Some(0) Some(1) true",
            "Some(Rising) Output Guest",
            "set-value Some(9) Some(1) false",
        ]
    );
}

#[test]
fn all_clients_hear_the_same_in_the_same_order() {
    const CLIENTS: usize = 20;
    const EDGES: u64 = 500;
    let stage = controlled();
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| stage.client()).collect();
    for client in &mut clients {
        client.ask(subscribe(&[Topic::Change], None)).unwrap();
    }
    stage.toggle(EDGES);
    let heard: Vec<Vec<_>> = clients.iter_mut().map(|client| (0..EDGES).map(|_| change(client)).collect()).collect();
    assert!(heard.windows(2).all(|pair| pair[0] == pair[1]));
    assert!(heard[0].windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 != pair[1].1));
}

#[test]
fn a_reply_comes_after_the_events_that_it_tells_of() {
    let stage = controlled();
    let mut raw = Raw::connect(&stage.path);
    raw.send(b"{\"request\":\"subscribe\"}\n{\"request\":\"set\",\"id\":1,\"line\":\"in\",\"level\":1}\n");
    assert_eq!(raw.line()["reply"], "subscribe");
    let (event, reply) = (raw.line(), raw.line());
    assert_eq!((&event["event"], &event["edge"]), (&json!("change"), &json!("rising")));
    assert_eq!((&reply["reply"], &reply["id"], &reply["seq"]), (&json!("set"), &json!(1), &event["seq"]));
}

#[test]
fn several_requests_on_one_line_are_one_instant() {
    let stage = controlled();
    let mut client = stage.client();
    client.ask(subscribe(&[Topic::Change], None)).unwrap();
    let answers = client.ask_together(vec![set("led", Level::High), set("in", Level::High), Request::Info {}]).unwrap();
    assert_eq!(answers.len(), 3);
    let (first, second) = (event(&mut client).0, event(&mut client).0);
    assert_eq!(first.at_ns, second.at_ns);
    assert_eq!(second.seq, first.seq + 1);
}

#[test]
fn only_what_was_subscribed_to_is_heard() {
    let stage = controlled();
    let mut client = stage.client();
    let lines = Some(vec!["in".into()]);
    client.ask(Request::Subscribe { events: vec![Topic::Change], lines, since: None }).unwrap();
    client.ask(set("led", Level::High)).unwrap();
    client.ask(set("in", Level::High)).unwrap();
    match event(&mut client) {
        (_, Happening::Change { line, .. }) => assert_eq!((line.name.as_str(), line.direction), ("in", Use::None)),
        other => panic!("{other:?}"),
    }
    client.ask(Request::Unsubscribe {}).unwrap();
    client.ask(set("in", Level::Low)).unwrap();
    client.ask(subscribe(&[Topic::Change], None)).unwrap();
    client.ask(set("in", Level::High)).unwrap();
    assert_eq!(change(&mut client).1, Some(Edge::Rising), "the falling edge came while nothing was subscribed to");
}

#[test]
fn who_comes_back_misses_nothing() {
    let stage = controlled();
    let mut client = stage.client();
    client.ask(subscribe(&[Topic::Change], None)).unwrap();
    stage.toggle(3);
    let heard = [change(&mut client), change(&mut client), change(&mut client)];
    drop(client);
    stage.toggle(4);
    let mut client = stage.client();
    client.ask(subscribe(&[Topic::Change], Some(heard[1].0))).unwrap();
    // The last toggle of the first three left the line high, so the first one of the others changes nothing.
    stage.toggle(2);
    let seqs: Vec<_> = (0..6).map(|_| change(&mut client).0).collect();
    assert_eq!(seqs[0], heard[2].0);
    assert!(seqs.windows(2).all(|pair| pair[1] == pair[0] + 1), "{seqs:?}");
}

#[test]
fn slow_client_holds_up_nobody_and_is_told_what_it_missed() {
    const EDGES: u64 = 60_000;
    let stage = controlled();
    let mut slow = Raw::connect(&stage.path);
    slow.send(b"{\"request\":\"subscribe\",\"events\":[\"change\"]}\n");
    assert_eq!(slow.line()["reply"], "subscribe");
    // It reads nothing from here on. The simulation goes on, and so do others.
    stage.toggle(EDGES);
    let mut other = stage.client();
    other.ask(Request::Info {}).unwrap();
    let (mut seen, mut last) = (0, 0);
    let missed = loop {
        let line = slow.line();
        if line["event"] == "lost" {
            assert_eq!(line["seq"], EDGES);
            break line["count"].as_u64().unwrap();
        }
        assert_eq!(line["seq"], last + 1);
        (seen, last) = (seen + 1, last + 1);
    };
    assert!(missed > 0);
    assert_eq!(seen + missed, EDGES);
    other.ask(set("in", Level::High)).unwrap();
    assert_eq!(slow.line()["edge"], "rising", "it has caught up");
}

#[test]
fn client_that_only_asks_holds_up_itself() {
    let stage = controlled();
    let mut greedy = UnixStream::connect(&stage.path).unwrap();
    greedy.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    // Until it is not even listened to any more.
    while greedy.write_all(b"{\"request\":\"info\"}\n").is_ok() {}
    let mut other = stage.client();
    other.ask(Request::Info {}).unwrap();
}

#[test]
fn client_that_goes_in_the_middle_is_no_loss() {
    let stage = controlled();
    for _ in 0..100 {
        let mut raw = Raw::connect(&stage.path);
        raw.send(
            b"{\"request\":\"subscribe\",\"since\":0}\n{\"request\":\"wait\",\"line\":\"in\"}\n{\"request\":\"inf",
        );
    }
    stage.toggle(100);
    stage.client().ask(Request::Info {}).unwrap();
}

#[test]
fn garbage_is_answered_with_what_is_wrong_with_it() {
    let stage = controlled();
    let mut raw = Raw::connect(&stage.path);
    let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    let mut wide = String::from("{\"request\":\"get\"");
    for number in 0..3_000 {
        write!(wide, ",\"k{number}\":0").unwrap();
    }
    wide.push('}');
    for line in [
        "hello",
        "{}",
        "[]",
        "null",
        "1e999",
        "\"\\ud800\"",
        "{\"request\":7}",
        "{\"request\":\"set\",\"line\":\"in\",\"level\":-1}",
        "{\"request\":\"set\",\"line\":\"gpio99999999999999999999:0\",\"level\":1}",
        "{\"request\":\"pulse\",\"line\":\"in\",\"width\":\"99999999999999999999s\"}",
        "{\"request\":\"pulse\",\"line\":\"in\",\"width\":\"soon\"}",
        "{\"request\":\"mute\",\"line\":9,\"on\":true}",
        "{\"request\":\"stall\",\"chip\":-1,\"on\":true}",
        "{\"request\":\"info\",\"id\":\"one\"}",
        "\u{feff}{\"request\":\"info\"}",
        &deep,
        &wide,
    ] {
        raw.send(line.as_bytes());
        raw.send(b"\n");
        let answer = raw.line();
        assert_eq!(answer["reply"], "error", "{line}: {answer}");
        assert!(answer["message"].as_str().is_some_and(|message| message.len() > 5), "{answer}");
    }
    raw.send(b"\n \r\n{\"request\":\"info\"}\r\n");
    assert_eq!(raw.line()["reply"], "info", "it is still understood");
}

#[test]
fn what_has_no_end_is_cut_off() {
    for (bytes, named) in [(vec![b'x'; 70_000], "65536 bytes"), (b"{\"request\":\"\xff\"}\n".to_vec(), "UTF-8")] {
        let stage = controlled();
        let mut raw = Raw::connect(&stage.path);
        // The other side need not read all of it.
        let _ = raw.0.get_mut().write_all(&bytes);
        let answer = raw.line();
        assert!(answer["message"].as_str().unwrap().contains(named), "{answer}");
        let mut rest = Vec::new();
        let _ = raw.0.read_to_end(&mut rest);
        assert!(rest.is_empty());
        stage.client().ask(Request::Info {}).unwrap();
    }
}

#[test]
fn who_has_asked_and_only_listens_still_gets_the_answers() {
    let stage = controlled();
    let mut raw = Raw::connect(&stage.path);
    raw.send(b"{\"request\":\"wait\",\"line\":\"in\",\"id\":1}\n{\"request\":\"info\",\"id\":2}\n");
    raw.0.get_mut().shutdown(Shutdown::Write).unwrap();
    assert_eq!(raw.line()["id"], 2);
    stage.toggle(1);
    assert_eq!(raw.line()["id"], 1);
}

#[test]
fn waiting_ends_with_the_edge_or_with_the_time() {
    let stage = controlled();
    let mut client = stage.client();
    let wait =
        |edge, timeout: Option<&str>| Request::Wait { line: "in".into(), edge, timeout: timeout.map(str::to_owned) };
    let patient = client.send(wait(Edges::Falling, Some("60s"))).unwrap();
    let hasty = client.send(wait(Edges::Falling, Some("10ms"))).unwrap();
    assert_eq!(refusal(client.answer(hasty)), ErrorKind::TimedOut);
    client.send(set("in", Level::High)).unwrap();
    client.send(set("in", Level::Low)).unwrap();
    let (_, Answer::Wait { edge, line }) = client.answer(patient).unwrap() else { panic!("no answer to wait") };
    assert_eq!((edge, line.level), (Edge::Falling, Bit(Level::Low)));
    assert_eq!(refusal(client.ask(wait(Edges::Both, Some("0ms")))), ErrorKind::TimedOut);
    for _ in 0..256 {
        client.send(wait(Edges::Both, None)).unwrap();
    }
    assert_eq!(refusal(client.ask(wait(Edges::Both, None))), ErrorKind::TooMany);
}

#[test]
fn stimuli_run_by_themselves() {
    let stage = controlled();
    let mut client = stage.client();
    client.ask(subscribe(&[Topic::Change], None)).unwrap();
    let mut edges = |request: Request, count: usize| {
        client.ask(request).unwrap();
        (0..count).map(|_| change(&mut client).1.unwrap()).collect::<Vec<_>>()
    };
    let line = || "in".to_owned();
    let short = || "1ms".to_owned();
    // What nobody did to the line before is no edge, so the first one of each is a rising one.
    let pulse = Request::Pulse { line: line(), level: Bit(Level::High), width: short() };
    assert_eq!(edges(pulse, 2), [Edge::Rising, Edge::Falling]);
    let clock = Request::Clock { line: line(), period: short(), cycles: Some(2) };
    assert_eq!(edges(clock, 4), [Edge::Rising, Edge::Falling, Edge::Rising, Edge::Falling]);
    let pwm = Request::Pwm { line: line(), period: short(), high: "100us".to_owned(), cycles: Some(1) };
    assert_eq!(edges(pwm, 2), [Edge::Rising, Edge::Falling]);
    let bounce = Request::Bounce { line: line(), level: Bit(Level::High), over: short(), changes: 5, seed: 1 };
    let bounced = edges(bounce, 5);
    assert_eq!(bounced.last(), Some(&Edge::Rising));
}

#[test]
fn a_stalled_device_does_not_answer_its_driver() {
    let stage = controlled();
    let mut raw = Raw::connect(&stage.path);
    let mut guest = FrontEnd::connect(&stage.bench.socket, MODERN);
    raw.send(b"{\"request\":\"stall\",\"on\":true}\n");
    assert_eq!(raw.line()["reply"], "stall");
    let question = crate::front_end::Buffer::Readable(&[4, 0, 0, 0, 0, 0, 0, 0]);
    guest.queues[REQUESTS].send(0, &[question, crate::front_end::Buffer::Writable(2)]);
    raw.send(b"{\"request\":\"info\"}\n{\"request\":\"info\"}\n");
    assert_eq!([&raw.line()["reply"], &raw.line()["reply"]], ["info", "info"]);
    assert_eq!(guest.queues[REQUESTS].try_used(), None);
    raw.send(b"{\"request\":\"stall\",\"on\":false}\n");
    assert_eq!(guest.queues[REQUESTS].used(), (0, 2));
}

#[test]
fn console_and_keyboard_are_reached() {
    let stage = controlled();
    let mut client = stage.client();
    client.ask(subscribe(&[Topic::Console], None)).unwrap();
    stage.bench.server.console()("one \u{1b}[1mline\u{1b}[0m \"quoted\"");
    match event(&mut client).1 {
        Happening::Console { text } => assert_eq!(text, "one \u{1b}[1mline\u{1b}[0m \"quoted\""),
        other => panic!("{other:?}"),
    }
    client.ask(Request::WriteSerial { text: "help\n".to_owned() }).unwrap();
    let (mut guest, console) = UnixStream::pair().unwrap();
    stage.cable.plug_in(console).unwrap();
    let mut typed = [0; 5];
    guest.read_exact(&mut typed).unwrap();
    assert_eq!(&typed, b"help\n");
}

#[test]
fn typing_where_there_is_no_guest_is_refused() {
    let bench = serve(ratified());
    let path = bench.socket.with_file_name("control");
    let board = Switchboard::install(&bench.server, None, || {}).unwrap();
    let _socket = ControlSocket::listen(board, &path).unwrap();
    let mut client = Client::connect(&path).unwrap();
    assert_eq!(refusal(client.ask(Request::WriteSerial { text: "x".to_owned() })), ErrorKind::NotHere);
}

#[test]
fn all_clients_hear_of_the_end() {
    let stage = controlled();
    let mut clients = [Raw::connect(&stage.path), Raw::connect(&stage.path)];
    for client in &mut clients {
        client.send(b"{\"request\":\"hello\"}\n");
        assert_eq!(client.line()["reply"], "hello");
    }
    clients[0].send(b"{\"request\":\"quit\"}\n");
    assert_eq!(clients[0].line()["reply"], "quit");
    stage.quit.recv_timeout(LONG).unwrap();
    stage.bench.server.stop();
    for client in &mut clients {
        assert_eq!(client.line()["event"], "end");
        assert!(client.has_ended());
    }
    drop(stage.socket);
    assert!(!stage.path.exists());
}

#[test]
fn socket_can_go_before_the_simulation() {
    let stage = controlled();
    let mut raw = Raw::connect(&stage.path);
    raw.send(b"{\"request\":\"hello\"}\n");
    raw.line();
    drop(stage.socket);
    assert!(!stage.path.exists());
    assert!(raw.has_ended());
    stage.bench.server.with(|_, _| ()).unwrap();
}

#[test]
fn there_is_a_limit_to_the_number_of_clients() {
    let stage = controlled();
    let mut clients: Vec<_> = (0..64).map(|_| stage.client()).collect();
    let mut refused = Raw::connect(&stage.path);
    assert_eq!(refused.line()["kind"], "too-many");
    assert!(refused.has_ended());
    clients.pop();
    // The one that has gone makes room as soon as that is noticed.
    while Client::connect(&stage.path).is_err() {
        std::thread::yield_now();
    }
}
