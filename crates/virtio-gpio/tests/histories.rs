//! Random histories of calls and tasks, with a device that does what it is asked, in order, and answers when it likes, in another
//! order, or never. What the application was told is true in the end, whatever came in between: each line is what its holder takes
//! it for, a watched line tells every edge once, any other line none, a task that waits hears one, and nothing is missing.
#![cfg(feature = "async")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

mod common;

use core::future::Future;
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;

use common::{High, Low, draft, drive, events, ms, notices, ratified, triggers, with_plan};
use gpio_loopback::{Loopback, Machine, Plan, Tamper};
use proptest::prelude::*;
use proptest::sample::select;
use virtio_gpio::clock::Instant;
use virtio_gpio::messages::draft::TRANSMIT_QUEUE;
use virtio_gpio::messages::ratified::{EVENT_QUEUE, REQUEST_QUEUE};
use virtio_gpio::{
    Chip, Direction, Error, Input, InterruptType, Level, Line, LineId, Notice, Output, Pending, Protocol, Trigger,
    run_all,
};

const LINES: u16 = 2;

/// A device that is silent for so long may be given up.
const GIVEN_UP: Duration = Duration::from_secs(30);

/// What happens next.
#[derive(Debug, Clone, Copy)]
enum Step {
    IntoInput,
    IntoOutput(Level),
    Set(Level),
    Start(Level),
    /// The oldest request that was started and not looked at is waited for.
    Finish,
    /// Nobody is interested in what was started.
    Forget,
    Watch(InterruptType),
    Level,
    Release,
    Drop,
    /// A task waits for an edge, and is dropped at the end of its patience.
    WaitForEdge(Patience),
    AskLevel(Patience),
    SetInTask(Level, Patience),
    /// All outputs at once.
    Batch(Level),
    /// The line changes, from outside.
    Edge,
    Time(u64),
    /// The device asks for a reset.
    Reset,
    /// The device does not look at its queues for so long.
    Stall(u64),
    /// The next answers. A draft device's come in the order of its queue, as its levels do: of that, it is
    /// what was sent that comes back when it likes.
    Answers([Fate; 3]),
    /// The next event of a ratified device.
    Event(Fate),
    /// What is held is shown: the first of a queue, or all, the last one first if so.
    ShowFirst(u16),
    ShowAll(bool),
}

/// How often a task is polled, and how much time passes each time.
#[derive(Debug, Clone, Copy)]
struct Patience {
    polls: u8,
    time: u64,
}

/// What becomes of an answer or an event.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Shown,
    Held,
    Delayed(u64),
    Lost,
}

