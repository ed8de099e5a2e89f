"""Octets to frames for a server: like the codec's decoder, but able to step over a frame that it refused.

After a connection exception the server still waits for the client's close-ok (section 2.3.7), so that a malformed
frame must not end the stream. Buffers stay below the agreed frame size.
"""

from collections.abc import Mapping
from typing import Any, Final

from mqproof.dissectors.amqp.codec import Frame, Malformed, decode
from mqproof.dissectors.amqp.tables import FRAME_HEADER_SIZE, FRAME_OVERHEAD, FrameType
from mqproof.harness.reference.amqp.errors import Abort, Refusal

NAME_MAX: Final = 128  # section 4.2.5.5
_FATAL: Final = ("amqp-0-9-1:4.2.3/frame-end", "amqp-0-9-1:4.2.3/unknown-type")
_OVERSIZED: Final = "amqp-0-9-1:4.2.3/oversized"


def check_names(table: Mapping[str, Any] | None) -> None:
    """Refuse invalid names in a field table with 503, as section 4.2.5.5 advises (it calls that code "syntax error").

    A name starts with a letter, ``$`` or ``#`` and has at most 128 characters. The characters after the first are not
    looked at: the specification's own "x-match" and the usual "basic.nack" break that part.
    """
    for name, value in (table or {}).items():
        if not name[:1].isascii() or not (name[:1].isalpha() or name[:1] in ("$", "#")) or len(name) > NAME_MAX:
            raise Refusal(503, f"field name {name!r}", hard=True)
        if isinstance(value, dict):
            check_names(value)
        elif isinstance(value, list):
            for item in value:
                check_names(item if isinstance(item, dict) else None)


class FrameReader:
    """Frames from a stream. ``payload`` is the payload of the last frame, exactly as it came."""

    def __init__(self, frame_max: int) -> None:
        self.frame_max = frame_max
        self._buffer = bytearray()
        self._position = 0
        self._size = 0
        self._to_skip = 0

    @property
    def payload(self) -> bytes:
        """The octets between the frame's header and its end octet."""
        return bytes(self._buffer[self._position - self._size + FRAME_HEADER_SIZE : self._position - 1])

    def feed(self, data: bytes) -> None:
        """Take octets as they arrive."""
        if self._position:
            del self._buffer[: self._position]
            self._position = self._size = 0
        if self._to_skip:
            skipped = min(self._to_skip, len(data))
            self._to_skip -= skipped
            data = data[skipped:]
        self._buffer += data

    def next(self) -> Frame | None:
        """Return the next frame, or None when it is not whole yet. Raises Malformed; :meth:`skip` steps over it."""
        result = decode(self._buffer, self._position, frame_max=self.frame_max)
        if result is None:
            return None
        frame, self._size = result
        self._position += self._size
        return frame

    @property
    def next_type(self) -> int:
        """The type octet of the frame that comes next, or that was malformed."""
        return self._buffer[self._position]

    def skip(self) -> tuple[int, bytes]:
        """Step over the frame that was malformed, by the size in its header; return its channel and present payload."""
        header = self._buffer[self._position : self._position + FRAME_HEADER_SIZE]
        size = int.from_bytes(header[3:]) + FRAME_OVERHEAD
        present = len(self._buffer) - self._position
        self._to_skip = max(size - present, 0)
        self._size = 0
        start, self._position = self._position, self._position + min(size, present)
        return int.from_bytes(header[1:3]), bytes(self._buffer[start + FRAME_HEADER_SIZE : self._position - 1])


def answer_to(error: Malformed, frame_type: int) -> Refusal:
    """Return the exception to raise for malformed octets. Raises Abort where nothing may be sent any more.

    4.2.3: a wrong frame-end or frame type is fatal. Oversized frames and methods that cannot be read are 501 (frame
    error), badly formed content headers 505, methods that do not exist 540 (not implemented; the text names no code).
    """
    if error.rule in _FATAL:
        raise Abort(str(error))
    if error.rule == _OVERSIZED:
        code = 501
    elif frame_type == FrameType.HEADER:
        code = 505
    else:
        code = 540 if error.detail.startswith("unknown method") else 501
    return Refusal(code, error.detail, hard=True)
