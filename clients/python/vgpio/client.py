"""A client of the control socket."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections import deque
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Any, Callable, Dict, Iterator, List, Mapping, Optional, Tuple, Type, TypeVar, Union

VERSION = 1
"""The version of the messages that this client speaks."""

_REMEMBERED = 100_000
_SHOWN = 15

Json = Dict[str, Any]
T = TypeVar("T")


class Refused(Exception):
    """The simulation did not carry out a request."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        """Why, for a program: one of the kinds of docs/control.md."""


class TimedOut(AssertionError):
    """What was waited for did not happen in time. The message has the last lines of the guest's console."""


class Ended(Exception):
    """The simulation has ended."""


@dataclass(frozen=True)
class Line:
    """What a line is like."""

    chip: int
    line: int
    name: str
    """Empty if it has none."""
    direction: str
    """What the guest uses it for: "none", "input" or "output"."""
    level: int
    """0 or 1."""
    driver: str
    """Who determines the level: "guest", "outside" or "nobody"."""
    outside: Optional[int]
    """What the outside drives it to, if it does."""

    @classmethod
    def _read(cls, said: Json) -> Line:
        return cls(**{field: said[field] for field in cls.__dataclass_fields__})


@dataclass(frozen=True)
class Event:
    """Something that happened."""

    seq: int
    """Its number, in the one order of everything."""
    at: float
    """Seconds since the simulation began, on the host's monotonic clock."""
    kind: str
    """"change", "request", "reset", "console", "lost", or one that this client does not know."""
    said: Json
    """The whole message."""


@dataclass(frozen=True)
class Change(Event):
    """A line changed."""

    line: Line
    """The line as it was then."""
    edge: Optional[str]
    """"rising", "falling", or None if it was not the level that changed."""


@dataclass(frozen=True)
class Console(Event):
    """The guest printed a line."""

    text: str


def _event(said: Json) -> Event:
    common: Tuple[int, float, str, Json] = (said["seq"], said["at_ns"] / 1e9, said["event"], said)
    if said["event"] == "change":
        return Change(*common, line=Line._read(said), edge=said["edge"])
    if said["event"] == "console":
        return Console(*common, text=said["text"])
    return Event(*common)


def _duration(seconds: float) -> str:
    return f"{round(seconds * 1_000_000)}us"


