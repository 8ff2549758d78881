//! Pins for tasks: each task sleeps until it is woken, whatever is awaited can be dropped at any moment, and nothing that the
//! device still has is used for anything else meanwhile.
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

use std::cell::RefCell;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use common::{
    High, LINES, Low, RATIFIED, draft, drive, events, input, ms, names, notices, output, ratified, ratified_with,
    requests, rounds, watched, with_chip, with_plan,
};
use embedded_hal_async::digital::Wait;
use gpio_loopback::{Bench, Loopback, Machine, Plan, Settings, Tamper};
use gpio_model::ratified::Options as DeviceOptions;
use virtio_gpio::messages::ratified::{EVENT_QUEUE, REQUEST_QUEUE, Request};
use virtio_gpio::{Chip, Direction, Error, Input, InterruptType, Level, LineId, Notice, Output, Pending, Trigger};

// --- an executor that sleeps ----------------------------------------------------------------------------------------

/// Counts how often a task was woken.
#[derive(Default)]
struct Alarm(AtomicU32);

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Alarm {
    fn take(&self) -> bool {
        self.0.swap(0, Ordering::Relaxed) > 0
    }
}

struct Task<'f, T> {
    future: Pin<Box<dyn Future<Output = T> + 'f>>,
    alarm: Arc<Alarm>,
    output: Option<T>,
}

impl<'f, T> Task<'f, T> {
    fn new(future: impl Future<Output = T> + 'f) -> Self {
        Self { future: Box::pin(future), alarm: Arc::new(Alarm(AtomicU32::new(1))), output: None }
    }

    /// Polls the task if it was woken. Returns whether it was.
    fn turn(&mut self) -> bool {
        if self.output.is_some() || !self.alarm.take() {
            return false;
        }
        let waker = Waker::from(Arc::clone(&self.alarm));
        if let Poll::Ready(output) = self.future.as_mut().poll(&mut Context::from_waker(&waker)) {
            self.output = Some(output);
        }
        true
    }
}

/// What an executor does when no task can go on: hands interrupts over, and sleeps until the next deadline.
fn idle(machine: &Machine, chip: &Chip<'_, Loopback>) {
    machine.run();
    if machine.interrupt_raised() {
        chip.handle_interrupt();
        return;
    }
    let next = [machine.next_activity(), chip.next_deadline()].into_iter().flatten().min();
    let next = next.expect("a task waits for something that nobody will do");
    machine.pass(next.since(machine.now()).max(ms(1)));
    machine.run();
    if machine.interrupt_raised() {
        chip.handle_interrupt();
    }
    chip.poll();
}

/// Runs tasks to their ends. Those that are not woken are not polled. Polling them takes time, in which the device works.
fn run_tasks<T>(machine: &Machine, chip: &Chip<'_, Loopback>, mut tasks: Vec<Task<'_, T>>) -> Vec<T> {
    loop {
        let turned = tasks.iter_mut().map(Task::turn).filter(|turned| *turned).count();
        if tasks.iter().all(|task| task.output.is_some()) {
            return tasks.into_iter().map(|task| task.output.unwrap()).collect();
        }
        if turned == 0 {
            idle(machine, chip);
        } else {
            machine.pass(us(10));
            machine.pump(chip);
        }
    }
}

fn run<T>(machine: &Machine, chip: &Chip<'_, Loopback>, future: impl Future<Output = T>) -> T {
    run_tasks(machine, chip, vec![Task::new(future)]).pop().unwrap()
}

fn us(microseconds: u64) -> Duration {
    Duration::from_micros(microseconds)
}

/// Polls once, with a waker that nobody looks at.
fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Both protocols' devices.
fn machines() -> [Machine; 2] {
    [ratified(), draft()]
}

// --- requests ---------------------------------------------------------------------------------------------------------

