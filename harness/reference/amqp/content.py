"""A method with content on its way in: header, then body frames until the announced size is there (section 4.2.6)."""

from typing import Any, Final

from mqproof.dissectors.amqp.codec import Body, ContentHeader, Method
from mqproof.dissectors.amqp.tables import CLASS_IDS
from mqproof.harness.reference.amqp.errors import Refusal

_BASIC: Final = CLASS_IDS["basic"]


class Assembly:
    """Collects one content. ``complete`` tells when it is whole; a body above ``limit`` octets is counted, not kept."""

    def __init__(self, method: Method, limit: int) -> None:
        self.method = method
        self.properties: dict[str, Any] = {}
        self.header = b""
        self.size = -1
        self._limit = limit
        self._received = 0
        self._parts: list[bytes] = []

    @property
    def complete(self) -> bool:
        """Whether header and whole body are there."""
        return self._received == self.size

    @property
    def too_large(self) -> bool:
        """Whether the body exceeds the limit, so that it was not kept (statement max-message-size/01)."""
        return self.size > self._limit

    @property
    def body(self) -> bytes:
        """The body as it was sent."""
        return self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)

    def take_header(self, frame: ContentHeader, payload: bytes) -> None:
        """Take the content header; ``payload``: its octets as received. Raises Refusal."""
        if self.size >= 0:
            raise Refusal(505, "a second content header where body frames are due")
        if frame.class_id != _BASIC:
            # Section 4.2.6.1 says 501 for exactly this, 4.2.6 says 505 for "wrong class IDs" among others.
            raise Refusal(501, f"content header of class {frame.class_id} after {self.method.name}")
        if frame.weight:
            raise Refusal(505, f"content header with weight {frame.weight}, which must be zero")
        self.size, self.properties, self.header = frame.body_size, frame.properties, payload

    def take_body(self, frame: Body) -> None:
        """Take a body frame, possibly empty. Raises Refusal."""
        if self.size < 0:
            raise Refusal(505, "a content body before its header")
        self._received += len(frame.payload)
        if self._received > self.size:
            raise Refusal(505, f"a body of {self._received} octets where {self.size} were announced")
        if not self.too_large:
            self._parts.append(frame.payload)
