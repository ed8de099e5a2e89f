"""Runs the kernels over files: the arrays, the chunks, and what to do between them."""

import os
from collections.abc import Callable
from typing import Any, Final

from mqproof.dissectors.amqp.steps import install
from mqproof.dissectors.overhead import walk as kernels
from mqproof.dissectors.overhead.summary import Summary, summarise
from mqproof.dissectors.packets import state as w
from mqproof.dissectors.packets.pcap import Source

Progress = Callable[[int], None]
GROWTH: Final = 4
WORTH_COMPILING: Final = 150 << 20  # octets that the uncompiled kernels need about as long for as the compiler


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
        return kernels.walk(view, end, self.s, self.m)

    def finish(self) -> None:
        """Bring the books to an end."""
        kernels.finish(self.s, self.m)

    def grow(self) -> None:
        """Make room for more connections."""
        limit = min(self.s[w.CONN_LIMIT] * GROWTH, w.MAX_CONNS)
        self.s.extend([0] * (w.CONN_TABLE + limit * w.CONN_WORDS - len(self.s)))
        self.s[w.CONN_LIMIT] = limit


def choose(name: str) -> Any:
    """Return the engine for a capture: compiled where the machine code is there, or worth waiting for.

    For a small capture that it would hold up, the machine code is made in the background, for next time.
    """
    from mqproof.dissectors.overhead import compiled

    if compiled.is_ready():
        return compiled.Compiled()
    if not compiled.available():
        return Plain()
    if name != "-" and os.path.isfile(name) and os.path.getsize(name) > WORTH_COMPILING:
        return compiled.Compiled()
    compiled.prepare_in_background()
    return Plain()


def analyze(name: str, *, engine: Any = None, progress: Progress | None = None) -> Summary:
    """Return the account of one capture ("-": standard input). ``progress`` is told the octets read so far.

    A file that is cut off gives what is there; the summary's notes say where it stops. Raises CaptureError.
    """
    runner = engine or choose(name)
    s = runner.s
    install(s)
    with Source(name) as source:
        source.start(s)
        view = runner.view(source.buffer)
        while True:
            status = runner.walk(view, source.end)
            if status == w.GROW:
                runner.grow()
                s = runner.s
            elif status == w.CORRUPT:
                source.corrupt(s)
                break
            elif not (source.more(s) if status == w.MORE else source.block(s)):
                break
            if progress is not None:
                progress(source.base)
        runner.finish()
        return summarise(name, s, runner.m, source.notes)
