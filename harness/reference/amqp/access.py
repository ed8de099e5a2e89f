"""Class access of AMQP 0-8, which 0-9-1 has no more: old clients ask for a ticket and get one (access-request/01)."""

from typing import Final

from mqproof.dissectors.amqp.codec import RawFrame, encode
from mqproof.dissectors.amqp.tables import FrameType

_REQUEST: Final = bytes((0, 30, 0, 10))
_REQUEST_OK: Final = bytes((0, 30, 0, 11))
_TICKET: Final = 1


def answer(channel: int, payload: bytes) -> bytes | None:
    """Return the frame request-ok for the payload of a method frame, None when it is not access.request."""
    if not payload.startswith(_REQUEST):
        return None
    return encode(RawFrame(FrameType.METHOD, channel, _REQUEST_OK + _TICKET.to_bytes(2)))
