"""The compiled walk over torn golden captures, thousands of them a second, its arrays' bounds checked.

    python tests/fuzz/golden.py SECONDS [SEED]

Every account is checked against the octets that were given. Of some inputs more is asked: the same account when the
octets come in pieces with rubbish behind them; the same from the uncompiled walk, reading a file that stutters; and
that the slow reading gets through. What fails is written to tests/fuzz/crashes/golden, with its seed as its name.
"""

import faulthandler
import mmap
import random
import resource
import sys
import time
import traceback
from pathlib import Path
from typing import Any, Final

import numpy
from mqproof.dissectors.overhead import compiled
from mqproof.dissectors.overhead.engine import tell_ports
from mqproof.dissectors.overhead.summary import COUNTERS
from mqproof.dissectors.packets import state as w
from mutation import mutated
from targets import agree

FOLDER: Final = Path(__file__).parent
CRASHES: Final = FOLDER / "crashes" / "golden"
SEED: Final = FOLDER / ".seed"  # of the input that is being read, for who finds this process dead
HANG: Final = 20  # seconds that a round may take
ROUND: Final = 16  # inputs between two looks at the clock
PIECES, VIEWS, PLAIN = 8, 64, 128  # of so many inputs one is looked at so
MEMORY: Final = 1 << 20  # KiB that the process may need
BUFFER: Final = 1 << 20


class Wrong(AssertionError):
    """An account that cannot be right."""


class Walk:
    """The compiled entries on arrays that are made once: what ``engine.analyze`` does, without files and summaries."""

    def __init__(self) -> None:
        engine = compiled.Compiled()
        self._engine, self._s = engine, numpy.asarray(engine.s)  # the same words: what is written is written to both
        compiled_steps(self._s)
        self._template = self._s[: w.CONN_TABLE].copy()
        self._buffer = bytearray(BUFFER)
        self._view = engine.view(self._buffer)
        self._rows: list[bytes] = []

    def account(self, octets: bytes, ends: list[int]) -> tuple[bytes, ...]:
        """Return all that a walk leaves behind; ``ends``: how much of the file is there each time that it asks."""
        s = self._s
        used = int(s[w.CONNS])
        s[: w.CONN_TABLE] = self._template
        s[w.CONN_TABLE : w.CONN_TABLE + used * w.CONN_WORDS] = 0
        begin(s, octets)
        self._rows = []
        before = 0
        for end in ends:
            self._buffer[before:end] = octets[before:end]
            self._buffer[end : end + 64] = b"\xce\x10AMQP\x16\x03\x03\x30\x00\x00\x00\xff" * 4 + bytes(8)
            before = end
            while (status := self._engine.walk(self._view, end)) == w.ROWS_FULL:
                self._take_rows()
            if status == w.CORRUPT:
                break
        while self._engine.finish() == w.ROWS_FULL:
            self._take_rows()
        self._take_rows()
        check(s, octets, self._rows)
        return self._left()

    def _take_rows(self) -> None:
        used = int(self._s[w.ROWS_USED])
        self._rows.append(self._s[w.ROWS : w.ROWS + used * w.ROW_WORDS].tobytes())
        self._s[w.ROWS_USED] = 0

    def _left(self) -> tuple[bytes, ...]:
        s = self._s
        keys = s[w.KEY_TABLE : w.KEY_TABLE + int(s[w.KEYS_FRESH]) * w.KEY_WORDS].tobytes()
        return s[list(COUNTERS.values())].tobytes(), s[w.ACC : w.METHOD_INDEX].tobytes(), keys, *self._rows


def compiled_steps(s: Any) -> None:
    """Write what every walk needs and none changes."""
    from mqproof.dissectors.amqp.steps import install

    s[w.CONN_LIMIT] = w.MAX_CONNS
    install(s)
    tell_ports(s, {})


def begin(s: Any, octets: bytes) -> None:
    """The registers at the first record of a pcap file: little-endian, microseconds."""
    s[w.FORMAT], s[w.SECTION_IFACES], s[w.MAX_RECORD], s[w.POS] = w.PCAP, 1, 2 << 20, 24
    s[w.IFACES + w.I_LINKTYPE] = int.from_bytes(octets[20:24], "little")
    s[w.IFACES + w.I_MULTIPLY] = 1000


