//! What a request does to the simulated world.

use std::time::{Duration, Instant};

use virtio_gpio::messages::Level;

use super::hub::{Client, Subscription, Wait};
use super::message::{Answer, ChipState, Edges, ErrorKind, Id, LineState, Protocol, Request, Topic, VERSION};
use super::switchboard::Switchboard;
use crate::chip::{Chip, Model};
use crate::world::{Place, PlaceError, Stimulus, World};

/// Why a request was not carried out.
struct Refusal(ErrorKind, String);

/// Carries out a request of a client and answers it, at once or when what it waits for has happened.
pub(crate) fn perform(
    board: &Switchboard,
    client: Client,
    (world, now): (&mut World, Duration),
    id: Option<Id>,
    request: Result<Request, String>,
) {
    let attempt = request.map_err(|message| Refusal(ErrorKind::BadRequest, message));
    let answer = attempt.and_then(|request| Performance { board, client, id, now, world }.perform(request));
    match answer {
        Ok(Some(answer)) => board.hub.answer(client, id, now, answer),
        Ok(None) => {}
        Err(Refusal(kind, message)) => board.hub.answer(client, id, now, Answer::Error { kind, message }),
    }
}

/// One request being carried out.
struct Performance<'a> {
    board: &'a Switchboard,
    client: Client,
    id: Option<Id>,
    now: Duration,
    world: &'a mut World,
}

impl Performance<'_> {
    /// The answer, unless it was given already or is given later.
    fn perform(mut self, request: Request) -> Result<Option<Answer>, Refusal> {
        let hub = &self.board.hub;
        Ok(Some(match request {
            Request::Hello { version } => hello(version, self.board.keyboard.is_some())?,
            Request::Info {} => Answer::Info { chips: info(self.world) },
            Request::Get { line } => Answer::Get(self.state(self.find(&line)?)?),
            Request::Set { line, level } => Answer::Set(self.drive(&line, Some(level.0))?),
            Request::Release { line } => Answer::Release(self.drive(&line, None)?),
            Request::Pulse { line, level, width } => {
                let width = duration(&width)?;
                Answer::Pulse(self.stimulate(&line, Stimulus::Pulse { level: level.0, width })?)
            }
            Request::Clock { line, period, cycles } => {
                let period = duration(&period)?;
                Answer::Clock(self.stimulate(&line, Stimulus::Clock { period, cycles })?)
            }
            Request::Pwm { line, period, high, cycles } => {
                let (period, high) = (duration(&period)?, duration(&high)?);
                Answer::Pwm(self.stimulate(&line, Stimulus::Pwm { period, high, cycles })?)
            }
            Request::Bounce { line, level, over, changes, seed } => {
                let over = duration(&over)?;
                Answer::Bounce(self.stimulate(&line, Stimulus::Bounce { to: level.0, over, changes, seed })?)
            }
            Request::Wait { line, edge, timeout } => {
                self.wait(&line, edge, timeout.as_deref())?;
                return Ok(None);
            }
            Request::Subscribe { events, lines, since } => {
                self.subscribe(events, lines, since)?;
                return Ok(None);
            }
            Request::Unsubscribe {} => {
                hub.subscribe(self.client, None, None);
                Answer::Unsubscribe {}
            }
            Request::WriteSerial { text } => self.type_in(text)?,
            Request::Stall { chip, on } => self.stall(chip, on)?,
            Request::Mute { line, on } => self.mute(&line, on)?,
            Request::Quit {} => {
                (self.board.quit)();
                Answer::Quit {}
            }
        }))
    }

    fn find(&self, line: &str) -> Result<Place, Refusal> {
        self.world.find(line).map_err(|error| refused(&error))
    }

    fn state(&self, place: Place) -> Result<LineState, Refusal> {
        let state = LineState::of(self.world.chips(), place);
        state.ok_or_else(|| Refusal(ErrorKind::UnknownLine, "There is no such line".to_owned()))
    }

    fn drive(&mut self, line: &str, level: Option<Level>) -> Result<LineState, Refusal> {
        let place = self.find(line)?;
        let driven = self.world.drive(self.now, place, level);
        driven.map_err(|error| refused(&error))?;
        self.state(place)
    }

    fn stimulate(&mut self, line: &str, stimulus: Stimulus) -> Result<LineState, Refusal> {
        let place = self.find(line)?;
        let begun = self.world.stimulate(self.now, place, stimulus);
        begun.map_err(|error| refused(&error))?;
        self.state(place)
    }

    fn wait(&self, line: &str, edges: Edges, timeout: Option<&str>) -> Result<(), Refusal> {
        let timeout = timeout.map(duration).transpose()?;
        // A time that no clock can show is as good as for ever.
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let wait = Wait { id: self.id, place: self.find(line)?, edges, deadline };
        if self.board.hub.wait(self.client, wait) {
            return Ok(());
        }
        Err(Refusal(ErrorKind::TooMany, "too many requests of this client are waiting".to_owned()))
    }

    /// The answer comes before what is repeated.
    fn subscribe(&self, topics: Vec<Topic>, lines: Option<Vec<String>>, since: Option<u64>) -> Result<(), Refusal> {
        let places = lines.map(|lines| lines.iter().map(|line| self.find(line)).collect()).transpose()?;
        self.board.hub.answer(self.client, self.id, self.now, Answer::Subscribe {});
        self.board.hub.subscribe(self.client, Some(Subscription { topics, places }), since);
        Ok(())
    }

    fn type_in(&self, text: String) -> Result<Answer, Refusal> {
        let Some(keyboard) = &self.board.keyboard else {
            let message = "there is no console here: only `vgpio run` has one".to_owned();
            return Err(Refusal(ErrorKind::NotHere, message));
        };
        if keyboard.type_in(text) {
            return Ok(Answer::WriteSerial {});
        }
        Err(Refusal(ErrorKind::TooMany, "the guest does not read what was typed before".to_owned()))
    }

    fn stall(&mut self, number: usize, on: bool) -> Result<Answer, Refusal> {
        let chips = self.world.chips().len();
        let message = || format!("There is no chip {number}; there are {chips}, counted from 0");
        let chip = self.world.chip_mut(number).ok_or_else(|| Refusal(ErrorKind::UnknownChip, message()))?;
        chip.set_stalled(on);
        Ok(Answer::Stall {})
    }

    fn mute(&mut self, line: &str, on: bool) -> Result<Answer, Refusal> {
        let place = self.find(line)?;
        if let Some(chip) = self.world.chip_mut(place.chip) {
            chip.set_mute(place.line, on);
        }
        Ok(Answer::Mute {})
    }
}

