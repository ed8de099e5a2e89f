"""AMQP 0-9-1 frames to and from octets, without sockets (sections 4.2.2 to 4.2.7).

Decoding has three outcomes: a frame, ``None`` for "need more octets", or :class:`Malformed`, which no further octets
can mend. Encoding refuses what the format has no room for; what is merely illegal is written with :class:`RawFrame`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from mqproof.dissectors.amqp import fields
from mqproof.dissectors.amqp.fields import Field, Reader, plain
from mqproof.dissectors.amqp.tables import (
    BY_ID,
    CLASS_IDS,
    FRAME_END,
    FRAME_HEADER_SIZE,
    FRAME_OVERHEAD,
    METHODS,
    PROPERTIES,
    PROTOCOL_HEADER,
    FieldSpec,
    FrameType,
)
from mqproof.dissectors.errors import Malformed, Unencodable
from mqproof.dissectors.stream import StreamDecoder

__all__ = [
    "Body",
    "ContentHeader",
    "Decoder",
    "Field",
    "Frame",
    "Heartbeat",
    "Malformed",
    "Method",
    "ProtocolHeader",
    "RawFrame",
    "Unencodable",
    "content",
    "decode",
    "encode",
    "method",
    "plain",
]

_METHOD_RULE: Final = "amqp-0-9-1:4.8.1/connection-exception"
_CONTENT_RULE: Final = "amqp-0-9-1:4.2.6/bad-content"


@dataclass(frozen=True, slots=True)
class ProtocolHeader:
    """The eight octets that open a connection (section 4.2.2)."""

    protocol_id: int = 0
    major: int = 0
    minor: int = 9
    revision: int = 1


@dataclass(frozen=True, slots=True)
class Method:
    """A method frame; ``arguments`` by name with underscores, reserved fields included."""

    channel: int
    name: str
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ContentHeader:
    """A content header frame (section 4.2.6.1); ``body_size`` in octets; ``properties`` only those that are set."""

    channel: int
    class_id: int
    body_size: int
    properties: dict[str, Any] = field(default_factory=dict)
    weight: int = 0


@dataclass(frozen=True, slots=True)
class Body:
    """A content body frame (section 4.2.6.2)."""

    channel: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A heartbeat frame; a legal one has channel 0 and no payload (section 4.2.7)."""

    channel: int = 0
    payload: bytes = b""


@dataclass(frozen=True, slots=True)
class RawFrame:
    """A frame of any octets, legal or not; ``size`` lies about the payload's length when it is given."""

    type: int
    channel: int
    payload: bytes = b""
    end: int = FRAME_END
    size: int | None = None


Frame = ProtocolHeader | Method | ContentHeader | Body | Heartbeat | RawFrame


def decode(data: bytes | bytearray, offset: int = 0, *, frame_max: int = 0) -> tuple[Frame, int] | None:
    """Return the frame that starts at ``offset`` and the octets it takes, or None when more are needed.

    ``frame_max``: the largest whole frame in octets that was agreed, 0 for no limit. Octets ``AMQP`` are read as a
    protocol header. Raises Malformed, with offsets counted from the start of the frame.
    """
    if data[offset : offset + 4] == b"AMQP":
        return _decode_protocol_header(data, offset)
    if len(data) - offset < 1:
        return None
    kind = data[offset]
    if kind not in _DECODERS:
        if b"AMQP".startswith(bytes(data[offset : offset + 4])):
            return None
        raise Malformed(0, "amqp-0-9-1:4.2.3/unknown-type", f"frame type {kind}", 501)
    if len(data) - offset < FRAME_HEADER_SIZE:
        return None
    channel = int.from_bytes(data[offset + 1 : offset + 3])
    size = int.from_bytes(data[offset + 3 : offset + 7])
    if frame_max and size + FRAME_OVERHEAD > frame_max:
        raise Malformed(3, "amqp-0-9-1:4.2.3/oversized", f"{size + FRAME_OVERHEAD} octets, {frame_max} agreed", 501)
    total = size + FRAME_OVERHEAD
    if len(data) - offset < total:
        return None
    end = data[offset + total - 1]
    if end != FRAME_END:
        raise Malformed(total - 1, "amqp-0-9-1:4.2.3/frame-end", f"frame ends in {end:#04x}", 501)
    return _DECODERS[kind](channel, bytes(data[offset : offset + total - 1])), total


