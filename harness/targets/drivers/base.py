"""What drivers share: is the broker installed, how a local one is started, disturbed and ended."""

import os
import re
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, Self

import psutil
from mqproof.harness.targets.deadline import Deadline
from mqproof.harness.targets.drivers.ports import Port
from mqproof.harness.targets.drivers.supervised import Supervised, tail
from mqproof.harness.targets.errors import BrokerFailed, BrokerMissing
from mqproof.harness.targets.identify import is_ready
from mqproof.harness.targets.target import Target
from mqproof.harness.verdicts import Untested

PAUSE_SECONDS = 2.0
READY_SECONDS = 60.0  # a cold RabbitMQ on a busy machine; ordinarily 5
STOP_SECONDS = 20.0
TRY_SECONDS = 2.0
BETWEEN_TRIES = 0.02
ATTEMPTS = 3
LOG_LINES = 400
SHOWN = 400  # characters of a broker's complaint in a message of one line
COMPLAINT = re.compile(r"error|in use|cannot|could not|unable|denied|invalid", re.IGNORECASE)
PASSED_ON = ("PATH", "TMPDIR", "TZ", "LD_LIBRARY_PATH", "SYSTEMROOT")


class Availability(NamedTuple):
    """Whether a driver's broker is installed; ``detail``: its version, else the one command that installs it."""

    installed: bool
    detail: str


@dataclass(slots=True)
class Server:
    """One process and the targets that it serves. ``stop_signal`` makes it end in good order."""

    process: Supervised
    targets: list[Target]
    ports: list[Port]
    stop_signal: signal.Signals = signal.SIGTERM
    logs: list[Path] = field(default_factory=list)

    def await_ready(self) -> None:
        """Return when every target lets us in. Raises BrokerFailed when the process ends or the time is over."""
        deadline = Deadline.within(READY_SECONDS)
        for target in self._reached():
            while not is_ready(target, min(TRY_SECONDS, deadline.left)):
                if self.process.wait(BETWEEN_TRIES):
                    raise self._failure(f"ended with status {self.process.status} before it served")
                if deadline.over:
                    raise self._failure(f"did not serve {target.scheme} within {READY_SECONDS:.0f} s")

    def _reached(self) -> list[Target]:
        """Return the targets, and how they are reached over WebSocket."""
        return [way for target in self.targets for way in (target, target.websocket) if way is not None]

    def log_tail(self, lines: int = 20) -> str:
        """Return the last lines that the broker wrote, of its output and of its own log."""
        return "\n".join(filter(None, (tail(path, lines) for path in (self.process.folder / "log", *self.logs))))

    def end(self) -> None:
        """End the process and remove its folder."""
        try:
            self.process.end()
        finally:
            for port in self.ports:
                port.release()

    def _failure(self, what: str) -> BrokerFailed:
        log = self.log_tail(LOG_LINES)
        lines = [line.strip() for line in log.splitlines() if line.strip()]
        telling = [line for line in lines if COMPLAINT.search(line)] or lines[-4:]
        words = " | ".join(telling)[:SHOWN] or "nothing"
        return BrokerFailed(f"{self.process.name} {what}; it said: {words}", log)


