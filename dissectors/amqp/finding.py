"""Kernel: where an AMQP frame may begin, in a stream of which something is missing. Section 4.2.3."""

from mqproof.dissectors.amqp.tables import FRAME_END, FrameType
from mqproof.dissectors.packets.octets import long
from mqproof.dissectors.packets.state import Octets

METHOD = int(FrameType.METHOD)
HEADER = int(FrameType.HEADER)
BODY = int(FrameType.BODY)
HEARTBEAT = int(FrameType.HEARTBEAT)
MAX_FRAME = 1 << 28  # larger sizes are no frames
HEADER_FIXED = 12  # class, weight, body size: section 4.2.6.1


def whole_frame(buf: Octets, at: int, end: int) -> int:
    """Return the end of the plausible frame at ``at`` (possibly beyond ``end``), or 0."""
    if end - at < 7 or buf[at] not in (METHOD, HEADER, BODY, HEARTBEAT):
        return 0
    size = long(buf, at + 3)
    if size > MAX_FRAME >> 4 or (buf[at] == HEARTBEAT and size > 0) or (buf[at] == BODY and size == 0):
        return 0
    stop = at + 8 + size
    if stop <= end and buf[stop - 1] != FRAME_END:
        return 0
    if buf[at] == METHOD:
        if size < 4 or end - at < 11 or buf[at + 7] or buf[at + 9]:
            return 0
        if buf[at + 8] % 5 or buf[at + 8] > 90 or buf[at + 10] == 0 or buf[at + 10] > 120:
            return 0
    if buf[at] == HEADER and (size < HEADER_FIXED + 2 or end - at < 9 or buf[at + 7] or buf[at + 8] != 60):
        return 0
    return stop


def plausible(buf: Octets, at: int, end: int) -> int:
    """Return whether a frame begins at ``at``: with its end octet, or as only a method or header begins."""
    stop = whole_frame(buf, at, end)
    if stop == 0:
        return 0
    if stop > end:
        return 1 if buf[at] in (METHOD, HEADER) else 0
    return 1 if stop == end or whole_frame(buf, stop, end) or end - stop < 7 else 0


def resync(buf: Octets, at: int, end: int) -> int:
    """Return where the next plausible frame begins, ``end`` where none does."""
    for pos in range(at, end):
        if buf[pos] in (METHOD, HEADER, BODY, HEARTBEAT) and plausible(buf, pos, end):
            return pos
    return end