#[test]
fn pins_do_for_tasks_what_they_do_for_callers() {
    for machine in machines() {
        with_chip(&machine, |chip| {
            run(&machine, chip, async {
                let line = chip.line_async(LineId(1)).await.unwrap();
                let mut led = line.into_output_async(Low).await.unwrap();
                assert_eq!(machine.line(LineId(1)).level(), Low);
                led.set_async(High).await.unwrap();
                assert_eq!(machine.line(LineId(1)).level(), High);
                assert_eq!(led.level_async().await, Ok(High));
                assert_eq!(led.level_set(), Some(High));
                let input = led.into_input_async().await.unwrap();
                assert_eq!(input.direction_async().await, Ok(Direction::Input));
                let led = input.into_output_async(High).await.unwrap();
                led.release_async().await.unwrap();
                let line = chip.line_async(LineId(1)).await.unwrap();
                assert!(line.direction_async().await.is_ok());
                let input = line.into_input_async().await.unwrap();
                input.release_async().await.unwrap();
                chip.line_async(LineId(1)).await.unwrap().release_async().await.unwrap();
                assert_eq!(
                    chip.line_async(LineId(LINES)).await.unwrap_err(),
                    Error::NoSuchLine { line: LineId(LINES), lines: LINES }
                );
                let held = chip.line_async(LineId(2)).await.unwrap();
                assert_eq!(chip.line_async(LineId(2)).await.unwrap_err(), Error::LineInUse(LineId(2)));
                drop(held);
            });
        });
    }
}

#[test]
fn what_the_device_refuses_is_an_error_and_the_pin_comes_back() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let line = chip.line(LineId(0)).unwrap();
        machine.tamper(REQUEST_QUEUE, [Tamper::Bytes(vec![1, 0])]);
        let rejected = run(&machine, chip, line.into_output_async(High)).unwrap_err();
        assert_eq!(rejected.error, Error::Refused);
        run(&machine, chip, rejected.pin.into_output_async(High)).unwrap();
    });
}

/// Requests that were queued go out together as soon as one of them is awaited.
#[test]
fn pending_requests_can_be_awaited() {
    for machine in machines() {
        with_chip(&machine, |chip| {
            let mut leds: Vec<_> = (0..4).map(|line| output(chip, line, Low)).collect();
            let pending: Vec<Pending<'_>> = leds.iter_mut().map(|led| led.queue_set(High).unwrap()).collect();
            let before = machine.notifications();
            let outcomes = run_tasks(&machine, chip, pending.into_iter().map(Task::new).collect());
            assert_eq!(outcomes, [Ok(()); 4]);
            if chip.protocol() == virtio_gpio::Protocol::Ratified {
                assert_eq!(machine.notifications() - before, 1);
            }
            assert!((0..4).all(|line| machine.line(LineId(line)).level() == High));

            let mut question = leds[0].start_level().unwrap();
            assert_eq!(run(&machine, chip, &mut question), Ok(High));
            assert_eq!(run(&machine, chip, &mut question), Err(Error::OutcomeUnknown), "it was taken before");
        });
    }
}

/// More tasks than there are request slots, and than can wait without taking turns.
#[test]
fn tasks_share_the_slots() {
    for (requests, tasks) in [(4, 8), (16, 60), (1, 3)] {
        let tasks = rounds(tasks) as usize;
        for machine in machines() {
            let plan = Plan { requests, ..Plan::default() };
            with_plan(&machine, &plan, |chip| {
                machine.set_latency(ms(2));
                let lines: Vec<_> = (0..LINES).map(|line| input(chip, line)).collect();
                let ask = |count: usize| Task::new(lines[count % lines.len()].level_async());
                let levels = run_tasks(&machine, chip, (0..tasks).map(ask).collect());
                assert_eq!(levels, vec![Ok(Low); tasks]);
            });
        }
    }
}

/// Nobody takes the results that fill the slots: waiting for one ends all the same.
#[test]
fn waiting_for_a_slot_ends() {
    let machine = ratified();
    with_plan(&machine, &Plan { requests: 4, ..Plan::default() }, |chip| {
        let led = output(chip, 0, Low);
        let _results: Vec<_> = std::iter::from_fn(|| led.start_level().ok()).collect();
        let before = machine.now();
        assert_eq!(run(&machine, chip, led.level_async()), Err(Error::Busy));
        assert!(machine.now().since(before) >= ms(1000));
    });
}

