"""Runs the kernels over files: the arrays, the chunks, and what to do between them."""

import contextlib
import os
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, Final

from mqproof.dissectors.amqp.steps import install
from mqproof.dissectors.overhead.connections import Connections
from mqproof.dissectors.overhead.summary import Summary, summarise
from mqproof.dissectors.packets import state as w
from mqproof.dissectors.packets.pcap import CaptureError, Source

Progress = Callable[[int], None]
Snapshot = Callable[[Callable[[], Summary]], None]
DecodeAs = Mapping[int, int]
GROWTH: Final = 4
WORTH_COMPILING: Final = 150 << 20  # octets that the uncompiled kernels need about as long for as the compiler
WORTH_LOADING: Final = 1 << 18  # octets, compressed or not, walked in less time than it takes to load the machine code


class Plain:
    """The kernels as they are written: lists and bytearrays, no compiler."""

    name = "python"

    def __init__(self) -> None:
        self.m: Any = bytearray(w.M_SIZE)
        self.s: Any = [0] * (w.CONN_TABLE + w.FIRST_CONNS * w.CONN_WORDS)
        self.s[w.CONN_LIMIT] = w.FIRST_CONNS

    def view(self, buffer: bytearray) -> Any:
        """Return the buffer as the kernels want it."""
        return buffer

    def walk(self, view: Any, end: int) -> int:
        """Walk what is in the buffer."""
        from mqproof.dissectors.overhead.walk import walk  # who has machine code needs none of it

        return walk(view, end, self.s, self.m)

    def finish(self) -> int:
        """Bring the books to an end; again after ROWS_FULL."""
        from mqproof.dissectors.overhead.walk import finish

        return finish(self.s, self.m)

    def grow(self) -> None:
        """Make room for more connections."""
        limit = min(self.s[w.CONN_LIMIT] * GROWTH, w.MAX_CONNS)
        self.s.extend([0] * (w.CONN_TABLE + limit * w.CONN_WORDS - len(self.s)))
        self.s[w.CONN_LIMIT] = limit


def choose(name: str) -> Any:
    """Return the engine for a capture: compiled where the machine code is worth loading, or worth waiting for.

    For a capture that it would hold up, the machine code is made in the background, for next time.
    """
    from mqproof.dissectors.overhead import compiled, machine_code

    size = _size(name)
    if size is not None and size < WORTH_LOADING:
        return Plain()
    if compiled.is_ready():
        return compiled.Compiled()
    if not compiled.available():
        return Plain()
    if size is not None and size > WORTH_COMPILING:
        with contextlib.suppress(machine_code.Unusable):
            return compiled.Compiled()
    compiled.prepare_in_background()
    return Plain()


def _size(name: str) -> int | None:
    """Return the octets of a file, 0 where there is none; None for what has no size: a pipe, an interface."""
    if name == "-" or (os.path.exists(name) and not os.path.isfile(name)):
        return None
    return os.path.getsize(name) if os.path.isfile(name) else 0


def analyze(
    name: str, *, engine: Any = None, progress: Progress | None = None, decode_as: DecodeAs | None = None,
    file: BinaryIO | None = None, snapshot: Snapshot | None = None,
) -> Summary:  # fmt: skip
    """Return the account of one capture ("-": standard input; ``file``: a stream that is open and only called so).

    A file that is cut off gives what is there; the summary's notes say where it stops. ``progress`` is told the octets
    read so far, ``snapshot`` gets the account as far as it goes, after each reading. ``decode_as``: ports and what is
    spoken there (a protocol of ``state``), where the content should not tell. Raises CaptureError.
    """
    runner = engine or choose("-" if file else name)
    s = runner.s
    install(s)
    tell_ports(s, decode_as or {})
    connections = Connections()
    with Source(name, file) as source:
        source.start(s)
        view = runner.view(source.buffer)
        while True:
            status = runner.walk(view, source.end)
            if snapshot is not None:
                snapshot(lambda: summarise(name, runner.s, runner.m, source.notes, connections))
            if status == w.GROW:
                runner.grow()
                s = runner.s
            elif status == w.ROWS_FULL:
                connections.take(s)
            elif status == w.CORRUPT:
                source.corrupt(s)
                break
            elif not (source.more(s) if status == w.MORE else source.block(s)):
                break
            elif progress is not None:
                progress(source.position())
        while runner.finish() == w.ROWS_FULL:
            connections.take(s)
        connections.take(s)
        return summarise(name, s, runner.m, source.notes, connections)


def tell_ports(s: Any, decode_as: DecodeAs) -> None:
    """Write the ports whose protocol the user knows into the registers. Raises CaptureError for too many."""
    if len(decode_as) > w.DECODE_LIMIT:
        raise CaptureError(f"more than {w.DECODE_LIMIT} ports to decode in a way of their own")
    s[w.DECODE_AS] = len(decode_as)
    for number, (port, protocol) in enumerate(decode_as.items()):
        s[w.DECODE_TABLE + 2 * number] = port
        s[w.DECODE_TABLE + 2 * number + 1] = protocol
