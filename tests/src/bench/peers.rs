//! The guests that are compared. Each is booted in front of a device of its own, and measures in one go.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use hil::scene::{PATIENCE, Running, Scene, Setting, command, presentation};
use serde::{Deserialize, Serialize};
use vgpio::world::Stimulus;
use virtio_gpio::Protocol;

use crate::arguments::Effort;
use crate::rows::Row;
use crate::world::{self, ANSWER, EDGES, INPUT, Stopwatch};

/// A guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Peer {
    /// This project's driver.
    Ours,
    /// The same, in front of a device of the draft.
    OursDraft,
    /// The crate `virtio-drivers`' queue, with the least that a client needs.
    VirtioDrivers,
    /// Linux's driver, through its character device.
    Linux,
}

impl Peer {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::OursDraft => "ours, draft",
            Self::VirtioDrivers => "virtio-drivers",
            Self::Linux => "Linux",
        }
    }

    const fn protocol(self) -> Protocol {
        match self {
            Self::OursDraft => Protocol::Draft,
            Self::Ours | Self::VirtioDrivers | Self::Linux => Protocol::Ratified,
        }
    }

    /// A scene in which this guest will carry out `words`.
    pub(crate) fn scene(self, board: &'static str, words: &str) -> anyhow::Result<Scene> {
        let setting = Setting { board, modern: true };
        let shown = presentation(&command(setting)?, self.protocol())?;
        let scene = Scene::new(setting, vec![(world::chip(self.protocol())?, shown)])?.without_trace();
        if self == Self::Linux {
            return scene.linux(words);
        }
        let image = self.image(board);
        ensure!(image.is_file(), "There is no image at {}: run scripts/build --examples", image.display());
        Ok(scene.append(words).with_command(|mut command| {
            command.image = image;
            command
        }))
    }

    fn image(self, board: &str) -> PathBuf {
        let images = vgpio::qemu::board::project().join("target/images").join(board);
        images.join(if self == Self::VirtioDrivers {
            "examples/bench_virtio_drivers.elf"
        } else {
            "examples/bench.elf"
        })
    }

    /// What its users have to load: for this project the whole application, not the benchmark.
    fn size(self, board: &'static str) -> anyhow::Result<Option<u64>> {
        let file = match self {
            Self::Ours => vgpio::qemu::board::Board::load(board)?.image().with_extension("bin"),
            Self::Linux => hil::linux::kernel(board)?,
            Self::OursDraft | Self::VirtioDrivers => return Ok(None),
        };
        let size = fs::metadata(&file).with_context(|| format!("Cannot look at {}", file.display()))?.len();
        Ok(Some(size))
    }

    /// The words that make it measure; counting edges comes last.
    fn words(self, effort: Effort) -> String {
        let calls = |calls: u32| calls / effort.divisor;
        let (single, by8, by32, by256) = (calls(5000), calls(2000), calls(500), calls(60).max(12));
        let (stream, turns, edges, rounds) = (calls(20_000), calls(1000), calls(400), ROUNDS);
        match self {
            Self::Ours | Self::OursDraft => format!(
                "set:1:{single} get:{single} set:8:{by8} set:32:{by32} set:256:{by256} stream:{stream} direction:{turns} \
                 react:{INPUT}:{ANSWER}:{edges} count:{EDGES}:{QUIET}:{rounds}"
            ),
            Self::VirtioDrivers => format!("set:1:{single} get:{single} set:8:{by8} set:32:{by32}"),
            Self::Linux => format!(
                "request:0:out bench:set:0:{single} bench:get:0:{single} bench:direction:0:{turns} release:0 \
                 request:0-7:out bench:set:1:{by8} release:1 request:0-31:out bench:set:2:{by32} release:2 \
                 request:0-63:out request:64-127:out request:128-191:out request:192-255:out bench:set:3-6:{by256} \
                 request:{INPUT}:both request:{ANSWER}:out:0 react:7:8:{edges} release:7 release:8 \
                 request:{EDGES}:both count:9:{QUIET}:{rounds}"
            ),
        }
    }
}

/// How long a guest waits for another edge before it tells what it has counted, in milliseconds.
const QUIET: u32 = 150;
/// How often the rate of edges is halved between one that is too fast and one that is not.
const ROUNDS: u32 = 9;
/// The rates between which the one is searched for, a second.
const RATES: [f64; 2] = [500.0, 250_000.0];
/// For how long the edges of one rate come.
const BURST: Duration = Duration::from_millis(150);
/// Edges that may be merged: a host's own pauses are longer than a period of some of the rates.
const LOSS: f64 = 0.02;