#[test]
fn a_task_hears_of_a_time_out() {
    for machine in machines() {
        with_chip(&machine, |chip| {
            let mut led = output(chip, 0, Low);
            machine.mute(LineId(0), true);
            assert_eq!(run(&machine, chip, led.set_async(High)), Err(Error::Timeout));
            machine.mute(LineId(0), false);
            machine.advance(chip, ms(5000));
            assert_eq!(run(&machine, chip, led.set_async(Low)), Ok(()));
        });
    }
}

/// A line whose watch ended too late, or without a word, is watched anew by the next wait.
#[test]
fn a_wait_does_not_rely_on_a_watch_that_is_being_ended() {
    for tamper in [Tamper::Drop, Tamper::Delay(ms(1100))] {
        let machine = ratified();
        with_chip(&machine, |chip| {
            let mut pin = watched(chip, 0, InterruptType::BothEdges);
            machine.tamper(REQUEST_QUEUE, [tamper]);
            assert_eq!(pin.watch(InterruptType::None), Err(Error::Timeout));
            let outside = machine.clone();
            machine.at(machine.now().after(ms(500)), move || outside.drive(LineId(0), Some(High)));
            assert_eq!(run(&machine, chip, pin.wait_for_rising_edge()), Ok(()));
        });
    }
}

/// Requests under way when the device is reset.
#[test]
fn a_task_hears_of_a_reset() {
    for machine in machines() {
        with_chip(&machine, |chip| {
            let mut led = output(chip, 0, Low);
            machine.stall(ms(10));
            let mut task = Task::new(led.set_async(High));
            assert!(task.turn() && task.output.is_none());
            machine.need_reset();
            machine.pump(chip);
            assert!(task.turn());
            assert_eq!(task.output, Some(Err(Error::OutcomeUnknown)));
            drop(task);
            machine.advance(chip, ms(5000));
            assert!(notices(chip).contains(&Notice::Recovered));
            assert_eq!(run(&machine, chip, led.set_async(High)), Ok(()));
        });
    }
}

// --- edges and levels ---------------------------------------------------------------------------------------------

/// Has a task wait, and the outside do something as soon as it sleeps.
fn wait_and<'f, T>(
    machine: &Machine,
    chip: &Chip<'_, Loopback>,
    wait: impl Future<Output = T> + 'f,
    levels: &[Level],
) -> Option<T> {
    let mut task = Task::new(wait);
    let settle = |task: &mut Task<'f, T>| {
        while task.turn() || machine.interrupt_raised() {
            machine.pump(chip);
        }
    };
    settle(&mut task);
    for &level in levels {
        assert!(task.output.is_none(), "nothing to wait for has happened yet");
        drive(machine, chip, 3, level);
        settle(&mut task);
    }
    task.output.take()
}

#[test]
fn edges_are_awaited() {
    for machine in machines() {
        with_chip(&machine, |chip| {
            let mut button = input(chip, 3);
            let done = Some(Ok(()));
            assert_eq!(wait_and(&machine, chip, button.wait_for_rising_edge(), &[High]), done);
            // It is high already: the next rising edge is two edges away.
            assert_eq!(wait_and(&machine, chip, button.wait_for_rising_edge(), &[Low, High]), done);
            assert_eq!(wait_and(&machine, chip, button.wait_for_falling_edge(), &[Low]), done);
            assert_eq!(wait_and(&machine, chip, button.wait_for_falling_edge(), &[High, Low]), done);
            assert_eq!(wait_and(&machine, chip, button.wait_for_any_edge(), &[High]), done);
            assert_eq!(wait_and(&machine, chip, button.wait_for_any_edge(), &[Low]), done);
            assert_eq!(wait_and(&machine, chip, button.wait_for_any_edge(), &[]), None);
            assert_eq!(events(chip), [], "they are the task's");
            assert_eq!(button.last_level(), Some(Low));
        });
    }
}

#[test]
fn levels_are_awaited() {
    for machine in machines() {
        with_chip(&machine, |chip| {
            let mut button = input(chip, 3);
            let done = Some(Ok(()));
            assert_eq!(wait_and(&machine, chip, button.wait_for_low(), &[]), done);
            assert_eq!(wait_and(&machine, chip, button.wait_for_high(), &[High]), done);
            assert_eq!(wait_and(&machine, chip, button.wait_for_high(), &[]), done);
            assert_eq!(wait_and(&machine, chip, button.wait_for_low(), &[Low]), done);
        });
    }
}

