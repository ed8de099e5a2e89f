"""What the wires of both protocols share: a socket with deadlines, and a transcript of every byte."""

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from mqproof.harness.patience import patience
from mqproof.harness.targets.target import Target

REPLY_DEADLINE = 5.0  # seconds, before patience: how long a broker may take to answer anything
CHUNK = 65536
QUICK_ACK: int | None = getattr(socket, "TCP_QUICKACK", None)  # Linux only


class End(StrEnum):
    """How a wait ended without what was waited for; the four are told apart because verdicts depend on it."""

    TIMEOUT = "nothing came before the deadline"
    EOF = "the broker closed the connection"
    RESET = "the broker reset the connection"
    MALFORMED = "the broker sent bytes that cannot be decoded"


@dataclass(frozen=True, slots=True)
class Ended:
    """A wait that ended in :class:`End`; ``detail`` says more, in words."""

    end: End
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.end}{': ' if self.detail else ''}{self.detail}"

    @property
    def closed(self) -> bool:
        """Whether the broker ended the connection, cleanly or by reset."""
        return self.end in (End.EOF, End.RESET)


@dataclass(frozen=True, slots=True)
class Line:
    """One entry of a transcript. ``time``: seconds since the wire was opened."""

    time: float
    direction: Literal[">", "<", "!"]  # to the broker, from the broker, an event
    octets: bytes
    text: str


@dataclass(slots=True)
class Transcript:
    """Everything that went over one wire, decoded where it could be."""

    title: str
    lines: list[Line] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def add(self, direction: Literal[">", "<", "!"], octets: bytes, text: str) -> None:
        """Append one entry, with the present time."""
        self.lines.append(Line(time.monotonic() - self.started, direction, octets, text))

    def render(self) -> str:
        """Return the conversation as text, one line per frame or packet."""
        body = (f"{line.time * 1000:9.1f} ms {line.direction} {line.text}" for line in self.lines)
        return "\n".join((self.title, *body))


class Connection:
    """A TCP or TLS connection whose every step has a deadline."""

    def __init__(self, target: Target, *, deadline: float = REPLY_DEADLINE) -> None:
        """Connect. Raises OSError (TimeoutError and ssl.SSLError among them) where that fails."""
        limit = patience.seconds(deadline)
        raw = socket.create_connection((target.host, target.port), timeout=limit)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = tls_context(target).wrap_socket(raw, server_hostname=target.host) if target.tls else raw

    def send(self, octets: bytes) -> Ended | None:
        """Send all of ``octets``. Returns how it ended when the broker had gone."""
        with _endings() as ended:
            self.socket.settimeout(patience.seconds(REPLY_DEADLINE))
            self.socket.sendall(octets)
        return ended[0] if ended else None

    def receive(self, until: float) -> bytes | Ended:
        """Return the next octets; ``until`` is a moment of ``time.monotonic``."""
        with _endings() as ended:
            self.socket.settimeout(max(until - time.monotonic(), 0.0001))
            self._acknowledge_at_once()
            octets = self.socket.recv(CHUNK)
            if octets:
                return octets
            return Ended(End.EOF)
        return ended[0]

    def _acknowledge_at_once(self) -> None:
        """Ask the kernel not to hold acknowledgements back, for a broker that lets Nagle's algorithm wait for them.

        The kernel forgets it after a while, hence before each reception: 40 ms saved wherever two packets follow.
        """
        if QUICK_ACK is not None:
            self.socket.setsockopt(socket.IPPROTO_TCP, QUICK_ACK, 1)

    def half_close(self) -> None:
        """Say that nothing more will be sent, and go on receiving."""
        with _endings():
            self.socket.shutdown(socket.SHUT_WR)

    def cut(self) -> None:
        """End the connection by a reset, as a crashed client's kernel would."""
        with _endings():
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.close()

    def close(self) -> None:
        """Close the socket; harmless when that has happened before."""
        self.socket.close()


def tls_context(target: Target) -> ssl.SSLContext:
    """Return the context that verifies the target as its ``tls`` says: against the system's authorities by default."""
    if target.tls is None:
        raise ValueError("the target has no TLS")
    context = ssl.create_default_context(cafile=str(target.tls.ca_file) if target.tls.ca_file else None)
    if target.tls.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


@contextmanager
def _endings() -> Iterator[list[Ended]]:
    """Turn the errors of a socket into an :class:`Ended`, put into the list that is yielded."""
    ended: list[Ended] = []
    try:
        yield ended
    except TimeoutError:
        ended.append(Ended(End.TIMEOUT))
    except (ConnectionResetError, BrokenPipeError, ConnectionAbortedError):
        ended.append(Ended(End.RESET))
    except ssl.SSLError as error:
        ended.append(Ended(End.RESET, f"TLS: {error.reason or error}"))
    except OSError as error:
        ended.append(Ended(End.RESET, error.strerror or str(error)))