/// Boots a guest and lets it measure.
pub(crate) fn measure(peer: Peer, board: &'static str, effort: Effort) -> anyhow::Result<Vec<(Row, f64)>> {
    let stopwatch = Stopwatch::default();
    let watch = stopwatch.clone();
    let scene = peer.scene(board, &peer.words(effort))?.with_world(|world| {
        world.watch(watch);
        world::wire(world)
    })?;
    let mut figures = Vec::new();
    let begin = Instant::now();
    let mut running = scene.start()?;
    if peer == Peer::Ours {
        running.expect_line("guest ")?;
        figures.push((Row::BootQemu, begin.elapsed().as_secs_f64() * 1e3));
    }
    if peer != Peer::VirtioDrivers {
        // Everything else has been measured by then.
        running.expect_line(if peer == Peer::Linux { "linux: request 9" } else { "count ready" })?;
        if let Some(bytes) = memory_in_use(running.guest.id()) {
            figures.push((Row::MemoryUsed, bytes / 1024.0));
        }
        figures.push((Row::Edges, most_edges(&running)?));
    }
    running.expect_exit(0)?;
    let first = stopwatch.first_request().context("There was no request")?;
    figures.push((Row::Boot, first.duration_since(begin).as_secs_f64() * 1e3));
    let (half, most) = median_and_most(stopwatch.reactions());
    let (awake, _) = median_and_most(stopwatch.wakings());
    let reaction = [(Row::ReactionHalf, half), (Row::ReactionMost, most), (Row::ReactionAwake, awake)];
    figures.extend(reaction.into_iter().filter_map(|(row, time)| Some((row, time?))));
    if let Some(size) = peer.size(board)? {
        figures.push((Row::ImageSize, precise(size) / 1024.0));
    }
    for line in running.console.lines() {
        if let Some((_, figure)) = line.split_once("bench ") {
            figures.extend(Measured::parse(figure).with_context(|| format!("Cannot read {line:?}"))?.rows());
        }
    }
    Ok(figures)
}

/// What a guest has measured: `set lines=1 calls=5000 nanoseconds=… p50=… p99=…`.
struct Measured {
    what: String,
    lines: f64,
    calls: f64,
    seconds: f64,
    half: f64,
    most: f64,
}

impl Measured {
    fn parse(text: &str) -> Option<Self> {
        let (what, words) = text.split_once(' ')?;
        let value = |key: &str| -> Option<f64> {
            let mut values = words.split(' ').filter_map(|word| word.split_once('='));
            values.find(|(name, _)| *name == key)?.1.parse().ok()
        };
        Some(Self {
            what: what.to_owned(),
            lines: value("lines")?,
            calls: value("calls")?,
            seconds: value("nanoseconds")? / 1e9,
            half: value("p50")? / 1e3,
            most: value("p99")? / 1e3,
        })
    }

    fn rows(&self) -> Vec<(Row, f64)> {
        let calls = self.calls / self.seconds;
        let writes = calls * self.lines;
        let lines = self.lines.to_string();
        match (self.what.as_str(), lines.as_str()) {
            ("set", "1") => vec![(Row::SetRate, calls), (Row::SetHalf, self.half), (Row::SetMost, self.most)],
            ("set", "8") => vec![(Row::Set8, writes)],
            ("set", "32") => vec![(Row::Set32, writes)],
            ("set", _) => vec![(Row::Set256, writes)],
            ("get", _) => vec![(Row::GetRate, calls), (Row::GetHalf, self.half), (Row::GetMost, self.most)],
            ("stream", _) => vec![(Row::Stream, writes)],
            ("direction", _) => vec![(Row::Direction, calls)],
            _ => Vec::new(),
        }
    }
}

/// The median and the 99th percentile, in microseconds.
fn median_and_most(mut times: Vec<Duration>) -> (Option<f64>, Option<f64>) {
    times.sort_unstable();
    let at = |percent: usize| times.get(times.len() * percent / 100).map(|time| time.as_secs_f64() * 1e6);
    (at(50), at(99))
}

/// Searches for the highest rate of edges that are all reported.
fn most_edges(running: &Running) -> anyhow::Result<f64> {
    let devices = running.devices.as_ref().context("There are no devices")?;
    let [mut good, mut bad] = RATES;
    for round in 0..ROUNDS {
        let rate = (good * bad).sqrt();
        let cycles = (BURST.as_secs_f64() * rate / 2.0).ceil();
        let period = Duration::from_secs_f64(2.0 / rate);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small whole number")]
        let clock = Stimulus::Clock { period, cycles: Some(cycles as u64) };
        devices.with(move |world, now| world.stimulate(now, world::place(EDGES), clock))??;
        let line = running
            .console
            .wait_for(PATIENCE, &format!("count round={round} "))
            .with_context(|| format!("{rate:.0} edges a second"))?;
        let counted = line.split_once("edges=").and_then(|(_, rest)| rest.split(' ').next());
        let counted: f64 = counted.and_then(|edges| edges.parse().ok()).with_context(|| format!("In {line:?}"))?;
        if counted >= 2.0 * cycles * (1.0 - LOSS) {
            good = rate;
        } else {
            bad = rate;
        }
    }
    Ok(good)
}

/// Bytes of guest memory that QEMU has in use: those that the guest has ever touched, and what was loaded for it.
fn memory_in_use(qemu: u32) -> Option<f64> {
    let maps = fs::read_to_string(format!("/proc/{qemu}/smaps")).ok()?;
    let mut in_memory = false;
    let mut kibibytes = 0.0;
    for line in maps.lines() {
        if line.split(' ').next().is_some_and(|range| range.contains('-')) {
            in_memory = line.contains("memory-backend-memfd");
        } else if in_memory && let Some(rest) = line.strip_prefix("Rss:") {
            kibibytes += rest.trim().trim_end_matches(" kB").parse::<f64>().ok()?;
        }
    }
    (kibibytes > 0.0).then_some(kibibytes * 1024.0)
}

#[expect(clippy::cast_precision_loss, reason = "sizes of files are far below 2^52")]
fn precise(number: u64) -> f64 {
    number as f64
}