class Client:
    """A connection to a simulation. It can be used as a context manager.

    Everything that happens is heard and kept from the simulation's begin on, as far as the simulation remembers it. A
    `wait_…` finds the first event of its kind since the last action (`set`, `pulse`, `write_serial` and so on), or since
    the event that the same wait found last. So it does not matter whether it happened before the wait began, and what
    happened before the action is never taken for its effect.
    """

    def __init__(self, path: Union[str, "os.PathLike[str]"], *, timeout: float = 30.0) -> None:
        """Connects to the socket that a `vgpio run --control` or `vgpio device --control` listens on.

        `timeout` is for how long the methods of this client wait, in seconds, when they are not told otherwise.
        """
        self.timeout = timeout
        self.path = os.fspath(path)
        """The socket."""
        self.console = False
        """Whether there is a guest's console to read and to type into."""
        self._process: Optional[subprocess.Popen[bytes]] = None
        self._folder: Optional[str] = None
        self._changed = threading.Condition()
        self._events: deque[Event] = deque(maxlen=_REMEMBERED)
        self._replies: Dict[int, Json] = {}
        self._last_id = 0
        self._ended = False
        self._action = 0
        self._found: Dict[str, int] = {}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.connect(self.path)
        except OSError:
            self._socket.close()
            raise
        self._reader = threading.Thread(target=self._read, args=(self._socket.makefile("rb"),), daemon=True)
        self._reader.start()
        hello = self._ask({"request": "hello", "version": VERSION})
        self.console = hello["console"]
        self._ask({"request": "subscribe", "since": 0})

    @classmethod
    def run(
        cls,
        *arguments: str,
        program: Optional[str] = None,
        timeout: float = 30.0,
        stdout: Union[int, IO[Any], None] = None,
    ) -> Client:
        """Starts `vgpio run` with more arguments, and connects to it. It ends with this client.

        `program` is the program: by default the environment's VGPIO, or `vgpio` of the PATH. `stdout` is where the
        guest's console goes, besides to this client.
        """
        program = program or os.environ.get("VGPIO") or "vgpio"
        if shutil.which(program) is None:
            raise FileNotFoundError(f"There is no program {program}: build it with cargo, and set VGPIO to its path")
        folder = tempfile.mkdtemp(prefix="vgpio")
        path = os.path.join(folder, "control")
        process: Optional[subprocess.Popen[bytes]] = None
        try:
            command = [program, "run", "--control", path, *arguments]
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stdout)
            deadline = time.monotonic() + timeout
            while True:
                try:
                    client = cls(path, timeout=timeout)
                    break
                except (FileNotFoundError, ConnectionRefusedError):
                    if process.poll() is not None:
                        raise Ended(f"vgpio ended with status {process.returncode} at once: its message says why")
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.02)
        except BaseException:
            if process is not None:
                process.kill()
                process.wait()
            shutil.rmtree(folder, ignore_errors=True)
            raise
        client._process = process
        client._folder = folder
        return client

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection, and the simulation if this client started it."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # The other side was first.
        self._reader.join()
        self._socket.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def wait_end(self, timeout: Optional[float] = None) -> int:
        """Waits until a simulation that this client started ends by itself; returns its exit status."""
        if self._process is None:
            raise RuntimeError("This client has not started the simulation")
        try:
            return self._process.wait(self.timeout if timeout is None else timeout)
        except subprocess.TimeoutExpired:
            raise TimedOut(self._in_vain("the end", timeout)) from None

    # What the lines are like.

    def info(self) -> List[Line]:
        """All lines of all chips."""
        chips = self._ask({"request": "info"})["chips"]
        return [Line._read(line) for chip in chips for line in chip["lines"]]

    def line(self, line: str) -> Line:
        """One line: `led0`, `gpio1:led0` or `gpio1:3`."""
        return Line._read(self._ask({"request": "get", "line": line}))

    def get(self, line: str) -> int:
        """The level of a line, 0 or 1."""
        return self.line(line).level

    # What is done to them.

    def set(self, line: str, level: Union[int, bool]) -> None:
        """Drives a line from outside, until it is released."""
        self.set_all({line: level})

    def set_all(self, levels: Mapping[str, Union[int, bool]]) -> None:
        """Drives several lines at one instant."""
        self._act(*({"request": "set", "line": line, "level": int(level)} for line, level in levels.items()))

    def release(self, line: str) -> None:
        """Lets go of a line."""
        self._act({"request": "release", "line": line})

    def pulse(self, line: str, width: float = 0.05, level: int = 1) -> None:
        """Presses a button: the level for so many seconds, and the opposite level then. Does not wait for that."""
        self._act({"request": "pulse", "line": line, "width": _duration(width), "level": level})

    def clock(self, line: str, period: float, cycles: Optional[int] = None) -> None:
        """A square wave; without `cycles` it has no end."""
        self._act({"request": "clock", "line": line, "period": _duration(period), "cycles": cycles})

    def pwm(self, line: str, period: float, high: float, cycles: Optional[int] = None) -> None:
        """High for the first `high` seconds of each period."""
        message = {"request": "pwm", "line": line, "period": _duration(period), "high": _duration(high), "cycles": cycles}
        self._act(message)

    def bounce(self, line: str, level: int, over: float, changes: int, seed: int = 0) -> None:
        """A contact that chatters before it comes to rest at a level."""
        message = {"request": "bounce", "line": line, "level": level, "over": _duration(over)}
        self._act({**message, "changes": changes, "seed": seed})

    def write_serial(self, text: str) -> None:
        """Types something into the guest's console."""
        self._act({"request": "write-serial", "text": text})

    def stall(self, on: bool = True, chip: int = 0) -> None:
        """A fault: the device does not look at its queues."""
        self._act({"request": "stall", "chip": chip, "on": on})

    def mute(self, line: str, on: bool = True) -> None:
        """A fault: the device does not answer requests for that line."""
        self._act({"request": "mute", "line": line, "on": on})

    # What happens.

    def wait_edge(self, line: str, edge: str = "both", timeout: Optional[float] = None) -> Change:
        """Waits for an edge of a line: "rising", "falling" or "both"."""
        if edge not in ("rising", "falling", "both"):
            raise ValueError(f'An edge is "rising", "falling" or "both", not {edge!r}')
        place = self.line(line)

        def matches(event: Event) -> Optional[Change]:
            if not isinstance(event, Change) or event.edge is None:
                return None
            is_it = (event.line.chip, event.line.line) == (place.chip, place.line) and edge in ("both", event.edge)
            return event if is_it else None

        return self._wait(f"line {place.chip}:{place.line}", f"{edge} edge of {line}", matches, timeout)

    def wait_serial(self, text: Union[str, "re.Pattern[str]"], timeout: Optional[float] = None) -> Console:
        """Waits for a line of the guest's console that has that text in it, or in which the pattern is found."""

        def matches(event: Event) -> Optional[Console]:
            if not isinstance(event, Console):
                return None
            found = text in event.text if isinstance(text, str) else text.search(event.text)
            return event if found else None

        shown = text if isinstance(text, str) else text.pattern
        return self._wait("console", f"console line with {shown!r}", matches, timeout)

    def events(self, timeout: Optional[float] = None, since: int = 0) -> Iterator[Event]:
        """All events after number `since`, as they come. Ends with the simulation, or when none has come for `timeout`
        seconds."""
        while True:
            with self._changed:
                batch = [event for event in self._events if event.seq > since]
                if not batch:
                    if self._ended or not self._changed.wait(timeout):
                        return
                    continue
            for event in batch:
                since = event.seq
                yield event

    def serial(self) -> List[str]:
        """What the guest has printed so far."""
        with self._changed:
            return [event.text for event in self._events if isinstance(event, Console)]

    # Below.

    def _wait(
        self, key: str, wanted: str, matches: Callable[[Event], Optional[T]], timeout: Optional[float]
    ) -> T:
        limit = self.timeout if timeout is None else timeout
        deadline = time.monotonic() + limit
        with self._changed:
            seen = max(self._action, self._found.get(key, 0))
            while True:
                for event in self._events:
                    if event.seq <= seen:
                        continue
                    seen = event.seq
                    found = matches(event)
                    if found is not None:
                        self._found[key] = event.seq
                        return found
                rest = deadline - time.monotonic()
                if self._ended:
                    raise Ended(self._in_vain(wanted, None, "The simulation ended"))
                if rest <= 0:
                    raise TimedOut(self._in_vain(wanted, limit))
                self._changed.wait(rest)

    def _in_vain(self, wanted: str, limit: Optional[float], why: Optional[str] = None) -> str:
        console = [event.text for event in list(self._events) if isinstance(event, Console)][-_SHOWN:]
        lines = "\n".join(f"  | {line}" for line in console) or "  | (nothing)"
        limit = self.timeout if limit is None else limit
        return f"{why or f'{limit} s passed'} without: {wanted}. The console's last lines:\n{lines}"

    def _act(self, *requests: Json) -> None:
        """Carries out requests together, and lets waits begin with what they cause."""
        before, *_ = self._ask_all([{"request": "hello"}, *requests])
        with self._changed:
            self._action = before["seq"]

    def _ask(self, request: Json) -> Json:
        return self._ask_all([request])[0]

    def _ask_all(self, requests: List[Json]) -> List[Json]:
        deadline = time.monotonic() + self.timeout
        with self._changed:
            ids = range(self._last_id + 1, self._last_id + 1 + len(requests))
            self._last_id += len(requests)
        calls = [{"id": number, **request} for number, request in zip(ids, requests)]
        try:
            self._socket.sendall(json.dumps(calls).encode() + b"\n")
        except OSError as error:
            raise Ended("The simulation has ended") from error
        with self._changed:
            while not all(number in self._replies for number in ids):
                rest = deadline - time.monotonic()
                if self._ended:
                    raise Ended("The simulation has ended")
                if rest <= 0:
                    raise TimedOut(self._in_vain(f"an answer to {requests}", None))
                self._changed.wait(rest)
            replies = [self._replies.pop(number) for number in ids]
        for reply in replies:
            if reply["reply"] == "error":
                raise Refused(reply["kind"], reply["message"])
        return replies

    def _read(self, lines: IO[bytes]) -> None:
        try:
            for line in lines:
                said: Json = json.loads(line)
                with self._changed:
                    if "reply" in said and said["id"] is not None:
                        self._replies[said["id"]] = said
                    elif "event" in said and said["event"] != "end":
                        self._events.append(_event(said))
                    self._changed.notify_all()
        except OSError:
            pass  # The connection was cut; that is an end, too.
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()
            lines.close()
