"""What the loads of both protocols share: threads that publish and consume through any disruption."""

import threading
import time
from collections.abc import Callable

from mqproof.harness.crash.history import Delivery, History, Sent
from mqproof.harness.verdicts import Blocked

RETRY = 0.05  # seconds between attempts to connect
PACE = 0.002  # seconds between messages: a load, not a flood


class Lost(Exception):
    """The connection ended or does not answer: connect again."""


class Worker:
    """One side of a load on a thread of its own. ``connect`` and ``work`` are the protocol's."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.stopping = threading.Event()
        self.waiting = threading.Event()  # set: without a connection until it is cleared
        self.ready = threading.Event()  # it has been connected once
        self.serving = threading.Event()  # it is connected now
        self.connections = 0
        self.error: BaseException | None = None
        self.away = ""  # why it was last without a connection
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the message at hand. Raises what went wrong on the thread."""
        self.stopping.set()
        if self._thread.ident is not None:
            self._thread.join(30.0)
        if self.error is not None:
            raise self.error

    def resume(self, pieces: int) -> None:
        """Connect again after ``stop`` and do so many pieces of work on this thread. Raises Lost, Blocked, OSError."""
        self.connections += 1
        try:
            self.connect()
            for _ in range(pieces):
                self.work()
        finally:
            self.leave()

    def pause(self, seconds: float) -> None:
        """Wait, or until the worker is stopped."""
        self.stopping.wait(seconds)

    def connect(self) -> None:
        """Open a connection. Raises Lost or Blocked."""
        raise NotImplementedError

    def work(self) -> None:
        """Do one piece of work. Raises Lost or Blocked."""
        raise NotImplementedError

    def has_source(self) -> bool:
        """Whether what it consumes from is still there, as far as the protocol tells. Raises Blocked."""
        return True

    def leave(self) -> None:
        """End the connection as it is."""
        raise NotImplementedError

    def _run(self) -> None:
        try:
            while not self.stopping.is_set():
                if not self.waiting.is_set():
                    self._serve()
                self.serving.clear()
                self.leave()
                self.pause(RETRY)
        except BaseException as error:
            self.error = error

    def _serve(self) -> None:
        """Work on one connection until it is lost, or nothing is to be done."""
        try:
            self.connections += 1
            self.connect()
            self.ready.set()
            self.serving.set()
            while not (self.stopping.is_set() or self.waiting.is_set()):
                self.work()
        except (Lost, Blocked, OSError) as error:
            self.away = str(error)


class Numbers:
    """Gives out message numbers and notes what becomes of them."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._next = 0

    def take(self) -> int:
        """Return the next number, noted as published now."""
        number, self._next = self._next, self._next + 1
        self._history.sent[number] = Sent(time.monotonic())
        return number

    def confirm(self, number: int) -> None:
        """Note a confirm."""
        if self._history.sent[number].confirmed is None:
            self._history.sent[number].confirmed = time.monotonic()


def body_of(number: int) -> bytes:
    """Return a message's body."""
    return b"%08d" % number


def arrived(history: History, body: bytes, *, marked: bool, connection: int) -> int:
    """Note an arrival and return its number, -1 for what is none of ours."""
    number = int(body) if body.isdigit() and len(body) == 8 else -1
    history.deliveries.append(Delivery(number, time.monotonic(), marked, connection))
    return number


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    """Return whether the condition came true within so many seconds."""
    until = time.monotonic() + seconds
    event = threading.Event()
    while not condition():
        if time.monotonic() > until:
            return False
        event.wait(0.01)
    return True