/// Edges between two waits do not count, and a level that comes while it is being asked for is not missed.
#[test]
fn only_what_comes_after_the_wait_began_counts() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let mut button = input(chip, 3);
        assert_eq!(wait_and(&machine, chip, button.wait_for_rising_edge(), &[High]), Some(Ok(())));
        drive(&machine, chip, 3, Low);
        drive(&machine, chip, 3, High);
        assert_eq!(wait_and(&machine, chip, button.wait_for_rising_edge(), &[]), None);

        drive(&machine, chip, 3, Low);
        // The device says low, and the line rises before that is heard.
        machine.tamper(REQUEST_QUEUE, [Tamper::Hold]);
        let mut task = Task::new(button.wait_for_high());
        assert!(task.turn());
        machine.run();
        drive(&machine, chip, 3, High);
        machine.release_held(false);
        machine.pump(chip);
        while task.turn() {
            machine.pump(chip);
        }
        assert_eq!(task.output, Some(Ok(())));
    });
}

/// A line is watched once, for both edges; each wait after that costs what its edges cost.
#[test]
fn a_line_is_watched_once() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let mut button = input(chip, 3);
        requests(&machine);
        assert_eq!(wait_and(&machine, chip, button.wait_for_rising_edge(), &[High]), Some(Ok(())));
        let line = LineId(3);
        let watch = Request::SetInterruptType(line, InterruptType::BothEdges);
        assert_eq!(requests(&machine), [Request::GetValue(line), watch, Request::GetValue(line)]);
        assert_eq!(wait_and(&machine, chip, button.wait_for_falling_edge(), &[Low]), Some(Ok(())));
        assert_eq!(requests(&machine), [Request::GetValue(line)], "which edge it was");
    });
}

/// A line that the application watches becomes the task's, and the application's again.
#[test]
fn a_line_goes_from_events_to_waits_and_back() {
    for machine in machines() {
        with_chip(&machine, |chip| {
            let mut button = watched(chip, 3, InterruptType::FallingEdge);
            assert_eq!(wait_and(&machine, chip, button.wait_for_rising_edge(), &[High]), Some(Ok(())));
            assert_eq!(events(chip), []);
            button.watch(InterruptType::BothEdges).unwrap();
            drive(&machine, chip, 3, Low);
            assert_eq!(events(chip).iter().map(|event| event.trigger).collect::<Vec<_>>(), [Trigger::Falling]);
            assert_eq!(wait_and(&machine, chip, button.wait_for_any_edge(), &[High]), Some(Ok(())));
            button.watch(InterruptType::RisingEdge).unwrap();
            drive(&machine, chip, 3, Low);
            drive(&machine, chip, 3, High);
            assert_eq!(events(chip).iter().map(|event| event.trigger).collect::<Vec<_>>(), [Trigger::Rising]);
        });
    }
}

/// The application does not take its events: tasks get theirs all the same.
#[test]
fn a_full_event_queue_holds_up_no_task() {
    for machine in machines() {
        with_plan(&machine, &Plan { events: 1, ..Plan::default() }, |chip| {
            let _other = watched(chip, 0, InterruptType::BothEdges);
            drive(&machine, chip, 0, High);
            let mut button = input(chip, 3);
            assert_eq!(wait_and(&machine, chip, button.wait_for_rising_edge(), &[High]), Some(Ok(())));
            assert_eq!(wait_and(&machine, chip, button.wait_for_falling_edge(), &[Low]), Some(Ok(())));
            assert_eq!(events(chip).len(), 1);
        });
    }
}

#[test]
fn events_are_awaited() {
    for machine in machines() {
        with_chip(&machine, |chip| {
            let _button = watched(chip, 3, InterruptType::BothEdges);
            for (level, trigger) in [(High, Trigger::Rising), (Low, Trigger::Falling)] {
                let event = wait_and(&machine, chip, chip.event_async(), &[level]).unwrap().unwrap();
                assert_eq!((event.line, event.trigger), (LineId(3), trigger));
            }
        });
    }
}

