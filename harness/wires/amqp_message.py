"""AMQP 0-9-1 messages put together from their frames: method, content header, bodies (section 4.2.6)."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from mqproof.dissectors.amqp.codec import Body, ContentHeader, Frame, Method, encode, plain
from mqproof.dissectors.amqp.tables import METHODS, REPLY_CODES


@dataclass(frozen=True, slots=True)
class Message:
    """A method that carries content (``basic.deliver``, ``basic.get-ok``, ``basic.return``), with its content."""

    name: str
    channel: int
    arguments: dict[str, Any]
    properties: dict[str, Any]
    body: bytes

    @property
    def delivery_tag(self) -> int:
        """Section 1.8.3.13, argument delivery-tag."""
        return int(self.arguments["delivery_tag"])

    @property
    def redelivered(self) -> bool:
        """Whether the broker says that it may have delivered this before."""
        return bool(self.arguments["redelivered"])

    @property
    def consumer_tag(self) -> str:
        """The consumer that a ``basic.deliver`` is meant for."""
        return str(self.arguments["consumer_tag"])

    @property
    def exchange(self) -> str:
        """The exchange that the message was published to."""
        return str(self.arguments["exchange"])

    @property
    def routing_key(self) -> str:
        """The routing key that the message was published with."""
        return str(self.arguments["routing_key"])

    @property
    def headers(self) -> dict[str, Any]:
        """The property ``headers`` without its type letters; empty where there is none."""
        return dict(plain(self.properties.get("headers") or {}))


Event = Method | Message


@dataclass(slots=True)
class Assembler:
    """Frames in, methods and whole messages out; one content at a time per channel."""

    _heads: dict[int, Method] = field(default_factory=dict)
    _headers: dict[int, ContentHeader] = field(default_factory=dict)
    _bodies: dict[int, list[bytes]] = field(default_factory=dict)

    def add(self, frame: Frame) -> Event | None:
        """Take the next frame; return what it completes, or None."""
        if isinstance(frame, Method):
            if not METHODS[frame.name].content:
                return frame
            self._heads[frame.channel] = frame
            return None
        if isinstance(frame, ContentHeader) and frame.channel in self._heads:
            self._headers[frame.channel] = frame
            self._bodies[frame.channel] = []
            return self._complete(frame.channel)
        if isinstance(frame, Body) and frame.channel in self._headers:
            self._bodies[frame.channel].append(frame.payload)
            return self._complete(frame.channel)
        return None

    def _complete(self, channel: int) -> Message | None:
        header, parts = self._headers[channel], self._bodies[channel]
        if sum(map(len, parts)) < header.body_size:
            return None
        head = self._heads.pop(channel)
        del self._headers[channel], self._bodies[channel]
        return Message(head.name, channel, head.arguments, header.properties, b"".join(parts))


def tell(event: Event) -> str:
    """Say in one line what came, for people."""
    if isinstance(event, Message):
        return f"{event.name} of {event.body[:60]!r}"
    if event.name in ("channel.close", "connection.close"):
        code = int(event.arguments["reply_code"])
        return f"{event.name} {code} ({event.arguments['reply_text']!r})"
    shown = {key: value for key, value in event.arguments.items() if not key.startswith("reserved")}
    return f"{event.name}{f' {shown}' if shown else ''}"


def tell_codes(codes: Iterable[int], *, either_level: bool = False) -> str:
    """Say which refusals are legal, such as ``channel.close 404 (not-found)``."""
    return " or ".join(_tell_code(code, either_level) for code in codes)


def _tell_code(code: int, either_level: bool) -> str:
    known = REPLY_CODES[code]
    level = "close" if either_level else "connection.close" if known.hard else "channel.close"
    return f"{level} {code} ({known.name})"


_SECRETS = {
    "connection.start-ok": "response",
    "connection.secure-ok": "response",
    "connection.update-secret": "new_secret",
}


def masked(frame: Frame) -> tuple[bytes, str]:
    """Return a frame's octets and its description, with every secret replaced by as many asterisks."""
    if isinstance(frame, Method) and frame.name in _SECRETS:
        key = _SECRETS[frame.name]
        secret = "*" * len(frame.arguments[key])
        frame = Method(frame.channel, frame.name, {**frame.arguments, key: secret})
    return encode(frame), describe(frame)


def describe(frame: Frame) -> str:
    """Return a frame in one line for a transcript."""
    match frame:
        case Method():
            return f"{frame.channel} {tell(frame)}"
        case ContentHeader():
            return f"{frame.channel} header: {frame.body_size} octets to come {frame.properties or ''}"
        case Body():
            return f"{frame.channel} body: {len(frame.payload)} octets {frame.payload[:60]!r}"
    return str(frame)