def _decode_protocol_header(data: bytes | bytearray, offset: int) -> tuple[ProtocolHeader, int] | None:
    if len(data) - offset < len(PROTOCOL_HEADER):
        return None
    return ProtocolHeader(*data[offset + 4 : offset + 8]), len(PROTOCOL_HEADER)


def _decode_method(channel: int, frame: bytes) -> Method:
    reader = Reader(frame, FRAME_HEADER_SIZE, rule="amqp-0-9-1:4.8.1/connection-exception")
    class_id, method_id = reader.unsigned(2), reader.unsigned(2)
    spec = BY_ID.get((class_id, method_id))
    if spec is None:
        raise Malformed(FRAME_HEADER_SIZE, _METHOD_RULE, f"unknown method {class_id}.{method_id}", 503)
    arguments = _read_fields(reader, spec.fields)
    if reader.position != reader.end:
        raise reader.fail(f"{reader.end - reader.position} octets after the last argument of {spec.name}")
    return Method(channel, spec.name, arguments)


def _read_fields(reader: Reader, specs: tuple[FieldSpec, ...]) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    bits = bit = 0
    for spec in specs:
        if spec.type == "bit":
            if bit % 8 == 0:
                bits = reader.unsigned(1)
            arguments[spec.key] = bool(bits >> bit % 8 & 1)
            bit += 1
        else:
            bit = 0
            arguments[spec.key] = _READ[spec.type](reader)
    return arguments


def _decode_header(channel: int, frame: bytes) -> ContentHeader:
    reader = Reader(frame, FRAME_HEADER_SIZE, rule=_CONTENT_RULE)
    class_id, weight, body_size = reader.unsigned(2), reader.unsigned(2), reader.unsigned(8)
    flags = _read_flags(reader)
    properties = {}
    for index, spec in enumerate(PROPERTIES):
        if flags >> (15 - index) & 1:
            properties[spec.key] = _READ[spec.type](reader)
    if reader.position != reader.end:
        raise reader.fail(f"{reader.end - reader.position} octets after the last property")
    return ContentHeader(channel, class_id, body_size, properties, weight)


def _read_flags(reader: Reader) -> int:
    flags = reader.unsigned(2)
    if flags & 3:
        raise reader.fail(f"property flags {flags:#06x} announce properties that class basic does not have")
    return flags


def _decode_body(channel: int, frame: bytes) -> Body:
    return Body(channel, frame[FRAME_HEADER_SIZE:])


def _decode_heartbeat(channel: int, frame: bytes) -> Heartbeat:
    return Heartbeat(channel, frame[FRAME_HEADER_SIZE:])


_DECODERS: Final[dict[int, Callable[[int, bytes], Frame]]] = {
    FrameType.METHOD: _decode_method,
    FrameType.HEADER: _decode_header,
    FrameType.BODY: _decode_body,
    FrameType.HEARTBEAT: _decode_heartbeat,
}


def _read_longstr(reader: Reader) -> bytes:
    return reader.longstr()


_READ: Final[dict[str, Callable[[Reader], Any]]] = {
    "octet": lambda reader: reader.unsigned(1),
    "short": lambda reader: reader.unsigned(2),
    "long": lambda reader: reader.unsigned(4),
    "longlong": lambda reader: reader.unsigned(8),
    "shortstr": Reader.shortstr,
    "longstr": _read_longstr,
    "table": Reader.table,
    "timestamp": Reader.timestamp,
}
_WRITE: Final[dict[str, Callable[[Any], bytes]]] = {
    "octet": lambda value: fields.write_unsigned(value, 1),
    "short": lambda value: fields.write_unsigned(value, 2),
    "long": lambda value: fields.write_unsigned(value, 4),
    "longlong": lambda value: fields.write_unsigned(value, 8),
    "shortstr": fields.write_shortstr,
    "longstr": fields.write_longstr,
    "table": fields.write_table,
    "timestamp": fields.write_timestamp,
}
_DEFAULTS: Final[dict[str, Any]] = {
    "octet": 0,
    "short": 0,
    "long": 0,
    "longlong": 0,
    "bit": False,
    "shortstr": "",
    "longstr": b"",
    "table": {},
    "timestamp": 0,
}