/// An edge that happens while the device is being reset.
#[test]
fn a_wait_outlasts_a_reset() {
    for machine in machines() {
        with_chip(&machine, |chip| {
            let mut button = input(chip, 3);
            let mut task = Task::new(button.wait_for_rising_edge());
            while task.turn() {
                machine.pump(chip);
            }
            machine.set_reset_time(Some(ms(50)));
            machine.need_reset();
            machine.pump(chip);
            assert!(chip.is_recovering());
            machine.drive(LineId(3), Some(High));
            machine.advance(chip, ms(5000));
            assert!(task.turn(), "the task was woken");
            assert_eq!(task.output, Some(Ok(())));
        });
    }
}

#[test]
fn a_wait_ends_with_its_chip() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let mut button = input(chip, 3);
        let mut tasks = [Task::new(button.wait_for_rising_edge())];
        while tasks[0].turn() {
            machine.pump(chip);
        }
        let mut event = Task::new(chip.event_async());
        assert!(event.turn());
        machine.need_reset_always(true);
        machine.need_reset();
        machine.advance(chip, ms(120_000));
        assert!(chip.has_failed());
        assert!(tasks[0].turn() && event.turn());
        assert_eq!(tasks[0].output, Some(Err(Error::ChipFailed)));
        assert_eq!(event.output, Some(Err(Error::ChipFailed)));
    });
}

#[test]
fn a_device_without_interrupts_says_so() {
    let options = DeviceOptions { interrupts: false, names: names(&[""]), ..DeviceOptions::default() };
    let machine = ratified_with(Settings::new(RATIFIED), options);
    with_chip(&machine, |chip| {
        let mut button = input(chip, 3);
        assert_eq!(run(&machine, chip, button.wait_for_high()), Err(Error::NoInterrupts));
    });
}

// --- dropping ---------------------------------------------------------------------------------------------------------

/// What a test of dropping has done so far, on the heap so that it can be dropped at any moment.
type Story<'f> = Pin<Box<dyn Future<Output = ()> + 'f>>;

/// Drops a story after each number of polls that it can take, with the last answer there, or held back by the device; and
/// looks whether everything is whole.
fn drop_everywhere(machine: fn() -> Machine, story: for<'f> fn(&'f Chip<'_, Loopback>) -> Story<'f>, held: bool) {
    let mut over = false;
    for polls in 0.. {
        let machine = machine();
        with_plan(&machine, &Plan { requests: 4, ..Plan::default() }, |chip| {
            let mut task = story(chip);
            for poll in 0..polls {
                if held && poll + 1 == polls {
                    machine.tamper_every(REQUEST_QUEUE, Some(Tamper::Hold));
                }
                over |= poll_once(task.as_mut()).is_ready();
                if over {
                    break;
                }
                machine.pump(chip);
            }
            drop(task);
            if held {
                machine.tamper_every(REQUEST_QUEUE, None);
                let mut other = output(chip, 7, Low);
                for level in [High, Low, High, Low, High] {
                    other.set(level).unwrap();
                    assert_eq!(machine.line(LineId(7)).level(), level);
                }
                machine.release_held(true);
            }
            machine.pump(chip);
            machine.advance(chip, ms(10));
            let resources = chip.resources();
            assert!(resources.is_at_rest(), "after {polls} polls: {resources:?}");
            // Nothing is left of it, and its line works.
            let mut button = chip.line(LineId(3)).unwrap().into_input().unwrap();
            button.watch(InterruptType::RisingEdge).unwrap();
            drive(&machine, chip, 3, High);
            assert_eq!(events(chip).len(), 1, "after {polls} polls");
            button.release().unwrap();
            let mut led = chip.line(LineId(3)).unwrap().into_output(Low).unwrap();
            led.set(High).unwrap();
        });
        if over {
            assert!(polls > 4, "there is something to drop");
            return;
        }
    }
}

/// Everything that can be awaited, one after the other: dropping this is dropping each of them.
fn everything<'f>(chip: &'f Chip<'_, Loopback>) -> Story<'f> {
    Box::pin(async {
        let line = chip.line_async(LineId(3)).await.unwrap();
        let _ = line.direction_async().await;
        let mut led = line.into_output_async(High).await.unwrap();
        led.set_async(Low).await.unwrap();
        let _ = led.queue_set(High).unwrap().await;
        let input = led.into_input_async().await.unwrap();
        let _ = input.level_async().await.unwrap();
        let led = input.into_output_async(Low).await.unwrap();
        led.release_async().await.unwrap();
    })
}