fn refused(error: &PlaceError) -> Refusal {
    let kind = match error {
        _ if error.is_forbidden() => ErrorKind::NotAllowed,
        _ if error.is_refused() => ErrorKind::HostRefused,
        _ => ErrorKind::UnknownLine,
    };
    Refusal(kind, error.to_string())
}

fn hello(version: Option<u32>, console: bool) -> Result<Answer, Refusal> {
    if let Some(version) = version.filter(|version| *version != VERSION) {
        let message = format!("this is version {VERSION} of the messages, not {version}");
        return Err(Refusal(ErrorKind::BadVersion, message));
    }
    let program = concat!("vgpio ", env!("CARGO_PKG_VERSION")).to_owned();
    Ok(Answer::Hello { version: VERSION, program, console })
}

fn info(world: &World) -> Vec<ChipState> {
    let chips = world.chips();
    let describe = |(number, chip): (usize, &Chip)| {
        let lines = chip.bank().lines();
        let lines = lines.filter_map(|(line, _)| LineState::of(chips, Place { chip: number, line })).collect();
        let protocol = match chip.model {
            Model::Ratified(_) => Protocol::Ratified,
            Model::Draft(_) => Protocol::Draft,
        };
        ChipState { chip: number, protocol, lines }
    };
    chips.iter().enumerate().map(describe).collect()
}

fn duration(text: &str) -> Result<Duration, Refusal> {
    crate::duration::parse(text).map_err(|message| Refusal(ErrorKind::BadRequest, message))
}
