"""Kernel: the records of a capture file, one after the other, in whatever octets have been read so far.

pcap: both byte orders, micro- and nanoseconds. pcapng: enhanced, simple and obsolete packet blocks; section and
interface blocks are left to the reader (they are rare and need care), all others are passed over.
"""

from mqproof.dissectors.packets import state as w
from mqproof.dissectors.packets.octets import long, long_little
from mqproof.dissectors.packets.state import Octets, Words

PACKET = 5
SECTION_BLOCK = 0x0A0D0D0A
INTERFACE_BLOCK = 1
OBSOLETE_BLOCK = 2
SIMPLE_BLOCK = 3
ENHANCED_BLOCK = 6


def word(buf: Octets, at: int, big: int) -> int:
    """Return the 32-bit number at ``at``."""
    if big:
        return long(buf, at)
    return long_little(buf, at)


def next_record(buf: Octets, end: int, s: Words) -> int:
    """Find the record at POS: PACKET with the R_ registers set, or MORE, BLOCK, CORRUPT."""
    if s[w.FORMAT] != w.PCAPNG:
        return next_pcap(buf, end, s)
    while True:
        at = s[w.POS]
        if s[w.SKIP] > 0:
            step = min(s[w.SKIP], end - at)
            s[w.SKIP] -= step
            s[w.POS] = at + step
            if s[w.SKIP] > 0:
                return w.MORE
            continue
        if end - at < 12:
            return w.MORE
        kind = word(buf, at, s[w.BIG_ENDIAN])
        if kind in (SECTION_BLOCK, INTERFACE_BLOCK):
            return w.BLOCK
        size = word(buf, at + 4, s[w.BIG_ENDIAN])
        if size < 12 or size & 3:
            return w.CORRUPT
        if kind not in (ENHANCED_BLOCK, SIMPLE_BLOCK, OBSOLETE_BLOCK):
            s[w.SKIP] = size
            continue
        return packet_block(buf, at, end, kind, size, s)


def next_pcap(buf: Octets, end: int, s: Words) -> int:
    """Find the pcap record at POS."""
    at = s[w.POS]
    header = 24 if s[w.FORMAT] == w.PCAP_MODIFIED else 16
    if end - at < header:
        return w.MORE
    big = s[w.BIG_ENDIAN]
    captured = word(buf, at + 8, big)
    if captured > s[w.MAX_RECORD]:
        return w.CORRUPT
    if end - at - header < captured:
        return w.MORE
    s[w.R_AT] = at + header
    s[w.R_CAPTURED] = captured
    s[w.R_ORIGINAL] = max(word(buf, at + 12, big), captured)
    s[w.R_TIME] = word(buf, at, big) * 1_000_000_000 + word(buf, at + 4, big) * s[w.IFACES + w.I_MULTIPLY]
    s[w.R_LINKTYPE] = s[w.IFACES + w.I_LINKTYPE]
    s[w.R_NEXT] = at + header + captured
    return PACKET


def packet_block(buf: Octets, at: int, end: int, kind: int, size: int, s: Words) -> int:
    """Read the packet block of ``size`` octets at ``at``."""
    if size > s[w.MAX_RECORD]:
        return w.CORRUPT
    if end - at < size:
        return w.MORE
    big = s[w.BIG_ENDIAN]
    fixed = 16 if kind == SIMPLE_BLOCK else 32
    if size < fixed or word(buf, at + size - 4, big) != size:
        return w.CORRUPT
    number = 0
    if kind == SIMPLE_BLOCK:
        original = word(buf, at + 8, big)
        captured = min(original, size - 16)
        if s[w.IFACES + w.I_SNAP] > 0:
            captured = min(captured, s[w.IFACES + w.I_SNAP])
        s[w.R_AT] = at + 12
        s[w.R_TIME] = 0
    else:
        number = word(buf, at + 8, big)
        if kind == OBSOLETE_BLOCK:
            number = number >> 16 if big else number & 0xFFFF
        captured = word(buf, at + 20, big)
        original = word(buf, at + 24, big)
        s[w.R_AT] = at + 28
    if number >= s[w.SECTION_IFACES] or captured > size - fixed:
        return w.CORRUPT
    iface = w.IFACES + number * w.IFACE_WORDS
    if kind != SIMPLE_BLOCK:
        s[w.R_TIME] = timestamp(word(buf, at + 12, big), word(buf, at + 16, big), iface, s)
    s[w.R_CAPTURED] = captured
    s[w.R_ORIGINAL] = max(original, captured)
    s[w.R_LINKTYPE] = s[iface + w.I_LINKTYPE]
    s[w.R_NEXT] = at + size
    return PACKET


def timestamp(high: int, low: int, iface: int, s: Words) -> int:
    """Return nanoseconds since 1970 for a pcapng timestamp in the interface's units, at most those of LAST_SECOND."""
    ticks = (high & 0x7FFFFFFF) << 32 | low
    power = s[iface + w.I_POWER]
    if power == 0:
        seconds = ticks // s[iface + w.I_DIVIDE]
        part = ticks % s[iface + w.I_DIVIDE] * s[iface + w.I_MULTIPLY] // 1000
    else:
        seconds = ticks >> power
        part = ticks & ((1 << power) - 1)
        if power > 30:
            part >>= power - 30
            power = 30
        part = part * 1_000_000_000 >> power
    return (min(seconds, w.LAST_SECOND) + s[iface + w.I_OFFSET]) * 1_000_000_000 + part