fn waits<'f>(chip: &'f Chip<'_, Loopback>) -> Story<'f> {
    Box::pin(async {
        let mut button = chip.line_async(LineId(3)).await.unwrap().into_input_async().await.unwrap();
        button.wait_for_low().await.unwrap();
        let _ = for_three_polls(button.wait_for_rising_edge()).await;
        let led = button.into_output_async(High).await.unwrap();
        let button = led.into_input_async().await.unwrap();
        button.release_async().await.unwrap();
    })
}

/// A line that the application has watched for something else.
fn other_waits<'f>(chip: &'f Chip<'_, Loopback>) -> Story<'f> {
    let mut button = watched(chip, 3, InterruptType::FallingEdge);
    Box::pin(async move {
        let _ = for_three_polls(button.wait_for_any_edge()).await;
        button.wait_for_low().await.unwrap();
        button.release_async().await.unwrap();
    })
}

/// Polls a future a few times and drops it, inside of another.
async fn for_three_polls<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut turns = 0;
    std::future::poll_fn(move |context| {
        turns += 1;
        match future.as_mut().poll(context) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending if turns == 3 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

const STORIES: [for<'f> fn(&'f Chip<'_, Loopback>) -> Story<'f>; 3] = [everything, waits, other_waits];

#[test]
fn whatever_is_awaited_can_be_dropped() {
    for story in STORIES {
        drop_everywhere(ratified, story, false);
        drop_everywhere(draft, story, false);
    }
}

/// While the device has what was dropped, other work goes on. (The draft has one request under way at a time.)
#[test]
fn whatever_is_dropped_stays_with_the_device() {
    for story in STORIES {
        drop_everywhere(ratified, story, true);
    }
}

/// What the device still has stays its own: the slot of a dropped request is not given to another.
#[test]
fn a_dropped_request_keeps_its_memory() {
    let machine = ratified();
    with_plan(&machine, &Plan { requests: 4, ..Plan::default() }, |chip| {
        let mut led = output(chip, 0, Low);
        machine.tamper_every(REQUEST_QUEUE, Some(Tamper::Hold));
        for _ in 0..2 {
            assert!(poll_once(pin!(led.set_async(High))).is_pending());
            machine.pump(chip);
        }
        machine.tamper_every(REQUEST_QUEUE, None);
        assert_eq!(chip.resources().requests, 2);
        // One slot is left for callers; whatever goes through it, the two stay where they are.
        for level in [Low, High, Low] {
            led.set(level).unwrap();
            assert_eq!(chip.resources().requests, 2);
        }
        assert_eq!(machine.line(LineId(0)).level(), Low);
        machine.release_held(true);
        machine.pump(chip);
        assert!(chip.resources().is_at_rest());
        assert_eq!(chip.statistics().oddities, 0, "an answer that nobody waits for is nothing odd");
    });
}

/// An interrupt type whose confirmation nobody waited for is taken back, and can be set anew.
#[test]
fn a_dropped_wait_leaves_nothing_watched() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let line = LineId(3);
        let mut button = input(chip, 3);
        requests(&machine);
        machine.tamper(REQUEST_QUEUE, [Tamper::Nothing, Tamper::Hold]);
        let mut task = Task::new(button.wait_for_rising_edge());
        while task.turn() {
            machine.pump(chip);
        }
        let both = Request::SetInterruptType(line, InterruptType::BothEdges);
        assert_eq!(requests(&machine), [Request::GetValue(line), both]);
        drop(task);
        machine.pump(chip);
        assert_eq!(requests(&machine), [Request::SetInterruptType(line, InterruptType::None)]);
        machine.release_held(false);
        machine.pump(chip);
        drive(&machine, chip, 3, High);
        assert_eq!(events(chip), []);
        assert_eq!(wait_and(&machine, chip, button.wait_for_falling_edge(), &[Low]), Some(Ok(())));
    });
}

