"""Kernel: numbers in network byte order.

Products instead of shifts: an octet that is shifted is unsigned to the compiler, and unsigned and signed numbers
together become floating point.
"""

from mqproof.dissectors.packets.state import Octets


def short(buf: Octets, at: int) -> int:
    """Return the 16-bit number at ``at``."""
    return buf[at] * 0x100 + buf[at + 1]


def long(buf: Octets, at: int) -> int:
    """Return the 32-bit number at ``at``."""
    return buf[at] * 0x1000000 + buf[at + 1] * 0x10000 + buf[at + 2] * 0x100 + buf[at + 3]


def long_little(buf: Octets, at: int) -> int:
    """Return the 32-bit number at ``at``, least octet first."""
    return buf[at + 3] * 0x1000000 + buf[at + 2] * 0x10000 + buf[at + 1] * 0x100 + buf[at]


def high(buf: Octets, at: int) -> int:
    """Return the upper four bits of the octet at ``at``."""
    return buf[at] // 16