impl From<Fate> for Tamper {
    fn from(fate: Fate) -> Self {
        match fate {
            Fate::Shown => Self::Nothing,
            Fate::Held => Self::Hold,
            Fate::Delayed(time) => Self::Delay(ms(time)),
            Fate::Lost => Self::Drop,
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    let level = || select(vec![Low, High]);
    let kind = select(vec![
        InterruptType::None,
        InterruptType::RisingEdge,
        InterruptType::FallingEdge,
        InterruptType::BothEdges,
    ]);
    let time = || select(vec![1, 200, 300, 900, 1000, 1100, 2300]);
    let fate = prop_oneof![
        3 => Just(Fate::Shown),
        3 => Just(Fate::Held),
        3 => time().prop_map(Fate::Delayed),
        1 => Just(Fate::Lost),
    ];
    let patience = || (1..6u8, time()).prop_map(|(polls, time)| Patience { polls, time });
    prop_oneof![
        3 => Just(Step::IntoInput),
        3 => level().prop_map(Step::IntoOutput),
        3 => level().prop_map(Step::Set),
        3 => level().prop_map(Step::Start),
        2 => Just(Step::Finish),
        1 => Just(Step::Forget),
        5 => kind.prop_map(Step::Watch),
        1 => Just(Step::Level),
        1 => Just(Step::Release),
        1 => Just(Step::Drop),
        6 => patience().prop_map(Step::WaitForEdge),
        1 => patience().prop_map(Step::AskLevel),
        1 => (level(), patience()).prop_map(|(level, patience)| Step::SetInTask(level, patience)),
        1 => level().prop_map(Step::Batch),
        3 => Just(Step::Edge),
        3 => time().prop_map(Step::Time),
        1 => time().prop_map(Step::Stall),
        1 => Just(Step::Reset),
        6 => [fate.clone(), fate.clone(), fate].prop_map(Step::Answers),
        1 => select(vec![1, 900, 1100]).prop_map(|time| Step::Event(Fate::Delayed(time))),
        3 => select(vec![REQUEST_QUEUE, EVENT_QUEUE]).prop_map(Step::ShowFirst),
        1 => any::<bool>().prop_map(Step::ShowAll),
    ]
}

#[derive(Debug)]
enum Pin<'c> {
    Line(Line<'c>),
    Input(Input<'c>),
    Output(Output<'c>),
}

/// A line as the application knows it.
#[derive(Debug, Default)]
struct Used<'c> {
    pin: Option<Pin<'c>>,
    /// As an output it is at that level, as far as that is known: the last request for it was confirmed.
    level: Option<Level>,
    /// Counts the requests for a level.
    sets: u32,
    /// As an input it is watched for that, as far as that is known, and not for a task.
    watched: Option<InterruptType>,
    /// A task was told that it is lost.
    is_lost: bool,
    /// The driver has given it up, after which the device is told nothing of it any more.
    given_up: bool,
}

impl<'c> Used<'c> {
    /// Its pin, to be made something else; that of a line without a holder if nobody has it.
    fn take(&mut self, chip: &'c Chip<'_, Loopback>, number: u16) -> Option<Pin<'c>> {
        self.pin.take().or_else(|| chip.line(LineId(number)).ok().map(Pin::Line))
    }
}

struct History<'t, 'c, 's> {
    machine: &'t Machine,
    chip: &'c Chip<'s, Loopback>,
    lines: [Used<'c>; LINES as usize],
    /// What was started: of which line, and its number and level.
    started: Vec<(usize, u32, Level, Pending<'c>)>,
}

impl History<'_, '_, '_> {
    fn is_ratified(&self) -> bool {
        self.chip.protocol() == Protocol::Ratified
    }

    /// One step, of one line where it is about a line.
    fn step(&mut self, number: u16, step: Step) {
        let chip = self.chip;
        let place = usize::from(number);
        let line = &mut self.lines[place];
        match step {
            Step::IntoInput => {
                let pin = line.take(chip, number);
                if !matches!(pin, Some(Pin::Input(_))) {
                    line.watched = Some(InterruptType::None);
                }
                line.pin = pin.map(|pin| match pin {
                    Pin::Line(pin) => pin.into_input().map_or_else(|failed| Pin::Line(failed.pin), Pin::Input),
                    Pin::Output(pin) => pin.into_input().map_or_else(|failed| Pin::Output(failed.pin), Pin::Input),
                    Pin::Input(_) => pin,
                });
            }
            Step::IntoOutput(level) => {
                let pin = line.take(chip, number);
                let was_output = matches!(pin, Some(Pin::Output(_)));
                line.pin = pin.map(|pin| match pin {
                    Pin::Line(pin) => pin.into_output(level).map_or_else(|failed| Pin::Line(failed.pin), Pin::Output),
                    Pin::Input(pin) => pin.into_output(level).map_or_else(|failed| Pin::Input(failed.pin), Pin::Output),
                    Pin::Output(_) => pin,
                });
                if !was_output {
                    // An input that could not become an output may have stopped being watched.
                    line.watched = None;
                    line.sets += 1;
                    line.level = Some(level);
                }
            }
            Step::Set(level) => {
                if let Some(Pin::Output(pin)) = &mut line.pin {
                    line.sets += 1;
                    line.level = pin.set(level).is_ok().then_some(level);
                }
            }
            Step::Start(level) => {
                if let Some(Pin::Output(pin)) = &mut line.pin
                    && let Ok(pending) = pin.start_set(level)
                {
                    line.sets += 1;
                    line.level = None;
                    self.started.push((place, line.sets, level, pending));
                }
            }
            Step::Finish if !self.started.is_empty() => {
                let (place, set, level, pending) = self.started.remove(0);
                let confirmed = pending.wait().is_ok();
                let line = &mut self.lines[place];
                if confirmed && line.sets == set {
                    line.level = Some(level);
                }
            }
            Step::Forget => self.started.clear(),
            Step::Watch(kind) => {
                if let Some(Pin::Input(pin)) = &mut line.pin {
                    line.watched = match pin.watch(kind) {
                        Ok(()) => Some(kind),
                        Err(Error::Timeout) => Some(InterruptType::None),
                        Err(_) => None,
                    };
                }
            }
            Step::Level => match &line.pin {
                Some(Pin::Input(pin)) => _ = pin.level(),
                Some(Pin::Output(pin)) => _ = pin.level(),
                Some(Pin::Line(_)) | None => (),
            },
            Step::Release => {
                _ = line.pin.take().map(|pin| match pin {
                    Pin::Line(pin) => pin.release(),
                    Pin::Input(pin) => pin.release(),
                    Pin::Output(pin) => pin.release(),
                });
            }
            Step::Drop => line.pin = None,
            Step::WaitForEdge(_) | Step::AskLevel(_) | Step::SetInTask(..) => self.task(place, step),
            Step::Batch(level) => self.batch(level),
            _ => self.happens(number, step),
        }
        self.read();
    }

    /// A task, from its first poll to its end or the end of its patience.
    fn task(&mut self, place: usize, step: Step) {
        let (machine, chip) = (self.machine, self.chip);
        let line = &mut self.lines[place];
        match (step, &mut line.pin) {
            (Step::WaitForEdge(patience), Some(Pin::Input(pin))) => {
                line.watched = None;
                let heard = attempt(machine, chip, patience, pin.wait_for_edge(None));
                line.is_lost |= heard == Some(Err(Error::LineLost));
            }
            (Step::AskLevel(patience), Some(Pin::Input(pin))) => {
                _ = attempt(machine, chip, patience, pin.level_async());
            }
            (Step::SetInTask(level, patience), Some(Pin::Output(pin))) => {
                line.sets += 1;
                let set = attempt(machine, chip, patience, pin.set_async(level));
                line.level = (set == Some(Ok(()))).then_some(level);
            }
            _ => (),
        }
    }

    fn batch(&mut self, level: Level) {
        let outputs = self.lines.iter_mut().filter_map(|line| match &mut line.pin {
            Some(Pin::Output(pin)) => Some((&mut line.level, &mut line.sets, pin)),
            _ => None,
        });
        let (mut known, mut requests) = (Vec::new(), Vec::new());
        for (is_known, sets, pin) in outputs {
            *sets += 1;
            known.push(is_known);
            requests.push(pin.request_set(level));
        }
        _ = run_all(&mut requests);
        for (known, request) in known.into_iter().zip(requests) {
            *known = request.result().unwrap().is_ok().then_some(level);
        }
    }

    /// What does not come from the application.
    fn happens(&self, number: u16, step: Step) {
        let (machine, chip) = (self.machine, self.chip);
        match step {
            Step::Edge => {
                let level = machine.line(LineId(number)).drive.unwrap_or(Low).toggled();
                drive(machine, chip, number, level);
            }
            Step::Time(time) => machine.advance(chip, ms(time)),
            Step::Reset => machine.need_reset(),
            Step::Stall(time) => machine.stall(ms(time)),
            Step::Answers(fates) => {
                let queue = if self.is_ratified() { REQUEST_QUEUE } else { TRANSMIT_QUEUE };
                machine.tamper(queue, fates.map(Tamper::from));
            }
            Step::Event(fate) if self.is_ratified() => machine.tamper(EVENT_QUEUE, [fate.into()]),
            Step::ShowFirst(queue) => {
                machine.release_first(queue);
                machine.pump(chip);
            }
            Step::ShowAll(reversed) => {
                machine.release_held(reversed);
                machine.pump(chip);
            }
            _ => (),
        }
    }

    /// The application reads what there is.
    fn read(&mut self) {
        drop(events(self.chip));
        for notice in notices(self.chip) {
            if let Notice::LineLost { line, .. } = notice {
                self.lines[usize::from(line.0)].given_up = true;
            }
        }
    }

    /// The device answers everything that it still can, and driver and device come to rest.
    fn settle(&mut self) {
        let (machine, chip) = (self.machine, self.chip);
        while !self.started.is_empty() {
            self.step(0, Step::Finish);
        }
        // What was to be done with answers that have not come is not done any more.
        machine.stop_tampering();
        machine.release_held(false);
        for place in 0..8 {
            machine.advance(chip, ms(5_000));
            self.read();
            // A device that keeps what it was sent is reset when somebody finds no slot for it.
            self.step(place % LINES, Step::Level);
        }
        assert!(!chip.is_recovering());
    }

    /// Each input that may be anything is watched, once a task has heard an edge of it.
    fn watch_again(&mut self) {
        let (machine, chip) = (self.machine, self.chip);
        for (number, line) in (0..LINES).zip(&mut self.lines) {
            let Some(Pin::Input(pin)) = &mut line.pin else { continue };
            assert!(!line.is_lost || line.given_up, "a task was told that line {number} is lost");
            if line.given_up || line.watched.is_some() {
                continue;
            }
            {
                let mut wait = pin!(pin.wait_for_edge(None));
                for _ in 0..5 {
                    assert_eq!(poll(wait.as_mut()), Poll::Pending, "line {number}");
                    machine.advance(chip, ms(10));
                }
                let level = machine.line(LineId(number)).level().toggled();
                drive(machine, chip, number, level);
                assert_eq!(poll(wait.as_mut()), Poll::Ready(Ok(())), "line {number}");
            }
            assert_eq!(triggers(chip), [], "line {number} is a task's");
            let kind = if number == 0 { InterruptType::BothEdges } else { InterruptType::RisingEdge };
            assert_eq!(pin.watch(kind), Ok(()), "line {number}");
            line.watched = Some(kind);
        }
    }

    /// What the application was told holds.
    fn check(&mut self) {
        let ratified = self.is_ratified();
        for number in 0..LINES {
            let place = usize::from(number);
            if self.lines[place].given_up {
                continue;
            }
            let line = self.machine.line(LineId(number));
            match &self.lines[place].pin {
                // The draft has no such thing as a line without a direction.
                None | Some(Pin::Line(_)) => {
                    assert!(!ratified || line.direction == Direction::None, "line {number} is nobody's: {line:?}");
                }
                Some(Pin::Output(pin)) => {
                    assert_eq!((line.direction, pin.level()), (Direction::Output, Ok(line.level())), "line {number}");
                    if let Some(level) = self.lines[place].level {
                        assert_eq!((line.level(), pin.level_set()), (level, Some(level)), "line {number}'s level");
                    }
                }
                Some(Pin::Input(pin)) => {
                    assert_eq!((line.direction, pin.level()), (Direction::Input, Ok(line.level())), "line {number}");
                    self.check_edges(number);
                }
            }
        }
    }

    fn check_edges(&self, number: u16) {
        let Some(kind) = self.lines[usize::from(number)].watched else { return };
        let (machine, chip) = (self.machine, self.chip);
        let mut level = machine.line(LineId(number)).level();
        for _ in 0..3 {
            level = level.toggled();
            drive(machine, chip, number, level);
            machine.advance(chip, ms(5));
            let trigger = if level == High { Trigger::Rising } else { Trigger::Falling };
            let told = match kind {
                InterruptType::BothEdges => true,
                InterruptType::RisingEdge => level == High,
                InterruptType::FallingEdge => level == Low,
                _ => false,
            };
            let expected: Vec<_> = told.then_some((number, trigger)).into_iter().collect();
            assert_eq!(triggers(chip), expected, "line {number} is watched for {kind:?}, and is {level:?} now");
        }
    }
}

fn poll<F: Future>(task: core::pin::Pin<&mut F>) -> Poll<F::Output> {
    task.poll(&mut Context::from_waker(Waker::noop()))
}

/// What a task comes to while somebody is patient with it.
fn attempt<T>(
    machine: &Machine,
    chip: &Chip<'_, Loopback>,
    patience: Patience,
    task: impl Future<Output = T>,
) -> Option<T> {
    let mut task = pin!(task);
    for _ in 0..patience.polls {
        if let Poll::Ready(result) = poll(task.as_mut()) {
            return Some(result);
        }
        machine.advance(chip, ms(patience.time));
    }
    None
}

fn run(machine: &Machine, requests: usize, steps: &[(u16, Step)]) {
    with_plan(machine, &Plan { requests, lines: 4, ..Plan::default() }, |chip| {
        let mut history = History { machine, chip, lines: Default::default(), started: Vec::new() };
        for &(line, step) in steps {
            history.step(line, step);
        }
        let time = machine.now().since(Instant::from_nanos(0));
        history.settle();
        if chip.has_failed() {
            assert!(time >= GIVEN_UP, "it was given up in a history of {time:?}");
            return;
        }
        if history.is_ratified() {
            history.watch_again();
        }
        history.check();
        // What the driver knows is the same: it makes a device of it that knows nothing.
        machine.need_reset();
        machine.advance(chip, ms(2_000));
        drop(events(chip));
        assert!(!chip.has_failed() && !chip.is_recovering());
        assert!(chip.resources().is_at_rest(), "{:?}", chip.resources());
        history.check();
    });
}

fn steps() -> impl Strategy<Value = Vec<(u16, Step)>> {
    proptest::collection::vec((0..LINES, step()), 1..25)
}

proptest! {
    #[test]
    fn what_is_known_of_a_ratified_device_holds(requests in select(vec![1, 2, 3, 16]), steps in steps()) {
        run(&ratified(), requests, &steps);
    }

    #[test]
    fn what_is_known_of_a_draft_device_holds(requests in select(vec![1, 2, 3, 16]), steps in steps()) {
        run(&draft(), requests, &steps);
    }
}
