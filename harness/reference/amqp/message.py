"""Messages: what a publisher sent, and one queue's entry for it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mqproof.dissectors.amqp.codec import ContentHeader, encode
from mqproof.dissectors.amqp.tables import CLASS_IDS, FRAME_HEADER_SIZE, FRAME_MIN_SIZE, FRAME_OVERHEAD

if TYPE_CHECKING:
    from mqproof.harness.reference.amqp.channel import Channel

PERSISTENT = 2  # delivery-mode; class basic, domain of the property
DEFAULT_PRIORITY = 0  # what a message without the property has (statement priority-queue/02)


def header_payload(properties: dict[str, Any], body_size: int) -> bytes:
    """Return the payload of a content header frame (section 4.2.6.1). Raises Unencodable."""
    frame = encode(ContentHeader(0, CLASS_IDS["basic"], body_size, properties))
    return frame[FRAME_HEADER_SIZE:-1]


@dataclass(slots=True, eq=False)
class Message:
    """A message as it travels: shared by all queues that hold it, and never changed once it is routed.

    ``header`` is the content header's payload exactly as the publisher sent it, so that properties reach the consumer
    byte for byte (section 3.1.1); whoever changes properties makes a new message with :meth:`rewritten`.
    ``publisher`` is the connection that published it, for no-local.
    """

    exchange: str
    routing_key: str
    properties: dict[str, Any]
    body: bytes
    header: bytes
    publisher: object | None = None
    ttl: float | None = None  # seconds, from the property expiration

    @property
    def headers(self) -> Mapping[str, Any]:
        """The table of property headers; empty when there is none."""
        return self.properties.get("headers") or {}

    @property
    def priority(self) -> int:
        """The property, or the default."""
        return int(self.properties.get("priority", DEFAULT_PRIORITY))

    @property
    def persistent(self) -> bool:
        """Whether delivery-mode asks for persistence."""
        return self.properties.get("delivery_mode") == PERSISTENT

    @property
    def is_bulky(self) -> bool:
        """Whether the content header exceeds the frames that every client can take, so that some can not have it."""
        return len(self.header) > FRAME_MIN_SIZE - FRAME_OVERHEAD

    def rewritten(self, properties: dict[str, Any], **changes: Any) -> "Message":
        """Return a copy with other properties, and with other ``exchange`` or ``routing_key`` where given."""
        return Message(
            exchange=changes.get("exchange", self.exchange),
            routing_key=changes.get("routing_key", self.routing_key),
            properties=properties,
            body=self.body,
            header=header_payload(properties, len(self.body)),
            publisher=self.publisher,
            ttl=changes.get("ttl", self.ttl),
        )


@dataclass(slots=True, eq=False)
class Entry:
    """One queue's hold on a message. ``position`` is its place in the order of arrival, kept when it comes back.

    ``expires_at``: on the broker's clock, in seconds. ``held_from``: channels that rejected it and shall not get it
    back for now (rule basic.reject.requeue/01). ``deliveries``: how often it was sent to a client.
    """

    message: Message
    position: int
    level: int
    expires_at: float | None = None
    redelivered: bool = False
    deliveries: int = 0
    held_from: set["Channel"] = field(default_factory=set)
