"""Engines for fuzzing: arrays that are made once and cleared, because making them costs more than most inputs."""

from array import array
from typing import Any, Final

from mqproof.dissectors.overhead.engine import Plain
from mqproof.dissectors.packets import state as w

CONNECTIONS: Final = 8  # few, so that small inputs make the table grow
_m: Final = bytearray(w.M_SIZE)
_s: Final = array("q", [0]) * (w.CONN_TABLE + CONNECTIONS * w.CONN_WORDS)
_zeros: Final = bytes(_s)


class Cleared(Plain):
    """The uncompiled walk on integers of 64 bits: what does not fit raises OverflowError instead of wrapping.

    Octets of the input before are left where they were: no result may depend on them.
    """

    def __init__(self) -> None:
        self.m: Any = _m
        self.s: Any = _s
        del _s[len(_zeros) // 8 :]
        memoryview(_s).cast("B")[:] = _zeros
        self.s[w.CONN_LIMIT] = CONNECTIONS

    def grow(self) -> None:
        """Make room for more connections."""
        limit = min(self.s[w.CONN_LIMIT] * 4, w.MAX_CONNS)
        self.s.extend(array("q", [0]) * (w.CONN_TABLE + limit * w.CONN_WORDS - len(self.s)))
        self.s[w.CONN_LIMIT] = limit
