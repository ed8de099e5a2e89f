"""Kernel: what Python calls of the compiled walk. It has arrays; the kernels are given where their octets stand.

An array is seven machine words to the compiler, handed on in each call, and an index into it may count from its end; a
pointer is one, and an index is an index: the same walk in two thirds of the time. Bounds cannot be checked so: where
they shall be (NUMBA_BOUNDSCHECK), the kernels are given arrays and these entries are not used.
"""

from mqproof.dissectors.overhead import walk as kernels
from mqproof.dissectors.packets.state import Octets, Words


def walk(buf: Octets, end: int, s: Words, m: Octets) -> int:
    """Walk what is in the buffer."""
    return kernels.walk(buf.ctypes, end, s.ctypes, m.ctypes)  # type: ignore[attr-defined]


def finish(s: Words, m: Octets) -> int:
    """Bring the books to an end."""
    return kernels.finish(s.ctypes, m.ctypes)  # type: ignore[attr-defined]
