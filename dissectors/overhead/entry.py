"""Kernel: what Python calls of the compiled walk: its two entries behind one name, so that one object file holds both.

An array is seven machine words to the compiler, handed on in each call, and an index into it may count from its end; a
pointer is one, and an index is an index: the same walk in two thirds of the time. So the compiled kernels are given
where their octets stand. Bounds cannot be checked so: where they shall be (NUMBA_BOUNDSCHECK), they are given arrays.
"""

from mqproof.dissectors.overhead.walk import finish, walk
from mqproof.dissectors.packets.state import Octets, Words


def run(finishing: int, buf: Octets, end: int, s: Words, m: Octets) -> int:
    """Walk what is in the buffer, or bring the books to an end. Returns what ``walk`` and ``finish`` return."""
    if finishing:
        return finish(s, m)
    return walk(buf, end, s, m)
