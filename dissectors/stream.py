"""What the decoders of both protocols share: octets in as they arrive, whole frames out."""

from typing import Generic, TypeVar

from mqproof.dissectors.errors import Malformed

FrameT = TypeVar("FrameT")


class StreamDecoder(Generic[FrameT]):
    """A stream of octets in, frames out. After Malformed it stays broken: every further ``next`` raises it again.

    ``last_frame_octets`` holds the exact octets of the frame that ``next`` returned last.
    """

    def __init__(self) -> None:
        self.last_frame_octets = b""
        self._buffer = bytearray()
        self._position = 0
        self._broken: Malformed | None = None

    @property
    def buffered(self) -> int:
        """How many octets wait for the rest of their frame."""
        return len(self._buffer) - self._position

    def feed(self, data: bytes) -> None:
        """Take octets as they arrive."""
        if self._position:
            del self._buffer[: self._position]
            self._position = 0
        self._buffer += data

    def rest(self) -> bytes:
        """Return, and forget, the octets that have not become a frame."""
        octets = bytes(self._buffer[self._position :])
        self._buffer.clear()
        self._position = 0
        return octets

    def next(self) -> FrameT | None:
        """Return the next whole frame, or None. Raises Malformed."""
        if self._broken is not None:
            raise self._broken
        try:
            result = self._decode(self._buffer, self._position)
        except Malformed as error:
            self._broken = error
            raise
        if result is None:
            return None
        frame, size = result
        self.last_frame_octets = bytes(self._buffer[self._position : self._position + size])
        self._position += size
        return frame

    def _decode(self, data: bytearray, position: int) -> tuple[FrameT, int] | None:
        """Return the frame at ``position`` and its size, or None when more octets are needed. Raises Malformed."""
        raise NotImplementedError