def check(s: Any, octets: bytes, rows: list[bytes]) -> None:
    """Both axes add up to the captured octets, nothing is less than nothing. Raises Wrong."""
    account = s[w.ACC : w.CLASS_PACKETS].reshape(w.GROUP_COUNT, w.PURPOSE_COUNT, w.LAYER_COUNT)
    known = account[: len(w.GROUPS), : len(w.PURPOSES), : len(w.LAYERS)]
    expected = int(s[w.CAPTURED]) - int(s[w.MADE_UP])
    if int(known.sum()) != expected or int(account.sum()) != expected:
        raise Wrong(f"{expected} octets captured, {int(known.sum())} booked")
    if expected != len(octets) - 24 - 16 * int(s[w.PACKETS]):
        raise Wrong(f"{expected} octets captured of a file of {len(octets)} with {int(s[w.PACKETS])} packets")
    if int(s[w.CLASS_PACKETS : w.KINDS].sum()) != int(s[w.PACKETS]):
        raise Wrong(f"{int(s[w.PACKETS])} packets, {int(s[w.CLASS_PACKETS : w.KINDS].sum())} booked")
    if int(s[w.ACC : w.METHOD_INDEX].min()) < 0 or min(int(s[register]) for register in COUNTERS.values()) < 0:
        raise Wrong("a negative count")
    if sum(map(len, rows)) != 8 * w.ROW_WORDS * int(s[w.CONNS_SEEN]):
        raise Wrong(f"{int(s[w.CONNS_SEEN])} connections, {sum(map(len, rows)) // 8 // w.ROW_WORDS} rows")


def examine(walk: Walk, seed: int, octets: bytes) -> None:
    """Ask of one input what its seed says. Raises what is wrong."""
    whole = walk.account(octets, [len(octets)])
    if seed % PIECES == 0:
        chance = random.Random(seed)
        ends = sorted(chance.randrange(24, len(octets) + 1) for _ in range(6))
        if walk.account(octets, [*ends, len(octets)]) != whole:
            raise Wrong("another account when the octets come in pieces")
    if seed % VIEWS == 0 or seed % PLAIN == 1:
        agree(octets, views=seed % VIEWS == 0)


def rounds(walk: Walk, seconds: float, seed: int, now: mmap.mmap) -> int:
    """Fuzz for so long; return how many inputs were read. What is found is written down and raised."""
    stop, first = time.monotonic() + seconds, seed
    while time.monotonic() < stop:
        faulthandler.dump_traceback_later(HANG, exit=True)
        for _ in range(ROUND):
            now[:8] = seed.to_bytes(8)
            octets = mutated(seed)
            try:
                examine(walk, seed, octets)
            except Exception:
                keep(seed)
                raise
            seed += 1
        if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > MEMORY:
            raise Wrong(f"more than {MEMORY >> 10} MiB of memory")
    faulthandler.cancel_dump_traceback_later()
    return seed - first


def keep(seed: int) -> Path:
    """Write the input of a seed to the crashes."""
    CRASHES.mkdir(parents=True, exist_ok=True)
    path = CRASHES / f"seed-{seed}"
    path.write_bytes(mutated(seed))
    return path


def main(seconds: float, seed: int) -> int:
    """Fuzz in this process, which its parent watches. Returns the exit code."""
    with open(SEED, "w+b") as file:
        file.write(bytes(8))
        file.flush()
        now = mmap.mmap(file.fileno(), 8)
        started = time.monotonic()
        walk = Walk()
        sys.stdout.write(f"golden: kernels ready after {time.monotonic() - started:.0f} s; seeds from {seed}\n")
        sys.stdout.flush()
        try:
            done = rounds(walk, seconds, seed, now)
        except Exception:
            traceback.print_exc(file=sys.stdout)
            return 1
    sys.stdout.write(f"stat::number_of_executed_units: {done}\n")
    SEED.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else int(time.time()) << 24))