/// A wait that was dropped while its line's interrupt type was under way, and what takes that back: the device has carried both
/// out, and never answers the first.
fn drop_an_unanswered_wait(machine: &Machine, chip: &Chip<'_, Loopback>, button: &mut Input<'_>) {
    machine.tamper(REQUEST_QUEUE, [Tamper::Nothing, Tamper::Drop]);
    let mut task = Task::new(button.wait_for_edge(None));
    while task.turn() {
        machine.pump(chip);
    }
    drop(task);
    machine.pump(chip);
}

/// What was dropped was taken back then. That it is still not answered when its time is up says nothing of what came behind.
#[test]
fn a_dropped_wait_that_is_never_answered_does_not_end_the_next_watch() {
    // Before the next watch begins; and how long the answers to its question and to what would end it take.
    for (time, late) in [(10, 0), (900, 0), (900, 300)] {
        let machine = ratified();
        with_chip(&machine, |chip| {
            let mut button = input(chip, 0);
            drop_an_unanswered_wait(&machine, chip, &mut button);
            machine.advance(chip, ms(time));
            machine.tamper(REQUEST_QUEUE, [Tamper::Delay(ms(late)), Tamper::Delay(ms(late))]);
            button.watch(InterruptType::RisingEdge).unwrap();
            machine.advance(chip, ms(2_000));
            assert_eq!(chip.statistics().timeouts, 1);
            drive(&machine, chip, 0, High);
            assert_eq!(events(chip).len(), 1, "{time} {late}");
        });
    }
}

#[test]
fn a_dropped_wait_that_is_never_answered_does_not_end_the_next_wait() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let mut button = input(chip, 0);
        drop_an_unanswered_wait(&machine, chip, &mut button);
        let outside = machine.clone();
        machine.at(machine.now().after(ms(2_000)), move || outside.drive(LineId(0), Some(High)));
        assert_eq!(run(&machine, chip, button.wait_for_rising_edge()), Ok(()));
    });
}

#[test]
fn a_dropped_request_lets_its_waker_go() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let mut led = output(chip, 1, Low);
        let alarm = Arc::new(Alarm::default());
        let waker = Waker::from(Arc::clone(&alarm));
        let mut request = led.start_set(High).unwrap();
        assert!(pin!(&mut request).poll(&mut Context::from_waker(&waker)).is_pending());
        drop(waker);
        assert_eq!(Arc::strong_count(&alarm), 2);
        drop(request);
        assert_eq!(Arc::strong_count(&alarm), 1);
    });
}

// --- wakers -----------------------------------------------------------------------------------------------------------

/// A waker may be the last to hold its task: dropping it drops the task's pins, which call the chip.
#[test]
#[cfg_attr(miri, ignore = "leaks its chip on purpose")]
fn a_waker_may_drop_pins() {
    struct Owner(#[expect(dead_code, reason = "held to be dropped")] Output<'static>);
    impl Wake for Owner {
        fn wake(self: Arc<Self>) {}
    }
    let machine = ratified();
    // A waker borrows nothing.
    let bench = Box::leak(Box::new(Bench::new()));
    let chip = Box::leak(Box::new(bench.chip(&machine, &Plan::default()).unwrap()));
    let mut button = input(chip, 3);
    let waker = Waker::from(Arc::new(Owner(output(chip, 0, Low))));
    let mut wait = Box::pin(button.wait_for_rising_edge());
    let mut messages = 0;
    while std::mem::replace(&mut messages, chip.statistics().messages) != messages {
        assert!(wait.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        machine.pump(chip);
    }
    drop(waker);
    assert_eq!(chip.line(LineId(0)).unwrap_err(), Error::LineInUse(LineId(0)), "the chip holds it");
    drive(&machine, chip, 3, High);
    assert!(chip.line(LineId(0)).is_ok(), "it was woken, and let go of");
    assert_eq!(machine.violations(), Vec::<String>::new());
}

/// Each of many waits is woken by its own edge alone.
#[test]
fn each_edge_wakes_its_own_task() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let mut buttons: Vec<_> = (0..4).map(|line| input(chip, line)).collect();
        let done = Rc::new(RefCell::new(Vec::new()));
        let mut tasks: Vec<Task<'_, ()>> = buttons
            .iter_mut()
            .map(|button| {
                let done = Rc::clone(&done);
                Task::new(async move {
                    button.wait_for_rising_edge().await.unwrap();
                    done.borrow_mut().push(button.id().0);
                })
            })
            .collect();
        while tasks.iter_mut().map(Task::turn).filter(|turned| *turned).count() > 0 {
            machine.pump(chip);
        }
        for line in [2, 0, 3, 1] {
            drive(&machine, chip, line, High);
            let turned: Vec<bool> = tasks.iter_mut().map(Task::turn).collect();
            assert_eq!(turned.iter().filter(|turned| **turned).count(), 1, "one task was woken");
        }
        assert_eq!(*done.borrow(), [2, 0, 3, 1]);
    });
}

