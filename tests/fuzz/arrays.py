"""Engines for fuzzing: arrays that are made once and cleared, because making them costs more than most inputs."""

from array import array
from typing import Any, ClassVar, Final

from mqproof.dissectors.overhead.engine import Plain
from mqproof.dissectors.packets import state as w

CONNECTIONS: Final = 8  # few, so that small inputs make the table grow
SIZE: Final = w.CONN_TABLE + CONNECTIONS * w.CONN_WORDS


class Unsigned:
    """Mixed into a sequence: an index that would count from its end fails, as it would lead machine code astray."""

    def __getitem__(self, at: Any) -> Any:
        assert isinstance(at, slice) or at >= 0, f"index {at}"
        return super().__getitem__(at)  # type: ignore[misc]

    def __setitem__(self, at: int, value: int) -> None:
        assert at >= 0, f"index {at}"
        super().__setitem__(at, value)  # type: ignore[misc]


class UnsignedOctets(Unsigned, bytearray):
    """Octets."""


class UnsignedWords(Unsigned, array):  # type: ignore[type-arg]
    """Integers of 64 bits."""


class Cleared(Plain):
    """The uncompiled walk on integers of 64 bits: what does not fit raises OverflowError instead of wrapping.

    Octets of the input before are left where they were: no result may depend on them.
    """

    octets: ClassVar[Any] = bytearray(w.M_SIZE)
    words: ClassVar[Any] = array("q", bytes(8 * SIZE))

    def __init__(self) -> None:
        self.m, self.s = self.octets, self.words
        del self.s[SIZE:]
        memoryview(self.s).cast("B")[:] = bytes(8 * SIZE)
        self.s[w.CONN_LIMIT] = CONNECTIONS

    def grow(self) -> None:
        """Make room for more connections."""
        limit = min(self.s[w.CONN_LIMIT] * 4, w.MAX_CONNS)
        self.s.extend(array("q", bytes(8 * (w.CONN_TABLE + limit * w.CONN_WORDS - len(self.s)))))
        self.s[w.CONN_LIMIT] = limit


class Strict(Cleared):
    """The same on arrays that know no negative index and, as any, none beyond their end."""

    octets = UnsignedOctets(w.M_SIZE)
    words = UnsignedWords("q", bytes(8 * SIZE))

    def walk(self, view: Any, end: int) -> int:
        """Walk a copy of what is in the buffer, with nothing behind it."""
        return super().walk(UnsignedOctets(memoryview(view)[:end]), end)