def encode(frame: Frame) -> bytes:
    """Return the octets of ``frame``. Raises Unencodable for values that do not fit their fields."""
    match frame:
        case ProtocolHeader(protocol_id, major, minor, revision):
            return b"AMQP" + bytes([protocol_id, major, minor, revision])
        case Method():
            return _envelope(FrameType.METHOD, frame.channel, _encode_method(frame))
        case ContentHeader():
            return _envelope(FrameType.HEADER, frame.channel, _encode_header(frame))
        case Body(channel, payload):
            return _envelope(FrameType.BODY, channel, payload)
        case Heartbeat(channel, payload):
            return _envelope(FrameType.HEARTBEAT, channel, payload)
        case RawFrame(kind, channel, payload, end, size):
            return _envelope(kind, channel, payload, end, size)


def _envelope(kind: int, channel: int, payload: bytes, end: int = FRAME_END, size: int | None = None) -> bytes:
    length = len(payload) if size is None else size
    return b"".join((
        fields.write_unsigned(kind, 1),
        fields.write_unsigned(channel, 2),
        fields.write_unsigned(length, 4),
        payload,
        bytes([end]),
    ))  # fmt: skip


def _encode_method(frame: Method) -> bytes:
    spec = METHODS.get(frame.name)
    if spec is None:
        raise Unencodable(f"no method is called {frame.name!r}")
    surplus = set(frame.arguments) - {entry.key for entry in spec.fields}
    if surplus:
        raise Unencodable(f"{frame.name} has no argument {', '.join(sorted(surplus))}")
    return spec.class_id.to_bytes(2) + spec.method_id.to_bytes(2) + _write_fields(spec.fields, frame.arguments)


def _write_fields(specs: tuple[FieldSpec, ...], arguments: dict[str, Any]) -> bytes:
    octets = bytearray()
    bit = 0
    for spec in specs:
        value = arguments.get(spec.key, _DEFAULTS[spec.type])
        if spec.type == "bit":
            if bit % 8 == 0:
                octets.append(0)
            octets[-1] |= bool(value) << bit % 8
            bit += 1
        else:
            bit = 0
            octets += _WRITE[spec.type](value)
    return bytes(octets)


def _encode_header(frame: ContentHeader) -> bytes:
    flags = 0
    octets = bytearray()
    surplus = set(frame.properties) - {spec.key for spec in PROPERTIES}
    if surplus:
        raise Unencodable(f"class basic has no property {', '.join(sorted(surplus))}")
    for index, spec in enumerate(PROPERTIES):
        if spec.key in frame.properties:
            flags |= 1 << 15 - index
            octets += _WRITE[spec.type](frame.properties[spec.key])
    head = (frame.class_id, 2), (frame.weight, 2), (frame.body_size, 8), (flags, 2)
    return b"".join(fields.write_unsigned(value, size) for value, size in head) + bytes(octets)


def method(name: str, channel: int = 1, **arguments: Any) -> Method:
    """Return a method frame with every argument not given at its default (empty, 0, False).

    A trailing underscore is dropped from argument names (``global_``). Raises Unencodable for unknown names.
    """
    spec = METHODS.get(name)
    if spec is None:
        raise Unencodable(f"no method is called {name!r}")
    given = {key.rstrip("_"): value for key, value in arguments.items()}
    surplus = set(given) - {entry.key for entry in spec.fields}
    if surplus:
        raise Unencodable(f"{name} has no argument {', '.join(sorted(surplus))}")
    return Method(channel, name, {entry.key: given.get(entry.key, _DEFAULTS[entry.type]) for entry in spec.fields})


def content(
    name: str,
    channel: int = 1,
    *,
    body: bytes = b"",
    properties: dict[str, Any] | None = None,
    frame_max: int = 131072,
    **arguments: Any,
) -> list[Frame]:
    """Return a method with its content: method, header and as many body frames as ``frame_max`` octets demand."""
    room = (frame_max or len(body) + FRAME_OVERHEAD) - FRAME_OVERHEAD
    head = method(name, channel, **arguments)
    header = ContentHeader(channel, CLASS_IDS[METHODS[name].class_name], len(body), dict(properties or {}))
    bodies = [Body(channel, body[start : start + room]) for start in range(0, len(body), max(room, 1))]
    return [head, header, *bodies]


class Decoder(StreamDecoder[Frame]):
    """A stream of octets in, frames out. ``frame_max``: the largest frame that was agreed, 0 for no limit."""

    def __init__(self, *, frame_max: int = 0) -> None:
        super().__init__()
        self.frame_max = frame_max

    def _decode(self, data: bytearray, position: int) -> tuple[Frame, int] | None:
        return decode(data, position, frame_max=self.frame_max)