class LocalBroker:
    """A broker that mqproof started: its targets, and everything that may be done to it.

    A context manager; it is also gone when this process ends without leaving the context.
    """

    def __init__(self, driver: str, servers: Sequence[Server]) -> None:
        self.driver = driver
        self.servers = list(servers)

    @property
    def targets(self) -> list[Target]:
        """The broker as it is reached, one target for each protocol."""
        return [target for server in self.servers for target in server.targets]

    @property
    def pids(self) -> list[int]:
        """The ids of the broker's running processes."""
        return [server.process.pid for server in self.servers if server.process.running and server.process.pid]

    @property
    def folders(self) -> list[Path]:
        """Where the broker keeps its files."""
        return [server.process.folder for server in self.servers]

    def target(self, protocol: str) -> Target:
        """Return the target for a protocol. Raises KeyError."""
        for target in self.targets:
            if target.protocol == protocol:
                return target
        raise KeyError(protocol)

    def start(self) -> None:
        """Start every process and wait until it serves; afterwards everything is as it was if that fails."""
        try:
            for server in self.servers:
                server.process.start()
            for server in self.servers:
                server.await_ready()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the broker and remove its folder; harmless when that has happened before."""
        for server in self.servers:
            server.end()

    def kill(self) -> None:
        """End the broker as a crash would (SIGKILL); its folder stays, and ``restart`` starts it again."""
        for server in self.servers:
            server.process.send(signal.SIGKILL)
            self._await_end(server)

    def restart(self, how: Literal["soft", "hard"] = "soft") -> None:
        """End the broker in good order (``soft``) or by SIGKILL (``hard``); start it on the same files and ports."""
        if how == "hard":
            self.kill()
        else:
            self.shut_down()
        for server in self.servers:
            server.process.start()
        for server in self.servers:
            server.await_ready()

    def shut_down(self) -> None:
        """End the broker in good order; its folder stays, and ``restart`` starts it again."""
        for server in self.servers:
            server.process.send(signal.SIGCONT)  # a paused process would not hear the other signal
            server.process.send(server.stop_signal)
            self._await_end(server)

    def pause(self) -> None:
        """Stop the broker's clock: connections stay, nothing is answered, until ``resume``."""
        for server in self.servers:
            server.process.send(signal.SIGSTOP)
        until = time.monotonic() + PAUSE_SECONDS  # the reaper passes the signal on
        while not all(map(_is_stopped, self.pids)) and time.monotonic() < until:
            threading.Event().wait(0.005)

    def resume(self) -> None:
        """End a pause."""
        for server in self.servers:
            server.process.send(signal.SIGCONT)

    def alarm(self, raised: bool) -> None:
        """Make the broker short of memory, or end that. Raises Untested where the driver has no means."""
        raise Untested(f"the driver {self.driver} cannot make its broker short of memory")

    def log_tail(self, lines: int = 20) -> str:
        """Return the last lines that the broker wrote."""
        return "\n".join(filter(None, (server.log_tail(lines) for server in self.servers)))

    def _await_end(self, server: Server) -> None:
        if not server.process.wait(STOP_SECONDS):
            raise BrokerFailed(f"{server.process.name} does not end within {STOP_SECONDS:.0f} s")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        self.stop()


class Driver(Protocol):
    """Starts one kind of broker on this machine, isolated: own folder, own loopback ports, no system service touched.

    ``options`` of ``start`` are lines of the broker's own configuration, name and value, and what the driver's
    docstring adds. ``folder``: where it keeps its files, left in place at the end; a temporary one when None.
    """

    @property
    def name(self) -> str:
        """The name on the command line."""

    @property
    def protocols(self) -> tuple[str, ...]:
        """What it can serve: ``amqp``, ``mqtt``."""

    def availability(self) -> Availability:
        """Return whether the broker is installed."""

    def start(
        self,
        protocols: Sequence[str] | None = None,
        *,
        folder: Path | None = None,
        options: Mapping[str, str] | None = None,
    ) -> LocalBroker:
        """Return a running broker for ``protocols`` (all that it speaks when None).

        Raises BrokerMissing, BrokerFailed, and ValueError for a protocol that it does not speak.
        """


def require(driver: Driver) -> str:
    """Return the installed version. Raises BrokerMissing, saying how to install it."""
    installed, detail = driver.availability()
    if not installed:
        raise BrokerMissing(f"{driver.name} is not installed: run '{detail}', or name another target")
    return detail


def wanted(driver: Driver, protocols: Sequence[str] | None) -> tuple[str, ...]:
    """Return the protocols to serve, in the driver's order. Raises ValueError."""
    strange = set(protocols or ()) - set(driver.protocols)
    if strange:
        raise ValueError(f"{driver.name} does not speak {', '.join(sorted(strange))}")
    return tuple(protocol for protocol in driver.protocols if not protocols or protocol in protocols)


def reserve(count: int) -> list[Port]:
    """Return that many free ports."""
    return [Port.reserve() for _ in range(count)]


def environment(**more: str) -> dict[str, str]:
    """Return an environment that depends on the user's as little as possible."""
    kept = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return {"PATH": os.defpath, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"} | kept | more


def _is_stopped(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
