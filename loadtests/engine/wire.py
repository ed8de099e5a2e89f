"""One socket of the engine: connect, shake hands through the codecs, then hand buffers to a compiled walk."""

import ssl
from collections.abc import Callable
from typing import Any

import numpy as np
from gevent import socket
from mqproof.dissectors.errors import Malformed
from mqproof.harness.targets.target import Target
from mqproof.harness.wires.base import tls_context

BUFFER = 1 << 20  # octets read at most at once
ANSWER = 15.0  # seconds for one answer of the broker
ROOM = 16384  # messages and events that one walk can hand over

Walk = Callable[[Any, int, int, Any, Any, Any], int]


class Broken(Exception):
    """A connection is of no more use; one line that says at which step and why."""


class Declined(Broken):
    """The broker answered that it will not do what was asked: a refusal, or it closed the channel or the connection."""


class Forbidden(Declined):
    """The broker does not let this user, or no more clients, do what was asked; no other option changes that."""


class Scratch:
    """What walks write into; greenlets share it, because none yields between a walk and the use of its results."""

    def __init__(self) -> None:
        self.messages = np.zeros((ROOM, 4), np.int64)
        self.events = np.zeros((ROOM, 3), np.int64)
        self.found = np.zeros(2, np.int64)


class Wire:
    """A connection of ours; ``scratch`` is shared. Every method raises Broken when the connection has ended."""

    def __init__(self, target: Target, scratch: Scratch, decoder: Any, walk: Walk, buffer: int = BUFFER) -> None:
        self.target, self._scratch, self._decoder, self._walk = target, scratch, decoder, walk
        self._view = bytearray(buffer)
        self._array = np.frombuffer(self._view, np.uint8)
        self._start = self._end = 0
        self.octets_in = self.octets_out = 0
        try:
            self.socket = socket.create_connection((target.host, target.port), timeout=ANSWER)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if target.tls:
                self.socket = _secured(self.socket, target)
        except OSError as error:
            raise Broken(f"connect: {error.strerror or error}") from None

    def send(self, octets: Any) -> None:
        """Send everything."""
        try:
            self.socket.sendall(octets)
        except OSError as error:
            raise Broken(f"send: {error.strerror or error}") from None
        self.octets_out += len(octets)

    def answer(self) -> Any:
        """Return the next frame or packet of the handshake."""
        try:
            while (frame := self._decoder.next()) is None:
                octets = self.socket.recv(65536)
                if not octets:
                    raise Broken("the broker closed the connection")
                self.octets_in += len(octets)
                self._decoder.feed(octets)
        except TimeoutError:
            raise Broken(f"no answer within {ANSWER:.0f} s") from None
        except (OSError, Malformed) as error:
            raise Broken(str(error)) from None
        return frame

    def start_walking(self) -> None:
        """End the handshake: from now on the buffer is walked; what came early is kept."""
        early = self._decoder.rest()
        self._view[: len(early)] = early
        self._end = len(early)

    def receive(self, timeout: float | None = None) -> tuple[Any, Any, int]:
        """Wait for octets and walk them: the rows of messages, of events, and the octets' count (0: timeout)."""
        self._make_room()
        self.socket.settimeout(timeout)
        try:
            count = self.socket.recv_into(memoryview(self._view)[self._end :])
        except TimeoutError:
            return self._scratch.messages[:0], self._scratch.events[:0], 0
        except OSError as error:
            raise Broken(f"receive: {error.strerror or error}") from None
        finally:
            self.socket.settimeout(None)
        if not count:
            raise Broken("the broker closed the connection")
        self.octets_in += count
        self._end += count
        return (*self.walk(), count)

    def detach(self) -> int:
        """Give the connected socket away as a file descriptor; this object is of no more use."""
        return int(self.socket.detach())

    def walk(self) -> tuple[Any, Any]:
        """Walk what is in the buffer: the rows of messages and of events, valid until the next walk of anybody."""
        scratch = self._scratch
        self._start = self._walk(
            self._array, self._start, self._end, scratch.messages, scratch.events, scratch.found
        )
        messages, events = scratch.found
        return scratch.messages[:messages], scratch.events[:events]

    @property
    def octets(self) -> bytes:
        """The buffer, for what a walk points at."""
        return bytes(self._view[: self._end])

    def close(self) -> None:
        """Close the socket; harmless when that has happened before."""
        self.socket.close()

    def _make_room(self) -> None:
        if self._start:
            rest = self._end - self._start
            self._view[:rest] = self._view[self._start : self._end]
            self._start, self._end = 0, rest
        if self._end == len(self._view):
            raise Broken(f"a message is larger than {len(self._view)} octets")


def _secured(raw: Any, target: Target) -> Any:
    from gevent.ssl import SSLContext

    made = tls_context(target)
    context = made if isinstance(made, SSLContext) else None
    if context is None:  # pragma: no cover - only without gevent's patches
        raise Broken("TLS needs gevent's patched sockets")
    try:
        return context.wrap_socket(raw, server_hostname=target.host)
    except ssl.SSLError as error:
        raise Broken(f"TLS: {error.reason or error}") from None