/// The event queue belongs to the driver's own protocol: tasks do not change what is in it.
#[test]
fn an_event_without_an_interrupt_wakes_nobody() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let mut button = input(chip, 3);
        let mut task = Task::new(button.wait_for_any_edge());
        while task.turn() {
            machine.pump(chip);
        }
        machine.tamper(EVENT_QUEUE, [Tamper::Bytes(vec![0])]);
        drive(&machine, chip, 3, High);
        assert!(!task.turn());
    });
}

/// Whether they were handled before it or not.
#[test]
fn edges_before_a_wait_do_not_count() {
    for seen in [false, true] {
        let machine = ratified();
        with_chip(&machine, |chip| {
            let mut context = Context::from_waker(Waker::noop());
            let mut pin = input(chip, 0);
            {
                let mut wait = pin!(pin.wait_for_edge(None));
                for _ in 0..5 {
                    assert!(wait.as_mut().poll(&mut context).is_pending());
                    machine.pump(chip);
                }
                drive(&machine, chip, 0, High);
                assert_eq!(wait.as_mut().poll(&mut context), Poll::Ready(Ok(())));
            }
            machine.drive(LineId(0), Some(Low));
            machine.run();
            if seen {
                chip.handle_interrupt();
            }
            let mut wait = pin!(pin.wait_for_edge(None));
            for _ in 0..5 {
                assert!(wait.as_mut().poll(&mut context).is_pending(), "handled: {seen}");
                machine.pump(chip);
            }
            drive(&machine, chip, 0, High);
            assert_eq!(wait.as_mut().poll(&mut context), Poll::Ready(Ok(())));
        });
    }
}

/// The first of two messages is with the device.
#[test]
fn a_conversion_that_is_dropped_half_way_is_not_finished() {
    let machine = ratified();
    with_chip(&machine, |chip| {
        let line = chip.line(LineId(0)).unwrap();
        requests(&machine);
        machine.tamper(REQUEST_QUEUE, [Tamper::Hold]);
        let mut conversion = Box::pin(line.into_output_async(High));
        assert!(conversion.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        machine.run();
        drop(conversion);
        machine.pump(chip);
        machine.release_held(false);
        machine.advance(chip, ms(10));
        let seen = requests(&machine);
        assert_eq!(seen.last(), Some(&Request::SetDirection(LineId(0), Direction::None)), "{seen:?}");
    });
}

/// Each finds the place free while the other is on its way there.
#[test]
fn two_waits_that_begin_together_do_not_share_one_place() {
    let machine = ratified();
    let mut plan = Plan::default();
    plan.options.event_queue_size = 2;
    with_plan(&machine, &plan, |chip| {
        let mut context = Context::from_waker(Waker::noop());
        let mut pins = [input(chip, 0), input(chip, 1)];
        let mut waits: Vec<_> = pins.iter_mut().map(|pin| Some(Box::pin(pin.wait_for_edge(None)))).collect();
        let mut results = [None, None];
        for _ in 0..10 {
            for (wait, result) in waits.iter_mut().zip(&mut results) {
                if let Some(future) = wait
                    && let Poll::Ready(ready) = future.as_mut().poll(&mut context)
                {
                    *result = Some(ready);
                    *wait = None;
                }
            }
            machine.pump(chip);
        }
        assert_eq!(results, [None, Some(Err(Error::TooManyWatched { limit: 1 }))]);
    });
}
