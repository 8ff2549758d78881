//! The default application's work as tasks, on `embassy-executor`: on each chip, `led0` blinks and the edges of `button0` are
//! logged until the line `end` is high.
//!
//! What an executor needs of the image is in `run`: poll the tasks that were woken, let the chips do what is due, and sleep
//! until an interrupt or the next deadline. Nothing else in here knows of interrupts or of the executor.
#![cfg_attr(target_os = "none", no_std, no_main)]

use core::cell::{Cell, RefCell};
use core::future::poll_fn;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use core::task::{Poll, Waker};
use core::time::Duration;

use critical_section::Mutex;
use embassy_executor::raw::Executor;
use embassy_futures::select::{Either, select};
use guest::app::chips::{self, StaticChip, Wishes};
use guest::platform::time::{Clock, Instant, SystemClock, idle_until};
use guest::platform::{ExitCode, Machine};
use heapless::Vec;
use log::{LevelFilter, debug, error, info, warn};
use static_cell::StaticCell;
use virtio_gpio::{Error, Level, Line, LineId};

guest::entry!(run);

/// Deadline of one request: long, because what is not done by then at the start is not tried again.
const TIMEOUT: Duration = Duration::from_secs(4);
const HALF_PERIOD: Duration = Duration::from_millis(20);
/// Between two tries while the device is being reset.
const PAUSE: Duration = Duration::from_millis(10);
/// Chips that there are tasks for.
const CHIPS: usize = 4;
/// The longest sleep.
const LONG: Duration = Duration::from_hours(1);

/// A task was woken since the executor last looked.
static WOKEN: AtomicBool = AtomicBool::new(false);
static RUNNING: AtomicUsize = AtomicUsize::new(0);
static FAILED: AtomicBool = AtomicBool::new(false);
static ALARMS: Mutex<RefCell<Alarms>> = Mutex::new(RefCell::new(Alarms(Vec::new())));

/// How the executor says that one of its tasks was woken.
// SAFETY: the name and the signature are those that `embassy-executor` documents, and nothing else has that name.
#[unsafe(export_name = "__pender")]
fn pender(_context: *mut ()) {
    WOKEN.store(true, Ordering::Release);
}

fn run(machine: &'static Machine) -> ExitCode {
    static EXECUTOR: StaticCell<Executor> = StaticCell::new();
    log::set_max_level(LevelFilter::Debug);
    let found = chips::find(machine, Wishes { timeout: TIMEOUT, protocol: None });
    let executor = EXECUTOR.init(Executor::new(core::ptr::null_mut()));
    let spawner = executor.spawner();
    for (number, &chip) in found.chips.iter().enumerate() {
        match serve(number, chip) {
            Ok(task) => {
                RUNNING.fetch_add(1, Ordering::Relaxed);
                spawner.spawn(task);
            }
            Err(error) => warn!("gpio{number} has no task: {error:?}"),
        }
    }
    if RUNNING.load(Ordering::Relaxed) == 0 {
        error!("there is no GPIO device on this machine");
        return ExitCode::Failure;
    }
    while RUNNING.load(Ordering::Relaxed) > 0 {
        while WOKEN.swap(false, Ordering::Acquire) {
            // SAFETY: the executor was made by `Executor::new` and does not move; it is polled here alone, and never from
            // inside of itself, because `pender` does not.
            unsafe { executor.poll() };
        }
        let now = SystemClock.now();
        for chip in found.chips {
            chip.poll();
            while let Some(notice) = chip.next_notice() {
                warn!("{notice:?}");
            }
        }
        let alarm = ring(now);
        let deadlines = found.chips.iter().filter_map(|chip| chip.next_deadline()).chain(alarm);
        let next = deadlines.min().unwrap_or(now.after(LONG));
        let at_rest = || !WOKEN.load(Ordering::Acquire) && found.chips.iter().all(|chip| chip.is_idle());
        idle_until(next, &|| RUNNING.load(Ordering::Relaxed) > 0 && at_rest());
    }
    if FAILED.load(Ordering::Relaxed) { ExitCode::Failure } else { ExitCode::Success }
}

// --- the application ------------------------------------------------------------------------------------------------

#[embassy_executor::task(pool_size = CHIPS)]
async fn serve(number: usize, chip: StaticChip) {
    let (blinks, edges) = (Cell::new(0u32), Cell::new(0u32));
    if let Err(error) = until_the_end(number, chip, &blinks, &edges).await {
        error!("gpio{number}: {error}");
        FAILED.store(true, Ordering::Relaxed);
    }
    info!("gpio{number}: summary blinks={} edges={}", blinks.get(), edges.get());
    RUNNING.fetch_sub(1, Ordering::Relaxed);
}

/// Whatever the two others are at when `end` rises is dropped there, pins and all: the driver releases their lines.
async fn until_the_end(number: usize, chip: StaticChip, blinks: &Cell<u32>, edges: &Cell<u32>) -> Result<(), Error> {
    let mut end = line(chip, "end").await?.into_input_async().await.map_err(|rejected| rejected.error)?;
    let work = select(blink(number, chip, blinks), watch(number, chip, edges));
    let ended = async {
        while !passes(end.wait_for_level(Level::High).await)? {
            sleep_until(SystemClock.now().after(PAUSE)).await;
        }
        Ok(())
    };
    match select(ended, work).await {
        Either::First(ended) => ended?,
        // They end by errors alone.
        Either::Second(Either::First(failed) | Either::Second(failed)) => failed?,
    }
    // Requests of a chip are carried out in order: behind this one, the others' lines are released as well.
    end.release_async().await
}

async fn blink(number: usize, chip: StaticChip, count: &Cell<u32>) -> Result<(), Error> {
    let mut led = line(chip, "led0").await?.into_output_async(Level::Low).await.map_err(|rejected| rejected.error)?;
    let mut beat = SystemClock.now();
    let mut level = Level::Low;
    loop {
        level = level.toggled();
        if passes(led.set_async(level).await)? {
            debug!("blink gpio{number}:{} led0 level={level}", led.id());
            count.set(count.get().saturating_add((level == Level::High).into()));
        } else {
            beat = SystemClock.now();
        }
        beat = beat.after(HALF_PERIOD);
        sleep_until(beat).await;
    }
}

/// Waits for levels rather than for edges: so the next one is not missed while this one is being logged.
async fn watch(number: usize, chip: StaticChip, count: &Cell<u32>) -> Result<(), Error> {
    let mut button = line(chip, "button0").await?.into_input_async().await.map_err(|rejected| rejected.error)?;
    let mut next = Level::High;
    loop {
        if !passes(button.wait_for_level(next).await)? {
            sleep_until(SystemClock.now().after(PAUSE)).await;
            continue;
        }
        count.set(count.get().saturating_add(1));
        let edge = if next == Level::High { "rising" } else { "falling" };
        info!("edge gpio{number}:{} button0 {edge} level={next} count={}", button.id(), count.get());
        next = next.toggled();
    }
}

/// Whether it was done. What a reset of the device has kept from being done is left for the next time.
fn passes(result: Result<(), Error>) -> Result<bool, Error> {
    match result {
        Ok(()) => Ok(true),
        Err(error @ (Error::Timeout | Error::OutcomeUnknown | Error::Recovering | Error::Busy)) => {
            warn!("{error}");
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

async fn line(chip: StaticChip, name: &str) -> Result<Line<'static>, Error> {
    let missing = Error::NoSuchLine { line: LineId(chip.lines()), lines: chip.lines() };
    let line = chip.find(name).ok_or(missing).inspect_err(|_| error!("there is no line \"{name}\""))?;
    chip.line_async(line).await
}

// --- time -----------------------------------------------------------------------------------------------------------

/// Tasks that sleep, and until when. One that finds no place is woken at once, and asks again.
struct Alarms(Vec<(Instant, Waker), { 4 * CHIPS }>);

async fn sleep_until(time: Instant) {
    poll_fn(|context| {
        if SystemClock.now() >= time {
            return Poll::Ready(());
        }
        let refused = critical_section::with(|section| {
            ALARMS.borrow_ref_mut(section).0.push((time, context.waker().clone())).err()
        });
        if let Some((_, waker)) = refused {
            waker.wake();
        }
        Poll::Pending
    })
    .await;
}

/// Wakes those whose time has come. Gives the time of the next one.
fn ring(now: Instant) -> Option<Instant> {
    let due = |(time, _): &(Instant, Waker)| now >= *time;
    loop {
        let (waker, next) = critical_section::with(|section| {
            let alarms = &mut ALARMS.borrow_ref_mut(section).0;
            let place = alarms.iter().position(due);
            (place.map(|place| alarms.swap_remove(place).1), alarms.iter().map(|(time, _)| *time).min())
        });
        match waker {
            Some(waker) => waker.wake(),
            None => return next,
        }
    }
}
